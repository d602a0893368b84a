"""What tests ask of other processes and threads."""

import os
import time
from collections.abc import Callable


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition holds, or comes to hold within so many seconds."""
    latest = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > latest:
            return False
        time.sleep(0.05)
    return True


def ended(pid: int, seconds: float) -> bool:
    """Whether a process is gone, or goes within so many seconds."""

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return comes_true(gone, seconds)
