"""Characters and tokens; every kind of spelling that the normaliser spells out."""

import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_core.text.normaliser import Normaliser, normalise
from asr_core.text.vocabulary import BLANK, EXAMPLE_CHARACTERS, Vocabulary


class TestVocabulary:
    def test_is_that_of_the_keras_example_behind_the_blank(self):
        vocabulary = Vocabulary()
        assert len(vocabulary) == 31
        assert vocabulary.tokens[BLANK] == ""
        assert "".join(vocabulary.tokens) == EXAMPLE_CHARACTERS == "abcdefghijklmnopqrstuvwxyz'?! "

    def test_decodes_what_it_encodes(self):
        vocabulary = Vocabulary()
        tokens = vocabulary.encode("don't stop! why?")
        assert BLANK not in tokens
        assert vocabulary.decode(tokens) == "don't stop! why?"

    def test_first_character_is_token_one(self):
        assert Vocabulary("xyz").encode("zyx") == [3, 2, 1]

    def test_blank_writes_nothing(self):
        assert Vocabulary().decode([BLANK, 1, BLANK, 2]) == "ab"

    def test_names_the_character_it_does_not_know(self):
        with pytest.raises(ValueError, match="'A' in 'cAb'"):
            Vocabulary().encode("cAb")

    @pytest.mark.parametrize("characters", ["", "abca"])
    def test_refuses_no_characters_and_repeated_ones(self, characters):
        with pytest.raises(ValueError):
            Vocabulary(characters)

    def test_equal_characters_make_equal_vocabularies(self):
        assert Vocabulary("ab") == Vocabulary("ab") != Vocabulary("ba")


SPOKEN = [
    # case and punctuation
    ("Hello, World!", "hello world"),
    ('He said: "No (never)..."', "he said no never"),
    ("a well-known state—of mind \u2013 really…", "a well known state of mind really"),
    ("", ""),
    (" \t\n", ""),
    ("?!", ""),
    # letters
    ("Café naïve Łódź straße œuvre Æon", "cafe naive lodz strasse oeuvre aeon"),
    ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
    ("東京 Tokyo β", "tokyo"),
    # apostrophes
    ("Don\u2019t, o\u2019clock", "don't o'clock"),
    ("'Tis the dogs' house", "'tis the dogs' house"),
    ("He said 'the dogs' and left", "he said the dogs and left"),
    ("'Yes,' he said. 'Come in'", "yes he said come in"),
    ("rock 'n' roll, goin' home, ol' man, get 'em", "rock 'n' roll goin' home ol' man get 'em"),
    ("it 's what they 'll do at Dvorov' s", "it's what they'll do at dvorov's"),
    ("''quoted'' and `cited'", "quoted and cited"),
    ("' '' '''", ""),
    # numbers
    ("1 and 21 and 100", "one and twenty one and one hundred"),
    ("1,234,567", "one million two hundred and thirty four thousand five hundred and sixty seven"),
    ("5000000 or 5551234", "five million or five five five one two three four"),
    ("007", "zero zero seven"),
    ("3.14 and .5", "three point one four and point five"),
    ("-5 degrees, 20°C, 70 °F", "minus five degrees twenty degrees celsius seventy degrees fahrenheit"),
    ("2⅓ cups", "two and a third cups"),
    ("2½ hours, ½ price, 3/4 full", "two and a half hours one half price three quarters full"),
    ("H1N1, COVID-19, the 3D film", "h one n one covid nineteen the three d film"),
    ("50% of 5.5 percent", "fifty percent of five point five percent"),
    ("1st 2nd 3rd 12th 21st 101st", "first second third twelfth twenty first one hundred and first"),
    ("No. 5, #3, vol. 2", "number five number three volume two"),
    ("555-123-4567", "five five five one two three four five six seven"),
    ("a 3-2 win", "a three two win"),
    ("5km, 10 kg, 60mph, 500k", "five kilometers ten kilograms sixty miles per hour five hundred thousand"),
    ("1 km, 1 ft, 11 km, 1.1 km", "one kilometer one foot eleven kilometers one point one kilometers"),
    ("5/8 of it, 2 1/8", "five eighths of it two and an eighth"),
    ("10%\u201320%, 10-20%, 5 km\u201310 km, $10-15",
     "ten percent to twenty percent ten to twenty percent five kilometers to ten kilometers ten dollars to fifteen"),
    ("(212) 555-1234", "two one two five five five one two three four"),
    # years, dates, times
    ("July 4, 1776, Dec 25, May 5th, June 1990",
     "july fourth seventeen seventy six december twenty fifth may fifth june nineteen ninety"),
    ("8.30pm, 10.45 p.m.", "eight thirty p m ten forty five p m"),
    ("in 1999, 1905, 1900, 2005 and 2019",
     "in nineteen ninety nine nineteen oh five nineteen hundred two thousand and five and twenty nineteen"),
    ("1939-1945", "nineteen thirty nine to nineteen forty five"),
    ("the 1990s, '60s, 1920's", "the nineteen nineties sixties nineteen twenties"),
    ("2019-03-08", "march eighth twenty nineteen"),
    ("5:30pm, 5:05 a.m., 9 AM", "five thirty p m five oh five a m nine a m"),
    ("12:00, 17:00, 5:07", "twelve o'clock seventeen hundred five oh seven"),
    # money
    ("$5, $1, $5.50, $0.99", "five dollars one dollar five dollars and fifty cents ninety nine cents"),
    ("£1, £2.01, €1,000, ¥5",
     "one pound two pounds and one penny one thousand euros five yen"),
    ("$3.2 million, £5k, US$4bn",
     "three point two million dollars five thousand pounds four billion dollars"),
    # abbreviations and symbols
    ("Mr. and Mrs Smith met Dr. Jones Jr.", "mister and missus smith met doctor jones junior"),
    ("St. James lives on Main St., Gen. Lee too", "saint james lives on main street general lee too"),
    ("'Mr. Bond'", "mister bond"),
    ("the 1st gen. of them and mt. of it", "the first gen of them and mt of it"),
    ("e.g. this, i.e. that, etc.", "for example this that is that et cetera"),
    ("The U.S. and the U.K.'s", "the u s and the u k's"),
    ("AT&T, amazon.com", "at and t amazon dot com"),
    ("on Jan. 5 in Sept. 1990", "on january fifth in september nineteen ninety"),
]  # fmt: skip


