"""`Bundle`: a model on disk whose description has been checked, and the objects that are built from it on demand."""

import math
import re
import string
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from asr_core import models
from asr_core.bundle.checkpoints.checkpoint import Checkpoint
from asr_core.bundle.description import (
    CONFIG,
    CONTENTS,
    LANGUAGE_MODEL,
    NEURAL_LANGUAGE_MODEL,
    PRONUNCIATIONS,
    README,
    TAGGER,
    fingerprint,
    read_description,
)
from asr_core.bundle.memory import refuse_too_large
from asr_core.bundle.weights import BundleWeights, read_weights, weight_name, weight_shapes
from asr_core.errors import BundleError, reason
from asr_core.storage import DEFAULT_FOLDER, FETCH_LFS, is_lfs_pointer
from asr_core.text.vocabulary import Vocabulary

PLAIN_ENGLISH = frozenset(string.ascii_lowercase + " '-")  # an alphabet without capitals and punctuation
SNAPSHOT = re.compile(r"/models--[^/]+/snapshots/[0-9a-f]{40}$")  # a folder in the cache of the Hub


class OpenedLanguageModel(NamedTuple):
    """A language model that did not come with the bundle (see `asr_core.bundle.language_models`).

    Attributes:
        model: an `asr_core.decoding.language_model.NGramModel` or `asr_core.decoding.kenlm.KenlmModel`.
        options: the decoder options that go with it, fields of DecoderOptions; none if it has no own.
    """

    model: Any
    options: dict[str, float]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model on disk whose description has been checked. Nothing heavy is loaded before it is asked for.

    Attributes:
        path: its folder.
        config: the contents of `config.json`.
        name: what messages call it: "default", a folder's name, or "name/repo@commit".
        checkpoint: where the weights are read from, if the model is a translated checkpoint of transformers and no
            bundle of ours (see `asr_core.bundle.checkpoints`); `config` is then the description it was translated into.
        notes: what a user should know about how the model was read, a sentence each.
        other_language_model: instead of its own (see `asr_core.bundle.language_models.with_language_model`), or None.
    """

    path: Path
    config: dict
    name: str
    checkpoint: Checkpoint | None = None
    notes: tuple[str, ...] = ()
    other_language_model: OpenedLanguageModel | None = None

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz of the audio that the network takes."""
        return self.config["sample_rate"]

    @property
    def trained(self) -> bool:
        """Whether the network has been trained, according to `config.json`."""
        return self.config.get("trained", True)

    @property
    def language(self) -> str | None:
        """The code of the language that it writes; None if it has several, or `config.json` lacks it."""
        return self.config.get("language")

    @property
    def licence(self) -> str | None:
        """The licence of the weights; None if `config.json` lacks it."""
        return self.config.get("licence")

    @property
    def parameters(self) -> int | None:
        """The number of its weights; None if `config.json` lacks it."""
        return self.config.get("parameters")

    @property
    def bytes(self) -> int:
        """The size of its files."""
        if self.checkpoint:
            return self.checkpoint.bytes
        return sum(facts["bytes"] for facts in self.config["files"].values())

    @property
    def file_names(self) -> list[str]:
        """The names of the files in its folder that it is read from, its description among them."""
        if not self.checkpoint:
            return [CONFIG, *self.config["files"]]
        weights = {tensor.path for tensor in self.checkpoint.tensors.values() if tensor.path.parent == self.path}
        return sorted(path.name for path in {*weights, *self.path.glob("*.json"), *self.path.glob(README)})

    @property
    def readme(self) -> str:
        """The model card in Markdown; empty if the bundle has none."""
        path = self.path / README
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.config["tokens"], self.config.get("language", ""))

    def file(self, name: str) -> Path | None:
        """The path of a file of the bundle; None if `config.json` lists no such file."""
        return self.path / name if name in self.config["files"] else None

    @property
    def phones(self) -> int:
        """Number of phones that the network predicts; 0 if the bundle has no pronunciations to use them with."""
        usable = self.file(LANGUAGE_MODEL) and self.file(PRONUNCIATIONS) and self.other_language_model is None
        return self.config["architecture"]["sizes"].get("phones", 0) if usable else 0

    def featurizer(self):
        """The feature extractor that the network was trained with (see `asr_core.models.features`)."""
        from asr_core.models.features import make_featurizer

        try:
            return make_featurizer(self.config["featurizer"])
        except ValueError as error:
            raise BundleError(f"{self.name}: {error}.") from error

    def language_model(self):
        """The n-gram language model (`asr_core.decoding.language_model.NGramModel` or a KenlmModel), or None.

        Raises:
            LanguageModelError: its file is damaged.
        """
        if self.other_language_model is not None:
            return self.other_language_model.model
        path = self.file(LANGUAGE_MODEL)
        if path is None:
            return None
        from asr_core.decoding.language_model import NGramModel

        return NGramModel.load(path)

    def neural_language_model(self):
        """The recurrent language model (`asr_core.decoding.neural_language_model.NeuralLanguageModel`), or None.

        Returns None where the language model is not the bundle's own.

        Raises:
            LanguageModelError: the file is damaged.
        """
        path = self.file(NEURAL_LANGUAGE_MODEL)
        if path is None or self.other_language_model is not None:
            return None
        from asr_core.decoding.neural_language_model import NeuralLanguageModel

        return NeuralLanguageModel.load(path)

    def pronunciations(self, language_model):
        """The pronunciations of the words of the language model (`asr_core.decoding.lexicon.Pronunciations`).

        Returns None for a network that predicts no phones.

        Raises:
            BundleError: the file is damaged, or belongs to another language model.
        """
        if not self.phones:
            return None
        from asr_core.decoding.lexicon import Pronunciations

        words, log_probs = language_model.words, language_model.unigram_log_probs
        return Pronunciations.load(self.file(PRONUNCIATIONS), words, self.phones, log_probs)

    def tagger(self):
        """The tagger of punctuation and capitals (`asr_core.text.tagger.Tagger`), or None.

        A checkpoint of others that writes English without capitals and punctuation gets that of the default model.

        Raises:
            BundleError: the file is damaged.
        """
        path = self.tagger_path
        if path is None:
            return None
        from asr_core.text.tagger import Tagger

        return Tagger.load(path)

    @property
    def tagger_path(self) -> Path | None:
        """The file of the tagger, or None."""
        own = self.file(TAGGER)
        if own or not self.checkpoint:
            return own
        plain_english = self.vocabulary.language == "en" and self.vocabulary.alphabet <= PLAIN_ENGLISH
        default = DEFAULT_FOLDER / TAGGER
        return default if plain_english and default.is_file() else None

    def decoder_options(self):
        """The decoder options that the bundle recommends (`asr_core.decoding.options.DecoderOptions`)."""
        from asr_core.decoding.options import DecoderOptions

        other = self.other_language_model
        try:
            # Greedy decoding has no use for a language model, so that one selects the beam search.
            others = {"decoder": "beam", **other.options} if other else {}
            return DecoderOptions(**self.config.get("decoder", {}) | others)
        except (TypeError, ValueError) as error:
            raise BundleError(f"{self.name}: its decoder defaults are not understood ({reason(error)}).") from error

    def build(self):
        """Builds the network and loads its weights; returns a keras.Model.

        Raises:
            BundleError: the architecture does not accept the sizes, the weights do not belong to it, or they do not
                fit into memory.
        """
        architecture = self.config["architecture"]
        arguments = {"bins": self.featurizer().bins, "tokens": len(self.vocabulary), **architecture["sizes"]}
        if arguments.get("intermediate") == []:  # bundles of earlier versions have this key, always empty
            del arguments["intermediate"]
        # Keras keeps a thread-local list of variables that have not been initialised. In a thread of its own, the list
        # of the model that is built only for its shapes is dropped when the thread ends.
        with ThreadPoolExecutor(max_workers=1) as executor:
            shapes = executor.submit(weight_shapes, self.name, architecture["name"], arguments).result()
        source = self.checkpoint or BundleWeights(self.path, tuple(self.config["files"]))
        weights = read_weights(source, self.name, shapes)  # checks the shapes before memory is allocated
        refuse_too_large(self.name, 4 * sum(map(math.prod, shapes.values())))
        model = models.build(architecture["name"], **arguments)
        variables = {weight_name(model, variable): variable for variable in model.weights}
        for key, weight in weights:
            variables[key].assign(weight)
        return model


