"""Compilation by Numba, for the inner loops of the beam search and of the Viterbi algorithm."""

from numba import njit


def compiled(function):
    """Compiles a function at its first call and caches the result on disk.

    Where no cache can be written, the function is compiled again in every process.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # Numba can write neither beside the module nor into the home folder
        return njit(nogil=True)(function)
