"""The parts of `python -m asr_core`: its arguments in, the paths of its output files out."""
