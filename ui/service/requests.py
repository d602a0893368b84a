"""From a visitor's file to a clip, and from a clip to another reading of it. No Gradio here.

Every request leaves one structured log line: seconds of audio, seconds of work, outcome; never words or sound.
"""

import errno
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from asr_core.errors import AsrError, AudioError
from ui.service.clip import MAX_TEXTS, Clip, ClipAudio
from ui.service.engine import Engine

log = logging.getLogger("asr.requests")

WATCH_SECONDS = 0.3  # between two looks at work that goes on
LAST_SECONDS = 0.1  # at the end of a recording, which make no step of their own
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask for; said on the page before it is hit.

    Attributes:
        file_megabytes: largest upload.
        audio_seconds: longest recording; README says what three hours take.
        batch_files: most files in one batch.
        batch_seconds: all recordings of a batch together.
        text_characters: longest text pasted.
    """

    file_megabytes: int = 200
    audio_seconds: float = 4 * 3600
    batch_files: int = 100
    batch_seconds: float = 4 * 3600
    text_characters: int = 200_000


class CancelFlag:
    """Set by the stop button, read by the recogniser between windows. Lies in a visitor's state: it can be copied."""

    def __init__(self):
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set


class CurrentRequest:
    """The latest of a visitor's requests, the only one that may show anything. Lies in his state.

    Attributes:
        flag: cancels it.
        name: of its recording; "" where none is open.
    """

    def __init__(self):
        self.flag, self.name = CancelFlag(), ""
        self._outcome: tuple[CancelFlag, list] | None = None

    def begin(self, name: str = "") -> CancelFlag:
        """Cancels the request before; returns the flag of the new one."""
        self.flag.set()
        self.flag, self.name = CancelFlag(), name
        return self.flag

    def leave(self, flag: CancelFlag, updates: list) -> None:
        """Keeps what the request of this flag has to show, for the event after it."""
        self._outcome = flag, updates

    def take(self) -> list | None:
        """What the latest request left, once; None where it left nothing, or another one has begun since."""
        outcome, self._outcome = self._outcome, None
        return outcome[1] if outcome is not None and outcome[0] is self.flag else None


class BackgroundJob:
    """Work in a thread of its own, watched from a generator of Gradio's.

    Iterating gives the share done now and then until the work ends; then `result` has its result or raises its
    error. When nobody iterates any longer, because the visitor has left, the work is cancelled.

    Args:
        work: called with a progress callback.
        cancel: the flag that `work` heeds.
    """

    def __init__(self, work: Callable, cancel: CancelFlag):
        self._work, self._cancel = work, cancel
        self._future: Future = Future()

    def __iter__(self):
        share = [0.0]
        threading.Thread(target=self._run, args=(lambda done: share.__setitem__(0, done),), daemon=True).start()
        told = 0.0
        try:
            while not wait([self._future], timeout=WATCH_SECONDS).done:
                if share[0] - told >= 0.01:
                    told = share[0]
                    yield told
        except GeneratorExit:
            self._cancel.set()
            raise

    def _run(self, progress) -> None:
        try:
            self._future.set_result(self._work(progress))
        except Exception as error:
            self._future.set_exception(error)
        except BaseException as error:  # would end the thread that asks, and the server with it
            self._future.set_exception(RuntimeError(f"the work was ended by {type(error).__name__}"))

    @property
    def result(self):
        return self._future.result()


@contextmanager
def logged(request: str, **facts):
    """One log line for the request; `facts` may be added to inside the block."""
    started = time.perf_counter()
    outcome = "ok"
    try:
        yield facts
    except AsrError as error:
        outcome = type(error).__name__
        raise
    except BaseException:
        outcome = "failure"
        raise
    finally:
        facts |= {"outcome": outcome, "compute_seconds": round(time.perf_counter() - started, 4)}
        log.info(json.dumps({"request": request, **facts}))


def headline(error: BaseException) -> str:
    """What stands above `explain`."""
    return "That did not work" if isinstance(error, AsrError) else "Something broke"


