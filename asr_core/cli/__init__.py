"""The arguments of `python -m asr_core`, and where it writes transcripts."""
