"""Mono samples of one rate to another, chunk by chunk, as files and microphones deliver them."""

from collections.abc import Iterator

import numpy as np

from asr_core.audio.channels import to_mono
from asr_core.errors import AudioError

RATES = (2_000, 768_000)  # Hz; outside, the header is wrong, or a second would blow up to minutes of samples


class Resampler:
    """A stretch of one rate to the rate wanted, in [-1, 1]."""

    def __init__(self, rate: int, sample_rate: int):
        import soxr

        self.rate = rate
        self._stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32")

    def __call__(self, mono: np.ndarray, last: bool = False, peak: float = 1.0) -> np.ndarray:
        """Takes float32 [n]; returns float32 [m] in [-1, 1], divided by the peak."""
        if self._stream is not None:
            mono = self._stream.resample_chunk(np.ascontiguousarray(mono), last=last)
        return np.clip(mono if peak == 1 else mono / peak, -1.0, 1.0)

    def last(self) -> np.ndarray:
        return self(np.empty(0, np.float32), last=True)


class ChunkResampler:
    """Chunks of any rate and type to mono float32 at one rate, in pieces of some seconds at most.

    Call it with samples and rate as for `Stream.feed`; it raises the same. `last` empties the resampler.
    """

    PIECE = 480_000  # source samples: 10 s at 48 kHz

    def __init__(self, sample_rate: int):
        self._sample_rate = sample_rate
        self._resampler: Resampler | None = None

    def __call__(self, samples: np.ndarray, source_rate: int) -> Iterator[np.ndarray]:
        samples = np.asarray(samples)
        if samples.ndim not in (1, 2):
            raise ValueError(f"Expected samples [n] or [n, channels], got shape {list(samples.shape)}.")
        if not RATES[0] <= source_rate <= RATES[1]:
            raise AudioError(
                f"The microphone claims {source_rate:,} samples a second; {RATES[0]:,} to {RATES[1]:,} can be heard."
            )
        if not samples.size:
            return
        mono = to_mono(samples, "The microphone's sound")  # before anything is kept: a bad chunk changes nothing
        if self._resampler is not None and self._resampler.rate != source_rate:
            yield from self.last()
        self._resampler = self._resampler or Resampler(source_rate, self._sample_rate)
        for start in range(0, len(mono), self.PIECE):
            yield self._resampler(mono[start : start + self.PIECE])

    def last(self) -> Iterator[np.ndarray]:
        """What the resampler still holds."""
        if self._resampler is not None:
            yield self._resampler.last()
        self._resampler = None
