"""Loads any recording, from a file or an array, as mono float32 samples at a model's sample rate.

A few seconds at a time are decoded, checked, mixed to one channel and resampled. Memory therefore grows with the
audio that is really there, never with what a header claims.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import BinaryIO

import numpy as np

from asr_core.audio.channels import Mixer, check_shape, folded
from asr_core.audio.ffmpeg import DECODED_VALUES
from asr_core.audio.files import decoded, opened
from asr_core.audio.levels import OVERSHOOT, Repair, clipped_share, full_scale, level_notes, remove_offset
from asr_core.audio.resampling import RATES, Resampler
from asr_core.audio.tracks import Tracks
from asr_core.errors import AudioError

MIN_SECONDS = 0.1  # of a recording: no word is shorter, and the networks need a few steps


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording in the form that the recogniser needs.

    Attributes:
        samples: float32 [n], mono, in [-1, 1], all of them numbers.
        sample_rate: Hz.
        notes: sentences for the user about faults of the recording and about what was left out.
        track: number of the file's audio track that was decoded, from 1.
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
        if not np.isfinite(self.samples.sum()):  # the sum, since a boolean for each sample takes memory
            raise ValueError("Samples that are not numbers: audio_from_array and load_audio repair them.")
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
    """Decodes a recording.

    Of a damaged or truncated file everything that can be decoded is returned, if it lasts MIN_SECONDS or more, with a
    note about the damage. Floats beyond full scale are scaled by their peak.

    Args:
        source: a path, the bytes of a file, or a binary file (read from its start; it may be a pipe).
        sample_rate: Hz wanted.
        max_seconds: longer recordings are refused, while decoding; None for no limit.
        name: what messages call the recording; by default the file's own name.
        track: which audio track, from 1; by default the file's own choice, or the first that is not silent.

    Raises:
        AudioError: the file cannot be read, holds no audio or no such track, is too short or too long, or most of its
            samples are not numbers.
        TypeError: the source is of another type, such as an array, or the track is not an integer.
    """
    if track is not None and not isinstance(track, Integral):
        raise TypeError(f"Expected the number of a track, such as 1, got {track!r}.")
    with opened(source, name) as (file, shown):
        tracks, notes = Tracks(track), []
        blocks = decoded(file, shown, notes, tracks)
        return _collected(blocks, sample_rate, max_seconds, shown, notes, tracks)


def audio_from_array(samples: np.ndarray, source_rate: int, sample_rate: int) -> Audio:
    """Converts samples in memory, such as those of a microphone.

    Args:
        samples: [n] or [n, channels]; int8, uint8, int16, int32 over their full range, or floats in [-1, 1].
        source_rate: Hz of `samples`.
        sample_rate: Hz wanted.

    Raises:
        AudioError: as for load_audio.
        TypeError, ValueError: the samples have another type or shape.
    """
    samples = np.asarray(samples)
    check_shape(samples)
    size = DECODED_VALUES // (samples.shape[1] if samples.ndim == 2 else 1)
    blocks = ((source_rate, samples[start : start + size]) for start in range(0, len(samples), size))
    return _collected(blocks, sample_rate, None, "The recording", [], Tracks())


class _Recording:
    """An array of samples that grows in place, so that a long recording is in memory only once."""

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate
        self.length = 0
        self.samples = np.empty(0, np.float32)
        self.scaled: list[tuple[int, float]] = []  # (first sample, peak that it and later ones were divided by)

    def append(self, block: np.ndarray, peak: float) -> None:
        if peak != (self.scaled[-1][1] if self.scaled else 1.0):
            self.scaled.append((self.length, peak))
        needed = self.length + len(block)
        if needed > len(self.samples):
            spare = max(self.length // 8, self.sample_rate)
            self.samples.resize(needed + spare, refcheck=False)  # realloc moves large arrays without copying them
        self.samples[self.length : needed] = block
        self.length = needed

    def finish(self, notes: tuple[str, ...], tracks: Tracks) -> Audio:
        """The audio, scaled throughout by the peak of the whole recording."""
        self.samples.resize(self.length, refcheck=False)
        edges = [(0, 1.0), *self.scaled, (self.length, 1.0)]
        for (first, peak), (end, _) in pairwise(edges):
            if peak != edges[-2][1]:
                self.samples[first:end] *= np.float32(peak / edges[-2][1])
        return Audio(self.samples, self.sample_rate, notes, tracks.chosen, tracks.count)


def _collected(
    blocks: Iterator[tuple[int, np.ndarray]],
    sample_rate: int,
    max_seconds: float | None,
    shown: str,
    notes: list[str],
    tracks: Tracks,
) -> Audio:
    """The whole recording from its decoded blocks, (rate, samples), with all notes about it."""
    recording = _Recording(sample_rate)
    for block, peak in _converted(blocks, sample_rate, max_seconds, shown, notes):
        recording.append(block, peak)
    samples = recording.samples[: recording.length]
    clipped = clipped_share(samples)
    remove_offset(samples, sample_rate)
    notes += level_notes(samples, sample_rate, clipped, shown)
    del samples  # its array is resized
    return recording.finish(tuple(notes), tracks)


def _converted(
    blocks: Iterator[tuple[int, np.ndarray]],
    sample_rate: int,
    max_seconds: float | None,
    shown: str,
    notes: list[str],
) -> Iterator[tuple[np.ndarray, float]]:
    """Decoded blocks to mono float32 at `sample_rate`. Finds and notes everything that is wrong with the samples.

    Yields:
        Blocks of any length in [-1, 1], each with the peak that it was divided by, 1 within full scale.
    """
    converter, seconds, peak, repair = None, 0.0, 1.0, Repair()
    for rate, samples in blocks:
        if not RATES[0] <= rate <= RATES[1]:
            limits = f"{RATES[0]:,} to {RATES[1]:,} can be read: convert it first"
            raise AudioError(f"{shown} claims {rate:,} samples a second; {limits}.")
        seconds += len(samples) / rate
        if max_seconds is not None and seconds > max_seconds:
            limit = f"{max_seconds / 60:g} minutes" if max_seconds >= 120 else f"{max_seconds:g} s"
            raise AudioError(f"{shown} is longer than the limit of {limit}: cut it into shorter parts.")
        samples = full_scale(samples if samples.ndim == 2 else samples[:, None])
        samples = folded(repair(samples, rate))
        if converter is not None and (converter.rate, converter.channels) != (rate, samples.shape[1]):
            yield converter.last()
            peak, converter = converter.peak, None
        converter = converter or _Converter(rate, samples.shape[1], sample_rate, peak)
        yield converter(samples)
    if seconds < MIN_SECONDS:
        held = f"lasts {f'only {seconds:.3g}' if seconds >= 0.001 else 'less than 0.001'} s"
        held = held if seconds else "holds no audio that can be decoded (0 s)"
        raise AudioError(f"{shown} {held}; at least {MIN_SECONDS} s are needed: record it again.")
    notes += repair.finish(shown)
    yield converter.last()
    if converter.peak > 1:
        notes.append(f"{shown} reaches {converter.peak:,.4g} where full scale is 1: it was scaled down as a whole.")


class _Converter:
    """Mixes and resamples blocks of one rate and number of channels to mono at `sample_rate`.

    Attributes:
        peak: the highest peak so far that needs scaling; 1 within full scale.
    """

    def __init__(self, rate: int, channels: int, sample_rate: int, peak: float):
        self.rate, self.channels, self.peak = rate, channels, peak
        self._mixer = Mixer(rate, channels)
        self._resampler = Resampler(rate, sample_rate)

    def __call__(self, samples: np.ndarray, last: bool = False) -> tuple[np.ndarray, float]:
        """Converts float32 [n, channels] to float32 [m] in [-1, 1]; returns the peak that it was divided by, too."""
        mono = self._mixer(samples)
        if last:
            mono = np.concatenate([mono, self._mixer.last()])
        peak = float(np.abs(mono).max(initial=0))
        self.peak = max(self.peak, peak if peak > OVERSHOOT else 1.0)
        return self._resampler(mono, last, np.float32(self.peak)), self.peak

    def last(self) -> tuple[np.ndarray, float]:
        """What mixer and resampler still hold."""
        return self(np.empty((0, self.channels), np.float32), last=True)
