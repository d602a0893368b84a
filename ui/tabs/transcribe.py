"""The Transcribe tab: open a file or record, read the words, see why, correct them, download them.

Two events open a recording. The first is a generator that shows the progress and keeps its result; the second shows the
result and returns once. The generator cannot show it. At its end Gradio sends its last values again, which would
overwrite what the visitor has typed meanwhile. Gradio sends a yield as its difference to the one before, which a slow
browser may apply before it has shown that one. So the result is no further yield, and every yield gives the values of
all components.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import gradio as gr

from asr_core.errors import Cancelled, GivenTextError
from ui.service.clip import Clip, ClipRegistry
from ui.service.engine import Engine
from ui.service.examples import examples
from ui.service.exports import FORMATS, SubtitleLimits, write_exports
from ui.service.jobs import BackgroundJob, CurrentRequest
from ui.service.requests import (
    MAX_TRANSCRIPTIONS,
    FirstWords,
    Limits,
    align_edit,
    decode_again,
    explain,
    headline,
    transcribe_file,
    write_again,
)
from ui.widgets.decoding import Decoding, hypotheses_table
from ui.widgets.events import QUIET, at_once
from ui.widgets.markup import Html, join, notice, tag, working
from ui.widgets.slider import moved
from ui.widgets.subtitles import Subtitles
from ui.widgets.timeline import timeline, timeline_value
from ui.widgets.uploads import FILE_TYPES, show_refused, waiting
from ui.widgets.words import facts, first_words_card, transcript_card
from ui.widgets.written import WrittenForm

RECORDING = "Microphone"  # name of a clip from the microphone
EMPTY_TITLE = "Nothing opened yet"
SHOW_MESSAGE = "() => document.querySelector('#message').scrollIntoView({block: 'nearest'})"

TRACK = {
    "label": "Audio track",
    "info": "The recording has several; another one is transcribed as soon as it is chosen.",
    "elem_id": "track",
    "filterable": False,
}


class Transcribe:
    """The tab.

    Args:
        model: the `gr.State` with the name of the visitor's model, None for the default.

    Attributes:
        clip: the `gr.State` with the visitor's open Clip, which other tabs read too.
        running: the `gr.State` with the visitor's CurrentRequest.
    """

    def __init__(self, engine: Engine, registry: ClipRegistry, limits: Limits, model: gr.State):
        self.engine, self.registry, self.limits, self.model = engine, registry, limits, model
        self.clip = gr.State(None, time_to_live=4 * 3600)
        self.running = gr.State(CurrentRequest())
        self._layout()
        self._wire()

    # ---- layout

    def _layout(self) -> None:
        with gr.Row(equal_height=True):
            self.file = gr.File(
                label="Drop a recording or a video",
                file_types=FILE_TYPES,
                type="filepath",
                height=150,
                scale=1,
                elem_id="recording-file",
            )
            self.microphone = gr.Audio(
                label="Or speak",
                sources=["microphone"],
                type="filepath",
                editable=False,
                buttons=[],
                scale=1,
                elem_id="recording-microphone",
                waveform_options=gr.WaveformOptions(show_recording_waveform=True),
            )
        with gr.Row(elem_classes=["example-row"]):
            self.example_buttons = [
                (gr.Button(f"Example: {example.title}", size="sm", min_width=140), example) for example in examples()
            ]
        gr.HTML(self._limits_line())
        self.message = gr.HTML(empty_state(), elem_id="message")
        self.stop = gr.Button("Stop", visible=False, variant="stop", size="sm", elem_id="stop")
        self.words = gr.HTML("", elem_id="words", visible=False)
        self.timeline = timeline(self.registry, elem_id="timeline")
        self.track = gr.Dropdown([1], value=1, visible=False, **TRACK)
        with gr.Column(visible=False) as self.after:
            self.written = WrittenForm()
            with gr.Row(elem_id="downloads"):
                self.downloads = [
                    gr.DownloadButton(f"Download {name}", size="sm", elem_id=f"download-{name}", min_width=120)
                    for name in FORMATS
                ]
            with gr.Accordion("Correct the text", open=False, elem_id="edit"):
                self.text = gr.Textbox(
                    label="Text",
                    info="Correct the words, then press the button below: it aligns the text again, so that times and "
                    "subtitles match it.",
                    lines=4,
                    max_lines=16,
                    max_length=self.limits.text_characters,
                )
                with gr.Row():
                    self.apply = gr.Button(
                        "Apply and align again", variant="primary", size="sm", scale=0, min_width=220
                    )
                    self.undo = gr.Button("Undo corrections", size="sm", scale=0, min_width=180)
            with gr.Accordion("Decoding", open=False, elem_id="decoding"):
                self.decoding = Decoding()
                self.hypotheses = gr.HTML("", visible=False)
            with gr.Accordion("Subtitles", open=False, elem_id="subtitles"):
                self.subtitles = Subtitles()

    def _limits_line(self) -> Html:
        hours = self.limits.audio_seconds / 3600
        return tag(
            "p",
            f"wav, mp3, m4a, flac, ogg, opus, webm, mp4 and more; up to {self.limits.file_megabytes} MB and "
            f"{hours:g} hours. The audio stays on the machine that runs this page and is deleted "
            "within some four hours.",
            class_="small",
        )

    # ---- events

    @cached_property
    def outputs(self) -> list:
        """The components that show a clip, or the progress of opening one; `_row` has their values in this order."""
        shown = [self.clip, self.message, self.words, self.timeline, self.text, self.hypotheses]
        return [*shown, *self.downloads, self.after, self.stop]

    @property
    def inputs(self) -> list:
        """The components whose values `open` takes."""
        return [self.model, self.running, *self.controls]

    @cached_property
    def controls(self) -> list:
        """The controls of decoding, of the subtitles, and of the written form."""
        return [*self.decoding.components, *self.subtitles.components, *self.written.components]

    def open(self, path: str | None, name: str, *values):
        """Opens a recording from another tab: yields updates of `outputs`, given the values of `inputs`."""
        yield from self._open(path, name, "", *values)

    def on(self, event: Callable, opens: Callable, inputs: list):
        """Makes an event open a recording by `opens`, a generator like `open`, and then show the result.

        Returns:
            What Gradio's `cancels` takes to take the opening out of the queue.
        """
        opening = event(
            opens,
            inputs,
            self.outputs,
            concurrency_limit=MAX_TRANSCRIPTIONS,
            concurrency_id="recogniser",
            trigger_mode="multiple",  # a new recording may be opened while another one is being transcribed
            **QUIET,
        )
        refused = show_refused(unless=EMPTY_TITLE)  # a visitor who has removed the recording was not refused
        opening.failure(None, self.message, self.message, js=refused, queue=False, **QUIET)
        # without the queue, which may be full by now
        shown = opening.success(self.outcome, self.running, self.outputs, queue=False, **QUIET)
        shown.failure(None, None, self.message, js=at_once(NOT_SHOWN), queue=False, **QUIET)
        return opening

    def empty_inputs(self, event: Callable) -> None:
        """Makes an event that opens a recording from elsewhere remove the file, and the recording of the microphone."""
        event(lambda: (None, None), None, [self.file, self.microphone], queue=False, **QUIET)

    def _wire(self) -> None:
        ways_in = [self.file.upload, self.microphone.stop_recording]
        ways_in += [button.click for button, _ in self.example_buttons]
        waits = at_once(waiting("The recording is in the queue; its transcription starts when a running one ends."))
        # before the other listeners, because the page runs them in this order
        gr.on(ways_in, None, None, self.message, js=waits, queue=False, **QUIET)

        inputs = self.inputs
        of_file = self.on(self.file.upload, self._open_file, [self.file, *inputs])
        of_recording = self.on(self.microphone.stop_recording, self._open_recording, [self.microphone, *inputs])
        for button, example in self.example_buttons:

            def open_example(*values, example=example):
                yield from self._open(str(example.path), example.title, example.reference, *values)

            self.on(button.click, open_example, inputs)
            self.empty_inputs(button.click)
        self.file.upload(lambda: None, None, self.microphone, queue=False, **QUIET)
        self.microphone.stop_recording(lambda: None, None, self.file, queue=False, **QUIET)
        self.on(self.track.input, self._open_track, [self.track, self.clip, *inputs])
        self.clip.change(self._tracks, self.clip, self.track, queue=False, **QUIET)
        self.stop.click(lambda running: running.flag.set(), self.running, None, queue=False, **QUIET)
        self.file.clear(self._close, self.running, self.outputs, queue=False, cancels=of_file, **QUIET)
        closed = [self.running, self.clip]
        self.microphone.clear(
            self._close_recording, closed, self.outputs, queue=False, cancels=of_recording, **QUIET
        )  # fmt: skip

        decoder_event = {
            "outputs": self.outputs,
            "concurrency_limit": 2,
            "concurrency_id": "decoder",
            "trigger_mode": "always_last",
            **QUIET,
        }
        decoding = [self.clip, self.running, self.text, *self.controls]
        gr.on(self.decoding.events(), self._decode_again, decoding, **decoder_event)
        for button, act in (self.apply, self._align_edit), (self.undo, self._undo):
            button.click(act, decoding, **decoder_event).then(None, js=SHOW_MESSAGE, queue=False, **QUIET)
        n_best = [self.clip, self.decoding.n_best]
        latest = {"trigger_mode": "always_last", **QUIET}
        gr.on(moved(self.decoding.n_best), self._show_hypotheses, n_best, self.hypotheses, **latest)
        gr.on(self.written.events(), self._change_form, decoding, **decoder_event)
        gr.on(self.subtitles.events(), self._write_downloads, decoding, self.downloads, **latest)

    def _open_file(self, path, *values):
        yield from self._open(path, Path(path).name if path else "", "", *values)

    def _open_recording(self, path, *values):
        yield from self._open(path, RECORDING, "", *values)

    def _open_track(self, track, clip, *values):
        if clip is not None:
            yield from self._open(clip.source, clip.name, clip.reference, *values, track=track)

    def _tracks(self, clip: Clip | None):
        """The choice of a track, visible if the open recording has several."""
        tracks, track = (clip.tracks, clip.track) if clip is not None else (1, 1)
        return gr.Dropdown(list(range(1, tracks + 1)), value=track, visible=tracks > 1, **TRACK)

    def _open(self, path, name, reference, model, running, *values, track=None):
        cancel = running.begin(name)
        if not path:
            yield self._nothing(empty_state())
            return
        message, words, clip = self._working(name, model), Html(""), None
        yield self._nothing(message, stop=True)
        first_words = FirstWords()

        def work(progress):
            return transcribe_file(
                path, name, overrides, self.engine, self.limits, model, progress, cancel, first_words, track
            )

        try:
            values, refused = self._usable(values)
            overrides = self.decoding.read(values)
            form, replacements = self._form(values)
            job = BackgroundJob(work, cancel)
            for share in job:
                if cancel.is_set():
                    continue
                message = transcribing(name, share)
                if first_words.words:
                    words = first_words_card(first_words.words, first_words.separator)
                yield self._nothing(message, words, stop=True)
            clip = self._in_form(replace(job.result, reference=reference), form, replacements)
            outcome = self._show(clip, values, refused)
        except Cancelled:
            stopped = notice("Stopped", f"{name} was not transcribed to its end. To transcribe it, open it again.")
            outcome = self._nothing(stopped, words)
        except Exception as error:
            clip, outcome = None, self._nothing(notice(headline(error), explain(error), kind="error"))
        if running.flag is not cancel:
            yield self.unchanged()  # Gradio repeats the last values, which must not hide those of the newer request
            return
        running.put(cancel, outcome[1:])
        if clip is not None:  # not in the second event: other tabs react only to changes by events of the queue
            yield self._nothing(message, words, stop=True, clip=clip)

    def _usable(self, values) -> tuple[list, Html | None]:
        """(values of `controls` without texts that cannot be used, a notice about these or None)."""
        values, faults = list(values), []
        for component, read in (self.decoding.hot_words, self.decoding.read), (self.written.pairs, self._form):
            try:
                read(values)
            except GivenTextError as error:
                values[self.controls.index(component)] = ""
                faults.append(explain(error))
        advice = " Correct this below, then leave the field; until then the words are shown without it."
        refused = notice("Some settings were not applied", " ".join(faults) + advice, kind="warning")
        return values, refused if faults else None

    def outcome(self, running: CurrentRequest) -> list:
        """The updates of `outputs` that show the result of the latest request."""
        if not running.name:  # the visitor has cleared the page meanwhile
            return self._nothing(empty_state())
        row = running.take()
        return [gr.skip(), *row] if row else self.unchanged()

    def _working(self, name: str, model: str | None) -> Html:
        if self.engine.state(model) == "ready":
            return transcribing(name)
        return notice("The model is loading", f"{name} will be transcribed when the model is ready.")

    def _decode_again(self, clip, running, text, *values):
        if clip is None:
            yield self.unchanged()
            return
        try:
            if self.decoding.read(values).same(clip.overrides, self.engine.recognizer(clip.model).bundle):
                yield self.unchanged()  # the visitor has only entered and left a field
                return
        except Exception as error:
            yield self._failed(error)
            return
        if clip.edited or text != clip.shown_text:
            kept = notice("Your corrections are kept", "To decode again, press “Undo corrections”.", kind="warning")
            yield self._row(message=join([kept, facts(clip)]))
            return
        yield from self._undo(clip, running, text, *values)

    def _undo(self, clip, running, text, *values):
        """Drops the corrections: decodes the clip again."""

        def work(progress, cancel):
            decoded = decode_again(clip, self.decoding.read(values), self.engine, progress, cancel)
            return self._in_form(decoded, *self._form(values))

        yield from self._change(clip, running, "Decoding again…", work, values)

    def _align_edit(self, clip, running, text, *values):
        def work(progress, cancel):
            return align_edit(clip, text, self.engine, cancel)

        yield from self._change(clip, running, "Aligning…", work, values)

    def _change(self, clip: Clip | None, running: CurrentRequest, title: str, work: Callable, values):
        """Yields updates of `outputs`: a notice while the work takes long, then the clip that it returns.

        Nothing is shown if the visitor has begun a newer request meanwhile. The text cannot be edited while the work
        runs, because its result replaces the text.

        Args:
            clip: the open recording, or None.
            running: of the visitor.
            title: of the notice.
            work: returns the changed clip, called with a progress callback and a cancel flag.
            values: of `controls`.
        """
        if clip is None:
            yield self._row(message=NOT_OPEN)
            return
        cancel = running.begin(clip.name)
        job = BackgroundJob(lambda progress: work(progress, cancel), cancel)
        try:
            for share in job:
                if not cancel.is_set():
                    message = working(title, f"The words of {clip.name} will be replaced when this is done.", share)
                    yield self._row(message=message, text=gr.update(interactive=False), stop=True)
            changed = job.result
            if running.controls is not None:  # changed meanwhile
                values = running.controls
                changed = write_again(changed, *self._form(values), self.engine)
            row = self._show(changed, values) if running.flag is cancel else self.unchanged()
        except Cancelled:
            stopped = notice("Stopped", "The words are as they were before.")
            row = self._row(message=join([stopped, facts(clip)]), text=gr.update(interactive=True), stop=False)
        except Exception as error:
            row = self._failed(error)
        yield row if running.flag is cancel else self.unchanged()

    def _form(self, values) -> tuple:
        """(form, replacements) of the visitor. Raises GivenTextError if a replacement is wrong."""
        return self.written.read(values[-len(self.written.components) :])

    def _subtitle_limits(self, values) -> SubtitleLimits:
        """The limits that the visitor chose, given the values of `controls`."""
        return self.subtitles.read(values[len(self.decoding.components) :])

    def _in_form(self, clip: Clip, form: str, replacements) -> Clip:
        """A clip that has just been decoded, in the form that the visitor chose."""
        return write_again(clip, form, replacements, self.engine) if replacements else replace(clip, form=form)

    def _change_form(self, clip, running, text, *values):
        """Shows the transcript in the other form, or with other replacements; keeps a text that is being corrected."""
        if clip is None:
            return self.unchanged()
        superseded = running.superseded()
        try:
            form, replacements = self._form(values)
            running.controls = values
            changed = write_again(clip, form, replacements, self.engine)
            if superseded.is_set():
                return self.unchanged()
            row = self._show(changed, values, NAMES_NOT_APPLIED if clip.edited and replacements else None)
        except Exception as error:
            return self._failed(error)
        if text != clip.shown_text:
            row[self.outputs.index(self.text)] = gr.skip()
        return row

    def _write_downloads(self, clip, running, text, *values):
        """Writes the files again after a change of the subtitle limits; returns their paths."""
        if clip is None:
            return [gr.skip() for _ in self.downloads]
        running.controls = values
        try:
            return [str(path) for path in write_exports(clip, self._subtitle_limits(values))]
        except Exception as error:
            raise gr.Error(explain(error), print_exception=False) from error

    # ---- outputs

    @property
    def defaulted(self) -> list:
        """The components whose default values depend on the model."""
        return [self.decoding.decoder, self.decoding.beam_width, self.decoding.language_model_weight]

    def decoding_defaults(self, model: str | None) -> list:
        """Updates of `defaulted` to the options that the model recommends; no change while there is no model."""
        try:
            return self.decoding.defaults(self.engine.recognizer(model).bundle)
        except Exception:
            return [gr.skip() for _ in self.defaulted]

    def _show(self, clip: Clip, values, note: Html | None = None) -> list:
        """Values of `outputs` that show a clip, given those of `controls`; a notice may stand above its facts."""
        self.registry.put(clip)
        return self._row(
            clip=clip,
            message=join([note, facts(clip)]),
            words=gr.update(value=transcript_card(clip), visible=True),
            timeline=timeline_value(clip),
            text=gr.update(value=clip.shown_text, interactive=True),
            hypotheses=self._show_hypotheses(clip, self.decoding.shown(values)),
            downloads=[str(path) for path in write_exports(clip, self._subtitle_limits(values))],
            after=True,
            stop=False,
        )

    def _show_hypotheses(self, clip: Clip | None, count: int) -> dict:
        """The update that shows the `count` best hypotheses of a clip, without decoding again."""
        table = hypotheses_table(clip, count) if clip is not None else Html("")
        return gr.update(value=table, visible=bool(table))

    def _nothing(self, message: Html, words: Html | None = None, stop: bool = False, clip: Clip | None = None) -> list:
        """Values of `outputs` without a transcript, but perhaps with its first words."""
        return self._row(
            clip=clip,
            message=message,
            words=gr.update(value=words or "", visible=bool(words)),
            timeline=None,
            text=gr.update(value="", interactive=True),
            hypotheses=gr.update(value="", visible=False),
            downloads=[None for _ in self.downloads],
            after=False,
            stop=stop,
        )

    def _close(self, running: CurrentRequest) -> list:
        running.begin()
        return self._nothing(empty_state())

    def _close_recording(self, running: CurrentRequest, clip) -> list:
        """Clears the page only if the open or the current recording is from the microphone."""
        return self._close(running) if RECORDING in (running.name, clip and clip.name) else self.unchanged()

    def _failed(self, error: Exception) -> list:
        """Keeps the clip and shows why nothing was changed."""
        message = notice("Nothing was changed", explain(error), kind="error")
        return self._row(message=message, text=gr.update(interactive=True), stop=False)

    def unchanged(self) -> list:
        """Values of `outputs` that change nothing."""
        return self._row()

    def _row(self, *, downloads=None, after: bool | None = None, stop: bool | None = None, **changes) -> list:
        """Values of `outputs` in order; components that are not given do not change.

        Args:
            downloads: paths, in the order of FORMATS.
            after, stop: whether the controls below the words, and the Stop button, are visible.
            changes: values of the other components, by their names.
        """
        names = ["clip", "message", "words", "timeline", "text", "hypotheses"]
        return [
            *(changes.get(name, gr.skip()) for name in names),
            *(downloads or [gr.skip() for _ in self.downloads]),
            *(gr.skip() if visible is None else gr.update(visible=visible) for visible in (after, stop)),
        ]


def transcribing(name: str, share: float | None = None) -> Html:
    """The message while a recording is transcribed."""
    return working("Transcribing…", f"{name} is being transcribed.", share)


def empty_state() -> Html:
    return notice(
        EMPTY_TITLE,
        "Drop a file, speak, or take one of the examples. The words appear here, coloured by confidence, "
        "above the waveform, the spectrogram and the network's output.",
    )


NOT_OPEN = notice(
    "The recording is no longer open",
    "The server keeps it for four hours. Copy the text if you have corrected it, then open the recording again.",
    kind="warning",
)
NOT_SHOWN = notice("The result did not arrive", "The connection broke: please open the recording again.", kind="error")
NAMES_NOT_APPLIED = notice(
    "Your corrections are kept",
    "Names and terms apply to recognised words: press “Undo corrections” to see those.",
    kind="warning",
)
