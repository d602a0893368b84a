"""Examples -> augmented, padded batches, each of which depends on the seed and its number only.

Batch number i of a run is the same in every process and at any time. A run that was killed therefore continues as if
it had not been interrupted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from asr_core.audio.levels import full_scale
from asr_core.audio.speech_activity import audible_part
from asr_core.ctc import feasible
from train.data.augmentation import Augmentation, change_speed
from train.data.device_augmentation import host_part, raw_size
from train.data.examples import Example, SpeechData

Parts = tuple[Example, ...]  # examples that are concatenated to one clip

MAX_PHONES_PER_CHARACTER = 0.75  # size of the phone labels; clips with more phones are trained without theirs


@dataclass(frozen=True)
class Batching:
    """How clips become batches.

    Attributes:
        bucket_seconds: lengths to which clips are padded; the training step is compiled once for each.
        batch_seconds: seconds of audio in a batch, padding included.
        batch_clips: number of clips in a batch, whatever their length; with None `batch_seconds` decides.
        multiple_of: the number of clips is a multiple of this (the number of devices that share a batch).
        repeats: how often a pass has every clip; more than once for small data sets.
        characters_per_second: size of the labels, for each second of the bucket; a clip with more characters goes to a
            longer bucket.
        short_first_passes: number of passes at the beginning that have short clips first.
        join: share of the clips that are concatenated with others of the same speaker, up to a length drawn from
            `join_seconds`. Corpora mostly have short clips, and a network trained on short clips alone makes more
            errors on long recordings.
    """

    bucket_seconds: tuple[float, ...] = (3.0, 4.0, 5.2, 7.0, 10.5, 16.0)
    batch_seconds: float = 96.0
    batch_clips: int | None = None
    multiple_of: int = 1
    repeats: int = 1
    characters_per_second: float = 20.0
    short_first_passes: int = 1
    join: float = 0.0
    join_seconds: tuple[float, ...] = (10.0, 20.0)

    def clips(self, bucket: float) -> int:
        """Number of clips in a batch of this bucket (seconds)."""
        clips = self.batch_clips or int(self.batch_seconds / bucket)
        return max(1, clips // self.multiple_of) * self.multiple_of

    def characters(self, bucket: float) -> int:
        """Size of the labels in a batch of this bucket (seconds)."""
        return int(bucket * self.characters_per_second)


class TrainingBatches:
    """Augmented batches. A pass has nearly every example: all passes have as many batches as the first, and those that
    other speeds and joins make beyond that number are left out.

    The CTC loss of a clip is infinite if its text needs more steps than the network makes of its samples
    (`asr_core.ctc.feasible`). Such a clip keeps its original speed if only a faster one is infeasible, and is left
    out otherwise, as is a clip that is longer than every bucket.

    Args:
        data: the examples.
        batching, augmentation: the recipe.
        seed: of order and augmentation.
        steps_of: number of samples -> number of the network's output steps; with None every text fits.
        on_device: leave all changes to the device that it can make (see `train.data.device_augmentation`): a batch then
            has the clips at their original speed, and the `speeds` to play them at.

    Attributes:
        unfit: number of examples that are left out.
        steps_per_pass: number of batches in a pass.
    """

    def __init__(
        self, data: SpeechData, batching: Batching, augmentation: Augmentation, seed=0,
        steps_of: Callable[[int], int] | None = None, on_device=False,
    ):  # fmt: skip
        self.data, self.batching, self.augmentation = data, batching, augmentation
        self.on_device, self._changes = on_device, host_part(augmentation) if on_device else augmentation
        self.seed, self.steps_of = seed, steps_of
        self.unfit = sum(self._bucket((example,), 1.0) is None for example in data.examples)
        self._plans: dict[int, list] = {}  # of the latest pass, and of the one before for threads that lag behind
        self.steps_per_pass = len(self._make_plan(0))

    def batch(self, step: int):
        """Batch number `step` of the run, counted from 0 over all passes.

        Returns:
            Inputs `{"samples": int16 [clips, n], "lengths": int32 [clips]}`, with `on_device` also `{"speeds": float32
            [clips]}`, and labels `{"labels": int32 [clips, characters], "label_lengths": int32 [clips], "phones": int32
            [clips, phones], "phone_lengths": int32 [clips]}`. The phone length of a clip is 0 where its phones are
            unknown or do not fit.
        """
        number, index = divmod(step, self.steps_per_pass)
        plan = self._plans.get(number)
        if plan is None:
            plan = self._make_plan(number)
            self._plans = {n: kept for n, kept in self._plans.items() if n == number - 1} | {number: plan}
        bucket, members = plan[index % len(plan)]
        return self._assemble(bucket, members, np.random.default_rng((self.seed, step, 1)))

    def _make_plan(self, number: int) -> list[tuple[float, list[tuple[Parts, float]]]]:
        """The batches of pass `number`: a list of (bucket, [(parts, speed), ...])."""
        rng = np.random.default_rng((self.seed, number, 0))
        clips = self._join_by_speaker([self.data.examples[i] for i in self._order(rng)], rng)
        speeds = self.augmentation.draw_speeds(len(clips), rng)
        buckets: dict[float, list] = {bucket: [] for bucket in self.batching.bucket_seconds}
        for parts, speed in zip(clips, speeds, strict=True):
            bucket = self._bucket(parts, speed)
            if bucket is None:  # slower it is too long for every bucket, or faster too short for its text
                bucket, speed = self._bucket(parts, 1.0), 1.0
            if bucket is not None:
                buckets[bucket].append((parts, speed))
            elif len(parts) > 1:  # together they are too long, or have too many characters
                for example in parts:
                    if (bucket := self._bucket((example,), 1.0)) is not None:
                        buckets[bucket].append(((example,), 1.0))
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

    def _join_by_speaker(self, examples: list[Example], rng) -> list[Parts]:
        """Draws `Batching.join` of the examples and chains those of one speaker; the others stay single."""
        if not self.batching.join:
            return [(example,) for example in examples]
        chosen = rng.random(len(examples)) < self.batching.join
        single = [(example,) for example, joins in zip(examples, chosen, strict=True) if not joins]
        speakers: dict[tuple[str, str], list[Example]] = {}
        for example in (example for example, joins in zip(examples, chosen, strict=True) if joins):
            clip = self.data.clips[example.number]
            speakers.setdefault((clip.corpus, clip.speaker), []).append(example)
        chains = []
        for of_speaker in speakers.values():
            seconds_left = 0.0
            for example in of_speaker:
                if example.seconds > seconds_left:
                    chains.append(())
                    seconds_left = rng.choice(self.batching.join_seconds)
                chains[-1] += (example,)
                seconds_left -= example.seconds
        clips = single + chains
        return [clips[i] for i in rng.permutation(len(clips))]

    def _order(self, rng) -> np.ndarray:
        """Indices of the examples of a pass in random order: int [repeats * examples]; none again before all others."""
        total = len(self.data.examples) * self.batching.repeats
        return _shuffled(np.arange(len(self.data.examples)), total, rng)

    def _bucket(self, parts: Parts, speed: float) -> float | None:
        """The shortest bucket for a clip of these parts at this speed, or None."""
        seconds = sum(example.seconds for example in parts) / speed
        if not self._text_fits(parts, int(seconds * self.data.sample_rate)):
            return None
        characters = sum(len(example.labels) for example in parts) + len(parts) - 1
        for bucket in self.batching.bucket_seconds:
            if seconds <= bucket and characters <= self.batching.characters(bucket):
                return bucket
        return None

    def _assemble(self, bucket, members, rng):
        """Augments the members [(parts, speed), ...] and pads them to the bucket."""
        rate = self.data.sample_rate
        size = int(bucket * rate)
        if self.on_device:
            size = raw_size(size // 2 * 2, self.augmentation)
        samples = np.zeros((len(members), size), np.int16)
        speeds = np.array([speed for _, speed in members], np.float32)
        lengths = np.zeros(len(members), np.int32)
        labels = np.zeros((len(members), self.batching.characters(bucket)), np.int32)
        label_lengths = np.zeros_like(lengths)
        phones = np.zeros((len(members), int(MAX_PHONES_PER_CHARACTER * labels.shape[1])), np.int32)
        phone_lengths = np.zeros_like(lengths)
        for row, (parts, speed) in enumerate(members):
            clip_labels, clip_phones = self._labels(parts)
            clip = self._samples(parts, speed)
            clip = clip if self.on_device else change_speed(clip, speed)
            clip = self._changes(clip, rate, rng, babble=lambda: self._babble(rng))[:size]
            samples[row, : len(clip)], lengths[row] = clip, len(clip)
            labels[row, : len(clip_labels)], label_lengths[row] = clip_labels, len(clip_labels)
            played = int(len(clip) / speed) if self.on_device else len(clip)
            if self._phones_fit(clip_phones, played, phones.shape[1]):
                phones[row, : len(clip_phones)], phone_lengths[row] = clip_phones, len(clip_phones)
        return (
            {"samples": samples, "lengths": lengths} | ({"speeds": speeds} if self.on_device else {}),
            {"labels": labels, "label_lengths": label_lengths, "phones": phones, "phone_lengths": phone_lengths},
        )

    def _labels(self, parts: Parts) -> tuple[np.ndarray, np.ndarray]:
        """Labels and phones of concatenated parts; no phones if those of any part are unknown."""
        if len(parts) == 1:
            return parts[0].labels, parts[0].phones
        space = np.array(self.data.vocabulary.encode(self.data.vocabulary.separator), np.int32)
        text = np.concatenate([piece for example in parts for piece in (example.labels, space)][:-1])
        known = all(len(example.phones) for example in parts)
        return text, np.concatenate([example.phones for example in parts if known] or [parts[0].phones[:0]])

    def _phones_fit(self, phones, samples: int, max_phones: int) -> bool:
        """Whether the phones can be aligned with the steps of the phone head, which may have half the output steps."""
        if len(phones) > max_phones or self.steps_of is None:
            return False
        return feasible(phones.tolist(), self.steps_of(samples) // 2)

    def _samples(self, parts: Parts, speed) -> np.ndarray:
        """Concatenated samples, trimmed of digital silence unless the text needs the steps of that silence."""
        whole = np.concatenate([self.data.cache[example.number] for example in parts])
        trimmed = trim_silence(whole, self.data.sample_rate)
        return trimmed if self._text_fits(parts, int(len(trimmed) / speed)) else whole

    def _text_fits(self, parts: Parts, samples: int) -> bool:
        """Whether the network makes enough steps of so many samples for the text, with a space between parts."""
        steps = sum(example.steps_needed for example in parts) + len(parts) - 1
        return not self.steps_of or steps <= self.steps_of(samples)

    def _babble(self, rng) -> np.ndarray:
        """The samples of a random clip."""
        return self.data.cache[self.data.examples[rng.integers(len(self.data.examples))].number]


def _shuffled(indices: np.ndarray, count: int, rng) -> np.ndarray:
    """`count` of the indices in random order; none is drawn again before all others have been."""
    rounds = max(1, -(-count // len(indices)))
    return np.concatenate([rng.permutation(indices) for _ in range(rounds)])[:count]


def trim_silence(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """int16 [n] without the digital silence at both ends, as at inference; unchanged where all of it is silence.

    Features are normalised over a clip. With the silence they would differ from those of the same clip at inference.
    """
    part = samples[audible_part(full_scale(samples), sample_rate)]
    return part if len(part) else samples


def evaluation_batches(data: SpeechData, batching: Batching):
    """Yields every example once, trimmed as at inference, shortest first: ({"samples", "lengths"}, [example, ...]).

    The last batch of a bucket is filled up with silent rows, so that all batches of a bucket have one shape. The rows
    of the listed examples come first, and only they count.
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
                clip = trim_silence(data.cache[example.number], rate)[: samples.shape[1]]
                samples[row, : len(clip)], lengths[row] = clip, len(clip)
            yield {"samples": samples, "lengths": lengths}, batch
