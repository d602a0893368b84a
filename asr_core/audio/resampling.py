"""Resamples mono audio chunk by chunk, as files and microphones deliver it."""

from collections.abc import Iterator

import numpy as np

from asr_core.audio.channels import check_shape, to_mono
from asr_core.errors import AudioError

RATES = (2_000, 768_000)  # Hz; outside, the header is wrong, or a second would become minutes of samples


class Resampler:
    """Resamples a signal of sample rate `rate` to `sample_rate`; the output is clipped to [-1, 1]."""

    def __init__(self, rate: int, sample_rate: int):
        import soxr

        self.rate = rate
        self._stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32")

    def __call__(self, mono: np.ndarray, last: bool = False, peak: float = 1.0) -> np.ndarray:
        """Resamples float32 [n] to float32 [m], divided by the peak and clipped to [-1, 1]."""
        if self._stream is not None:
            mono = self._stream.resample_chunk(np.ascontiguousarray(mono), last=last)
        return np.clip(mono if peak == 1 else mono / peak, -1.0, 1.0)

    def last(self) -> np.ndarray:
        """The samples that the filter still holds."""
        return self(np.empty(0, np.float32), last=True)


class ChunkResampler:
    """Chunks of any sample rate and type to mono float32 at one rate.

    Arguments and errors of a call are those of `Stream.feed`. It yields blocks of MAX_BLOCK_SAMPLES source samples at
    most, whatever the size of the chunk. `last` empties the resampler.
    """

    MAX_BLOCK_SAMPLES = 480_000  # 10 s at 48 kHz

    def __init__(self, sample_rate: int):
        self._sample_rate = sample_rate
        self._resampler: Resampler | None = None

    def __call__(self, samples: np.ndarray, source_rate: int) -> Iterator[np.ndarray]:
        samples = np.asarray(samples)
        check_shape(samples)
        if not RATES[0] <= source_rate <= RATES[1]:
            raise AudioError(
                f"The microphone claims {source_rate:,} samples a second; {RATES[0]:,} to {RATES[1]:,} are supported."
            )
        if not samples.size:
            return
        mono = to_mono(samples, "The microphone's audio")  # first, so that a chunk that is refused changes nothing
        if self._resampler is not None and self._resampler.rate != source_rate:
            yield from self.last()
        self._resampler = self._resampler or Resampler(source_rate, self._sample_rate)
        for start in range(0, len(mono), self.MAX_BLOCK_SAMPLES):
            yield self._resampler(mono[start : start + self.MAX_BLOCK_SAMPLES])

    def last(self) -> Iterator[np.ndarray]:
        """The samples that the resampler still holds."""
        if self._resampler is not None:
            yield self._resampler.last()
        self._resampler = None
