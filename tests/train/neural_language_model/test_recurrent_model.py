"""Training of the recurrent language model: gradients, the stream of words, a toy language, and the command."""

import random

import numpy as np
import pytest
from safetensors.numpy import load_file

from asr_core.decoding.neural_language_model import SENTENCE_END, UNKNOWN, NeuralLanguageModel, State
from asr_core.process import INTERRUPTED
from tests.train.conftest import stop_at
from train.data.sentences import TextSource
from train.neural_language_model.__main__ import main, perplexity
from train.neural_language_model.fit import LanguageModelRun, mean_log_share_of_unknown
from train.neural_language_model.network import NORMALISER_PENALTY, Batch, initial_weights, loss_and_gradients
from train.neural_language_model.texts import EncodedText, Stream, encode_text

SIZES = {"words": 30, "width": 8, "cells": 12}


@pytest.fixture
def small():
    """Weights, a batch of six words in three rows, and a state."""
    generator = np.random.default_rng(0)
    weights = initial_weights(SIZES, np.full(30, -np.log(30)), 0)
    weights = {name: w + generator.normal(0, 0.3, w.shape).astype(np.float32) for name, w in weights.items()}
    numbers = generator.integers(0, 30, (7, 3))
    numbers[3, 1] = SENTENCE_END
    drawn, expected = generator.integers(0, 30, 10), generator.uniform(0.3, 2, 10).astype(np.float32)
    state = State(*(generator.normal(0, 1, (3, size)).astype(np.float32) for size in (8, 12)))
    return weights, Batch(numbers[:-1], numbers[1:], drawn, expected), state


def test_gradients_are_those_of_finite_differences(small):
    weights, batch, state = small

    def evaluate(changed):
        return loss_and_gradients(changed, batch, state, 0.2, np.random.default_rng(5))

    _, gradients, rows, _ = evaluate(weights)
    generator = np.random.default_rng(1)
    for name, weight in weights.items():
        direction = generator.normal(0, 1, weight.shape).astype(np.float32)
        numeric = [evaluate(weights | {name: weight + step * direction})[0] for step in (0.01, -0.01)]
        gradient = gradients[name]
        if name in rows:
            whole = np.zeros((30, gradient.shape[1]), np.float32)
            np.add.at(whole, rows[name][:, 0], gradient)
            gradient = whole.reshape(weight.shape)
        assert (gradient * direction).sum() == pytest.approx((numeric[0] - numeric[1]) / 0.02, rel=0.01, abs=1e-4)


