"""Prefix beam search in its plain form: the specification of the compiled search in `asr_core.decoding.prefix_beam`.

Decoding looks for the text with the highest summed probability of all its paths (see `asr_core.ctc`). There are too
many texts to score them all, so the search goes from step to step and keeps a *beam* of the most promising beginnings
of texts, *prefixes*. This module does so in a few readable lines of Python, and slowly. The tests demand that the
compiled search keeps the same prefixes with the same scores.
"""

from collections.abc import Callable

import numpy as np

from asr_core.decoding.options import MAX_STEP_TOKENS, DecoderOptions
from asr_core.text.vocabulary import BLANK

Prefix = tuple[int, ...]
Scores = dict[Prefix, list[float]]  # log-probabilities of a prefix's paths: those ending in blank, and the others


def plain_beam_search(
    log_probs: np.ndarray,
    options: DecoderOptions,
    fusion_score: Callable[[Prefix], float] = lambda prefix: 0.0,
    space: int | None = None,
) -> dict[Prefix, float]:
    """The prefixes in the beam after the last step, each with the log-probability of its paths.

    The algorithm is that of Hannun et al., 2014, "First-Pass Large Vocabulary Continuous Speech Recognition using
    Bi-Directional Recurrent DNNs", arXiv 1408.2873. Each prefix has two scores: the log of the summed probability of
    its paths that end in blank, and of those that end in its last token. They are kept apart because a repeated token
    makes the prefix longer only after a blank; without one it merges with the last token.

    Args:
        log_probs: float [steps, tokens], in nats; token 0 is blank.
        options: `beam_width`, `token_threshold`, `score_threshold` and `blank_penalty` apply.
        fusion_score: what the language model and the hotwords add to the score by which a prefix is ranked, in nats.
        space: the token between words, if there is one. A space before the first letter or after another space leaves
            a prefix as it is.

    Returns:
        Prefix -> log-probability. Beside the best prefixes, the beam always holds that of the most probable path (after
        the blank penalty).
    """
    log_probs = log_probs.astype(float)
    log_probs[:, BLANK] -= options.blank_penalty
    beam: Scores = {(): [0.0, -np.inf]}
    greedy, last = (), BLANK
    for row in log_probs:
        best = int(row.argmax())
        candidates = _extend(beam, row, _tokens(row, options), space)
        if best not in (BLANK, last):
            greedy = _append(greedy, best, space)
        last = best
        kept = _prune(candidates, options, fusion_score)
        beam = {prefix: candidates[prefix] for prefix in {*kept, greedy}}
    return {prefix: float(np.logaddexp(*scores)) for prefix, scores in beam.items()}


def _tokens(row: np.ndarray, options: DecoderOptions) -> set[int]:
    """The tokens of a step that survive pruning: the most probable one, and those above `token_threshold`."""
    most_probable = np.argsort(-row, kind="stable")[:MAX_STEP_TOKENS]
    return {int(row.argmax()), *most_probable[np.exp(row[most_probable]) >= options.token_threshold].tolist()}


def _append(prefix: Prefix, token: int, space: int | None) -> Prefix:
    """The prefix with one more token, unless that is a space without a word before it."""
    return prefix if token == space and prefix[-1:] in ((), (space,)) else (*prefix, token)


def _extend(beam: Scores, row: np.ndarray, tokens: set[int], space: int | None) -> Scores:
    """The prefixes that a step makes of those in the beam: themselves, and themselves with one more token.

    Args:
        beam: scores before the step.
        row: float [tokens], log-probabilities of the step.
        tokens: those that may make a prefix longer. Others may too where the longer prefix is in the beam already.
        space: the token between words, or None.
    """
    if tokens == {BLANK}:  # the step changes no prefix
        row = np.where(np.arange(len(row)) == BLANK, row, -np.inf)
    candidates: Scores = {prefix: [-np.inf, -np.inf] for prefix in beam}
    for prefix, (blank, non_blank) in beam.items():
        total = np.logaddexp(blank, non_blank)
        candidates[prefix][0] = total + row[BLANK]
        if prefix and prefix[-1] != space:  # the last token continues
            candidates[prefix][1] = np.logaddexp(candidates[prefix][1], non_blank + row[prefix[-1]])
        for token in range(1, len(row)):
            longer = _append(prefix, token, space)
            repeated = prefix[-1:] == (token,) and longer != prefix
            score = (blank if repeated else total) + row[token]
            if score > -np.inf and (token in tokens or longer in beam):
                scores = candidates.setdefault(longer, [-np.inf, -np.inf])
                scores[1] = np.logaddexp(scores[1], score)
    return candidates


def _prune(candidates: Scores, options: DecoderOptions, fusion_score: Callable[[Prefix], float]) -> list[Prefix]:
    """The best `beam_width` prefixes that are no more than `score_threshold` below the best one, best first."""
    ranks = {prefix: np.logaddexp(*scores) + fusion_score(prefix) for prefix, scores in candidates.items()}
    order = sorted(candidates, key=lambda prefix: -ranks[prefix])
    limit = ranks[order[0]] - options.score_threshold
    return [prefix for prefix in order[: options.beam_width] if ranks[prefix] >= limit]
