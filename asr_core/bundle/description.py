"""The description of a bundle, `config.json`: its fields, and the checks of their types and limits.

Bundles come from strangers. All that can be checked without building the network is checked here, before memory is
allocated for a bundle or its other files are downloaded.
"""

import hashlib
import json
import re
from dataclasses import fields
from pathlib import Path

from asr_core import models
from asr_core.bundle.memory import refuse_too_large
from asr_core.decoding.confidence import Calibration
from asr_core.errors import BundleError, reason
from asr_core.storage import replace_file
from asr_core.text.vocabulary import BLANK, Vocabulary

FORMAT_VERSION = 1
LANGUAGE_MODEL = "language_model.safetensors"  # the first file; a large model continues in others
LANGUAGE_MODELS = re.compile(r"language_model(-[2-9])?\.safetensors")
NEURAL_LANGUAGE_MODEL = "neural_language_model.safetensors"
PRONUNCIATIONS = "pronunciations.safetensors"
TAGGER = "tagger.safetensors"  # of punctuation and capitals
OTHER_FILES = (NEURAL_LANGUAGE_MODEL, PRONUNCIATIONS, TAGGER)  # that a bundle may have beside weights and n-grams
CONFIG = "config.json"
README = "README.md"
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
CONTENTS = "a bundle holds config.json, the model*.safetensors that it names and README.md"  # for error messages

MAX_CONFIG_BYTES = 1 << 20
MAX_TOKENS = 65_536  # more than any tokeniser of a CTC model has
MAX_TOKEN_CHARACTERS = 64  # of a token's text
MAX_SIZE = 16_384  # of an architecture's size that MAX_SIZES does not list
MAX_SIZES = {"blocks": 128, "layers": 128, "outer_blocks": 128, "rnn_layers": 64, "kernel": 255}  # by name
MAX_LIST = 64  # numbers in a size that is a list
MAX_WORD = 40  # characters of a size that is a word, such as the name of an activation
SAMPLE_RATES = (4_000, 96_000)  # Hz, lowest and highest that make sense for speech

DECODERS = ("beam", "greedy")
ORIGINS = (*DECODERS, "aligned")  # where a word comes from: each origin has its own confidence calibration
CALIBRATION = {field.name for field in fields(Calibration)}

REQUIRED = {
    "format_version": int,
    "architecture": dict,  # {"name": one of models.ARCHITECTURES, "sizes": its arguments}
    "featurizer": dict,  # as make_featurizer takes it
    "sample_rate": int,  # Hz
    "tokens": list,  # what each token writes, the blank "" first
    "files": dict,  # {name: {"bytes", "sha256"}} of all files but config.json and README.md
}
OPTIONAL = {
    "name": str,
    "description": str,
    "language": str,
    "licence": str,
    "trained": bool,  # false for a network with random weights
    "training_data": list,  # [{"name", "hours", "licence", ...}]
    "evaluation": list,  # [{"dataset", "split", "decoder", "wer", "cer", ...}]
    "confidence": dict,  # {one of ORIGINS: fields of asr_core.decoding.confidence.Calibration}
    "decoder": dict,  # defaults of DecoderOptions
    "dereverberation": bool,  # whether recordings are dereverberated before the network (default: no)
    "recipe": dict,  # how it was trained
    "parameters": int,
}


def read_description(path: Path, name: str) -> dict:
    """The checked contents of a `config.json`.

    Args:
        path: the file.
        name: of the bundle, for messages.

    Raises:
        BundleError: the file is missing, unreadable, or does not describe a bundle of this program.
    """
    config = read_config(path, name)
    check_description(config, name)
    return config


def read_config(path: Path, name: str):
    """The contents of a `config.json` of any kind. Raises BundleError if it is missing, too large, or not JSON."""
    if not path.is_file():
        raise BundleError(f"{name} is not a bundle: it has no config.json; {CONTENTS}.")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise BundleError(f"{name}: its config.json has more than {MAX_CONFIG_BYTES >> 20} MB.")
    return read_json(path, name)


def read_json(path: Path, name: str):
    """The contents of a JSON file. Raises BundleError if it is not JSON, or nested too deeply."""
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name}: its {path.name} cannot be read ({reason(error)}).") from error


def check_description(config, name: str) -> None:
    """Raises BundleError for the first field of a description that is missing, unknown, or out of its limits."""
    if not isinstance(config, dict) or "format_version" not in config:
        raise BundleError(f"{name} is not a bundle: its config.json has no format_version; {CONTENTS}.")
    if config["format_version"] != FORMAT_VERSION:
        raise BundleError(
            f"{name} has format version {_short(config['format_version'])} and this program reads "
            f"{FORMAT_VERSION}: update the program, or convert the model."
        )
    if missing := sorted(REQUIRED.keys() - config.keys()):
        raise BundleError(f"{name}: its config.json lacks {', '.join(missing)}.")
    types = REQUIRED | OPTIONAL
    for field, value in config.items():
        if field not in types:
            raise BundleError(f"{name}: its config.json has a field that is not known, {_short(field)}.")
        if type(value) is not types[field]:
            raise BundleError(f"{name}: {field} in its config.json is not of type {types[field].__name__}.")
    check_network(config, name)
    _check_files(config["files"], name)
    _check_confidence(config.get("confidence", {}), name)
    _check_decoder(config.get("decoder", {}), name)


