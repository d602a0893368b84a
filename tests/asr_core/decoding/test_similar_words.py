"""Words that sound alike, in place of those that the beam search has found."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from asr_core.ctc import log_probabilities
from asr_core.decoding import similar_words as module
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.lexicon import FREQUENCY_WEIGHT, Pronunciations, sum_over_paths
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import PrefixBeam
from asr_core.decoding.rescoring import Rescoring
from asr_core.emissions import Emissions, PhoneEmissions
from asr_core.text.vocabulary import Vocabulary
from tests.asr_core.decoding.test_phones import log_probs_of

PHONES = 7  # the blank included
WORDS = ["<unk>", "<s>", "</s>", "a", "cat", "cut", "grate", "great", "kit", "no", "sat"]
PHONES_OF = {
    "a": [1], "cat": [3, 1, 4], "cut": [3, 2, 4], "grate": [6, 5, 2, 4], "great": [6, 5, 2, 4], "kit": [3, 6, 4],
    "sat": [5, 1, 4],
}  # fmt: skip
ARPA = """\\data\\
ngram 1=10
ngram 2=2

\\1-grams:
-99 <s> -0.3
-1 </s>
-0.5 a -0.3
-1.5 cat -0.3
-1.2 cut -0.3
-3 grate -0.3
-1.2 great -0.3
-1.2 kit -0.3
-1.2 no -0.3
-1.2 sat -0.3

\\2-grams:
-0.1 a cut
-0.2 cat sat

