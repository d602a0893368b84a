"""Opens a checkpoint in the format of transformers: its files -> a checked `Bundle`.

The order bounds what a stranger's repository can cost: descriptions first, then the sizes of the weights against the
memory of this machine, then their download, then their headers. Numbers are read only when the network is built.
"""

import re
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Protocol

from asr_core.bundle.bundle import Bundle
from asr_core.bundle.checkpoints.alphabet import FILES, Pieces, arrange, read_pieces
from asr_core.bundle.checkpoints.card import facts_of_card
from asr_core.bundle.checkpoints.checkpoint import Checkpoint
from asr_core.bundle.checkpoints.kinds import family_of
from asr_core.bundle.checkpoints.tensors import StoredTensor, stored_tensors
from asr_core.bundle.description import CONFIG, FORMAT_VERSION, README, check_network, read_json
from asr_core.bundle.memory import refuse_too_large
from asr_core.errors import BundleError, reason

WEIGHTS, INDEX, PICKLE = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
SHARD = re.compile(r"[\w-]+(\.[\w-]+)*\.safetensors")
LANGUAGE = re.compile(r"[\w-]{1,40}")  # part of the name of an adapter's file
MAX_JSON_BYTES = 64 << 20  # of a tokenizer.json with 250,000 pieces and its merges
MAX_CARD_BYTES = 1 << 20
MAX_SHARDS = 1000
HALVES = ("float16", "bfloat16")


class Files(Protocol):
    """The files of a checkpoint, in a folder or on the Hub."""

    name: str  # of the checkpoint, for messages

    def size(self, file: str) -> int | None:
        """Bytes of a file; None if there is no such file."""

    def fetch(self, file: str) -> Path:
        """The path of a file that exists, downloaded if need be."""

    def fetch_weights(self, files: list[str]) -> list[Path]:
        """The paths of large files that exist, downloaded if need be, with progress reported."""

    def converted(self) -> "Files | None":
        """Files with the weights of PICKLE as safetensors, if the Hub's own bot has converted them; else None."""


def open_checkpoint(files: Files, config: dict, language: str | None = None) -> Bundle:
    """The checked bundle that a checkpoint is translated into.

    Args:
        files: of the checkpoint.
        config: the contents of its `config.json`.
        language: which language of a checkpoint that has several.

    Raises:
        BundleError: it is of a kind that does not run, damaged, or too large for this machine.
    """
    name = files.name
    family = family_of(config, name)
    network = _network(family, config, _preprocessor(files), name)
    tokenizer = {file: content for file in FILES if (content := _json(files, file)) is not None}
    with _value_errors_as_bundle_errors(name, "vocabulary"):
        pieces = read_pieces(tokenizer, language, name)
    holder, weights = _weight_files(files, pieces, config)
    half = config.get("dtype", config.get("torch_dtype")) in HALVES
    refuse_too_large(name, sum(size for size in map(holder.size, weights)) * (2 if half else 1))
    paths = holder.fetch_weights(weights)
    tensors: dict[str, StoredTensor] = {}
    for path in paths:  # the adapter of a language is the last, and its tensors replace others
        tensors |= stored_tensors(path, name)
    checkpoint = Checkpoint(config, tensors)
    with _value_errors_as_bundle_errors(name, "config.json"):
        needed = [tensor for key in checkpoint.sources for tensor in checkpoint.of(key, name)]
    parameters = sum(tensor.size for tensor in needed)
    refuse_too_large(name, 4 * parameters)
    with _value_errors_as_bundle_errors(name, "vocabulary"):
        (head,) = checkpoint.of("head/kernel", name)
        blank = config.get("blank_token_id", config.get("pad_token_id"))
        tokens, order = arrange(pieces, blank, head.shape[0], name)
    description = {
        "format_version": FORMAT_VERSION,
        "name": name.partition("@")[0].rpartition("/")[2],
        "decoder": {"decoder": "greedy"},
        **network,
        **facts_of_card(_card(files)),
        **({"language": pieces.language} if pieces.language else {}),
        "tokens": tokens,
        "parameters": parameters,
        "files": {},
    }
    check_network(description, name)
    checkpoint = Checkpoint(config, tensors, order, files)
    return Bundle(files.fetch(CONFIG).parent, description, name, checkpoint, tuple(_notes(checkpoint, holder, files)))


