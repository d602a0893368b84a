"""What only maintainers run: embedding a model, inspecting augmentation, synthesising speech."""
