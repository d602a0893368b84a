"""Opens a language model that did not come with the acoustic model: one of ours, of an ARPA file, or of KenLM.

pyctcdecode's repositories hold a folder `language_model` with the model, the weights that go with it (`attrs.json`),
and the words of a KenLM binary, which stores only their hashes (`unigrams.txt`).
"""

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from asr_core.bundle.bundle import Bundle, OpenedLanguageModel
from asr_core.bundle.hub import download_more
from asr_core.bundle.loading import load_bundle
from asr_core.decoding.arpa import LN_10, read_arpa
from asr_core.decoding.kenlm import KenlmModel, is_kenlm
from asr_core.decoding.language_model import SPECIAL_WORDS, UNKNOWN, NGramModel
from asr_core.decoding.options import MAX_SCORE
from asr_core.errors import LanguageModelError, reason
from asr_core.storage import FETCH_LFS, is_lfs_pointer
from asr_core.text.alphabet import language_code, lower, upper
from asr_core.text.vocabulary import Vocabulary

DEFAULT = "default"  # the n-gram model of the default bundle
COMMIT = re.compile("[0-9a-f]{40}")  # the name of a folder in the cache of the Hub
OWN = "repo"  # the folder beside the acoustic model
FOLDER = "language_model"  # of pyctcdecode, in the repository of an acoustic model
ATTRIBUTES, UNIGRAMS = "attrs.json", "unigrams.txt"
SUFFIXES = (".bin", ".binary", ".klm", ".kenlm", ".arpa", ".arpa.gz", ".gz", ".safetensors")  # the first that is there
MAX_ATTRIBUTES_BYTES = 1 << 20
MAX_UNIGRAMS_BYTES = 1 << 30

ALPHA, BETA, UNKNOWN_OFFSET = 0.5, 1.5, -10.0  # pyctcdecode's defaults; the offset is added to log10 p
WORDS_TRIED = 10_000  # of a language model, to see whether a vocabulary can write them
MIN_WRITABLE = 0.2  # share of these words; a model of another script has none, one of another case all


def with_language_model(bundle: Bundle, name: str | PathLike) -> Bundle:
    """The same model with another language model, and the decoder options that go with that.

    Args:
        bundle: the acoustic model.
        name: as `open_language_model` takes it, or "repo" for the folder `language_model` beside the acoustic model.

    Raises:
        LanguageModelError: there is no such language model, or it does not fit.
    """
    path = _own_folder(bundle) if name == OWN else name
    return replace(bundle, other_language_model=open_language_model(path, bundle.vocabulary))


def _own_folder(bundle: Bundle) -> Path:
    """The folder `language_model` beside an acoustic model; if that came from the Hub, it is downloaded first."""
    folder = bundle.path / FOLDER
    repository, _, revision = bundle.name.partition("@")
    if revision and COMMIT.fullmatch(bundle.path.name):
        download_more(repository, bundle.path.name, f"The language model of {bundle.name}", _wanted)
    if not folder.is_dir():
        raise LanguageModelError(f"{bundle.name} has no folder {FOLDER}: name a file, such as model.arpa.")
    return folder


def _wanted(files: Sequence[str]) -> list[str]:
    """Of the files of a repository, those of its language model: the model first."""
    inside = sorted(file for file in files if file.startswith(f"{FOLDER}/"))
    models = [file for suffix in SUFFIXES for file in inside if file.endswith(suffix)]
    return models[:1] + [file for file in inside if models and Path(file).name in (ATTRIBUTES, UNIGRAMS)]


