"""Learns a vocabulary of subword pieces from texts, by byte-pair encoding (Sennrich et al., 2016)."""

from collections import Counter
from collections.abc import Iterable
from string import ascii_lowercase

from asr_core.text.vocabulary import WORD_MARK


def learn_pieces(texts: Iterable[str], count: int) -> list[str]:
    """The characters of normalised texts and the pieces that are merged from them, in the order of the merges.

    All letters of English are among the characters, even those that the texts lack: without them the vocabulary would
    not count as English. In this order `Vocabulary.encode` cuts texts as the merges do. A piece that begins a word has
    `WORD_MARK` in front; the mark alone is a piece too.

    Args:
        count: pieces at most; fewer if the texts have no two neighbours left that occur together twice.

    Raises:
        ValueError: the texts have more characters than `count`.
    """
    words = Counter(WORD_MARK + word for text in texts for word in text.split())
    characters = sorted({*ascii_lowercase, *(character for word in words for character in word)})
    if len(characters) > count:
        raise ValueError(f"The texts have {len(characters)} characters, more than the {count} pieces of --pieces.")
    pieces, parts = characters, {word: list(word) for word in words}
    while len(pieces) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, cut in parts.items():
            for pair in zip(cut, cut[1:], strict=False):
                pairs[pair] += words[word]
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if "".join(best) not in pieces:  # two pairs can spell one piece
            pieces.append("".join(best))
        parts = {word: _merge(cut, best) for word, cut in parts.items()}
    return pieces


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """The parts of a word with every occurrence of a pair joined, from the left."""
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return joined
