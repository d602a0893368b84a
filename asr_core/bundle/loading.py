"""Loads bundles and checkpoints from a folder or the Hub, and saves bundles to a folder.

Loading never runs code from a bundle. The JSON is checked field by field (`asr_core.bundle.description`), and weights
are read by name into one of our networks, whose shapes are known before memory is allocated. Saving writes, or
replaces, the whole bundle or nothing.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from asr_core.bundle.bundle import Bundle, open_folder, refuse_outside_links
from asr_core.bundle.checkpoints.folder import FolderFiles
from asr_core.bundle.checkpoints.kinds import is_checkpoint
from asr_core.bundle.checkpoints.opening import open_checkpoint
from asr_core.bundle.description import (
    CONFIG,
    FORMAT_VERSION,
    LANGUAGE_MODEL,
    NEURAL_LANGUAGE_MODEL,
    PRONUNCIATIONS,
    README,
    TAGGER,
    fingerprint,
    read_config,
    write_description,
)
from asr_core.bundle.hub import REPOSITORY, Wanted, download_bundle
from asr_core.bundle.weights import write_weights
from asr_core.errors import BundleError, reason
from asr_core.storage import DEFAULT_FOLDER

DEFAULT = "default"  # the name of the model that comes with the program
BEST = "best"  # the bundle in the folder of a training run that is taken if the run is named


def load_bundle(
    source: str | os.PathLike = DEFAULT,
    language: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bundle:
    """Finds a model, downloads it if necessary, and checks its description and its files.

    A model is a bundle of ours, or a checkpoint of a CTC model in the format of transformers, which is translated into
    one (see `asr_core.bundle.checkpoints`).

    Args:
        source: "default" for the embedded model, a folder of a model or of a training run, whose best model is taken,
            or a Hub repository as "name/repo" or "name/repo@revision". Downloads honour HF_ENDPOINT, HF_TOKEN, HF_HOME
            and HF_HUB_OFFLINE; a model in the cache needs no network.
        language: which language of a checkpoint that has several, as its vocabulary names it, such as "deu".
        progress: called while weights are downloaded, with the bytes that are there and those of all files of
            weights; without it, progress bars are shown on standard error.

    Raises:
        BundleError: there is no such model, it is of a kind that does not run, it is damaged, or it is too large for
            this machine.
    """
    asked = os.fspath(source)
    if not asked:
        raise BundleError("The name of the model is empty: name a folder, or name/repo on the Hub.")
    folder = DEFAULT_FOLDER if asked == DEFAULT else Path(asked)
    try:
        if folder.is_dir():
            name = DEFAULT if asked == DEFAULT else folder.resolve().name
            if not (folder / CONFIG).is_file() and (folder / BEST / CONFIG).is_file():
                folder = folder / BEST
            refuse_outside_links(folder, name)
            return _open(folder, name, language)
    except OSError as error:
        raise BundleError(f"The model {asked[:100]} cannot be read ({reason(error)}).") from error
    if asked == DEFAULT:
        raise BundleError("No model comes with this copy: name a folder, or name/repo on the Hub.")
    repository = REPOSITORY.fullmatch(asked)
    if not repository:
        raise BundleError(f"There is no model {asked}: name a folder, or name/repo[@revision] on the Hub.")
    return download_bundle(repository["id"], repository["revision"], Wanted(language, progress))


def _open(folder: Path, name: str, language: str | None) -> Bundle:
    """The model in a folder. Arguments as for `open_folder` and `load_bundle`."""
    config = read_config(folder / CONFIG, name)
    if is_checkpoint(config):
        return open_checkpoint(FolderFiles(folder, name), config, language)
    return open_folder(folder, name, language)


def save_bundle(
    folder, model, config: dict, *, language_model=None, neural_language_model=None, pronunciations=None, tagger=None,
    readme=None, bits=16,
) -> Path:  # fmt: skip
    """Saves a model as a bundle: all of it or nothing.

    Args:
        folder: the folder to write. A bundle that is already there is replaced once the new one is complete.
        model: a network of `asr_core.models`, from which architecture and sizes are taken.
        config: the other fields of `config.json`: featurizer, sample_rate and tokens, and any of
            `asr_core.bundle.description.OPTIONAL`.
        language_model: an `NGramModel`, or the path of a file that holds one.
        neural_language_model: the path of a file that holds a recurrent language model.
        pronunciations: the pronunciations of the words of the language model
            (`asr_core.decoding.lexicon.Pronunciations`), for a network that predicts phones.
        tagger: the path of a file that holds a tagger of punctuation and capitals.
        readme: text of README.md, the model card.
        bits: of each number in a matrix (vectors stay float32): 32 or 16 for floats, 8 or fewer for integers of one
            byte each with a scale for every output.

    Returns:
        The folder.

    Raises:
        BundleError: `config` has an unknown field, a weight is not finite, or `folder` exists and is not a bundle.
    """
    folder = Path(folder)
    free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not free and not (folder / CONFIG).is_file():
        raise BundleError(f"{folder} exists and is not a bundle: name a folder that may be replaced, or a new one.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        copied = {NEURAL_LANGUAGE_MODEL: neural_language_model, TAGGER: tagger}
        files = _write_files(fresh, model, language_model, pronunciations, copied, bits)
        sizes = {k: v for k, v in model.get_config().items() if k not in ("name", "bins", "tokens")}
        description = {
            **config,
            "format_version": FORMAT_VERSION,
            "architecture": {"name": model.name, "sizes": sizes},
            "parameters": model.count_params(),
            "files": {name: fingerprint(fresh / name) for name in files},
        }
        write_description(fresh, description, folder.name)
        (fresh / README).write_text(readme or f"# {config.get('name', folder.name)}\n", encoding="utf-8")
        fresh.chmod(0o755)  # mkdtemp and safetensors give access to the owner only
        for path in fresh.iterdir():
            path.chmod(0o644)
        _replace(folder, fresh)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _write_files(folder: Path, model, language_model, pronunciations, copied: dict, bits: int) -> list[str]:
    """Writes all files that `config.json` lists; returns their names.

    Arguments as for `save_bundle`; `copied` are the paths, or None, of files that are copied, by name.
    """
    files = write_weights(folder, model, bits)
    if language_model is not None:
        if isinstance(language_model, str | os.PathLike):
            from asr_core.decoding.language_model import copy_model

            paths = copy_model(Path(language_model), folder / LANGUAGE_MODEL)
        else:
            paths = language_model.save(folder / LANGUAGE_MODEL)
        files += [path.name for path in paths]
    if pronunciations is not None:
        pronunciations.save(folder / PRONUNCIATIONS)
        files.append(PRONUNCIATIONS)
    for name, path in copied.items():
        if path is not None:
            shutil.copyfile(path, folder / name)
            files.append(name)
    return files


def _replace(folder: Path, fresh: Path) -> None:
    """Moves `fresh` to `folder`; the old folder is deleted only after that has succeeded."""
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
