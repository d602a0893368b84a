"""How long the property-based tests try: the same few examples every time, or as many new ones as somebody wants.

In the test command the seed is fixed, so that a failure is the last change's. For the curious, with new examples every
time, over recordings, bundles, transcripts, ARPA files and arguments:

    ASR_FUZZ=20000 python -m pytest --timeout 0 tests/asr_core/*/test_fuzz_*.py
"""

import os

from hypothesis import HealthCheck, settings

MORE = int(os.environ.get("ASR_FUZZ", 0))


def thoroughly(examples: int) -> settings:
    """So many fixed examples; ASR_FUZZ new ones if it is set."""
    return settings(
        max_examples=MORE or examples,
        derandomize=not MORE,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
