"""Several processes on the cores of one machine, each training on batches of its own, that now and then take the mean.

This is local SGD (Stich, 2019, arXiv 1805.09767). Between two meetings nobody waits for anybody, and each worker keeps
its core busy, where the threads of one process come together after every small operation. Weights, averages and the
optimiser's moments are all shared: after a meeting the state of one is the state of all, so that a run goes on from one
checkpoint, with another number of workers if need be.
"""

import contextlib
import ctypes
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess

import numpy as np

SYNC_STEPS = 25  # of each worker, from one meeting to the next
LOOK_SECONDS = 0.005  # between two looks at whether the others have come


class WorkerEnded(RuntimeError):
    """A worker that the others need is no longer there."""


@dataclass
class Workers:
    """One worker's view of all.

    Attributes:
        rank, count: which of how many; number 0 starts the others, measures and writes.
        cores: of this machine, of which each takes its share; empty where the system has no say in that.
        places: how many times each worker has come to a meeting's beginning or end, in shared memory.
        table: the states that they bring, in shared memory, one row each.
        others: the processes that this one has started.
    """

    rank: int = 0
    count: int = 1
    cores: tuple[int, ...] = ()
    places: ctypes.Array | None = None
    table: ctypes.Array | None = None
    others: list[BaseProcess] = field(default_factory=list)

    @classmethod
    def first(cls, count: int) -> "Workers":
        """Number 0 of so many, on its share of the cores; call it before a backend makes its threads."""
        cores = tuple(sorted(os.sched_getaffinity(0))) if count > 1 and hasattr(os, "sched_getaffinity") else ()
        workers = cls(0, count, cores)
        workers.take_cores()
        return workers

    def start_others(self, main: Callable, argv: list[str], values: int) -> None:
        """Starts the other workers.

        Args:
            main: `train.__main__.main`, which each of them runs with these arguments and its own `Workers`.
            argv: the arguments of the command line.
            values: numbers in a state, all weights together.
        """
        context = multiprocessing.get_context("spawn")
        self.places = context.RawArray(ctypes.c_int64, self.count)
        self.table = context.RawArray(ctypes.c_float, self.count * values)
        for rank in range(1, self.count):
            process = context.Process(target=_work, args=(main, argv, replace(self, rank=rank, others=[])), daemon=True)
            process.start()
            self.others.append(process)

    def take_cores(self) -> None:
        """Keeps this process to its share of the cores."""
        if len(self.cores) >= self.count > 1:
            os.sched_setaffinity(0, self.cores[self.rank :: self.count])

    def mean(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The mean over all workers of float arrays that have the same shapes in each.

        Raises:
            WorkerEnded: another one is no longer there.
        """
        rows = np.frombuffer(self.table, np.float32).reshape(self.count, -1)
        rows[self.rank] = np.concatenate([array.ravel() for array in arrays])
        self._wait_for_all()
        mean = rows.mean(axis=0)
        self._wait_for_all()  # nobody writes before all have read
        ends = np.cumsum([array.size for array in arrays])[:-1]
        return [part.reshape(array.shape) for part, array in zip(np.split(mean, ends), arrays, strict=True)]

    def _wait_for_all(self) -> None:
        self.places[self.rank] += 1
        while min(self.places) < self.places[self.rank]:
            self.check()
            time.sleep(LOOK_SECONDS)

    def check(self) -> None:
        """Raises WorkerEnded when a worker that this one needs is no longer there."""
        ended = [process for process in self.others if process.exitcode]
        parent = multiprocessing.parent_process() if self.rank else None
        if ended or (parent is not None and not parent.is_alive()):
            raise WorkerEnded("A worker of this run has ended, and the others cannot go on: start the run again.")


def _work(main: Callable, argv: list[str], workers: Workers) -> None:
    workers.take_cores()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # number 0 says it all
        raise SystemExit(main(argv, workers))
