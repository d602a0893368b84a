"""A model at rest: a folder here, or a repository on the Hub, with `config.json` and safetensors.

Loading one never runs code from it: JSON is checked field by field (`asr_core.description`), and weights are
read by name into a network of ours whose shapes are known before a byte is allocated for it. A bundle is
written, and replaced, all at once or not at all.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asr_core import models
from asr_core.compressed import XZ, compress, unpacked
from asr_core.description import (
    CONTENTS,
    FORMAT_VERSION,
    LANGUAGE_MODEL,
    MOST_CONFIG_BYTES,
    PRONUNCIATIONS,
    WEIGHTS,
    check_description,
    read_description,
)
from asr_core.errors import BundleError, reason
from asr_core.vocabulary import Vocabulary

CONFIG = "config.json"
README = "README.md"
DEFAULT = "default"  # the name of the model that comes with the program
DEFAULT_FOLDER = Path(__file__).parents[1] / "assets" / "default"
FILE_BYTES = 9_000_000  # weights are split into files below this, since the Hub wants LFS beyond 10 MB
SCALE = ".scale"  # follows the name of a matrix of 8-bit numbers: what they are multiplied by, one for each column
FLOATS, WHOLE = ("F16", "F32"), ("I8",)  # how a tensor may be stored: by itself, and with a scale
ANSWER_SECONDS = 5  # the Hub is taken for out of reach where it takes longer; HF_HUB_ETAG_TIMEOUT says otherwise
TRY_LATER = (408, 429, 500, 502, 503, 504)  # statuses of a Hub in trouble
REPOSITORY = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model at rest whose description has been checked; nothing heavy is loaded yet.

    Attributes:
        path: its folder.
        config: the contents of `config.json`.
        name: how to speak of it: "default", a folder's name, or "name/repo@commit".
    """

    path: Path
    config: dict
    name: str

    @property
    def sample_rate(self) -> int:
        """Hz that the model hears."""
        return self.config["sample_rate"]

    @property
    def trained(self) -> bool:
        """Whether the network has learned to transcribe, by its own description."""
        return self.config.get("trained", True)

    @property
    def readme(self) -> str:
        """The card on the Hub, Markdown; empty where the bundle came without."""
        path = self.path / README
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary("".join(self.config["tokens"][1:]))

    def file(self, name: str) -> Path | None:
        """Where one of its files is, as it is or compressed; None where it has none of that name."""
        listed = self.config["files"]
        return next((self.path / there for there in (name, name + XZ) if there in listed), None)

    @property
    def phones(self) -> int:
        """How many phones the network names, if the bundle knows how words sound; else 0."""
        known = self.file(LANGUAGE_MODEL) and self.file(PRONUNCIATIONS)
        return self.config["architecture"]["sizes"].get("phones", 0) if known else 0

    def featurizer(self):
        """The front end that the network was trained with (see `asr_core.featurizer`)."""
        from asr_core.featurizer import make_featurizer  # imports Keras

        try:
            return make_featurizer(self.config["featurizer"])
        except ValueError as error:
            raise BundleError(f"{self.name}: {error}.") from error

    def language_model(self):
        """The n-gram model beside the network, or None."""
        path = self.file(LANGUAGE_MODEL)
        if path is None:
            return None
        from asr_core.language_model import NGramModel

        return NGramModel.load(path)

    def pronunciations(self, language_model):
        """How the words of that model sound (`asr_core.phones.Pronunciations`), or None: not all networks name phones.

        Raises:
            BundleError: the file is damaged, or goes with another language model.
        """
        if not self.phones:
            return None
        from asr_core.phones import Pronunciations

        return Pronunciations.load(self.file(PRONUNCIATIONS), language_model.words, self.phones)

    def decoder_options(self):
        """How the bundle is decoded unless told otherwise (`asr_core.decoder.DecoderOptions`)."""
        from asr_core.decoder import DecoderOptions

        try:
            return DecoderOptions(**self.config.get("decoder", {}))
        except (TypeError, ValueError) as error:
            raise BundleError(f"{self.name}: its decoder defaults are not understood ({reason(error)}).") from error

    def build(self):
        """The network with its weights (keras.Model).

        Raises:
            BundleError: sizes that the architecture does not take, or weights that are not its own.
        """
        architecture = self.config["architecture"]
        arguments = {"bins": self.featurizer().bins, "tokens": len(self.vocabulary), **architecture["sizes"]}
        # Keras remembers variables that were only sketched, to fill them later. It does so in thread-local
        # state: in a thread of its own that memory ends with the thread.
        with ThreadPoolExecutor(max_workers=1) as aside:
            shapes = aside.submit(_sketch, self.name, architecture["name"], arguments).result()
        weights = _read_weights(self, shapes)
        model = models.build(architecture["name"], **arguments)
        for variable in model.weights:
            variable.assign(weights[_key(model, variable)])
        return model


