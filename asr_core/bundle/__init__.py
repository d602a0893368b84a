"""A model at rest: a folder, or a repository on the Hub, with `config.json` and safetensors.

`load_bundle` returns a checked `Bundle`, of a bundle of ours or of a checkpoint in the format of transformers, which is
translated (`asr_core.bundle.checkpoints`); `save_bundle` writes one. A `Bundle` builds the network, the decoder options
and the language model on demand.
"""

from asr_core.bundle.bundle import Bundle
from asr_core.bundle.loading import load_bundle, save_bundle

__all__ = ["Bundle", "load_bundle", "save_bundle"]
