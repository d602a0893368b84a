"""Manifests -> batches: clips decoded once, labelled, augmented, bucketed by length."""
