"""The loss and the forced alignment against all paths over a few steps, and the alignment of long recordings."""

import itertools
import tracemalloc

import numpy as np
import pytest

from asr_core import ctc, forced_alignment
from asr_core.ctc import collapse, feasible, log_probabilities, runs, steps_needed
from asr_core.emissions import Emissions
from asr_core.errors import AlignmentError
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import WILDCARD
from tests.asr_core.decoding.small import random_emissions

LABELS = [(), (1,), (2, 1), (1, 1), (3, 3, 3), (1, 2, 3), (1, 2, 2, 1), (2, 3, 2, 3, 2)]


def random_log_probs(steps, seed=0):
    return random_emissions(steps, seed=seed).log_probs


def all_paths(log_probs):
    """Every path with its log-probability."""
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        yield path, sum(float(row[token]) for row, token in zip(log_probs, path, strict=True))


def path_of(spans, steps):
    """The path that spans describe, int [steps]."""
    path = np.zeros(steps, dtype=int)
    for span in spans:
        path[span.start : span.end] = span.token
    return path


def test_collapse_merges_repeats_then_drops_blanks():
    assert collapse([1, 1, 0, 1, 2, 2, 0, 0, 3]) == [1, 1, 2, 3]
    assert collapse([0, 0]) == collapse([]) == []


def test_runs_are_the_spans_of_the_collapsed_tokens():
    assert [(s.token, s.start, s.end) for s in runs([0, 2, 2, 1, 0, 1])] == [(2, 1, 3), (1, 3, 4), (1, 5, 6)]


@pytest.mark.parametrize(("tokens", "needed"), [((), 0), ((1,), 1), ((1, 1), 3), ((1, 2), 2), ((1, 1, 1, 2, 2), 8)])
def test_a_repeated_token_needs_a_blank_between(tokens, needed):
    assert steps_needed(tokens) == needed
    assert feasible(tokens, needed)
    assert not feasible(tokens, needed - 1)


def test_wildcards_in_a_row_need_no_blank():
    assert steps_needed([WILDCARD, WILDCARD]) == 2


def summed_over_paths(log_probs, texts):
    """The log-probability of each text, path by path."""
    found = dict.fromkeys(texts, -np.inf)
    for path, log_prob in all_paths(log_probs):
        text = tuple(collapse(path))
        if text in found:
            found[text] = np.logaddexp(found[text], log_prob)
    return [found[text] for text in texts]