@pytest.mark.parametrize("written, spoken", SPOKEN)
def test_is_written_as_it_is_spoken(written, spoken):
    assert normalise(written) == spoken


@pytest.mark.parametrize("spoken", sorted({spoken for _, spoken in SPOKEN}))
def test_a_normalised_text_stays_as_it_is(spoken):
    normaliser = Normaliser()
    assert normaliser(spoken) == spoken
    assert not normaliser.changes and not normaliser.dropped


def test_counts_the_texts_that_needed_each_change():
    normaliser = Normaliser()
    for text in ["plain words", "Two, with 2 and 3", "$5 for café ββ", "Mr. X"]:
        normaliser(text)
    assert normaliser.texts == 4
    assert normaliser.dropped == {"β": 2}
    assert normaliser.changes == {
        "case": 2, "punctuation": 3, "number": 1, "money": 1, "accents": 1, "abbreviation": 1,
    }  # fmt: skip


def test_plain_text_takes_the_fast_path():
    line = "this is the plain running text of a novel, and there's nothing in it to spell out."
    normaliser = Normaliser()
    start = time.process_time()
    for _ in range(5000):
        normaliser(line)
    words_a_second = 5000 * 16 / (time.process_time() - start)
    assert words_a_second > 100_000, f"{words_a_second:.0f} words a second"


@pytest.mark.parametrize("text", ["1", "1,111", "'", "1/", "1:", "a.1.", "$", "$1", "Mr.", " 1", "    ", "1 "])
def test_no_text_makes_it_slow(text):
    text *= 100_000 // len(text)
    text += " Mr. 1"
    start = time.process_time()
    normalise(text)
    assert time.process_time() - start < 3


@settings(derandomize=True, max_examples=300)
@given(st.one_of(st.text(max_size=60), st.text("0123456789.,:-/$£%'stndrhpm k#°½", max_size=30)))
def test_every_text_becomes_words_of_the_alphabet(text):
    spoken = normalise(text)
    assert set(spoken) <= set(string.ascii_lowercase + "' ")
    assert spoken == " ".join(spoken.split())
    Vocabulary().encode(spoken)
