"""Texts in other languages than English: by the alphabet of the model and its language, for every use of a text."""

import string
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words

from asr_core.bundle.language_models import spelled
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.text_alignment import align_text
from asr_core.emissions import Emissions
from asr_core.text.alphabet import is_english, language_code, normalised_words, spell_out
from asr_core.text.normaliser import normalise
from asr_core.text.spelling import spell
from asr_core.text.vocabulary import WILDCARD, Vocabulary
from train.evaluate.scores import score
from ui.service.scoring import compare

LATIN = string.ascii_lowercase
GERMAN = Vocabulary(f"{LATIN}äöüß ", "de")
FRENCH = Vocabulary(f"{LATIN}àâçéèêëîïôûùüÿœæ'- ", "fr")
RUSSIAN = Vocabulary("абвгдежзийклмнопрстуфхцчшщъыьэюя ", "ru")
TURKISH = Vocabulary("abcçdefgğhıijklmnoöprsştuüvyz ", "tr")
UKRAINIAN = Vocabulary("абвгґдеєжзиіїйклмнопрстуфхцчшщьюя’ ", "uk")
ARABIC = Vocabulary("ابتثجحخدذرزسشصضطظعغفقكلمنهوية ", "ar")
HINDI = Vocabulary("".join(chr(code) for code in range(0x0900, 0x0950)) + " ", "hi")
KOREAN = Vocabulary("안녕하세요십 ", "ko")
JAMO = Vocabulary("".join(sorted(set(unicodedata.normalize("NFD", "안녕하세요")))) + " ", "ko")
CAPITALS = Vocabulary(string.ascii_uppercase + "'| ", "en")
KOREAN_NUMBERS = Vocabulary("이천십사년삼월에만났다 ", "kor")
TURKISH_CAPITALS = Vocabulary("ABCÇDEFGĞHIİJKLMNOÖPRSŞTUÜVYZ ", "tr")
TURKISH_BOTH = Vocabulary("".join(sorted(set(TURKISH.alphabet) | set(TURKISH_CAPITALS.alphabet))), "tr")
TELUGU = Vocabulary("".join(chr(code) for code in range(0x0C00, 0x0C60)) + " ", "tel")
AMHARIC = Vocabulary("".join(chr(code) for code in range(0x1200, 0x135B)) + " ", "amh")
DUTCH = Vocabulary(f"{LATIN} ", "nl")
UNKNOWN = Vocabulary(f"{LATIN}ŋɛɔ ", "ewe")


@pytest.mark.parametrize(
    ("vocabulary", "text", "words"),
    [
        (KOREAN_NUMBERS, "2024년 3월에 만났다", "이천이십사년 삼월에 만났다"),
        (TURKISH, "2023'te geldi, 15 kişi", "iki bin yirmi üçte geldi on beş kişi"),
        (TURKISH, "altmış 66", "altmış altmış altı"),
        (TURKISH_CAPITALS, "istanbul ışık", "İSTANBUL IŞIK"),
        (TELUGU, "919876543210", " ".join(num2words(int(digit), lang="te") for digit in "919876543210")),
        (AMHARIC, "1999", " ".join(num2words(int(digit), lang="am") for digit in "1999")),
        (AMHARIC, "1234567", " ".join(num2words(int(digit), lang="am") for digit in "1234567")),
        (GERMAN, "Im Jahr 2024: „15 Türen“!", "im jahr zweitausendvierundzwanzig fünfzehn türen"),
        (GERMAN, "1.500 Größen, A4-Format", "eintausendfünfhundert größen a vier format"),
        (GERMAN, "wie geht\u2019s", "wie gehts"),
        (GERMAN, "Tu\u0308ren", "türen"),
        (GERMAN, "Señor Łódź", "senor lodz"),
        (FRENCH, "L\u2019été, c'est 21 «arc-en-ciel» – non", "l'été c'est vingt et un arc-en-ciel non"),
        (FRENCH, "cœur", "cœur"),
        (RUSSIAN, "Ёлка 12", "елка двенадцать"),
        (TURKISH, "Isparta İzmir", "ısparta izmir"),
        (UKRAINIAN, "П'ять, п\u02bcять", "п’ять п’ять"),
        (ARABIC, "مَرْحَبًا، ٥", "مرحبا خمسة"),
        (HINDI, "नमस्ते, दुनिया।", "नमस्ते दुनिया"),
        (KOREAN, "안녕하세요! 10", "안녕하세요 십"),
        (JAMO, "안녕하세요!", unicodedata.normalize("NFD", "안녕하세요")),
        (CAPITALS, "Don\u2019t stop.", "DON'T STOP"),
        (DUTCH, "Het is 12 uur.", "het is twaalf uur"),
        (UNKNOWN, "Ŋutsu 12", "ŋutsu 12"),
        (GERMAN, "日本 oder ok", "日本 oder ok"),
    ],
)
def test_a_text_becomes_the_words_that_the_model_would_write(vocabulary, text, words):
    assert normalised_words(text, vocabulary) == words.split()


