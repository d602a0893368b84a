"""16-bit WAV files for the page to play."""

import wave
from pathlib import Path

import numpy as np

from asr_core.audio.levels import to_int16


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
        pcm = to_int16(samples)
        self._file.writeframesraw(pcm.tobytes())
        return pcm

    def close(self) -> None:
        """Completes the header, without which the file cannot be read."""
        self._file.close()
