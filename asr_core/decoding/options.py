"""The options of the decoders, with their defaults and limits. Greedy decoding has none of its own."""

from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asr_core.decoding.hotwords import HotWords

MAX_WIDTH = 1024  # prefixes in a beam, hypotheses in an n-best list, and hypotheses with similar words
MAX_STEP_TOKENS = 128  # that extend a prefix at one step: the cost of a search does not grow with the vocabulary
MAX_SCORE = 1000  # the largest weight, and the largest score in nats


@dataclass(frozen=True)
class DecoderOptions:
    """The options of a decoder. Scores are in nats; a higher score is better.

    Attributes:
        decoder: "greedy" for the text of the most probable path, or "beam" for prefix beam search.
        beam_width: how many prefixes survive pruning at every step. Time grows in proportion. For a network whose
            posteriors are near 0 and 1, 16 are enough; others gain from up to 200.
        token_threshold: pruning of tokens: a token that is less probable than this at a step does not extend a prefix,
            unless it is the most probable token. With 0.001 and a trained network, two or three tokens usually remain;
            at most MAX_STEP_TOKENS do.
        score_threshold: pruning of prefixes: those this many nats below the best are dropped. Prefixes more than 14
            below hardly ever become the best again.
        language_model_weight: weight of the language model's log-probabilities beside those of the network: below
            1 for a network whose posteriors are too close to 0 and 1, above 1 for one that is unsure.
        word_bonus: nats added for every word: above 0 because a language model prefers texts of few words, below 0 for
            a network that recognises too many short ones.
        unknown_word_score: log-probability of a word that the language model does not have. It is low, since such words
            are rare, yet high enough for a network that is sure of the letters. A network that often misspells needs a
            lower one, down to -32.
        unknown_letter_score: nats added to that log-probability for every character of such a word, except in
            hotwords. If it were 0, one long unknown word would cost less than several known ones, and sentences would
            lose their spaces.
        blank_penalty: nats taken from blank at every step, of phones as of tokens. It helps a network that is unsure of
            letters and emits blank instead, as blank is by far its most frequent label. Dividing the posteriors of
            all labels by their priors has the same aim (Miao et al., 2015, arXiv 1507.08240).
        phone_weight: weight of phones in rescoring, from 0 to 1; letters have the rest. It applies where the network
            has a phone output and there is a lexicon (see `asr_core.decoding.lexicon`).
        neural_weight: weight of the neural language model in rescoring, from 0 to 1; the n-grams have the rest. The
            log-probabilities of both are multiplied by `language_model_weight`.
        similar_words: how many hypotheses with a word of similar pronunciation are rescored beside the n-best list, in
            each of a few rounds; 0 turns this off. It applies where rescoring by phones does (see
            `asr_core.decoding.similar_words`).
        doubt_threshold: in nats, for one word a second; a hypothesis counts as noise and becomes empty if the entropy
            of the steps around its letters is higher. The limit rises with the number of words a second (see
            `asr_core.decoding.rescoring.is_noise`). 0 turns this off.
        hot_word_boost: nats added for every letter of a hotword; 0 turns hotwords off. Values from 1 to 2 recover
            names that were missed; from 3 on, hotwords are inserted where nobody spoke them.
        n_best: the largest number of hypotheses to return.
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
    neural_weight: float = 0.0
    similar_words: int = 0
    doubt_threshold: float = 0.0
    hot_word_boost: float = 1.5
    n_best: int = 1

    def __post_init__(self):
        if self.decoder not in ("greedy", "beam"):
            raise ValueError(f"The decoder is greedy or beam, not {self.decoder!r}.")
        for name, least in ("beam_width", 1), ("n_best", 1), ("similar_words", 0):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= MAX_WIDTH:
                raise ValueError(f"{name} is a number from {least} to {MAX_WIDTH}, not {value!r}.")
        if not 0 <= self.token_threshold < 1:
            raise ValueError(f"token_threshold is a probability below 1, not {self.token_threshold!r}.")
        if not self.score_threshold > 0:
            raise ValueError(f"score_threshold is a number above 0, not {self.score_threshold!r}.")
        for name in ("language_model_weight", "hot_word_boost", "blank_penalty", "doubt_threshold"):
            if not 0 <= (value := getattr(self, name)) <= MAX_SCORE:
                raise ValueError(f"{name} is a number from 0 to {MAX_SCORE}, not {value!r}.")
        for name in ("phone_weight", "neural_weight"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is a number from 0 to 1, not {value!r}.")
        for name, most in ("word_bonus", MAX_SCORE), ("unknown_word_score", 0), ("unknown_letter_score", 0):
            if not -MAX_SCORE <= (value := getattr(self, name)) <= most:
                raise ValueError(f"{name} is a number from -{MAX_SCORE} to {most}, not {value!r}.")


def checked_options(
    options: DecoderOptions | None, defaults: DecoderOptions, hot_words: "HotWords | None" = None
) -> DecoderOptions:
    """The options; if they are None the defaults, with the beam search if there are hotwords.

    Raises:
        TypeError: the options are of another type.
    """
    if options is None:
        return replace(defaults, decoder="beam") if hot_words is not None and hot_words.phrases else defaults
    if not isinstance(options, DecoderOptions):
        kind = type(options).__name__
        raise TypeError(f"Expected asr_core.decoding.options.DecoderOptions or None as options, got {kind}.")
    return options
