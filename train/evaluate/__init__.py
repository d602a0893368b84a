"""A model and a manifest -> error rates with intervals. The command is `python -m train.evaluate`."""
