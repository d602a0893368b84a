"""The first step of the path: any recording, in a file or in memory, to mono float32 at a model's rate.

Everything is streamed: a few seconds at a time are decoded, mixed to one channel, checked, resampled and
passed on, so that memory follows the sound that is really there, never what a header claims.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from asr_core.errors import AudioError
from asr_core.sound_files import DECODED_VALUES, decoded, opened

MIN_SECONDS = 0.1  # shorter than any word, and than what the networks need for a handful of steps
RATES = (2_000, 768_000)  # Hz; outside, the header is wrong, or a second would blow up to minutes of samples
FULL_SCALE_LIMIT = 16.0  # float samples beyond this are integers in disguise; full scale is 1.0
MAX_CHANNELS = 64
BLOCK_SECONDS = 30.0


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording as the recogniser takes it.

    Attributes:
        samples: float32 [n], mono, in [-1, 1].
        sample_rate: Hz.
        notes: sentences for people about what is wrong with the recording or was left out of it.
    """

    samples: np.ndarray
    sample_rate: int
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise TypeError(f"Expected float32 [n], got {self.samples.dtype} {list(self.samples.shape)}.")
        if self.sample_rate <= 0:
            raise ValueError(f"Expected a positive sample rate, got {self.sample_rate}.")

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


def load_audio(
    source: str | os.PathLike | bytes | BinaryIO,
    sample_rate: int,
    *,
    max_seconds: float | None = None,
    name: str | None = None,
) -> Audio:
    """Decode a whole recording.

    A damaged or truncated recording gives the part that can be decoded, as long as that lasts MIN_SECONDS,
    and a note that it is damaged or cut off.

    Args:
        source: a path, the bytes of a file, or a binary file (read from its start; it may be a pipe).
        sample_rate: Hz wanted.
        max_seconds: longer recordings are refused, while decoding; None for no limit.
        name: what messages call the recording; by default the file's own name.

    Raises:
        AudioError: nothing readable, no sound in it, too short, too long, or not numbers.
    """
    recording, notes = _Recording(sample_rate), []
    for block in audio_blocks(source, sample_rate, max_seconds=max_seconds, name=name, notes=notes):
        recording.append(block)
    return recording.finish(notes)