\\end\\
"""
VOCABULARY = Vocabulary()
OPTIONS = DecoderOptions(beam_width=8, language_model_weight=0.5, word_bonus=0.5, phone_weight=0.5, similar_words=20)


@pytest.fixture
def language_model(tmp_path):
    (tmp_path / "model.arpa").write_text(ARPA)
    return NGramModel.from_arpa(tmp_path / "model.arpa")


@pytest.fixture
def pronunciations(language_model):
    lexicon = Pronunciations.build(language_model.words, PHONES_OF, set(PHONES_OF))
    return replace(lexicon, log_probs=language_model.unigram_log_probs)


def emissions_of(letters, phones, sure=0.9):
    """Emissions that spell `letters` and sound like `phones`, one phone step for two of the letters; - is blank."""
    path = [0 if letter == "-" else VOCABULARY.encode(letter)[0] for letter in letters]
    assert len(path) == 2 * len(phones)
    rows = np.repeat(np.arange(len(phones), dtype=np.int32), 2)
    return Emissions(
        log_probs_of(path, len(VOCABULARY), sure),
        0.02,
        phones=PhoneEmissions(log_probs_of(phones, PHONES, sure).astype(np.float16), rows, 2),
    )


def test_a_word_that_the_search_has_pruned_is_found_by_its_sound(language_model, pronunciations):
    """The letters say "a kot", and the phones say "a kit"."""
    emissions = emissions_of("a- k-o-t--", [1, 0, 3, 6, 4], sure=0.97)
    options = replace(OPTIONS, beam_width=1, unknown_word_score=-4, token_threshold=0.05)
    rescoring = Rescoring(pronunciations)
    found = beam_search(emissions, VOCABULARY, options, language_model, rescoring=rescoring)[0]
    kept = beam_search(
        emissions, VOCABULARY, replace(options, similar_words=0), language_model, rescoring=rescoring
    )[0]  # fmt: skip
    assert (kept.text, found.text) == ("a kot", "a kit")
    assert found.score > kept.score and [word.text for word in found.words] == ["a", "kit"]
    assert len(found.posterior) == 2 and all(0 < share <= 1 for share in found.posterior)


def test_one_word_replaces_two(language_model, pronunciations):
    emissions = emissions_of("a- c- -ut-", [1, 0, 3, 2, 4], sure=0.97)
    options = replace(OPTIONS, beam_width=1, unknown_word_score=-6, token_threshold=0.05)
    found = beam_search(emissions, VOCABULARY, options, language_model, rescoring=Rescoring(pronunciations))[0]
    assert found.text == "a cut"


def test_scores_of_a_similar_text_are_those_that_a_wide_search_gives_the_text(language_model, pronunciations):
    emissions = emissions_of("a- c-u-t--", [1, 0, 3, 1, 4], sure=0.8)
    options = replace(OPTIONS, beam_width=200, score_threshold=1000, token_threshold=0, n_best=200, phone_weight=0.25)
    wide = beam_search(
        emissions, VOCABULARY, replace(options, similar_words=0), language_model, rescoring=Rescoring(pronunciations)
    )  # fmt: skip
    scores = {text.text: text for text in wide}
    beam = PrefixBeam(VOCABULARY, options, language_model)
    beam.advance(emissions.log_probs)
    text = next(text for text in beam.hypotheses() if VOCABULARY.text(text.tokens) == "a cut")
    own = scores["a cut"]
    text = replace(text, acoustic_score=own.acoustic_score, phone_score=own.phone_score)
    new = module.similar_hypotheses(text, emissions, beam, VOCABULARY, options, pronunciations)
    compared = 0
    for other in new:
        expected = scores.get(VOCABULARY.text(other.tokens))
        if expected is not None and len(expected.words) == 2:  # spaces at the edges are free in the search
            compared += 1
            assert other.language_model_score == pytest.approx(expected.language_model_score, abs=1e-5)
            assert other.phone_score == pytest.approx(expected.phone_score, abs=1e-3)  # the words around it are near
            assert other.acoustic_score == pytest.approx(expected.acoustic_score, abs=0.05)
    assert compared >= 2 and [t.score for t in new] == sorted((t.score for t in new), reverse=True)
    one = replace(options, similar_words=1)
    assert len(module.similar_hypotheses(text, emissions, beam, VOCABULARY, one, pronunciations)) == 1


@pytest.mark.parametrize("hot", [None, ["cut", "a cat"]])
@pytest.mark.parametrize("state", [None, ["a"]])
@pytest.mark.parametrize("ended", [False, True])
def test_fusion_scores_of_any_text_are_those_of_the_search(language_model, hot, state, ended):
    rng = np.random.default_rng(3)
    log_probs = np.log(rng.dirichlet(np.full(len(VOCABULARY), 0.1), 14) + 1e-6).astype(np.float32)
    hot_words = HotWords.build(hot, VOCABULARY) if hot else None
    place = language_model.state_after(state) if state else None
    options = DecoderOptions(beam_width=200, score_threshold=1000, unknown_word_score=-3, hot_word_boost=1.5)
    beam = PrefixBeam(VOCABULARY, options, language_model, hot_words, place)
    for spelled in "a c-ut ", "cat sat":
        beam.advance(log_probs_of([0 if c == "-" else VOCABULARY.encode(c)[0] for c in spelled], len(VOCABULARY), 0.6))
    beam.advance(log_probs)
    texts = list(beam.hypotheses(ended))
    assert len(texts) > 100
    if hot:
        assert any(text.hot_word_score for text in texts)
    for text in texts:
        expected = {"language_model_score": text.language_model_score, "hot_word_score": text.hot_word_score}
        assert beam.fusion_scores(text.tokens, ended) == pytest.approx(expected, abs=1e-9)


def test_a_hot_word_is_not_given_up_for_a_word_that_sounds_like_it(language_model, pronunciations):
    emissions = emissions_of("a- k-o-t--", [1, 0, 3, 6, 4], sure=0.97)
    options = replace(OPTIONS, unknown_word_score=-4, hot_word_boost=4.0)
    found = beam_search(emissions, VOCABULARY, options, language_model, ["kot"], Rescoring(pronunciations))[0]
    assert found.text == "a kot" and found.hot_word_score == 12


def test_similar_words_are_those_of_the_best_paths():
    """By brute force over all words of a lexicon, with ties and homophones."""
    rng = np.random.default_rng(1)
    spelled = ["".join(letters) for n in (1, 2, 3) for letters in itertools.product("abcd", repeat=n)]
    phones_of = {word: [1 + "abcd".index(letter) // (1 if len(word) < 3 else 2) for letter in word] for word in spelled}
    words = ["<unk>", "<s>", "</s>", *sorted(spelled)]
    log_probs = rng.normal(-5, 2, len(words)).astype(np.float32)
    lexicon = replace(Pronunciations.build(words, phones_of, set(spelled)), log_probs=log_probs)
    for steps in (1, 2, 4, 7):
        probabilities = rng.dirichlet(np.full(6, 0.3), steps) + 1e-9
        probabilities[:, 5] = 0.3 * probabilities[:, 1:5].max(axis=1)
        probabilities /= probabilities.max(axis=1, keepdims=True)
        scores = {}
        for word in spelled:
            path = best_path_score(np.log(probabilities), phones_of[word])
            scores[word] = path + FREQUENCY_WEIGHT * log_probs[words.index(word)]
        groups = {}
        for word in spelled:
            groups.setdefault(tuple(phones_of[word]), []).append(word)
        ranked = sorted((max(map(scores.get, group)) for group in groups.values()), reverse=True)
        found = lexicon.similar(probabilities, ["zz"], 5)  # an unknown word, so nothing is too bad but by itself
        best = sorted({max(map(scores.get, groups[tuple(phones_of[word])])) for word in found}, reverse=True)
        np.testing.assert_allclose(best, [s for s in ranked[:5] if s > -1e3][: len(best)], atol=1e-3)
        assert len(best) == min(5, sum(score > -30 for score in ranked)) or ranked[len(best)] < -20
        for word in found:
            assert set(groups[tuple(phones_of[word])]) <= set(found)


def best_path_score(log_probs, labels):
    """The log-probability of the best path that collapses to `labels`, by trying all alignments."""
    states = [0]
    for label in labels:
        states += [label, 0]
    scores = np.full(len(states), -np.inf)
    scores[0] = 0.0
    for row in log_probs:
        new = scores.copy()
        for s in range(1, len(states)):
            new[s] = max(scores[s], scores[s - 1])
            if s > 1 and states[s] and states[s] != states[s - 2]:
                new[s] = max(new[s], scores[s - 2])
        scores = new + row[states]
    return max(scores[-1], scores[-2])


def test_words_that_fit_much_worse_than_those_in_their_place_are_not_similar(pronunciations):
    for sure, similar in (0.999999, ["cat"]), (0.999, ["cat", "cut", "sat", "kit"]):
        log_probs = log_probs_of([3, 1, 4], PHONES, sure)
        probabilities = np.exp(pronunciations.with_unknown(log_probs).astype(float))
        probabilities /= probabilities.max(axis=1, keepdims=True)
        assert sorted(pronunciations.similar(probabilities, ["cat"], 9)) == sorted(similar)


@pytest.mark.parametrize("labels", [[], [1], [2, 2], [1, 2, 1], [3, 3, 1], [1] * 9])
def test_the_sum_over_paths_is_that_of_the_forward_algorithm(labels):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 8)
    expected = log_probabilities(np.log(probabilities), [labels], wildcard=3)[0]
    found = sum_over_paths(probabilities, np.array(labels, np.int64), 3)
    assert found == pytest.approx(np.exp(expected), rel=1e-9)


@pytest.mark.parametrize(
    "change",
    [{"similar_words": 0}, {"phone_weight": 0.0}],
)
def test_without_phones_or_by_choice_nothing_is_replaced(language_model, pronunciations, monkeypatch, change):
    monkeypatch.setattr("asr_core.decoding.rescoring.similar_hypotheses", lambda *_: pytest.fail("replaced"))
    emissions = emissions_of("a- k-o-t--", [1, 0, 3, 6, 4])
    beam_search(emissions, VOCABULARY, replace(OPTIONS, **change), language_model, rescoring=Rescoring(pronunciations))
    for without in replace(emissions, phones=None), emissions.slice(0, 0):
        beam_search(without, VOCABULARY, OPTIONS, language_model, rescoring=Rescoring(pronunciations))
    beam_search(emissions, VOCABULARY, OPTIONS, language_model)


def test_strange_emissions_and_words_outside_the_alphabet_are_survived(language_model, pronunciations):
    emissions = emissions_of("a- k-o-t--", [1, 0, 3, 6, 4], sure=0.97)
    broken = emissions.log_probs.copy()
    broken[3], broken[5, 0] = np.nan, -np.inf
    phones = replace(emissions.phones, log_probs=np.where(np.eye(5, PHONES) > 0, np.nan, emissions.phones.log_probs))
    options = replace(OPTIONS, unknown_word_score=-4)
    for strange in replace(emissions, log_probs=broken), replace(emissions, phones=phones):
        found = beam_search(strange, VOCABULARY, options, language_model, rescoring=Rescoring(pronunciations))
        assert found and all(np.isfinite(text.score) for text in found)
    few = Vocabulary("akot ")
    path = [few.encode(letter)[0] if letter != "-" else 0 for letter in "a- k-o-t--"]
    spelled = replace(emissions, log_probs=log_probs_of(path, len(few), 0.97))
    assert beam_search(spelled, few, options, language_model, rescoring=Rescoring(pronunciations))[0].text == "a kot"


def test_the_number_of_similar_words_is_a_whole_number():
    for wrong in -1, 1.0, 2000, True:
        with pytest.raises(ValueError, match="similar_words is a number from 0 to 1024"):
            DecoderOptions(similar_words=wrong)
