"""`Clip`: a recording that a visitor opened, with all that was computed from it.

A clip is held only by the visitor's `gr.State`. The `ClipRegistry` has weak references, through which the timeline
requests tiles by an unguessable token. When the visitor leaves, the clip and its audio file are deleted.
"""

import secrets
import shutil
import weakref
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asr_core.text.pasted import ALIGNMENT_NOTES
from asr_core.text.vocabulary import Vocabulary
from ui.service.folders import make_folder
from ui.service.wav import WavWriter

PEAK_BLOCK_SAMPLES = 256  # samples for each (min, max) pair of the waveform
WRITTEN_SAMPLES = 4096 * PEAK_BLOCK_SAMPLES  # converted at a time: small enough for the processor's cache
WRITTEN, SPOKEN = FORMS = ("written", "spoken")  # forms of a transcript
MAX_HYPOTHESES = 10  # length of the n-best list that a clip keeps


class ClipAudio:
    """The samples of a clip in a 16-bit WAV file, which the page plays and of which the timeline reads pieces.

    The file is mapped and not held in memory: an hour at 16 kHz has 115 MB. Its folder has a random name inside
    Gradio's upload folder, the only one that Gradio's file route serves, and is deleted with this object.

    Attributes:
        samples: int16 [n], mapped from the file.
        block_peaks: int16 [blocks, 2], lowest and highest sample of each PEAK_BLOCK_SAMPLES.
        folder: for all files about the clip.
        path: of the WAV file.
    """

    def __init__(self, samples: np.ndarray, sample_rate: int):
        self.sample_rate = sample_rate
        self.seconds = len(samples) / sample_rate
        self.folder = make_folder("sound")
        self._delete = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.path = self.folder / "sound.wav"
        try:
            self.block_peaks = _write_wav(self.path, samples, sample_rate)
        except OSError:  # the disk is full: free the space at once
            self.delete()
            raise
        offset = self.path.stat().st_size - 2 * len(samples)  # size of the header
        self.samples = np.memmap(self.path, "<i2", mode="r", offset=offset, shape=samples.shape)

    def delete(self) -> None:
        self._delete()


def _write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Writes the file piece by piece; returns the peaks of all blocks that are complete, int16 [blocks, 2]."""
    peaks = []
    with closing(WavWriter(path, sample_rate)) as file:
        for first in range(0, len(samples), WRITTEN_SAMPLES):
            pcm = file.write(samples[first : first + WRITTEN_SAMPLES])
            blocks = pcm[: len(pcm) // PEAK_BLOCK_SAMPLES * PEAK_BLOCK_SAMPLES].reshape(-1, PEAK_BLOCK_SAMPLES)
            peaks.append(np.stack([blocks.min(axis=1), blocks.max(axis=1)], axis=1))
    return np.concatenate(peaks)


@dataclass(frozen=True, eq=False)
class Clip:
    """One recording of one visitor.

    Attributes:
        name: of the visitor's file, for display and download names; not a path.
        audio: the samples, at the model's rate.
        emissions: of the network (`asr_core.emissions.Emissions`), kept so that the clip can be decoded again.
        transcript: the current words, with the visitor's corrections.
        overrides: the decoding that the visitor set (`ui.service.overrides.DecodingOverrides`).
        model: name of the model in the engine.
        tokens: the model's vocabulary, blank first.
        language: code of the language that the model writes; "" if it is not known.
        compute_seconds: from opening the file to the words.
        trained: whether the model has been trained; the words of an untrained one mean nothing.
        edited: whether a person changed the words.
        hypotheses: n-best list of the last beam search, at most MAX_HYPOTHESES; empty for greedy decoding.
        reference: the correct text, if it is known (of the examples).
        source: path of the visitor's file.
        track, tracks: which of the audio tracks of the file this is, from 1, and how many the file has.
        form: "written", with capitals, punctuation and figures where the model can, or "spoken".
        compared: the same recording as another model transcribed it, shown below this one; or None.
        token: unguessable name by which the page requests tiles of this clip.
    """

    name: str
    audio: ClipAudio
    emissions: Any
    transcript: Any
    overrides: Any
    model: str
    tokens: tuple[str, ...]
    compute_seconds: float
    trained: bool = True
    edited: bool = False
    hypotheses: tuple = ()
    reference: str = ""
    source: str = ""
    track: int = 1
    tracks: int = 1
    form: str = WRITTEN
    language: str = ""
    compared: "Clip | None" = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def seconds(self) -> float:
        return self.audio.seconds

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary, by which texts for this clip are normalised."""
        return Vocabulary(self.tokens, self.language)

    @property
    def real_time_factor(self) -> float:
        return self.compute_seconds / max(self.seconds, 1e-9)

    @property
    def shown_words(self) -> tuple:
        """The words in the form that the visitor chose."""
        return self.transcript.written_words if self.form == WRITTEN else self.transcript.words

    @property
    def shown_text(self) -> str:
        """The text in the form that the visitor chose, with an empty line between paragraphs."""
        return self.transcript.written_text if self.form == WRITTEN else self.transcript.text

    def with_transcript(self, transcript, **changes) -> "Clip":
        """The same recording with another transcript and a new token; notes on the recording stay."""
        of_recording = [note for note in self.transcript.notes if note not in ALIGNMENT_NOTES]
        transcript = replace(transcript, notes=tuple(dict.fromkeys((*of_recording, *transcript.notes))))
        return replace(self, transcript=transcript, token=secrets.token_urlsafe(16), **changes)


class ClipRegistry:
    """Finds a clip by its token as long as the visitor's state holds the clip."""

    def __init__(self):
        self._clips: weakref.WeakValueDictionary[str, Clip] = weakref.WeakValueDictionary()

    def put(self, clip: Clip) -> Clip:
        self._clips[clip.token] = clip
        return clip

    def get(self, token: str) -> Clip | None:
        return self._clips.get(token) if isinstance(token, str) else None
