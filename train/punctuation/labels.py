"""Published text -> spoken words with the punctuation that follows them and the case of their letters.

The words are those of `asr_core.text.normaliser`, as a recogniser writes them. Marks become the classes of the tagger:
an exclamation mark or an ellipsis is a full stop, or a comma inside a sentence; a colon, a dash and a parenthesis are
commas; a semicolon is a comma before a conjunction (which continues the sentence), elsewhere a full stop.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from asr_core.text.normaliser import Normaliser
from asr_core.text.spoken_forms import SHORTHAND
from asr_core.text.tagger import CAPITALS, PUNCTUATION

NONE, COMMA, STOP, QUESTION = range(len(PUNCTUATION))
LOWER, FIRST, UPPER = range(len(CAPITALS))
NOT_SCORED = len(CAPITALS)  # case of a word that only its place in a quotation explains
CONJUNCTIONS = frozenset("and but or nor for yet so though although because while".split())
FINAL_MARKS = re.compile(r"[.?!,;:\-\u2026][\"'\u201d\u2019)\]]*$")  # at the end of a line of running text
LOWER_START = re.compile(r"[\"'\u201c\u2018(\[]*[a-z]")
DASHES = re.compile(r"--+|[\u2013\u2014\u2015]")
INITIALS = re.compile(r"([A-Za-z]\.)+$")
PIECE = re.compile(r"[^\W_]+(?:'[^\W_]+)*'?|'[^\W_]+(?:'[^\W_]+)*'?")
QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})
MAX_CACHED_TOKENS = 3_000_000


@dataclass(frozen=True)
class Token:
    """A written token and its spoken words.

    Attributes:
        words: spoken.
        capitals: of each.
        mark: the deciding character after the token: one of ".?!;:,)-" and "…", "i" for the full stop of initials,
            which may end a sentence or not, or "".
        opens: whether a quotation or a parenthesis begins with it.
        forms: as written, of words with capitals inside; "" for others.
    """

    words: tuple[str, ...]
    capitals: tuple[int, ...]
    mark: str
    opens: str
    forms: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LabelledText:
    """A text as numbers.

    Attributes:
        words: the distinct words.
        numbers: int32 [n], of each word in the text.
        marks: uint8 [n], NONE to QUESTION.
        capitals: uint8 [n], LOWER to UPPER, or NOT_SCORED.
        lines: int32 [n], number of the line that the word stands in.
        forms: (word, form with capitals inside) -> occurrences.
    """

    words: list[str]
    numbers: np.ndarray
    marks: np.ndarray
    capitals: np.ndarray
    lines: np.ndarray
    forms: Counter


class Labeller:
    """Splits lines into tokens and remembers the tokens of a text: they repeat."""

    def __init__(self):
        self._normalise = Normaliser()
        self._tokens: dict[str, Token] = {}

    def line(self, line: str) -> list[Token] | None:
        """The tokens of a line; None where the normaliser's words are not those of the single tokens.

        That is so where a rule spans tokens ("$5 million") or the text is unusual; such lines are left out.
        """
        line = DASHES.sub(" -- ", line.translate(QUOTES).replace("\u2026", "..."))
        tokens = []
        for written in line.split():
            token = self._tokens.get(written)
            if token is None:
                if len(self._tokens) > MAX_CACHED_TOKENS:
                    self._tokens = {}
                token = self._tokens[written] = self._token(written)
            tokens.append(token)
        words = [word for token in tokens for word in token.words]
        return tokens if " ".join(words) == self._normalise(line) else None

    def _token(self, written: str) -> Token:
        words = tuple(self._normalise(written).split())
        core = written.strip("\"'()[]*_,;:!?")
        pieces = [piece for piece in PIECE.findall(written) if piece.strip("'")]
        if tuple(piece.lower().strip("'") for piece in pieces) == tuple(word.strip("'") for word in words):
            capitals = tuple(_case(piece.strip("'"), bool(INITIALS.match(core))) for piece in pieces)
            forms = tuple(piece.strip("'") if _is_mixed(piece.strip("'")) else "" for piece in pieces)
        else:
            capital = FIRST if core[:1].isupper() and core[:1].isalpha() else LOWER
            capitals, forms = (capital,) * len(words), ("",) * len(words)
        return Token(words, capitals, _mark(written, core), _opens(written), forms)


def _case(piece: str, initials: bool) -> int:
    letters = piece.replace("'", "")
    if not letters[0].isupper():
        return LOWER if letters.islower() or not letters.isalpha() else FIRST
    if len(letters) == 1:
        return UPPER if initials or letters not in "IAO" else FIRST
    stem = piece.split("'")[0]
    return UPPER if stem.isupper() and len(stem) > 1 else FIRST


def _is_mixed(piece: str) -> bool:
    """Whether a word has capitals inside, and not throughout."""
    stem = piece.removesuffix("'s")
    return stem.isascii() and stem.isalpha() and not stem[1:].islower() and not stem[1:].isupper() and len(stem) > 2


def _mark(written: str, core: str) -> str:
    """The deciding character after a token: see `Token.mark`."""
    if written == "--":
        return "-"
    trail = written[len(written.rstrip("\"'()[]*_.,;:!?-")) :]
    if "..." in trail and not set("?!") & set(trail):
        return "…"
    if "." in trail and core in SHORTHAND and core.endswith("."):
        trail = trail.replace(".", "")  # belongs to the abbreviation
    mark = next((mark for mark in "?!.;:,)" if mark in trail), "")
    return "i" if mark == "." and INITIALS.match(core) else mark


def _opens(written: str) -> str:
    lead = written[: len(written) - len(written.lstrip("\"'([*_"))]
    return "(" if "(" in lead else '"' if '"' in lead or ("'" in lead and written.lstrip("'")[:1].isupper()) else ""


def label_text(text: str) -> LabelledText | None:
    """The words of one running text, whatever it begins and ends with; None where its tokens cannot be told apart."""
    tokens = Labeller().line(text)
    if tokens is None:
        return None
    rows = [row for row, _ in _resolved(tokens, [0] * len(tokens))]
    words = [row[0] for row in rows]
    known = {word: number for number, word in enumerate(dict.fromkeys(words))}
    return LabelledText(
        list(known),
        np.array([known[word] for word in words], np.int32),
        np.array([row[1] for row in rows], np.uint8),
        np.array([row[2] for row in rows], np.uint8),
        np.zeros(len(rows), np.int32),
        Counter(),
    )


def usable(line: str, continues: bool) -> bool:
    """Whether a line is running text with case and punctuation: no heading, no command in lower case.

    Args:
        continues: whether the line before did not end its sentence, as after "Mr.".
    """
    return bool(FINAL_MARKS.search(line)) and (continues or not LOWER_START.match(line)) and not line.isupper()


def label(lines: Iterable[str]) -> LabelledText:
    """The words of a text with their classes. Headings and lines without case or punctuation are left out."""
    labeller = Labeller()
    known: dict[str, int] = {}
    numbers, marks, capitals, at = array("i"), bytearray(), bytearray(), array("i")
    forms: Counter = Counter()
    pending: list[Token] = []
    pending_lines: list[int] = []
    for number, line in enumerate(lines):
        line = line.strip()
        tokens = labeller.line(line) if line and usable(line, bool(pending)) else None
        if tokens is None:
            pending, pending_lines = [], []
            continue
        pending += tokens
        pending_lines += [number] * len(tokens)
        if tokens[-1].mark in ("", "i") and len(tokens[-1].words) and len(pending) < 400:
            continue  # the line ends with an abbreviation: its sentence continues
        for (word, mark, capital, form), place in _resolved(pending, pending_lines):
            numbers.append(known.setdefault(word, len(known)))
            marks.append(mark)
            capitals.append(capital)
            at.append(place)
            if form:
                forms[word.removesuffix("'s"), form.removesuffix("'s")] += 1
        pending, pending_lines = [], []
    return LabelledText(
        list(known),
        np.frombuffer(numbers, np.int32) if numbers else np.zeros(0, np.int32),
        np.frombuffer(bytes(marks), np.uint8),
        np.frombuffer(bytes(capitals), np.uint8),
        np.frombuffer(at, np.int32) if at else np.zeros(0, np.int32),
        forms,
    )


def _resolved(tokens: list[Token], lines: list[int]) -> Iterator[tuple[tuple[str, int, int, str], int]]:
    """(word, mark, capital, form) and line of every word of some sentences, its class decided by the word after it."""
    rows: list[list] = []  # word, mark character, capital, form, line, opens
    for token, line in zip(tokens, lines, strict=True):
        if not token.words:
            if rows and token.mark and not rows[-1][1]:
                rows[-1][1] = token.mark
            elif rows and token.mark in (".", "?", "!"):
                rows[-1][1] = token.mark
            continue
        if token.opens == "(" and rows and not rows[-1][1]:
            rows[-1][1] = ","
        opens = token.opens
        for place, word in enumerate(token.words):
            mark = token.mark if place == len(token.words) - 1 else ""
            rows.append([word, mark, token.capitals[place], token.forms[place], line, opens if not place else ""])
    before = STOP
    for place, (word, character, capital, form, line, opens) in enumerate(rows):
        following = rows[place + 1] if place + 1 < len(rows) else None
        mark = _class_of(character, following)
        if capital == FIRST and opens and before not in (STOP, QUESTION) and word not in ("i", "i'm", "i'll", "i've"):
            capital = NOT_SCORED
        yield (word, mark, capital, form), line
        before = mark


def _class_of(character: str, following: list | None) -> int:
    """The class of a mark; `following` is the row of the next word."""
    if character in ("", ","):
        return COMMA if character else NONE
    goes_on = following is not None and following[2] == LOWER
    if character == "?":
        return QUESTION
    if character in ":-)":
        return COMMA if following is not None else STOP
    if character == ";":
        return COMMA if goes_on and following[0] in CONJUNCTIONS else STOP
    if character in (".", "i"):
        if character == "i" and following is not None:
            return NONE
        return NONE if goes_on else STOP
    return COMMA if goes_on else STOP  # exclamation mark, ellipsis
