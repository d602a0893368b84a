"""The recurrent language model: scores by hand, files, and rescoring of what the beam search finds."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from asr_core.decoding import segments as segmentation
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.neural_language_model import (
    GROUP,
    SENTENCE_END,
    SPECIAL_WORDS,
    UNKNOWN,
    NeuralLanguageModel,
    dequantise,
    quantise,
    weight_shapes,
)
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.rescoring import Rescoring
from asr_core.emissions import Emissions
from asr_core.errors import LanguageModelError
from asr_core.text.vocabulary import Vocabulary
from tests.asr_core.decoding.small import random_recurrent_model, small_arpa

WORDS = [*SPECIAL_WORDS, "a", "bad", "cab", "dab"]
VOCABULARY = Vocabulary(["", "a", "b", "c", "d", " "])


def weights_of(model: NeuralLanguageModel) -> dict[str, np.ndarray]:
    return model._weights


def preferring(*favoured: str) -> NeuralLanguageModel:
    """A model in which some words are likely anywhere and all others are not."""
    shapes = weight_shapes(len(WORDS), GROUP, 2)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    weights["output/bias"] = np.array([0.0 if word in favoured else -8.0 for word in WORDS], np.float32)
    return NeuralLanguageModel(WORDS, weights)


def score_by_hand(model: NeuralLanguageModel, words: list[str]) -> float:
    """The LSTM of Sak et al. (2014), one number after the other."""
    w = {name: weight.astype(float) for name, weight in weights_of(model).items()}
    cells, width = w["projection"].shape
    output, cell, total = np.zeros(width), np.zeros(cells), 0.0
    numbers = [model.words.index(word) if word in model.words else UNKNOWN for word in words]
    for number, following in zip([SENTENCE_END, *numbers], [*numbers, SENTENCE_END], strict=True):
        x = w["embeddings"][number] @ w["input/kernel"] + output @ w["recurrent/kernel"] + w["lstm/bias"]
        hidden = np.zeros(cells)
        for i in range(cells):
            opened, forget, shown = (1 / (1 + math.exp(-x[gate * cells + i])) for gate in range(3))
            cell[i] = forget * cell[i] + opened * math.tanh(x[3 * cells + i])
            hidden[i] = shown * math.tanh(cell[i])
        output = hidden @ w["projection"]
        total += output @ w["embeddings"][following] + w["output/bias"][following]
    return total


TEXTS = [[], ["a"], ["a", "cab"], ["a", "cab", "dab"], ["bad"], ["a", "zoo", "cab"], ["a", "cab"]]


def test_scores_are_those_of_the_formulas():
    model = random_recurrent_model(WORDS)
    found = model.score(TEXTS).log_probs
    np.testing.assert_allclose(found, [score_by_hand(model, text) for text in TEXTS], rtol=1e-5)
    assert found[2] == found[6] and found.dtype == np.float64


def test_a_text_has_the_same_score_alone_and_among_others():
    model = random_recurrent_model(WORDS)
    together = model.score(TEXTS)
    for place, text in enumerate(TEXTS):
        alone = model.score([text])
        assert alone.log_probs[0] == pytest.approx(together.log_probs[place], abs=1e-5)
        for one, among in zip(alone.states, together.states, strict=True):
            np.testing.assert_allclose(one[0], among[place], atol=1e-6)


def test_a_sentence_can_be_scored_in_parts():
    model = random_recurrent_model(WORDS)
    first = model.score([["a", "cab"]], ended=False)
    rest = model.score([["dab"], []], first.states)
    assert first.log_probs[0] + rest.log_probs[0] == pytest.approx(score_by_hand(model, ["a", "cab", "dab"]), rel=1e-5)
    assert first.log_probs[0] + rest.log_probs[1] == pytest.approx(score_by_hand(model, ["a", "cab"]), rel=1e-5)


def test_no_text_has_no_scores():
    assert random_recurrent_model(WORDS).score([]).log_probs.shape == (0,)


class TestFile:
    def test_what_is_saved_is_what_is_loaded(self, tmp_path):
        model = random_recurrent_model(WORDS, cells=GROUP)
        model.save(tmp_path / "model.safetensors")
        found = NeuralLanguageModel.load(tmp_path / "model.safetensors")
        assert found.words == WORDS and [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
        for name, weight in weights_of(model).items():
            if weight.ndim == 1:
                np.testing.assert_array_equal(weights_of(found)[name], weight)
            else:
                assert np.sqrt(np.mean((weights_of(found)[name] - weight) ** 2)) < 0.15 * weight.std()

    def test_values_of_a_coarse_grid_are_kept_exactly(self):
        levels = np.random.default_rng(0).integers(-7, 8, (3, 2 * GROUP)).astype(np.float32)
        levels[:, ::GROUP] = 7
        weight = levels * np.repeat([0.5, 0.25], GROUP).astype(np.float32)
        np.testing.assert_array_equal(dequantise(*quantise(weight)), weight)
        assert not dequantise(*quantise(np.zeros((2, GROUP), np.float32))).any()

    @pytest.mark.parametrize("change", ["metadata", "missing", "shape", "words", "nan", "type", "scale", "text"])
    def test_whatever_is_wrong_with_the_file_is_one_sentence(self, tmp_path, change):
        path = tmp_path / "model.safetensors"
        random_recurrent_model(WORDS, cells=GROUP).save(path)
        tensors, metadata = load_file(path), {"format": "neural-language-model", "version": "1"}
        if change == "metadata":
            metadata["version"] = "2"
        elif change == "missing":
            del tensors["lstm/bias"]
        elif change == "shape":
            tensors["output/bias"] = tensors["output/bias"][:-1]
        elif change == "words":
            tensors["words"] = np.frombuffer(b"a\na", np.uint8)
        elif change == "nan":
            tensors["lstm/bias"] = tensors["lstm/bias"] * np.nan
        elif change == "type":
            tensors["projection"] = tensors["projection"].astype(np.int32)
        elif change == "scale":
            tensors["projection.scale"] = tensors["projection.scale"][:, :0]
        save_file(tensors, path, metadata)
        if change == "text":
            path.write_text("no tensors")
        with pytest.raises(LanguageModelError, match=r"^model.safetensors holds no neural language model \(.*\)\.$"):
            NeuralLanguageModel.load(path)

    def test_a_file_that_is_missing_is_one_sentence(self, tmp_path):
        with pytest.raises(LanguageModelError, match="holds no neural language model"):
            NeuralLanguageModel.load(tmp_path / "none.safetensors")


def undecided(*choices: str) -> Emissions:
    """Emissions in which each step has the letters of a string with the same probability."""
    log_probs = np.full((2 * len(choices), 6), -20.0, np.float32)
    for step, letters in enumerate(choices):
        for letter in letters:
            log_probs[2 * step, VOCABULARY.tokens.index(letter)] = -math.log(len(letters))
        log_probs[2 * step + 1, 0] = 0.0
    return Emissions(log_probs, 0.04)


OPTIONS = DecoderOptions(
    beam_width=64, language_model_weight=0.8, neural_weight=0.25, word_bonus=0.5, n_best=8, score_threshold=60
)


def test_the_model_decides_between_texts_whose_letters_are_as_likely(tmp_path):
    emissions = undecided("cd", "a", "b")
    (tmp_path / "words.arpa").write_text(small_arpa("cab", "dab"))
    n_grams = NGramModel.from_arpa(tmp_path / "words.arpa")
    plain = {h.text: h for h in beam_search(emissions, VOCABULARY, OPTIONS, n_grams)}
    for word in "cab", "dab":
        rescoring = Rescoring(language_model=preferring(word))
        found = beam_search(emissions, VOCABULARY, OPTIONS, n_grams, rescoring=rescoring)
        assert found[0].text == word
        score = preferring(word).score([[word]]).log_probs[0]
        expected = 0.75 * plain[word].language_model_score + 0.25 * (0.8 * score + 0.5)
        assert found[0].language_model_score == pytest.approx(expected, abs=1e-5)
        assert found[0].acoustic_score == plain[word].acoustic_score
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_without_weight_nothing_changes():
    emissions = undecided("cd", "a", "b")
    options = DecoderOptions(beam_width=64, n_best=8)
    rescored = beam_search(emissions, VOCABULARY, options, rescoring=Rescoring(language_model=preferring("dab")))
    assert rescored == beam_search(emissions, VOCABULARY, options)


def test_a_sentence_that_goes_on_in_the_next_segment_keeps_its_state(monkeypatch):
    """All segments together score what the whole sentence scores."""
    monkeypatch.setattr(segmentation, "MAX_SEGMENT_SECONDS", 1.2)
    monkeypatch.setattr(segmentation, "MIN_SEGMENT_SECONDS", 0.3)
    text = "a bad cab a dab a bad cab"
    emissions = undecided(*text)
    assert len(list(segmentation.segments(emissions, VOCABULARY.tokens.index(" ")))) > 1
    model = random_recurrent_model(WORDS)
    options = DecoderOptions(beam_width=8, language_model_weight=1.0, neural_weight=1.0, word_bonus=0.0)
    found = beam_search(emissions, VOCABULARY, options, rescoring=Rescoring(language_model=model))[0]
    assert found.text == text
    assert found.language_model_score == pytest.approx(model.score([text.split()]).log_probs[0], rel=1e-5)


def test_a_bundle_has_the_model_unless_another_language_model_is_chosen(tmp_path):
    from dataclasses import replace

    from asr_core import models
    from asr_core.bundle.bundle import OpenedLanguageModel
    from asr_core.bundle.description import CONFIG, NEURAL_LANGUAGE_MODEL
    from asr_core.bundle.loading import load_bundle, save_bundle

    random_recurrent_model(WORDS, cells=GROUP).save(tmp_path / "model.safetensors")
    network = models.build("conformer", 12, 6, width=16, blocks=1, heads=2, channels=4, kernel=5)
    config = {
        "featurizer": {"name": "log-mel", "sample_rate": 8000, "bins": 12},
        "sample_rate": 8000,
        "tokens": VOCABULARY.tokens,
    }
    folder = save_bundle(tmp_path / "b", network, config, neural_language_model=tmp_path / "model.safetensors")
    assert NEURAL_LANGUAGE_MODEL in json.loads((folder / CONFIG).read_text())["files"]
    bundle = load_bundle(folder)
    assert bundle.neural_language_model().words == WORDS
    other = replace(bundle, other_language_model=OpenedLanguageModel(None, {}))
    assert other.neural_language_model() is None
