"""The vocabulary of a model: texts <-> tokens. Token 0 is the CTC blank; every other writes a character or a piece.

There are three kinds. Vocabularies of characters have a space, which stands between words. In vocabularies of subword
pieces, "▁" in front of a piece begins a word. A vocabulary with neither, such as one of Chinese characters, writes a
text without spaces, in which every token is a word of its own for times, alignment and confidence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from asr_core.text.segmentation import fewest, is_made_of_merges, merged

BLANK = 0  # the CTC blank; characters and pieces have the tokens from 1 on
WILDCARD = -1  # in a text to align, stands for speech that the alphabet cannot write
EXAMPLE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz'?! "  # in the order of the Keras example
WORD_MARK = "\u2581"  # "▁", in front of a piece that begins a word, as sentencepiece writes it


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens of a model write; token 0 is the blank, token i is `pieces[i - 1]`.

    Attributes:
        pieces: every character or piece once, in token order; a string is one of characters. The "" of the blank may
            stand before them.
        language: code of the language that the model writes, such as "de"; "" if it is not known. Given texts are
            normalised by it and by the alphabet (see `asr_core.text.alphabet`).
    """

    pieces: str | Sequence[str] = EXAMPLE_CHARACTERS
    language: str = ""

    def __post_init__(self):
        pieces = tuple(self.pieces)
        pieces = pieces[1:] if pieces[:1] == ("",) else pieces
        if not pieces or len(set(pieces)) != len(pieces):
            raise ValueError(f"A vocabulary needs every character or piece exactly once, got {_short(self.pieces)}.")
        if wrong := next((piece for piece in pieces if not _is_piece(piece)), None):
            raise ValueError(
                f"A piece is text without white space, {WORD_MARK} only in front of it, or one space, got {wrong!r}."
            )
        if "" in pieces:
            raise ValueError("Only the blank writes nothing.")
        object.__setattr__(self, "pieces", pieces)

    @cached_property
    def tokens(self) -> list[str]:
        """The text of each token; that of the blank is empty."""
        return ["", *self.pieces]

    @cached_property
    def characters(self) -> str:
        """Every character that the tokens can write, once, in token order; the mark of words is a space."""
        return "".join(dict.fromkeys("".join(self.pieces).replace(WORD_MARK, " ")))

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """The set of `characters`."""
        return frozenset(self.characters)

    @cached_property
    def letters(self) -> frozenset[str]:
        """The letters of the alphabet, of any script."""
        return frozenset(filter(str.isalpha, self.alphabet))

    @cached_property
    def writes_single_characters(self) -> bool:
        """Whether every token but the blank writes exactly one character."""
        return self._longest == 1 and not self.has_word_marks

    @cached_property
    def has_word_marks(self) -> bool:
        """Whether words begin with a mark in their first piece, instead of being separated by a token."""
        return any(piece.startswith(WORD_MARK) for piece in self.pieces)

    @cached_property
    def separator(self) -> str:
        """What stands between two words in a text: a space, or nothing."""
        return " " if self.has_word_marks or self.space is not None else ""

    @cached_property
    def space(self) -> int | None:
        """The token of the space between words, or None."""
        return self._token_of.get(" ")

    @cached_property
    def begins_word(self) -> tuple[bool, ...]:
        """For each token, whether a new word begins with it, whatever stands before it."""
        if not self.separator:
            return tuple(bool(text.strip()) for text in self.tokens)
        return tuple(text.startswith(WORD_MARK) for text in self.tokens)

    @cached_property
    def _token_of(self) -> dict[str, int]:
        return {piece: token for token, piece in enumerate(self.pieces, start=1)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.pieces))

    @cached_property
    def _is_made_of_merges(self) -> bool:
        return self.has_word_marks and is_made_of_merges(self._token_of)

    def __len__(self) -> int:
        return len(self.pieces) + 1

    def encode(self, text: str) -> list[int]:
        """The tokens of a normalised text.

        Raises:
            ValueError: a character is not in the vocabulary.
        """
        if self.has_word_marks:
            return [token for word in text.split() for token in self.encode_word(word)]
        if self._longest > 1:
            return self._cut(text)
        try:
            return [self._token_of[character] for character in text]
        except KeyError as missing:
            character = missing.args[0]
            raise ValueError(f"{character!r} in {text!r} is not in the vocabulary: normalise first.") from None

    def encode_word(self, word: str, begins: bool = True) -> list[int]:
        """The tokens of a word, or, if `begins` is False, of the rest of a word.

        Raises:
            ValueError: as for `encode`.
        """
        return self._cut(WORD_MARK + word) if begins and self.has_word_marks else self._cut(word)

    def _cut(self, text: str) -> list[int]:
        tokens = merged(text, self._token_of) if self._is_made_of_merges else None
        if tokens is None:
            tokens = fewest(text, self._token_of, self._longest)
        if tokens is None:
            text = text.removeprefix(WORD_MARK)
            character = next((character for character in text if character not in self.alphabet), text)
            raise ValueError(f"{character!r} in {text!r} is not in the vocabulary: normalise first.")
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens whose repeats are collapsed already; blanks are skipped."""
        text = "".join(self.tokens[token] for token in tokens)
        return text.replace(WORD_MARK, " ").removeprefix(" ") if self.has_word_marks else text

    def split(self, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """Where the words of a text are: the (start, end) of each in its tokens, without what separates them."""
        words: list[tuple[int, int]] = []
        start = None
        for i, token in enumerate([*tokens, BLANK]):
            separates = self._separates[token]
            if start is not None and (separates or self.begins_word[token]):
                if any(self.tokens[t] != WORD_MARK for t in tokens[start:i]):
                    words.append((start, i))
                start = None
            if start is None and not separates:
                start = i
        return words

    @cached_property
    def _separates(self) -> tuple[bool, ...]:
        return tuple(not text.strip() for text in self.tokens)

    def words(self, tokens: Sequence[int]) -> list[str]:
        """The words of a text, without what separates them."""
        if self.separator and not self.has_word_marks:
            return self.decode(tokens).split()
        return [self.decode(tokens[start:end]).strip() for start, end in self.split(tokens)]

    def text(self, tokens: Sequence[int]) -> str:
        """The words of a text with single separators between them."""
        return self.separator.join(self.words(tokens))


def _is_piece(piece) -> bool:
    if not isinstance(piece, str) or len(piece) == 1:
        return isinstance(piece, str)
    return not any(map(str.isspace, piece)) and WORD_MARK not in piece.lstrip(WORD_MARK)


def _short(pieces) -> str:
    text = repr(pieces)
    return text if len(text) <= 60 else f"{text[:60]}..."
