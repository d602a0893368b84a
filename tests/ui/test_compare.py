"""Scores against references, by hand."""

import pytest

from asr_core.errors import AlignmentError
from asr_core.transcript.words import Word
from ui.service.scoring import compare


def words(text: str):
    return [Word(word, float(i), i + 0.5, 1.0) for i, word in enumerate(text.split())]


def test_each_kind_of_error_is_counted_and_placed():
    result = compare("the cat sat on the mat", words("the bat sat the mat today"))
    assert (result.hits, result.substitutions, result.deletions, result.insertions) == (4, 1, 1, 1)
    assert result.word_error_rate == pytest.approx(3 / 6)
    kinds = [(pair.kind, pair.reference, pair.hypothesis) for pair in result.pairs]
    assert kinds == [
        ("equal", "the", "the"), ("substitute", "cat", "bat"), ("equal", "sat", "sat"), ("delete", "on", ""),
        ("equal", "the", "the"), ("equal", "mat", "mat"), ("insert", "", "today"),
    ]  # fmt: skip
    substituted, deleted = result.pairs[1], result.pairs[3]
    assert (substituted.start, substituted.end) == (1.0, 1.5)
    assert deleted.start < 2.5 < 3.0 < deleted.end  # between "sat" and "the"


def test_normalised_ignores_case_and_punctuation_and_as_written_does_not():
    assert compare("The cat, sat!", words("the cat sat")).word_error_rate == 0
    assert compare("The cat, sat!", words("the cat sat"), normalised=False).word_error_rate == 1


def test_one_written_word_may_be_two_spoken_ones():
    result = compare("twenty one cats", words("21 cats"))
    assert result.word_error_rate == 0
    assert [pair.start for pair in result.pairs] == [0.0, 0.0, 1.0]


def test_nothing_heard_is_all_deletions():
    result = compare("one two", [])
    assert result.word_error_rate == 1 and result.deletions == 2
    assert all(pair.start is None for pair in result.pairs)


@pytest.mark.parametrize("reference", ["", "  ", "?!"])
def test_a_reference_without_words_is_refused_in_words(reference):
    with pytest.raises(AlignmentError, match="no words"):
        compare(reference, words("a"))