def test_with_every_word_drawn_once_the_loss_is_the_exact_one(small):
    weights, batch, state = small
    batch = batch._replace(drawn=np.arange(30), expected=np.ones(30, np.float32))
    found, _, _, last = loss_and_gradients(weights, batch, state)
    model = NeuralLanguageModel(["</s>", "<unk>", *map(str, range(28))], weights)
    losses = []
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        begins = (inputs == SENTENCE_END)[:, None]
        state = model.advance(State(*(np.where(begins, 0, part) for part in state)), inputs)
        logits = model.logits(state)
        sums = np.logaddexp.reduce(logits, axis=1)
        losses += (sums - logits[np.arange(3), targets] + NORMALISER_PENALTY * sums**2).tolist()
    assert found == pytest.approx(np.mean(losses), rel=1e-5)
    for ours, theirs in zip(last, state, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


class TestStream:
    def text(self, count: int, first: int, weight=1.0, seed=0) -> EncodedText:
        """Sentences of one to three words; the words of each are its own number."""
        words = [str(i) for i in range(first + count)]
        sentences = [" ".join([words[i]] * (1 + i % 3)) for i in range(first, first + count)]
        return encode_text(TextSource(None, 1.0, sentences), ["</s>", "<unk>", *words], weight, seed)

    def test_a_text_is_repeated_when_it_is_through_and_no_sentence_is_cut(self):
        text = self.text(20, 0)
        seen, first = [], 0
        while len(seen) < 40:
            numbers, lengths = text.take(first, 13)
            first += 13
            sentences = np.split(numbers, np.cumsum(lengths)[:-1])
            assert all(s[-1] == SENTENCE_END and len(set(s[:-1])) == 1 for s in sentences if len(s))
            seen += [int(s[0]) for s in sentences if len(s)]
        assert sorted(seen[:20]) == list(range(2, 22)) and seen[20:40] == seen[:20] != sorted(seen[:20])

    def test_texts_are_mixed_by_their_weights(self):
        texts = [self.text(300, 0, 0.25), self.text(300, 300, 0.75)]
        stream = Stream(texts, 602, rows=4, words=8, draws=16, batches=50, seed=0)
        numbers = np.concatenate([stream.batch(step)[0].targets.ravel() for step in range(100)])
        words = numbers[numbers != SENTENCE_END]
        assert np.mean(words >= 302) == pytest.approx(0.75, abs=0.03)

    def test_rows_go_on_from_batch_to_batch_and_do_not_depend_on_what_was_read_before(self):
        def stream():
            return Stream([self.text(300, 0)], 302, rows=4, words=8, draws=16, batches=5, seed=0)

        one = stream()
        batches = [one.batch(step) for step in range(12)]
        for step, (batch, anew) in enumerate(batches):
            assert anew == (step % 5 == 0)
            if anew:
                assert (batch.inputs[0] == SENTENCE_END).all()
            else:
                np.testing.assert_array_equal(batch.inputs[0], batches[step - 1][0].targets[-1])
            np.testing.assert_array_equal(batch.inputs[1:], batch.targets[:-1])
        for mine, its in zip(stream().batch(11)[0], batches[11][0], strict=True):
            np.testing.assert_array_equal(mine, its)

    def test_words_are_drawn_as_often_as_is_expected(self):
        stream = Stream([self.text(30, 0)], 32, rows=2, words=8, draws=500, batches=5, seed=0)
        drawn = np.concatenate([stream.batch(step)[0].drawn for step in range(40)])
        first = stream.batch(0)[0]
        for word in np.unique(first.drawn)[:10]:
            expected = first.expected[first.drawn == word][0]
            assert np.mean(drawn == word) * 500 == pytest.approx(expected, rel=0.25)


def test_an_unknown_word_scores_as_an_average_one():
    source = TextSource(None, 2.0, ["a b", "a c", "a c"])
    assert mean_log_share_of_unknown([source], {"a"}) == pytest.approx((np.log(1 / 3) + 2 * np.log(2 / 3)) / 3)
    assert mean_log_share_of_unknown([source], {"a", "b", "c"}) == 0


ANIMALS = {"cat": "meows", "dog": "barks", "bird": "sings"}


@pytest.fixture
def toy(tmp_path):
    """Sentences whose last word depends on their second, with more words between them than an n-gram model has."""
    generator = random.Random(0)
    between = ["very", "old", "small", "red", "quiet"]
    rows = []
    for i in range(1500):
        animal = generator.choice(list(ANIMALS))
        rows.append(f"the {animal} that is {' '.join(generator.sample(between, 3))} {i % 7 * 'o'}h {ANIMALS[animal]}")
    path = tmp_path / "toy.txt"
    path.write_text("\n".join(rows))
    return path


def train(toy, name, *options) -> int:
    small = "--rows 16 --words 12 --width 64 --cells 64 --vocabulary 25 --rate 0.02 --dropout 0 --save-every 50"
    out = toy.with_name(f"{name}.safetensors")
    return main(["--text", str(toy), "--out", str(out), *small.split(), *options])


def test_learns_what_lies_further_apart_than_n_grams(toy, capsys):
    assert train(toy, "model", "--steps", "300", "--held-out", str(toy)) == 0
    assert "toy.txt: perplexity" in capsys.readouterr().out
    model = NeuralLanguageModel.load(toy.with_name("model.safetensors"))
    texts = [
        f"the {animal} that is old red quiet h {sound}".split() for animal in ANIMALS for sound in ANIMALS.values()
    ]
    scores = model.score(texts).log_probs.reshape(3, 3)
    assert (scores.argmax(axis=1) == np.arange(3)).all()
    assert (scores.max(axis=1) - np.median(scores, axis=1) > 2).all()
    value, unknown, deviation = perplexity(model, toy.read_text().splitlines())
    assert value < 4 and unknown == 0 and deviation < 0.3


def test_a_run_that_was_killed_goes_on_as_if_unbroken(toy, capsys, monkeypatch):
    assert train(toy, "unbroken", "--steps", "60") == 0
    stop_at(55, LanguageModelRun, monkeypatch)
    assert train(toy, "resumed", "--steps", "60") == INTERRUPTED
    assert "Stopped." in capsys.readouterr().err
    monkeypatch.undo()
    assert train(toy, "resumed", "--steps", "60") == 0
    assert "continues at step 50" in capsys.readouterr().out
    unbroken, resumed = (load_file(toy.with_name(f"{name}.safetensors")) for name in ("unbroken", "resumed"))
    assert unbroken.keys() == resumed.keys()
    for name, tensor in unbroken.items():  # the files differ: safetensors writes its metadata in random order
        np.testing.assert_array_equal(resumed[name], tensor)
    assert train(toy, "resumed", "--steps", "61") == 1
    assert "belongs to another run: name another folder with --work" in capsys.readouterr().err


def test_what_cannot_be_used_is_one_sentence(toy, capsys, tmp_path):
    assert train(tmp_path / "none.txt", "model") == 1
    assert "A text cannot be read" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("\n")
    assert train(tmp_path / "empty.txt", "model") == 1
    assert "holds no sentence" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train(toy, "model", "--width", "100")
    assert "not a multiple of 64" in capsys.readouterr().err


def test_words_outside_the_vocabulary_are_unknown():
    text = encode_text(TextSource(None, 1.0, ["a zoo"]), ["</s>", "<unk>", "a"], 1.0, 0)
    assert text.numbers.tolist() == [2, UNKNOWN, SENTENCE_END] and text.ends.tolist() == [3]
