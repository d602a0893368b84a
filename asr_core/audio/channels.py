"""Samples of any type and number of channels to mono float32 in [-1, 1]."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d, minimum_filter1d, percentile_filter, uniform_filter1d

from asr_core.audio.levels import full_scale
from asr_core.errors import AudioError

# The order in WAVE files and in FFmpeg, where a file does not name its speakers. Four may also be four microphones.
STANDARD_ORDER = {
    3: "FL FR FC",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}
FRONTS = ("FL", "FR", "FLC", "FRC")
LEFT, RIGHT, CENTRE = range(3)  # the columns that a surround layout is folded to
SURROUND_WEIGHT = 0.707  # beside a front channel, as in ITU-R BS.775
SPEAKER_LETTERS = frozenset("FLRCBSTWDE2")  # of FFmpeg's names; those of unknown channels have others

BLOCK_SECONDS = 0.03  # what one decision is about; also the length of a fade
BAND_EDGES = (100.0, 1500.0, 8000.0)  # Hz: polarity may differ in a part of the spectrum only
CANCELLED = 0.2  # the mix has less than this of the power that independent channels would give it: 7 dB below
BAND_SHARE = 1e-3  # of all power: a band with less says nothing
SILENT_POWER, SILENT_DB = 1e-9, -85.0  # of a block: nothing to lose
NEAR_SECONDS = 0.3  # on either side, evidence of cancellation counts, and then one channel is used
CANCELLED_SHARE = 0.4  # of the power around, so much must be cancelled
BETWEEN_SECONDS = 1.5  # what lies between two cancelled places no farther apart is taken from one channel, too

CONTEXT_SECONDS = 5.0  # on either side, what the levels of a channel are measured over
LOUD_PERCENT, QUIET_PERCENT = 95, 10  # of the levels around
STEADY_DB = 8.0  # from quiet to loud at most: noise or hum, nobody speaks
LIVELY_DB = 15.0  # at least, where somebody speaks
MATTERS_DB = 20.0  # steady noise farther below the speech than this may stay
CENTRE_DB = 30.0  # a centre channel farther below the others than this is empty
BEST_RANGE_DB = 40.0  # from quiet to loud; more is not better
STICKY_DB = 3.0  # another channel has to be so much better to be taken instead


def folded(samples: np.ndarray, speakers: Sequence[str] = ()) -> np.ndarray:
    """Surround channels to left, right and centre.

    Args:
        samples: float32 [n, channels].
        speakers: FFmpeg's names of the channels, such as FL, FC, LFE; without names, or with unknown ones, the
            standard order of so many channels is taken.

    Returns:
        float32 [n, 3], left, right and centre, or [n, 2] where the layout has no centre; the low-frequency channel
        is left out. The samples as they are if there are fewer than three channels, or if nothing is known of them.
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
    """One channel out of many, for a recording that arrives piece by piece.

    Two channels, or more than three, are averaged; three are left, right and centre (see `folded`), and the centre is
    taken where it holds anything, else the average of left and right. An average is replaced by its best channel
    where it cancels, and leaves out channels of nothing but steady noise.

    Args:
        rate: Hz.
        channels: how many there are.
    """

    def __init__(self, rate: int, channels: int):
        self.rate, self.channels = rate, channels
        self._block = max(1, round(BLOCK_SECONDS * rate))  # samples
        self._context = round(CONTEXT_SECONDS / BLOCK_SECONDS)  # blocks
        self._centred = channels == 3
        self._mixed = slice(0, CENTRE) if self._centred else slice(0, channels)  # what is averaged
        self._samples: list[np.ndarray] = []  # not mixed yet
        self._held = 0  # samples in them
        self._power: list[np.ndarray] = []  # of blocks: from `context` blocks before the first that is not mixed
        self._measured = 0  # samples whose power is known, of those held
        self._weights: np.ndarray | None = None  # of the latest block: float32 [channels]
        self._best = 0  # the channel taken last where the average cancelled

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Takes float32 [n, channels] and returns float32 [m], what can be mixed so far."""
        if self.channels == 1:
            return samples[:, 0]
        self._samples.append(samples)
        self._held += len(samples)
        if self._held < 3 * self._context * self._block:
            return np.empty(0, np.float32)
        return self._mix(last=False)

    def last(self) -> np.ndarray:
        """The rest: float32 [m]."""
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
        """Mean power of each block in each band, of every channel and, last, of the average.

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

        average, found = 0, []
        for channel in range(self.channels):  # one after the other: there may be 64
            spectrum = rfft(blocks_of[:, :, channel])
            found.append(powers(spectrum))
            if self._mixed.start <= channel < self._mixed.stop:
                average = average + spectrum / (self._mixed.stop - self._mixed.start)
        return np.stack([*found, powers(average)], axis=2)

    def _choices(self, power: np.ndarray, first: int, end: int) -> np.ndarray:
        """Weights of the channels for the blocks from `first` to before `end`: float32 [blocks, channels]."""
        near = slice(first, end)
        level = 10 * np.log10(power.sum(axis=1) + SILENT_POWER)  # [blocks, channels + 1]
        quiet, loud = (_around(level, percent, self._context) for percent in (QUIET_PERCENT, LOUD_PERCENT))
        spread = loud - quiet
        steady, lively = spread < STEADY_DB, spread > LIVELY_DB

        weights = np.zeros((len(power), self.channels), np.float32)
        weights[:, self._mixed] = 1
        of_channels = np.arange(self.channels + 1) < weights[0].sum()
        speech = np.max(np.where(lively & of_channels, loud, -np.inf), axis=1, keepdims=True)
        noise = (steady & of_channels & (loud > speech - MATTERS_DB) & np.isfinite(speech))[:, : self.channels]
        weights[noise] = 0
        weights /= weights.sum(axis=1, keepdims=True)

        cancelled = self._cancelled(power)
        score = (np.minimum(spread, BEST_RANGE_DB) + loud / 10)[near, self._mixed.start : self._mixed.stop]
        for block in np.flatnonzero(cancelled[near]):
            best = int(np.argmax(score[block]))
            if score[block, best] > score[block, self._best] + STICKY_DB:
                self._best = best
            weights[first + block] = np.eye(1, self.channels, self._best)
        if self._centred:
            sides = loud[:, :CENTRE].max(axis=1)
            speaking = (loud[:, CENTRE] > sides - CENTRE_DB) & (loud[:, CENTRE] > SILENT_DB)
            speaking &= ~(steady[:, CENTRE] & lively[:, :CENTRE].any(axis=1))
            weights[speaking] = np.eye(1, self.channels, CENTRE)
        return weights[near]

    def _cancelled(self, power: np.ndarray) -> np.ndarray:
        """Where the average cancels: bool [blocks]."""
        power = uniform_filter1d(power, 3, axis=0)
        parts = power[:, :, self._mixed]
        expected = parts.sum(axis=2) / parts.shape[2] ** 2  # of independent channels: float32 [blocks, bands]
        whole = expected.sum(axis=1)
        audible = expected > np.maximum(BAND_SHARE * whole, SILENT_POWER)[:, None]
        lost = np.any(audible & (power[:, :, -1] < CANCELLED * expected), axis=1)
        near = 2 * round(NEAR_SECONDS / BLOCK_SECONDS) + 1
        share = uniform_filter1d(whole * lost, near) / (uniform_filter1d(whole, near) + SILENT_POWER)
        lost = maximum_filter1d(share > CANCELLED_SHARE, near)
        between = round(BETWEEN_SECONDS / BLOCK_SECONDS)
        return lost | minimum_filter1d(maximum_filter1d(lost, between), between)

    def _weighted(self, samples: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Samples [n, channels] by the weights of their blocks [blocks, channels], with fades between them."""
        usual = np.zeros(self.channels, np.float32)
        usual[self._mixed] = 1 / (self._mixed.stop - self._mixed.start)
        mono = samples[:, self._mixed].mean(axis=1, dtype=np.float32)
        before = weights[0] if self._weights is None else self._weights
        befores = np.concatenate([before[None], weights[:-1]])
        changed = (weights != usual).any(axis=1) | (befores != usual).any(axis=1)
        ramp = np.arange(1, self._block + 1, dtype=np.float32)[:, None] / self._block
        for block in np.flatnonzero(changed):
            part = slice(block * self._block, min((block + 1) * self._block, len(samples)))
            fade = befores[block] + ramp[: part.stop - part.start] * (weights[block] - befores[block])
            mono[part] = np.einsum("ij,ij->i", samples[part], fade)
        self._weights = weights[-1]
        return mono


def _around(level: np.ndarray, percent: float, context: int) -> np.ndarray:
    """A percentile of the levels [blocks, channels] over `context` blocks on either side."""
    size = 2 * min(context, len(level)) + 1
    return np.stack([percentile_filter(one, percent, size, mode="reflect") for one in level.T], axis=1)
FULL_SCALE_LIMIT = 16.0  # of a microphone; float samples beyond this are integers in disguise; full scale is 1.0


def to_mono(samples: np.ndarray, shown: str) -> np.ndarray:
    """[n] or [n, channels] of any sample type -> float32 [n], channels averaged."""
    mono = full_scale(samples)
    with np.errstate(over="ignore", invalid="ignore"):
        if mono.ndim == 2:
            mono = mono[:, 0] if mono.shape[1] == 1 else mono.mean(axis=1, dtype=np.float32)
    peak = np.abs(mono).max(initial=0)
    if not np.isfinite(peak):
        raise AudioError(f"{shown} holds samples that are not numbers (NaN or infinity): export it again.")
    if peak > FULL_SCALE_LIMIT:
        raise AudioError(f"{shown} holds samples up to {peak:.4g}; full scale is 1: scale it to -1 ... 1.")
    return mono
