"""The Compare tab: a reference beside the transcript, word for word, with error rates.

The visitor chooses between two readings of both texts: *normalised* (no case or punctuation, numbers spelled out), and
*as written* (with capitals, punctuation and figures). A corrected text and its recording can be kept as training data
for `python -m train`.
"""

import secrets

import gradio as gr

from asr_core.errors import AudioError, Cancelled
from ui.service.clip import Clip
from ui.service.engine import Engine
from ui.service.examples import reference_of
from ui.service.recordings import Recordings
from ui.service.requests import Limits, explain, logged
from ui.service.scoring import Pair, compare
from ui.widgets.events import QUIET
from ui.widgets.markup import Html, clock, join, notice, percent, tag
from ui.widgets.words import clip_line, no_clip


class Compare:
    """The tab.

    Args:
        clip: the `gr.State` with the open recording.
        running: the `gr.State` with the visitor's CurrentRequest.
    """

    def __init__(self, engine: Engine, clip: gr.State, running: gr.State, limits: Limits):
        self.engine, self.clip, self.running, self.limits = engine, clip, running, limits
        self.recordings = gr.State(Recordings())
        gr.HTML(
            tag(
                "p",
                "Paste the correct text to see where the transcript differs from it. Click a word to play it.",
                class_="lead",
            )
        )
        self.which = gr.HTML(no_clip())
        self.reference = gr.Textbox(
            label="Reference",
            info="For the examples, the reference is filled in, unless you have entered a text.",
            lines=3,
            max_lines=12,
            max_length=limits.text_characters,
            elem_id="reference",
        )
        self.reading = gr.Radio(
            [("Normalised", "normalised"), ("As written", "raw")],
            value="normalised",
            label="Show the alignment of",
            elem_id="comparison-reading",
            info="Normalised: case and punctuation dropped, figures spelled out.",
        )
        with gr.Row():
            self.button = gr.Button("Compare", variant="primary", scale=0, min_width=180, elem_id="compare-button")
            self.add = gr.Button("Add to my recordings", scale=0, min_width=280, elem_id="add-recording")
            self.download = gr.DownloadButton(
                "Download my recordings", visible=False, scale=0, min_width=280, elem_id="recordings-zip"
            )
        self.added = gr.HTML("", elem_id="recordings")
        self.result = gr.HTML("", elem_id="comparison")
        self._wire()

    def _wire(self) -> None:
        inputs = [self.clip, self.reference, self.reading]
        opened = [self.which, self.reference, self.result, self.added]
        self.clip.change(self._opened, [self.clip, self.reference, self.recordings], opened, **QUIET)
        inputs.append(self.running)
        self.button.click(self._compare, inputs, self.result, **QUIET)
        self.reading.input(self._compare, inputs, self.result, **QUIET)
        inputs = [self.clip, self.reference, self.recordings, self.running]
        outputs = [self.added, self.download, self.recordings]
        self.add.click(self._add, inputs, outputs, concurrency_id="decoder", **QUIET)

    def _opened(self, clip, reference, recordings):
        return clip_line(clip), reference_of(clip, reference), "", collected(recordings)

    def _compare(self, clip, reference, reading, running):
        if clip is None:
            return no_clip()
        superseded = running.superseded()
        try:
            spoken, written = clip.transcript.words, clip.transcript.written_words
            both = {
                "normalised": compare(reference or "", spoken, True, clip.vocabulary),
                "raw": compare(reference or "", written, False, clip.vocabulary),
            }
        except Exception as error:
            return notice("No comparison", explain(error), kind="error")
        return gr.skip() if superseded.is_set() else comparison_card(clip, both, reading)

    def _add(self, clip, reference, recordings, running):
        """The recordings are also an output: Gradio deletes only what an event has set when a visitor is gone."""
        if clip is None:
            return no_clip(), gr.skip(), gr.skip()
        superseded = running.superseded()
        try:
            with logged("add recording", audio_seconds=round(clip.seconds, 2)):
                add_recording(clip, reference or "", recordings, self.engine, self.limits, superseded)
                path = recordings.zip()
        except Cancelled:
            return gr.skip(), gr.skip(), gr.skip()
        except Exception as error:
            message = join([notice("Not added", explain(error), kind="error"), collected(recordings)])
            return message, gr.skip(), recordings
        return collected(recordings), gr.update(visible=True, value=str(path)), recordings


