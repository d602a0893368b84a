"""The result of decoding: hypotheses, of which the beam search gives several, the n-best list, and `greedy` one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from asr_core.ctc import TokenSpan, best_path, runs
from asr_core.decoding.word_spans import WordSpan, split_words
from asr_core.decoding.word_times import words_of
from asr_core.emissions import Emissions
from asr_core.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Hypothesis:
    """A text that a decoder proposes, with its score; the times of its words are computed at the first access.

    Attributes:
        tokens: the text.
        acoustic_score: log-probability of the text given the signal, in nats, less the blank penalties. Greedy decoding
            takes that of the best path alone; rescoring by phones multiplies it by the weight of letters.
        language_model_score: weighted log-probability of the words, and the bonus for each.
        hot_word_score: boost of the hotwords in the text.
        phone_score: weighted log-probability of the pronunciation.
        posterior: n-best posterior of each word, in [0, 1]: the probability of the hypotheses that have it in the same
            place; empty after greedy decoding.
        emissions: those that were decoded.
        vocabulary: the characters of the tokens.
        find_spans: computes the spans of the tokens; takes the argument of `locate`, or None.
    """

    tokens: tuple[int, ...]
    acoustic_score: float
    language_model_score: float
    hot_word_score: float
    phone_score: float
    posterior: tuple[float, ...] = field(compare=False)
    emissions: Emissions = field(repr=False, compare=False)
    vocabulary: Vocabulary = field(repr=False, compare=False)
    find_spans: Callable[[Callable[[], None] | None], list[TokenSpan]] = field(repr=False, compare=False)

    @property
    def score(self) -> float:
        """The sum of the four scores, by which hypotheses are ranked, in nats."""
        return self.acoustic_score + self.language_model_score + self.hot_word_score + self.phone_score

    @property
    def text(self) -> str:
        return self.vocabulary.text(self.tokens)

    @cached_property
    def spans(self) -> tuple[TokenSpan, ...]:
        """The steps of each token, in order."""
        return tuple(self.find_spans(None))

    @cached_property
    def words(self) -> tuple[WordSpan, ...]:
        """The words with their times and confidence."""
        return self._words(None)

    def locate(self, check: Callable[[], None]) -> None:
        """Computes `spans` and `words` now, which takes seconds for some hours of speech.

        Args:
            check: called several times a second; an exception from it ends the work.
        """
        self.__dict__["spans"] = tuple(self.find_spans(check))  # where cached_property looks for them
        self.__dict__["words"] = self._words(check)

    def _words(self, check: Callable[[], None] | None) -> tuple[WordSpan, ...]:
        groups = split_words(self.spans, self.vocabulary)
        texts = [self.vocabulary.decode(span.token for span in group).strip() for group in groups]
        return words_of(texts, groups, self.emissions, self.posterior, check)


def greedy(emissions: Emissions, vocabulary: Vocabulary) -> Hypothesis:
    """Greedy decoding: the text of the most probable path; its score is the log-probability of that path, in nats."""
    spans = runs(best_path(emissions.log_probs))
    score = float(emissions.log_probs.max(axis=1).sum(dtype=float)) if len(emissions) else 0.0
    tokens = tuple(span.token for span in spans)
    return Hypothesis(tokens, score, 0.0, 0.0, 0.0, (), emissions, vocabulary, partial(_known, spans))


def _known(spans: list[TokenSpan], check) -> list[TokenSpan]:
    """What `Hypothesis.find_spans` returns for known spans; a function, so that the hypothesis can be pickled."""
    return spans
