"""Reads what `make_checkpoints.py` made: checkpoints of transformers, with its features and logits."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from asr_core import models
from asr_core.bundle.weights import weight_name
from asr_core.models.features import make_featurizer

FOLDER = Path(__file__).parents[1] / "data" / "checkpoints"


@dataclass(frozen=True)
class Reference:
    """A checkpoint of transformers in `FOLDER`, and what our module for its family makes of it.

    Attributes:
        name: of its folder.
        family: the module of `asr_core.bundle.checkpoints`.
    """

    name: str
    family: object

    def json(self, name):
        return json.loads((FOLDER / self.name / name).read_text(encoding="utf-8"))

    @cached_property
    def config(self):
        return self.json("config.json")

    @cached_property
    def tensors(self):
        return load_file(FOLDER / self.name / "model.safetensors")

    @cached_property
    def outputs(self):
        """`samples` int16 [n], `logits` [steps, tokens] of transformers, and `features` [frames, bins]."""
        return load_file(FOLDER / self.name / "reference.safetensors")

    @property
    def samples(self):
        """float32 [1, n]."""
        return self.outputs["samples"][None] / np.float32(32768)

    def featurizer(self):
        return make_featurizer(self.family.featurizer(self.config, self.json("preprocessor_config.json")))

    def network(self):
        """Our network with the weights of the checkpoint, its tokens in the order of the checkpoint."""
        architecture = self.family.architecture(self.config)
        sizes = {"bins": self.featurizer().bins, "tokens": self.config["vocab_size"], **architecture["sizes"]}
        model = models.build(architecture["name"], **sizes)
        sources = self.family.weights(self.config)
        assert sources.keys() == {weight_name(model, variable) for variable in model.weights}
        for variable in model.weights:
            source = sources[weight_name(model, variable)]
            tensors = [self.tensors[name] for name in source.names(self.tensors)]
            variable.assign(source.convert(*tensors))  # raises ValueError for another shape
        return model

    def unused(self):
        """Names of the tensors that no weight of ours is made of."""
        used = {name for source in self.family.weights(self.config).values() for name in source.names(self.tensors)}
        return self.tensors.keys() - used