def test_the_loss_sums_all_paths_of_a_label():
    for steps in (1, 3, 6):
        log_probs = random_log_probs(steps, seed=steps)
        labels = [label for label in LABELS if feasible(label, steps)]
        expected = summed_over_paths(log_probs, labels)
        losses = loss_of(labels, [log_probs] * len(labels))
        np.testing.assert_allclose(losses, [-log_prob for log_prob in expected], rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_the_loss():
    """By central differences of the forward algorithm, for a batch with padding in both lengths."""
    import keras

    labels, steps = [(1, 2, 2), (3,), ()], [6, 4, 3]
    logits = [random_log_probs(count, seed=count) for count in steps]

    def loss(of_batch):
        padded = np.full((3, 3), 3, np.int32)
        for row, label in zip(padded, labels, strict=True):
            row[: len(label)] = label
        lengths = np.array([len(label) for label in labels], np.int32)
        return keras.ops.sum(ctc.ctc_loss(padded, lengths, of_batch, np.array(steps, np.int32)))

    def by_hand(row, values):
        values = values - np.logaddexp.reduce(values, axis=1, keepdims=True)
        return -log_probabilities(values[: steps[row]], [labels[row]])[0]

    batch = np.stack([np.pad(one, ((0, 6 - len(one)), (0, 0))) for one in logits]).astype(np.float64)
    found, step = gradient_of(loss, batch.astype(np.float32)), 1e-4
    for place in np.ndindex(batch.shape):
        moved = np.zeros_like(batch)
        moved[place] = step
        row = place[0]
        expected = (by_hand(row, batch[row] + moved[row]) - by_hand(row, batch[row] - moved[row])) / (2 * step)
        assert found[place] == pytest.approx(expected, abs=1e-3), place


def gradient_of(function, value):
    """The gradient of a function of one array, by the backend in use."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(value))
    import tensorflow

    variable = tensorflow.Variable(value)
    with tensorflow.GradientTape() as tape:
        total = function(variable)
    return tape.gradient(total, variable).numpy()


def test_a_label_that_does_not_fit_has_a_large_finite_loss():
    found = loss_of([(1, 1, 1)], [random_log_probs(4)])
    assert np.isfinite(found).all() and found[0] > 1e4


def test_the_probability_of_a_text_is_the_sum_over_its_paths():
    for steps in (0, 1, 3, 6):
        log_probs = random_log_probs(steps, seed=steps) if steps else np.empty((0, 4), np.float32)
        expected = summed_over_paths(log_probs, LABELS)
        np.testing.assert_allclose(log_probabilities(log_probs, LABELS), expected, rtol=1e-5)
    assert len(log_probabilities(random_log_probs(3), [])) == 0


def test_padding_does_not_change_the_loss():
    first, second = random_log_probs(6, seed=1), random_log_probs(4, seed=2)
    together = loss_of([(1, 2, 2), (3,)], [first, second])
    np.testing.assert_allclose(together[0], loss_of([(1, 2, 2)], [first])[0], rtol=1e-5)
    np.testing.assert_allclose(together[1], loss_of([(3,)], [second])[0], rtol=1e-5)


def test_the_loss_takes_unnormalised_rows():
    log_probs = random_log_probs(5)
    np.testing.assert_allclose(loss_of([(1, 2)], [log_probs + 3]), loss_of([(1, 2)], [log_probs]), rtol=1e-5)


def loss_of(labels, logits):
    """ctc_loss of a padded batch; the padding is garbage on purpose."""
    longest_label, longest = max(map(len, labels)), max(map(len, logits))
    padded_labels = np.full((len(labels), longest_label), 3, dtype=np.int32)
    padded_logits = np.full((len(labels), longest, logits[0].shape[1]), 7.0, dtype=np.float32)
    for row, (label, logit) in enumerate(zip(labels, logits, strict=True)):
        padded_labels[row, : len(label)] = label
        padded_logits[row, : len(logit)] = logit
    label_lengths = np.array([len(label) for label in labels], dtype=np.int32)
    logit_lengths = np.array([len(logit) for logit in logits], dtype=np.int32)
    return np.asarray(ctc.ctc_loss(padded_labels, label_lengths, padded_logits, logit_lengths))


@pytest.mark.parametrize("steps", [1, 2, 4, 6])
@pytest.mark.parametrize("block_steps", [1, 2, 512])
def test_the_alignment_is_the_best_of_all_paths(steps, block_steps, monkeypatch):
    monkeypatch.setattr(forced_alignment, "BLOCK_STEPS", block_steps)
    log_probs = random_log_probs(steps, seed=10 + steps)
    best = {}
    for path, log_prob in all_paths(log_probs):
        text = tuple(collapse(path))
        best[text] = max(best.get(text, (-np.inf, ())), (log_prob, path))
    for text in (label for label in best if label):
        path = path_of(forced_align(log_probs, text), steps)
        assert tuple(path) == best[text][1]
        assert log_probs[np.arange(steps), path].sum() == pytest.approx(best[text][0], abs=1e-4)


def test_an_alignment_collapses_to_its_text_at_the_tightest_fit():
    tokens = [1, 1, 2, 2, 2, 3]
    log_probs = random_log_probs(steps_needed(tokens), seed=3)
    spans = forced_align(log_probs, tokens)
    assert collapse(path_of(spans, len(log_probs))) == tokens


def test_a_text_that_does_not_fit_is_refused_with_both_numbers():
    with pytest.raises(AlignmentError, match=r"at least 3 output steps .* has 2"):
        forced_align(random_log_probs(2), [1, 1])


def test_an_empty_text_is_refused():
    with pytest.raises(AlignmentError, match="nothing to align"):
        forced_align(random_log_probs(4), [])


def test_no_steps_are_refused():
    with pytest.raises(AlignmentError, match="has 0"):
        forced_align(np.zeros((0, 4), np.float32), [1])


def test_a_text_against_all_evidence_still_gets_spans_in_order():
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.eye(4, dtype=np.float32)[[0, 1, 0, 2, 0]])
    spans = forced_align(log_probs, [3, 3])
    assert [span.token for span in spans] == [3, 3]
    assert 0 <= spans[0].start < spans[0].end < spans[1].start < spans[1].end <= 5


def test_a_wildcard_takes_the_steps_that_the_text_does_not_explain():
    path = [0, 1, 0, 2, 2, 0, 3, 2, 0, 1, 0]
    log_probs = np.log(np.where(np.eye(4)[path] > 0, 0.97, 0.01)).astype(np.float32)
    spans = forced_align(log_probs, [1, WILDCARD, 1])
    assert [(span.start, span.end) for span in spans] == [(1, 2), (3, 8), (9, 10)]


def speech(tokens, generator, confident=6.0):
    """Log-probabilities and spans of a path of the tokens: short runs between blanks, with noise."""
    path = []
    for token in tokens:
        path += [token] * generator.integers(1, 3) + [0] * generator.integers(1, 4)
    logits = generator.normal(0, 1, (len(path), 30)).astype(np.float32)
    logits[np.arange(len(path)), path] += confident
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return log_probs, runs(path)


def test_ten_minutes_align_in_bounded_memory_as_their_parts_do():
    generator = np.random.default_rng(0)
    clips = [speech(generator.integers(1, 30, 120), generator) for _ in range(35)]
    log_probs = np.concatenate([clip for clip, _ in clips])
    tokens = [span.token for _, spans in clips for span in spans]
    assert len(log_probs) > 600 * 25 * 0.9
    tracemalloc.start()
    spans = forced_align(log_probs, tokens)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6  # all columns would be 1 GB, one byte for each 130 MB
    offset, aligned = 0, iter(spans)
    for clip, clip_spans in clips:
        alone = forced_align(clip, [span.token for span in clip_spans])
        for span in alone:
            whole = next(aligned)
            assert abs(whole.start - offset - span.start) <= 1
            assert abs(whole.end - offset - span.end) <= 1
        offset += len(clip)


def test_emissions_know_their_time():
    emissions = Emissions(random_log_probs(50), step_seconds=0.04, start=1.5)
    assert emissions.seconds == pytest.approx(2.0)
    assert emissions.time(25) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="steps, tokens"):
        Emissions(np.zeros(3, np.float32), 0.04)
