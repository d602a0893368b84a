"""The weights of a checkpoint, translated into those of our network one at a time."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from asr_core.bundle.checkpoints.kinds import family_of
from asr_core.bundle.checkpoints.sources import Source
from asr_core.bundle.checkpoints.tensors import NUMBERS, StoredTensor
from asr_core.errors import BundleError

OF_TRAINING = re.compile(r".*\.(masked_spec_embed|num_batches_tracked)")  # names of tensors that no network runs with
HEAD = ("head/kernel", "head/bias")  # their last axis is that of the tokens


@dataclass(frozen=True)
class Checkpoint:
    """Where the weights of a translated network come from.

    Attributes:
        config: the contents of the checkpoint's `config.json`.
        tensors: its tensors by name.
        rows: for each token of the bundle its row in the checkpoint's CTC head.
        files: all its files (`asr_core.bundle.checkpoints.opening.Files`); None in another process.
    """

    config: dict
    tensors: dict[str, StoredTensor]
    rows: tuple[int, ...] = ()
    files: object = None

    def __reduce__(self):
        return Checkpoint, (self.config, self.tensors, self.rows)  # sources hold functions

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The sources of all weights, by our names."""
        return family_of(self.config, "").weights(self.config)

    @cached_property
    def bytes(self) -> int:
        """The size of its files of weights."""
        return sum(path.stat().st_size for path in {tensor.path for tensor in self.tensors.values()})

    def of(self, key: str, name: str) -> list[StoredTensor]:
        """The tensors that a weight of ours is made from.

        Args:
            key: name of the weight.
            name: of the checkpoint, for messages.

        Raises:
            BundleError: the checkpoint has them under no name, or in a type that is not a float.
        """
        source = self.sources[key]
        names = source.names(self.tensors)
        if names is None:
            raise BundleError(f"{name}: the tensor {source.tensors[0]} is missing from its weights.")
        for one in names:
            if self.tensors[one].dtype not in NUMBERS:
                found = self.tensors[one].dtype
                raise BundleError(f"{name}: {one} is stored as {found!r:.20}; {', '.join(NUMBERS)} would be read.")
        return [self.tensors[one] for one in names]

    def unused(self) -> list[str]:
        """Names of tensors that no weight is made from, and that the family does not know to serve training only."""
        used = {one for source in self.sources.values() for one in source.names(self.tensors) or ()}
        training = getattr(family_of(self.config, ""), "UNUSED", OF_TRAINING)
        return [one for one in self.tensors if one not in used and not training.fullmatch(one)]

    def check(self, name: str, shapes: dict) -> None:
        """Raises BundleError if tensors are missing, or too small for the shapes of our weights; reads none."""
        if unknown := sorted(shapes.keys() ^ self.sources.keys()):
            raise BundleError(f"{name}: {unknown[0]} and {len(unknown) - 1} other weights have no counterpart.")
        for key, shape in shapes.items():
            tensors = self.of(key, name)
            if tensors and sum(tensor.size for tensor in tensors) < math.prod(shape):
                raise _other_shape(name, self.sources[key].tensors[0], tensors[0].shape)

    def read(self, name: str, shapes: dict) -> Iterator[tuple[str, np.ndarray]]:
        """Yields our weights with their names, float32 of the given shapes, one after the other.

        Raises:
            BundleError: a weight has another shape.
        """
        for key, shape in shapes.items():
            tensors, source = self.of(key, name), self.sources[key]
            try:
                weight = source.convert(*(tensor.read() for tensor in tensors))
                weight = weight[..., self.rows] if key in HEAD else weight
            except (ValueError, IndexError, TypeError) as error:  # from an operation of NumPy that does not fit
                raise _other_shape(name, source.tensors[0], tensors[0].shape) from error
            if weight.shape != shape:
                raise _other_shape(name, source.tensors[0], tensors[0].shape)
            yield key, weight


def _other_shape(name: str, tensor: str, shape: tuple[int, ...]) -> BundleError:
    return BundleError(f"{name}: its tensor {tensor} has shape {shape}, which is not what its config.json makes it.")
