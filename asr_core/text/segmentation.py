"""Cuts a word into the pieces of a subword vocabulary, as the tokeniser of the model did in training.

A bundle holds the pieces without the tokeniser's rules, which are inferred from the order of the pieces. In a
vocabulary of byte-pair encoding (Sennrich et al., 2016), every piece is made of two that came before it, and pieces are
numbered in the order in which training merged them: so `merged` gives exactly the pieces of the tokeniser. Vocabularies
of a unigram model (Kudo, 2018) are ordered by probability, which is not stored: `fewest` then takes the fewest pieces
and, of equally many, the most frequent, which is what the most probable segmentation nearly always is.
"""

from collections.abc import Mapping


def is_made_of_merges(token_of: Mapping[str, int]) -> bool:
    """Whether every piece consists of two others, each of them one character or a piece with a lower number."""

    def is_earlier(part: str, number: int) -> bool:
        return len(part) == 1 or token_of.get(part, number) < number

    return all(
        any(is_earlier(piece[:i], number) and is_earlier(piece[i:], number) for i in range(1, len(piece)))
        for piece, number in token_of.items()
        if len(piece) > 1
    )


def merged(text: str, token_of: Mapping[str, int]) -> list[int] | None:
    """Byte-pair encoding: merges the two neighbours that make the piece with the lowest number, until none do.

    Returns None if a character is in no piece.
    """
    parts = list(text)
    while len(parts) > 1:
        numbers = [token_of.get(a + b) for a, b in zip(parts, parts[1:], strict=False)]
        known = [number for number in numbers if number is not None]
        if not known:
            break
        at = numbers.index(min(known))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [token_of[part] for part in parts] if all(part in token_of for part in parts) else None


def fewest(text: str, token_of: Mapping[str, int], longest: int) -> list[int] | None:
    """The fewest pieces that spell a text and, of equally many, those with the lowest sum of numbers.

    Dynamic programming; `longest` is the length of the longest piece. Returns None if no pieces spell the text.
    """
    best: list[tuple[int, int, int] | None] = [(0, 0, 0)]  # of the first n characters: pieces, sum, start of the last
    for end in range(1, len(text) + 1):
        options = []
        for start in range(max(0, end - longest), end):
            number, before = token_of.get(text[start:end]), best[start]
            if number is not None and before is not None:
                options.append((before[0] + 1, before[1] + number, start))
        best.append(min(options, default=None))
    if best[-1] is None:
        return None
    tokens, end = [], len(text)
    while end:
        start = best[end][2]
        tokens.append(token_of[text[start:end]])
        end = start
    return tokens[::-1]
