"""The words of a text that a person gives, as they are written, and the tokens by which they are spoken.

For an English alphabet the normaliser spells the text: figures, symbols, abbreviations. It looks beyond single words
("$5 million" is "five million dollars"), so the whole text is spelled, and what is spoken is then shared out among the
written words. What it cannot spell, such as the letters of another script, becomes a wildcard.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from string import ascii_lowercase

from asr_core.errors import AlignmentError
from asr_core.text.normaliser import normalise
from asr_core.text.vocabulary import WILDCARD, Vocabulary

READ_PUNCTUATION = "%&@#"  # what Unicode calls punctuation though it is read out
UNREAD_SYMBOLS = "^~|<>`=+"  # ASCII symbols that nobody reads out where the normaliser does not


@dataclass(frozen=True)
class SpelledWord:
    """A word as written, and how it is spoken.

    Attributes:
        text: as written, punctuation attached; words that make no sound follow or precede after a space.
        tokens: of what is spoken, with the separator between words; WILDCARD for what cannot be spelled.
        characters: what of the text is spoken, each with its share of the tokens: single characters, or a group, such
            as 1989, whose characters are not spoken one by one.
    """

    text: str
    tokens: tuple[int, ...]
    characters: tuple[tuple[str, slice], ...]


def spell(text: str, vocabulary: Vocabulary) -> list[SpelledWord]:
    """The words of a text; those that make no sound hang on to their neighbour.

    Raises:
        AlignmentError: nothing in the text makes a sound.
    """
    written = text.split()
    if _is_english(vocabulary):
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
            words[-1] = replace(words[-1], text=f"{words[-1].text} {word}")
        else:
            silent += f"{word} "
    if not words:
        raise AlignmentError("There is nothing to align: the text holds no letter.")
    if silent:
        words[-1] = replace(words[-1], text=f"{words[-1].text} {silent.strip()}")
    return words


def _opens(word: str) -> bool:
    """Whether a word that makes no sound belongs to the next one, such as a sign of money or a bracket."""
    return all(unicodedata.category(character) in ("Sc", "Ps", "Pi") for character in word)


def _is_english(vocabulary: Vocabulary) -> bool:
    """Whether the alphabet is that of the normaliser: a to z and no other letter."""
    letters = {character for character in vocabulary.characters if character.isalpha()}
    return letters == set(ascii_lowercase)


def _encode(parts: Sequence[tuple[str, str | None]], vocabulary: Vocabulary):
    """The tokens and the characters of a word's parts: (written, spoken), where None stands for a wildcard."""
    tokens: list[int] = []
    characters: list[tuple[str, slice]] = []
    for written, spoken in parts:
        first = len(tokens)
        known = [WILDCARD]
        if spoken is not None:
            known = vocabulary.encode("".join(filter(vocabulary.characters.__contains__, spoken)))
        if not known:
            continue
        tokens += known
        characters.append((written, slice(first, len(tokens))))
    return tuple(tokens), tuple(characters)


def _spelled_by_letters(written: str, vocabulary: Vocabulary) -> Iterator[tuple[str, str | None]]:
    """The parts of a word in an alphabet that the normaliser does not know: every letter stands for itself."""
    text = unicodedata.normalize("NFKC", written.replace("\u2019", "'"))
    parts: list[tuple[str, str | None]] = []
    for i, character in enumerate(text):
        if character == "'" and not (text[:i][-1:].isalpha() and text[i + 1 : i + 2].isalpha()):
            continue  # a quotation mark, or one that nobody hears
        kind = unicodedata.category(character)
        spoken = _letter(character, vocabulary)
        if (kind[0] in "LN" or character == "'") and spoken:
            parts.append((character, spoken))
        elif kind[0] in "LNS" or character in READ_PUNCTUATION:
            before = parts.pop()[0] if parts and parts[-1][1] is None else ""
            parts.append((before + character, None))
        elif kind == "Pd" and parts and " " in vocabulary.characters and parts[-1][1] != " ":
            parts.append((character, " "))  # twenty-one is two spoken words
    while parts and parts[-1][1] == " ":
        parts.pop()
    return iter(parts)


def _letter(character: str, vocabulary: Vocabulary) -> str:
    """How the vocabulary writes a letter: as it is, in lower case, or without its accent; or ""."""
    bare = unicodedata.normalize("NFKD", character)[0]
    for form in (character, character.lower(), bare, bare.lower()):
        if form in vocabulary.characters:
            return form
    return ""


@dataclass
class _Piece:
    """A part of a written word that the normaliser can spell, or that it cannot (`spoken` is None)."""

    text: str
    word: int  # its place in the text
    alone: tuple[str, ...] | None  # the spoken words, if nothing else is in the text
    spoken: list[str] = field(default_factory=list)