@pytest.mark.parametrize("vocabulary", [GERMAN, FRENCH, RUSSIAN, TURKISH, HINDI, CAPITALS, JAMO])
@given(text=st.text(max_size=40))
def test_every_text_has_words_and_normalising_them_again_changes_nothing(vocabulary, text):
    words = normalised_words(text, vocabulary)
    assert all(word.split() == [word] for word in words)
    spelled = spell_out(text, vocabulary)
    assert set(spelled) <= vocabulary.alphabet
    assert spell_out(spelled, vocabulary) == spelled


@given(text=st.text(max_size=60))
def test_english_stays_as_it_is(text):
    assert normalised_words(text, Vocabulary()) == normalise(text).split()
    assert is_english(Vocabulary(f"{LATIN}' ", "en-GB")) and is_english(Vocabulary(f"{LATIN}' ", "eng"))
    assert not is_english(DUTCH)


@pytest.mark.parametrize(
    ("stated", "code"),
    [("de", "de"), ("de-DE", "de"), ("deu", "de"), ("pt_br", "pt_BR"), ("zh-CN", "zh"), ("", ""), ("ENG", "en")],
)
def test_codes_of_languages(stated, code):
    assert language_code(stated) == code


def test_case_does_not_count_where_the_alphabet_has_both():
    both = Vocabulary(string.ascii_letters + " ", "en")
    assert normalised_words("The Cat", both) == ["the", "cat"]
    assert spell_out("The Cat", both) == "The Cat"


def emissions_of(text, vocabulary):
    tokens = [token for character in text for token in (vocabulary.encode(character)[0], 0, 0)]
    probabilities = np.full((len(tokens), len(vocabulary)), 0.05 / (len(vocabulary) - 1), np.float32)
    probabilities[np.arange(len(tokens)), tokens] = 0.95
    return Emissions(np.log(probabilities), 0.02)


@pytest.mark.parametrize(
    ("vocabulary", "spoken", "written"),
    [
        (GERMAN, "fünfzehn große türen", "„15 große Türen.“"),
        (FRENCH, "l'arc-en-ciel est là", "L\u2019arc-en-ciel est là !"),
        (RUSSIAN, "елка и дом", "Ёлка и дом"),
        (JAMO, unicodedata.normalize("NFD", "안녕 하세요"), "안녕 하세요!"),
        (CAPITALS, "DON'T STOP", "Don't stop!"),
    ],
)
def test_a_written_text_is_aligned_with_what_was_spoken(vocabulary, spoken, written):
    alignment = align_text(emissions_of(spoken, vocabulary), written, vocabulary)
    assert " ".join(word.text for word in alignment.words) == written
    assert all(word.confidence > 0.9 for word in alignment.words)
    starts = [spoken.index(word) * 0.06 for word in spoken.split()]
    assert [word.start for word in alignment.words] == pytest.approx(starts, abs=0.05)


def test_what_the_language_cannot_spell_out_is_a_wildcard():
    assert [word.tokens for word in spell("12 ŋu", UNKNOWN)][0] == (WILDCARD,)
    assert WILDCARD not in spell("12", GERMAN)[0].tokens


def test_hot_words_are_spelled_with_the_alphabet():
    assert HotWords.build(["Señora", "15 Türen", "Ёлка", "東京"], GERMAN).phrases == ("senora", "fünfzehn türen")
    emissions = emissions_of("die turen", GERMAN)
    log_probs = emissions.log_probs.copy()
    log_probs[3 * 5, GERMAN.encode("uü")] = np.log([0.5, 0.4])
    assert beam_search(Emissions(log_probs, 0.02), GERMAN, hot_words=["Türen"])[0].text == "die türen"


class Spoken:
    def __init__(self, text):
        self.text, self.start, self.end, self.confidence = text, 0.0, 1.0, 0.9


def test_comparison_and_evaluation_use_the_alphabet():
    words = [Spoken(text) for text in "im jahr zweitausend gehts los".split()]
    reference = "Im Jahr 2000 geht's los!"
    assert compare(reference, words, vocabulary=GERMAN).word_error_rate == 0
    assert compare(reference, words).word_error_rate > 0
    assert compare(reference, words, False, GERMAN).word_error_rate > 0

    class Clip:
        text = reference

    assert score(Clip, words, GERMAN).words.rate == 0


def test_characters_are_compared_where_no_spaces_are_written():
    chinese = Vocabulary("你好世界", "zh")
    result = compare("你好，世界！", [Spoken(text) for text in "你好界"], vocabulary=chinese)
    assert (result.hits, result.deletions, result.word_error_rate) == (3, 1, 0.25)
    assert result.character_error_rate == 0.25


def test_greek_capitals_keep_the_final_sigma():
    world = "\u03ba\u03bf\u03c3\u03bc\u03bf\u03c2"  # kosmos
    greek = Vocabulary(["", *"\u03ba\u03bf\u03c3\u03bc\u03c2", " "], "el")
    assert spell_out(f"{world.upper()} {world}", greek) == f"{world} {world}"


def test_turkish_capitals_have_their_own_small_letters():
    assert normalised_words("Işık İstanbul", TURKISH_BOTH) == ["ışık", "istanbul"]
    assert spelled(["istanbul", "ışık"], TURKISH_CAPITALS) == ["İSTANBUL", "IŞIK"]
    assert spelled(["ISTANBUL", "istanbul"], GERMAN) == ["ISTANBUL", "istanbul"]  # equal words are not made
