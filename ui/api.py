"""The programming interface for `gradio_client`, curl and MCP clients. Results are the JSON of the command line.

Each endpoint is a function whose docstring is its documentation. The components are not shown on the page; they only
give the arguments their types.
"""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import gradio as gr

from asr_core.errors import GivenTextError
from asr_core.text.pasted import without_subtitle_markup
from asr_core.text.replacements import Replacements, parse_replacements
from asr_core.transcript.written import with_written_form
from ui.service import arguments
from ui.service.client import ClientGone
from ui.service.clip import FORMS, WRITTEN
from ui.service.engine import Engine
from ui.service.examples import examples
from ui.service.exports import RANGES, SUBTITLE_FORMATS, SubtitleLimits, content
from ui.service.overrides import MAX_BEAM_WIDTH, DecodingOverrides
from ui.service.requests import MAX_TRANSCRIPTIONS, Limits, explain, logged, read_audio
from ui.service.scoring import compare as compare_texts

WORD = {
    "type": "object",
    "properties": {
        "word": {"type": "string"},
        "start": {"type": "number", "description": "seconds from the start of the recording"},
        "end": {"type": "number"},
        "confidence": {"type": "number", "description": "0 to 1; 0 if it cannot be checked"},
    },
}
TRANSCRIPT = {
    "type": "object",
    "properties": {
        "file": {"type": "string"},
        "text": {"type": "string"},
        "seconds": {"type": "number"},
        "confidence": {"type": "number"},
        "words": {"type": "array", "items": WORD},
        "model": {"type": "string"},
        "written": {
            "type": "object",
            "description": "the written form, if the model has one",
            "properties": {"text": {"type": "string"}, "tokens": {"type": "array", "items": {"type": "object"}}},
        },
        "notes": {
            "type": "array",
            "items": {"type": "string"},
            "description": "what is wrong with the recording, or with a given text",
        },
    },
}
COMPARISON = {
    "type": "object",
    "properties": {
        **{name: {"type": "number"} for name in ("word_error_rate", "character_error_rate")},
        **{name: {"type": "integer"} for name in ("hits", "substitutions", "insertions", "deletions")},
    },
}
MAX_TRACKS = 99  # more than any file has; the reader refuses tracks that a file lacks
DECODERS = ("recommended", "greedy", "beam")


def typed_json(schema: dict) -> gr.JSON:
    """A JSON output that has a schema in the documentation of the API."""
    output = gr.JSON(visible=False)
    output.api_info = lambda: schema
    return output


class UntimedWord:
    """A word without times, as `compare` takes it."""

    def __init__(self, text: str):
        self.text, self.start, self.end = text, None, None


class Api:
    """The functions behind the endpoints; each docstring is the documentation of one."""

    def __init__(self, engine: Engine, limits: Limits):
        self._engine, self._limits = engine, limits

    def _transcript(self, recording, overrides, facts, replacements: Replacements, track: int | None = None):
        """The Transcript of an uploaded file; adds its length to the `facts` that are logged."""
        recognizer = self._engine.recognizer()
        audio = read_audio(recording, recognizer, self._limits, track)
        facts["audio_seconds"] = round(audio.seconds, 2)
        options = overrides.options(recognizer.bundle)
        transcript = recognizer.transcribe(audio, options, cancel=ClientGone(), hot_words=overrides.hot_words)
        return with_written_form(transcript, recognizer.tagger, replacements) if replacements else transcript

    def transcribe(
        self,
        recording: str,
        decoder: str = "recommended",
        beam_width: int | None = None,
        hot_words: str = "",
        text: str = WRITTEN,
        replacements: str = "",
        track: int | None = None,
    ) -> dict:
        """Transcribe a recording.

        Args:
            recording: An audio or video file.
            decoder: "greedy", "beam" for a beam search, which hotwords need, or what the model recommends.
            beam_width: How many prefixes the beam search keeps, 1 to 384; what the model recommends if left out.
            hot_words: Names and terms that the beam search favours, one per line or separated by commas, at most 200.
            text: "written" for the written form beside the spoken words, where the model has one, or "spoken".
            replacements: How names and terms are written, one "spoken -> written" a line.
            track: Which audio track of a file that has several, from 1.

        Returns:
            Text, seconds, confidence and words with start, end and confidence, all as spoken; in "written" the text
            with capitals, punctuation and figures, and its tokens with their times.
        """
        with answering("api/transcribe") as facts:
            overrides = overrides_of(decoder, beam_width, hot_words, self._limits)
            form = arguments.one_of(text, "text", FORMS)
            pairs = replacements_of(replacements, self._limits)
            track = arguments.number(track, "track", 1, MAX_TRACKS, whole=True)
            return as_json(self._transcript(recording, overrides, facts, pairs, track), recording, form)

    def align(self, recording: str, text: str) -> dict:
        """Find the times of a known text in its recording.

        Args:
            recording: An audio or video file.
            text: The text of the recording; of subtitles, only the words count.

        Returns:
            The words of the text with start, end and confidence; a low one means that the word does not fit, 0 that it
            cannot be checked. The notes say if the text as a whole is probably not that of the recording.
        """
        with answering("api/align") as facts:
            known = arguments.text(text, "text", self._limits.text_characters)
            recognizer = self._engine.recognizer()
            audio = read_audio(recording, recognizer, self._limits)
            facts["audio_seconds"] = round(audio.seconds, 2)
            cancel = ClientGone()
            emissions = recognizer.emissions(audio, cancel=cancel)
            transcript = recognizer.align(emissions, audio.seconds, known, cancel)
            return as_json(replace(transcript, notes=(*audio.notes, *transcript.notes)), recording)

    def subtitles(
        self,
        recording: str,
        kind: str = "srt",
        characters: int = 42,
        lines: int = 2,
        seconds: float = 7,
        text: str = WRITTEN,
        replacements: str = "",
    ) -> str:
        """Make subtitles for a recording.

        Args:
            recording: An audio or video file.
            kind: "srt" or "vtt".
            characters: Most characters a line, 20 to 80.
            lines: Most lines a subtitle, 1 to 3.
            seconds: Longest time a subtitle stands, 1 to 15.
            text: "written", with capitals, punctuation and figures where the model has them, or "spoken".
            replacements: How names and terms are written, one "spoken -> written" a line.

        Returns:
            The subtitle file as text.
        """
        with answering("api/subtitles") as facts:
            kind = arguments.one_of(kind, "kind", SUBTITLE_FORMATS)
            shape, form = limits_of(characters, lines, seconds), arguments.one_of(text, "text", FORMS)
            pairs = replacements_of(replacements, self._limits)
            return content(self._transcript(recording, DecodingOverrides(), facts, pairs), kind, shape, text=form)

    def compare(self, reference: str, heard: str) -> dict:
        """Word and character error rate of a text against a reference.

        Args:
            reference: The correct text.
            heard: What was recognised.

        Returns:
            Error rates as shares and the counts of words behind them; case and punctuation are dropped first.
        """
        with answering("api/compare"):
            reference = arguments.text(reference, "reference", self._limits.text_characters)
            hypothesis = without_subtitle_markup(arguments.text(heard, "heard", self._limits.text_characters))
            words = [UntimedWord(word) for word in hypothesis.split()]
            result = compare_texts(reference, words, vocabulary=self._engine.recognizer().vocabulary)
            return {name: getattr(result, name) for name in COMPARISON["properties"]}

    def model(self) -> dict:
        """Which model answers: its description, training data and measured error rates."""
        with answering("api/model"):
            return self._engine.recognizer().bundle.config