def load_bundle(source: str | os.PathLike = DEFAULT) -> Bundle:
    """Finds a model, downloads it if need be, and checks its description and the integrity of its files.

    Args:
        source: "default" for the embedded model, a folder, or a Hub repository as "name/repo" or
            "name/repo@revision". Downloads honour HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE; what the
            cache holds needs no network.

    Raises:
        BundleError: there is no such model, or it is not one of ours, or it is damaged.
    """
    asked = os.fspath(source)
    folder = DEFAULT_FOLDER if asked == DEFAULT else Path(asked)
    try:
        if folder.is_dir():
            name = DEFAULT if asked == DEFAULT else folder.resolve().name
            _refuse_links(folder, name)
            return _open(folder, name)
    except OSError as error:
        raise BundleError(f"The model {asked[:100]} cannot be read ({reason(error)}).") from error
    if asked == DEFAULT:
        raise BundleError("No model comes with this copy: name a folder, or name/repo on the Hub.")
    repository = REPOSITORY.fullmatch(asked)
    if not repository:
        raise BundleError(f"There is no model {asked}: name a folder, or name/repo[@revision] on the Hub.")
    return _pull(repository["id"], repository["revision"])


def save_bundle(
    folder, model, config: dict, *, language_model=None, pronunciations=None, readme=None, bits=16, compressed=False
) -> Path:
    """Writes a model down, all of it or nothing.

    Args:
        folder: where to; a bundle that stands there is replaced when the new one is complete.
        model: a network of `asr_core.models`; architecture and sizes are taken from itself.
        config: the further fields of `config.json`: featurizer, sample_rate and tokens, and what is known of
            the optional ones (`asr_core.description.OPTIONAL`).
        language_model: an `NGramModel` to go with it, or the path of one's file.
        pronunciations: of its words (`asr_core.phones.Pronunciations`), for a network that names phones.
        readme: text of README.md, the card on the Hub.
        bits: of each number of a matrix (vectors stay float32): 32, 16 (floats), or 8 and fewer (whole numbers of one
            byte each, with a scale for every output; the fewer bits, the smaller once compressed).
        compressed: whether its files are compressed, which is worth it for 8 bits and fewer, and a language model.

    Returns:
        The folder.

    Raises:
        BundleError: a field that a bundle does not have, weights that are not finite, or another folder than a
            bundle's in its place.
    """
    folder = Path(folder)
    free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not free and not (folder / CONFIG).is_file():
        raise BundleError(f"{folder} is there and no bundle: name a folder that may be replaced, or a new one.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        files = _write_weights(fresh, model, bits)
        if language_model is not None:
            if isinstance(language_model, Path):
                with unpacked(language_model) as plain:
                    shutil.copyfile(plain, fresh / LANGUAGE_MODEL)
            else:
                language_model.save(fresh / LANGUAGE_MODEL)
            files.append(LANGUAGE_MODEL)
        if pronunciations is not None:
            pronunciations.save(fresh / PRONUNCIATIONS)
            files.append(PRONUNCIATIONS)
        if compressed:
            files = [compress(fresh / file).name for file in files]
        sizes = {k: v for k, v in model.get_config().items() if k not in ("name", "bins", "tokens")}
        description = {
            **config,
            "format_version": FORMAT_VERSION,
            "architecture": {"name": model.name, "sizes": sizes},
            "parameters": model.count_params(),
            "files": {name: _fingerprint(fresh / name) for name in files},
        }
        check_description(description, folder.name)
        text = json.dumps(description, indent=1, ensure_ascii=False)
        (fresh / CONFIG).write_text(text + "\n", encoding="utf-8")
        (fresh / README).write_text(readme or f"# {config.get('name', folder.name)}\n", encoding="utf-8")
        fresh.chmod(0o755)  # mkdtemp, and safetensors its files, make them for their owner alone
        for path in fresh.iterdir():
            path.chmod(0o644)
        _replace(folder, fresh)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _open(folder: Path, name: str) -> Bundle:
    """A folder, once all its files are known to be there and whole."""
    config = read_description(folder / CONFIG, name)
    for file, facts in config["files"].items():
        path = folder / file
        if not path.is_file():
            raise BundleError(f"{name} is incomplete: {file} is missing; {CONTENTS}.")
        if path.stat().st_size != facts["bytes"] or _fingerprint(path) != facts:
            raise BundleError(f"{name} is damaged: {file} is not what its config.json says; fetch it again.")
    return Bundle(folder, config, name)


def _pull(repository: str, revision: str | None) -> Bundle:
    """Downloads a bundle's own files at one commit, none before its size is known to be right."""
    import httpx2  # the transport of huggingface_hub, whose errors it passes on
    from huggingface_hub import errors

    name = f"{repository}@{revision}" if revision else repository
    try:
        with _quiet_hub_client():
            return _download(repository, revision, name)
    except errors.HFValidationError as error:
        raise BundleError(
            f"There is no folder {name} here, and the Hub has no such names ({reason(error)})."
        ) from error
    except errors.GatedRepoError as error:
        raise BundleError(f"{name} is gated: ask for access on its page and set HF_TOKEN.") from error
    except errors.RepositoryNotFoundError as error:
        raise BundleError(
            f"There is no folder {name} here and no such model on the Hub; if it is private, set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BundleError(f"{repository} has no revision {revision}.") from error
    except errors.LocalEntryNotFoundError as error:
        cause = reason(error.__cause__ or OSError("there is no network, or HF_HUB_OFFLINE forbids it"))
        raise BundleError(
            f"{name} is not complete in the cache and the Hub does not answer ({cause}); try again later."
        ) from error
    except errors.EntryNotFoundError as error:
        raise BundleError(f"{name} on the Hub is no bundle, or not a whole one; {CONTENTS}.") from error
    except (httpx2.HTTPError, OSError) as error:  # the server's refusals, broken connections, a full disk
        raise BundleError(f"{name} could not be downloaded ({reason(error)}); try again later.") from error


def _download(repository: str, revision: str | None, name: str) -> Bundle:
    from huggingface_hub.errors import LocalEntryNotFoundError

    silence = _silence(repository, revision)
    if silence is None:
        return _fetch(repository, revision, name)
    try:
        return _fetch(repository, revision, name, local_files_only=True)
    except LocalEntryNotFoundError as error:
        raise error from silence


def _silence(repository: str, revision: str | None) -> Exception | None:
    """Why the Hub does not answer; None if it does, be it with a refusal.

    Without this question the client tries each file again and again, for half a minute to seven.
    """
    import httpx2
    from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_url

    seconds = constants.HF_HUB_ETAG_TIMEOUT if "HF_HUB_ETAG_TIMEOUT" in os.environ else ANSWER_SECONDS
    try:
        get_hf_file_metadata(hf_hub_url(repository, CONFIG, revision=revision), timeout=seconds)
    except (httpx2.TransportError, errors.OfflineModeIsEnabled) as error:
        return error
    except errors.HfHubHTTPError as error:
        return error if error.response.status_code in TRY_LATER else None
    return None


@contextmanager
def _quiet_hub_client():
    """The client's own warnings are left out: what they are about ends up in one sentence."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _fetch(repository: str, revision: str | None, name: str, **options) -> Bundle:
    """The files of a bundle, from the cache where they are there; `options` are those of `hf_hub_download`."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    facts = hf_hub_download(repository, CONFIG, revision=revision, dry_run=True, **options)
    _check_size(name, CONFIG, facts.file_size, most=MOST_CONFIG_BYTES)
    commit = facts.commit_hash
    path = Path(hf_hub_download(repository, CONFIG, revision=revision, **options))
    config = read_description(path, name)
    for file, expected in config["files"].items():
        facts = hf_hub_download(repository, file, revision=commit, dry_run=True, **options)
        _check_size(name, file, facts.file_size, exactly=expected["bytes"])
        hf_hub_download(repository, file, revision=commit, **options)
    with suppress(EntryNotFoundError):  # a bundle does without its card
        facts = hf_hub_download(repository, README, revision=commit, dry_run=True, **options)
        _check_size(name, README, facts.file_size, most=MOST_CONFIG_BYTES)
        hf_hub_download(repository, README, revision=commit, **options)
    return _open(path.parent, f"{repository}@{commit[:12]}")


def _check_size(name: str, file: str, size: int, most=None, exactly=None) -> None:
    if (most is not None and size > most) or (exactly is not None and size != exactly):
        limit = f"at most {most:,}" if exactly is None else f"{exactly:,} by its config.json"
        raise BundleError(f"{name} was not downloaded: {file} has {size:,} bytes, {limit} were expected.")


def _refuse_links(folder: Path, name: str) -> None:
    """A file that is a link out of the folder would read what the bundle's author has no business to read."""
    inside = folder.resolve()
    for path in folder.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise BundleError(f"{name}: {path.name} is a link out of the folder; put the file itself there.")


def _fingerprint(path: Path) -> dict:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _key(model, variable) -> str:
    """A variable's path inside its network: the same on every backend and for every instance."""
    return variable.path.removeprefix(model.name + "/")


def _sketch(name: str, architecture: str, arguments: dict) -> dict:
    """Shape of every weight by name, computed without allocating any."""
    import keras

    try:
        with keras.StatelessScope(initialize_variables=False):
            model = models.build(architecture, **arguments)
    except Exception as error:  # whatever Keras makes of a stranger's numbers, there is no such network
        raise BundleError(f"{name}: no {architecture} has these sizes ({reason(error)}).") from error
    if unknown := sorted((arguments.keys() - model.get_config().keys()) | (arguments.keys() & {"name"})):
        raise BundleError(f"{name}: a {architecture} has no size {', '.join(unknown)[:200]}.")
    return {_key(model, variable): tuple(variable.shape) for variable in model.weights}


def _read_weights(bundle: Bundle, shapes: dict) -> dict:
    """Every weight as float32, once names, shapes and values are known to be right."""
    from safetensors import SafetensorError, safe_open

    weights = {}
    for file in filter(WEIGHTS.fullmatch, bundle.config["files"]):
        try:
            with unpacked(bundle.path / file) as path, safe_open(path, framework="numpy") as tensors:
                names = tensors.keys()
                scaled = [key for key in names if key in shapes and key + SCALE in names]
                expected = shapes | {key + SCALE: shapes[key][-1:] for key in scaled}
                for key in names:
                    readable = WHOLE if key in scaled else FLOATS
                    _check_tensor(bundle.name, key, tensors.get_slice(key), expected, readable)
                    weights[key] = tensors.get_tensor(key).astype("float32")
                for key in scaled:
                    weights[key] *= weights.pop(key + SCALE)
        except (SafetensorError, OSError, ValueError) as error:
            raise BundleError(f"{bundle.name}: {file} is no safetensors file ({reason(error)}).") from error
    if missing := sorted(shapes.keys() - weights.keys()):
        raise BundleError(f"{bundle.name}: {len(missing)} of its weights are missing, {missing[0]} for one.")
    for key, weight in weights.items():
        if not np.isfinite(weight).all():
            raise BundleError(f"{bundle.name}: its weight {key} is not finite everywhere.")
    return weights


def _check_tensor(name: str, key: str, tensor, shapes: dict, readable: tuple[str, ...]) -> None:
    shape, dtype = tuple(tensor.get_shape()), tensor.get_dtype()
    if key not in shapes:
        raise BundleError(f"{name}: {key[:80]!r} is not a weight of its architecture.")
    if shape != shapes[key]:
        raise BundleError(f"{name}: its weight {key} has shape {shape}, but its sizes make it {shapes[key]}.")
    if dtype not in readable:
        raise BundleError(f"{name}: its weight {key} is stored as {dtype}; {' and '.join(readable)} would be read.")


def _write_weights(folder: Path, model, bits: int) -> list[str]:
    """Writes the weights in files below FILE_BYTES; returns their names."""
    from safetensors.numpy import save_file

    parts, room = [], 0
    for variable in model.weights:
        stored = _stored(_key(model, variable), variable, bits)
        size = sum(array.nbytes for array in stored.values())
        if size > room:
            parts, room = [*parts, {}], FILE_BYTES
        parts[-1] |= stored
        room -= size
    names = [f"model-{i:05}-of-{len(parts):05}.safetensors" for i in range(1, len(parts) + 1)]
    for part, name in zip(parts, names, strict=True):
        save_file(part, folder / name)
    return names


def _stored(key: str, variable, bits: int) -> dict[str, np.ndarray]:
    """A weight as it is written: itself, or 8-bit numbers and their scale."""
    dtype = "float16" if bits == 16 and variable.ndim > 1 else "float32"
    with np.errstate(over="ignore"):  # told below, with the weight's name
        weight = np.ascontiguousarray(variable.numpy(), dtype)
    if not np.isfinite(weight).all():
        raise BundleError(f"The weight {variable.path} is not finite as {dtype}: nothing was saved.")
    if bits > 8 or weight.ndim < 2:
        return {key: weight}
    scale = np.abs(weight).max(axis=tuple(range(weight.ndim - 1))) / (2 ** (bits - 1) - 1)
    whole = np.round(weight / np.where(scale > 0, scale, 1)).astype("int8")
    return {key: whole, key + SCALE: scale}


def _replace(folder: Path, fresh: Path) -> None:
    """Puts `fresh` in the place of `folder`; what stood there goes only when the new one stands."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
    folder.rename(old / "bundle")
    try:
        fresh.rename(folder)
    except OSError:
        (old / "bundle").rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
