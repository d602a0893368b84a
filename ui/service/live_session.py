"""`LiveSession`: one visitor who speaks. It takes chunks of audio, returns words, and keeps the audio on disk.

A session transcribes its chunks in a thread that runs only while there are any, so that the page never waits, and a
visitor who has left costs nothing. A recording consists of takes, each from Start to Pause. No Gradio events here.
"""

import secrets
import shutil
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asr_core.audio.resampling import ChunkResampler
from asr_core.errors import AsrError
from asr_core.streaming import Stream, Update
from asr_core.transcript.words import Transcript, Word, WrittenToken, written_word
from asr_core.transcript.written import in_paragraphs
from asr_core.transcript.written_stream import WrittenStream
from ui.service.clip import WRITTEN
from ui.service.engine import Engine
from ui.service.exports import write_files
from ui.service.folders import make_folder
from ui.service.requests import Limits, explain, headline, logged
from ui.service.wav import WavWriter

SILENT_SECONDS = 4.0  # of silence before the visitor is notified
SILENT_PEAK = 2e-3  # of full scale, -54 dB: a microphone that works exceeds it now and then, even in a quiet room
LATE_CHUNK_SECONDS = 0.8  # after a pause, in which chunks that were on their way are dropped
FINISH_SECONDS = 60.0  # how long a pause waits for the chunks in the inbox
SILENT = (
    "No signal",
    "The microphone records silence: check whether it is muted, or choose another one in the browser's settings.",
    "warning",
)


@dataclass(frozen=True)
class View:
    """The state of a session, as the page shows it.

    Attributes:
        phase: as that of the session.
        seconds: of audio that was transcribed.
        delay_seconds: latency of the latest words.
        final, partial: the words that will not change any more, and those that may, in the form that is shown.
        notice: (title, text, kind) of a message, or None.
    """

    phase: str
    seconds: float
    delay_seconds: float | None
    final: tuple[Word, ...]
    partial: tuple[Word, ...]
    notice: tuple[str, str, str] | None


