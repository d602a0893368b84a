"""Checkpoints of others, in the format of transformers, translated into bundles: one module for each family.

A family's module has `MODEL_TYPES`, the values of `model_type` in `config.json` that it translates, and three functions
without input and output of their own: `architecture`, `featurizer` and `weights`.
"""
