"""The vocabulary of a model: characters <-> tokens. Token 0 is the CTC blank."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

BLANK = 0  # the CTC blank; characters have the tokens from 1 on
WILDCARD = -1  # in a text to align, stands for speech that the alphabet cannot write
EXAMPLE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz'?! "  # in the order of the Keras example


@dataclass(frozen=True)
class Vocabulary:
    """The characters that a model can write; token 0 is the blank, token i is `characters[i - 1]`.

    Attributes:
        characters: every character once, in token order.
    """

    characters: str = EXAMPLE_CHARACTERS

    def __post_init__(self):
        if not self.characters or len(set(self.characters)) != len(self.characters):
            raise ValueError(f"A vocabulary needs every character exactly once, got {self.characters!r}.")

    @cached_property
    def tokens(self) -> list[str]:
        """The text of each token; that of the blank is empty."""
        return ["", *self.characters]

    @cached_property
    def _token_of(self) -> dict[str, int]:
        return {character: token for token, character in enumerate(self.characters, start=1)}

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, text: str) -> list[int]:
        """The tokens of a normalised text.

        Raises:
            ValueError: a character is not in the vocabulary.
        """
        try:
            return [self._token_of[character] for character in text]
        except KeyError as missing:
            character = missing.args[0]
            raise ValueError(f"{character!r} in {text!r} is not in the vocabulary: normalise first.") from None

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens whose repeats are collapsed already; blanks are skipped."""
        return "".join(self.tokens[token] for token in tokens)


def space_token(vocabulary: Vocabulary) -> int | None:
    """The token of the space between words, or None if the vocabulary has none."""
    return vocabulary.encode(" ")[0] if " " in vocabulary.characters else None
