"""Published transcripts -> the spelling that models are trained and scored on: lower case, numbers in words."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from asr_core.text.spoken_forms import ABBREVIATION_RULES, DIGIT, NUMBER_RULES, SHORTHAND

# Characters with an ASCII equivalent. NFKD removes the accents of all others.
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
SYMBOLS |= {"£": "", "€": "", "¥": "", "¢": ""}  # signs that no number stands beside are not spoken
SEPARATED = {c: " " for c in range(128) if not (chr(c).isalnum() or chr(c) in "'.")}  # what separates words -> a space
SEPARATED |= {ord("`"): "'"} | {ord(symbol): f" {name} " for symbol, name in SYMBOLS.items()}

CLITICS = frozenset("'s 't 'm 're 've 'll 'd".split())  # which tokenisers separate from their word
ELISIONS = frozenset(
    "'tis 'twas 'twere 'twill 'twould 'twouldn't 'tain't 'em 'cause 'cos 'til 'till 'bout 'round 'neath "
    "'gainst 'midst 'tween 'n 'un 'uns 'ere 'im 'ave 'ad 'as 'ow 'ome 'ouse 'ead 'ud 'pon 'kay 'nuff "
    "'nother 'fraid 'spect 'spose 'most 'ello 'ell 'ard 'arf 'fore 'twixt 'twasn't 'tisn't 'long".split()
)
CLIPPED = frozenset("o an th tha ha ol wi mo po t d lil jes jus mus mist fo".split())  # o', an', ol'


def normalise(text: str) -> str:
    """Spells a text out as a-z, apostrophes and single spaces. See Normaliser."""
    return Normaliser()(text)


@dataclass
class Normaliser:
    """Converts published text to lower-case words as they are spoken, and counts the changes.

    Letters are folded to a-z; numbers, amounts of money, times, dates and common abbreviations are spelled out;
    hyphens, dashes and other punctuation separate words. An apostrophe is kept inside a word (don't), before a known
    elision ('tis, 'em), and after a plural or a dropped g (dogs', goin') unless a quotation is open; any other
    apostrophe is a quotation mark and is removed. Initials become letters (U.S. -> u s). Roman numerals, and acronyms
    without full stops (NATO, USA), are only put in lower case: their spelling does not show their pronunciation.

    Attributes:
        changes: kind of change -> number of texts that needed it.
        dropped: characters of other scripts without an equivalent -> number of occurrences.
        texts: number of texts so far.
    """

    changes: Counter = field(default_factory=Counter)
    dropped: Counter = field(default_factory=Counter)
    texts: int = 0

    def __call__(self, text: str) -> str:
        self.texts += 1
        if not text.isascii():
            text = self._fold(text)
        if DIGIT.search(text):
            text = self._spell(text, NUMBER_RULES)
        words = text.translate(SEPARATED).split()
        bare = [word.strip("'") for word in words] if "'" in text else words
        if not SHORTHAND.isdisjoint(bare) or ".com" in text or ".org" in text:
            text = self._spell(text, ABBREVIATION_RULES)
            words = text.translate(SEPARATED).split()
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
        return lower

    def _spell(self, text: str, rules) -> str:
        text = " ".join(text.split())  # the rules are slow on long runs of spaces
        for kind, pattern, spoken in rules:
            text, found = pattern.subn(spoken, text)
            if found:
                self.changes[kind] += 1
        return text

    def _fold(self, text: str) -> str:
        """Folds typographic marks, accents and ligatures to ASCII, but not the signs of the rules for numbers."""
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
            elif kind != "Cf":  # invisible characters, such as the soft hyphen, do not separate words
                self.dropped[character] += 1
                letters.append(" ")
        self.changes["accents"] += accented
        return "".join(letters)

    def _apostrophes(self, text: str) -> str:
        """Keeps the apostrophes that belong to words, and removes quotation marks."""
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
        if spoken != text:
            self.changes["apostrophe"] += 1
        return spoken
