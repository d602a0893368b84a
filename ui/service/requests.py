"""Requests of visitors: transcribe a file into a clip, decode a clip again, align a corrected text. No Gradio here.

Every request writes one structured log line with seconds of audio, seconds of computation and outcome, but never words
or samples.
"""

import errno
import json
import logging
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from asr_core.emissions import LOG_PROB_BYTES
from asr_core.errors import AsrError, AudioError
from ui.service.clip import MAX_HYPOTHESES, Clip, ClipAudio
from ui.service.engine import Engine

log = logging.getLogger("asr.requests")

LAST_STEP_SECONDS = 0.1  # emissions that end this close to the end of the recording are the last ones
MAX_TRANSCRIPTIONS = 4  # at once, of all visitors: the recogniser batches them, and more would only queue inside it
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors after which nothing can be written


@dataclass(frozen=True)
class Limits:
    """The limits for one visitor, which the page states.

    Attributes:
        file_megabytes: of an upload.
        audio_seconds: of a recording.
        batch_files: files in a batch.
        batch_seconds: of all recordings of a batch together.
        text_characters: of a text that the visitor pastes; subtitles of four hours have some 300,000.
        emission_megabytes: of the network's output for a recording, which is kept while the recording is open. Four
            hours have 92 with the embedded model; one with 3,500 tokens reaches the limit in 14 minutes.
    """

    file_megabytes: int = 200
    audio_seconds: float = 4 * 3600
    batch_files: int = 100
    batch_seconds: float = 4 * 3600
    text_characters: int = 1_000_000
    emission_megabytes: int = 600


@contextmanager
def logged(request: str, **facts):
    """Writes one log line for the request; the block may add to `facts`."""
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
    """The title for the message of `explain`."""
    return "That did not work" if isinstance(error, AsrError) else "Internal error"