def open_folder(folder: Path, name: str, language: str | None = None) -> Bundle:
    """The bundle in a folder.

    Args:
        name: of the bundle, for messages.
        language: what is asked for; a bundle has one language only.

    Raises:
        BundleError: a file is missing, or differs from its checksum, or the bundle is not for this language.
    """
    config = read_description(folder / CONFIG, name)
    if language and language != config.get("language"):
        raise BundleError(f"{name} has no choice of languages: leave out the language {language[:20]!r}.")
    for file, facts in config["files"].items():
        path = folder / file
        if not path.is_file():
            raise BundleError(f"{name} is incomplete: {file} is missing; {CONTENTS}.")
        if path.stat().st_size != facts["bytes"] or fingerprint(path) != facts:
            advice = FETCH_LFS if is_lfs_pointer(path) else "fetch it again"
            raise BundleError(f"{name} is damaged: {file} is not what its config.json says; {advice}.")
    return Bundle(folder, config, name)


def refuse_outside_links(folder: Path, name: str) -> None:
    """Raises BundleError if a file is a symbolic link out of the folder, through which a bundle could read any file.

    In a snapshot of the Hub's cache, the links lead to the blobs of the same repository.
    """
    inside = folder.resolve()
    snapshot = SNAPSHOT.search(inside.as_posix())
    allowed = [inside, *([inside.parents[1] / "blobs"] if snapshot else [])]
    for path in folder.iterdir():
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
            raise BundleError(f"{name}: {path.name} is a link out of the folder; put the file itself there.")
