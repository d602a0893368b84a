"""Manifest clips -> training examples with labels and phones; clips that cannot be trained on are dropped."""

import copy
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from asr_core.ctc import steps_needed
from asr_core.text.alphabet import is_english, spell_out
from asr_core.text.normaliser import Normaliser
from asr_core.text.vocabulary import Vocabulary
from train.data.cache import AudioCache
from train.data.manifest import ManifestClip, read_manifest

# Limits of a training clip. `train.corpora` counts clips outside of them before time is spent on decoding.
MIN_SECONDS = 0.3
MAX_SECONDS = 16.0
MAX_CHARACTERS_PER_SECOND = 24.0  # per second of audio


@dataclass(frozen=True)
class Example:
    """A clip that is ready for training.

    Attributes:
        number: index of its samples in the cache.
        labels: tokens, int32 [characters].
        seconds: duration.
        phones: int32 [phones]; empty where a word is not in the pronouncing dictionary.
    """

    number: int
    labels: np.ndarray
    seconds: float
    phones: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    @cached_property
    def steps_needed(self) -> int:
        """The smallest number of output steps that a CTC path of its labels takes."""
        return steps_needed(self.labels.tolist())


class SpeechData:
    """Clips with their samples and labels, without those that cannot be trained on.

    Args:
        clips: of one or more manifests.
        cache_folder: where decoded samples are kept.
        vocabulary: of the labels.
        sample_rate: Hz.
        pronunciations: normalised text -> phones or None (`train.data.pronunciations.Dictionary`), if any.
        max_seconds: longer clips are left out.

    Attributes:
        clips, cache: all clips, and their samples by number.
        examples: the clips that remain.
        dropped: number of clips left out, by reason.
        changes: number of the normaliser's changes, by kind.
    """

    def __init__(
        self, clips: list[ManifestClip], cache_folder, vocabulary: Vocabulary, sample_rate: int,
        pronunciations=None, max_seconds=MAX_SECONDS,
    ):  # fmt: skip
        self.clips, self.vocabulary, self.sample_rate = clips, vocabulary, sample_rate
        self.cache = AudioCache(clips, cache_folder, sample_rate)
        self.dropped: Counter[str] = Counter()
        normalise, english = Normaliser(), is_english(vocabulary)
        self.examples: list[Example] = []
        for number, clip in enumerate(clips):
            text = normalise(clip.text) if english else spell_out(clip.text, vocabulary)
            text = "".join(filter(vocabulary.alphabet.__contains__, text))  # not every English one has an apostrophe
            seconds = self.cache.seconds(number, sample_rate)
            reason = (
                "not decodable" if number in self.cache.failures
                else "no text" if not text
                else "too short" if seconds < MIN_SECONDS
                else f"longer than {max_seconds:g} s" if seconds > max_seconds
                else "more text than its audio can hold" if len(text) > MAX_CHARACTERS_PER_SECOND * seconds
                else ""
            )  # fmt: skip
            if reason:
                self.dropped[reason] += 1
            else:
                labels = np.array(vocabulary.encode(text), np.int32)
                phones = np.array((pronunciations and pronunciations(text)) or (), np.int32)
                self.examples.append(Example(number, labels, seconds, phones))
        self.changes = normalise.changes

    def subset(self, wanted: Callable[[Example], bool]) -> "SpeechData":
        """The same data with only those examples for which `wanted` is true."""
        other = copy.copy(self)
        other.examples = [example for example in self.examples if wanted(example)]
        return other

    @property
    def hours(self) -> float:
        return sum(example.seconds for example in self.examples) / 3600


def load_data(
    manifests, cache, vocabulary: Vocabulary, sample_rate: int, limit=None, pronunciations=None, **limits
) -> SpeechData:
    """Reads manifests and decodes their clips, or the first `limit` of them, into the folder `cache`.

    Further arguments are the limits of `SpeechData`.
    """
    clips = [clip for manifest in manifests for clip in read_manifest(manifest)]
    return SpeechData(clips[:limit], cache, vocabulary, sample_rate, pronunciations=pronunciations, **limits)


def split(data: SpeechData, share: float, seed: int) -> tuple[SpeechData, SpeechData]:
    """Training and validation split by seed and clip id: `share` of the clips, at least one, for validation."""
    numbers = _shuffled_numbers(data, seed)
    return _without(data, numbers[: max(1, round(share * len(numbers)))])


def folds(data: SpeechData, count: int, seed: int) -> list[tuple[SpeechData, SpeechData]]:
    """Training and validation splits for cross-validation: every clip is in the validation part of one split.

    There are `count` splits, or as many as there are clips.
    """
    numbers = _shuffled_numbers(data, seed)
    count = min(count, len(numbers))
    return [_without(data, numbers[i::count]) for i in range(count)]


def _shuffled_numbers(data: SpeechData, seed: int) -> list[int]:
    """Numbers of the examples in an order that depends on the seed and the ids of the clips."""
    numbers = [example.number for example in data.examples]
    return sorted(numbers, key=lambda number: (zlib.crc32(f"{seed} {data.clips[number].id}".encode()), number))


def _without(data: SpeechData, numbers: Sequence[int]) -> tuple[SpeechData, SpeechData]:
    """The data without the examples of these numbers, and these examples."""
    held_out = set(numbers)
    return data.subset(lambda e: e.number not in held_out), data.subset(lambda e: e.number in held_out)
