"""Dereverberation: takes the late reverberation of a room out of a recording.

A room reverberates for tenths of a second, at all frequencies. Weighted prediction error (WPE; Nakatani et al.,
2010, "Speech dereverberation based on variance-normalized delayed linear prediction", IEEE Transactions on Audio,
Speech, and Language Processing 18 (7)) predicts each frame of the spectrum from earlier ones and subtracts the
prediction. The prediction delay is one frame, 16 ms, and neighbouring frames overlap by half. Speech changes too
quickly to be predicted much from such frames, but sustained tones are taken for reverberation. A recording from which
the prediction would take little is dry, and is left as it is.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from asr_core.blas import one_thread

FRAME_SECONDS = 0.032  # of the spectra; frames overlap by half
TAPS = 10  # earlier frames that predict one: 0.16 s of reverberation
FRAMES_PER_TAP = 6  # at least: from fewer frames the coefficients would fit the speech itself
ITERATIONS = 2  # of estimating the power of the speech and the coefficients in turn
POWER_FLOOR = 1e-3  # of the power of speech in a frame, relative to its mean over time
LOADING = 1e-4  # added to the diagonals of the correlations, relative to their mean
BINS_AT_ONCE = 16  # whose frames are in memory at the same time: few fit into the processor's cache
LOW_HERTZ = 2000.0  # below it lies most of the power of speech, by which dry recordings are recognised
DRY_SHARE = 0.03  # of that power; a recording with less late reverberation is dry
TINY = 1e-10  # keeps digital silence from divisions by zero


def dereverberated(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The recording without the late reverberation of its room.

    Args:
        samples: float32 [n], mono; some seconds from one place; up to 0.06 s are returned as they are.
        sample_rate: Hz.

    Returns:
        float32 [n]: `samples` themselves if the recording is dry.
    """
    hop = round(FRAME_SECONDS * sample_rate / 2)
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)).astype(np.float32)
    padded = np.pad(samples, (hop, hop + -len(samples) % hop))
    frames = sliding_window_view(padded, 2 * hop)[::hop]
    taps = min(TAPS, len(frames) // FRAMES_PER_TAP)
    if not taps:
        return samples
    spectrum = np.ascontiguousarray(np.fft.rfft(frames * window).T)
    low = round(LOW_HERTZ * FRAME_SECONDS)  # number of bins, of which there is one for each 1 / FRAME_SECONDS
    with one_thread():
        late = _late_reverberation(spectrum[:low], taps)
        if _power(late).sum() < DRY_SHARE * _power(spectrum[:low]).sum():
            return samples
        late = np.concatenate([late, _late_reverberation(spectrum[low:], taps)])
    frames = np.fft.irfft((spectrum - late).T, 2 * hop) * window
    return (frames[:-1, hop:] + frames[1:, :hop]).reshape(-1)[: len(samples)].astype(np.float32, copy=False)


def _late_reverberation(spectrum: np.ndarray, taps: int) -> np.ndarray:
    """What `taps` earlier frames predict of each frame: complex64 [bins, frames], as `spectrum`."""
    groups = range(0, len(spectrum), BINS_AT_ONCE)
    return np.concatenate([_predicted(spectrum[start : start + BINS_AT_ONCE], taps) for start in groups])


def _predicted(spectrum: np.ndarray, taps: int) -> np.ndarray:
    """`_late_reverberation` of few bins."""
    frames = spectrum.shape[1]
    padded = np.pad(spectrum, ((0, 0), (taps, 0)))
    earlier = np.stack([padded[:, taps - lag : taps - lag + frames] for lag in range(1, taps + 1)], axis=1)
    both = np.concatenate([earlier, spectrum[:, None]], axis=1)  # [bins, taps + 1, frames]
    floor = POWER_FLOOR * _power(spectrum).mean(axis=1, keepdims=True) + TINY
    late = np.zeros_like(spectrum)
    for _ in range(ITERATIONS):
        weights = 1 / np.maximum(_power(spectrum - late), floor)
        products = (earlier.conj() * weights[:, None]) @ both.transpose(0, 2, 1)  # [bins, taps, taps + 1]
        autocorrelation, cross_correlation = products[..., :taps], products[..., taps:]
        loading = LOADING * np.trace(autocorrelation, axis1=1, axis2=2).real / taps + TINY
        autocorrelation = autocorrelation + loading[:, None, None] * np.eye(taps, dtype=np.float32)
        late = (np.linalg.solve(autocorrelation, cross_correlation).transpose(0, 2, 1) @ earlier)[:, 0]
    return late


def _power(spectrum: np.ndarray) -> np.ndarray:
    return spectrum.real**2 + spectrum.imag**2
