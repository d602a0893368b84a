"""What a recording could also have sounded like: every change is small, and each can be switched off.

Waveform changes run on the host in NumPy, on int16 samples; SpecAugment runs on the device, on features. To hear and
see all of them (`train.tools.audition`): `python -m train.tools.audition CLIP --out FOLDER`.
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


@dataclass(frozen=True)
class Augmentation:
    """Chances and ranges of the waveform changes; a chance of 0 switches one off.

    Attributes:
        speeds: speed factors, drawn evenly; changes tempo and pitch together (Ko et al., 2015).
        noise: chance of synthetic noise (white to brown, or mains hum), at `noise_snr` dB.
        babble: chance of another clip in the background, at `babble_snr` dB.
        room: chance of a simulated room.
        band: chance of a telephone's 8 kHz sampling.
        gain: chance of a level drawn from `gain_dbfs` (peak).
        pitch: chance of a voice higher or lower by `pitch_semitones`, at the same tempo.
        codec: chance of being encoded at a low rate by one of `CODECS`, and decoded again.
        clipping: chance of an input that is overdriven by `clipping_db` and cut off at full scale.
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
        """int16 [n] -> int16 [n]; `babble()` gives another clip."""
        chances = (self.room, self.noise, self.babble, self.band, self.gain, self.pitch, self.codec, self.clipping)
        wanted = rng.random(len(chances)) < chances
        if not wanted.any():
            return samples
        x = samples.astype(np.float32) / 32768
        room, noise, other, band, gain, pitch, codec, clipping = wanted
        if pitch:
            x = change_pitch(x, sample_rate, rng.uniform(*self.pitch_semitones))
        if room:
            x = reverberate(x, sample_rate, rng)
        if noise:
            x = mix(x, synthetic_noise(len(x), sample_rate, rng), rng.uniform(*self.noise_snr))
        if other:
            voice = np.resize(babble().astype(np.float32) / 32768, len(x))
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
        return np.round(np.clip(x, -1, 1) * 32767).astype(np.int16)


NO_AUGMENTATION = Augmentation(speeds=(1.0,), noise=0, babble=0, room=0, band=0, gain=0)


def change_speed(samples, speed: float):
    """int16 [n] -> int16 [n / speed], played faster or slower (pitch moves along)."""
    if speed == 1.0:
        return samples
    return soxr.resample(samples, 1000 * speed, 1000, quality="LQ")


def change_pitch(x, sample_rate: int, semitones: float):
    """A voice higher or lower at the same tempo: float32 [n] -> float32 [n].

    Played faster, then brought back to its length by WSOLA (Verhelst and Roelands, 1993): windows of it are laid
    over each other by half, each from where the sound goes on most like the window before.
    """
    ratio = 2 ** (semitones / 12)
    hop, reach = int(0.015 * sample_rate), int(0.006 * sample_rate)  # reach: more than half a period of a low voice
    sound = np.pad(soxr.resample(x, 1000 * ratio, 1000, quality="LQ"), (hop + reach, 3 * hop + 2 * reach))
    taper = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    heard = np.zeros(len(x) + 4 * hop, np.float32)
    place = reach
    for start in range(0, len(x) + hop, hop):
        wanted = reach + int(start / ratio)
        if start:  # every other sample is enough to compare by
            following = sound[place + hop : place + 3 * hop : 2]
            nearby = sound[wanted - reach : wanted + reach + 2 * hop : 2]
            place = wanted - reach + 2 * int(np.correlate(nearby, following).argmax())
        heard[start : start + 2 * hop] += taper * sound[place : place + 2 * hop]
    return heard[hop : hop + len(x)]


def overdrive(x, decibels: float):
    """`x` raised until its peak is so far above full scale, and cut off there: float32 [n], peak 1."""
    return np.clip(x * np.float32(10 ** (decibels / 20) / (np.abs(x).max(initial=0) + 1e-9)), -1, 1)


def mix(x, disturbance, snr_db: float):
    """`x` with `disturbance` added so that the ratio of their powers is `snr_db`: float32 [n]."""
    power, other = np.mean(x * x) + 1e-12, np.mean(disturbance * disturbance) + 1e-12
    return x + disturbance * np.float32(np.sqrt(power / other / 10 ** (snr_db / 10)))


