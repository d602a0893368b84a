"""Word and character error rates of a transcript against a reference, and the alignment behind them.

jiwer computes the alignment and the rates.
"""

from dataclasses import dataclass
from itertools import groupby

from asr_core.errors import AlignmentError
from asr_core.text.alphabet import fold, normalised_words, units
from asr_core.text.pasted import without_subtitle_markup
from asr_core.text.vocabulary import Vocabulary

MAX_WORD_PAIRS = 2_000_000_000  # of a reference and a hypothesis of five hours each; their alignment takes a second
PIECE_WORDS = 2000  # of the reference, whose characters are compared at a time
MARGIN_SECONDS = 0.4  # played before and after the place where a word is missing


@dataclass(frozen=True)
class Pair:
    """One pair of the alignment: a word of the reference, a word of the hypothesis, and their place in the recording.

    Attributes:
        kind: "equal", "substitute", "insert" or "delete".
        reference, hypothesis: a word each; "" if there is none.
        start, end: seconds; None if the words have no times.
    """

    kind: str
    reference: str
    hypothesis: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Error rates as fractions (they can exceed 1), counts of words, and the alignment."""

    word_error_rate: float
    character_error_rate: float
    hits: int
    substitutions: int
    insertions: int
    deletions: int
    pairs: tuple[Pair, ...]

    @property
    def reference_words(self) -> int:
        return self.hits + self.substitutions + self.deletions


def compare(reference: str, words, normalised: bool = True, vocabulary: Vocabulary | None = None) -> Comparison:
    """Scores recognised words against a reference text.

    Args:
        reference: as people paste it: of subtitles, only the words count (see `asr_core.text.pasted`).
        words: anything with `text`, `start` and `end`.
        normalised: compare normalised texts (no case or punctuation, numbers spelled out), not the texts as written.
        vocabulary: of the model: texts are normalised by its alphabet and language (see `asr_core.text.alphabet`), and
            characters are compared in place of words where it writes no spaces; by default, that of English.

    Raises:
        AlignmentError: the reference has no words.
    """
    import jiwer

    vocabulary = vocabulary or Vocabulary()
    split = _spoken_words if normalised else units
    reference_words = split(without_subtitle_markup(reference), vocabulary)
    pieces = [(piece, word) for word in words for piece in split(word.text, vocabulary)]
    if not reference_words:
        raise AlignmentError("The reference holds no words to compare with; paste the correct text.")
    both = reference_words, [piece for piece, _ in pieces]
    if len(both[0]) * len(both[1]) > MAX_WORD_PAIRS:
        raise AlignmentError("The texts are too long to be compared as a whole: compare them in parts.")
    scores = jiwer.process_words(*map(" ".join, both))
    return Comparison(
        word_error_rate=scores.wer,
        character_error_rate=_character_error_rate(*both, scores.alignments[0], vocabulary.separator),
        hits=scores.hits,
        substitutions=scores.substitutions,
        insertions=scores.insertions,
        deletions=scores.deletions,
        pairs=tuple(_pairs(scores.alignments[0], reference_words, pieces)),
    )


def _character_error_rate(reference: list[str], hypothesis: list[str], chunks, separator: str) -> float:
    """Edits of characters divided by the characters of the reference.

    Long texts are compared piece by piece, between words that are alike in both: the time for the whole would grow with
    the product of their lengths, and nothing else of this process could run meanwhile.

    Args:
        chunks: jiwer's alignment of the words.
        separator: between two words.
    """
    import jiwer

    edges, first = [], (0, 0)
    for chunk in chunks:
        end = chunk.ref_end_idx, chunk.hyp_end_idx
        if chunk.type == "equal" and end[0] - first[0] >= PIECE_WORDS:
            edges.append((first, end))
            first = end
    edges.append((first, (len(reference), len(hypothesis))))
    edits = 0
    for (start, hypothesis_start), (end, hypothesis_end) in edges:
        both = reference[start:end], hypothesis[hypothesis_start:hypothesis_end]
        if both[0]:
            found = jiwer.process_characters(*map(separator.join, both))
            edits += found.substitutions + found.deletions + found.insertions
        elif both[1]:
            edits += len(separator.join(both[1])) + len(separator)
    return edits / len(separator.join(reference))


def _spoken_words(text: str, vocabulary: Vocabulary) -> list[str]:
    """Normalised words. Those in letters that the alphabet lacks, which English normalisation drops, stay."""
    words = []
    for foreign, group in groupby(units(text, vocabulary), lambda unit: _is_foreign(unit, vocabulary)):
        run = list(group)
        words += map(str.lower, run) if foreign else normalised_words(vocabulary.separator.join(run), vocabulary)
    return words


def _is_foreign(word: str, vocabulary: Vocabulary) -> bool:
    letters = [character for character in word if character.isalpha()]
    return bool(letters) and not any(fold(letter, vocabulary) for letter in letters)


def _pairs(chunks, reference_words, pieces):
    """Yields a Pair for each word of jiwer's alignment; `pieces` are (text, word that it is part of)."""
    for chunk in chunks:
        length = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for i in range(length):
            if chunk.type == "delete":
                missing = reference_words[chunk.ref_start_idx + i]
                yield Pair("delete", missing, "", *_gap(pieces, chunk.hyp_start_idx))
                continue
            piece, word = pieces[chunk.hyp_start_idx + i]
            reference = "" if chunk.type == "insert" else reference_words[chunk.ref_start_idx + i]
            yield Pair(chunk.type, reference, piece, word.start, word.end)


def _gap(pieces, index: int) -> tuple[float | None, float | None]:
    """Where the missing word must be: between the words around it. (None, None) if these have no times."""
    if not pieces or pieces[0][1].start is None:
        return None, None
    before = pieces[index - 1][1] if index > 0 else None
    after = pieces[index][1] if index < len(pieces) else None
    start = before.end if before else max(0.0, after.start - 1.0)
    end = after.start if after else before.end + 1.0
    return max(0.0, start - MARGIN_SECONDS), end + MARGIN_SECONDS
