"""Batches made by several processes: one interpreter cannot augment audio as fast as a GPU trains on it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from train.data.batches import TrainingBatches
from train.data.cache import in_order

AHEAD = 3  # batches per process that are made in advance, so that a slow batch does not stall the trainer


def batches_from_processes(batches: TrainingBatches, numbers: Iterable[int], processes: int) -> Iterator:
    """Yields `batches.batch(number)` for every number, in order.

    Samples are passed through shared memory: to read them from a pipe would take the training process too long.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit the locks of a backend's threads
    pool = ProcessPoolExecutor(processes, spawn, initializer=_initialise, initargs=(batches,))
    for name, shape, (x, y) in in_order(pool, _make, numbers, ahead=AHEAD * processes):
        memory = SharedMemory(name)
        x["samples"] = np.ndarray(shape, np.int16, memory.buf).copy()
        memory.close()
        memory.unlink()
        yield x, y


def _initialise(batches: TrainingBatches) -> None:
    global _batches
    _batches = batches
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer handles Ctrl-C for all
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Ends this process when the trainer was killed: a pool's process that waits for work does not notice."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _make(number: int):
    x, y = _batches.batch(number)
    samples = x.pop("samples")
    memory = SharedMemory(create=True, size=samples.nbytes)
    np.ndarray(samples.shape, samples.dtype, memory.buf)[:] = samples
    memory.close()
    return memory.name, samples.shape, (x, y)
