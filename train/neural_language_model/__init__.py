"""Texts -> a recurrent neural language model for rescoring (`asr_core.decoding.neural_language_model`)."""
