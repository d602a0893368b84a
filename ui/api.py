"""The programming interface: what `gradio_client`, curl and MCP clients call. Results are the JSON of the CLI.

Each endpoint is a function with a docstring that becomes its documentation; the components are only there to give
its arguments their types and never appear on the page.
"""

import json
from dataclasses import replace
from pathlib import Path

import gradio as gr

from asr_core.errors import GivenTextError
from asr_core.text.pasted import words_alone
from ui.service import arguments
from ui.service.engine import Engine
from ui.service.examples import examples
from ui.service.exports import RANGES, SUBTITLE_FORMATS, SubtitleLimits, written
from ui.service.overrides import MAX_BEAM_WIDTH, DecodingOverrides
from ui.service.requests import Limits, explain, logged, read_audio
from ui.tabs.compare import compare as compare_texts
from ui.tabs.transcribe import LISTENING_AT_ONCE

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


def typed_json(schema: dict) -> gr.JSON:
    """A JSON output whose schema is part of the API documentation."""
    output = gr.JSON(visible=False)
    output.api_info = lambda: schema
    return output


DECODERS = ("recommended", "greedy", "beam")


class Spoken:
    """A word of a text that has no times."""

    def __init__(self, text: str):
        self.text, self.start, self.end = text, None, None


def endpoints(engine: Engine, limits: Limits) -> None:
    """Declares /transcribe, /align, /subtitles, /compare and /model inside a running `gr.Blocks`."""

    def transcript_of(recording, choice, facts):
        recognizer = engine.recognizer()
        audio = read_audio(recording, recognizer.sample_rate, limits)
        facts["audio_seconds"] = round(audio.seconds, 2)
        options = choice.options(recognizer.bundle)
        transcript = recognizer.decode(recognizer.emissions(audio), audio.seconds, options, choice.hot_words)
        return replace(transcript, notes=(*audio.notes, *transcript.notes))

    def transcribe(
        recording: str, decoder: str = "recommended", beam_width: int | None = None, hot_words: str = ""
    ) -> dict:
        """Transcribe a recording of English speech.

        Args:
            recording: An audio or video file.
            decoder: "greedy", "beam" for a beam search, which hot-words need, or what the model recommends.
            beam_width: How many texts the beam keeps, 1 to 384; what the model recommends if left out.
            hot_words: Names and terms to listen for, one a line or with commas between, at most 200.

        Returns:
            Text, seconds, confidence and words with start, end and confidence.
        """
        with answering("api/transcribe") as facts:
            choice = choice_of(decoder, beam_width, hot_words, limits)
            return as_json(transcript_of(recording, choice, facts), recording)

    def align(recording: str, text: str) -> dict:
        """Find the times of a known text in its recording.

        Args:
            recording: An audio or video file.
            text: What is said in it; of subtitles, the words alone are taken.

        Returns:
            The words of the text with start, end and confidence; a low one means that the word does not fit, 0 that it
            cannot be checked. The notes say if the text as a whole is probably not that of the recording.
        """
        with answering("api/align") as facts:
            known = arguments.text(text, "text", limits.text_characters)
            recognizer = engine.recognizer()
            audio = read_audio(recording, recognizer.sample_rate, limits)
            facts["audio_seconds"] = round(audio.seconds, 2)
            transcript = recognizer.align(recognizer.emissions(audio), audio.seconds, known)
            return as_json(replace(transcript, notes=(*audio.notes, *transcript.notes)), recording)

    def subtitles(recording: str, kind: str = "srt", characters: int = 42, lines: int = 2, seconds: float = 7) -> str:
        """Make subtitles for a recording of English speech.

        Args:
            recording: An audio or video file.
            kind: "srt" or "vtt".
            characters: Most characters a line, 20 to 80.
            lines: Most lines a subtitle, 1 to 3.
            seconds: Longest time a subtitle stands, 1 to 15.

        Returns:
            The subtitle file as text.
        """
        with answering("api/subtitles") as facts:
            kind = arguments.one_of(kind, "kind", SUBTITLE_FORMATS)
            shape = limits_of(characters, lines, seconds)
            return written(transcript_of(recording, DecodingOverrides(), facts), kind, shape)

    def compare(reference: str, heard: str) -> dict:
        """Word and character error rate of a text against what was really said.

        Args:
            reference: What was said.
            heard: What was recognised.

        Returns:
            Error rates as shares and the counts of words behind them; case and punctuation are dropped first.
        """
        with answering("api/compare"):
            reference = arguments.text(reference, "reference", limits.text_characters)
            heard = words_alone(arguments.text(heard, "heard", limits.text_characters))
            words = [Spoken(word) for word in heard.split()]
            result = compare_texts(reference, words)
            return {name: getattr(result, name) for name in COMPARISON["properties"]}

    def model() -> dict:
        """Which model answers: its description, training data and measured error rates."""
        with answering("api/model"):
            return engine.recognizer().bundle.config

    def recording() -> gr.File:
        return arguments.file_input("recording", str(examples()[0].path))

    choice, kind = arguments.choice_input("decoder", DECODERS), arguments.choice_input("kind", SUBTITLE_FORMATS)
    number, line = arguments.number_input, arguments.text_input
    width, characters = number("beam_width", None), number("characters", 42)
    lines, seconds = number("lines", 2), number("seconds", 7)
    heavy = {"concurrency_limit": LISTENING_AT_ONCE, "concurrency_id": "recogniser"}
    _endpoint(transcribe, [recording(), choice, width, line("hot_words")], typed_json(TRANSCRIPT), **heavy)
    _endpoint(align, [recording(), line("text")], typed_json(TRANSCRIPT), **heavy)
    _endpoint(subtitles, [recording(), kind, characters, lines, seconds], line("subtitles"), **heavy)
    _endpoint(compare, [line("reference"), line("heard")], typed_json(COMPARISON))
    _endpoint(model, [], typed_json({"type": "object"}))


