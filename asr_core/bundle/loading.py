"""Bundles are loaded from a folder or the Hub, and saved to a folder.

Loading never runs code from a bundle: JSON is checked field by field (`asr_core.bundle.bundle.description`), and
weights are
read by name into a network of ours whose shapes are known before a byte is allocated. A bundle is written, and
replaced, all at once or not at all.

"""

import json
import os
import shutil
import tempfile
from pathlib import Path

from asr_core.bundle.bundle import Bundle, _open, _refuse_links
from asr_core.bundle.description import (
    CONFIG,
    FORMAT_VERSION,
    LANGUAGE_MODEL,
    PRONUNCIATIONS,
    README,
    _fingerprint,
    check_description,
)
from asr_core.bundle.hub import REPOSITORY, _pull
from asr_core.bundle.weights import _write_weights
from asr_core.errors import BundleError, reason
from asr_core.storage import ASSETS, compress, unpacked

DEFAULT = "default"  # the name of the model that comes with the program
DEFAULT_FOLDER = ASSETS / "default"


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
            the optional ones (`asr_core.bundle.description.OPTIONAL`).
        language_model: an `NGramModel` to go with it, or the path of one's file.
        pronunciations: of its words (`asr_core.decoding.lexicon.Pronunciations`), for a network that names phones.
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
