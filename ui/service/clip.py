"""A recording that a visitor opened, with all that was computed from it.

A clip lives in the visitor's `gr.State` and nowhere else; the shelf only points at it, weakly, so that the timeline
can ask for detail by an unguessable token. When the visitor leaves, the clip and its sound file go.
"""

import secrets
import shutil
import wave
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from gradio.utils import get_upload_folder

from asr_core.text.pasted import ALIGNMENT_NOTES

PEAK_BLOCK_SAMPLES = 256  # one (min, max) pair each: 57.6 M samples of an hour become 225 thousand pairs
WRITTEN_SAMPLES = 4096 * PEAK_BLOCK_SAMPLES  # at a time: small enough for the processor's cache
MAX_TEXTS = 10  # of a beam search that a clip keeps
FULL_SCALE = 32767  # of a 16-bit sample


class ClipAudio:
    """Samples on disk as a 16-bit WAV file, which the page plays and the timeline reads piecewise.

    An hour at 16 kHz is 115 MB: mapped, not held. The folder has a random name inside Gradio's own, the only one
    that its file route serves, and is deleted with this object.
    """

    def __init__(self, samples: np.ndarray, sample_rate: int):
        self.sample_rate = sample_rate
        self.seconds = len(samples) / sample_rate
        self.folder = Path(get_upload_folder()) / f"sound-{secrets.token_hex(16)}"
        self.folder.mkdir(parents=True)
        self._delete = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.path = self.folder / "sound.wav"
        try:
            self.block_peaks = _write_wav(self.path, samples, sample_rate)
        except OSError:  # a full disk needs the room at once, not when the error has been forgotten
            self.delete()
            raise
        offset = self.path.stat().st_size - 2 * len(samples)  # behind the header
        self.samples = np.memmap(self.path, "<i2", mode="r", offset=offset, shape=samples.shape)

    def delete(self) -> None:
        self._delete()


def _write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Writes 16-bit PCM piece by piece; returns int16 [blocks, 2], lowest and highest sample of each whole block."""
    peaks = []
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.setnframes(len(samples))
        for first in range(0, len(samples), WRITTEN_SAMPLES):
            scaled = np.clip(samples[first : first + WRITTEN_SAMPLES], -1, 1)
            scaled *= FULL_SCALE
            pcm = np.rint(scaled, out=scaled).astype("<i2")
            file.writeframesraw(pcm.tobytes())
            blocks = pcm[: len(pcm) // PEAK_BLOCK_SAMPLES * PEAK_BLOCK_SAMPLES].reshape(-1, PEAK_BLOCK_SAMPLES)
            peaks.append(np.stack([blocks.min(axis=1), blocks.max(axis=1)], axis=1))
    return np.concatenate(peaks)


@dataclass(frozen=True, eq=False)
class Clip:
    """One recording of one visitor.

    Attributes:
        name: what the visitor called the file, for display and download names; not a path.
        sound: the samples, at the model's rate.
        emissions: log-probabilities of the network, kept so that decoding again costs no network.
        transcript: the words as they stand now, after any edit.
        choice: how it was decoded (ui.service.overrides.Choice).
        model: name under which the engine knows the model.
        tokens: the model's vocabulary, blank first.
        compute_seconds: from opening the file to the words.
        trained: whether the model has learned to transcribe; what an untrained one writes means nothing.
        edited: whether a person changed the words.
        hypotheses: the MAX_TEXTS best of the last beam search, best first; empty for greedy decoding.
        reference: what was really said, where that is known (the examples).
        source: path of the visitor's file.
        track, tracks: which of its audio tracks this is, from 1, and how many it has.
        token: unguessable name under which the page asks for detail of this clip.
    """

    name: str
    sound: ClipAudio
    emissions: Any
    transcript: Any
    choice: Any
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
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def seconds(self) -> float:
        return self.sound.seconds

    @property
    def real_time_factor(self) -> float:
        return self.compute_seconds / max(self.seconds, 1e-9)

    def with_transcript(self, transcript, **changes) -> "Clip":
        """The same recording read differently, under a new token; notes on the recording stay."""
        of_recording = [note for note in self.transcript.notes if note not in ALIGNMENT_NOTES]
        transcript = replace(transcript, notes=(*of_recording, *transcript.notes))
        return replace(self, transcript=transcript, token=secrets.token_urlsafe(16), **changes)


class ClipRegistry:
    """Finds a clip by its token for as long as its visitor holds it."""

    def __init__(self):
        self._clips: weakref.WeakValueDictionary[str, Clip] = weakref.WeakValueDictionary()

    def put(self, clip: Clip) -> Clip:
        self._clips[clip.token] = clip
        return clip

    def get(self, token: str) -> Clip | None:
        return self._clips.get(token) if isinstance(token, str) else None
