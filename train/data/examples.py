"""Clips with their labels and phones, less those that cannot be trained on."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from asr_core.ctc import steps_needed
from asr_core.text.normaliser import Normaliser
from asr_core.text.vocabulary import Vocabulary
from train.data.cache import SoundCache
from train.data.manifest import ManifestClip

# Of a clip to learn from; train.corpora tells what lies outside before hours are spent on decoding.
MIN_SECONDS, MAX_SECONDS, MAX_CHARACTERS_SECOND = 0.3, 16.0, 24.0


@dataclass(frozen=True)
class Example:
    """A clip made ready: its number in the cache, its tokens, its duration."""

    number: int
    labels: np.ndarray  # int32 [characters]
    seconds: float
    # int32 [phones], none where a word is not in the dictionary
    phones: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    @cached_property
    def steps_needed(self) -> int:
        """The fewest steps of a network that its labels take."""
        return steps_needed(self.labels.tolist())


class SpeechData:
    """Clips with their sound and labels, less those that cannot be trained on.

    Attributes:
        clips, sound: all clips of the manifests, and their samples.
        examples: those that remain.
        dropped: how many were left out, by reason.
        changes: what the normaliser changed, by kind.
    """

    def __init__(
        self, clips: list[ManifestClip], cache_folder, vocabulary: Vocabulary, sample_rate: int,
        min_seconds=MIN_SECONDS, max_seconds=MAX_SECONDS, max_characters_second=MAX_CHARACTERS_SECOND,
        pronunciations=None,
    ):  # fmt: skip
        self.clips, self.vocabulary, self.sample_rate = clips, vocabulary, sample_rate
        self.sound = SoundCache(clips, cache_folder, sample_rate)
        self.dropped: Counter[str] = Counter()
        normalise = Normaliser()
        self.examples: list[Example] = []
        for number, clip in enumerate(clips):
            text = normalise(clip.text)
            seconds = self.sound.seconds(number, sample_rate)
            reason = (
                "not decodable" if clip.id in self.sound.failures
                else "no text" if not text
                else "too short" if seconds < min_seconds
                else f"longer than {max_seconds:g} s" if seconds > max_seconds
                else "more text than its sound can hold" if len(text) > max_characters_second * seconds
                else ""
            )  # fmt: skip
            if reason:
                self.dropped[reason] += 1
            else:
                labels = np.array(vocabulary.encode(text), np.int32)
                phones = np.array((pronunciations and pronunciations(text)) or (), np.int32)
                self.examples.append(Example(number, labels, seconds, phones))
        self.changes = normalise.changes

    def part(self, wanted: Callable[[Example], bool]) -> "SpeechData":
        """The same data with some of its examples only."""
        other = copy.copy(self)
        other.examples = [example for example in self.examples if wanted(example)]
        return other

    @property
    def hours(self) -> float:
        return sum(example.seconds for example in self.examples) / 3600
