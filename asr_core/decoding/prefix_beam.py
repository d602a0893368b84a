"""Prefix beam search: the most probable texts of a lattice, read step by step.

A beam holds the most promising beginnings of texts, *prefixes*. Each has two scores, the log of the summed
probability of all paths so far that collapse to it: those that end in a blank and those that end in its last
token. They must be kept apart, for the same token once more makes a new letter after a blank and none without
one (Hannun et al., 2014, arXiv 1408.2873). A prefix is ranked by its paths, by what the language model says
of its words, and by its hot-words. A word that is not finished counts as the most frequent one that it can
still become.

At a step, a prefix p hands its probability on to three kinds of prefixes:

    p itself, ending in blank         (blank + label) of p, times the blank's probability
    p itself, ending in its token     label of p, times the probability of that token
    p and one more token              (blank + label) of p, times the probability of the token;
                                      only blank of p, where it is p's own last token again

A space after a space, or before the first letter, makes no other text: it leaves p as it is, ending in its token.
Networks say several in a pause, and prefixes that differ in nothing else would fill the beam.

Then the best prefixes make the next beam. Most steps of a trained network are sure of blank and change nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asr_core.ctc import finite
from asr_core.decoding import beam_kernel as kernel
from asr_core.decoding.hotwords import HotWords, PhraseTables
from asr_core.decoding.language_model import NGramModel, WordTables
from asr_core.decoding.options import DecoderOptions
from asr_core.text.vocabulary import BLANK, Vocabulary

CAPACITY = 1024  # prefixes that there is room for at first; it doubles when they are used up


@dataclass(frozen=True)
class BeamResult:
    """A text at the end of the search, with the parts of its score in nats, penalties of blanks included.

    `steps` says when the search first thought of each token, which is at or before its peak; `agreement`, for each
    word, the share of the best texts that have it there, too (see `asr_core.decoding.beam_search.best_texts`).
    """

    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    acoustic_score: float
    language_model_score: float
    hot_word_score: float
    phone_score: float = 0.0
    posterior: tuple[float, ...] = ()

    @property
    def scores(self) -> tuple[float, float, float, float]:
        return self.acoustic_score, self.language_model_score, self.hot_word_score, self.phone_score

    @property
    def score(self) -> float:
        return sum(self.scores)


class PrefixBeam:
    """The search itself; feed it log-probabilities as they come, and ask for texts at any time.

    Args:
        vocabulary: what the tokens write.
        options: widths and weights.
        language_model, hot_words: what to favour, if anything.
        state: of the language model, where a sentence goes on (see `NGramModel.state_after`); else one begins.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        options: DecoderOptions,
        language_model: NGramModel | None = None,
        hot_words: HotWords | None = None,
        state: int | None = None,
    ):
        hot_words = hot_words if hot_words and hot_words.phrases and options.hot_word_boost else None
        self._words = language_model.tables if language_model else NO_WORDS
        self._phrases = hot_words.tables if hot_words else NO_PHRASES
        self._rules = kernel.Rules(
            width=options.beam_width,
            score_threshold=float(options.score_threshold),
            weight=float(options.language_model_weight),
            word_bonus=float(options.word_bonus),
            unknown_word_score=float(options.unknown_word_score),
            unknown_letter_score=float(options.unknown_letter_score),
            hot_word_boost=float(options.hot_word_boost),
            space=vocabulary.encode(" ")[0] if " " in vocabulary.characters else kernel.NONE,
            code_points=np.array([ord(token) if token else 0 for token in vocabulary.tokens], np.int32),
            has_model=language_model is not None,
            has_hot_words=hot_words is not None,
        )
        self._token_threshold = np.log(options.token_threshold) if options.token_threshold else -np.inf
        self._penalties = np.zeros(len(vocabulary), np.float32)
        self._penalties[BLANK] = options.blank_penalty
        self.tree = np.zeros(0, kernel.PREFIX)
        self._progress = kernel.Progress(
            beam=np.zeros(options.beam_width + 1, np.int32),
            size=np.ones(1, np.int32),
            greedy=np.zeros(1, np.int32),
            last=np.array([BLANK], np.int32),
            step=np.zeros(1, np.int32),
            free=np.zeros(1, np.int32),
        )
        self._grow(max(CAPACITY, 4 * options.beam_width))
        root = self.tree[self._take()]
        root["parent"] = root["child"] = root["sibling"] = kernel.NONE
        root["token"], root["status"] = BLANK, kernel.KEPT
        root["label"] = -np.inf
        if language_model:
            root["state"] = language_model.begin if state is None else state
        if hot_words:
            root["hot_state"] = hot_words.start

    def _take(self) -> int:
        """A free place in the tree."""
        free = self._progress.free
        place = free[free[0]]
        free[0] -= 1
        return int(place)

    def _grow(self, places: int) -> None:
        """Adds free places to the tree."""
        size = len(self.tree)
        self.tree = np.concatenate([self.tree, np.zeros(places, kernel.PREFIX)])
        count = self._progress.free[0]
        free = np.zeros(1 + len(self.tree), np.int32)
        free[1 : count + 1] = self._progress.free[1 : count + 1]
        free[count + 1 : count + 1 + places] = np.arange(size + places - 1, size - 1, -1)
        free[0] = count + places
        self._progress = self._progress._replace(free=free)

    def advance(self, log_probs: np.ndarray) -> None:
        """Reads some more steps: float32 [steps, tokens]."""
        log_probs = finite(log_probs) - self._penalties
        order = np.argsort(-log_probs, axis=1, kind="stable")
        worth = np.maximum((log_probs >= self._token_threshold).sum(axis=1), 1)
        done = 0
        while done < len(log_probs):
            steps = (log_probs[done:], order[done:], worth[done:])
            done += kernel.advance(*steps, self.tree, self._progress, self._rules, self._words, self._phrases)
            if done < len(log_probs):
                self._grow(len(self.tree))

    def texts(self, ended: bool = True) -> Iterator[BeamResult]:
        """The texts of the beam, best first, if the last word ends here, and with it the sentence if that has ended."""
        scores = kernel.finish(self.tree, self._progress, self._rules, self._words, self._phrases, ended)
        places = self._progress.beam[: self._progress.size[0]]
        for entry in np.argsort(-scores.sum(axis=1), kind="stable"):
            yield BeamResult(*self._history(places[entry]), *scores[entry].tolist())

    def _history(self, place: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        tokens, steps = kernel.history(self.tree, place)
        return tuple(tokens.tolist()), tuple(steps.tolist())


NO_WORDS = WordTables(
    *(
        np.zeros(1, np.float32 if name in ("log_prob", "backoff", "letter_best") else np.int32)
        for name in WordTables._fields
    )
)
NO_PHRASES = PhraseTables(np.zeros((1, 1), np.int32), *(np.zeros(1, np.int32) for _ in PhraseTables._fields[1:]))
