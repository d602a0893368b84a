"""Emissions -> hypotheses: greedy, prefix beam search, language model, lexicon, hotwords, word times, confidence."""