def synthetic_noise(count: int, sample_rate: int, rng):
    """Noise of a random colour between white and brown, at times a mains hum with harmonics: float32 [count]."""
    noise = rng.standard_normal(count).astype(np.float32)
    if rng.random() < 0.2:
        t = np.arange(count, dtype=np.float32) / sample_rate
        base = rng.choice([50.0, 60.0])
        hum = sum(rng.uniform(0, 1) * np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) for k in (1, 2, 3, 5))
        return (hum + 0.2 * noise).astype(np.float32)
    return lfilter([1.0], [1.0, -rng.uniform(0, 0.98)], noise).astype(np.float32)


def reverberate(x, sample_rate: int, rng):
    """A simulated room (exponentially decaying noise behind the direct sound; Polack's model): float32 [n]."""
    decay_seconds = rng.uniform(0.1, 0.6)  # until 60 dB down
    t = np.arange(int(decay_seconds * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / decay_seconds)
    tail *= np.sqrt(10 ** (-rng.uniform(0, 12) / 10) / np.sum(tail**2))  # direct-to-reverberant ratio
    tail[: int(0.002 * sample_rate)] = 0
    tail[0] = 1
    return oaconvolve(x, tail.astype(np.float32))[: len(x)].astype(np.float32)


def telephone(x, sample_rate: int):
    """Through 8 kHz and back: float32 [n]."""
    narrow = soxr.resample(x, sample_rate, 8000, quality="LQ")
    return _of_length(soxr.resample(narrow, 8000, sample_rate, quality="LQ"), len(x))


CODECS = {  # name -> sample rate, and what to ask libsndfile for; Opus is left out: it takes 0.2 s of CPU a clip
    "a-law": (8000, {"format": "WAV", "subtype": "ALAW"}),  # 64 kbit/s
    "adpcm": (8000, {"format": "WAV", "subtype": "IMA_ADPCM"}),  # 32 kbit/s
    "gsm": (8000, {"format": "WAV", "subtype": "GSM610"}),  # 13 kbit/s
    "mp3": (16_000, {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "AVERAGE",
                     "compression_level": 0.99}),  # 11 kbit/s
}  # fmt: skip


def encode(x, sample_rate: int, codec: str):
    """Through one of `CODECS` and back: float32 [n]."""
    rate, how = CODECS[codec]
    file = io.BytesIO()
    sound = soxr.resample(np.clip(x, -1, 1), sample_rate, rate, quality="LQ")
    soundfile.write(file, sound, rate, **how)
    file.seek(0)
    heard, _ = soundfile.read(file, dtype="float32")
    return _of_length(soxr.resample(heard, rate, sample_rate, quality="LQ"), len(x))


def _of_length(x, count: int):
    """Cut, or with silence behind it: float32 [count]."""
    return np.pad(x[:count], (0, max(0, count - len(x))))


class SpecAugment(keras.layers.Layer):
    """Masks stripes of time and frequency (Park et al., 2019), on the device, in training only.

    Args:
        time_masks: per clip, each up to `time_fraction` of its frames.
        frequency_masks: per clip, each up to `frequency_width` bins.
    """

    def __init__(self, time_masks=4, time_fraction=0.05, frequency_masks=2, frequency_width=15, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.time_masks, self.time_fraction = time_masks, time_fraction
        self.frequency_masks, self.frequency_width = frequency_masks, frequency_width
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, features, lengths):
        """Features [batch, frames, bins] with stripes set to 0, the mean of normalised features."""
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
        """0 inside the stripes, 1 elsewhere: widest float32 [batch, masks] -> float32 [batch, size]."""
        shape = ops.shape(widest)
        width = keras.random.uniform(shape, seed=self.seed_generator) * widest
        start = keras.random.uniform(shape, seed=self.seed_generator) * (extent - width)
        positions = ops.arange(size, dtype="float32")
        start, end = ops.expand_dims(start, 2), ops.expand_dims(start + width, 2)
        inside = ops.logical_and(positions >= start, positions < end)
        return 1.0 - ops.cast(ops.any(inside, axis=1), "float32")
