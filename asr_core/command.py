"""The installed command `asr`, which does what `python -m asr_core` does."""

from asr_core import process


def main() -> None:
    process.catch_interrupts()  # before the other imports, which take longer
    from asr_core.__main__ import main

    process.leave_after(main)
