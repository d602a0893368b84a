"""A run -> a model on the Hub, the app -> a Space. The command is `python -m train.publish`."""
