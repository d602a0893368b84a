"""Data augmentation: random changes of a clip that keep its text.

Changes of the waveform run on the host in NumPy; SpecAugment runs on the device, on features. To listen to every
change and see its spectrogram: `python -m train.tools.audition CLIP --out FOLDER`.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import soundfile
import soxr
from keras import ops
from scipy.signal import lfilter, oaconvolve

from asr_core.audio.levels import full_scale, to_int16


@dataclass(frozen=True)
class Augmentation:
    """Probabilities and ranges of the waveform changes; a probability of 0 switches a change off.

    Attributes:
        speeds: speed factors, each drawn equally often; tempo and pitch change together (Ko et al., 2015).
        noise: probability of synthetic noise (white to brown, or mains hum), at an SNR from `noise_snr` (dB).
        babble: probability of another clip in the background, at an SNR from `babble_snr` (dB).
        room: probability of the reverberation of a simulated room.
        band: probability of a telephone's bandwidth (8 kHz sampling).
        gain: probability of a new level, with a peak from `gain_dbfs` (dB below full scale).
        pitch: probability of a pitch shift from `pitch_semitones`, at the same tempo.
        codec: probability of being encoded by one of `CODECS` at a low bit rate, and decoded again.
        clipping: probability of a peak above full scale by `clipping_db` (dB), clipped there.
    """

    speeds: tuple[float, ...] = (0.9, 1.0, 1.0, 1.1)
    noise: float = 0.25
    noise_snr: tuple[float, float] = (5.0, 30.0)
    babble: float = 0.05
    babble_snr: tuple[float, float] = (10.0, 25.0)
    room: float = 0.15
    band: float = 0.08
    gain: float = 0.2
    gain_dbfs: tuple[float, float] = (-40.0, 0.0)
    pitch: float = 0.0
    pitch_semitones: tuple[float, float] = (-2.5, 2.5)
    codec: float = 0.0
    clipping: float = 0.0
    clipping_db: tuple[float, float] = (3.0, 18.0)

    def draw_speeds(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """A speed factor for each of `count` clips: float [count]."""
        return rng.choice(np.array(self.speeds), count)

    def __call__(self, samples, sample_rate: int, rng, babble: Callable[[], np.ndarray]) -> np.ndarray:
        """Draws and applies changes: int16 [n] -> int16 [n]. `babble()` returns the samples of another clip, int16."""
        probabilities = (
            self.room, self.noise, self.babble, self.band, self.gain, self.pitch, self.codec, self.clipping,
        )  # fmt: skip
        drawn = rng.random(len(probabilities)) < probabilities
        if not drawn.any():
            return samples
        x = full_scale(samples)
        room, noise, other, band, gain, pitch, codec, clipping = drawn
        if pitch:
            x = change_pitch(x, sample_rate, rng.uniform(*self.pitch_semitones))
        if room:
            x = reverberate(x, sample_rate, rng)
        if noise:
            x = mix(x, synthetic_noise(len(x), sample_rate, rng), rng.uniform(*self.noise_snr))
        if other:
            voice = np.resize(full_scale(babble()), len(x))
            x = mix(x, voice, rng.uniform(*self.babble_snr))
        if clipping:
            x = overdrive(x, rng.uniform(*self.clipping_db))
        if codec:
            x = encode(x, sample_rate, rng.choice(list(CODECS)))
        if band:
            x = telephone(x, sample_rate)
        peak = np.abs(x).max() + 1e-9
        if gain:
            x = x * (10 ** (rng.uniform(*self.gain_dbfs) / 20) / peak)
        elif peak > 1:
            x = x / peak
        return to_int16(x)


NO_AUGMENTATION = Augmentation(speeds=(1.0,), noise=0, babble=0, room=0, band=0, gain=0)


def change_speed(samples, speed: float):
    """Plays faster or slower, with the pitch: int16 [n] -> int16 [n / speed]."""
    if speed == 1.0:
        return samples
    return soxr.resample(samples, 1000 * speed, 1000, quality="LQ")


def change_pitch(x, sample_rate: int, semitones: float):
    """Shifts the pitch at the same tempo: float32 [n] -> float32 [n].

    The clip is resampled, then stretched to its original length by WSOLA (Verhelst and Roelands, 1993): windows are
    added with an overlap of one half, each taken where the signal correlates best with the continuation of the window
    before.
    """
    ratio = 2 ** (semitones / 12)
    hop = int(0.015 * sample_rate)
    reach = int(0.006 * sample_rate)  # search range to both sides: more than half a period of a low voice
    source = np.pad(soxr.resample(x, 1000 * ratio, 1000, quality="LQ"), (hop + reach, 3 * hop + 2 * reach))
    taper = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    shifted = np.zeros(len(x) + 4 * hop, np.float32)
    place = reach
    for start in range(0, len(x) + hop, hop):
        nominal = reach + int(start / ratio)
        if start:  # every other sample is enough for the correlation
            following = source[place + hop : place + 3 * hop : 2]
            nearby = source[nominal - reach : nominal + reach + 2 * hop : 2]
            place = nominal - reach + 2 * int(np.correlate(nearby, following).argmax())
        shifted[start : start + 2 * hop] += taper * source[place : place + 2 * hop]
    return shifted[hop : hop + len(x)]


def overdrive(x, decibels: float):
    """Amplifies `x` until its peak is `decibels` above full scale, and clips it: float32 [n] with peak 1."""
    return np.clip(x * np.float32(10 ** (decibels / 20) / (np.abs(x).max(initial=0) + 1e-9)), -1, 1)


def mix(x, disturbance, snr_db: float):
    """Adds `disturbance` to `x` at a signal-to-noise ratio of `snr_db`: float32 [n]."""
    power, other = np.mean(x * x) + 1e-12, np.mean(disturbance * disturbance) + 1e-12
    return x + disturbance * np.float32(np.sqrt(power / other / 10 ** (snr_db / 10)))


def synthetic_noise(count: int, sample_rate: int, rng):
    """Noise of a random colour between white and brown, or mains hum with harmonics (20 %): float32 [count]."""
    noise = rng.standard_normal(count).astype(np.float32)
    if rng.random() < 0.2:
        t = np.arange(count, dtype=np.float32) / sample_rate
        base = rng.choice([50.0, 60.0])
        hum = sum(rng.uniform(0, 1) * np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) for k in (1, 2, 3, 5))
        return (hum + 0.2 * noise).astype(np.float32)
    return lfilter([1.0], [1.0, -rng.uniform(0, 0.98)], noise).astype(np.float32)


def reverberate(x, sample_rate: int, rng):
    """Reverberation by Polack's model, exponentially decaying noise after the direct sound: float32 [n]."""
    decay_seconds = rng.uniform(0.1, 0.6)  # reverberation time RT60
    t = np.arange(int(decay_seconds * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / decay_seconds)
    tail *= np.sqrt(10 ** (-rng.uniform(0, 12) / 10) / np.sum(tail**2))  # direct-to-reverberant ratio
    tail[: int(0.002 * sample_rate)] = 0
    tail[0] = 1
    return oaconvolve(x, tail.astype(np.float32))[: len(x)].astype(np.float32)


def telephone(x, sample_rate: int):
    """Resamples to 8 kHz and back: float32 [n]."""
    narrow = soxr.resample(x, sample_rate, 8000, quality="LQ")
    return _of_length(soxr.resample(narrow, 8000, sample_rate, quality="LQ"), len(x))


# Name -> sample rate in Hz, and the arguments of `soundfile.write`. Opus is left out: it is slow to encode.
CODECS = {
    "a-law": (8000, {"format": "WAV", "subtype": "ALAW"}),  # 64 kbit/s
    "adpcm": (8000, {"format": "WAV", "subtype": "IMA_ADPCM"}),  # 32 kbit/s
    "gsm": (8000, {"format": "WAV", "subtype": "GSM610"}),  # 13 kbit/s
    "mp3": (16_000, {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "AVERAGE",
                     "compression_level": 0.99}),  # 11 kbit/s
}  # fmt: skip


def encode(x, sample_rate: int, codec: str):
    """Encodes with one of `CODECS` and decodes again: float32 [n]."""
    rate, arguments = CODECS[codec]
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(np.clip(x, -1, 1), sample_rate, rate, quality="LQ"), rate, **arguments)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return _of_length(soxr.resample(decoded, rate, sample_rate, quality="LQ"), len(x))


