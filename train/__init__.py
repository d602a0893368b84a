"""Fits models and publishes them. Imports asr_core, never ui."""
