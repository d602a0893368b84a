"""Published transcripts -> the spelling that models are trained and scored on: small letters, spoken forms of
numbers.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from asr_core.text.spoken_forms import ABBREVIATION_RULES, DIGIT, NUMBER_RULES, SHORTHAND

# Characters that mean the same as an ASCII one. NFKD takes the accents off the rest.
FOLDED = str.maketrans(
    {mark: "'" for mark in "\u2018\u2019\u201a\u201b\u2032\u02bc\u0060\u00b4\u2039\u203a"}
    | {mark: '"' for mark in "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033"}
    | {mark: "-" for mark in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2e3a"}
    | {"\u00a0": " ", "\u2026": " ", "\u2022": " ", "\u00b7": " ", "\u00d7": " times ", "\u2044": "/"}
    | {mark: f" {unicodedata.normalize('NFKD', mark)}".replace("\u2044", "/") for mark in "½¼¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
    | {"\u00b2": " squared ", "\u00b3": " cubed ", "\u00b1": " plus or minus "}
    | {"æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"ß": "ss", "ð": "th", "Ð": "Th", "þ": "th", "Þ": "Th", "ı": "i", "ħ": "h", "Ħ": "H", "ə": "a"}
)
SYMBOLS = {"&": "and", "@": "at", "%": "percent", "+": "plus", "=": "equals", "°": "degrees"}

CLITICS = frozenset("'s 't 'm 're 've 'll 'd".split())  # cut off from their word by a tokeniser
ELISIONS = frozenset(
    "'tis 'twas 'twere 'twill 'twould 'twouldn't 'tain't 'em 'cause 'cos 'til 'till 'bout 'round 'neath "
    "'gainst 'midst 'tween 'n 'un 'uns 'ere 'im 'ave 'ad 'as 'ow 'ome 'ouse 'ead 'ud 'pon 'kay 'nuff "
    "'nother 'fraid 'spect 'spose 'most 'ello 'ell 'ard 'arf 'fore 'twixt 'twasn't 'tisn't 'long".split()
)
CLIPPED = frozenset("o an th tha ha ol wi mo po t d lil jes jus mus mist fo".split())  # o', an', ol'


def normalise(text: str, keep: str = "'") -> str:
    """Spell a text out as a-z, apostrophes and single spaces. See Normaliser."""
    return Normaliser(keep)(text)


@dataclass
class Normaliser:
    """Turns published text into lower-case words as they are spoken, and counts what it had to change.

    Letters are folded to a-z; numbers, money, times, dates and common abbreviations are spelled out; hyphens,
    dashes and other punctuation part words. An apostrophe stays inside a word (don't), before a known elision
    ('tis, 'em), and after a plural or a dropped g (dogs', goin') unless a quotation is open; elsewhere it was
    a quotation mark and goes. Initials become letters (U.S. -> u s); Roman numerals and capitals without full
    stops (NATO, USA) stay as they are, for spelling does not tell how they sound.

    Attributes:
        keep: punctuation that stays, of "'?!" (marks stay attached to the word before them).
        changes: kind of change -> number of texts that needed it.
        dropped: letters and marks of other scripts that had no equivalent -> occurrences.
        texts: number of texts seen.
    """

    keep: str = "'"
    changes: Counter = field(default_factory=Counter)
    dropped: Counter = field(default_factory=Counter)
    texts: int = 0

    def __post_init__(self):
        if not set(self.keep) <= set("'?!"):
            raise ValueError(f"Only apostrophe, ? and ! can be kept, got {self.keep!r}.")
        marks = set("'?!") & set(self.keep) - {"'"}
        kept = set("'.") | marks
        self._spaces = {c: " " for c in range(128) if not (chr(c).isalnum() or chr(c) in kept)}
        self._spaces[ord("`")] = "'"
        self._spaces.update({ord(symbol): f" {name} " for symbol, name in SYMBOLS.items()})

    def __call__(self, text: str) -> str:
        self.texts += 1
        if not text.isascii():
            text = self._fold(text)
        if DIGIT.search(text):
            text = self._spell(text, NUMBER_RULES)
        words = text.translate(self._spaces).split()
        bare = [word.strip("'") for word in words] if "'" in text else words
        if not SHORTHAND.isdisjoint(bare) or ".com" in text or ".org" in text:
            text = self._spell(text, ABBREVIATION_RULES)
            words = text.translate(self._spaces).split()
        joined = " ".join(words)
        if len(joined) != len(text):
            self.changes["punctuation"] += 1
        if "." in joined:
            self.changes["punctuation"] += len(joined) == len(text)
            joined = " ".join(joined.replace(".", " ").split())
        lower = joined.lower()
        if lower != joined:
            self.changes["case"] += 1
        if "'" in lower:
            lower = self._apostrophes(lower)
        if "?" in lower or "!" in lower:
            lower = re.sub(r"\s*([?!])[?!\s]*", r"\1 ", lower).strip()
        return lower

    def _spell(self, text: str, rules) -> str:
        text = " ".join(text.split())  # long runs of space would make the rules slow
        for kind, pattern, spoken in rules:
            text, found = pattern.subn(spoken, text)
            if found:
                self.changes[kind] += 1
        return text

    def _fold(self, text: str) -> str:
        """Curly marks, accents and ligatures to ASCII; currency signs and the degree stay for the numbers."""
        folded = text.translate(FOLDED)
        if folded != text:
            self.changes["typography"] += 1
        if folded.isascii():
            return folded
        letters = []
        accented = False
        for character in unicodedata.normalize("NFKD", folded).translate(FOLDED):
            kind = unicodedata.category(character)
            if character.isascii() or character in "£€¥¢°":
                letters.append(character)
            elif kind == "Mn":
                accented = True
            elif kind != "Cf":  # invisible ones, such as the soft hyphen, leave no gap
                self.dropped[character] += 1
                letters.append(" ")
        self.changes["accents"] += accented
        return "".join(letters)

    def _apostrophes(self, text: str) -> str:
        """Keep the apostrophes that belong to words; drop those that quote."""
        words: list[str] = []
        quoting = cut = False
        for word in text.split():
            core = word.strip("'")
            if words and (word in CLITICS or (cut and f"'{word}" in CLITICS)):
                words[-1] = words[-1].rstrip("'") + "'" + core
                cut = False
                continue
            cut = word.endswith("'")
            leading, trailing = word.startswith("'"), word.endswith("'") and len(word) > 1
            start = "'" if leading and f"'{core}" in ELISIONS else ""
            quoting = quoting or (leading and not start)
            end = ""
            if trailing:
                elided = core.endswith(("s", "in")) or core in CLIPPED
                end = "'" if (elided and not quoting) or f"'{core}'" == "'n'" else ""
                quoting = quoting and bool(end)
            if core:
                words.append(start + re.sub("'{2,}", "'", core) + end)
        spoken = " ".join(words)
        if "'" not in self.keep:
            spoken = spoken.replace("'", "")
        if spoken != text:
            self.changes["apostrophe"] += 1
        return spoken
