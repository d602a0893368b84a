"""Hypotheses, the texts that a decoder proposes, and greedy decoding, which proposes one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from asr_core.ctc import TokenSpan, best_path, runs
from asr_core.decoding.word_spans import WordSpan, split_words
from asr_core.decoding.word_times import words_of
from asr_core.emissions import Emissions
from asr_core.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Hypothesis:
    """A text that the recording may hold. Where its words lie is found out once it is asked for.

    Attributes:
        tokens: the text, blanks and repeats collapsed.
        acoustic_score: log-probability of its letters given the sound (greedy: of their best path alone), less what
            blanks are fined; weighted where its sounds have a say, too.
        language_model_score: weighted log-probability of its words, and their bonus.
        hot_word_score: what the hot-words in it have earned.
        phone_score: weighted log-probability of its sounds.
        agreement: for each word, the share of the best texts that have it there, too; empty if none were compared.
        emissions, vocabulary: what it was read from, and by.
        place: finds the spans of the tokens, which takes time; called with `locate`'s argument.
    """

    tokens: tuple[int, ...]
    acoustic_score: float
    language_model_score: float
    hot_word_score: float
    phone_score: float
    posterior: tuple[float, ...] = field(compare=False)
    emissions: Emissions = field(repr=False, compare=False)
    vocabulary: Vocabulary = field(repr=False, compare=False)
    place: Callable[[Callable[[], None] | None], list[TokenSpan]] = field(repr=False, compare=False)

    @property
    def score(self) -> float:
        """What hypotheses are ranked by, the sum of the four parts, in nats."""
        return self.acoustic_score + self.language_model_score + self.hot_word_score + self.phone_score

    @property
    def text(self) -> str:
        return " ".join(self.vocabulary.decode(self.tokens).split())

    @cached_property
    def spans(self) -> tuple[TokenSpan, ...]:
        """The steps of each token."""
        return tuple(self.place(None))

    @cached_property
    def words(self) -> tuple[WordSpan, ...]:
        """Its words with times and confidence."""
        return self._words(None)

    def locate(self, check: Callable[[], None]) -> None:
        """Finds `spans` and `words` now, which takes seconds for some hours of speech.

        Args:
            check: called several times a second; what it raises ends the work.
        """
        self.__dict__["spans"] = tuple(self.place(check))  # as cached_property keeps them
        self.__dict__["words"] = self._words(check)

    def _words(self, check: Callable[[], None] | None) -> tuple[WordSpan, ...]:
        groups = split_words(self.spans, self.vocabulary)
        texts = [self.vocabulary.decode(span.token for span in group) for group in groups]
        return words_of(texts, groups, self.emissions, self.posterior, check)


def greedy(emissions: Emissions, vocabulary: Vocabulary) -> Hypothesis:
    """The text of the most probable path, with the times and confidence of its words.

    Its score is the log-probability of that path.
    """
    spans = runs(best_path(emissions.log_probs))
    score = float(emissions.log_probs.max(axis=1).sum(dtype=float)) if len(emissions) else 0.0
    tokens = tuple(span.token for span in spans)
    return Hypothesis(tokens, score, 0.0, 0.0, 0.0, (), emissions, vocabulary, place=lambda check: spans)