def choice_of(decoder, beam_width, hot_words, limits: Limits) -> DecodingOverrides:
    """The decoding of a request. Raises GivenTextError."""
    decoder = arguments.one_of(decoder, "decoder", DECODERS)
    beam_width = arguments.number(beam_width, "beam_width", 1, MAX_BEAM_WIDTH, whole=True)
    hot_words = arguments.text("" if hot_words is None else hot_words, "hot_words", limits.text_characters)
    if hot_words.strip() and decoder == "greedy":
        raise GivenTextError("hot_words need the beam search: leave decoder out, or set it to beam.")
    return DecodingOverrides.of("beam" if hot_words.strip() else decoder, beam_width, hot_words=hot_words)


def limits_of(characters, lines, seconds) -> SubtitleLimits:
    """The subtitle limits of a request. Raises GivenTextError."""
    usual = SubtitleLimits()
    return SubtitleLimits(
        arguments.number(characters, "characters", *RANGES[0], usual.characters, whole=True),
        arguments.number(lines, "lines", *RANGES[1], usual.lines, whole=True),
        arguments.number(seconds, "seconds", *RANGES[2], usual.seconds),
    )


def _endpoint(function, inputs: list, output, **options) -> None:
    gr.Button(visible=False).click(function, inputs, output, api_name=function.__name__, **options)


class answering:
    """Logs the request, and turns its errors into ones that the client may see."""

    def __init__(self, request: str):
        self.log = logged(request)

    def __enter__(self) -> dict:
        return self.log.__enter__()

    def __exit__(self, kind, error, traceback) -> bool:
        try:
            self.log.__exit__(kind, error, traceback)
        except BaseException as raised:
            error = raised
        if isinstance(error, Exception):
            raise gr.Error(explain(error), print_exception=False) from error
        return False


def as_json(transcript, recording: str) -> dict:
    return json.loads(written(transcript, "json", file=Path(recording).name))
