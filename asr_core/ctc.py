"""Connectionist temporal classification (CTC): paths, their collapse, the forward-backward algorithm, the loss.

At every step, a CTC network gives a probability to every token of its alphabet and to one more, the *blank*. A *path*
is one token for every step, and its probability is the product of theirs. A path collapses to a text: repeated tokens
are merged, then blanks are dropped, so that `aa-ab-` becomes `aab`. The probability of a text is the sum over all paths
that collapse to it, and the CTC loss is minus the logarithm of that sum (Graves et al., 2006, "Connectionist Temporal
Classification: Labelling Unsegmented Sequence Data with Recurrent Neural Networks").

There are far too many paths to list them. But all paths of one text run through the same *trellis*, whose *states* are
the tokens of the text with a blank before, between and after them. The trellis of `no` over four steps has the states
`- n - o -`. A path begins in one of the first two states and ends in one of the last two, so that it can only pass
through the cells marked here:

    step    1   2   3   4
    -       *   *
    n       *   *   *
    -           *   *
    o           *   *   *
    -               *   *

From one step to the next, a path stays in its state, enters the next state, or skips the blank between two different
tokens (`may_skip_blank`). So the score of a cell follows from three cells of the step before, and one pass over the
trellis covers all paths:

    alpha[t, s]  forward variable: log of the summed probability of all paths of steps 1 to t that end in state s
    beta[t, s]   backward variable: the same of all paths of the steps from t to the last that start in state s

    alpha[t, s] = log(exp alpha[t-1, s] + exp alpha[t-1, s-1] + exp alpha[t-1, s-2]) + emission[t, s]
                      stay                enter                 skip, if allowed

The emission is the log-probability of the token of state s at step t; both variables include it.

`log_probabilities` computes alpha alone, in a few lines of NumPy: read it first. `ctc_loss` adds beta, which gives the
gradient. With the maximum in place of the sum, the same pass finds the most probable path of a text, which is forced
alignment (`asr_core.forced_alignment`). Finding the most probable text is decoding (`asr_core.decoding`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.text.vocabulary import BLANK, WILDCARD

IMPOSSIBLE = -1e5  # nats; a finite stand-in for log(0), so that a text against all evidence still has a best path


def collapse(path: Sequence[int]) -> list[int]:
    """The tokens that a path stands for: repeats are merged, then blanks are dropped."""
    return [span.token for span in runs(path)]


@dataclass(frozen=True)
class TokenSpan:
    """One token of a text and the steps that emit it, from `start` to before `end`."""

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


def may_skip_blank(token, previous, wildcard):
    """The skip rule: whether a path may go straight from token `previous` to `token`, without the blank between them.

    Two different tokens need no blank between them. Two equal tokens do, as they would collapse to one without it.
    The state of a blank is not entered by a skip, which would leave out a token of the text.

    Args:
        token: token of a state, or an array of them.
        previous: token of the state two before it, of the same shape; BLANK where there is none.
        wildcard: the token that stands for any other, or None. Two wildcards in a row need no blank between them.
    """
    different = token != previous
    return (token != BLANK) & (different if wildcard is None else different | (token == wildcard))


def steps_needed(tokens: Sequence[int]) -> int:
    """The length of the shortest path of a text: one step per token, and one per blank that must not be skipped."""
    pairs = zip(tokens[1:], tokens, strict=False)
    return len(tokens) + sum(not may_skip_blank(token, previous, WILDCARD) for token, previous in pairs)


def feasible(tokens: Sequence[int], steps: int) -> bool:
    """Whether any path of so many steps collapses to these tokens."""
    return steps_needed(tokens) <= steps


def log_probabilities(log_probs: np.ndarray, texts: Sequence[Sequence[int]], wildcard: int | None = None) -> np.ndarray:
    """The log-probability of each text, over all its paths (forward algorithm; exact): float64 [texts], in nats.

    A text that does not fit into the steps has log(0).

    Args:
        log_probs: float [steps, tokens].
        texts: the tokens of each, none of them blank.
        wildcard: a token that stands for any other; two of it in a row need no blank between them.
    """
    lengths = np.array([len(tokens) for tokens in texts], int)
    states = np.full((len(texts), 2 * lengths.max(initial=0) + 1), BLANK)
    for row, tokens in zip(states, texts, strict=True):
        row[1 : 2 * len(tokens) : 2] = tokens
    skip = np.full(states.shape, -np.inf)
    skip[:, 3::2][may_skip_blank(states[:, 3::2], states[:, 1:-2:2], wildcard)] = 0.0
    alpha = np.full((len(texts), 2 + states.shape[1]), -np.inf)  # two columns of padding stand before the states
    alpha[:, 2] = 0.0  # before the first step, every path is in the first blank
    for emission in log_probs.astype(float):
        stay_or_enter = np.logaddexp(alpha[:, 2:], alpha[:, 1:-1])
        alpha[:, 2:] = np.logaddexp(stay_or_enter, alpha[:, :-2] + skip) + emission[states]
    rows = np.arange(len(texts))
    return np.logaddexp(alpha[rows, 2 + 2 * lengths], alpha[rows, 1 + 2 * lengths])


def ctc_loss(labels, label_lengths, logits, logit_lengths):
    """The CTC loss of each clip: minus the log-probability of its label sequence (its text), given its logits.

    The value is that of `log_probabilities`, for a padded batch and in `keras.ops`. The gradient comes from the
    forward-backward algorithm. At every step, `alpha + beta - emission` is the log-probability of all paths through a
    state, since both variables include the emission. Minus the log-probability of all paths of the label sequence, this
    is the log-posterior of the state. The gradient with respect to the logits is `softmax(logits) - posteriors`, where
    the posteriors are summed by token (Graves et al., 2006, eq. 16). Automatic differentiation is given this gradient
    and does not differentiate the recursion.

    Args:
        labels: int32 [batch, longest label sequence], tokens from 1; values beyond its length are ignored.
        label_lengths: int32 [batch].
        logits: float [batch, steps, tokens], unnormalised, all of them finite; token 0 is blank.
        logit_lengths: int32 [batch], numbers of steps, at least 1; later steps are ignored.

    Returns:
        float32 [batch], in nats. A label sequence that is not `feasible` in its steps gives a large finite number
        with finite gradients: leave such clips out.
    """
    from keras import ops  # takes seconds to import, and only training needs it

    logits = ops.cast(logits, "float32")
    steps, tokens = ops.shape(logits)[1:]
    label_lengths, logit_lengths = ops.cast(label_lengths, "int32"), ops.cast(logit_lengths, "int32")
    last_state, last_step = 2 * ops.expand_dims(label_lengths, 1), ops.expand_dims(logit_lengths, 1) - 1
    constant_logits = ops.stop_gradient(logits)

    states = _states(labels, label_lengths)
    log_probs = ops.log_softmax(constant_logits, axis=-1)
    emissions = ops.take_along_axis(log_probs, ops.expand_dims(states, 1), axis=2)  # [batch, steps, states]
    alpha, beta = _forward_backward(emissions, states, last_state, last_step)
    log_likelihood = _log_likelihood(alpha, last_state, last_step)

    log_posteriors = alpha + beta - emissions - ops.reshape(log_likelihood, (-1, 1, 1))
    is_state = ops.arange(ops.shape(states)[1], dtype="int32") <= last_state
    is_step = ops.arange(steps, dtype="int32") <= last_step
    posteriors = ops.exp(ops.minimum(log_posteriors, 0.0)) * ops.cast(ops.expand_dims(is_state, 1), "float32")
    token_posteriors = ops.matmul(posteriors, ops.one_hot(states, tokens, dtype="float32"))
    gradient = ops.softmax(constant_logits, axis=-1) - token_posteriors
    gradient = ops.stop_gradient(gradient * ops.cast(ops.expand_dims(is_step, 2), "float32"))
    linear = ops.sum(gradient * logits, axis=(1, 2))  # its derivative is the gradient; its value cancels out
    return linear + ops.stop_gradient(-log_likelihood - linear)


def _states(labels, label_lengths):
    """The tokens of the states of each label sequence, int32 [batch, states]; after its last state, all are blank."""
    from keras import ops

    batch, longest = ops.shape(labels)
    is_label = ops.arange(longest, dtype="int32") < ops.expand_dims(label_lengths, 1)
    labels = ops.where(is_label, ops.cast(labels, "int32"), BLANK)
    states = ops.reshape(ops.stack([ops.zeros_like(labels), labels], axis=2), (batch, 2 * longest))
    return ops.pad(states, [[0, 0], [0, 1]])


def _forward_backward(emissions, states, last_state, last_step):
    """Forward and backward variables: alpha and beta, each float32 [batch, steps, states].

    Backwards, the recursion is the same on a mirrored trellis, in which the last state and the last step come
    first. So both directions run in one scan, as the two halves of a batch.

    Args:
        emissions: float32 [batch, steps, states], log-probability of each state's token.
        states: int32 [batch, states], the tokens.
        last_state: int32 [batch, 1].
        last_step: int32 [batch, 1].
    """
    from keras import ops

    batch, steps, width = ops.shape(emissions)
    mirror_states = ops.abs(last_state - ops.arange(width, dtype="int32"))  # after the last state, any place will do
    mirror_states = ops.minimum(mirror_states, width - 1)
    mirror_steps = ops.minimum(ops.abs(last_step - ops.arange(steps, dtype="int32")), steps - 1)

    def mirrored(scores):
        scores = ops.take_along_axis(scores, ops.expand_dims(mirror_steps, 2), axis=1)
        return ops.take_along_axis(scores, ops.expand_dims(mirror_states, 1), axis=2)

    states = ops.concatenate([states, ops.take_along_axis(states, mirror_states, axis=1)], axis=0)
    emissions = ops.transpose(ops.concatenate([emissions, mirrored(emissions)], axis=0), (1, 0, 2))
    skip_scores = ops.where(may_skip_blank(states, _shift(states, 2, BLANK), None), 0.0, IMPOSSIBLE)

    def advance(scores, emission):
        stay, enter, skip = scores, _shift(scores, 1, IMPOSSIBLE), _shift(scores, 2, IMPOSSIBLE) + skip_scores
        highest = ops.maximum(ops.maximum(stay, enter), skip)
        total = highest + ops.log(ops.exp(stay - highest) + ops.exp(enter - highest) + ops.exp(skip - highest))
        return total + emission, total + emission

    # Before the first step, every path is in the first blank: from there it stays, or enters the first token.
    start = ops.where(ops.arange(width) < 1, 0.0, IMPOSSIBLE) + ops.zeros_like(skip_scores)
    _, scores = ops.scan(advance, start, emissions)
    scores = ops.transpose(scores, (1, 0, 2))
    return scores[:batch], mirrored(scores[batch:])


def _log_likelihood(alpha, last_state, last_step):
    """Log-probability of each label sequence, float32 [batch]: the sum of the last two states at the last step."""
    from keras import ops

    final = ops.take_along_axis(alpha, ops.expand_dims(last_step, 2), axis=1)[:, 0]
    final = ops.logaddexp(final, _shift(final, 1, IMPOSSIBLE))  # an empty label sequence has no state before its last
    return ops.take_along_axis(final, last_state, axis=1)[:, 0]


def _shift(values, by: int, fill):
    """`values` [batch, states] moved `by` states to the right, with `fill` in the states that become free."""
    from keras import ops

    return ops.pad(values, [[0, 0], [by, 0]], constant_values=fill)[:, : ops.shape(values)[1]]


def finite(log_probs: np.ndarray) -> np.ndarray:
    """Log-probabilities that can be added up, float32: NaN becomes IMPOSSIBLE, infinite values one of +-1e5."""
    return np.clip(np.fmax(log_probs, IMPOSSIBLE), IMPOSSIBLE, -IMPOSSIBLE, dtype=np.float32)
