"""Prefix beam search: the most probable texts of a lattice, read step by step.

A beam holds the most promising beginnings of texts, *prefixes*. Each has two scores, the log of the summed
probability of all paths so far that collapse to it: those that end in a blank and those that end in its last
token. They must be kept apart, for the same token once more makes a new letter after a blank and none without
one (Hannun et al., 2014, arXiv 1408.2873). A prefix is ranked by its paths, by what the language model says
of its words, and by its hot-words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log1p
from operator import attrgetter, itemgetter

import numpy as np

from asr_core.hot_words import HotWords
from asr_core.language_model import ROOT, SENTENCE_END, UNKNOWN, NGramModel
from asr_core.prefix_tree import NO_WORD, NOWHERE
from asr_core.vocabulary import BLANK, Vocabulary

# Of all prefixes that a step could lengthen, so many times the width of the beam are looked up in the language
# model: those that rank best without what the new letter does to their words, which is a few nats.
SHORTLIST = 4

WORD_START = 0  # the node of the empty beginning in the prefix tree


@dataclass(frozen=True)
class DecoderOptions:
    """What a listener may set.

    Attributes:
        decoder: "greedy", or "beam" for the search below.
        beam_width: prefixes kept at every step. More than 16 changes few words and costs in proportion.
        token_threshold: tokens less probable than this at a step are passed over, the best one excepted.
            A trained network is sure of most steps: 0.001 leaves two or three tokens of thirty.
        score_threshold: prefixes so many nats below the best are given up. Half of a beam of 16 lies lower
            than 12 and hardly ever comes back.
        language_model_weight: what a nat of the language model counts beside one of the network, which,
            being sure of itself, exaggerates.
        word_bonus: nats for every word, against the language model's liking for few words.
        unknown_word_score: log-probability of a word that the language model does not have, in nats; low,
            for such words are rare, yet within reach of a network that is sure of its letters.
        hot_word_boost: nats per letter of a hot-word; 0 is off. From 1 to 2 names that were missed are found,
            from 3 on they turn up where nobody said them.
        n_best: how many texts to return at most.
    """

    decoder: str = "beam"
    beam_width: int = 16
    token_threshold: float = 1e-3
    score_threshold: float = 12.0
    language_model_weight: float = 0.5
    word_bonus: float = 1.0
    unknown_word_score: float = -16.0
    hot_word_boost: float = 1.5
    n_best: int = 1

    def __post_init__(self):
        if self.decoder not in ("greedy", "beam"):
            raise ValueError(f"The decoder is greedy or beam, not {self.decoder!r}.")
        if not 1 <= self.beam_width <= 1024 or self.n_best < 1:
            raise ValueError(f"A beam has 1 to 1024 prefixes, not {self.beam_width}; n_best is {self.n_best}.")
        if not 0 <= self.token_threshold < 1:
            raise ValueError(f"The token threshold is a probability below 1, not {self.token_threshold}.")


@dataclass(frozen=True)
class Text:
    """A text at the end of the search, with the three parts of its score in nats.

    `steps` says when the search first thought of each token, which is at or before its peak.
    """

    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    acoustic_score: float
    language_model_score: float
    hot_word_score: float

    @property
    def score(self) -> float:
        return self.acoustic_score + self.language_model_score + self.hot_word_score


class Prefix:
    """A beginning of a text: a node in the tree of all prefixes that the search has met.

    Attributes:
        parent, token: the prefix without its last token, and that token.
        step: when the search first thought of it.
        children: token -> longer prefix.
        blank, label: log of the probability of its paths so far, by what they end in.
        next_blank, next_label: the same, for the step that is being read.
        words_score: what its finished words have earned.
        word_score: what its unfinished word has earned so far, at best.
        state, node: of the language model after the finished words, and of the unfinished word in the tree of
            beginnings.
        hot_state, letters: of the hot-words' automaton, and the letters they have earned.
        bonus: what it is ranked by beside its paths.
        rank: what it is ranked by.
        kept: whether it is in the beam.
    """

    __slots__ = (
        "parent", "token", "step", "children", "blank", "label", "next_blank", "next_label", "words_score",
        "word_score", "state", "node", "hot_state", "letters", "bonus", "rank", "kept",
    )  # fmt: skip

    def __init__(self, parent: "Prefix | None", token: int, step: int):
        self.parent, self.token, self.step = parent, token, step
        self.children: dict[int, Prefix] = {}
        self.blank = self.label = self.next_blank = self.next_label = -inf
        self.words_score = self.word_score = self.bonus = self.rank = 0.0
        self.state, self.node = ROOT, WORD_START
        self.hot_state = self.letters = 0
        self.kept = False

    def ancestry(self) -> list["Prefix"]:
        """The prefixes that lead here, from the first token to the last."""
        reverse = []
        prefix = self
        while prefix.parent is not None:
            reverse.append(prefix)
            prefix = prefix.parent
        return reverse[::-1]


def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))


class PrefixBeam:
    """The search itself; feed it log-probabilities as they come, and ask for texts at any time."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        options: DecoderOptions,
        language_model: NGramModel | None = None,
        hot_words: HotWords | None = None,
    ):
        self.options = options
        self.model = language_model
        self.hot_words = hot_words if hot_words and hot_words.phrases and options.hot_word_boost else None
        self.space = vocabulary.encode(" ")[0] if " " in vocabulary.characters else None
        self.code_points = [ord(token) if token else 0 for token in vocabulary.tokens]
        root = Prefix(None, BLANK, 0)
        root.blank = 0.0
        if self.model:
            root.state = self.model.begin
        if self.hot_words:
            root.hot_state = self.hot_words.start
        root.kept = True
        self.beam = [root]
        self.greedy = root  # the text of the most probable path, which is never dropped
        self.greedy_token = BLANK
        self.step = 0

    def advance(self, log_probs: np.ndarray) -> None:
        """Reads some more steps: float32 [steps, tokens]."""
        if not len(log_probs):
            return
        best = log_probs.argmax(axis=1)
        worth = log_probs >= (np.log(self.options.token_threshold) if self.options.token_threshold else -inf)
        worth[np.arange(len(best)), best] = True
        steps, tokens = np.nonzero(worth)
        order = np.lexsort((-log_probs[worth], steps))  # within a step, the most probable token first
        candidates = list(zip(log_probs[worth][order].tolist(), tokens[order].tolist(), strict=True))
        ends = np.cumsum(worth.sum(axis=1)).tolist()
        start = 0
        for end, token in zip(ends, best.tolist(), strict=True):
            if end - start == 1 and token == BLANK:
                self._stay(candidates[start][0])
            else:
                self._read(candidates[start:end], token)
            self.greedy_token, start = token, end
            self.step += 1

    def _stay(self, blank: float) -> None:
        """A step that can only be blank: no text changes."""
        for prefix in self.beam:
            prefix.blank = log_add(prefix.blank, prefix.label) + blank
            prefix.label = -inf

    def _read(self, candidates: Sequence[tuple[float, int]], best: int) -> None:
        """A step that may be any of these tokens, given with their log-probabilities, the best one first."""
        longer = []  # (rank if its words were worth what they are now, score, prefix, token)
        limit = None
        for prefix in self.beam:
            blank, label = prefix.blank, prefix.label
            either = log_add(blank, label)
            if limit is None:  # the beam is sorted
                limit = either + prefix.bonus + candidates[0][0] - self.options.score_threshold
            worst = limit - either - prefix.bonus if prefix is not self.greedy else -inf
            for log_prob, token in candidates:
                if log_prob < worst:
                    break
                if token == BLANK:
                    prefix.next_blank = either + log_prob
                elif token != prefix.token:
                    longer.append((either + log_prob + prefix.bonus, either + log_prob, prefix, token))
                else:  # the same letter goes on, or begins a second time after a blank
                    prefix.next_label = label + log_prob
                    if blank > -inf:
                        longer.append((blank + log_prob + prefix.bonus, blank + log_prob, prefix, token))
        most = SHORTLIST * self.options.beam_width
        if len(longer) > most:
            longer.sort(key=_FIRST, reverse=True)
            longer[most:] = [entry for entry in longer[most:] if entry[2] is self.greedy]
        met = self.beam
        for _, score, prefix, token in longer:
            child = prefix.children.get(token) or self._extend(prefix, token)
            if child.next_label == -inf and not child.kept:
                met.append(child)
            child.next_label = log_add(child.next_label, score)
        if best not in (BLANK, self.greedy_token):
            self.greedy = self.greedy.children[best]
        self._prune(met)

    def _prune(self, met: list[Prefix]) -> None:
        """Ends a step: the best prefixes of those met make the new beam, the best one first."""
        for prefix in met:
            prefix.blank, prefix.label = prefix.next_blank, prefix.next_label
            prefix.next_blank = prefix.next_label = -inf
            prefix.rank = log_add(prefix.blank, prefix.label) + prefix.bonus
        met.sort(key=_RANK, reverse=True)
        limit = met[0].rank - self.options.score_threshold
        self.beam = []
        for place, prefix in enumerate(met):
            prefix.kept = (place < self.options.beam_width and prefix.rank >= limit) or prefix is self.greedy
            if prefix.kept:
                self.beam.append(prefix)
            else:
                prefix.blank = prefix.label = -inf
        for prefix in met:
            if not prefix.kept:
                _forget(prefix)

    def _extend(self, prefix: Prefix, token: int) -> Prefix:
        """The prefix with one more token, and what the words in it are worth."""
        longer = prefix.children[token] = Prefix(prefix, token, self.step)
        if self.model:
            longer.state, longer.node, longer.words_score = prefix.state, prefix.node, prefix.words_score
            if token == self.space:
                longer.words_score, longer.state = self._finish_word(prefix)
                longer.node = WORD_START
            else:
                longer.node = self.model.prefixes.child(prefix.node, self.code_points[token])
                likely = self.model.prefixes.best[longer.node] if longer.node != NOWHERE else -inf
                longer.word_score = self._worth(max(likely, self.options.unknown_word_score))
            longer.bonus = longer.words_score + longer.word_score
        if self.hot_words:
            longer.hot_state, longer.letters = prefix.hot_state, prefix.letters
            if token != self.space or prefix.token not in (self.space, BLANK):  # a second space parts nothing
                longer.hot_state = self.hot_words.advance(prefix.hot_state, token)
                longer.letters += self.hot_words.earned[longer.hot_state]
            letters = longer.letters + self.hot_words.credit[longer.hot_state]
            longer.bonus += self.options.hot_word_boost * letters
        return longer

    def _finish_word(self, prefix: Prefix) -> tuple[float, int]:
        """The score of all words of a prefix, the last one finished, and the language model's state."""
        if prefix.node == WORD_START:
            return prefix.words_score, prefix.state
        number = self.model.prefixes.word[prefix.node] if prefix.node != NOWHERE else NO_WORD
        if number == NO_WORD:
            _, state = self.model.score(prefix.state, UNKNOWN)
            return prefix.words_score + self._worth(self.options.unknown_word_score), state
        log_prob, state = self.model.score(prefix.state, number)
        return prefix.words_score + self._worth(log_prob), state

    def _worth(self, log_prob: float) -> float:
        return self.options.language_model_weight * log_prob + self.options.word_bonus

    def texts(self) -> list[Text]:
        """What the beam would say if the recording ended here, best first."""
        return sorted((self._finish(prefix) for prefix in self.beam), key=lambda text: -text.score)

    def _finish(self, prefix: Prefix) -> Text:
        words_score = hot_word_score = 0.0
        if self.model:
            words_score, state = self._finish_word(prefix)
            end, _ = self.model.score(state, SENTENCE_END)
            words_score += self.options.language_model_weight * end
        if self.hot_words:
            letters = prefix.letters
            if prefix.token != self.space:
                letters += self.hot_words.finish(prefix.hot_state)
            hot_word_score = self.options.hot_word_boost * letters
        line = prefix.ancestry()
        return Text(
            tuple(shorter.token for shorter in line),
            tuple(shorter.step for shorter in line),
            log_add(prefix.blank, prefix.label),
            words_score,
            hot_word_score,
        )


_RANK, _FIRST = attrgetter("rank"), itemgetter(0)


def _forget(prefix: Prefix) -> None:
    """Takes a prefix that nothing in the beam continues out of the tree, and what only it continued."""
    while not (prefix.kept or prefix.children):
        prefix.parent.children.pop(prefix.token, None)
        prefix = prefix.parent
