"""Emissions -> hypotheses: greedy, prefix beam search, language models, rescoring, hotwords, word times, confidence."""
