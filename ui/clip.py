"""A recording that a visitor opened, with all that was computed from it.

A clip lives in the visitor's `gr.State` and nowhere else; the shelf only points at it, weakly, so that the timeline
can ask for detail by an unguessable token. When the visitor leaves, the clip and its sound file go.
"""

import secrets
import shutil
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from gradio.utils import get_upload_folder

PEAK_BLOCK_SAMPLES = 256  # one (min, max) pair each: 57.6 M samples of an hour become 225 thousand pairs
FULL_SCALE = 32767  # of a 16-bit sample


class Sound:
    """Samples on disk as a 16-bit WAV file, which the page plays and the timeline reads piecewise.

    An hour at 16 kHz is 115 MB: mapped, not held. The folder has a random name inside Gradio's own, the only one
    that its file route serves, and is deleted with this object.
    """

    def __init__(self, samples: np.ndarray, sample_rate: int):
        self.sample_rate = sample_rate
        self.seconds = len(samples) / sample_rate
        self.folder = Path(get_upload_folder()) / f"sound-{secrets.token_hex(16)}"
        self.folder.mkdir(parents=True)
        self.path = self.folder / "sound.wav"
        self._delete = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        pcm = np.round(np.clip(samples, -1, 1) * FULL_SCALE).astype("<i2")
        soundfile.write(self.path, pcm, sample_rate, subtype="PCM_16")
        header_bytes = self.path.stat().st_size - pcm.nbytes
        self.samples = np.memmap(self.path, "<i2", mode="r", offset=header_bytes, shape=pcm.shape)
        self.block_peaks = _block_peaks(pcm)

    def delete(self) -> None:
        self._delete()


def _block_peaks(pcm: np.ndarray) -> np.ndarray:
    """int16 [blocks, 2], smallest and largest sample of each whole block."""
    blocks = len(pcm) // PEAK_BLOCK_SAMPLES
    cut = pcm[: blocks * PEAK_BLOCK_SAMPLES].reshape(blocks, PEAK_BLOCK_SAMPLES)
    if not blocks:
        return np.zeros((0, 2), "<i2")
    return np.stack([cut.min(axis=1), cut.max(axis=1)], axis=1)


@dataclass(frozen=True, eq=False)
class Clip:
    """One recording of one visitor.

    Attributes:
        name: what the visitor called the file, for display and download names; not a path.
        sound: the samples, at the model's rate.
        emissions: log-probabilities of the network, kept so that decoding again costs no network.
        transcript: the words as they stand now, after any edit.
        choice: how it was decoded (ui.decoding.Choice).
        model: name under which the engine knows the model.
        tokens: the model's vocabulary, blank first.
        compute_seconds: from opening the file to the words.
        edited: whether a person changed the words.
        hypotheses: n-best list of the last beam search, best first; empty for greedy decoding.
        reference: what was really said, where that is known (the examples).
        token: unguessable name under which the page asks for detail of this clip.
    """

    name: str
    sound: Sound
    emissions: Any
    transcript: Any
    choice: Any
    model: str
    tokens: tuple[str, ...]
    compute_seconds: float
    edited: bool = False
    hypotheses: tuple = ()
    reference: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def seconds(self) -> float:
        return self.sound.seconds

    @property
    def real_time_factor(self) -> float:
        return self.compute_seconds / max(self.seconds, 1e-9)

    def with_transcript(self, transcript, **changes) -> "Clip":
        """The same recording read differently, under a new token."""
        return replace(self, transcript=transcript, token=secrets.token_urlsafe(16), **changes)


class Shelf:
    """Finds a clip by its token for as long as its visitor holds it."""

    def __init__(self):
        self._clips: weakref.WeakValueDictionary[str, Clip] = weakref.WeakValueDictionary()

    def put(self, clip: Clip) -> Clip:
        self._clips[clip.token] = clip
        return clip

    def get(self, token: str) -> Clip | None:
        return self._clips.get(token) if isinstance(token, str) else None
