"""Texts on disk -> normalised sentences, and the words in them, for the language models.

A text has one sentence a line (plain, .xz, .gz), or is a manifest (.jsonl), whose transcripts are the sentences.
"""

import argparse
import gzip
import json
import lzma
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_core.errors import AsrError, reason
from asr_core.text.normaliser import Normaliser
from train.options import real

MAX_WEIGHT = 1e9  # of a text; weights are scaled to sum to one


@dataclass(frozen=True)
class TextSource:
    """A normalised text, one of those that a model is trained on.

    Attributes:
        path: its file.
        weight: of its model in the mixture.
        sentences: without duplicates.
    """

    path: Path
    weight: float
    sentences: list[str]


class TextError(AsrError, ValueError):
    """A text that cannot be read."""


def read_sentences(path: Path, normalise: Normaliser) -> Iterator[str]:
    """Yields the normalised lines of a text, or the transcripts of a manifest (.jsonl), without duplicates.

    Files that end in .xz or .gz are decompressed.

    Raises:
        TextError: the file cannot be read, is not in UTF-8, or is a manifest with a line that has no text.
    """
    manifest = ".jsonl" in path.suffixes[-2:]
    seen = set()
    for number, line in enumerate(lines_of(path), 1):
        if manifest and not line.strip():
            continue
        sentence = normalise(_text_in(line, path, number) if manifest else line)
        if sentence and sentence not in seen:
            seen.add(sentence)
            yield sentence


def read_sources(named: Sequence[tuple[Path, float]], normalise: Normaliser) -> list[TextSource]:
    """Reads texts with their weights. Raises TextError, also where a text holds no sentence."""
    sources = [TextSource(path, weight, list(read_sentences(path, normalise))) for path, weight in named]
    for source in sources:
        if not source.sentences:
            raise TextError(f"{source.path} holds no sentence.")
    return sources


def lines_of(path: Path) -> Iterator[str]:
    """Yields the lines of a text file; .xz and .gz are decompressed. Raises TextError."""
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    number = 0
    try:
        with opener(path, "rb") as file:
            for line in file:
                number += 1
                yield from line.decode("utf-8-sig").rstrip("\r\n").split("\r")
    except UnicodeDecodeError as error:
        raise TextError(f"A text cannot be read: {path}, line {number}, is not in UTF-8.") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise TextError(f"A text cannot be read: {path}: {reason(error)}.") from error


def _text_in(line: str, path: Path, number: int) -> str:
    """The transcript in a line of a manifest."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise TextError(f"A text cannot be read: {path}, line {number}, is not a JSON object with a text.")
    return row["text"]


def word_shares(sources: Sequence[TextSource]) -> tuple[Counter[str], Counter[str]]:
    """(share of each word in its text, times the weight of the text, summed over the texts; occurrences of each)."""
    shares: Counter[str] = Counter()
    occurrences: Counter[str] = Counter()
    for source in sources:
        counts = Counter(word for sentence in source.sentences for word in sentence.split())
        occurrences.update(counts)
        scale = source.weight / max(1, counts.total())
        for word, count in counts.items():
            shares[word] += count * scale
    return shares, occurrences


def frequent_words(sources: Sequence[TextSource], count: int) -> list[str]:
    """The `count` most frequent words, weighted by source, in alphabetical order; words seen once are left out."""
    shares, occurrences = word_shares(sources)
    return sorted([word for word, _ in shares.most_common() if occurrences[word] > 1][:count])


def parse_source(argument: str) -> tuple[Path, float]:
    """Parses FILE or FILE:WEIGHT. If a file with the whole name exists, it is a FILE.

    Raises:
        ArgumentTypeError: the weight is not a number above 0.
    """
    name, _, weight = argument.rpartition(":")
    if not name or Path(argument).is_file():
        return Path(argument), 1.0
    try:
        float(weight)
    except ValueError:
        if Path(name).is_file():
            raise argparse.ArgumentTypeError(f"the weight {weight!r} of {name} is not a number") from None
        return Path(argument), 1.0
    return Path(name), real(1 / MAX_WEIGHT, most=MAX_WEIGHT)(weight)
