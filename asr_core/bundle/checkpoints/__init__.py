"""Checkpoints of others, in the format of transformers, translated into bundles: one module for each family.

`opening` is the way from the files of a checkpoint to a `Bundle`: `kinds` finds the family, `alphabet` makes tokens of
the tokenizer's files, `tensors` and `checkpoint` read the weights, `card` reads the model card. A family's module has
`MODEL_TYPES`, the values of `model_type` in `config.json` that it translates, perhaps `UNUSED`, a pattern of the names
of tensors that serve training only, and three functions without input and output of their own: `architecture`,
`featurizer` and `weights`.
"""
