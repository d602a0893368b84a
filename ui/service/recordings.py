"""Corrected transcripts with their audio -> a zip with a manifest, on which `python -m train` adapts a model.

A recording is cut at pauses into pieces of a few seconds, since clips of training are short. The pieces lie in a folder
of the visitor's session, and are deleted with it.
"""

import errno
import json
import shutil
import time
import weakref
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import soundfile

from asr_core.errors import AlignmentError
from ui.service.clip import Clip
from ui.service.exports import safe_stem
from ui.service.folders import make_folder

MAX_PIECE_SECONDS = 12.0  # the trainer leaves out clips of more than 16 s
PAUSE_SECONDS = 1.0  # a pause of more than this ends a piece: there may be speech in it that the text lacks
MARGIN_SECONDS = 0.25  # kept before the first word of a piece and after the last
MIN_PIECE_SECONDS = 0.5  # words that were not spoken have no duration


@dataclass(frozen=True)
class Piece:
    """A part of a recording with its words; times in seconds."""

    start: float
    end: float
    text: str


class Recordings:
    """What a visitor has collected in this session; it is part of the visitor's `gr.State`.

    Attributes:
        name: of the zip and of the folder in it.
    """

    def __init__(self):
        self.name = ""
        self._folder: Path | None = None
        self._rows: dict[Path, list[dict]] = {}  # of each recording, by the folder of its audio

    @property
    def count(self) -> int:
        """Number of pieces."""
        return sum(map(len, self._rows.values()))

    @property
    def seconds(self) -> float:
        return sum(row["seconds"] for rows in self._rows.values() for row in rows)

    def add(self, clip: Clip, transcript) -> int:
        """Adds a recording with its aligned text, or replaces it if it was added before; returns the number of pieces.

        Args:
            clip: has the audio.
            transcript: the corrected text aligned with it (`asr_core.transcript.words.Transcript`).

        Raises:
            AlignmentError: the text is not that of the recording.
            OSError: the disk is full.
        """
        found = [one for one in pieces(transcript.words, clip.seconds) if one.end - one.start > MIN_PIECE_SECONDS]
        if transcript.notes or not found:
            raise AlignmentError(" ".join(transcript.notes) or "None of these words was found in the recording.")
        folder = self._make_folder()
        known = list(self._rows)
        number = known.index(clip.audio.folder) if clip.audio.folder in known else len(known)
        stem = f"{number + 1:03}-{safe_stem(clip.name)}"
        rows = []
        for i, piece in enumerate(found, 1):
            first, last = (round(seconds * clip.audio.sample_rate) for seconds in (piece.start, piece.end))
            samples = clip.audio.samples[first:last]
            file = f"{stem}-{i:03}.flac"
            try:
                soundfile.write(folder / file, samples, clip.audio.sample_rate, subtype="PCM_16")
            except soundfile.SoundFileError as error:
                raise OSError(errno.ENOSPC, "The recording cannot be written") from error
            seconds = round(len(samples) / clip.audio.sample_rate, 3)
            rows.append({"id": f"{self.name}/{file}", "audio": file, "seconds": seconds, "speaker": "me",
                         "text": piece.text, "corpus": "own recordings"})  # fmt: skip
        self._rows[clip.audio.folder] = rows
        return len(rows)

    def zip(self) -> Path:
        """Writes everything collected to a zip, which has one folder with the audio files and manifest.jsonl."""
        folder = self._make_folder()
        for old in folder.glob("*.zip"):
            old.unlink()
        path = folder / f"{self.name}-{self.count}.zip"  # a name of its own: a browser may keep a file by its address
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for rows in self._rows.values() for row in rows]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{self.name}/manifest.jsonl", "".join(lines))
            for row in (row for rows in self._rows.values() for row in rows):
                archive.write(folder / row["audio"], f"{self.name}/{row['audio']}")
        return path

    def _make_folder(self) -> Path:
        if self._folder is None:
            self.name = f"recordings-{time.strftime('%Y%m%d-%H%M%S')}"
            self._folder = make_folder("recordings")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder


def pieces(words, seconds: float) -> Iterator[Piece]:
    """Cuts aligned words into pieces of at most MAX_PIECE_SECONDS, at long pauses and else at the widest.

    Args:
        words: of an aligned text, in order.
        seconds: length of the recording.
    """
    gaps = [max(0.0, after.start - before.end) for before, after in pairwise(words)]
    margins = [MARGIN_SECONDS, *(min(MARGIN_SECONDS, gap / 2) for gap in gaps), MARGIN_SECONDS]
    waiting = [(0, len(words))] if words else []
    while waiting:
        first, end = waiting.pop()
        widest = max(range(first, end - 1), key=gaps.__getitem__, default=None)
        is_long = words[end - 1].end - words[first].start > MAX_PIECE_SECONDS - 2 * MARGIN_SECONDS
        if widest is not None and (is_long or gaps[widest] > PAUSE_SECONDS):
            waiting += [(widest + 1, end), (first, widest + 1)]  # the earlier part is the next
            continue
        start, stop = words[first].start - margins[first], words[end - 1].end + margins[end]
        yield Piece(max(0.0, start), min(seconds, stop), " ".join(word.text for word in words[first:end]))