def open_language_model(path: str | PathLike, vocabulary: Vocabulary) -> OpenedLanguageModel:
    """The language model of a file or folder, its words in the spelling of a vocabulary.

    Args:
        path: "default" for our English one; an ARPA file, plain or gzipped; a "probing" binary of KenLM; a file that
            `NGramModel.save` wrote; a folder with one of them, such as pyctcdecode's, or with such a folder in it.
        vocabulary: that of the acoustic model.

    Raises:
        LanguageModelError: there is no such file, it cannot be read, or the vocabulary cannot write its words.
    """
    if path == DEFAULT:
        opened = OpenedLanguageModel(_spelled(load_bundle().language_model(), vocabulary), {})
    elif Path(path).is_dir():
        opened = _open_folder(Path(path), vocabulary)
    else:
        opened = _open_file(Path(path), vocabulary, {}, ())
    words = opened.model.words[len(SPECIAL_WORDS) :][:: max(1, len(opened.model.words) // WORDS_TRIED)]
    if sum(vocabulary.alphabet.issuperset(word) for word in words) < MIN_WRITABLE * len(words):
        raise LanguageModelError(
            f"The language model {Path(path).name} is for other letters than the model writes: "
            f"it has words such as {', '.join(words[:3])[:60]}."
        )
    return opened


def _open_folder(folder: Path, vocabulary: Vocabulary) -> OpenedLanguageModel:
    inner = folder / FOLDER
    folder = inner if inner.is_dir() else folder
    files = [path for suffix in SUFFIXES for path in sorted(folder.glob(f"*{suffix}")) if path.is_file()]
    if not files:
        raise LanguageModelError(f"{folder.name} holds no language model: an .arpa file or a .bin of KenLM is needed.")
    attributes, unigrams = folder / ATTRIBUTES, folder / UNIGRAMS
    return _open_file(
        files[0],
        vocabulary,
        _attributes(attributes) if attributes.is_file() else {},
        _text(unigrams, MAX_UNIGRAMS_BYTES).split() if unigrams.is_file() else (),
    )


def _open_file(path: Path, vocabulary: Vocabulary, attributes: dict, known: Sequence[str]) -> OpenedLanguageModel:
    if not path.is_file():
        raise LanguageModelError(f"The language model {path} was not found: name an ARPA file or a KenLM binary.")
    if is_lfs_pointer(path):
        raise LanguageModelError(f"The language model {path.name} cannot be read: {FETCH_LFS}.")
    if path.suffix == ".safetensors":
        return OpenedLanguageModel(_spelled(NGramModel.load(path), vocabulary), {})

    def fit(words: list[str]) -> list[str]:
        return spelled(words, vocabulary)

    if is_kenlm(path):
        model = KenlmModel.load(path, fit, fit(list(known)))
    else:
        words, orders = read_arpa(path)
        model = NGramModel.from_ngrams(fit(words), orders)
    offset = attributes.get("unk_score_offset", UNKNOWN_OFFSET)
    unknown, _ = model.score(() if isinstance(model, KenlmModel) else 0, UNKNOWN)
    options = {
        "language_model_weight": attributes.get("alpha", ALPHA),
        "word_bonus": attributes.get("beta", BETA),
        "unknown_word_score": min(0.0, max(-MAX_SCORE, unknown + offset * LN_10)),
        "unknown_letter_score": 0.0,
    }
    return OpenedLanguageModel(model, options)


def _attributes(path: Path) -> dict[str, float]:
    """The numbers in pyctcdecode's attrs.json: alpha, beta and unk_score_offset, where they are there."""
    try:
        found = json.loads(_text(path, MAX_ATTRIBUTES_BYTES))
        numbers = {name: float(found[name]) for name in ("alpha", "beta", "unk_score_offset") if name in found}
    except (ValueError, TypeError, RecursionError) as error:
        raise LanguageModelError(f"{path.name} cannot be read ({reason(error)}).") from None
    if not all(math.isfinite(value) and abs(value) <= MAX_SCORE for value in numbers.values()):
        raise LanguageModelError(f"The numbers of {path.name} must lie between -{MAX_SCORE} and {MAX_SCORE}.")
    if numbers.get("alpha", ALPHA) < 0:
        raise LanguageModelError(f"The weight alpha of {path.name} is below 0.")
    return numbers


def _text(path: Path, most: int) -> str:
    if path.stat().st_size > most:
        raise LanguageModelError(f"{path.name} has more than {most >> 20} MB.")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LanguageModelError(f"{path.name} cannot be read ({reason(error)}).") from None


def spelled(words: list[str], vocabulary: Vocabulary) -> list[str]:
    """Words with composed characters, and in the case of a vocabulary that has only one.

    Where two words become equal, the one that is written so already keeps the spelling, else the first.
    """
    code = language_code(vocabulary.language)
    cased = [letter for letter in vocabulary.letters if letter.lower() != letter.upper()]
    has_lower, has_upper = (any(letter == case(letter, code) for letter in cased) for case in (lower, upper))
    change = None if has_lower == has_upper else lower if has_lower else upper
    taken = set(words)
    result = []
    for word in words:
        fitted = word if word in SPECIAL_WORDS else unicodedata.normalize("NFC", word)
        if change and word not in SPECIAL_WORDS:
            fitted = change(fitted, code)
        if fitted != word and fitted in taken:
            fitted = word
        taken.add(fitted)
        result.append(fitted)
    return result


def _spelled(model: NGramModel, vocabulary: Vocabulary) -> NGramModel:
    """One of our models, whose words are in lower case, for a vocabulary of another case."""
    words = spelled(model.words, vocabulary)
    if words == model.words:
        return model
    if sorted(words[len(SPECIAL_WORDS) :]) != words[len(SPECIAL_WORDS) :]:
        raise LanguageModelError("The language model cannot be put into the case of the model; give its ARPA file.")
    return replace(model, words=words)