def audio_from_array(
    samples: np.ndarray, source_rate: int, sample_rate: int, *, name: str | None = None
) -> Audio:
    """Convert samples in memory, as Gradio hands them over.

    Args:
        samples: [n] or [n, channels]; int8, uint8, int16, int32 over their full range, or floats in [-1, 1].
        source_rate: Hz of `samples`.
        sample_rate: Hz wanted.
        name: what messages call the recording.

    Raises:
        AudioError: as for load_audio.
        TypeError, ValueError: samples of another type or shape.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
        raise ValueError(f"Expected samples [n] or [n, channels], got shape {list(samples.shape)}.")
    step = DECODED_VALUES // (samples.shape[1] if samples.ndim == 2 else 1)
    decoded = ((source_rate, samples[start : start + step]) for start in range(0, len(samples), step))
    recording = _Recording(sample_rate)
    for block in _finished(decoded, sample_rate, None, name or "The recording"):
        recording.append(block)
    return recording.finish()


def audio_blocks(
    source: str | os.PathLike | bytes | BinaryIO,
    sample_rate: int,
    *,
    block_seconds: float = BLOCK_SECONDS,
    max_seconds: float | None = None,
    name: str | None = None,
    notes: list[str] | None = None,
) -> Iterator[np.ndarray]:
    """Decode a recording of any length piece by piece. Arguments as for load_audio.

    Args:
        notes: gets the sentences of `Audio.notes`, those about the whole recording after the last block.

    Yields:
        float32 [block_seconds * sample_rate], mono, in [-1, 1]; the last block may be shorter.

    Raises:
        AudioError: as for load_audio; what concerns the length is only known at the end.
    """
    with opened(source, name) as (file, shown):
        size = max(1, round(block_seconds * sample_rate))
        parts = decoded(file, shown, [] if notes is None else notes)
        yield from _regrouped(_finished(parts, sample_rate, max_seconds, shown), size)


class _Recording:
    """Samples that grow in place, so that an hour needs little more than its own 230 MB (at 16 kHz)."""

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate
        self.length = 0
        self.samples = np.empty(0, np.float32)

    def append(self, block: np.ndarray) -> None:
        needed = self.length + len(block)
        if needed > len(self.samples):
            spare = max(self.length // 8, self.sample_rate)
            self.samples.resize(needed + spare, refcheck=False)  # realloc: large ones move without a copy
        self.samples[self.length : needed] = block
        self.length = needed

    def finish(self, notes: Iterable[str] = ()) -> Audio:
        self.samples.resize(self.length, refcheck=False)
        return Audio(self.samples, self.sample_rate, tuple(notes))


def _finished(
    decoded: Iterator[tuple[int, np.ndarray]], sample_rate: int, max_seconds: float | None, shown: str
) -> Iterator[np.ndarray]:
    """Mono float32 at the rate wanted; everything that is wrong with the sound itself is found here."""
    resampler, seconds = None, 0.0
    for rate, samples in decoded:
        if not RATES[0] <= rate <= RATES[1]:
            limits = f"{RATES[0]:,} to {RATES[1]:,} can be read: convert it first"
            raise AudioError(f"{shown} claims {rate:,} samples a second; {limits}.")
        seconds += len(samples) / rate
        if max_seconds is not None and seconds > max_seconds:
            limit = f"{max_seconds / 60:g} minutes" if max_seconds >= 120 else f"{max_seconds:g} s"
            raise AudioError(f"{shown} is longer than the limit of {limit}: cut it into shorter parts.")
        if resampler is not None and resampler.rate != rate:
            yield resampler.last()
            resampler = None
        resampler = resampler or Resampler(rate, sample_rate)
        yield resampler(to_mono(samples, shown))
    if seconds < MIN_SECONDS:
        held = f"lasts only {seconds:.3g} s" if seconds else "holds no sound that can be decoded (0 s)"
        raise AudioError(f"{shown} {held}; at least {MIN_SECONDS} s are needed: record it again.")
    yield resampler.last()


INTEGER_SCALE = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "int32": 2**31}


def to_mono(samples: np.ndarray, shown: str) -> np.ndarray:
    """[n] or [n, channels] of any sample type -> float32 [n], channels averaged."""
    kind = samples.dtype.name
    if kind not in INTEGER_SCALE and samples.dtype.kind != "f":
        raise TypeError(f"Expected samples of {', '.join(INTEGER_SCALE)} or float, got {kind}.")
    with np.errstate(over="ignore", invalid="ignore"):
        mono = samples.astype(np.float32)
        if mono.ndim == 2:
            mono = mono[:, 0] if mono.shape[1] == 1 else mono.mean(axis=1, dtype=np.float32)
    if kind in INTEGER_SCALE:
        return (mono - 128 if kind == "uint8" else mono) / np.float32(INTEGER_SCALE[kind])
    peak = np.abs(mono).max(initial=0)
    if not np.isfinite(peak):
        raise AudioError(f"{shown} holds samples that are not numbers (NaN or infinity): export it again.")
    if peak > FULL_SCALE_LIMIT:
        raise AudioError(f"{shown} holds samples up to {peak:.4g}; full scale is 1: scale it to -1 ... 1.")
    return mono


class Resampler:
    """A stretch of one rate to the rate wanted, in [-1, 1]."""

    def __init__(self, rate: int, sample_rate: int):
        import soxr

        self.rate = rate
        self._stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32")

    def __call__(self, mono: np.ndarray, last: bool = False) -> np.ndarray:
        if self._stream is not None:
            mono = self._stream.resample_chunk(np.ascontiguousarray(mono), last=last)
        return np.clip(mono, -1.0, 1.0)

    def last(self) -> np.ndarray:
        return self(np.empty(0, np.float32), last=True)


def _regrouped(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of one size; the last one as long as it is."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        while count + len(block) >= size:
            held.append(block[: size - count])
            block = block[size - count :]
            yield np.concatenate(held)
            held, count = [], 0
        if len(block):
            held.append(block)
            count += len(block)
    if held:
        yield np.concatenate(held)
