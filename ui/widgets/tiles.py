"""Tiles of the timeline: a time window of a clip, reduced to as many columns as the screen has.

The cost of a tile depends on the number of its columns, and hardly on its duration: an hour is drawn as fast as ten
seconds. Peaks come from precomputed blocks, the spectrogram from a few frames per column, and the emissions from the
likeliest tokens of each group of steps.
"""

import base64
import functools

import numpy as np

from asr_core.audio.levels import INT16_MAX, full_scale
from ui.service.clip import PEAK_BLOCK_SAMPLES, Clip, ClipAudio

MAX_COLUMNS = 2400  # a wide screen; bounds the cost of a request
MAX_STEPS = 1200  # columns of emissions; if there are more steps, neighbouring ones are merged
MAX_WORDS = 400  # more labels could not be read
TOP_TOKENS = 5  # tokens of each step that are sent, besides the blank
FRAMES_PER_COLUMN = 4  # spectra averaged where a column spans more than one

FFT_SAMPLES_AT_16K = 512  # 32 ms: shows the harmonics of a voice as well as its syllables
SPECTROGRAM_BANDS = 96  # on the mel scale
MIN_HZ = 40.0  # centre of the lowest band
LEVEL_RANGE_DB = (-100.0, -10.0)  # levels that are sent as 0..255; 0 dB is a full-scale sine


def tile(clip: Clip, start: float, end: float, columns: int) -> dict:
    """All data to draw [start, end] seconds of a clip in about `columns` columns, as JSON with base64 arrays.

    peaks: int8 [columns, 2]; spectrogram: uint8 [columns, bands], time-major; emissions: see `_emissions`;
    words: [start, end, text, confidence] of each, or none if there are more than MAX_WORDS; compared: emissions and
    words of the model that the clip is compared with, or None.
    """
    start = float(np.clip(start, 0, clip.seconds))
    end = float(np.clip(end, start + 1e-3, max(clip.seconds, start + 1e-3)))
    columns = int(np.clip(columns, 16, MAX_COLUMNS))
    spectrogram = _spectrogram(clip.audio, start, end, columns)
    return {
        "start": start,
        "end": end,
        "columns": columns,
        "peaks": _base64(_peaks(clip.audio, start, end, columns)),
        "spectrogram": _base64(spectrogram),
        "spectrogram_columns": len(spectrogram),
        "bands": SPECTROGRAM_BANDS,
        **_recognised(clip, start, end),
        "compared": clip.compared and _recognised(clip.compared, start, end),
    }


def _recognised(clip: Clip, start: float, end: float) -> dict:
    """The part of a tile that depends on the model."""
    words = [word for word in clip.transcript.words if word.end > start and word.start < end]
    return {
        "emissions": _emissions(clip.emissions, start, end),
        "words": [[round(w.start, 3), round(w.end, 3), w.text, round(w.confidence, 3)] for w in words]
        if len(words) <= MAX_WORDS
        else [],
        "word_count": len(words),
    }


