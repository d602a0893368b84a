"""Letters that are spelled out -> one word in capitals: u s a -> USA, s m i t h -> S-M-I-T-H.

"a" and "i" are words too, and "o" may be one: at the edge of a run they belong to it only in an acronym that is known.
"""

from collections.abc import Sequence

from asr_core.text.number_words import WrittenSpan, word_at

MAX_ACRONYM = 4  # letters; a longer run is a word that somebody spells, unless it is known
WORDS = ("a", "i", "o")
SPELLING = frozenset("spelled spelt spelling spells spell letters".split())  # every letter after them is one
SPELLING_REACH = 2  # words from them to the letters: spelled it
KNOWN = frozenset(
    "abc ac acl aclu adhd afc ai aka ama aol apa api apr atm asap ba bmi ceo cfo cia cio coo cpa cto dea dna dui epa "
    "eta fbi fda fyi gdpr gi gmo gpa hbo hmo ibm icu id ie iou ip ipo iq ira irs isp it itv kpi la ma mba mia mma mri "
    "mta naacp nasa nba ncaa nda ngo nra nsa ocd ok pa pga phd psi pta pto rna roi tba tsa ucla ufo usa usda wnba "
    "ymca".split()
)
NO_PLURALS = frozenset(  # though they end in s, unlike TVs
    "aws bbs cbs cms css dns dos ems eps gps hms ims ios irs nhs pbs pms rss sms sos tls ups uss".split()
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
    spelled = not SPELLING.isdisjoint(words[max(0, at - SPELLING_REACH) : at])
    first, end = (at, end) if spelled else _trimmed(words, at, end)
    joined = _joined(words, first, end)
    stutter = len(set(joined)) == 1 or set(joined) <= set(WORDS)
    if end - first < 2 or (stutter and joined not in KNOWN):
        return None
    if len(joined) > MAX_ACRONYM and joined not in KNOWN:
        text = "-".join(joined.upper())
    elif len(joined) > 2 and words[end - 1] == "s" and joined not in NO_PLURALS and not spelled:
        text = f"{joined[:-1].upper()}s"
    else:
        text = joined.upper()
    return [WrittenSpan(first, end, text + ("'s" if words[end - 1].endswith("'s") else ""))]


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
