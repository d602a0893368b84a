"""Matrix products on one thread, and on as many as before afterwards."""

import numpy  # noqa: F401  loads its libraries
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from asr_core.blas import one_thread


def threads() -> set[int]:
    """Numbers of threads of NumPy's BLAS libraries."""
    own = (library for library in threadpool_info() if library["user_api"] == "blas" and "numpy" in library["filepath"])
    return {library["num_threads"] for library in own}


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(2, "blas"):
        assert threads() == {2}
        yield


def test_the_number_of_threads_is_one_inside_and_as_before_afterwards():
    with one_thread():
        assert threads() == {1}
        with one_thread():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == {2}


def test_an_error_restores_it():
    with pytest.raises(ValueError, match="inside"), one_thread():
        raise ValueError("inside")
    assert threads() == {2}