def band_hz(sample_rate: int) -> np.ndarray:
    """float [bands], centre frequency of each row of the spectrogram, on the mel scale (O'Shaughnessy, 1987)."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (MIN_HZ, sample_rate / 2))
    return 700 * (10 ** (np.linspace(low, high, SPECTROGRAM_BANDS) / 2595) - 1)


def band_levels(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """float [frames, bands] in dB, of windows [frames, samples] scaled to [-1, 1]."""
    window = np.hanning(samples.shape[-1])
    spectra = np.fft.rfft(samples * window, axis=-1)
    power = (np.abs(spectra) / (window.sum() / 2)) ** 2
    return 10 * np.log10(power @ _bands(samples.shape[-1], sample_rate) + 1e-12)


@functools.cache
def _bands(fft_samples: int, sample_rate: int) -> np.ndarray:
    """float [bins, bands]: triangles around each centre, at least one bin wide so that no row is empty."""
    bins = np.arange(fft_samples // 2 + 1) * sample_rate / fft_samples
    centres = band_hz(sample_rate)
    half_width = np.maximum(np.gradient(centres), sample_rate / fft_samples)
    weights = np.maximum(0, 1 - np.abs(bins[:, None] - centres) / half_width)
    return weights / weights.sum(axis=0)


def fft_samples(sample_rate: int) -> int:
    return round(FFT_SAMPLES_AT_16K * sample_rate / 16000 / 2) * 2


def _peaks(audio: ClipAudio, start: float, end: float, columns: int) -> np.ndarray:
    """int8 [columns, 2]: lowest and highest sample of each column."""
    first, last = start * audio.sample_rate, end * audio.sample_rate
    if (last - first) / columns >= 2 * PEAK_BLOCK_SAMPLES:
        low, high = audio.block_peaks[:, 0], audio.block_peaks[:, 1]
        first, last = first / PEAK_BLOCK_SAMPLES, last / PEAK_BLOCK_SAMPLES
    else:
        low = high = audio.samples
    edges = np.linspace(first, last, columns + 1).astype(int).clip(0, max(len(low) - 1, 0))
    piece_low, piece_high = low[edges[0] : edges[-1] + 1], high[edges[0] : edges[-1] + 1]
    if not len(piece_low):
        return np.zeros((columns, 2), np.int8)
    offsets = edges[:-1] - edges[0]
    peaks = np.stack([np.minimum.reduceat(piece_low, offsets), np.maximum.reduceat(piece_high, offsets)], axis=1)
    return np.clip(np.round(peaks / INT16_MAX * 127), -127, 127).astype(np.int8)


def _spectrogram(audio: ClipAudio, start: float, end: float, columns: int) -> np.ndarray:
    """uint8 [columns, bands], LEVEL_RANGE_DB scaled to 0..255. There are fewer columns if the hop were under 4 ms."""
    size = fft_samples(audio.sample_rate)
    columns = max(2, min(columns, int((end - start) / 0.004)))
    per_column = int(np.clip((end - start) / columns / (size / audio.sample_rate), 1, FRAMES_PER_COLUMN))
    times = start + (np.arange(columns * per_column) + 0.5) * (end - start) / (columns * per_column)
    firsts = (times * audio.sample_rate).astype(int) - size // 2
    samples = audio.samples[np.clip(firsts[:, None] + np.arange(size), 0, len(audio.samples) - 1)]
    levels = band_levels(full_scale(samples), audio.sample_rate)
    levels = levels.reshape(columns, per_column, -1).mean(axis=1)
    low, high = LEVEL_RANGE_DB
    return np.clip((levels - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def _emissions(emissions, start: float, end: float) -> dict:
    """The likeliest tokens of each step of the window, besides the blank; more than MAX_STEPS are merged in groups.

    tokens: uint16 [count, TOP_TOKENS]; probabilities: uint8 [count, TOP_TOKENS], 255 is 1; blank: uint8 [count].
    """
    step = emissions.step_seconds
    steps = len(emissions.log_probs)
    first = int(np.clip((start - emissions.start) / step + 1e-6, 0, steps))
    last = int(np.clip(np.ceil((end - emissions.start) / step), first, steps))
    group = max(1, -(-(last - first) // MAX_STEPS))
    probabilities = np.exp(emissions.log_probs[first:last])
    if group > 1:
        probabilities = np.pad(probabilities, ((0, -len(probabilities) % group), (0, 0)))
        probabilities = probabilities.reshape(-1, group, probabilities.shape[-1]).max(axis=1)
    kept = min(TOP_TOKENS, probabilities.shape[-1] - 1)
    top = 1 + np.argsort(-probabilities[:, 1:], axis=1)[:, :kept]
    return {
        "start": emissions.start + first * step,
        "step_seconds": step * group,
        "count": len(probabilities),
        "kept": kept,
        "tokens": _base64(top.astype("<u2")),
        "probabilities": _base64(_byte(np.take_along_axis(probabilities, top, axis=1))),
        "blank": _base64(_byte(probabilities[:, 0])),
    }


def _byte(probabilities: np.ndarray) -> np.ndarray:
    return np.clip(np.round(probabilities * 255), 0, 255).astype(np.uint8)


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
