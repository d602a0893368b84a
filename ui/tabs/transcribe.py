"""The Transcribe tab: open or record, read the words, see why, correct them, take them away.

A recording is opened by two events. The first is a generator that shows the progress; what it has to show in the end is
shown by the event after it, which returns once. The end of a generator cannot show it: Gradio repeats the last values
there, over what the visitor has typed since, and a further yield takes them back on a slow device, where the browser
applies its difference to values that it has not shown yet. For the same reason every yield says all that is to be seen.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import gradio as gr

from asr_core.audio.files import AUDIO_SUFFIXES
from asr_core.errors import Cancelled
from ui.service.clip import Clip, ClipRegistry
from ui.service.engine import Engine
from ui.service.examples import examples
from ui.service.exports import FORMATS, write_exports
from ui.service.requests import (
    BackgroundJob,
    CurrentRequest,
    FirstWords,
    Limits,
    decode_again,
    explain,
    follow_edit,
    headline,
    transcribe_file,
)
from ui.widgets.decoding import Decoding, hypotheses_table, moved
from ui.widgets.events import QUIET, at_once
from ui.widgets.markup import Html, join, notice, tag
from ui.widgets.subtitles import Subtitles
from ui.widgets.timeline import timeline, timeline_value
from ui.widgets.words import facts, first_words_card, transcript_card

LISTENING_AT_ONCE = 4  # visitors; what waits in the recogniser is run together, more would only queue there
RECORDING = "Microphone"  # what a clip from the microphone is called
SHOW_MESSAGE = "() => document.querySelector('#message').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
SOUND_TYPES = ["audio", "video", *sorted(AUDIO_SUFFIXES)]

TRACK = {
    "label": "Audio track",
    "info": "The recording has several; another one is transcribed as soon as it is chosen.",
    "elem_id": "track",
    "filterable": False,
}


class Transcribe:
    """Builds the tab and wires it.

    Attributes:
        clip: the `gr.State` with the visitor's Clip, which other tabs read too.
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
                file_types=SOUND_TYPES,
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
            with gr.Row(elem_id="downloads"):
                self.downloads = [
                    gr.DownloadButton(f"Download {name}", size="sm", elem_id=f"download-{name}", min_width=120)
                    for name in FORMATS
                ]
            with gr.Accordion("Correct the text", open=False, elem_id="edit"):
                self.text = gr.Textbox(
                    label="Text",
                    info="Change what is wrong; the words are then laid along the sound again, so that times and "
                    "subtitles follow.",
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
            f"{hours:g} hours. English. The sound stays on the machine that runs this page and is deleted after "
            "your visit.",
            class_="small",
        )

    # ---- what happens

    @cached_property
    def clip_outputs(self) -> list:
        """What shows a clip: components alone, no groups (see `ui.widgets.events`)."""
        return [self.clip, self.message, self.words, self.timeline, self.text, self.hypotheses, *self.downloads]

    @cached_property
    def outputs(self) -> list:
        return [*self.clip_outputs, self.after, self.stop]

    @property
    def inputs(self) -> list:
        """What `open` wants to know."""
        return [self.model, self.running, *self.decoding.components, *self.subtitles.components]

    def open(self, path: str | None, name: str, *values):
        """Opens a recording from another tab: updates of `outputs`, given the values of `inputs`."""
        yield from self._open(path, name, "", *values)

    def on(self, event: Callable, opens: Callable, inputs: list) -> None:
        """Opens a recording at an event, by a generator like `open`, and then shows what came of it."""
        opening = event(
            opens,
            inputs,
            self.outputs,
            concurrency_limit=LISTENING_AT_ONCE,
            concurrency_id="recogniser",
            trigger_mode="multiple",  # the latest is heard, whatever came before
            **QUIET,
        )
        opening.failure(None, None, self.message, js=at_once(REFUSED), queue=False, **QUIET)
        # not in the queue, which may be full by now
        shown = opening.success(self.outcome, self.running, self.outputs, queue=False, **QUIET)
        shown.failure(None, None, self.message, js=at_once(NOT_SHOWN), queue=False, **QUIET)

    def _wire(self) -> None:
        ways_in = [self.file.upload, self.microphone.stop_recording]
        ways_in += [button.click for button, _ in self.example_buttons]
        waits = at_once(waiting("The recording goes to the recogniser as soon as there is a free place."))
        # first, for the page runs what hangs on an event in this order
        gr.on(ways_in, None, None, self.message, js=waits, queue=False, **QUIET)

        inputs = self.inputs
        self.on(self.file.upload, self._open_file, [self.file, *inputs])
        self.on(self.microphone.stop_recording, self._open_recording, [self.microphone, *inputs])
        for button, example in self.example_buttons:

            def open_example(*values, example=example):
                yield from self._open(str(example.path), example.title, example.reference, *values)

            self.on(button.click, open_example, inputs)
            button.click(lambda: (None, None), None, [self.file, self.microphone], queue=False, **QUIET)
        self.file.upload(lambda: None, None, self.microphone, queue=False, **QUIET)
        self.microphone.stop_recording(lambda: None, None, self.file, queue=False, **QUIET)
        self.on(self.track.input, self._open_track, [self.track, self.clip, *inputs])
        self.clip.change(self._tracks, self.clip, self.track, queue=False, **QUIET)
        self.stop.click(lambda running: running.flag.set(), self.running, None, queue=False, **QUIET)
        self.file.clear(self._close, self.running, self.outputs, queue=False, **QUIET)
        closed = [self.running, self.clip]
        self.microphone.clear(self._close_recording, closed, self.outputs, queue=False, **QUIET)

        again = {
            "outputs": self.clip_outputs,
            "concurrency_limit": 2,
            "concurrency_id": "decoder",
            "trigger_mode": "always_last",
            **QUIET,
        }
        decoding = [self.clip, self.text, *self.decoding.components, *self.subtitles.components]
        gr.on(self.decoding.events(), self._decode_again, decoding, **again)
        for button, act in (self.apply, self._follow_edit), (self.undo, self._undo):
            button.click(act, decoding, **again).then(None, js=SHOW_MESSAGE, queue=False, **QUIET)
        texts = [self.clip, self.decoding.n_best]
        gr.on(moved(self.decoding.n_best), self._texts, texts, self.hypotheses, trigger_mode="always_last", **QUIET)
        gr.on(
            self.subtitles.events(),
            self._write_again,
            [self.clip, *self.subtitles.components],
            self.downloads,
            trigger_mode="always_last",
            **QUIET,
        )

    def _open_file(self, path, *values):
        yield from self._open(path, Path(path).name if path else "", "", *values)

    def _open_recording(self, path, *values):
        yield from self._open(path, RECORDING, "", *values)

    def _open_track(self, track, clip, *values):
        if clip is not None:
            yield from self._open(clip.source, clip.name, clip.reference, *values, track=track)

    def _tracks(self, clip: Clip | None):
        """The choice of a track, where the recording that is open has several."""
        tracks, track = (clip.tracks, clip.track) if clip is not None else (1, 1)
        return gr.Dropdown(list(range(1, tracks + 1)), value=track, visible=tracks > 1, **TRACK)

    def _open(self, path, name, reference, model, running, *values, track=None):
        cancel = running.begin(name)
        if not path:
            yield self._nothing(empty_state())
            return
        message, words, clip = self._working(name, model), Html(""), None
        yield self._nothing(message, stop=True)
        first = FirstWords()

        def work(progress):
            return transcribe_file(path, name, choice, self.engine, self.limits, model, progress, cancel, first, track)

        try:
            choice = self.decoding.read(values)
            job = BackgroundJob(work, cancel)
            for share in job:
                if cancel.is_set():
                    continue
                message = listening(name, share)
                words = first_words_card(first.words) if first.words else words
                yield self._nothing(message, words, stop=True)
            clip = replace(job.result, reference=reference)
            outcome = self._show(clip, values)
        except Cancelled:
            outcome = self._nothing(notice("Stopped", f"{name} was not transcribed to its end."))
        except Exception as error:
            clip, outcome = None, self._nothing(notice(headline(error), explain(error), kind="error"))
        if running.flag is not cancel:
            yield self.unchanged()  # the last values, which Gradio repeats, must not hide what came later
            return
        running.leave(cancel, outcome[1:])
        if clip is not None:  # other tabs follow it, which they only do for events of the queue
            yield self._nothing(message, words, stop=True, clip=clip)

    def outcome(self, running: CurrentRequest) -> list:
        """Shows what came of the latest request: updates of `outputs`."""
        if not running.name:  # the page was cleared just when the recording was done
            return self._nothing(empty_state())
        row = running.take()
        return [gr.skip(), *row] if row else self.unchanged()

    def _working(self, name: str, model: str | None) -> Html:
        if self.engine.state(model) == "ready":
            return listening(name)
        return notice("The model is loading", f"{name} is next, as soon as it is ready; that takes a few seconds.")

    def _decode_again(self, clip, text, *values):
        if clip is None:
            return self._clip_row()
        try:
            if self.decoding.read(values).same(clip.choice, self.engine.recognizer(clip.model).bundle):
                return self._clip_row()  # a field was only visited
        except Exception as error:
            return self._failed(error)
        if clip.edited or text != clip.transcript.text:
            kept = notice("Your corrections are kept", "To decode anew, press “Undo corrections”.", kind="warning")
            return self._clip_row(message=join([kept, facts(clip)]))
        return self._undo(clip, text, *values)

    def _undo(self, clip, text, *values):
        """What the recogniser says, whatever was corrected."""
        if clip is None:
            return self._clip_row()
        try:
            return self._shown(decode_again(clip, self.decoding.read(values), self.engine), values)
        except Exception as error:
            return self._failed(error)

    def _follow_edit(self, clip, text, *values):
        if clip is None:
            return self._clip_row()
        try:
            return self._shown(follow_edit(clip, text, self.engine), values)
        except Exception as error:
            return self._failed(error)

    def _write_again(self, clip, *values):
        if clip is None:
            return [gr.skip() for _ in self.downloads]
        try:
            return [str(path) for path in write_exports(clip, self.subtitles.read(values))]
        except Exception as error:
            raise gr.Error(explain(error), print_exception=False) from error

    # ---- what is shown

    @property
    def defaulted(self) -> list:
        return [self.decoding.decoder, self.decoding.beam_width, self.decoding.language_model_weight]

    def decoding_defaults(self, model: str | None) -> list:
        """Updates of `defaulted` to what the model recommends; none while there is no model."""
        try:
            return self.decoding.defaults(self.engine.recognizer(model).bundle)
        except Exception:
            return [gr.skip() for _ in self.defaulted]

    def _show(self, clip: Clip, values) -> list:
        return [*self._shown(clip, values), gr.update(visible=True), gr.update(visible=False)]

    def _shown(self, clip: Clip, values) -> list:
        """Values of `clip_outputs`, given those of the decoding and subtitle controls."""
        self.registry.put(clip)
        subtitles = self.subtitles.read(values[len(self.decoding.components) :])
        return self._clip_row(
            clip=clip,
            message=facts(clip),
            words=gr.update(value=transcript_card(clip), visible=True),
            timeline=timeline_value(clip),
            text=clip.transcript.text,
            hypotheses=self._texts(clip, self.decoding.texts(values)),
            downloads=[str(path) for path in write_exports(clip, subtitles)],
        )

    def _texts(self, clip: Clip | None, count: int) -> dict:
        """The update that shows so many of a clip's texts: nothing is decoded for it."""
        table = hypotheses_table(clip, count) if clip is not None else Html("")
        return gr.update(value=table, visible=bool(table))

    def _nothing(self, message: Html, words: Html | None = None, stop: bool = False, clip: Clip | None = None) -> list:
        """Values of `outputs` while there is no transcript to be seen, but perhaps its first words."""
        row = self._clip_row(
            clip=clip,
            message=message,
            words=gr.update(value=words or "", visible=bool(words)),
            timeline=None,
            text="",
            hypotheses=gr.update(value="", visible=False),
            downloads=[None for _ in self.downloads],
        )
        return [*row, gr.update(visible=False), gr.update(visible=stop)]

    def _close(self, running: CurrentRequest) -> list:
        running.begin()
        return self._nothing(empty_state())

    def _close_recording(self, running: CurrentRequest, clip) -> list:
        """Clears the page only where it shows what the microphone recorded, or hears it."""
        return self._close(running) if RECORDING in (running.name, clip and clip.name) else self.unchanged()

    def _failed(self, error: Exception) -> list:
        """The clip stays as it was; the message says why nothing changed."""
        return self._clip_row(message=notice("Nothing was changed", explain(error), kind="error"))

    def unchanged(self) -> list:
        """Values of `outputs` that change nothing."""
        return [*self._clip_row(), gr.skip(), gr.skip()]

    def _clip_row(self, *, downloads=None, **changes) -> list:
        """Values of `clip_outputs` in order; what is not given stays as it is."""
        names = ["clip", "message", "words", "timeline", "text", "hypotheses"]
        return [*(changes.get(name, gr.skip()) for name in names), *(downloads or [gr.skip() for _ in self.downloads])]


def listening(name: str, share: float | None = None) -> Html:
    """What stands there while the recogniser works; with a bar once there is something to tell."""
    bar = tag("progress", value=f"{share:.3f}", max="1", aria_label="Done so far") if share else None
    return notice("Listening…", f"{name} is being transcribed.", action=bar)


def waiting(text: str) -> Html:
    """What stands there from a press until the server answers, which it does once others have been served."""
    return notice("One moment", text)


def empty_state() -> Html:
    return notice(
        "Nothing opened yet",
        "Drop a file, speak, or take one of the examples. The words appear here, coloured by how sure the "
        "recogniser is, above a picture of what it heard.",
    )


REFUSED = notice("Too many are waiting", "Nothing was opened: please try again in a minute.", kind="warning")
NOT_SHOWN = notice("The result did not arrive", "The connection broke: please open the recording again.", kind="error")
