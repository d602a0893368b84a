"""Manifests -> batches: decoded once into a cache, then cut into batches that depend on seed and step alone.

Batch number i of a run is the same whoever asks for it and whenever, which is what makes a run that was killed
go on as if nothing had happened.
"""

import copy
import hashlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from asr_core.audio import load_audio
from asr_core.ctc import feasible
from asr_core.errors import AudioError
from asr_core.vocabulary import Normaliser, Vocabulary
from train.augment import Augmentation, change_speed


@dataclass(frozen=True)
class Clip:
    """One line of a manifest. `audio` is a path, or `archive.tar#member`; `seconds` as the manifest says."""

    id: str
    audio: str
    seconds: float
    speaker: str
    text: str
    corpus: str = ""
    accent: str = ""


def read_manifest(path) -> list[Clip]:
    """The clips of a JSONL manifest, with `audio` resolved against the manifest's folder.

    Raises:
        ValueError: a line that is not a JSON object with the fields of a clip, by its number.
    """
    path = Path(path)
    clips = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            clips.append(
                Clip(
                    id=str(row["id"]),
                    audio=str((path.parent / row["audio"]).resolve()),
                    seconds=float(row["seconds"]),
                    speaker=str(row["speaker"]),
                    text=str(row["text"]),
                    corpus=str(row.get("corpus", path.stem)),
                    accent=str(row.get("accent", "")),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not a clip ({error!r})") from error
    return clips


def read_bytes(audio: str) -> bytes:
    """The encoded sound behind a clip's `audio`."""
    archive, _, member = audio.partition("#")
    if not member:
        return Path(archive).read_bytes()
    offset, size = _members(archive)[member]
    with open(archive, "rb") as file:
        file.seek(offset)
        return file.read(size)


_ARCHIVES: dict[str, dict[str, tuple[int, int]]] = {}


def _members(archive: str) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) of an uncompressed tar archive, read once a process."""
    if archive not in _ARCHIVES:
        with tarfile.open(archive) as tar:
            _ARCHIVES[archive] = {m.name: (m.offset_data, m.size) for m in tar if m.isfile()}
    return _ARCHIVES[archive]


class SoundCache:
    """Every clip decoded once, as int16 in one memory-mapped file.

    Args:
        clips: what to hold; a clip that cannot be decoded is left out and named in `failures`.
        folder: where the file lies; it is made when missing, and named after its content.
        sample_rate: Hz.
    """

    def __init__(self, clips: list[Clip], folder, sample_rate: int):
        identity = "\n".join(f"{clip.audio} {clip.seconds}" for clip in clips)
        digest = hashlib.sha256(f"{sample_rate}\n{identity}".encode()).hexdigest()[:16]
        base = Path(folder) / f"sound-{digest}"
        index = base.with_suffix(".json")
        if not index.exists():
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._fill(clips, base, index, sample_rate)
        content = json.loads(index.read_text())
        self.failures: dict[str, str] = content["failures"]
        self._offsets = content["offsets"]
        self._samples = np.memmap(base.with_suffix(".pcm"), np.int16, "r") if content["total"] else []

    @staticmethod
    def _fill(clips, base, index, sample_rate):
        offsets, failures, position = [], {}, 0
        partial = base.with_suffix(f".partial-{os.getpid()}")
        with open(partial, "wb") as file:
            for clip in tqdm(clips, desc="decoding", unit="clip"):
                try:
                    audio = load_audio(io.BytesIO(read_bytes(clip.audio)), sample_rate)
                    samples = np.round(np.clip(audio.samples, -1, 1) * 32767).astype(np.int16)
                except (AudioError, OSError, KeyError) as error:
                    failures[clip.id], samples = str(error), np.zeros(0, np.int16)
                file.write(samples.tobytes())
                offsets.append((position, len(samples)))
                position += len(samples)
        os.replace(partial, base.with_suffix(".pcm"))
        content = {"offsets": offsets, "failures": failures, "total": position}
        partial.write_text(json.dumps(content))
        os.replace(partial, index)

    def __getitem__(self, number: int) -> np.ndarray:
        """int16 samples of clip `number`, in the order of the clips given."""
        offset, length = self._offsets[number]
        return self._samples[offset : offset + length]

    def seconds(self, number: int, sample_rate: int) -> float:
        return self._offsets[number][1] / sample_rate


@dataclass(frozen=True)
class Example:
    """A clip made ready: its number in the cache, its tokens, its duration."""

    number: int
    labels: np.ndarray  # int32 [characters]
    seconds: float


class SpeechData:
    """Clips with their sound and labels, less those that cannot be trained on.

    Attributes:
        clips, sound: all clips of the manifests, and their samples.
        examples: those that remain.
        dropped: how many were left out, by reason.
        changes: what the normaliser changed, by kind.
    """

    def __init__(
        self, clips: list[Clip], cache_folder, vocabulary: Vocabulary, sample_rate: int,
        min_seconds=0.3, max_seconds=16.0, max_characters_second=24.0,
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
                else "too long" if seconds > max_seconds
                else "more text than its sound can hold" if len(text) > max_characters_second * seconds
                else ""
            )  # fmt: skip
            if reason:
                self.dropped[reason] += 1
            else:
                labels = np.array(vocabulary.encode(text), np.int32)
                self.examples.append(Example(number, labels, seconds))
        self.changes = normalise.changes

    def part(self, wanted: Callable[[Example], bool]) -> "SpeechData":
        """The same data with some of its examples only."""
        other = copy.copy(self)
        other.examples = [example for example in self.examples if wanted(example)]
        return other

    @property
    def hours(self) -> float:
        return sum(example.seconds for example in self.examples) / 3600


@dataclass(frozen=True)
class Batching:
    """How clips become batches.

    Attributes:
        bucket_seconds: lengths to which clips are padded; one compiled step exists for each.
        batch_seconds: sound in a batch, padding included.
        batch_clips: clips in a batch, whatever their length; None goes by `batch_seconds`.
        multiple_of: of which the number of clips is a multiple (the devices that share a batch).
        repeats: how often a pass sees every clip; more than once where there are only a few.
        characters_second: room for labels; a clip with more goes to a longer bucket.
        short_first_passes: over so many passes short clips come first.
    """

    bucket_seconds: tuple[float, ...] = (3.0, 4.0, 5.2, 7.0, 10.5, 16.0)
    batch_seconds: float = 96.0
    batch_clips: int | None = None
    multiple_of: int = 1
    repeats: int = 1
    characters_second: float = 20.0
    short_first_passes: int = 1

    def clips(self, bucket: float) -> int:
        clips = self.batch_clips or int(self.batch_seconds / bucket)
        return max(1, clips // self.multiple_of) * self.multiple_of

    def characters(self, bucket: float) -> int:
        return int(bucket * self.characters_second)


class TrainingBatches(keras.utils.PyDataset):
    """Augmented batches; one pass sees every example.

    `steps_of(samples)` is the number of steps that the network makes of so many samples. A clip whose text does
    not fit into its steps (`asr_core.ctc.feasible`) would poison the loss: it keeps its own speed where a faster
    one would leave too few, and never comes where that does not help either (`unfit` counts those).

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
        self.unfit = sum(self._bucket(example, 1.0) is None for example in data.examples)
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

    def _make_plan(self, number: int) -> list[tuple[float, list[tuple[Example, float]]]]:
        """Pass `number` as a list of (bucket, [(example, speed), ...])."""
        rng = np.random.default_rng((self.seed, number, 0))
        examples = self.data.examples
        order = np.concatenate([rng.permutation(len(examples)) for _ in range(self.batching.repeats)])
        speeds = self.augmentation.draw_speeds(len(order), rng)
        buckets: dict[float, list] = {bucket: [] for bucket in self.batching.bucket_seconds}
        for number_of, speed in zip(order, speeds, strict=True):
            example = examples[number_of]
            bucket = self._bucket(example, speed)
            if bucket is None:  # too long for any bucket when slower, or too short for its text when faster
                bucket, speed = self._bucket(example, 1.0), 1.0
            if bucket is not None:
                buckets[bucket].append((example, speed))
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

    def _bucket(self, example: Example, speed: float):
        samples = int(example.seconds / speed * self.data.sample_rate)
        if self.steps_of and not feasible(example.labels.tolist(), self.steps_of(samples)):
            return None
        for bucket in self.batching.bucket_seconds:
            if example.seconds / speed <= bucket and len(example.labels) <= self.batching.characters(bucket):
                return bucket
        return None

    def _assemble(self, bucket, members, rng):
        rate = self.data.sample_rate
        size = int(bucket * rate)
        samples = np.zeros((len(members), size), np.int16)
        lengths = np.zeros(len(members), np.int32)
        labels = np.zeros((len(members), self.batching.characters(bucket)), np.int32)
        label_lengths = np.array([len(example.labels) for example, _ in members], np.int32)
        for row, (example, speed) in enumerate(members):
            sound = change_speed(self.data.sound[example.number], speed)
            sound = self.augmentation(sound, rate, rng, babble=lambda: self._other_voice(rng))[:size]
            samples[row, : len(sound)], lengths[row] = sound, len(sound)
            labels[row, : len(example.labels)] = example.labels
        return (
            {"samples": samples, "lengths": lengths},
            {"labels": labels, "label_lengths": label_lengths},
        )

    def _other_voice(self, rng) -> np.ndarray:
        return self.data.sound[self.data.examples[rng.integers(len(self.data.examples))].number]


def evaluation_batches(data: SpeechData, batching: Batching):
    """Every example once, unchanged, shortest first: yields ({"samples", "lengths"}, [example, ...]).

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
                sound = data.sound[example.number][: samples.shape[1]]
                samples[row, : len(sound)], lengths[row] = sound, len(sound)
            yield {"samples": samples, "lengths": lengths}, batch
