"""Mixes recordings of any number of channels to mono, and leaves out channels that would spoil the mix."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d, minimum_filter1d, percentile_filter, uniform_filter1d

from asr_core.audio.levels import full_scale
from asr_core.errors import AudioError

# Speakers by number of channels, as WAVE files and FFmpeg order them where a file does not name its speakers. Four
# channels are left out, since they may be four microphones.
STANDARD_ORDER = {
    3: "FL FR FC",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}
FRONTS = ("FL", "FR", "FLC", "FRC")
LEFT, RIGHT, CENTRE = range(3)  # columns of a folded surround layout
SURROUND_WEIGHT = 0.707  # of a surround channel beside a front channel, as in ITU-R BS.775
SPEAKER_LETTERS = frozenset("FLRCBSTWDE2")  # of FFmpeg's speaker names; names of unknown channels have other letters

MAX_CHANNELS = 64  # of an array; one with more is probably transposed
BLOCK_SECONDS = 0.03  # each block has one set of channel weights; also the length of a fade between two of them
MAX_FLOAT_PEAK = 16.0  # of a microphone's float samples, full scale being 1; beyond, they are unscaled integers

# Cancellation: channels of opposite polarity extinguish each other in the average.
BAND_EDGES = (100.0, 1500.0, 8000.0)  # Hz; polarity may differ in one band only
CANCELLED_SHARE = 0.2  # channels cancel if their average has less of the power that independent ones would give it
MIN_BAND_SHARE = 1e-3  # of the power of a block; a band with less is not considered
SILENT_POWER, SILENT_DB = 1e-9, -85.0  # of a block; with less there is nothing to lose
NEAR_SECONDS = 0.3  # on either side of a block: how far evidence of cancellation reaches
MIN_CANCELLED_POWER = 0.4  # share of the power near a block that must cancel for one channel to replace the average
MAX_GAP_SECONDS = 1.5  # between two cancelled segments; what lies between them is taken from one channel, too

# Noise: channels without speech.
CONTEXT_SECONDS = 5.0  # on either side of a block: over which the levels of a channel are measured
SPEECH_PERCENTILE, NOISE_PERCENTILE = 95, 10  # of the levels in that context: speech level and noise floor
MAX_STEADY_DB = 8.0  # from noise floor to speech level of a channel that holds only noise or hum
MIN_SPEECH_DB = 15.0  # from noise floor to speech level of a channel that holds speech
NOISE_MATTERS_DB = 20.0  # steady noise further below the speech may stay in the average

# The centre of a surround recording, which has the dialogue of a film. Its level is its speech level, as above.
EMPTY_CENTRE_DB = 30.0  # a centre further below left and right is empty
WEAK_CENTRE_DB = 10.0  # a centre further below left and right is not used alone: it may be an effect beside speech
CENTRE_PAUSE_DB = 25.0  # further below its speech level, the centre pauses
CENTRE_PAUSE_SECONDS = 0.6  # on either side of a block: how long it must pause before left and right are used, too
VOICE_BESIDE_DB = 6.0  # what is louder in a pause, compared with the centre's speech level, may be another voice
CENTRE_WEIGHT = 0.707  # beside the average of left and right, as in ITU-R BS.775

MAX_SCORED_RANGE_DB = 40.0  # from noise floor to speech level; a larger range does not make a channel better
SWITCH_DB = 3.0  # by which another channel must be better to replace the one in use


def folded(samples: np.ndarray, speakers: Sequence[str] = ()) -> np.ndarray:
    """Folds surround channels to left, right and centre.

    Args:
        samples: float32 [n, channels].
        speakers: FFmpeg's names of the channels, such as FL, FC, LFE; without names, or with unknown ones, the
            standard order for this number of channels is assumed.

    Returns:
        float32 [n, 3], left, right and centre, or [n, 2] if the layout has no centre; the low-frequency channel is
        left out. The samples are returned unchanged if there are fewer than three channels or their layout is unknown.
    """
    count = samples.shape[1]
    if len(speakers) != count or not all(SPEAKER_LETTERS.issuperset(name) for name in speakers):
        speakers = STANDARD_ORDER.get(count, "").split()
    if count < 3 or not speakers or list(speakers) == ["FL", "FR", "FC"]:
        return samples
    weights = np.zeros((count, 3), np.float32)
    for channel, name in enumerate(speakers):
        if name == "FC":
            weights[channel, CENTRE] = 1
        elif not name.startswith("LFE"):
            sides = [LEFT] if "L" in name else [RIGHT] if "R" in name else [LEFT, RIGHT]
            weights[channel, sides] = 1 if name in FRONTS else SURROUND_WEIGHT
    weights /= np.maximum(weights.sum(axis=0), 1e-9)
    return samples @ (weights if "FC" in speakers else weights[:, :CENTRE])


class Mixer:
    """Mixes the channels of a recording to one, block by block.

    Two channels, or more than three, are averaged. Three are left, right and centre (see `folded`): the centre is used
    alone where it has speech, together with left and right where it is weak or pauses while they are loud, and not at
    all where it is empty. Channels that hold only steady noise are left out of the average, and where channels cancel
    each other, the best of them replaces it.

    Args:
        rate: Hz.
        channels: number of channels.
    """

    def __init__(self, rate: int, channels: int):
        self.rate, self.channels = rate, channels
        self._block = max(1, round(BLOCK_SECONDS * rate))  # samples
        self._context = round(CONTEXT_SECONDS / BLOCK_SECONDS)  # blocks
        self._centred = channels == 3
        self._mixed = slice(0, CENTRE) if self._centred else slice(0, channels)  # the channels that are averaged
        self._samples: list[np.ndarray] = []  # those that are not mixed yet
        self._held = 0  # number of those samples
        self._power: list[np.ndarray] = []  # of each block, from `context` blocks before the first that is not mixed
        self._measured = 0  # samples among those held whose power is known
        self._weights: np.ndarray | None = None  # float32 [channels] of the latest block
        self._best = 0  # the latest channel that replaced an average

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Adds float32 [n, channels]; returns what can be mixed so far, float32 [m]."""
        if self.channels == 1:
            return samples[:, 0]
        self._samples.append(samples)
        self._held += len(samples)
        if self._held < 3 * self._context * self._block:
            return np.empty(0, np.float32)
        return self._mix(last=False)

    def last(self) -> np.ndarray:
        """Mixes the samples still held: float32 [m]."""
        return self._mix(last=True) if self._held else np.empty(0, np.float32)

    def _mix(self, last: bool) -> np.ndarray:
        samples = np.concatenate(self._samples)
        blocks = -(-len(samples) // self._block) if last else len(samples) // self._block
        before = sum(map(len, self._power)) - self._measured // self._block  # blocks of context
        self._power.append(self._powers(samples[self._measured : blocks * self._block]))
        power = np.concatenate(self._power)
        ready = blocks if last else blocks - self._context
        weights = self._choices(power, before, before + ready)
        mono = self._weighted(samples[: ready * self._block], weights)
        self._power = [power[max(0, before + ready - self._context) :]]
        self._samples = [samples[ready * self._block :]]
        self._held = len(self._samples[0])
        self._measured = (blocks - ready) * self._block
        return mono

    def _powers(self, samples: np.ndarray) -> np.ndarray:
        """Mean power of each block in each band, for every channel and, last, for their average.

        Returns:
            float32 [blocks, bands, channels + 1].
        """
        blocks = -(-len(samples) // self._block)
        padded = np.zeros((blocks * self._block, self.channels), np.float32)
        padded[: len(samples)] = samples
        blocks_of = padded.reshape(blocks, self._block, self.channels)
        edges = np.array(BAND_EDGES) * self._block / self.rate
        edges = np.minimum(np.ceil(edges).astype(int), self._block // 2 + 1)

        def powers(spectrum: np.ndarray) -> np.ndarray:
            energy = 2 * (spectrum.real**2 + spectrum.imag**2) / self._block**2
            return np.stack([energy[:, first:end].sum(axis=1) for first, end in pairwise(edges)], axis=1)

        average, powers_of_channels = 0, []
        for channel in range(self.channels):  # one at a time, for there may be 64
            spectrum = rfft(blocks_of[:, :, channel])
            powers_of_channels.append(powers(spectrum))
            if self._mixed.start <= channel < self._mixed.stop:
                average = average + spectrum / (self._mixed.stop - self._mixed.start)
        return np.stack([*powers_of_channels, powers(average)], axis=2)

    def _choices(self, power: np.ndarray, first: int, end: int) -> np.ndarray:
        """Weights of the channels in the blocks from `first` to before `end`: float32 [blocks, channels]."""
        near = slice(first, end)
        level = 10 * np.log10(power.sum(axis=1) + SILENT_POWER)  # [blocks, channels + 1]
        noise_floor = _percentile(level, NOISE_PERCENTILE, self._context)
        loud = _percentile(level, SPEECH_PERCENTILE, self._context)
        level_range = loud - noise_floor
        steady, speaking = level_range < MAX_STEADY_DB, level_range > MIN_SPEECH_DB

        weights = np.zeros((len(power), self.channels), np.float32)
        weights[:, self._mixed] = 1
        of_channels = np.arange(self.channels + 1) < weights[0].sum()
        speech = np.max(np.where(speaking & of_channels, loud, -np.inf), axis=1, keepdims=True)
        noise = (steady & of_channels & (loud > speech - NOISE_MATTERS_DB) & np.isfinite(speech))[:, : self.channels]
        weights[noise] = 0
        weights /= weights.sum(axis=1, keepdims=True)

        cancelled = self._cancelled(power)
        score = (np.minimum(level_range, MAX_SCORED_RANGE_DB) + loud / 10)[near, self._mixed.start : self._mixed.stop]
        for block in np.flatnonzero(cancelled[near]):
            best = int(np.argmax(score[block]))
            if score[block, best] > score[block, self._best] + SWITCH_DB:
                self._best = best
            weights[first + block] = np.eye(1, self.channels, self._best)
        if self._centred:
            alone, together = _centre_use(level, loud, steady, speaking)
            weights[alone] = np.eye(1, self.channels, CENTRE)
            weights[together, CENTRE] = CENTRE_WEIGHT
            weights /= weights.sum(axis=1, keepdims=True)
        return weights[near]

    def _cancelled(self, power: np.ndarray) -> np.ndarray:
        """In which blocks the channels cancel each other in the average: bool [blocks]."""
        power = uniform_filter1d(power, 3, axis=0)
        mixed = power[:, :, self._mixed]
        expected = mixed.sum(axis=2) / mixed.shape[2] ** 2  # if the channels were independent: float32 [blocks, bands]
        total = expected.sum(axis=1)
        audible = expected > np.maximum(MIN_BAND_SHARE * total, SILENT_POWER)[:, None]
        lost = np.any(audible & (power[:, :, -1] < CANCELLED_SHARE * expected), axis=1)
        near = 2 * round(NEAR_SECONDS / BLOCK_SECONDS) + 1
        share = uniform_filter1d(total * lost, near) / (uniform_filter1d(total, near) + SILENT_POWER)
        lost = maximum_filter1d(share > MIN_CANCELLED_POWER, near)
        gap = round(MAX_GAP_SECONDS / BLOCK_SECONDS)
        return lost | minimum_filter1d(maximum_filter1d(lost, gap), gap)

    def _weighted(self, samples: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Mixes samples [n, channels] by the weights of their blocks [blocks, channels], with a fade between blocks."""
        usual = np.zeros(self.channels, np.float32)
        usual[self._mixed] = 1 / (self._mixed.stop - self._mixed.start)
        mono = samples[:, self._mixed].mean(axis=1, dtype=np.float32)
        before = weights[0] if self._weights is None else self._weights
        previous = np.concatenate([before[None], weights[:-1]])
        changed = (weights != usual).any(axis=1) | (previous != usual).any(axis=1)
        ramp = np.arange(1, self._block + 1, dtype=np.float32)[:, None] / self._block
        for block in np.flatnonzero(changed):
            part = slice(block * self._block, min((block + 1) * self._block, len(samples)))
            fade = previous[block] + ramp[: part.stop - part.start] * (weights[block] - previous[block])
            mono[part] = np.einsum("ij,ij->i", samples[part], fade)
        self._weights = weights[-1]
        return mono


def _centre_use(
    level: np.ndarray, loud: np.ndarray, steady: np.ndarray, speaking: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """In which blocks the centre is used alone, and in which together with left and right: bool [blocks] each.

    Args:
        level: of each block, in dB; like all arguments, [blocks, channels + 1].
        loud: speech level around the block, in dB.
        steady: whether a channel holds only noise there.
        speaking: whether it holds speech there.
    """
    sides, centre = loud[:, :CENTRE].max(axis=1), loud[:, CENTRE]
    empty = (centre <= sides - EMPTY_CENTRE_DB) | (centre <= SILENT_DB)
    empty |= steady[:, CENTRE] & speaking[:, :CENTRE].any(axis=1)
    now = maximum_filter1d(level, 2 * round(CENTRE_PAUSE_SECONDS / BLOCK_SECONDS) + 1, axis=0)
    beside = ((now > (centre - VOICE_BESIDE_DB)[:, None]) & speaking)[:, :CENTRE].any(axis=1)
    together = (centre <= sides - WEAK_CENTRE_DB) | (now[:, CENTRE] < centre - CENTRE_PAUSE_DB) & beside
    return ~empty & ~together, ~empty & together


def _percentile(level: np.ndarray, percent: float, context: int) -> np.ndarray:
    """A percentile of the levels [blocks, channels] over `context` blocks on either side of each block."""
    size = 2 * min(context, len(level)) + 1
    return np.stack([percentile_filter(one, percent, size, mode="reflect") for one in level.T], axis=1)


def check_shape(samples: np.ndarray) -> None:
    """Raises ValueError for samples that are neither [n] nor [n, channels]; with many channels they are transposed."""
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
        raise ValueError(f"Expected samples [n] or [n, channels], got shape {list(samples.shape)}.")


def to_mono(samples: np.ndarray, shown: str) -> np.ndarray:
    """Averages the channels of samples [n] or [n, channels] of any type: float32 [n].

    Raises:
        AudioError: samples are not numbers, or lie far beyond full scale.
        TypeError: as for `full_scale`.
    """
    mono = full_scale(samples)
    with np.errstate(over="ignore", invalid="ignore"):
        if mono.ndim == 2:
            mono = mono[:, 0] if mono.shape[1] == 1 else mono.mean(axis=1, dtype=np.float32)
    peak = np.abs(mono).max(initial=0)
    if not np.isfinite(peak):
        raise AudioError(f"{shown} holds samples that are not numbers (NaN or infinity): export it again.")
    if peak > MAX_FLOAT_PEAK:
        raise AudioError(f"{shown} holds samples up to {peak:.4g}; full scale is 1: scale it to -1 ... 1.")
    return mono
