"""Prefix beam search: the most probable texts of emissions, found step by step.

`asr_core.decoding.plain_beam_search` specifies the search in a few lines; read it first. `PrefixBeam` does the same by
compiled code (`asr_core.decoding.beam_kernel`) and adds shallow fusion: the score by which a prefix is ranked for
pruning includes that of the language model and of the hotwords. A word that is not finished has the score of the most
probable unigram that begins so, or of an unknown word if that is higher (language model look-ahead).

A beam holds unfinished hypotheses, *prefixes*. Each has two probabilities, stored as logs: p_b of all its paths so far
that end in blank, and p_nb of those that end in its last token (Hannun et al., 2014, arXiv 1408.2873). At a step with
the probabilities y of the tokens, a prefix adds to three kinds of prefixes:

    itself, ending in blank           p_b'  += (p_b + p_nb) * y[blank]
    itself, ending in its last token  p_nb' += p_nb * y[last token]
    itself and one more token         p_nb' += (p_b + p_nb) * y[token], or p_b * y[token] if it is the last token again

A space after a space, or before the first letter, makes no other text and leaves the prefix as it is. Networks emit
several spaces in a pause, and without this rule the beam would fill with prefixes that differ in nothing else. Then
pruning keeps the best prefixes, at most as many as the beam width.

Words end at a space, or where the next token begins a word: a subword piece with the mark "▁", or any token of a
vocabulary without spaces.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.ctc import finite
from asr_core.decoding import beam_kernel as kernel
from asr_core.decoding.hotwords import NO_PHRASES, HotWords
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.options import MAX_STEP_TOKENS, DecoderOptions
from asr_core.decoding.word_tables import NO_WORDS
from asr_core.text.vocabulary import BLANK, WORD_MARK, Vocabulary

MIN_CAPACITY = 1024  # prefixes; the first size of the tree, which doubles when it is full


@dataclass(frozen=True)
class BeamResult:
    """A hypothesis for one segment, with the parts of its score in nats.

    Attributes:
        tokens: the text.
        steps: for each token, the step at which it entered the beam, which is at or before its peak. Empty if the
            hypothesis is not from the search (see `asr_core.decoding.similar_words`).
        acoustic_score: log-probability of all paths that the search has followed, less the blank penalties; rescoring
            by phones multiplies it by the weight of letters.
        language_model_score: weighted log-probability of the words, and the bonus for each.
        hot_word_score: boost of the hotwords.
        phone_score: weighted log-probability of the pronunciation, after rescoring by phones.
        posterior: n-best posterior of each word (see `asr_core.decoding.rescoring.rescore`).
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


def ranked_by_score(results: Iterable[BeamResult]) -> list[BeamResult]:
    """The results, best first."""
    return sorted(results, key=lambda result: -result.score)


