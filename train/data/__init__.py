"""Manifests -> training batches: clips are decoded once, labelled, augmented and grouped by length."""
