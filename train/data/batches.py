"""Examples -> batches that depend on seed and step alone.

Batch number i of a run is the same whoever asks for it and whenever, which is what makes a run that was killed
go on as if nothing had happened.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from asr_core.audio.speech_activity import sounding_part
from asr_core.ctc import feasible
from train.data.augmentation import Augmentation, change_speed
from train.data.examples import Example, SpeechData

Parts = tuple[Example, ...]  # what is heard as one clip
PHONES_A_CHARACTER = 0.75  # room for phones; one clip in a thousand has more


@dataclass(frozen=True)
class Batching:
    """How clips become batches.

    Attributes:
        bucket_seconds: lengths to which clips are padded; one compiled step exists for each.
        batch_seconds: sound in a batch, padding included.
        batch_clips: clips in a batch, whatever their length; None goes by `batch_seconds`.
        multiple_of: of which the number of clips is a multiple (the devices that share a batch).
        repeats: how often a pass sees every clip; more than once where there are only a few.
        balance: exponent of a corpus's share of the clips of a pass (Conneau et al., 2020, arXiv 1911.02116, section
            3.1): 1 takes corpora as they are, 0 all alike; in between, small ones come more often than large ones.
        characters_second: room for labels; a clip with more goes to a longer bucket.
        short_first_passes: over so many passes short clips come first.
        join: share of the clips that come as one with others of the same speaker, up to a length of `join_seconds`.
            Corpora have short clips, and a network that never heard longer ones is at a loss in a lecture.
    """

    bucket_seconds: tuple[float, ...] = (3.0, 4.0, 5.2, 7.0, 10.5, 16.0)
    batch_seconds: float = 96.0
    batch_clips: int | None = None
    multiple_of: int = 1
    repeats: int = 1
    balance: float = 1.0
    characters_second: float = 20.0
    short_first_passes: int = 1
    join: float = 0.0
    join_seconds: tuple[float, ...] = (10.0, 20.0)

    def clips(self, bucket: float) -> int:
        clips = self.batch_clips or int(self.batch_seconds / bucket)
        return max(1, clips // self.multiple_of) * self.multiple_of

    def characters(self, bucket: float) -> int:
        return int(bucket * self.characters_second)


class TrainingBatches(keras.utils.PyDataset):
    """Augmented batches; one pass sees every example, or as many in the shares that `Batching.balance` gives.

    `steps_of(samples)` is the number of steps that the network makes of so many samples. A clip whose text does
    not fit into its steps (`asr_core.ctc.feasible`) would poison the loss: it keeps its own speed where a faster
    one would leave too few, and never comes where that does not help either, or where it is longer than every bucket
    (`unfit` counts those).

    Each item is `({"samples": int16 [clips, n], "lengths": int32 [clips]},
    {"labels": int32 [clips, characters], "label_lengths": int32 [clips]})`.
    """

    def __init__(
        self, data: SpeechData, batching: Batching, augmentation: Augmentation, seed=0,
        steps_of: Callable[[int], int] | None = None, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.data, self.batching, self.augmentation = data, batching, augmentation
        self.seed, self.first, self.steps_of = seed, 0, steps_of
        self.unfit = sum(self._bucket((example,), 1.0) is None for example in data.examples)
        self._plans: dict[int, list] = {}
        self.steps_per_pass = len(self._make_plan(0))

    def __len__(self):
        return self.steps_per_pass

    def __getitem__(self, index):
        return self.batch(self.first + index)

    def on_epoch_end(self):
        self.first += self.steps_per_pass

    def batch(self, step: int):
        """Batch number `step` of the run."""
        number, index = divmod(step, self.steps_per_pass)
        if number not in self._plans:
            self._plans = {number: self._make_plan(number)}
        plan = self._plans[number]
        bucket, members = plan[index % len(plan)]
        return self._assemble(bucket, members, np.random.default_rng((self.seed, step, 1)))

    def _make_plan(self, number: int) -> list[tuple[float, list[tuple[Parts, float]]]]:
        """Pass `number` as a list of (bucket, [(parts, speed), ...])."""
        rng = np.random.default_rng((self.seed, number, 0))
        clips = self._joined([self.data.examples[i] for i in self._order(rng)], rng)
        speeds = self.augmentation.draw_speeds(len(clips), rng)
        buckets: dict[float, list] = {bucket: [] for bucket in self.batching.bucket_seconds}
        for parts, speed in zip(clips, speeds, strict=True):
            bucket = self._bucket(parts, speed)
            if bucket is None:  # too long for any bucket when slower, or too short for its text when faster
                bucket, speed = self._bucket(parts, 1.0), 1.0
            if bucket is not None:
                buckets[bucket].append((parts, speed))
        plan = []
        for bucket, members in buckets.items():
            size = self.batching.clips(bucket)
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                batch += [members[j] for j in rng.integers(len(members), size=size - len(batch))]
                plan.append((bucket, batch))
        if number >= self.batching.short_first_passes:
            plan = [plan[i] for i in rng.permutation(len(plan))]
        return plan

    def _joined(self, examples: list[Example], rng) -> list[Parts]:
        """Each example alone, or as one with others of its speaker."""
        if not self.batching.join:
            return [(example,) for example in examples]
        chosen = rng.random(len(examples)) < self.batching.join
        alone = [(example,) for example, joins in zip(examples, chosen, strict=True) if not joins]
        speakers: dict[tuple[str, str], list[Example]] = {}
        for example in (example for example, joins in zip(examples, chosen, strict=True) if joins):
            clip = self.data.clips[example.number]
            speakers.setdefault((clip.corpus, clip.speaker), []).append(example)
        chains = []
        for said in speakers.values():
            room = 0.0
            for example in said:
                if example.seconds > room:
                    chains.append(())
                    room = rng.choice(self.batching.join_seconds)
                chains[-1] += (example,)
                room -= example.seconds
        clips = alone + chains
        return [clips[i] for i in rng.permutation(len(clips))]

    def _order(self, rng) -> np.ndarray:
        """Indices of the examples of a pass, shuffled: int [repeats * examples].

        None comes again before all others of its corpus did; where a pass has no room for all, each leaves out others.
        """
        total = len(self.data.examples) * self.batching.repeats
        if self.batching.balance == 1:
            return _shuffled(np.arange(len(self.data.examples)), total, rng)
        names = np.array([self.data.clips[example.number].corpus for example in self.data.examples])
        corpora, sizes = np.unique(names, return_counts=True)
        weights = sizes**self.batching.balance
        ends = np.round(np.cumsum(weights) / weights.sum() * total).astype(int)
        counts = np.diff(ends, prepend=0)
        parts = [
            _shuffled(np.flatnonzero(names == corpus), count, rng)
            for corpus, count in zip(corpora, counts, strict=True)
        ]
        return rng.permutation(np.concatenate(parts))

    def _bucket(self, parts: Parts, speed: float):
        seconds = sum(example.seconds for example in parts) / speed
        if not self._text_fits(parts, int(seconds * self.data.sample_rate)):
            return None
        characters = sum(len(example.labels) for example in parts) + len(parts) - 1
        for bucket in self.batching.bucket_seconds:
            if seconds <= bucket and characters <= self.batching.characters(bucket):
                return bucket
        return None

    def _assemble(self, bucket, members, rng):
        rate = self.data.sample_rate
        size = int(bucket * rate)
        samples = np.zeros((len(members), size), np.int16)
        lengths = np.zeros(len(members), np.int32)
        labels = np.zeros((len(members), self.batching.characters(bucket)), np.int32)
        label_lengths = np.zeros_like(lengths)
        phones = np.zeros((len(members), int(PHONES_A_CHARACTER * labels.shape[1])), np.int32)
        phone_lengths = np.zeros_like(lengths)
        for row, (parts, speed) in enumerate(members):
            text, sounds = self._written(parts)
            sound = change_speed(self._sound(parts, speed), speed)
            sound = self.augmentation(sound, rate, rng, babble=lambda: self._other_voice(rng))[:size]
            samples[row, : len(sound)], lengths[row] = sound, len(sound)
            labels[row, : len(text)], label_lengths[row] = text, len(text)
            if self._phones_fit(sounds, len(sound), phones.shape[1]):
                phones[row, : len(sounds)], phone_lengths[row] = sounds, len(sounds)
        return (
            {"samples": samples, "lengths": lengths},
            {"labels": labels, "label_lengths": label_lengths, "phones": phones, "phone_lengths": phone_lengths},
        )

    def _written(self, parts: Parts) -> tuple[np.ndarray, np.ndarray]:
        """Labels and phones of parts that follow each other; no phones where those of a part are not known."""
        if len(parts) == 1:
            return parts[0].labels, parts[0].phones
        space = np.array(self.data.vocabulary.encode(" "), np.int32)
        text = np.concatenate([piece for example in parts for piece in (example.labels, space)][:-1])
        known = all(len(example.phones) for example in parts)
        return text, np.concatenate([example.phones for example in parts if known] or [parts[0].phones[:0]])

    def _phones_fit(self, phones, samples, room) -> bool:
        """Whether the phones of a clip can be learned: the inner head may have half as many steps."""
        if len(phones) > room or self.steps_of is None:
            return False
        return feasible(phones.tolist(), self.steps_of(samples) // 2)

    def _sound(self, parts: Parts, speed) -> np.ndarray:
        """The audible part of what is said, or all of it where the text needs the silence around that, too."""
        whole = np.concatenate([self.data.sound[example.number] for example in parts])
        part = audible(whole, self.data.sample_rate)
        return part if self._text_fits(parts, int(len(part) / speed)) else whole

    def _text_fits(self, parts: Parts, samples: int) -> bool:
        """Whether the network makes enough steps of so many samples for what is said in them, a space between parts."""
        steps = sum(example.steps_needed for example in parts) + len(parts) - 1
        return not self.steps_of or steps <= self.steps_of(samples)

    def _other_voice(self, rng) -> np.ndarray:
        return self.data.sound[self.data.examples[rng.integers(len(self.data.examples))].number]


def _shuffled(indices: np.ndarray, count: int, rng) -> np.ndarray:
    """`count` of some indices, in random order, none again before all others were there."""
    rounds = max(1, -(-count // len(indices)))
    return np.concatenate([rng.permutation(indices) for _ in range(rounds)])[:count]


def audible(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """int16 [n] without the digital silence at both ends, as the recogniser cuts it; all where nothing can be heard.

    Features are normalised over a clip: with the silence, its sound would be another than that which the app hears.
    """
    part = samples[sounding_part(samples.astype(np.float32) / 32768, sample_rate)]
    return part if len(part) else samples


def evaluation_batches(data: SpeechData, batching: Batching):
    """Every example once, as the app hears it, shortest first: yields ({"samples", "lengths"}, [example, ...]).

    The last batch of a bucket is filled up with repeats, so that all batches of a bucket have one shape; only the
    listed examples count.
    """
    rate = data.sample_rate
    remaining = sorted(data.examples, key=lambda example: example.seconds)
    for bucket in batching.bucket_seconds:
        members = [e for e in remaining if e.seconds <= bucket]
        remaining = remaining[len(members) :]
        size = batching.clips(bucket)
        for start in range(0, len(members), size):
            batch = members[start : start + size]
            samples = np.zeros((size, int(bucket * rate)), np.int16)
            lengths = np.full(size, rate, np.int32)
            for row, example in enumerate(batch):
                sound = audible(data.sound[example.number], rate)[: samples.shape[1]]
                samples[row, : len(sound)], lengths[row] = sound, len(sound)
            yield {"samples": samples, "lengths": lengths}, batch
