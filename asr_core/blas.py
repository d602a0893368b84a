"""One thread for NumPy's matrix products.

OpenBLAS spreads even small products over all cores, and its threads then wait for more work in a loop, which takes more
processor time than the products themselves.
"""

from contextlib import AbstractContextManager
from functools import cache


def one_thread() -> AbstractContextManager:
    """A context in which BLAS runs on one thread; afterwards it has its former number of threads.

    The setting is that of the whole process: where contexts of several threads overlap, it may remain at one thread.
    """
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries():
    """The BLAS libraries of this process."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
