"""A small speech recogniser: sound -> features -> logits -> log-probabilities -> tokens -> words."""
