"""From log-probabilities to words: greedy decoding, and the beam search that finds more probable texts.

Greedy decoding takes the most probable token of every step: one path. The probability of a text is the sum
over all its paths, and a language model has its say, too; `beam_search` weighs both.
"""

from dataclasses import dataclass

from asr_core.alignment import WordSpan, split_words, words_of
from asr_core.ctc import Emissions, TokenSpan, best_path, runs
from asr_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class Hypothesis:
    """A text that the recording may hold.

    Attributes:
        tokens: the text, blanks and repeats collapsed.
        steps: the step at which each token begins.
        words: its words with times and confidence.
        score: what hypotheses are ranked by, the sum of the three parts below, in nats.
        acoustic_score: log-probability of the text given the sound (greedy: of its best path alone).
        language_model_score: weighted log-probability of its words, and their bonus.
        hot_word_score: what the hot-words in it have earned.
    """

    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    words: tuple[WordSpan, ...]
    score: float
    acoustic_score: float
    language_model_score: float = 0.0
    hot_word_score: float = 0.0

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def greedy(emissions: Emissions, vocabulary: Vocabulary) -> Hypothesis:
    """The text of the most probable path, with the times and confidence of its words.

    Its score is the log-probability of that path.
    """
    spans = runs(best_path(emissions.log_probs))
    score = float(emissions.log_probs.max(axis=1).sum(dtype=float)) if len(emissions) else 0.0
    return _hypothesis(spans, emissions, vocabulary, score)


def _hypothesis(
    spans: list[TokenSpan], emissions: Emissions, vocabulary: Vocabulary, acoustic: float
) -> Hypothesis:
    groups = split_words(spans, vocabulary)
    texts = [vocabulary.decode(span.token for span in group) for group in groups]
    return Hypothesis(
        tokens=tuple(span.token for span in spans),
        steps=tuple(span.start for span in spans),
        words=words_of(texts, groups, emissions),
        score=acoustic,
        acoustic_score=acoustic,
    )