def _network(family: ModuleType, config: dict, preprocessor: dict, name: str) -> dict:
    """The fields of a description for network and front end: architecture, featurizer and sample rate."""
    with _value_errors_as_bundle_errors(name, "config.json"):
        featurizer = family.featurizer(config, preprocessor)
        network = {"architecture": family.architecture(config), "featurizer": featurizer}
    network["sample_rate"] = featurizer.get("sample_rate")
    check_network(network, name)
    return network


@contextmanager
def _value_errors_as_bundle_errors(name: str, what: str):
    """Turns the errors that values of a wrong type lead to into a BundleError about a part of a checkpoint."""
    try:
        yield
    except BundleError as error:
        raise error if str(error).startswith(name) else BundleError(f"{name}: {error}") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BundleError(f"{name}: its {what} is not understood ({reason(error)}).") from error


def _preprocessor(files: Files) -> dict:
    """The description of the feature extractor, which transformers 5 keeps inside another file than before."""
    if (found := _json(files, PREPROCESSOR)) is not None:
        return found
    inside = (_json(files, PROCESSOR) or {}).get("feature_extractor", {})
    return inside if isinstance(inside, dict) else {}


def _json(files: Files, file: str) -> dict | None:
    """The contents of a file that holds a JSON object; None if there is no such file."""
    size = files.size(file)
    if size is None:
        return None
    if size > MAX_JSON_BYTES:
        raise BundleError(f"{files.name}: its {file} has {size:,} bytes, at most {MAX_JSON_BYTES:,} were expected.")
    content = read_json(files.fetch(file), files.name)
    if not isinstance(content, dict):
        raise BundleError(f"{files.name}: its {file} is not a JSON object.")
    return content


def _card(files: Files) -> str:
    """The text of the model card; empty if there is none, or one that is larger than any real one."""
    size = files.size(README)
    if size is None or size > MAX_CARD_BYTES:
        return ""
    return files.fetch(README).read_text(encoding="utf-8", errors="replace")


def _weight_files(files: Files, pieces: Pieces, config: dict) -> tuple[Files, list[str]]:
    """What holds the weights, the checkpoint or its conversion, and the names of the files in order."""
    holder = files
    names = _shards(files)
    if not names:
        holder = files.converted() or files
        names = _shards(holder) if holder is not files else []
    if not names and files.size(PICKLE) is not None:
        raise BundleError(
            f"{files.name} has its weights only as {PICKLE}, which could hold any program and is not opened: convert "
            "it at https://huggingface.co/spaces/safetensors/convert, or name a revision that has model.safetensors."
        )
    if not names:
        raise BundleError(f"{files.name} has no weights: {WEIGHTS}, or {INDEX} and the files that it names.")
    if adapter := _adapter(holder, pieces, config):
        names = [*names, adapter]
    return holder, names


def _adapter(files: Files, pieces: Pieces, config: dict) -> str | None:
    """The name of the file with the adapters and the head of a language; None if the weights are for it already."""
    if not pieces.language or config.get("adapter_attn_dim") is None:
        return None
    adapter = f"adapter.{pieces.language}.safetensors"
    if not LANGUAGE.fullmatch(pieces.language) or files.size(adapter) is None:
        if pieces.default:
            return None
        raise BundleError(f"{files.name} has no {adapter[:80]}, which its language {pieces.language[:40]} needs.")
    return adapter


def _shards(files: Files) -> list[str]:
    """Names of the files of weights; none if there are none."""
    if files.size(WEIGHTS) is not None:
        return [WEIGHTS]
    index = _json(files, INDEX)
    if index is None:
        return []
    listed = index.get("weight_map")
    names = sorted({str(file) for file in listed.values()}) if isinstance(listed, dict) else []
    if not 0 < len(names) <= MAX_SHARDS or not all(map(SHARD.fullmatch, names)):
        raise BundleError(f"{files.name}: its {INDEX} does not name files of weights beside it.")
    if missing := [name for name in names if files.size(name) is None]:
        raise BundleError(f"{files.name} is incomplete: {missing[0]} is missing, which its {INDEX} names.")
    return names


def _notes(checkpoint: Checkpoint, holder: Files, files: Files) -> list[str]:
    """What a user should know about how the checkpoint was read."""
    notes = []
    if checkpoint.config.get("auto_map"):
        notes.append(f"{files.name} names code of its own (auto_map), which is not run.")
    if holder is not files:
        notes.append(f"The weights of {files.name} are those of {holder.name}, which the Hub's bot converted.")
    if unused := checkpoint.unused():
        notes.append(f"{len(unused)} tensors of {files.name} have no place in the network, {unused[0][:80]} for one.")
    return notes
