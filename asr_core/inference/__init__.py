"""Samples -> emissions: windows, the compiled network, the worker that batches, and the process it may run in."""
