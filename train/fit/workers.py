"""Local SGD (Stich, 2019, arXiv 1805.09767): several processes on one machine that average their states at intervals.

Every worker trains on batches of its own. Between two syncs no worker waits for another, whereas the threads of a
single process synchronise after every operation. Weights, their averages and the moments of the optimiser are all
averaged, so that after a sync all workers have the same state. A run therefore resumes from one checkpoint, with any
number of workers.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess

import numpy as np

SYNC_STEPS = 25  # training steps of each worker from one sync to the next
POLL_SECONDS = 0.005  # interval at which a worker checks whether the others have arrived at a sync


class WorkerEnded(RuntimeError):
    """A worker process has ended while the others need it."""


@dataclass
class Workers:
    """The workers of a run, as one of them sees them.

    Attributes:
        rank: number of this worker. Number 0 starts the others, measures and writes files.
        count: how many workers there are.
        cores: of this machine, to be divided among the workers; empty where the system cannot pin processes to cores.
        arrivals: in shared memory, how often each worker has arrived at the barriers of a sync.
        states: in shared memory, one row of values for each worker.
        others: the processes that this worker has started.
    """

    rank: int = 0
    count: int = 1
    cores: tuple[int, ...] = ()
    arrivals: ctypes.Array | None = None
    states: ctypes.Array | None = None
    others: list[BaseProcess] = field(default_factory=list)

    @classmethod
    def first(cls, count: int) -> "Workers":
        """Worker 0 of `count`, pinned to its share of the cores; call it before a backend starts its threads."""
        cores = tuple(sorted(os.sched_getaffinity(0))) if count > 1 and hasattr(os, "sched_getaffinity") else ()
        workers = cls(0, count, cores)
        workers.take_cores()
        return workers

    def start_others(self, main: Callable, argv: list[str], values: int) -> None:
        """Starts the other workers.

        Args:
            main: `train.__main__.main`, which every worker calls with `argv` and its own `Workers`.
            argv: the arguments of the command line.
            values: number of floats in a state.
        """
        context = multiprocessing.get_context("spawn")
        self.arrivals = context.RawArray(ctypes.c_int64, self.count)
        self.states = context.RawArray(ctypes.c_float, self.count * values)
        for rank in range(1, self.count):
            process = context.Process(target=_work, args=(main, argv, replace(self, rank=rank, others=[])), daemon=True)
            process.start()
            self.others.append(process)

    def take_cores(self) -> None:
        """Pins this process to its share of the cores."""
        if len(self.cores) >= self.count > 1:
            os.sched_setaffinity(0, self.cores[self.rank :: self.count])

    def mean(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The mean over all workers of their arrays, float32 with the same shapes in each worker.

        Raises:
            WorkerEnded: another worker has ended.
        """
        rows = np.frombuffer(self.states, np.float32).reshape(self.count, -1)
        rows[self.rank] = np.concatenate([array.ravel() for array in arrays])
        self._wait_for_all()
        mean = rows.mean(axis=0)
        self._wait_for_all()  # no worker writes its next state before all have read this one
        ends = np.cumsum([array.size for array in arrays])[:-1]
        return [values.reshape(array.shape) for values, array in zip(np.split(mean, ends), arrays, strict=True)]

    def _wait_for_all(self) -> None:
        """Barrier: returns when every worker has arrived here as often as this one."""
        self.arrivals[self.rank] += 1
        while min(self.arrivals) < self.arrivals[self.rank]:
            self.check()
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raises WorkerEnded if a worker that this one started has failed, or the one that started it has ended."""
        ended = [process for process in self.others if process.exitcode]
        parent = multiprocessing.parent_process() if self.rank else None
        if ended or (parent is not None and not parent.is_alive()):
            raise WorkerEnded("A worker of this run has ended, and the others cannot continue: start the run again.")


def _work(main: Callable, argv: list[str], workers: Workers) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # worker 0 ends the others
    workers.take_cores()
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):  # worker 0 prints for all
        raise SystemExit(main(argv, workers))
