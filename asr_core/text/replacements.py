"""Pairs "spoken -> written" for names, brands and terms, which the written form of a transcript follows.

A file has one pair on each line; lines that begin with # are comments. The spoken words are compared without regard to
case and hyphens, and where several pairs match, the one with most spoken words is taken.
"""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from asr_core.errors import GivenTextError, printable
from asr_core.text.given import read_text
from asr_core.text.number_words import WrittenSpan

ARROWS = ("->", "\u2192", "=>")
MAX_REPLACEMENTS = 1000
MAX_CHARACTERS = 100  # on each side of a pair
SHOWN_CHARACTERS = 40  # of a wrong line, in its error
EDGES = '.,;:!?"()'  # of the words of a phrase, which no recogniser writes


@dataclass(frozen=True)
class Replacements:
    """Spoken words and how they are written.

    Attributes:
        pairs: (spoken words in lower case, written words), each spoken side once.
    """

    pairs: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def find(self, words: Sequence[str]) -> list[list[WrittenSpan]]:
        """Finds the pairs in spoken words; what is written for each place is one list of spans.

        The written words are spread over the spoken ones. Where there are more of them, some share a spoken word. The
        possessive of the last spoken word is kept: acme's becomes ACME's.
        """
        by_first: dict[str, list] = {}
        for phrase, written in self.pairs:
            for form in _forms(phrase):
                by_first.setdefault(form[0], []).append((form, written))
        spoken = [word.casefold() for word in words]
        found: list[list[WrittenSpan]] = []
        at = 0
        while at < len(spoken):
            candidates = [*by_first.get(spoken[at], ()), *by_first.get(spoken[at].removesuffix("'s"), ())]
            for phrase, written in sorted(candidates, key=lambda pair: -len(pair[0])):
                ending = _ending(spoken[at : at + len(phrase)], phrase)
                if ending is not None:
                    found.append(_spread(at, len(phrase), [*written[:-1], written[-1] + ending]))
                    at += len(phrase) - 1
                    break
            at += 1
        return found


def _forms(phrase: tuple[str, ...]) -> set[tuple[str, ...]]:
    """A phrase as models write it: as it is, without hyphens, and in letters that have no case by single characters."""
    apart = tuple(word for words in phrase for word in words.split("-") if word)
    characters = tuple("".join(phrase))
    caseless = all(unicodedata.category(character) == "Lo" for character in characters)  # such as Chinese
    return {phrase, *([apart] if apart else []), *([characters] if caseless else [])}


def _ending(spoken: Sequence[str], phrase: Sequence[str]) -> str | None:
    """What follows the phrase in the words: nothing or a possessive ending; None if they differ."""
    if tuple(spoken) == tuple(phrase):
        return ""
    same = len(spoken) == len(phrase) and tuple(spoken[:-1]) == tuple(phrase[:-1])
    return "'s" if same and spoken[-1] == f"{phrase[-1]}'s" else None


def _spread(at: int, spoken: int, written: Sequence[str]) -> list[WrittenSpan]:
    spans = []
    for index, text in enumerate(written):
        first = index * spoken // len(written)
        end = max(first + 1, (index + 1) * spoken // len(written))
        spans.append(WrittenSpan(at + first, at + end, text))
    return spans


def read_replacements(path: str | os.PathLike) -> Replacements:
    """The pairs of a file, as `parse_replacements` returns them.

    Raises:
        GivenTextError: the file cannot be read, a line is wrong, or there is no pair.
    """
    replacements = parse_replacements(read_text(path))
    if not replacements:
        raise GivenTextError(
            f"{printable(os.fspath(path))} holds no replacements: write spoken -> written on each line."
        )
    return replacements


def parse_replacements(text: str) -> Replacements:
    """The pairs of a text with one "spoken -> written" on each line; empty lines and comments are skipped.

    Raises:
        GivenTextError: a line is not a pair, is too long, or contradicts an earlier one; or there are too many.
    """
    pairs: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        phrase, written = _pair(line, number)
        if phrase in pairs and pairs[phrase][0] != written:
            earlier = pairs[phrase][1]
            raise GivenTextError(
                f"Line {number} of the replacements writes {printable(' '.join(phrase))} otherwise than line "
                f"{earlier}: drop one of them."
            )
        pairs.setdefault(phrase, (written, number))
    if len(pairs) > MAX_REPLACEMENTS:
        raise GivenTextError(
            f"There are {len(pairs)} replacements and at most {MAX_REPLACEMENTS} can be used: drop some."
        )
    return Replacements(tuple((phrase, written) for phrase, (written, _) in pairs.items()))


def _pair(line: str, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Both sides of a line as words. Raises GivenTextError."""
    shown = printable(line[:SHOWN_CHARACTERS])
    arrow = next((arrow for arrow in ARROWS if arrow in line), None)
    if arrow is None:
        raise GivenTextError(f"Line {number} of the replacements has no arrow: write spoken -> written, not {shown}")
    left, _, right = line.partition(arrow)
    if max(len(left), len(right)) > MAX_CHARACTERS:
        raise GivenTextError(f"Line {number} of the replacements has a side of more than {MAX_CHARACTERS} characters.")
    words = (word.strip(EDGES).replace("\u2019", "'").casefold() for word in left.split())
    phrase, written = tuple(filter(None, words)), tuple(right.split())
    if not phrase or not written:
        side = "before" if not phrase else "after"
        raise GivenTextError(f"Line {number} of the replacements has nothing {side} its arrow: {shown}")
    return phrase, written
