"""Written text -> normalised text, in the spelling that models are trained on, and its tokens."""
