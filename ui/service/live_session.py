"""One visitor speaking: chunks go in, words come out, the sound is kept on disk. No Gradio events here.

A session hears its chunks in a thread that lives only while there are any, so that the page never waits and a
visitor who has left costs nothing. Takes (from Start to Pause) follow each other in one recording.
"""

import secrets
import shutil
import threading
import time
import wave
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gradio.utils import get_upload_folder

from asr_core.audio.resampling import ChunkResampler
from asr_core.errors import AsrError
from asr_core.streaming import Stream, Update
from asr_core.transcript.words import Transcript, Word
from ui.service.engine import Engine
from ui.service.exports import FORMATS, SubtitleLimits, written
from ui.service.requests import Limits, explain, headline, logged

SILENT_SECONDS = 4.0  # without any sound, before the visitor is told
SILENT_PEAK = 2e-3  # of full scale: -54 dB; a microphone in a quiet room is louder than that now and then
STRAGGLER_SECONDS = 0.8  # after a pause: a chunk that was on its way is no new take
FINISH_SECONDS = 60.0  # how long a pause waits for what has not been heard yet
SILENT = (
    "Nothing is heard",
    "The microphone is silent: is it muted, or is another one chosen in the browser's settings?",
    "warning",
)


@dataclass(frozen=True)
class View:
    """How a session stands: the words, seconds of sound heard, and how late the latest words were, in seconds."""

    phase: str
    seconds: float
    delay_seconds: float | None
    final: tuple[Word, ...]
    partial: tuple[Word, ...]
    notice: tuple[str, str, str] | None


class LiveSession:
    """What is heard of one visitor; lives in his `gr.State`.

    Attributes:
        id: tells the page one recording from the next.
        phase: "loading" (the model), "listening", "paused", "stopped" or "closed".
    """

    def __init__(self, engine: Engine, model: str | None, limits: Limits):
        self.id = secrets.token_hex(8)
        self.phase = "loading"
        self._engine, self._model, self._limits = engine, model, limits
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._inbox: list[tuple[int, np.ndarray, float]] = []
        self._working = False
        self._stream: Stream | None = None
        self._recording: SessionAudio | None = None
        self._incoming: ChunkResampler | None = None
        self._offset = 0.0  # seconds of earlier takes
        self._final: list[Word] = []
        self._partial: tuple[Word, ...] = ()
        self._delay: float | None = None
        self._quiet = 0.0  # seconds since anything was louder than SILENT_PEAK
        self._notice: tuple[str, str, str] | None = None
        self._deaf_until = 0.0

    @property
    def seconds(self) -> float:
        """Of sound that was heard."""
        return self._recording.seconds if self._recording else 0.0

    @property
    def recording_path(self) -> str | None:
        """A WAV file with all of it, once stopped."""
        return str(self._recording.path) if self._recording and self.phase == "stopped" else None

    def push(self, samples: np.ndarray, rate: int, wait_seconds: float = 0.0) -> None:
        """Takes some sound; waits a moment for its words, but for no model that is loading."""
        with self._lock:
            if self.phase in ("stopped", "closed") or time.monotonic() < self._deaf_until:
                return
            if self.phase == "paused":
                self.phase = "listening"
            self._inbox.append((rate, samples, time.monotonic()))
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, name="live", daemon=True).start()
            if self.phase == "listening":
                self._idle.wait_for(lambda: not self._working, wait_seconds)

    def view(self) -> View:
        with self._lock:
            notice = self._notice or (SILENT if self._quiet >= SILENT_SECONDS else None)
            return View(self.phase, self.seconds, self._delay, tuple(self._final), self._partial, notice)

    def pause(self) -> None:
        """Ends the take: hears what is left, and all words are final.

        Raises:
            AsrError: too much is waiting to be heard.
        """
        with self._lock:
            self._deaf_until = time.monotonic() + STRAGGLER_SECONDS
            if not self._idle.wait_for(lambda: not self._working, FINISH_SECONDS):
                raise AsrError("This machine is busy and has not heard everything yet: try again in a minute.")
            if self.phase in ("listening", "loading"):
                if self._stream is not None:
                    self._end_take()
                self.phase = "paused"
                self._quiet = 0.0

    def stop(self) -> list[Path]:
        """Ends the recording. Returns its transcript as files, one of each of FORMATS; none if nothing was said."""
        self.pause()
        with self._lock:
            if self.phase == "closed":
                return []
            self.phase = "stopped"
            if self._recording is None:
                return []
            self._recording.close()
            transcript = Transcript(tuple(self._final), self.seconds, self._model_name)
        paths = []
        for extension in FORMATS if transcript.words else ():
            path = self._recording.path.with_name(f"live.{extension}")
            path.write_text(written(transcript, extension, SubtitleLimits(), "Live recording"), encoding="utf-8")
            paths.append(path)
        return paths

    def close(self) -> None:
        """Lets everything go: what waits is not heard, the recording is deleted."""
        with self._lock:
            self.phase = "closed"
            self._inbox.clear()
            self._stream = None
            if self._recording is not None:
                self._recording.delete()

    # ---- in its own thread

    def _work(self) -> None:
        """Hears what waits in the inbox, all of it at once, until nothing does."""
        while True:
            try:
                if self._stream is None:
                    self._begin(self._engine.recognizer(self._model))
                with self._lock:
                    waiting, self._inbox = self._inbox, []
                    if not waiting or self.phase == "closed":
                        self._working = False
                        self._idle.notify_all()
                        return
                self._hear(waiting)
            except Exception as error:
                with self._lock:
                    self._working = False
                    self._idle.notify_all()
                    self._inbox.clear()
                    if self.phase != "closed":  # else the recording has gone under our hands
                        title = headline(error)
                        self._notice = (title, explain(error), "error")
                    return

    def _begin(self, recognizer) -> None:
        with self._lock:
            if self.phase == "closed":
                return
            self._model_name = recognizer.name
            self._stream = Stream(recognizer)
            self._incoming = ChunkResampler(recognizer.sample_rate)
            self._recording = SessionAudio(recognizer.sample_rate)
            self.phase = "listening"

    def _hear(self, waiting: list[tuple[int, np.ndarray, float]]) -> None:
        stream = self._stream
        for group in _same_rate(waiting):
            rate, first, arrived = group[0]
            for piece in self._incoming(np.concatenate([samples for _, samples, _ in group]), rate):
                self._keep(piece)
                self._take(stream.feed(piece, stream.sample_rate))
            with self._lock:
                self._delay = time.monotonic() - arrived + len(first) / rate

    def _take(self, update: Update) -> None:
        with self._lock:
            self._final += [_moved(word, self._offset) for word in update.final]
            self._partial = tuple(_moved(word, self._offset) for word in update.partial)

    def _keep(self, piece: np.ndarray) -> None:
        """Writes the sound to disk, and minds its level and the limit."""
        if self.seconds > self._limits.audio_seconds:
            hours = self._limits.audio_seconds / 3600
            raise AsrError(f"The recording has reached the limit of {hours:g} hours: press Stop and begin another.")
        self._recording.write(piece)
        loud = np.abs(piece).max(initial=0) > SILENT_PEAK
        with self._lock:
            self._quiet = 0.0 if loud else self._quiet + len(piece) / self._recording.sample_rate
            self._notice = None

    def _end_take(self) -> None:
        stream = self._stream
        with logged("live", audio_seconds=round(stream.seconds, 2)):
            for piece in self._incoming.last():
                self._recording.write(piece)
                self._take(stream.feed(piece, stream.sample_rate))
            self._take(stream.finish())
        self._offset = self.seconds
        stream.reset()


