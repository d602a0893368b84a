"""Subword pieces learnt from texts, and a model that writes them."""

from string import ascii_lowercase

import pytest

from asr_core.text.alphabet import is_english
from asr_core.text.vocabulary import Vocabulary
from train.__main__ import main
from train.data.pieces import learn_pieces

TEXTS = ["the cat sat on the mat", "the hat of the cat"]


def test_the_most_frequent_neighbours_are_merged_first():
    pieces = learn_pieces(TEXTS, 100)
    characters = [*ascii_lowercase, "▁"]  # those that the texts lack, too
    assert pieces[: len(characters)] == characters and is_english(Vocabulary(pieces))
    # "at" occurs five times, each pair inside "▁the" three times, the rest twice; of equals the first in the alphabet
    assert pieces[len(characters) :] == ["at", "he", "the", "▁the", "cat", "▁cat", "▁o"]
    assert "hat" not in pieces  # "h" and "at" stand together once only


def test_a_vocabulary_of_learnt_pieces_cuts_as_the_merges_do():
    vocabulary = Vocabulary(learn_pieces(TEXTS, 100))
    assert [vocabulary.tokens[token] for token in vocabulary.encode("the cat")] == ["▁the", "▁cat"]
    for text in [*TEXTS, "mace"]:
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_there_are_no_more_pieces_than_asked_for():
    assert len(learn_pieces(TEXTS, 30)) == 30
    with pytest.raises(ValueError, match="27 characters, more than the 5 pieces"):
        learn_pieces(TEXTS, 5)


def test_pieces_need_a_new_network(corpus, tmp_path, capsys):
    arguments = ["--data", str(corpus), "--out", str(tmp_path / "run"), "--pieces", "40"]
    assert main([*arguments, "--start", "default"]) == 2
    assert "leave out --start" in capsys.readouterr().err
