"""Batches made by processes: one interpreter cannot alter sound as fast as a GPU learns from it."""

import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from train.data.batches import TrainingBatches
from train.data.cache import in_order

AHEAD = 3  # batches a process, so that none waits for the slowest


def batches_from_processes(batches: TrainingBatches, numbers: Iterable[int], processes: int) -> Iterator:
    """`batches.batch(number)` for every number, in their order.

    Samples come through shared memory: through a pipe they would keep the interpreter that trains busy.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit the locks of a backend's threads
    pool = ProcessPoolExecutor(processes, spawn, initializer=_begin, initargs=(batches,))
    for name, shape, (x, y) in in_order(pool, _make, numbers, ahead=AHEAD * processes):
        memory = SharedMemory(name)
        x["samples"] = np.ndarray(shape, np.int16, memory.buf).copy()
        memory.close()
        memory.unlink()
        yield x, y


def _begin(batches: TrainingBatches) -> None:
    global _batches
    _batches = batches
    threading.Thread(target=_end_with_the_trainer, daemon=True).start()


def _end_with_the_trainer() -> None:
    """Who waits for work does not notice that there is nobody left to give any."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _make(number: int):
    x, y = _batches.batch(number)
    samples = x.pop("samples")
    memory = SharedMemory(create=True, size=samples.nbytes)
    np.ndarray(samples.shape, samples.dtype, memory.buf)[:] = samples
    memory.close()
    return memory.name, samples.shape, (x, y)
