"""A small speech recogniser: sound -> features -> logits -> log-probabilities -> tokens -> words."""

import sys

if sys.argv[:1] == ["-m"] and " -m asr_core " in f"{' '.join(sys.orig_argv)} ":
    from asr_core import process

    process.catch_interrupts()  # `python -m asr_core`: from here on, before its __main__ is found
