"""Compilation of inner loops by Numba, for the beam search and the aligner."""

from numba import njit


def compiled(function):
    """njit, with the result on disk; where nothing can be written, every start of the program compiles anew."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # Numba found neither beside this file nor at home a folder to write in
        return njit(nogil=True)(function)