def add_recording(clip: Clip, text: str, recordings: Recordings, engine: Engine, limits: Limits, cancel=None) -> None:
    """Aligns the correct text with a recording and adds both to what the visitor collects.

    Raises:
        AlignmentError: the text has no words, or is not that of the recording.
        Cancelled: `cancel` was set.
        AudioError: the visitor has collected as much as one may.
    """
    if recordings.seconds + clip.seconds > limits.batch_seconds:
        hours = limits.batch_seconds / 3600
        raise AudioError(f"At most {hours:g} hours can be collected: download your recordings, and reload the page.")
    transcript = engine.recognizer(clip.model).align(clip.emissions, clip.seconds, text, cancel)
    recordings.add(clip, transcript)


def collected(recordings: Recordings) -> Html:
    """What the visitor has collected, and what to do with it; empty if it is nothing."""
    if not recordings.count:
        return Html("")
    count = f"{recordings.count} clip{'s' * (recordings.count != 1)}"
    steps = (
        f"{count}, {clock(recordings.seconds, 0)} of speech. They are deleted after you close the page: correct and "
        "add further recordings, then download all. Ten minutes of speech or more can adapt a model to your voice: "
        "unpack the zip in a checkout of this program and run there:"
    )
    command = f"python -m train --preset adapt --start default --data {recordings.name}/manifest.jsonl --out runs/me"
    return tag("div", tag("p", steps), tag("pre", command), class_="card small", role="status")


def comparison_card(clip: Clip, both: dict, reading: str) -> Html:
    """The error rates of both readings, and the alignment of the chosen one."""
    shown, spoken, raw = both[reading], both["normalised"], both["raw"]
    figures = [
        (percent(spoken.word_error_rate, 1), "word error rate"),
        (percent(spoken.character_error_rate, 1), "character error rate"),
        (percent(raw.word_error_rate, 1), "word error rate as written"),
        (percent(raw.character_error_rate, 1), "character error rate as written"),
    ]
    counts = (
        f"Words in the reference: {shown.reference_words}; {shown.hits} right, {shown.substitutions} substituted, "
        f"{shown.deletions} missing; {shown.insertions} added."
    )
    return tag(
        "div",
        tag(
            "div",
            [tag("div", tag("b", value), tag("span", name), class_="figure") for value, name in figures],
            class_="figures",
        ),
        tag("p", counts, class_="small"),
        tag("div", join([pair_markup(pair) for pair in shown.pairs], " "), class_="diff", dir="auto"),
        tag("p", "Struck through: the reference. Below it: the transcript.", class_="small"),
        class_="card",
        data_audio=clip.audio.path,
        data_stamp=secrets.token_hex(4),
    )


# Texts for screen readers, which stand between the two words of a pair.
SCREEN_READER_TEXTS = {"substitute": " recognised as ", "insert": " added: ", "delete": " missing"}


def pair_markup(pair: Pair) -> Html:
    """One pair of the alignment, as a button that plays it if its times are known."""
    at = None if pair.start is None else f"{pair.start:.2f},{pair.end:.2f}"
    name = "span" if at is None else "button"
    attributes = {"class_": f"pair {pair.kind}", "data_at": at, "type": "button" if at else None}
    if pair.kind == "equal":
        return tag(name, tag("span", pair.hypothesis), **attributes)
    return tag(
        name,
        tag("span", pair.reference or "·", class_="was" if pair.reference else "gap"),
        tag("span", SCREEN_READER_TEXTS[pair.kind], class_="unseen"),
        tag("span", pair.hypothesis or "·", class_="now" if pair.hypothesis else "gap"),
        **attributes,
    )