class LiveSession:
    """The live transcription of one visitor; it is part of the visitor's `gr.State`.

    Attributes:
        id: unique, so that the page can distinguish recordings.
        phase: "loading" (the model), "listening", "paused", "stopped" or "closed".
        model: name of the model, None for the default.
        separator: what stands between two words: a space, or nothing in languages that are written without.
        form: "written" or "spoken": which form of the words is shown and downloaded; may be changed at any time.
        used: time.monotonic() of the latest chunk or pause.
    """

    def __init__(self, engine: Engine, model: str | None, limits: Limits):
        self.id = secrets.token_hex(8)
        self.phase = "loading"
        self.form = WRITTEN
        self.separator = " "
        self.model = model
        self.used = time.monotonic()
        self._engine, self._limits = engine, limits
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._inbox: list[tuple[int, np.ndarray, float]] = []  # sample rate, samples, time of arrival
        self._working = False
        self._stream: Stream | None = None
        self._recording: SessionAudio | None = None
        self._resampler: ChunkResampler | None = None
        self._offset = 0.0  # seconds of earlier takes
        self._final: list[Word] = []
        self._partial: tuple[Word, ...] = ()
        self._writer: WrittenStream | None = None  # if the model has a tagger
        self._tokens: list[WrittenToken] = []  # the final written form of `_final`
        self._written: list[Word] = []  # the words of `_tokens`
        self._written_partial: tuple[Word, ...] = ()
        self._delay: float | None = None
        self._silent_seconds = 0.0  # since a sample exceeded SILENT_PEAK
        self._notice: tuple[str, str, str] | None = None
        self._drop_until = 0.0

    @property
    def seconds(self) -> float:
        """Duration of the audio that was transcribed."""
        return self._recording.seconds if self._recording else 0.0

    @property
    def recording_path(self) -> str | None:
        """The path of a WAV file with the whole recording; None before the recording is stopped."""
        return str(self._recording.path) if self._recording and self.phase == "stopped" else None

    def push(self, samples: np.ndarray, rate: int, wait_seconds: float = 0.0) -> None:
        """Adds a chunk of audio; waits at most `wait_seconds` for its words, and not at all while the model loads."""
        with self._lock:
            self.used = time.monotonic()
            if self.phase in ("stopped", "closed") or self.used < self._drop_until:
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
            notice = self._notice or (SILENT if self._silent_seconds >= SILENT_SECONDS else None)
            written = self._writer is not None and self.form == WRITTEN
            final, partial = (self._written, self._written_partial) if written else (self._final, self._partial)
            return View(self.phase, self.seconds, self._delay, tuple(final), tuple(partial), notice)

    def pause(self) -> None:
        """Ends the take: transcribes the remaining chunks, after which all words are final.

        Raises:
            AsrError: this took longer than FINISH_SECONDS.
        """
        with self._lock:
            self.used = time.monotonic()
            self._drop_until = self.used + LATE_CHUNK_SECONDS
            if not self._idle.wait_for(lambda: not self._working, FINISH_SECONDS):
                raise AsrError("This machine is busy and has not transcribed everything yet: try again in a minute.")
            if self.phase in ("listening", "loading"):
                if self._stream is not None:
                    self._end_take()
                self.phase = "paused"
                self._silent_seconds = 0.0

    def stop(self) -> list[Path]:
        """Ends the recording. Returns its transcript as files, as `files` does."""
        self.pause()
        with self._lock:
            if self.phase == "closed":
                return []
            self.phase = "stopped"
            if self._recording is None:
                return []
            self._recording.close()
        return self.files()

    def files(self) -> list[Path]:
        """Writes the transcript of a stopped recording in all formats; no files if it has no words."""
        with self._lock:
            if self.phase != "stopped" or not self._final:
                return []
            transcript = in_paragraphs(
                Transcript(self._final, self.seconds, self._model_name, separator=self.separator, written=self._tokens)
            )
        return write_files(transcript, self._recording.path.with_suffix(""), "Live recording", self.form)

    def close(self) -> None:
        """Drops the remaining chunks and deletes the recording."""
        with self._lock:
            self.phase = "closed"
            self._inbox.clear()
            self._stream = None
            if self._recording is not None:
                self._recording.delete()

    # ---- runs in the session's thread

    def _work(self) -> None:
        """Transcribes the chunks in the inbox, all of them together, until it is empty."""
        while True:
            try:
                if self._stream is None:
                    self._begin(self._engine.recognizer(self.model))
                with self._lock:
                    chunks, self._inbox = self._inbox, []
                    if not chunks or self.phase == "closed":
                        self._working = False
                        self._idle.notify_all()
                        return
                self._transcribe(chunks)
            except Exception as error:
                with self._lock:
                    self._working = False
                    self._idle.notify_all()
                    self._inbox.clear()
                    if self.phase != "closed":  # else the error is that the recording has been deleted
                        title = headline(error)
                        self._notice = (title, explain(error), "error")
                    return

    def _begin(self, recognizer) -> None:
        with self._lock:
            if self.phase == "closed":
                return
            self._model_name = recognizer.name
            self.separator = recognizer.vocabulary.separator
            if recognizer.tagger is not None and self._writer is None:
                self._writer = WrittenStream(recognizer.tagger)
            self._stream = Stream(recognizer)
            self._resampler = ChunkResampler(recognizer.sample_rate)
            self._recording = SessionAudio(recognizer.sample_rate)
            self.phase = "listening"

    def _transcribe(self, chunks: list[tuple[int, np.ndarray, float]]) -> None:
        stream = self._stream
        for group in _by_rate(chunks):
            rate, first, arrived = group[0]
            for piece in self._resampler(np.concatenate([samples for _, samples, _ in group]), rate):
                self._record(piece)
                self._show(stream.feed(piece, stream.sample_rate))
            with self._lock:
                self._delay = time.monotonic() - arrived + len(first) / rate

    def _show(self, update: Update) -> None:
        with self._lock:
            final = [_moved(word, self._offset) for word in update.final]
            self._final += final
            self._partial = tuple(_moved(word, self._offset) for word in update.partial)
            if self._writer is not None:
                self._write(self._writer.add(final))
                self._written_partial = self._preview()

    def _preview(self) -> tuple[Word, ...]:
        """The written words that are not final."""
        tokens = self._writer.preview(self._partial)
        first = tokens[0].first if tokens else 0
        words = [*self._final[first:], *self._partial]
        moved = (replace(token, first=token.first - first, end=token.end - first) for token in tokens)
        return tuple(written_word(token, words) for token in moved)

    def _write(self, tokens: Sequence[WrittenToken]) -> None:
        self._tokens += tokens
        self._written += [written_word(token, self._final) for token in tokens]

    def _record(self, piece: np.ndarray) -> None:
        """Writes audio to disk, and checks its level and the limit of the recording."""
        if self.seconds > self._limits.audio_seconds:
            hours = self._limits.audio_seconds / 3600
            raise AsrError(f"The recording has reached the limit of {hours:g} hours: press Stop and begin another.")
        self._recording.write(piece)
        loud = np.abs(piece).max(initial=0) > SILENT_PEAK
        with self._lock:
            self._silent_seconds = 0.0 if loud else self._silent_seconds + len(piece) / self._recording.sample_rate
            self._notice = None

    def _end_take(self) -> None:
        stream = self._stream
        with logged("live", audio_seconds=round(stream.seconds, 2)):
            for piece in self._resampler.last():
                self._recording.write(piece)
                self._show(stream.feed(piece, stream.sample_rate))
            self._show(stream.finish())
            if self._writer is not None:
                with self._lock:
                    self._write(self._writer.finish())
                    self._written_partial = ()
        self._offset = self.seconds
        stream.reset()


class SessionAudio:
    """The recording of a session: a growing WAV file in a folder of its own, which is deleted with this object."""

    def __init__(self, sample_rate: int):
        folder = make_folder("live")
        self.path = folder / "live.wav"
        self.sample_rate, self.samples = sample_rate, 0
        self._file = WavWriter(self.path, sample_rate)
        self._delete = weakref.finalize(self, _delete, self._file, folder)

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    def write(self, samples: np.ndarray) -> None:
        """Appends float32 [n]."""
        self._file.write(samples)
        self.samples += len(samples)

    def close(self) -> None:
        """Completes the file, so that it can be read."""
        self._file.close()

    def delete(self) -> None:
        self._delete()


def _delete(file: WavWriter, folder: Path) -> None:
    file.close()
    shutil.rmtree(folder, ignore_errors=True)


def _by_rate(chunks: list[tuple[int, np.ndarray, float]]) -> list[list[tuple[int, np.ndarray, float]]]:
    """Groups neighbouring chunks of the same rate and shape, to be transcribed as one."""
    groups: list[list[tuple[int, np.ndarray, float]]] = []
    for chunk in chunks:
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
