"""The written words of a given text, each with the tokens of its spoken form, for alignment.

With an English alphabet, the normaliser spells out figures, symbols and abbreviations. Its rules span several words
("$5 million" is "five million dollars"), so it normalises the whole text, and the spoken words are then assigned to
the written words. In other languages, letters are folded to the alphabet and numbers are spelled out (see
`asr_core.text.alphabet`). What cannot be spelled out, such as letters of another script, becomes a wildcard.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate, groupby

from asr_core.errors import AlignmentError
from asr_core.text.alphabet import (
    APOSTROPHES,
    ATTACHED,
    FIGURES,
    fold,
    is_english,
    language_code,
    normalised_words,
    number_in_words,
    prepared,
    units,
)
from asr_core.text.normaliser import normalise
from asr_core.text.vocabulary import WILDCARD, WORD_MARK, Vocabulary

SPOKEN_PUNCTUATION = "%&@#"  # is pronounced, though Unicode classes it as punctuation
SILENT_SYMBOLS = "^~|<>`=+"  # ASCII symbols that are not pronounced unless the normaliser spells them out

Part = tuple[str, str | None]  # of a word: as written, as spoken; None stands for a wildcard


@dataclass(frozen=True)
class SpelledWord:
    """A word as written, and its spoken form.

    Attributes:
        text: as written, punctuation attached; silent words beside it are included, separated by spaces.
        tokens: of the spoken form, with a space between spoken words if that is a token; WILDCARD for what cannot be
            spelled out.
        characters: the parts of the text that are spoken, each with its slice of the tokens: single characters, the
            characters of a subword piece, or a group, such as 1989, whose characters are not spoken one by one.
    """

    text: str
    tokens: tuple[int, ...]
    characters: tuple[tuple[str, slice], ...]


def spell(text: str, vocabulary: Vocabulary) -> list[SpelledWord]:
    """The words of a text; silent words, such as punctuation alone, are attached to a neighbour.

    Raises:
        AlignmentError: nothing in the text is spoken.
    """
    written, between = units(text, vocabulary), vocabulary.separator
    if is_english(vocabulary):
        parts_of_words = _spelled_by_normaliser(written)
    else:
        parts_of_words = [list(_spelled_by_letters(word, vocabulary)) for word in written]
    words: list[SpelledWord] = []
    silent = ""
    for word, parts in zip(written, parts_of_words, strict=True):
        tokens, characters = _encode(parts, vocabulary)
        if tokens:
            words.append(SpelledWord(silent + word, tokens, characters))
            silent = ""
        elif words and (words[-1].text[-1].isdigit() or not _opens(word)):
            words[-1] = replace(words[-1], text=f"{words[-1].text}{between}{word}")
        else:
            silent += f"{word}{between}"
    if not words:
        raise AlignmentError("There is nothing to align: the text holds no letter.")
    if silent:
        words[-1] = replace(words[-1], text=f"{words[-1].text}{between}{silent.strip()}")
    return words


def _opens(word: str) -> bool:
    """Whether a silent word belongs to the next word, such as a currency sign or an opening bracket."""
    return all(unicodedata.category(character) in ("Sc", "Ps", "Pi") for character in word)


def _encode(parts: Sequence[Part], vocabulary: Vocabulary) -> tuple[tuple[int, ...], tuple[tuple[str, slice], ...]]:
    """The `tokens` and `characters` of a SpelledWord, from the parts of the word."""
    if not vocabulary.writes_single_characters:
        return _encode_pieces(parts, vocabulary)
    tokens: list[int] = []
    characters: list[tuple[str, slice]] = []
    for written, spoken in parts:
        first = len(tokens)
        known = [WILDCARD]
        if spoken is not None:
            known = vocabulary.encode("".join(filter(vocabulary.alphabet.__contains__, spoken)))
        if not known:
            continue
        tokens += known
        characters.append((written, slice(first, len(tokens))))
    return tuple(tokens), tuple(characters)


def _encode_pieces(
    parts: Sequence[Part], vocabulary: Vocabulary
) -> tuple[tuple[int, ...], tuple[tuple[str, slice], ...]]:
    """As `_encode`, for a vocabulary whose tokens may write several characters, and so several parts of a word."""
    tokens: list[int] = []
    characters: list[tuple[str, slice]] = []
    for is_wildcard, run in groupby(parts, key=lambda part: part[1] is None):
        run = list(run)
        groups = [("".join(written for written, _ in run), [WILDCARD])]
        if not is_wildcard:
            groups = _pieces_of(run, vocabulary, begins=not tokens)
        for written, pieces in groups:
            characters.append((written, slice(len(tokens), len(tokens) + len(pieces))))
            tokens += pieces
    return tuple(tokens), tuple(characters)


def _pieces_of(parts: Sequence[Part], vocabulary: Vocabulary, begins: bool) -> list[tuple[str, list[int]]]:
    """The pieces of spoken parts, grouped where a piece and a part end together: (as written, its tokens) of each.

    Args:
        parts: without wildcards.
        vocabulary: with pieces of several characters.
        begins: whether the first part begins a word.
    """
    parts = [(written, "".join(filter(vocabulary.alphabet.__contains__, spoken))) for written, spoken in parts]
    tokens: list[int] = []
    ends: list[int] = []  # of each token, in characters that are not spaces
    for number, word in enumerate("".join(spoken for _, spoken in parts).split()):
        if number and not vocabulary.has_word_marks and vocabulary.space is not None:
            tokens.append(vocabulary.space)
            ends.append(ends[-1])
        try:
            pieces = vocabulary.encode_word(word, begins or number > 0)
            lengths = [len(vocabulary.tokens[token].lstrip(WORD_MARK)) for token in pieces]
        except ValueError:  # each of its characters is only in other pieces
            pieces, lengths = [WILDCARD], [len(word)]
        tokens += pieces
        before = ends[-1] if ends else 0
        ends += [before + length for length in accumulate(lengths)]
    spoken_parts = [(written, len(spoken.replace(" ", ""))) for written, spoken in parts if spoken.strip()]
    part_ends = list(accumulate(length for _, length in spoken_parts))
    groups, first_token, first_part = [], 0, 0
    for end in sorted(set(ends) & set(part_ends)):
        last_token = len(ends) - ends[::-1].index(end) if end == ends[-1] else ends.index(end) + 1
        last_part = part_ends.index(end) + 1
        written = "".join(text for text, _ in spoken_parts[first_part:last_part])
        groups.append((written, tokens[first_token:last_token]))
        first_token, first_part = last_token, last_part
    return groups


def _spelled_by_letters(written: str, vocabulary: Vocabulary) -> Iterator[Part]:
    """The parts of a word in an alphabet that the normaliser does not know: letters are parts, and so are numbers."""
    groups, position = [], 0
    for figures in FIGURES.finditer(written) if not any(map(str.isdigit, vocabulary.alphabet)) else ():
        if spoken := number_in_words(figures.group(), vocabulary):
            words = vocabulary.separator.join(normalised_words(spoken, vocabulary))
            groups += [_letters(written[position : figures.start()], vocabulary), [(figures.group(), words)]]
            position = figures.end()
    groups.append(_letters(written[position:], vocabulary))
    apart = vocabulary.separator and language_code(vocabulary.language) not in ATTACHED
    for number, parts in enumerate(filter(None, groups)):
        if number and apart:
            yield " ", " "
        yield from parts


def _letters(written: str, vocabulary: Vocabulary) -> list[Part]:
    text = prepared(written, vocabulary)
    parts: list[Part] = []
    for i, character in enumerate(text):
        kind = unicodedata.category(character)
        if character in APOSTROPHES and not (text[:i][-1:].isalpha() and text[i + 1 : i + 2].isalpha()):
            continue  # a quotation mark, or a silent apostrophe
        spoken = fold(character, vocabulary)
        if character == "-" and spoken and text[:i][-1:].isalpha() and text[i + 1 : i + 2].isalpha():
            parts.append((character, spoken))
        elif (kind[0] in "LNM" or character in APOSTROPHES) and spoken:
            parts.append((character, spoken))
        elif kind[0] in "LNS" or kind == "Mc" or character in SPOKEN_PUNCTUATION:
            before = parts.pop()[0] if parts and parts[-1][1] is None else ""
            parts.append((before + character, None))
        elif kind == "Pd" and parts and vocabulary.separator and parts[-1][1] != " ":
            parts.append((character, " "))  # twenty-one is two spoken words
    while parts and parts[-1][1] == " ":
        parts.pop()
    return parts


@dataclass
class _Piece:
    """A maximal piece of a written word that the normaliser can spell out, or that it cannot.

    Attributes:
        text: as written.
        word: index of the word in the text.
        alone: the spoken words of the piece without its context; None if the normaliser cannot spell it out.
        spoken: the spoken words that are assigned to it.
    """

    text: str
    word: int
    alone: tuple[str, ...] | None
    spoken: list[str] = field(default_factory=list)


def _spelled_by_normaliser(written: Sequence[str]) -> list[list[Part]]:
    """The parts of each word, in the alphabet of the normaliser."""
    pieces = [piece for index, word in enumerate(written) for piece in _pieces(word, index)]
    spoken = normalise(" ".join(piece.text for piece in pieces if piece.alone is not None)).split()
    _assign(spoken, [piece for piece in pieces if piece.alone])
    parts: list[list[Part]] = [[] for _ in written]
    for piece in pieces:
        if piece.alone is None:
            parts[piece.word].append((piece.text, None))
        elif piece.spoken:
            parts[piece.word] += _with_characters(piece.text, piece.spoken)
    for index, word in enumerate(written):
        context = "".join(written[max(0, index - 1) : index + 2])
        if not parts[index] and _has_unknown_symbol(word) and not any(character.isdigit() for character in context):
            parts[index] = [(word, None)]
    return parts


def _pieces(word: str, index: int) -> Iterator[_Piece]:
    """A word, cut before and after the letters and digits of other scripts."""
    pieces: list[_Piece] = []
    for character in word:
        foreign = _is_foreign(character)
        if unicodedata.category(character)[0] == "M" and pieces:
            foreign = pieces[-1].alone is None  # an accent belongs to its letter
        if pieces and foreign == (pieces[-1].alone is None):
            pieces[-1].text += character
        else:
            pieces.append(_Piece(character, index, None if foreign else ()))
    for piece in pieces:
        if piece.alone is not None:
            piece.alone = _alone(piece.text)
        yield piece


@lru_cache(maxsize=4096)
def _is_foreign(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character)[0] in "LN" and not normalise(character)


@lru_cache(maxsize=65536)
def _alone(text: str) -> tuple[str, ...]:
    return tuple(normalise(text).split())


def _has_unknown_symbol(word: str) -> bool:
    """Whether a word holds a symbol that may be pronounced, but that the normaliser does not know."""
    if _alone(word):
        return False
    symbols = (character for character in word if unicodedata.category(character)[0] == "S")
    return any(symbol not in SILENT_SYMBOLS for symbol in symbols) or any(mark in word for mark in SPOKEN_PUNCTUATION)


def _with_characters(written: str, spoken: Sequence[str]) -> list[Part]:
    """The parts of a piece: single characters if each of them is spoken as it is written, else one group."""
    composed = unicodedata.normalize("NFKC", written)
    letters = [character for character in composed if _alone(character) or character in "'\u2019"]
    plain = [unicodedata.normalize("NFKD", letter.replace("\u2019", "'"))[0].lower() for letter in letters]
    if "".join(spoken).replace("'", "") != "".join(plain).replace("'", ""):
        return [(written.strip("\"'()[]{}.,;:!?\u201c\u201d\u2018\u2019"), " ".join(spoken))]
    parts: list[Part] = []
    rest = iter(letter for letter, bare in zip(letters, plain, strict=True) if bare != "'")
    for number, word in enumerate(spoken):
        parts += [(" ", " ")] if number else []
        parts += [("'" if character == "'" else next(rest), character) for character in word]
    return parts


def _assign(spoken: Sequence[str], pieces: Sequence[_Piece]) -> None:
    """Assigns the spoken words of the whole text to its pieces.

    The assignment is certain where the spoken words equal those of the pieces without context. Between such places,
    the words are divided so that as many as possible agree with those of their piece without context.
    """
    alone = [word for piece in pieces for word in piece.alone]
    if list(spoken) == alone:
        for piece in pieces:
            piece.spoken = list(piece.alone)
        return
    for group, group_words in _groups(spoken, pieces, alone):
        for piece, words in zip(group, _divide(group, tuple(group_words)), strict=True):
            piece.spoken = list(words)


def _groups(spoken, pieces, alone) -> Iterator[tuple[list[_Piece], list[str]]]:
    """Splits the pieces into the smallest groups whose spoken words are certain, and yields both."""
    from rapidfuzz.distance import LCSseq

    matches = {}  # index of a word in `alone` -> its index in `spoken`
    for kind, from_, to, start, _ in LCSseq.opcodes(alone, spoken):
        if kind == "equal":
            matches |= {from_ + i: start + i for i in range(to - from_)}
    group: list[_Piece] = []
    begin = index = 0  # of the group in `spoken`; of the piece's first word in `alone`
    for piece in pieces:
        first, last = matches.get(index), matches.get(index + len(piece.alone) - 1)
        certain = first is not None and last is not None and last - first == len(piece.alone) - 1
        if group and certain and matches.get(index - 1) == first - 1:
            yield group, list(spoken[begin:first])
            group, begin = [], first
        group.append(piece)
        index += len(piece.alone)
    yield group, list(spoken[begin:])


def _divide(pieces: Sequence[_Piece], words: Sequence[str]) -> list[Sequence[str]]:
    """Cuts words into one share for each piece, so that shares have most words in common with the pieces alone.

    Among equally good divisions, words belong to earlier pieces, because a unit follows its number. Dynamic
    programming: `best[i][end]` is the best score of the first i pieces with the first `end` words, and the cuts.
    """
    if len(pieces) == 1:
        return [words]
    best: list[list[tuple[int, list[int]]]] = [[(0, [0])] + [(-1, [])] * len(words)]
    for piece in pieces:
        known, row = Counter(piece.alone), []
        for end in range(len(words) + 1):
            options = []
            for start in range(end + 1):
                score, cuts = best[-1][start]
                if score >= 0:
                    share = words[start:end]
                    score += 3 * sum((known & Counter(share)).values()) + bool(share) + (share == piece.alone)
                    options.append((score, [*cuts, end]))
            row.append(max(reversed(options), key=lambda option: option[0], default=(-1, [])))
        best.append(row)
    cuts = best[-1][-1][1]
    return [words[start:end] for start, end in zip(cuts, cuts[1:], strict=False)]
