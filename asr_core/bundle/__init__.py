"""A model at rest: a folder, or a repository on the Hub, with `config.json` and safetensors.

`load_bundle` gives a checked `Bundle`; `save_bundle` writes one. The network, its decoder and its language model are
built from it when they are asked for.
"""

from asr_core.bundle.bundle import Bundle
from asr_core.bundle.loading import load_bundle, save_bundle

__all__ = ["Bundle", "load_bundle", "save_bundle"]
