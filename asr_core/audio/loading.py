"""The first step of the path: any recording, in a file or in memory, to mono float32 at a model's rate.

Everything is streamed: a few seconds at a time are decoded, checked, mixed to one channel, resampled and
passed on, so that memory follows the sound that is really there, never what a header claims.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from asr_core.audio.channels import Mixer, folded
from asr_core.audio.files import DECODED_VALUES, decoded, opened
from asr_core.audio.levels import OVERSHOOT, Repair, full_scale, level_notes
from asr_core.audio.resampling import RATES, Resampler
from asr_core.audio.tracks import Tracks
from asr_core.errors import AudioError

MIN_SECONDS = 0.1  # shorter than any word, and than what the networks need for a handful of steps
MAX_CHANNELS = 64
BLOCK_SECONDS = 30.0


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording as the recogniser takes it.

    Attributes:
        samples: float32 [n], mono, in [-1, 1].
        sample_rate: Hz.
        notes: sentences for people about what is wrong with the recording or was left out of it.
        track: which of the file's audio tracks it is, from 1.
        tracks: how many audio tracks the file has.
    """

    samples: np.ndarray
    sample_rate: int
    notes: tuple[str, ...] = ()
    track: int = 1
    tracks: int = 1

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
    track: int | None = None,
) -> Audio:
    """Decode a whole recording.

    A damaged or truncated recording gives the part that can be decoded, as long as that lasts MIN_SECONDS,
    and a note that it is damaged or cut off. Floats beyond full scale are scaled by their peak.

    Args:
        source: a path, the bytes of a file, or a binary file (read from its start; it may be a pipe).
        sample_rate: Hz wanted.
        max_seconds: longer recordings are refused, while decoding; None for no limit.
        name: what messages call the recording; by default the file's own name.
        track: which audio track, from 1; by default the file's own choice, or the first that is not silent.

    Raises:
        AudioError: nothing readable, no sound in it, too short, too long, not numbers, or no such track.
    """
    with opened(source, name) as (file, shown):
        tracks, notes = Tracks(track), []
        parts = decoded(file, shown, notes, tracks)
        return _collected(parts, sample_rate, max_seconds, shown, notes, tracks)


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
    return _collected(decoded, sample_rate, None, name or "The recording", [], Tracks())


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

    Floats beyond full scale are scaled by the highest peak so far, for nobody knows what follows.

    Yields:
        float32 [block_seconds * sample_rate], mono, in [-1, 1]; the last block may be shorter.

    Raises:
        AudioError: as for load_audio; what concerns the length is only known at the end.
    """
    with opened(source, name) as (file, shown):
        size = max(1, round(block_seconds * sample_rate))
        notes = [] if notes is None else notes
        finished = _finished(decoded(file, shown, notes), sample_rate, max_seconds, shown, notes)
        yield from _regrouped((block for block, _ in finished), size)


class _Recording:
    """Samples that grow in place, so that an hour needs little more than its own 230 MB (at 16 kHz)."""

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate
        self.length = 0
        self.samples = np.empty(0, np.float32)
        self.scaled: list[tuple[int, float]] = []  # (first sample, peak that it and those behind it were scaled by)

    def append(self, block: np.ndarray, peak: float) -> None:
        if peak != (self.scaled[-1][1] if self.scaled else 1.0):
            self.scaled.append((self.length, peak))
        needed = self.length + len(block)
        if needed > len(self.samples):
            spare = max(self.length // 8, self.sample_rate)
            self.samples.resize(needed + spare, refcheck=False)  # realloc: large ones move without a copy
        self.samples[self.length : needed] = block
        self.length = needed

    def finish(self, notes: tuple[str, ...], tracks: Tracks) -> Audio:
        self.samples.resize(self.length, refcheck=False)
        edges = [(0, 1.0), *self.scaled, (self.length, 1.0)]
        for (first, peak), (end, _) in pairwise(edges):
            if peak != edges[-2][1]:
                self.samples[first:end] *= np.float32(peak / edges[-2][1])
        return Audio(self.samples, self.sample_rate, notes, tracks.chosen, tracks.count)


def _collected(
    decoded: Iterator[tuple[int, np.ndarray]],
    sample_rate: int,
    max_seconds: float | None,
    shown: str,
    notes: list[str],
    tracks: Tracks,
) -> Audio:
    """The whole recording, with all that is to be noted about it."""
    recording = _Recording(sample_rate)
    for block, peak in _finished(decoded, sample_rate, max_seconds, shown, notes):
        recording.append(block, peak)
    notes += level_notes(recording.samples[: recording.length], sample_rate, shown)
    return recording.finish(tuple(notes), tracks)


def _finished(
    decoded: Iterator[tuple[int, np.ndarray]],
    sample_rate: int,
    max_seconds: float | None,
    shown: str,
    notes: list[str],
) -> Iterator[tuple[np.ndarray, float]]:
    """Mono float32 at the rate wanted; everything that is wrong with the samples themselves is found here.

    Yields:
        Blocks of any length in [-1, 1], and the peak that each of them was scaled by: 1 within full scale.
    """
    path, seconds, peak, repair = None, 0.0, 1.0, Repair()
    for rate, samples in decoded:
        if not RATES[0] <= rate <= RATES[1]:
            limits = f"{RATES[0]:,} to {RATES[1]:,} can be read: convert it first"
            raise AudioError(f"{shown} claims {rate:,} samples a second; {limits}.")
        seconds += len(samples) / rate
        if max_seconds is not None and seconds > max_seconds:
            limit = f"{max_seconds / 60:g} minutes" if max_seconds >= 120 else f"{max_seconds:g} s"
            raise AudioError(f"{shown} is longer than the limit of {limit}: cut it into shorter parts.")
        samples = full_scale(samples if samples.ndim == 2 else samples[:, None])
        samples = folded(repair(samples, rate))
        if path is not None and (path.rate, path.channels) != (rate, samples.shape[1]):
            yield path.last()
            peak, path = path.peak, None
        path = path or _Path(rate, samples.shape[1], sample_rate, peak)
        yield path(samples)
    if seconds < MIN_SECONDS:
        held = f"lasts only {seconds:.3g} s" if seconds else "holds no sound that can be decoded (0 s)"
        raise AudioError(f"{shown} {held}; at least {MIN_SECONDS} s are needed: record it again.")
    notes += repair.finish(shown)
    yield path.last()
    if path.peak > 1:
        notes.append(f"{shown} reaches {path.peak:,.4g} where full scale is 1: it was scaled down as a whole.")


class _Path:
    """From samples of one rate and so many channels to mono at the rate wanted.

    Attributes:
        peak: the highest so far that needs scaling; 1 within full scale.
    """

    def __init__(self, rate: int, channels: int, sample_rate: int, peak: float):
        self.rate, self.channels, self.peak = rate, channels, peak
        self._mixer = Mixer(rate, channels)
        self._resampler = Resampler(rate, sample_rate)

    def __call__(self, samples: np.ndarray, last: bool = False) -> tuple[np.ndarray, float]:
        """Takes float32 [n, channels]; returns float32 [m] within [-1, 1] and the peak that it was scaled by."""
        mono = self._mixer(samples)
        if last:
            mono = np.concatenate([mono, self._mixer.last()])
        peak = float(np.abs(mono).max(initial=0))
        self.peak = max(self.peak, peak if peak > OVERSHOOT else 1.0)
        return self._resampler(mono, last, np.float32(self.peak)), self.peak

    def last(self) -> tuple[np.ndarray, float]:
        return self(np.empty((0, self.channels), np.float32), last=True)


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
