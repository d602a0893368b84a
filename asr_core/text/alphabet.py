"""Text of any language -> the words that a model can write, by its alphabet and its language.

English has a normaliser of its own (`asr_core.text.normaliser`), which also spells out money, dates and abbreviations.
For all other languages, characters are folded to what the model's alphabet has, and whole numbers are spelled out
where num2words knows the language. Without it, figures stay as they are.
"""

import re
import unicodedata
from functools import lru_cache
from string import ascii_lowercase

from asr_core.text.normaliser import FOLDED, normalise
from asr_core.text.vocabulary import Vocabulary

FIGURES = re.compile(r"\d{1,3}(?:[.,\u00a0\u202f]\d{3})+(?!\d)|\d+")  # with or without marks between thousands
MAX_FIGURES = 15  # longer numbers are spelled digit by digit
APOSTROPHES = "'\u2019\u02bc\u2018\u0060\u00b4\u2032"
DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015", "-"))
FINAL_SIGMA, CAPITAL_SIGMA_AT_END = "\u03c2", re.compile(r"(?<=[^\W\d_])\u03a3(?![^\W\d_])")  # of a Greek word
ENGLISH_LETTERS = frozenset(ascii_lowercase)
DOTTED_I = str.maketrans({"I": "\u0131", "\u0130": "i"})  # lower case in Turkish and Azerbaijani
DOTTED_CAPITAL_I = str.maketrans({"i": "\u0130", "\u0131": "I"})  # upper case there
DOTTED = ("tr", "az")
ATTACHED = ("ko", "tr", "az")  # in these, an ending follows figures without a space, perhaps after an apostrophe
FEW_DIGITS = {"am": 3}  # of the longest number that num2words spells without an error or an endless loop
TURKISH_NUMBER = re.compile(
    "bir|iki|\u00fc\u00e7|d\u00f6rt|be\u015f|altm\u0131\u015f|alt\u0131|yedi|sekiz|dokuz|on|yirmi|otuz|k\u0131rk|elli|"
    "yetmi\u015f|seksen|doksan|y\u00fcz|bin|milyon|milyar|trilyon"
)
SHORT_CODES = dict(  # ISO 639-3 codes, as MMS has them, of the languages that num2words knows
    pair.split(":")
    for pair in (
        "amh:am ara:ar arb:ar aze:az azj:az bel:be ben:bn cat:ca ces:cs cym:cy dan:da deu:de eng:en epo:eo spa:es "
        "fas:fa pes:fa fin:fi fra:fr heb:he hun:hu ind:id isl:is ita:it jpn:ja kan:kn kor:ko kaz:kz kk:kz lit:lt "
        "lav:lv nld:nl nob:no nor:no nb:no pol:pl por:pt ron:ro rus:ru slk:sk slv:sl srp:sr swe:sv tel:te tgk:tg "
        "tha:th tur:tr ukr:uk vie:vi"
    ).split()
)


def language_code(language: str) -> str:
    """The code of a language without its script and, in general, its region: "de" for "deu" and "de-DE"."""
    code, _, region = language.strip().replace("-", "_").partition("_")
    code = SHORT_CODES.get(code.lower(), code.lower())
    return f"{code}_{region.upper()}" if (code, region.upper()) in {("pt", "BR"), ("fr", "CH"), ("fr", "BE")} else code


def is_english(vocabulary: Vocabulary) -> bool:
    """Whether texts are for the English normaliser: the letters are exactly a to z, and no other language is stated.

    So a model of another language with these letters counts as English unless it states its language.
    """
    return vocabulary.letters == ENGLISH_LETTERS and language_code(vocabulary.language) in ("", "en")


def normalised_words(text: str, vocabulary: Vocabulary) -> list[str]:
    """The words of a text as they are spoken, for scoring; characters instead, where words have no spaces between them.

    Letters that the alphabet lacks stay, in lower case: a word with them differs from every word of the model. English
    is an exception: its normaliser drops them. Case does not count where the alphabet has both.
    """
    words = _words(text, vocabulary)
    has_both = any(letter != letter.lower() and letter.lower() in vocabulary.letters for letter in vocabulary.letters)
    return [lower(word, language_code(vocabulary.language)) for word in words] if has_both else words


def lower(text: str, code: str) -> str:
    """A text in lower case by the rules of a language."""
    return (text.translate(DOTTED_I) if code in DOTTED else text).lower()


def upper(text: str, code: str) -> str:
    """A text in upper case by the rules of a language."""
    return (text.translate(DOTTED_CAPITAL_I) if code in DOTTED else text).upper()


