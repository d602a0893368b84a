"""A model whose description has been checked, and the objects that are built from it.

Nothing heavy happens before one of them is asked for.

"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from asr_core import models
from asr_core.bundle.description import (
    CONFIG,
    CONTENTS,
    LANGUAGE_MODEL,
    PRONUNCIATIONS,
    README,
    _fingerprint,
    read_description,
)
from asr_core.bundle.weights import _key, _read_weights, _sketch
from asr_core.errors import BundleError, reason
from asr_core.storage import XZ
from asr_core.text.vocabulary import Vocabulary


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
        """The front end that the network was trained with (see `asr_core.models.features`)."""
        from asr_core.models.features import make_featurizer

        try:
            return make_featurizer(self.config["featurizer"])
        except ValueError as error:
            raise BundleError(f"{self.name}: {error}.") from error

    def language_model(self):
        """The n-gram model beside the network, or None."""
        path = self.file(LANGUAGE_MODEL)
        if path is None:
            return None
        from asr_core.decoding.language_model import NGramModel

        return NGramModel.load(path)

    def pronunciations(self, language_model):
        """How the words of that model sound (`asr_core.decoding.lexicon.Pronunciations`), or None: not all
        networks name phones.

        Raises:
            BundleError: the file is damaged, or goes with another language model.
        """
        if not self.phones:
            return None
        from asr_core.decoding.lexicon import Pronunciations

        return Pronunciations.load(self.file(PRONUNCIATIONS), language_model.words, self.phones)

    def decoder_options(self):
        """How the bundle is decoded unless told otherwise (`asr_core.decoding.beam_search.DecoderOptions`)."""
        from asr_core.decoding.beam_search import DecoderOptions

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
        if arguments.get("intermediate") == []:  # bundles of earlier versions have this key, always empty
            del arguments["intermediate"]
        # Keras remembers variables that were only sketched, to fill them later. It does so in thread-local
        # state: in a thread of its own that memory ends with the thread.
        with ThreadPoolExecutor(max_workers=1) as aside:
            shapes = aside.submit(_sketch, self.name, architecture["name"], arguments).result()
        weights = _read_weights(self, shapes)
        model = models.build(architecture["name"], **arguments)
        for variable in model.weights:
            variable.assign(weights[_key(model, variable)])
        return model


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


def _refuse_links(folder: Path, name: str) -> None:
    """A file that is a link out of the folder would read what the bundle's author has no business to read."""
    inside = folder.resolve()
    for path in folder.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise BundleError(f"{name}: {path.name} is a link out of the folder; put the file itself there.")