def explain(error: BaseException) -> str:
    """The sentence to show: the error's own if it was made for people, else a reference to the log."""
    if isinstance(error, AsrError):
        return str(error)
    reference = secrets.token_hex(3)
    logging.getLogger("asr.failures").error("Failure %s", reference, exc_info=error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"The disk of this machine is full: try again later. The log has it under {reference}."
    return f"Something broke here, and it is not your doing. The log has it under {reference}; please try again."


def read_audio(path: str, sample_rate: int, limits: Limits, track: int | None = None):
    """The audio of an uploaded file, or of a track of it, at the model's rate.

    Raises:
        AudioError: as for `asr_core.audio.loading.load_audio`.
    """
    from asr_core.audio.loading import load_audio

    if not path:
        raise AudioError("No recording was given.")
    megabytes = Path(path).stat().st_size / 1e6
    if megabytes > limits.file_megabytes:
        raise AudioError(f"The file has {megabytes:.0f} MB and the limit is {limits.file_megabytes} MB: cut it first.")
    return load_audio(path, sample_rate, max_seconds=limits.audio_seconds, track=track)


class FirstWords:
    """The words of a recording as they are heard, before it is decoded as a whole.

    Attributes:
        words: so far, in order; read greedily, so that they cost next to nothing.
    """

    def __init__(self):
        self.words: list = []
        self._text = None
        self._rest = None

    def heard(self, recognizer, seconds: float, emissions) -> None:
        """Takes what `Recognizer.emissions` has just heard of so many seconds."""
        from asr_core.decoding.incremental import IncrementalDecoder
        from asr_core.decoding.options import DecoderOptions

        if self._text is None:
            self._text = IncrementalDecoder(recognizer, DecoderOptions(decoder="greedy"), None)
        said = emissions if self._rest is None else self._rest.concat(emissions)
        words, self._rest = self._text.finalize(said, ended=seconds - said.time(len(said)) < LAST_SECONDS)
        self.words += recognizer.calibrated(words, seconds)


def transcribe_file(
    path: str,
    name: str,
    choice,
    engine: Engine,
    limits: Limits,
    model=None,
    progress=None,
    cancel=None,
    first_words: FirstWords | None = None,
    track: int | None = None,
) -> Clip:
    """Decode a file, run the network, decode the emissions; `first_words` are filled on the way. Raises AsrError."""
    from asr_core.recognizer import NETWORK_SHARE, sub_progress

    with logged("transcribe") as facts:
        recognizer = engine.recognizer(model)
        started = time.perf_counter()
        audio = read_audio(path, recognizer.sample_rate, limits, track)
        facts["audio_seconds"] = round(audio.seconds, 2)
        heard = first_words and partial(first_words.heard, recognizer, audio.seconds)
        emissions = recognizer.emissions(audio, sub_progress(progress, 0, NETWORK_SHARE), cancel, heard)
        rest = sub_progress(progress, NETWORK_SHARE, 1)
        transcript, hypotheses = decode(recognizer, emissions, audio.seconds, choice, rest, cancel)
        transcript = replace(transcript, notes=audio.notes)
        return Clip(
            name=name,
            sound=ClipAudio(audio.samples, audio.sample_rate),
            emissions=emissions,
            transcript=transcript,
            choice=choice,
            model=model or engine.default,
            tokens=tuple(recognizer.vocabulary.tokens),
            compute_seconds=time.perf_counter() - started,
            trained=recognizer.bundle.config.get("trained") is not False,
            hypotheses=hypotheses,
            source=path,
            track=audio.track,
            tracks=audio.tracks,
        )


def decode(recognizer, emissions, seconds: float, choice, progress=None, cancel=None) -> tuple:
    """(transcript, the MAX_TEXTS best hypotheses, or () if greedy) of emissions, decoded as the visitor chose."""
    options = replace(choice.options(recognizer.bundle), n_best=MAX_TEXTS)
    hypotheses = recognizer.hypotheses(emissions, options, choice.hot_words, progress, cancel)
    transcript = recognizer.transcript(hypotheses[0].words, seconds)
    return transcript, tuple(hypotheses) if options.decoder == "beam" else ()


def decode_again(clip: Clip, choice, engine: Engine) -> Clip:
    """The same sound decoded otherwise; the network does not run."""
    with logged("decode", audio_seconds=round(clip.seconds, 2)):
        recognizer = engine.recognizer(clip.model)
        transcript, hypotheses = decode(recognizer, clip.emissions, clip.seconds, choice)
        return clip.with_transcript(transcript, choice=choice, hypotheses=hypotheses, edited=False)


def follow_edit(clip: Clip, text: str, engine: Engine) -> Clip:
    """The text that a person put, laid along the sound. Raises AlignmentError."""
    with logged("align", audio_seconds=round(clip.seconds, 2)):
        transcript = engine.recognizer(clip.model).align(clip.emissions, clip.seconds, text)
        return clip.with_transcript(transcript, edited=True)
