"""What CTC is: the loss, the collapse of a path, and forced alignment.

A CTC network says at every step one token of the alphabet or *blank*. A path of T tokens stands for the text
that is left when repeats are merged and blanks are dropped (Graves et al., 2006, "Connectionist Temporal
Classification"): `aa-ab-` stands for `aab`. The loss is minus the logarithm of the summed probability of all
paths that collapse to the text; alignment is the most probable one among them.

All paths of a text are ways through its *states*, its tokens with a blank before, between and after them. Those of
`no` in four steps, from the upper two on the left to the lower two on the right, pass only here:

    step    1   2   3   4
    -       o   o
    n       o   o   o
    -           o   o
    o           o   o   o
    -               o   o

At every step a path stays, goes on to the next state, or leaps over the blank from n to o. Between two equal tokens it
may not leap: without a blank there, they would collapse to one. So what leads into a state is known from three states
of the step before, and the sum over all paths (`log_probabilities`, `ctc_loss`) or the best of them (`forced_align`)
costs as much as the table is large.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.text.vocabulary import BLANK, WILDCARD

IMPOSSIBLE = -1e5  # stands for log(0), so that a text against all evidence still has a best path


def collapse(path: Sequence[int]) -> list[int]:
    """The text of a path: repeats merged, then blanks dropped."""
    return [span.token for span in runs(path)]


@dataclass(frozen=True)
class TokenSpan:
    """One token of a text and the run of steps that say it, `start` to before `end`."""

    token: int
    start: int
    end: int

    @property
    def middle(self) -> int:
        return (self.start + self.end) // 2


def runs(path: Sequence[int]) -> list[TokenSpan]:
    """The runs of equal tokens in a path [steps], without the blanks."""
    path = np.asarray(path, dtype=np.int64)
    changes = np.flatnonzero(np.diff(path, prepend=BLANK, append=BLANK))
    return [
        TokenSpan(int(path[start]), int(start), int(end))
        for start, end in zip(changes, changes[1:], strict=False)
        if path[start] != BLANK
    ]


def best_path(log_probs: np.ndarray) -> np.ndarray:
    """The most probable token of every step, int [steps]: the path that greedy decoding collapses."""
    return log_probs.argmax(axis=1)


def steps_needed(tokens: Sequence[int]) -> int:
    """The fewest steps a text takes: one per token, and a blank between two of the same."""
    repeats = sum(a == b != WILDCARD for a, b in zip(tokens, tokens[1:], strict=False))
    return len(tokens) + repeats


def feasible(tokens: Sequence[int], steps: int) -> bool:
    """Whether any path of so many steps collapses to these tokens."""
    return steps_needed(tokens) <= steps


def log_probabilities(
    log_probs: np.ndarray, texts: Sequence[Sequence[int]], wildcard: int | None = None
) -> np.ndarray:
    """How probable each text is, all its paths together (forward algorithm; exact): float64 [texts], in nats.

    The states of a text are its tokens with a blank before, between and after them. What the paths that have come to
    a state are worth flows on to that state itself, to the next one, and over a blank between two different tokens to
    the one after it. A text that does not fit into the steps has log(0).

    Args:
        log_probs: float [steps, tokens].
        texts: tokens of each, none of them blank.
        wildcard: a token that stands for any; two of it in a row need no blank between them.
    """
    lengths = np.array([len(tokens) for tokens in texts], int)
    states = np.full((len(texts), 2 * lengths.max(initial=0) + 1), BLANK)
    for row, tokens in zip(states, texts, strict=True):
        row[1 : 2 * len(tokens) : 2] = tokens
    leap = np.full(states.shape, -np.inf)
    leap[:, 3::2][(states[:, 3::2] != states[:, 1:-2:2]) | (states[:, 3::2] == wildcard)] = 0.0
    scores = np.full((len(texts), 2 + states.shape[1]), -np.inf)  # two states that no path is in stand in front
    scores[:, 2] = 0.0  # before the first step, paths stand where the first blank would be
    for now in log_probs.astype(float):
        arrived = np.logaddexp(scores[:, 2:], scores[:, 1:-1])
        scores[:, 2:] = np.logaddexp(arrived, scores[:, :-2] + leap) + now[states]
    rows = np.arange(len(texts))
    return np.logaddexp(scores[rows, 2 + 2 * lengths], scores[rows, 1 + 2 * lengths])


def ctc_loss(labels, label_lengths, logits, logit_lengths):
    """Negative log-likelihood of each label, the text that was said, under its logits: forward-backward algorithm.

    As `log_probabilities`, for a batch and to train on. The forward score of a state sums all paths that lead there,
    the backward score all that lead on from there; both run in one scan, the backward one over the reversed sequence.
    Together they give the posterior of every state at every step, and the gradient by the logits is `softmax(logits)
    - posteriors` (Graves et al., 2006, eq. 16), which is handed to automatic differentiation as it is instead of
    differentiating the scan.

    Args:
        labels: int32 [batch, label], tokens from 1, padded with anything.
        label_lengths: int32 [batch], true lengths.
        logits: float [batch, steps, tokens], unnormalised, all of them finite; token 0 is blank.
        logit_lengths: int32 [batch], true numbers of steps, from 1.

    Returns:
        float32 [batch], in nats. A label that is not `feasible` in its steps gives a large finite number with
        finite gradients: leave such clips out.
    """
    from keras import ops  # costs seconds, and only training needs it

    logits = ops.cast(logits, "float32")
    batch, steps, tokens = ops.shape(logits)
    label = ops.shape(labels)[1]
    label_lengths, logit_lengths = ops.cast(label_lengths, "int32"), ops.cast(logit_lengths, "int32")
    fixed = ops.stop_gradient(logits)
    log_probs = ops.log_softmax(fixed, axis=-1)

    # The states and what the network says of them: [batch, steps, states].
    inside = ops.arange(label, dtype="int32") < ops.expand_dims(label_lengths, 1)
    labels = ops.where(inside, ops.cast(labels, "int32"), BLANK)
    states = ops.reshape(ops.stack([ops.zeros_like(labels), labels], axis=2), (batch, 2 * label))
    states = ops.pad(states, [[0, 0], [0, 1]])
    emitted = ops.take_along_axis(log_probs, ops.expand_dims(states, 1), axis=2)

    # Forward and backward as one batch: the second half runs from the end of the label and of the sound.
    last_state, last_step = 2 * ops.expand_dims(label_lengths, 1), ops.expand_dims(logit_lengths, 1) - 1
    mirror_states = ops.abs(last_state - ops.arange(2 * label + 1, dtype="int32"))
    mirror_states = ops.minimum(mirror_states, 2 * label)
    mirror_steps = ops.minimum(ops.abs(last_step - ops.arange(steps, dtype="int32")), steps - 1)
    reversed_ = ops.take_along_axis(emitted, ops.expand_dims(mirror_steps, 2), axis=1)
    reversed_ = ops.take_along_axis(reversed_, ops.expand_dims(mirror_states, 1), axis=2)
    both_states = ops.concatenate([states, ops.take_along_axis(states, mirror_states, axis=1)], axis=0)
    both_emitted = ops.transpose(ops.concatenate([emitted, reversed_], axis=0), (1, 0, 2))

    # A state may be entered from itself, from the one before, and, past a blank between two different
    # characters, from the one before that.
    skip = ops.logical_and(both_states != BLANK, both_states != _shift(both_states, 2, BLANK))
    skip = ops.where(skip, 0.0, IMPOSSIBLE)
    start = ops.where(ops.arange(2 * label + 1) < 1, 0.0, IMPOSSIBLE) + ops.zeros_like(skip)

    def advance(scores, emitted_now):
        stay, enter, jump = scores, _shift(scores, 1, IMPOSSIBLE), _shift(scores, 2, IMPOSSIBLE) + skip
        best = ops.maximum(ops.maximum(stay, enter), jump)
        total = best + ops.log(ops.exp(stay - best) + ops.exp(enter - best) + ops.exp(jump - best))
        scores = total + emitted_now
        return scores, scores

    # Before the first step only "nothing said yet" is possible; from there the first state and the second.
    _, scores = ops.scan(advance, start, both_emitted)
    scores = ops.transpose(scores, (1, 0, 2))
    forward, backward = scores[:batch], scores[batch:]
    backward = ops.take_along_axis(backward, ops.expand_dims(mirror_steps, 2), axis=1)
    backward = ops.take_along_axis(backward, ops.expand_dims(mirror_states, 1), axis=2)

    # All paths together, read off at the last step, where they must have reached one of the last two states.
    final = ops.take_along_axis(forward, ops.expand_dims(last_step, 2), axis=1)[:, 0]
    final = ops.take_along_axis(final, ops.concatenate([last_state, ops.maximum(last_state - 1, 0)], 1), axis=1)
    final = ops.where(
        ops.expand_dims(label_lengths, 1) > 0, final, ops.stack([final[:, 0], final[:, 0] + IMPOSSIBLE], 1)
    )
    total = ops.logaddexp(final[:, 0], final[:, 1])

    real = ops.arange(2 * label + 1, dtype="int32") <= last_state
    posteriors = ops.exp(ops.minimum(forward + backward - emitted - ops.reshape(total, (batch, 1, 1)), 0.0))
    posteriors = posteriors * ops.cast(ops.expand_dims(real, 1), "float32")
    of_tokens = ops.matmul(posteriors, ops.one_hot(states, tokens, dtype="float32"))
    heard = ops.cast(ops.expand_dims(ops.arange(steps, dtype="int32") <= last_step, 2), "float32")
    gradient = ops.stop_gradient((ops.softmax(fixed, axis=-1) - of_tokens) * heard)
    linear = ops.sum(gradient * logits, axis=(1, 2))
    return linear + ops.stop_gradient(-total - linear)


def _shift(values, by: int, fill):
    """`values` [batch, states] moved `by` states on, with `fill` before them."""
    from keras import ops

    return ops.pad(values, [[0, 0], [by, 0]], constant_values=fill)[:, : ops.shape(values)[1]]


def finite(log_probs: np.ndarray) -> np.ndarray:
    """Log-probabilities that can be added up: no NaN, which becomes IMPOSSIBLE, and nothing beyond that; float32."""
    return np.clip(np.fmax(log_probs, IMPOSSIBLE), IMPOSSIBLE, -IMPOSSIBLE, dtype=np.float32)
