"""A recogniser for tests: quick, deterministic, and without a network.

It recognises FAKE_TEXT in every recording that is not silent, spread evenly over it, with one doubtful word.
"""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from asr_core.audio.loading import Audio, load_audio
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.rescoring import NO_RESCORING
from asr_core.decoding.text_alignment import align_text
from asr_core.emissions import Emissions
from asr_core.errors import Cancelled
from asr_core.recognizer import Recognition
from asr_core.text.pasted import without_subtitle_markup
from asr_core.text.vocabulary import Vocabulary
from asr_core.transcript.words import Transcript, Word

FAKE_TEXT = "the quick brown fox jumps over the lazy dog"
DOUBTFUL_WORD = "lazy"
STEP_SECONDS = 0.04


class FakeRecognizer:
    def __init__(self, name: str = "fake", text: str = FAKE_TEXT, trained: bool = True):
        self.name, self.text = name, text
        self.sample_rate, self.step_seconds = 16000, STEP_SECONDS
        self.vocabulary = Vocabulary()
        self.language_model = self.tagger = None
        self.rescoring = NO_RESCORING
        self.bundle = SimpleNamespace(
            name=name,
            path="fake",
            bytes=1_234_567,
            notes=(),
            checkpoint=None,
            readme="",
            trained=trained,
            sample_rate=16000,
            decoder_options=lambda: DecoderOptions(decoder="greedy"),
            config={
                "name": name,
                "trained": trained,
                "architecture": {"name": "conformer", "sizes": {"width": 8}},
                "featurizer": {"name": "log-mel", "sample_rate": 16000},
                "sample_rate": 16000,
                "licence": "CC0-1.0",
                "parameters": 1234567,
                "training_data": [{"name": "nothing", "hours": 0.0, "licence": "CC0-1.0"}],
                "evaluation": [{"dataset": "fake", "split": "valid", "decoder": "greedy", "wer": 0.25, "cer": 0.1}],
            },
        )

    def warm_up(self) -> None:
        pass

    def load(self, source, max_seconds=None, track=None) -> Audio:
        return source if isinstance(source, Audio) else load_audio(source, self.sample_rate)

    def emissions(self, audio, progress=None, cancel=None, on_emissions=None) -> Emissions:
        if cancel is not None and cancel.is_set():
            raise Cancelled()
        if progress:
            progress(1.0)
        steps = max(1, int(audio.seconds / STEP_SECONDS))
        return Emissions(self._log_probs(steps, np.abs(audio.samples).max() > 1e-3), STEP_SECONDS, 0.0)

    def _log_probs(self, steps: int, speaks: bool) -> np.ndarray:
        rng = np.random.default_rng(1)
        probabilities = rng.dirichlet(np.full(len(self.vocabulary), 0.2), size=steps) * 0.04
        probabilities[:, 0] += 0.96
        tokens = self.vocabulary.encode(self.text)
        doubtful = re.search(DOUBTFUL_WORD, self.text)
        if speaks and steps > 2 * len(tokens):
            for i, token in enumerate(tokens):
                step = round((i + 0.7) * steps / len(tokens + [0]))
                sure = 0.5 if doubtful and doubtful.start() <= i < doubtful.end() else 0.97
                probabilities[step] *= 1 - sure
                probabilities[step, token] += sure
        return np.log(probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)

    def decode(self, emissions, seconds, options=None, hot_words=(), progress=None, cancel=None) -> Recognition:
        best = greedy(emissions, self.vocabulary)
        n_best = (best,) * (options.n_best if options and options.decoder == "beam" else 1)
        return Recognition(self.transcript(best.words, seconds), n_best, emissions)

    def recognize(self, source, options=None, progress=None, cancel=None, *, hot_words=(), on_emissions=None):
        audio = self.load(source)
        emissions = self.emissions(audio, progress, cancel, on_emissions)
        found = self.decode(emissions, audio.seconds, options, hot_words)
        return replace(found, transcript=replace(found.transcript, notes=audio.notes))

    def transcribe(self, source, *args, **kwargs) -> Transcript:
        return self.recognize(source, *args, **kwargs).transcript

    def align(self, emissions, seconds, text, cancel=None):
        alignment = align_text(emissions, without_subtitle_markup(text), self.vocabulary)
        return replace(self.transcript(alignment.words, seconds), notes=alignment.notes)

    def transcript(self, words, seconds) -> Transcript:
        return Transcript(
            tuple(Word("".join(word.text.split()), word.start, word.end, word.confidence) for word in words),
            seconds,
            self.name,
        )
