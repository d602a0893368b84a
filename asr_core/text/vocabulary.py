"""Characters <-> tokens. Token 0 is the CTC blank."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from asr_core.text.normaliser import SYMBOLS

BLANK = 0  # the token of "nothing new"; the characters follow from 1
EXAMPLE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz'?! "  # in the order of the Keras example
SYMBOLS |= {"£": "", "€": "", "¥": "", "¢": ""}


@dataclass(frozen=True)
class Vocabulary:
    """The characters a model can write; token 0 is blank, token i is `characters[i - 1]`.

    Attributes:
        characters: every character once, in token order.
    """

    characters: str = EXAMPLE_CHARACTERS

    def __post_init__(self):
        if not self.characters or len(set(self.characters)) != len(self.characters):
            raise ValueError(f"A vocabulary needs every character exactly once, got {self.characters!r}.")

    @cached_property
    def tokens(self) -> list[str]:
        """What each token writes; the blank writes nothing."""
        return ["", *self.characters]

    @cached_property
    def _token_of(self) -> dict[str, int]:
        return {character: token for token, character in enumerate(self.characters, start=1)}

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, text: str) -> list[int]:
        """The tokens of a normalised text; a character outside the vocabulary raises ValueError."""
        try:
            return [self._token_of[character] for character in text]
        except KeyError as missing:
            odd = missing.args[0]
            raise ValueError(f"{odd!r} in {text!r} is not in the vocabulary: normalise first.") from None

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of collapsed tokens; blanks write nothing."""
        return "".join(self.tokens[token] for token in tokens)


def space_token(vocabulary: Vocabulary) -> int | None:
    """The token that parts words, or None in a vocabulary without one."""
    return vocabulary.encode(" ")[0] if " " in vocabulary.characters else None

WILDCARD = -1  # in a text to align: a sound that the alphabet cannot write
