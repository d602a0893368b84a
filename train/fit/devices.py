"""The devices of a data-parallel run over several processes, on JAX."""

from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Devices:
    """The place of this process in a data-parallel run over several processes.

    Attributes:
        rank: number of this process, from 0.
        processes: how many there are. Every process goes through all batches and computes its own rows of each.
    """

    rank: int = 0
    processes: int = 1

    @classmethod
    def of_this_run(cls):
        if keras.distribution.distribution() is None or keras.backend.backend() != "jax":
            return cls()
        import jax

        return cls(jax.process_index(), jax.process_count())

    @property
    def chief(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, batch):
        """The rows of a batch that this process computes."""
        if self.processes == 1:
            return batch
        rows = slice(self.rank, None, self.processes)
        return tuple({key: value[rows] for key, value in part.items()} for part in batch)
