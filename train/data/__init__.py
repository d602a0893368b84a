"""Manifests -> training batches: clips are decoded once, labelled, augmented and grouped by length.

Texts -> sentences, for the language models (`sentences.py`).
"""