def _words(text: str, vocabulary: Vocabulary) -> list[str]:
    if is_english(vocabulary):
        return normalise(text).split()
    kept = []
    text = prepared(text, vocabulary)
    for i, character in enumerate(text):
        kind = unicodedata.category(character)
        known = character in vocabulary.alphabet
        if character in APOSTROPHES or character == "-":
            inside = text[max(0, i - 1) : i].isalnum() and text[i + 1 : i + 2].isalnum()
            kept.append(character if inside and known else " " if character == "-" else "")
        elif kind in ("Mn", "Cf"):
            kept.append(character if known else "")
        elif kind[0] in "LNM":
            kept.append(fold(character, vocabulary) or character.lower())
        else:
            kept.append(" ")
    return units("".join(kept), vocabulary)


def spell_out(text: str, vocabulary: Vocabulary) -> str:
    """The words of a text with nothing but what the vocabulary can write; empty if that is nothing."""
    for _ in range(2):  # where a letter is left out, an apostrophe beside it is no longer inside a word
        words = ("".join(filter(vocabulary.alphabet.__contains__, word)) for word in _words(text, vocabulary))
        text = vocabulary.separator.join(filter(None, words))
    return text


def prepared(text: str, vocabulary: Vocabulary) -> str:
    """A text with composed characters, the alphabet's apostrophe, and numbers in words where that is possible."""
    text = unicodedata.normalize("NFC", text)
    if FINAL_SIGMA in vocabulary.alphabet:
        text = CAPITAL_SIGMA_AT_END.sub(FINAL_SIGMA, text)
    apostrophe = next((mark for mark in APOSTROPHES if mark in vocabulary.alphabet), "'")
    text = text.translate(str.maketrans(dict.fromkeys(APOSTROPHES, apostrophe))).translate(DASHES)
    if not any(map(str.isdigit, vocabulary.alphabet)):
        code = language_code(vocabulary.language)
        figures = re.compile(rf"({FIGURES.pattern})(?:{apostrophe}(?=[^\W\d_]))?") if code in ATTACHED else FIGURES
        text = figures.sub(lambda found: _spaced(number_in_words(found.group(), vocabulary), found, code), text)
    return text


def _spaced(words: str | None, found: re.Match, code: str) -> str:
    """The words of a number for a text: apart from the letters beside the figures, or together with an ending."""
    if words is None:
        return found.group()
    if code == "ko":
        return words
    return f" {words}" if code in ATTACHED else f" {words} "


@lru_cache(maxsize=4096)
def _in_words(number: str, code: str) -> str | None:
    from num2words import CONVERTER_CLASSES, num2words

    if code not in CONVERTER_CLASSES:
        return None
    if len(number) <= FEW_DIGITS.get(code, MAX_FIGURES) and (number == "0" or int(number[0]) > 0):
        try:
            words = num2words(int(number), lang=code)
        except OverflowError:  # of Telugu and Kannada from ten thousand millions on
            pass
        else:
            return " ".join(TURKISH_NUMBER.findall(words)) or words if code == "tr" else words
    return " ".join(num2words(int(digit), lang=code) for digit in number)


def number_in_words(figures: str, vocabulary: Vocabulary) -> str | None:
    """A whole number in the words of the vocabulary's language; None if num2words does not know the language."""
    digits = "".join(filter(str.isdecimal, figures))
    return _in_words(digits, language_code(vocabulary.language)) if digits else None


def fold(character: str, vocabulary: Vocabulary) -> str:
    """A character as the alphabet writes it: unchanged, in the other case, in parts, or without its accent; or ""."""
    code = language_code(vocabulary.language)
    parts, compatible = (unicodedata.normalize(form, character) for form in ("NFD", "NFKC"))
    bare = unicodedata.normalize("NFKD", character)[0]
    forms = (
        character, lower(character, code), upper(character, code), parts, parts.lower(), compatible,
        compatible.lower(), character.translate(FOLDED).lower(), bare, bare.lower(), bare.upper(),
    )  # fmt: skip
    return next((form for form in forms if form.strip() and vocabulary.alphabet.issuperset(form)), "")


def units(text: str, vocabulary: Vocabulary) -> list[str]:
    """The words of a text; in a language without spaces, its characters.

    There, runs of letters that the alphabet lacks, such as a Latin name in Chinese, stay whole, and so do figures.
    """
    if vocabulary.separator:
        return text.split()
    result: list[str] = []
    runs_on = False  # whether the last unit is a run that the next character may continue
    for character in text:
        foreign = unicodedata.category(character)[0] in "LNM" and character not in vocabulary.alphabet
        if character.isspace():
            runs_on = False
        elif foreign and not fold(character, vocabulary) and runs_on:
            result[-1] += character
        else:
            result.append(character)
            runs_on = foreign and not fold(character, vocabulary)
    return result