def explain(error: BaseException) -> str:
    """The message to show: that of an AsrError, which is made for visitors, or a reference to the log."""
    if isinstance(error, AsrError):
        return str(error)
    reference = secrets.token_hex(3)
    logging.getLogger("asr.failures").error("Failure %s", reference, exc_info=error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"The disk of this machine is full: try again later. The log has it under {reference}."
    return f"An error occurred in this program; please try again. Its details are in the log under {reference}."


def read_audio(path: str, recognizer, limits: Limits, track: int | None = None):
    """The audio of an uploaded file, or of one of its tracks, at the model's rate.

    Raises:
        AudioError: as for `asr_core.audio.loading.load_audio`; or the network's output for it would be too large.
    """
    from asr_core.audio.loading import load_audio

    if not path:
        raise AudioError("No recording was given.")
    megabytes = Path(path).stat().st_size / 1e6
    if megabytes > limits.file_megabytes:
        raise AudioError(f"The file has {megabytes:.0f} MB and the limit is {limits.file_megabytes} MB: cut it first.")
    audio = load_audio(path, recognizer.sample_rate, max_seconds=limits.audio_seconds, track=track)
    check_memory(audio.seconds, recognizer, limits)
    return audio


def check_memory(seconds: float, recognizer, limits: Limits) -> None:
    """Raises AudioError if the network's output for a recording of this length would be too large."""
    tokens = len(recognizer.vocabulary)
    longest = 1e6 * limits.emission_megabytes / (LOG_PROB_BYTES * tokens) * recognizer.step_seconds
    if seconds > longest:
        raise AudioError(
            f"This model has {tokens:,} tokens, and its output for {seconds / 60:.0f} minutes takes too much "
            f"memory: cut the recording into parts of at most {longest / 60:.0f} minutes."
        )


class FirstWords:
    """The words of a recording while the network still runs, before the whole is decoded.

    Attributes:
        words: so far, in order; decoded greedily, which costs next to nothing.
        separator: between two words.
    """

    def __init__(self):
        self.words: list = []
        self.separator = " "
        self._decoder = None
        self._rest = None

    def add(self, recognizer, seconds: float, emissions) -> None:
        """Decodes the next emissions of a recording; `seconds` is the length of the whole."""
        from asr_core.decoding.incremental import IncrementalDecoder
        from asr_core.decoding.options import DecoderOptions

        if self._decoder is None:
            self._decoder = IncrementalDecoder(recognizer, DecoderOptions(decoder="greedy"), None)
            self.separator = recognizer.vocabulary.separator
        emissions = emissions if self._rest is None else self._rest.concat(emissions)
        ended = seconds - emissions.time(len(emissions)) < LAST_STEP_SECONDS
        words, self._rest = self._decoder.finalize(emissions, ended=ended)
        self.words += recognizer.calibrated(words, seconds)


def transcribe_file(
    path: str,
    name: str,
    overrides,
    engine: Engine,
    limits: Limits,
    model=None,
    progress=None,
    cancel=None,
    first_words: FirstWords | None = None,
    track: int | None = None,
) -> Clip:
    """Loads a file, runs the network and decodes its emissions; `first_words` is filled meanwhile. Raises AsrError."""
    with logged("transcribe") as facts:
        recognizer = engine.recognizer(model)
        started = time.perf_counter()
        audio = read_audio(path, recognizer, limits, track)
        facts["audio_seconds"] = round(audio.seconds, 2)
        options = _options(overrides, recognizer)
        on_emissions = first_words and partial(first_words.add, recognizer, audio.seconds)
        found = recognizer.recognize(
            audio, options, progress, cancel, hot_words=overrides.hot_words, on_emissions=on_emissions
        )
        return Clip(
            name=name,
            audio=ClipAudio(audio.samples, audio.sample_rate),
            emissions=found.emissions,
            transcript=found.transcript,
            overrides=overrides,
            model=model or engine.default,
            tokens=tuple(recognizer.vocabulary.tokens),
            language=recognizer.vocabulary.language,
            compute_seconds=time.perf_counter() - started,
            trained=recognizer.bundle.trained,
            hypotheses=_n_best(found, options),
            source=path,
            track=audio.track,
            tracks=audio.tracks,
        )


def _options(overrides, recognizer):
    """The DecoderOptions for a clip of the page, which shows up to MAX_HYPOTHESES."""
    return replace(overrides.options(recognizer.bundle), n_best=MAX_HYPOTHESES)


def _n_best(found, options) -> tuple:
    """The n-best list of a Recognition; empty for greedy decoding."""
    return found.hypotheses if options.decoder == "beam" else ()


def decode_again(clip: Clip, overrides, engine: Engine, progress=None, cancel=None) -> Clip:
    """Decodes the emissions of a clip with other options; the network does not run. Raises Cancelled."""
    with logged("decode", audio_seconds=round(clip.seconds, 2)):
        recognizer = engine.recognizer(clip.model)
        options = _options(overrides, recognizer)
        found = recognizer.decode(clip.emissions, clip.seconds, options, overrides.hot_words, progress, cancel)
        n_best = _n_best(found, options)
        return clip.with_transcript(found.transcript, overrides=overrides, hypotheses=n_best, edited=False)


def write_again(clip: Clip, form: str, replacements, engine: Engine) -> Clip:
    """The clip in a form, "written" or "spoken", with replacements (`asr_core.text.replacements`) in the written one.

    A text that the visitor has corrected stays as it is.
    """
    from asr_core.transcript.written import with_written_form

    if clip.edited:
        return replace(clip, form=form)
    spoken = replace(clip.transcript, written=())
    transcript = with_written_form(spoken, engine.recognizer(clip.model).tagger, replacements)
    return replace(clip.with_transcript(transcript), form=form)


def align_edit(clip: Clip, text: str, engine: Engine, cancel=None) -> Clip:
    """Aligns the visitor's corrected text with the recording. Raises AlignmentError, Cancelled."""
    with logged("align", audio_seconds=round(clip.seconds, 2)):
        transcript = engine.recognizer(clip.model).align(clip.emissions, clip.seconds, text, cancel)
        return clip.with_transcript(transcript, edited=True)
