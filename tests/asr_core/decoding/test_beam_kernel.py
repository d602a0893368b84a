"""The compiled inner loops where Numba cannot write its cache."""

import numba.core.caching
import pytest

from asr_core.decoding.beam_kernel import compiled


def doubled(number):
    return 2 * number


def test_a_machine_on_which_nothing_can_be_written_compiles_all_the_same(monkeypatch):
    cached = compiled(doubled)
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(doubled)
    assert compiled(doubled)(21) == cached(21) == 42