def check_network(config: dict, name: str) -> None:
    """Raises BundleError if the fields that describe the network, as far as they are there, are out of limits."""
    _check_architecture(config["architecture"], name)
    _check_featurizer(config["sample_rate"], config["featurizer"], name)
    if "tokens" in config:
        _check_tokens(config["tokens"], name)


def _check_architecture(architecture: dict, name: str) -> None:
    if architecture.keys() != {"name", "sizes"} or not isinstance(architecture["sizes"], dict):
        raise BundleError(f"{name}: its architecture must have a name and sizes, and nothing else.")
    if architecture["name"] not in models.ARCHITECTURES:
        known = ", ".join(models.ARCHITECTURES)
        raise BundleError(f"{name}: there is no architecture {_short(architecture['name'])}, only {known}.")
    for size, value in architecture["sizes"].items():
        parts = value if isinstance(value, list) else [value]
        most = MAX_SIZES.get(size, MAX_SIZE)
        if len(parts) > MAX_LIST or not all(_is_word(part) or _lies_within(part, 0, most) for part in parts):
            raise BundleError(f"{name}: the size {_short(size)} is {_short(value)}; it must lie between 0 and {most}.")


def _check_featurizer(sample_rate: int, featurizer: dict, name: str) -> None:
    low, high = SAMPLE_RATES
    if type(sample_rate) is not int or not low <= sample_rate <= high:
        raise BundleError(f"{name}: its sample rate of {_short(sample_rate)} Hz is not from {low} to {high}.")
    if featurizer.get("sample_rate") != sample_rate:
        raise BundleError(f"{name}: its featurizer is not for its sample rate of {sample_rate} Hz.")
    for field, value in featurizer.items():
        least, most = (0.001, 0.1) if field.endswith("_seconds") else (1 if type(value) is int else 0, MAX_SIZE)
        if field not in ("name", "sample_rate") and not _lies_within(value, least, most):
            raise BundleError(
                f"{name}: {_short(field)} of its featurizer is {_short(value)}; it must lie between {least} and {most}."
            )


def _check_tokens(tokens: list, name: str) -> None:
    if not 2 <= len(tokens) <= MAX_TOKENS or tokens[BLANK] != "":
        raise BundleError(f'{name}: its tokens must be the blank, "", and 1 to {MAX_TOKENS - 1} others.')
    if not all(isinstance(token, str) and len(token) <= MAX_TOKEN_CHARACTERS for token in tokens):
        raise BundleError(f"{name}: its tokens must be texts of at most {MAX_TOKEN_CHARACTERS} characters.")
    try:
        Vocabulary(tokens)
    except ValueError as error:
        raise BundleError(f"{name}: its tokens are not a vocabulary: {error}") from None


def _check_files(files: dict, name: str) -> None:
    totals = {True: 0, False: 0}  # bytes, by whether a file holds weights of the network
    for file, facts in files.items():
        known = WEIGHTS.fullmatch(file) or LANGUAGE_MODELS.fullmatch(file) or file in OTHER_FILES
        if not known:
            raise BundleError(f"{name}: {_short(file)} is not a file of a bundle; {CONTENTS}.")
        complete = isinstance(facts, dict) and facts.keys() == {"bytes", "sha256"}
        if not complete or type(facts["bytes"]) is not int:
            raise BundleError(f"{name}: its config.json must give bytes and sha256 of {file}.")
        totals[bool(WEIGHTS.fullmatch(file))] += max(facts["bytes"], 0)
    if not totals[True]:
        raise BundleError(f"{name}: its config.json names no weights; {CONTENTS}.")
    refuse_too_large(name, sum(totals.values()))


def _check_confidence(confidence: dict, name: str) -> None:
    for origin, numbers in confidence.items():
        if origin not in ORIGINS or not isinstance(numbers, dict) or not numbers.keys() <= CALIBRATION:
            raise BundleError(
                f"{name}: its confidence must have {', '.join(sorted(CALIBRATION))} of {', '.join(ORIGINS)}, "
                "and nothing else."
            )
        if not all(_lies_within(value, -100, 100) for value in numbers.values()):
            raise BundleError(f"{name}: the numbers of its confidence must lie between -100 and 100.")


def _check_decoder(options: dict, name: str) -> None:
    for option, value in options.items():
        if value not in DECODERS and not _lies_within(value, -1000, 1000):
            raise BundleError(f"{name}: {_short(option)} of its decoder is {_short(value)}; it must be a number.")


def _lies_within(value, low, high) -> bool:
    return type(value) in (int, float, bool) and low <= value <= high


def _is_word(value) -> bool:
    return isinstance(value, str) and len(value) <= MAX_WORD and value.isidentifier()


def _short(value) -> str:
    """A value from a description, shortened for a message."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 1e12 else "a huge number"
    return text if len(text) <= 60 else text[:60] + "..."


def _refuse_constant(constant):
    raise ValueError(f"{constant} is not JSON")


def write_description(folder: Path, config: dict, name: str) -> None:
    """Writes `config.json` of a bundle, as a whole or not at all. Raises BundleError if it is not valid."""
    check_description(config, name)
    replace_file(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def fingerprint(path: Path) -> dict:
    """The entry of a file under "files" in `config.json`: its bytes and SHA-256."""
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
