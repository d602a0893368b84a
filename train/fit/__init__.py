"""Batches -> a trained bundle: recipes, loss, optimiser, the loop with its checkpoints."""
