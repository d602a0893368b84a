"""Reads n-gram models in ARPA format, the exchange format of SRILM, KenLM and others, plain or gzipped."""

import gzip
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_core.errors import LanguageModelError, reason

COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
MAX_LINE_CHARACTERS = 10_000  # no n-gram of words is that long
MAX_NGRAMS = 200_000_000  # more do not fit in the memory of a desktop machine; checked before any n-gram is read
UNKNOWN = "<unk>"  # the entry of all words that a model does not know
LN_10 = float(np.log(10))


@dataclass(frozen=True)
class NGrams:
    """The n-grams of one order.

    Attributes:
        words: int64 [count, order], indices into the list of words.
        log_probs: float32 [count], natural logarithm of the probability of the last word after the others.
        backoffs: float32 [count], natural logarithm of the back-off weight; 0 where the file gives none.
    """

    words: np.ndarray
    log_probs: np.ndarray
    backoffs: np.ndarray


def read_arpa(path: Path) -> tuple[list[str], list[NGrams]]:
    """The words of an ARPA file and its n-grams, one table per order.

    Raises:
        LanguageModelError: the file cannot be read, or is not a complete ARPA file.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
            return _read(_lines(file, path), path)
    except (OSError, EOFError, UnicodeDecodeError, gzip.zlib.error) as error:
        raise LanguageModelError(f"{path.name} cannot be read as an ARPA file ({reason(error)}).") from None


def _lines(file, path: Path) -> Iterator[str]:
    while line := file.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise LanguageModelError(
                f"{path.name} has a line of {MAX_LINE_CHARACTERS} characters: it is not an ARPA file."
            )
        if line.strip():
            yield line
    raise LanguageModelError(f"{path.name} ends before its \\end\\ mark: it is cut off, or no ARPA file.")


def _read(lines: Iterator[str], path: Path) -> tuple[list[str], list[NGrams]]:
    while next(lines).strip() != "\\data\\":
        pass
    counts: list[int] = []
    for line in lines:
        found = COUNT.fullmatch(line.strip())
        if not found:
            break
        if int(found[1]) != len(counts) + 1:
            raise LanguageModelError(f"{path.name} announces its n-gram orders out of turn: {line.strip()}")
        counts.append(int(found[2]))
    if not counts or not counts[0] or sum(counts) > MAX_NGRAMS:
        raise LanguageModelError(f"{path.name} announces {sum(counts)} n-grams; 1 to {MAX_NGRAMS} can be read.")
    index_of: dict[str, int] = {}
    orders = []
    for order, count in enumerate(counts, 1):
        if line.strip() != f"\\{order}-grams:":
            raise LanguageModelError(f"{path.name} has {line.strip()[:40]!r} where \\{order}-grams: belongs.")
        table, line = _read_order(lines, order, index_of, path)
        if len(table.words) != count:
            raise LanguageModelError(f"{path.name} announces {count} {order}-grams and has {len(table.words)}.")
        orders.append(table)
    if line.strip() != "\\end\\":
        raise LanguageModelError(f"{path.name} has {line.strip()[:40]!r} where \\end\\ belongs.")
    return list(index_of), orders


def _fields(line: str) -> list[str]:
    """The fields of a line as KenLM reads them: any other white space than these two is part of a word."""
    fields = [field for field in line.strip(" \t\r\n").replace("\t", " ").split(" ") if field]
    return [UNKNOWN if field == "<UNK>" else field for field in fields] if "<UNK>" in line else fields


def _read_order(lines: Iterator[str], order: int, index_of: dict[str, int], path: Path) -> tuple[NGrams, str]:
    """Reads one section, and returns it with the line that ends it; the unigrams fill `index_of`."""
    words, log_probs, backoffs = array("i"), array("f"), array("f")
    for line in lines:
        fields = _fields(line)
        if line.startswith("\\") and len(fields) == 1:
            break
        try:
            if order == 1:
                index_of[fields[1]] = len(index_of)
            words.extend(index_of[word] for word in fields[1 : order + 1])
            log_probs.append(float(fields[0]) * LN_10)
            backoffs.append(float(fields[order + 1]) * LN_10 if len(fields) > order + 1 else 0.0)
            if not order + 1 <= len(fields) <= order + 2:
                raise ValueError
        except (IndexError, KeyError, ValueError):
            raise LanguageModelError(f"{path.name} has no {order}-gram in {line.strip()[:60]!r}.") from None
    table = NGrams(
        np.array(words, np.int64).reshape(-1, order),
        np.array(log_probs, np.float32),
        np.array(backoffs, np.float32),
    )
    if order == 1 and len(index_of) < len(words):
        raise LanguageModelError(f"{path.name} lists a word twice.")
    if not (np.isfinite(table.log_probs).all() and np.isfinite(table.backoffs).all()):
        raise LanguageModelError(f"{path.name} has {order}-grams whose probability is not a number.")
    return table, line
