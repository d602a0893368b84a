"""Greedy decoding and the beam search, by hand and against all paths of small lattices."""

import numpy as np
import pytest

from asr_core.ctc import Emissions
from asr_core.decoder import greedy
from asr_core.vocabulary import Vocabulary

VOCABULARY = Vocabulary()


def emissions_of(path, confident=0.97, vocabulary=VOCABULARY):
    """Emissions that say a path, written with - for blank."""
    tokens = [0 if character == "-" else vocabulary.encode(character)[0] for character in path]
    rest = (1 - confident) / (len(vocabulary) - 1)
    probabilities = np.full((len(tokens), len(vocabulary)), rest, np.float32)
    probabilities[np.arange(len(tokens)), tokens] = confident
    return Emissions(np.log(probabilities), step_seconds=0.04)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hh-e-ll-l-oo", "hello"),
        ("-a--- --b-", "a b"),
        (" -- a- -- ", "a"),
        ("-", ""),
        ("-----", ""),
        ("   ", ""),
        ("a", "a"),
        ("", ""),
    ],
)
def test_greedy_reads_the_best_path(path, text):
    assert greedy(emissions_of(path), VOCABULARY).text == text


def test_greedy_words_have_place_and_confidence():
    hypothesis = greedy(emissions_of("--a-b-  -c--", confident=0.9), VOCABULARY)
    first, second = hypothesis.words
    assert (first.text, second.text) == ("ab", "c")
    assert first.start == pytest.approx(2 * 0.04 - 0.04)
    assert first.end == pytest.approx(5 * 0.04 + 0.04)
    assert second.start == pytest.approx(9 * 0.04 - 0.04)
    assert first.confidence == pytest.approx(0.9, abs=1e-4)
    assert hypothesis.steps == (2, 4, 6, 9)
    assert hypothesis.score == pytest.approx(12 * np.log(0.9), abs=1e-3)