class SessionAudio:
    """A WAV file that grows, in a folder of its own that goes with this object."""

    def __init__(self, sample_rate: int):
        folder = Path(get_upload_folder()) / f"live-{secrets.token_hex(16)}"
        folder.mkdir(parents=True)
        self.path = folder / "live.wav"
        self.sample_rate, self.samples = sample_rate, 0
        self._file = wave.open(str(self.path), "wb")
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(sample_rate)
        self._delete = weakref.finalize(self, _delete, self._file, folder)

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    def write(self, samples: np.ndarray) -> None:
        """Appends float32 [n]."""
        self._file.writeframesraw((samples * 32767).astype("<i2").tobytes())
        self.samples += len(samples)

    def close(self) -> None:
        """Finishes the file, so that it can be read."""
        self._file.close()

    def delete(self) -> None:
        self._delete()


def _delete(file: wave.Wave_write, folder: Path) -> None:
    file.close()
    shutil.rmtree(folder, ignore_errors=True)


def _same_rate(waiting: list[tuple[int, np.ndarray, float]]) -> list[list[tuple[int, np.ndarray, float]]]:
    """Neighbours of one rate and shape together, to be heard as one chunk."""
    groups: list[list[tuple[int, np.ndarray, float]]] = []
    for chunk in waiting:
        rate, samples, _ = chunk
        last = groups[-1][-1] if groups else None
        alike = last and last[0] == rate and (last[1].dtype, last[1].shape[1:]) == (samples.dtype, samples.shape[1:])
        if alike:
            groups[-1].append(chunk)
        else:
            groups.append([chunk])
    return groups


def _moved(word: Word, seconds: float) -> Word:
    return Word(word.text, word.start + seconds, word.end + seconds, word.confidence)
