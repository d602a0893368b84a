"""Cased, punctuated text -> the tagger of punctuation and capitals, `tagger.safetensors`, and its figures."""
