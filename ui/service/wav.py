"""16-bit WAV files for the page to play, and the conversion between their samples and floats."""

import wave
from pathlib import Path

import numpy as np

FULL_SCALE = 32767  # of a 16-bit sample


def to_pcm(samples: np.ndarray) -> np.ndarray:
    """int16 samples of float ones in [-1, 1]; what lies outside is clipped."""
    scaled = np.clip(samples, -1, 1)
    scaled *= FULL_SCALE
    return np.rint(scaled, out=scaled).astype("<i2")


def to_float(pcm: np.ndarray) -> np.ndarray:
    """float32 samples in [-1, 1] of int16 ones."""
    return pcm / np.float32(FULL_SCALE)


class WavWriter:
    """Writes a mono WAV file piece by piece.

    Uses `wave` and not soundfile, because it raises an OSError with its errno when the disk is full.
    """

    def __init__(self, path: Path, sample_rate: int):
        self._file = wave.open(str(path), "wb")
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(sample_rate)

    def write(self, samples: np.ndarray) -> np.ndarray:
        """Appends float32 [n]; returns the int16 samples that were written. Raises OSError."""
        pcm = to_pcm(samples)
        self._file.writeframesraw(pcm.tobytes())
        return pcm

    def close(self) -> None:
        """Completes the header, without which the file cannot be read."""
        self._file.close()