class PrefixBeam:
    """The state of a search: `advance` takes log-probabilities as they come, `hypotheses` returns the result so far.

    Args:
        vocabulary: what the tokens write.
        options: beam width, thresholds for pruning, and weights.
        language_model: word n-grams for shallow fusion, an NGramModel or a KenlmModel, or None.
        hot_words: phrases to favour, or None.
        state: state of the language model in the middle of a sentence (see `NGramModel.state_after`), or None where a
            sentence begins.
        hot_state: state of the hotwords' automaton there (see `HotWords.state_after`), or None likewise.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        options: DecoderOptions,
        language_model: NGramModel | None = None,
        hot_words: HotWords | None = None,
        state=None,
        hot_state: int | None = None,
    ):
        hot_words = hot_words if hot_words and hot_words.phrases and options.hot_word_boost else None
        letters = [text.lstrip(WORD_MARK).strip() for text in vocabulary.tokens]
        self._words, lm_state = language_model.search(state) if language_model else (NO_WORDS, 0)
        self._phrases = hot_words.tables if hot_words else NO_PHRASES
        self._settings = kernel.SearchSettings(
            beam_width=options.beam_width,
            score_threshold=float(options.score_threshold),
            language_model_weight=float(options.language_model_weight),
            word_bonus=float(options.word_bonus),
            unknown_word_score=float(options.unknown_word_score),
            unknown_letter_score=float(options.unknown_letter_score),
            hot_word_boost=float(options.hot_word_boost),
            space=kernel.NONE if vocabulary.space is None else vocabulary.space,
            begins_word=np.array(vocabulary.begins_word),
            first_letter=np.cumsum([0, *map(len, letters)], dtype=np.int32),
            letters=np.array([ord(letter) for token in letters for letter in token], np.int32),
            has_edges=bool(vocabulary.separator),
            has_model=language_model is not None,
            has_hot_words=hot_words is not None,
        )
        self._token_threshold = np.log(options.token_threshold) if options.token_threshold else -np.inf
        self._penalties = np.zeros(len(vocabulary), np.float32)
        self._penalties[BLANK] = options.blank_penalty
        self.tree = np.zeros(0, kernel.PREFIX)
        self._beam = kernel.Beam(
            prefixes=np.zeros(options.beam_width + 1, np.int32),
            size=np.ones(1, np.int32),
            greedy=np.zeros(1, np.int32),
            last=np.array([BLANK], np.int32),
            step=np.zeros(1, np.int32),
            free=np.zeros(1, np.int32),
        )
        self._grow(max(MIN_CAPACITY, 4 * options.beam_width))
        root = self.tree[self._take()]
        root["parent"] = root["child"] = root["sibling"] = kernel.NONE
        root["token"], root["status"] = BLANK, kernel.KEPT
        root["non_blank"] = -np.inf
        root["lm_state"] = lm_state
        if hot_words:
            root["hot_state"] = hot_words.start if hot_state is None else hot_state
            root["fusion_score"] = options.hot_word_boost * self._phrases.provisional[root["hot_state"]]
        self._root = np.array([root])

    def _take(self) -> int:
        """Takes a free place of the tree into use and returns it."""
        free = self._beam.free
        place = free[free[0]]
        free[0] -= 1
        return int(place)

    def _grow(self, places: int) -> None:
        """Adds so many free places to the tree."""
        size = len(self.tree)
        self.tree = np.concatenate([self.tree, np.zeros(places, kernel.PREFIX)])
        count = self._beam.free[0]
        free = np.zeros(1 + len(self.tree), np.int32)
        free[1 : count + 1] = self._beam.free[1 : count + 1]
        free[count + 1 : count + 1 + places] = np.arange(size + places - 1, size - 1, -1)
        free[0] = count + places
        self._beam = self._beam._replace(free=free)

    def advance(self, log_probs: np.ndarray) -> None:
        """Advances the search by some steps.

        Args:
            log_probs: float32 [steps, tokens]; NaN and infinite values are allowed and count as finite ones.
        """
        log_probs = finite(log_probs) - self._penalties
        order = np.empty((len(log_probs), min(MAX_STEP_TOKENS, log_probs.shape[1])), np.int64)
        counts = kernel.rank_tokens(log_probs, self._token_threshold, order)
        done = 0
        while done < len(log_probs):
            steps = (log_probs[done:], order[done:], counts[done:])
            done += kernel.advance(*steps, self.tree, self._beam, self._settings, self._words, self._phrases)
            if done < len(log_probs):
                self._grow(len(self.tree))

    def hypotheses(self, ended: bool = True) -> Iterator[BeamResult]:
        """The hypotheses in the beam, best first, as if the last word ended at the last step.

        Args:
            ended: whether the sentence ends there too, so that the language model scores its end.
        """
        scores = kernel.finish(self.tree, self._beam, self._settings, self._words, self._phrases, ended)
        places = self._beam.prefixes[: self._beam.size[0]]
        for entry in np.argsort(-scores.sum(axis=1), kind="stable"):
            yield BeamResult(*self._history(places[entry]), *scores[entry].tolist())

    def fusion_scores(self, tokens: Sequence[int], ended: bool = True) -> dict[str, float]:
        """The fields `language_model_score` and `hot_word_score` of any text, as in `hypotheses`."""
        settings = self._settings, self._words, self._phrases
        language_model, hot_words = kernel.score_text(np.array(tokens, np.int32), self._root, *settings, ended)
        return {"language_model_score": language_model, "hot_word_score": hot_words}

    def _history(self, place: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        tokens, steps = kernel.history(self.tree, place)
        return tuple(tokens.tolist()), tuple(steps.tolist())
