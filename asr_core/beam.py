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

from asr_core import beam_kernel as kernel
from asr_core.ctc import finite
from asr_core.hot_words import HotWords, PhraseTables
from asr_core.language_model import NGramModel, WordTables
from asr_core.vocabulary import BLANK, Vocabulary

WIDEST = 1024  # prefixes in a beam
HEAVIEST = 1000  # of any weight or score that is set
CAPACITY = 1024  # prefixes that there is room for at first; it doubles when they are used up


@dataclass(frozen=True)
class DecoderOptions:
    """What a listener may set.

    Attributes:
        decoder: "greedy", or "beam" for the search below.
        beam_width: prefixes kept at every step. A network that is sure needs no more than 16; with one that is not,
            128 get a word in a hundred more right. Costs in proportion.
        token_threshold: a token less probable than this at a step does not lengthen a text, unless it is the
            most probable one. A trained network is sure of most steps: 0.001 leaves two or three of thirty.
        score_threshold: prefixes so many nats below the best are given up. Half of a beam of 16 lies lower
            than 12 and hardly ever comes back.
        language_model_weight: what a nat of the language model counts beside one of the network, which,
            being sure of itself, exaggerates.
        word_bonus: nats for every word, against the language model's liking for few words.
        unknown_word_score: log-probability of a word that the language model does not have, in nats; low, for such
            words are rare, yet within reach of a network that is sure of its letters. Lower still, down to -32, for
            one that often misspells.
        unknown_letter_score: nats more for every letter of such a word. Were its length free, one unknown word would be
            cheaper than several known ones, and whole sentences would come without spaces. Letters of hot-words are
            free all the same.
        blank_penalty: nats taken from every blank, for a network that rather says nothing than a letter it is not sure
            of: blank is its most frequent label by far, and a guess at it costs least. Others divide by the frequency
            of every label (Miao et al., 2015, arXiv 1507.08240); with the embedded model, blank alone does as well.
            The blanks between sounds are fined as much.
        phone_weight: from 0 to 1, the share that sounds have in what the network heard, letters having the rest; where
            it names sounds and it is known how words sound (see asr_core.phones). The twenty texts that the search
            likes best are weighed so.
        doubt_threshold: in nats; a text of which the network is more in doubt is noise and becomes empty (see
            `asr_core.decoder.is_noise`). 0 is off.
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
    unknown_letter_score: float = -2.0
    blank_penalty: float = 0.0
    phone_weight: float = 0.0
    doubt_threshold: float = 0.0
    hot_word_boost: float = 1.5
    n_best: int = 1

    def __post_init__(self):
        if self.decoder not in ("greedy", "beam"):
            raise ValueError(f"The decoder is greedy or beam, not {self.decoder!r}.")
        for name, most in ("beam_width", WIDEST), ("n_best", WIDEST):
            if type(value := getattr(self, name)) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is a number from 1 to {most}, not {value!r}.")
        if not 0 <= self.token_threshold < 1:
            raise ValueError(f"token_threshold is a probability below 1, not {self.token_threshold!r}.")
        if not self.score_threshold > 0:
            raise ValueError(f"score_threshold is a number above 0, not {self.score_threshold!r}.")
        for name in ("language_model_weight", "hot_word_boost", "blank_penalty", "doubt_threshold"):
            if not 0 <= (value := getattr(self, name)) <= HEAVIEST:
                raise ValueError(f"{name} is a number from 0 to {HEAVIEST}, not {value!r}.")
        if not 0 <= self.phone_weight <= 1:
            raise ValueError(f"phone_weight is a number from 0 to 1, not {self.phone_weight!r}.")
        for name, most in ("word_bonus", HEAVIEST), ("unknown_word_score", 0), ("unknown_letter_score", 0):
            if not -HEAVIEST <= (value := getattr(self, name)) <= most:
                raise ValueError(f"{name} is a number from -{HEAVIEST} to {most}, not {value!r}.")


@dataclass(frozen=True)
class Text:
    """A text at the end of the search, with the parts of its score in nats, penalties of blanks included.

    `steps` says when the search first thought of each token, which is at or before its peak; `agreement`, for each
    word, the share of the best texts that have it there, too (see `asr_core.decoder.best_texts`).
    """

    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    acoustic_score: float
    language_model_score: float
    hot_word_score: float
    phone_score: float = 0.0
    agreement: tuple[float, ...] = ()

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
        root["token"], root["fate"] = BLANK, kernel.KEPT
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

    def texts(self, ended: bool = True) -> Iterator[Text]:
        """The texts of the beam, best first, if the last word ends here, and with it the sentence if that has ended."""
        scores = kernel.finish(self.tree, self._progress, self._rules, self._words, self._phrases, ended)
        places = self._progress.beam[: self._progress.size[0]]
        for entry in np.argsort(-scores.sum(axis=1), kind="stable"):
            yield Text(*self._history(places[entry]), *scores[entry].tolist())

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
