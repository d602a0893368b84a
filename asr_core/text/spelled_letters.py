"""Letters that are spelled out -> one word in capitals: u s a -> USA, s m i t h -> S-M-I-T-H.

"a" and "i" are words too, and "o" may be one: at the edge of a run they belong to it only in an acronym that is known.
"""

from collections.abc import Sequence

from asr_core.text.number_words import WrittenSpan, word_at

MAX_ACRONYM = 4  # letters; a longer run is a word that somebody spells, unless it is known
WORDS = ("a", "i", "o")
SPELLING = frozenset("spelled spelt spelling spells spell letters".split())  # every letter after them is one
KNOWN = frozenset(
    "aaa abc ac acl aclu adhd afc ai aka ama aol apa api apr atm asap ba cia cpa dna epa fbi fda gdpr gi ibm icu id ie "
    "iou ip ipo iq ira irs isp it itv la ma mba mma mri naacp nba ncaa nra nsa ok pa phd psi pta rna tba usa "
    "wnba".split()
)


def letters_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """Two or more letters, the last of them perhaps with 's."""
    if not _is_letter(words[at]) or _is_letter(word_at(words, at - 1)):
        return None
    end = at
    while _is_letter(word_at(words, end)):
        end += 1
    possessive = _is_letter(word_at(words, end).removesuffix("'s"))
    end += possessive
    first = at
    if word_at(words, at - 1) not in SPELLING:
        first, end = _trimmed(words, at, end)
    if end - first < 2 or all(word in WORDS for word in words[first:end]) and _joined(words, first, end) not in KNOWN:
        return None
    letters = [word.removesuffix("'s").upper() for word in words[first:end]]
    between = "-" if len(letters) > MAX_ACRONYM and _joined(words, first, end) not in KNOWN else ""
    ending = "'s" if words[end - 1].endswith("'s") else ""
    return [WrittenSpan(first, end, between.join(letters) + ending)]


def _is_letter(word: str) -> bool:
    return len(word) == 1 and word.isalpha()


def _joined(words: Sequence[str], first: int, end: int) -> str:
    return "".join(word.removesuffix("'s") for word in words[first:end])


def _trimmed(words: Sequence[str], first: int, end: int) -> tuple[int, int]:
    """The run without the words at its edges: "a t v" is a TV."""
    while end - first > 1 and _joined(words, first, end) not in KNOWN:
        if words[first] in WORDS:
            first += 1
        elif words[end - 1] in WORDS:
            end -= 1
        else:
            break
    return first, end