def _of_length(x, count: int):
    """Cuts `x` or appends silence: float32 [count]."""
    return np.pad(x[:count], (0, max(0, count - len(x))))


class SpecAugment(keras.layers.Layer):
    """Masks stripes of time and of frequency (Park et al., 2019), on the device.

    Args:
        time_masks: number of time masks of a clip, each up to `time_fraction` of its frames wide.
        frequency_masks: number of frequency masks of a clip, each up to `frequency_width` bins wide.
        seed: of the masks.
    """

    def __init__(self, time_masks=4, time_fraction=0.05, frequency_masks=2, frequency_width=15, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.time_masks, self.time_fraction = time_masks, time_fraction
        self.frequency_masks, self.frequency_width = frequency_masks, frequency_width
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, features, lengths):
        """Features [batch, frames, bins], lengths [batch] -> features with stripes set to 0, the mean of every bin."""
        batch, frames, bins = ops.shape(features)[0], ops.shape(features)[1], features.shape[2]
        lengths = ops.expand_dims(ops.cast(lengths, "float32"), 1)
        keep = 1.0
        if self.time_masks:
            widest = ops.ones((batch, self.time_masks)) * self.time_fraction * lengths
            keep = keep * ops.expand_dims(self._keep(widest, lengths, frames), 2)
        if self.frequency_masks:
            widest = ops.ones((batch, self.frequency_masks)) * float(self.frequency_width)
            keep = keep * ops.expand_dims(self._keep(widest, float(bins), bins), 1)
        return features * ops.cast(keep, features.dtype)

    def _keep(self, widest, extent, size):
        """Random stripes along one axis: 0 inside them, 1 elsewhere, float32 [batch, size].

        Args:
            widest: float32 [batch, masks], largest width of each stripe.
            extent: length of the axis in which stripes lie, a number or float32 [batch, 1].
            size: length of the axis, padding included.
        """
        shape = ops.shape(widest)
        width = keras.random.uniform(shape, seed=self.seed_generator) * widest
        start = keras.random.uniform(shape, seed=self.seed_generator) * (extent - width)
        positions = ops.arange(size, dtype="float32")
        start, end = ops.expand_dims(start, 2), ops.expand_dims(start + width, 2)
        inside = ops.logical_and(positions >= start, positions < end)
        return 1.0 - ops.cast(ops.any(inside, axis=1), "float32")