def _spelled_by_normaliser(written: Sequence[str]) -> list[list[tuple[str, str | None]]]:
    """The parts of each word."""
    pieces = [piece for place, word in enumerate(written) for piece in _pieces(word, place)]
    spoken = normalise(" ".join(piece.text for piece in pieces if piece.alone is not None)).split()
    _share_out(spoken, [piece for piece in pieces if piece.alone])
    parts: list[list[tuple[str, str | None]]] = [[] for _ in written]
    for piece in pieces:
        if piece.alone is None:
            parts[piece.word].append((piece.text, None))
        elif piece.spoken:
            parts[piece.word] += _with_characters(piece.text, piece.spoken)
    for place, word in enumerate(written):
        beside = "".join(written[max(0, place - 1) : place + 2])
        if not parts[place] and _is_unread(word) and not any(character.isdigit() for character in beside):
            parts[place] = [(word, None)]
    return parts


def _pieces(word: str, place: int) -> Iterator[_Piece]:
    """A word cut before and after the letters and digits of other scripts."""
    pieces: list[_Piece] = []
    for character in word:
        foreign = _is_foreign(character)
        if unicodedata.category(character)[0] == "M" and pieces:
            foreign = pieces[-1].alone is None  # an accent belongs to its letter
        if pieces and foreign == (pieces[-1].alone is None):
            pieces[-1].text += character
        else:
            pieces.append(_Piece(character, place, None if foreign else ()))
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


def _is_unread(word: str) -> bool:
    """Whether a word holds a symbol that may be read out, though the normaliser does not know how."""
    symbols = (
        (unicodedata.category(character)[0] == "S" and character not in UNREAD_SYMBOLS) or character in READ_PUNCTUATION
        for character in word
    )
    return not _alone(word) and any(symbols)


def _with_characters(written: str, spoken: Sequence[str]) -> list[tuple[str, str | None]]:
    """Character for character if each of them is spoken as it is written, else as one group."""
    heard = "".join(spoken)
    composed = unicodedata.normalize("NFKC", written)
    letters = [character for character in composed if _alone(character) or character in "'\u2019"]
    plain = [unicodedata.normalize("NFKD", letter.replace("\u2019", "'"))[0].lower() for letter in letters]
    if heard.replace("'", "") != "".join(plain).replace("'", ""):
        return [(written.strip("\"'()[]{}.,;:!?\u201c\u201d\u2018\u2019"), " ".join(spoken))]
    parts: list[tuple[str, str | None]] = []
    rest = iter(letter for letter, bare in zip(letters, plain, strict=True) if bare != "'")
    for number, word in enumerate(spoken):
        parts += [(" ", " ")] if number else []
        parts += [("'" if character == "'" else next(rest), character) for character in word]
    return parts


def _share_out(spoken: Sequence[str], pieces: Sequence[_Piece]) -> None:
    """Gives every piece its share of the spoken words of the whole text.

    Where these are what the pieces would be alone, that is clear. Between such places, the words are shared out so
    that most of them go where they would be alone.
    """
    alone = [word for piece in pieces for word in piece.alone]
    if list(spoken) == alone:
        for piece in pieces:
            piece.spoken = list(piece.alone)
        return
    for some_pieces, some_words in _groups(spoken, pieces, alone):
        for piece, words in zip(some_pieces, _shares(some_pieces, tuple(some_words)), strict=True):
            piece.spoken = list(words)


def _groups(spoken, pieces, alone) -> Iterator[tuple[list[_Piece], list[str]]]:
    """Consecutive pieces with what is spoken of them together: as few in each as the comparison tells."""
    from rapidfuzz.distance import LCSseq

    matches = {}  # place of a word alone -> place in the whole
    for kind, from_, to, start, _ in LCSseq.opcodes(alone, spoken):
        if kind == "equal":
            matches |= {from_ + i: start + i for i in range(to - from_)}
    group: list[_Piece] = []
    begin = place = 0  # of the group in the whole; of the piece's first word alone
    for piece in pieces:
        first, last = matches.get(place), matches.get(place + len(piece.alone) - 1)
        clear = first is not None and last is not None and last - first == len(piece.alone) - 1
        if group and clear and matches.get(place - 1) == first - 1:
            yield group, list(spoken[begin:first])
            group, begin = [], first
        group.append(piece)
        place += len(piece.alone)
    yield group, list(spoken[begin:])


def _shares(pieces: Sequence[_Piece], words: Sequence[str]) -> list[Sequence[str]]:
    """Cuts words into one share for each piece so that the shares have most words in common with the pieces alone.

    Of equal ones that in which words are left to earlier pieces: a unit follows its number.
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
