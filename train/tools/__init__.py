"""What only maintainers run: embedding a model, listening to augmentation, synthetic speech."""
