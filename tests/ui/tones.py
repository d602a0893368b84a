"""A recogniser for tests of streaming: it recognises tones, and every tone is a word.

A run of steps with one of the tones gives the letters of its word and then a space. The words therefore depend only on
the samples, wherever these are cut and however often they are recognised.
"""

import numpy as np

from asr_core.emissions import Emissions
from asr_core.transcript.words import Word
from tests.ui.fake import STEP_SECONDS, FakeRecognizer

RATE = 16000
STEP = round(STEP_SECONDS * RATE)
TONES = {500: "red", 900: "green", 1300: "blue", 1700: "black", 2100: "white", 2500: "brown"}  # Hz
TONE_SECONDS, PAUSE_SECONDS = 0.6, 0.4  # at two steps a letter, five letters and a space fit
QUIET = 0.004


def tones(words: str, level: float = 0.3) -> np.ndarray:
    """The samples of words of TONES: float32 [n] at RATE."""
    hz = {word: hz for hz, word in TONES.items()}
    times = np.arange(round(TONE_SECONDS * RATE)) / RATE
    fade = np.minimum(1, np.minimum(times, times[::-1]) / 0.02)
    pause = np.zeros(round(PAUSE_SECONDS * RATE))
    parts = [np.r_[level * fade * np.sin(2 * np.pi * hz[word] * times), pause] for word in words.split()]
    return np.concatenate([pause, *parts]).astype(np.float32)


class ToneRecognizer(FakeRecognizer):
    """Recognises the words of `tones`."""

    step_seconds = STEP_SECONDS

    def emissions(self, audio, progress=None, cancel=None, on_emissions=None) -> Emissions:
        hz = [self._tone(audio.samples[start : start + STEP]) for start in range(0, len(audio.samples), STEP)]
        tokens = np.zeros(max(1, len(hz)), int)
        start = 0
        while start < len(hz):
            end = start + 1
            while end < len(hz) and hz[end] == hz[start]:
                end += 1
            if hz[start] and end - start > 2:  # shorter ones lie at the edge of a tone, or are noise
                spelled = self.vocabulary.encode(TONES[hz[start]] + " ")[: (end - start) // 2]
                tokens[start : start + 2 * len(spelled) : 2] = spelled
            start = end
        rows = np.full((len(tokens), len(self.vocabulary)), 1e-4)
        rows[np.arange(len(tokens)), tokens] = 0.99
        return Emissions(np.log(rows / rows.sum(axis=1, keepdims=True)).astype(np.float32), STEP_SECONDS)

    def _tone(self, samples: np.ndarray) -> int:
        """The nearest tone in Hz, or 0 for silence."""
        if len(samples) < STEP // 2 or np.sqrt(np.mean(samples**2)) < QUIET:
            return 0
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 2048))
        peak = np.argmax(spectrum) * RATE / 2048
        return min(TONES, key=lambda hz: abs(hz - peak))

    def calibrated(self, spans, seconds, neighbours=(None, None)):
        return tuple(Word(s.text, min(s.start, seconds), min(s.end, seconds), s.confidence) for s in spans)
