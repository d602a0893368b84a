"""Batches -> a trained bundle: recipes, objective, optimiser, and the loop with its checkpoints."""
