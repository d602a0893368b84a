"""What tests ask of other processes."""

import os
import time


def ended(pid: int, seconds: float) -> bool:
    """Whether a process is gone, or goes within so many seconds."""
    latest = time.monotonic() + seconds
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if time.monotonic() > latest:
            return False
        time.sleep(0.05)
