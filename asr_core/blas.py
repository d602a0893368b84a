"""One thread for NumPy's matrix products.

OpenBLAS spreads even small products over all cores, and its threads then wait for more work in a loop, which takes more
processor time than the products themselves.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_lock = threading.Lock()
_inside = 0  # how many threads are inside `one_thread`
_limits = None  # what the last of them has to restore


@cache
def _libraries():
    """The BLAS libraries of this process."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """A block in which BLAS runs on one thread, in all threads of this process: the setting is global."""
    global _inside, _limits
    with _lock:
        if not _inside:
            _limits = _libraries().limit(limits=1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limits.restore_original_limits()
