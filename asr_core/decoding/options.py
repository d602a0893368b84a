"""The options of a decoder, with their defaults and limits."""

from dataclasses import dataclass

MAX_WIDTH = 1024  # prefixes in a beam
MAX_SCORE = 1000  # of any weight or score that is set


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
            it names sounds and it is known how words sound (see asr_core.decoding.lexicon). The twenty texts that the
            search likes best are weighed so.
        doubt_threshold: in nats; a text of which the network is more in doubt is noise and becomes empty (see
            `asr_core.decoding.beam_search.is_noise`). 0 is off.
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
        for name, most in ("beam_width", MAX_WIDTH), ("n_best", MAX_WIDTH):
            if type(value := getattr(self, name)) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is a number from 1 to {most}, not {value!r}.")
        if not 0 <= self.token_threshold < 1:
            raise ValueError(f"token_threshold is a probability below 1, not {self.token_threshold!r}.")
        if not self.score_threshold > 0:
            raise ValueError(f"score_threshold is a number above 0, not {self.score_threshold!r}.")
        for name in ("language_model_weight", "hot_word_boost", "blank_penalty", "doubt_threshold"):
            if not 0 <= (value := getattr(self, name)) <= MAX_SCORE:
                raise ValueError(f"{name} is a number from 0 to {MAX_SCORE}, not {value!r}.")
        if not 0 <= self.phone_weight <= 1:
            raise ValueError(f"phone_weight is a number from 0 to 1, not {self.phone_weight!r}.")
        for name, most in ("word_bonus", MAX_SCORE), ("unknown_word_score", 0), ("unknown_letter_score", 0):
            if not -MAX_SCORE <= (value := getattr(self, name)) <= most:
                raise ValueError(f"{name} is a number from -{MAX_SCORE} to {most}, not {value!r}.")