def endpoints(engine: Engine, limits: Limits) -> None:
    """Adds /transcribe, /align, /subtitles, /compare and /model to the `gr.Blocks` that is being built."""
    api = Api(engine, limits)

    def recording() -> gr.File:
        return arguments.file_input("recording", str(examples()[0].path))

    choice, number, text = arguments.choice_input, arguments.number_input, arguments.text_input
    heavy = {"concurrency_limit": MAX_TRANSCRIPTIONS, "concurrency_id": "recogniser"}
    _endpoint(
        api.transcribe,
        [
            recording(), choice("decoder", DECODERS), number("beam_width", None), text("hot_words"),
            choice("text", FORMS), text("replacements"), number("track", None),
        ],
        typed_json(TRANSCRIPT),
        **heavy,
    )  # fmt: skip
    _endpoint(api.align, [recording(), text("text")], typed_json(TRANSCRIPT), **heavy)
    _endpoint(
        api.subtitles,
        [
            recording(), choice("kind", SUBTITLE_FORMATS), number("characters", 42), number("lines", 2),
            number("seconds", 7), choice("text", FORMS), text("replacements"),
        ],
        text("subtitles"),
        **heavy,
    )  # fmt: skip
    _endpoint(api.compare, [text("reference"), text("heard")], typed_json(COMPARISON))
    _endpoint(api.model, [], typed_json({"type": "object"}))


def overrides_of(decoder, beam_width, hot_words, limits: Limits) -> DecodingOverrides:
    """The decoder options of a request. Raises GivenTextError."""
    decoder = arguments.one_of(decoder, "decoder", DECODERS)
    beam_width = arguments.number(beam_width, "beam_width", 1, MAX_BEAM_WIDTH, whole=True)
    hot_words = arguments.text("" if hot_words is None else hot_words, "hot_words", limits.text_characters)
    if hot_words.strip() and decoder == "greedy":
        raise GivenTextError("hot_words need the beam search: leave decoder out, or set it to beam.")
    return DecodingOverrides.of("beam" if hot_words.strip() else decoder, beam_width, hot_words=hot_words)


def replacements_of(pairs, limits: Limits) -> Replacements:
    """The replacements of a request. Raises GivenTextError."""
    return parse_replacements(arguments.text("" if pairs is None else pairs, "replacements", limits.text_characters))


def limits_of(characters, lines, seconds) -> SubtitleLimits:
    """The subtitle limits of a request. Raises GivenTextError."""
    default = SubtitleLimits()
    return SubtitleLimits(
        arguments.number(characters, "characters", *RANGES[0], default.characters, whole=True),
        arguments.number(lines, "lines", *RANGES[1], default.lines, whole=True),
        arguments.number(seconds, "seconds", *RANGES[2], default.seconds),
    )


def _endpoint(function, inputs: list, output, **options) -> None:
    gr.Button(visible=False).click(function, inputs, output, api_name=function.__name__, **options)


@contextmanager
def answering(request: str):
    """Logs the request, and turns errors into `gr.Error`s with a message that the client may read."""
    try:
        with logged(request) as facts:
            yield facts
    except Exception as error:
        raise gr.Error(explain(error), print_exception=False) from error


def as_json(transcript, recording: str, form: str = WRITTEN) -> dict:
    return json.loads(content(transcript, "json", file=Path(recording).name, text=form))
