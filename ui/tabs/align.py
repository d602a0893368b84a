"""The Align tab: finds the times of a text that the visitor pastes, and marks words that do not fit the recording."""

import secrets

import gradio as gr

from asr_core.errors import Cancelled
from ui.service.clip import Clip
from ui.service.engine import Engine
from ui.service.examples import reference_of
from ui.service.exports import safe_stem, write_files
from ui.service.requests import Limits, explain, logged
from ui.widgets.events import QUIET
from ui.widgets.markup import Html, clock, join, notice, percent, table, tag
from ui.widgets.words import clip_line, no_clip

MIN_FITTING = 0.2  # words below this confidence are marked; that of a word that was not spoken is near 0
UNFIT, UNCHECKED = "does not fit the recording", "cannot be checked"
CLASSES = {"": "", UNFIT: "unfit", UNCHECKED: "unchecked"}  # in the style sheet
EXPORTED = ("srt", "vtt", "json")


class Align:
    """The tab.

    Args:
        clip: the `gr.State` with the open recording.
        running: the `gr.State` with the visitor's CurrentRequest.
    """

    def __init__(self, engine: Engine, clip: gr.State, running: gr.State, limits: Limits):
        self.engine, self.clip = engine, clip
        gr.HTML(
            tag(
                "p",
                "You know the words and want their times: paste the text of the recording. Every word comes "
                "back with its place; words that do not fit the recording are marked.",
                class_="lead",
            )
        )
        self.which = gr.HTML(no_clip())
        self.text = gr.Textbox(
            label="Text of the recording",
            lines=4,
            max_lines=16,
            max_length=limits.text_characters,
            elem_id="align-text",
        )
        with gr.Row():
            self.button = gr.Button("Align", variant="primary", scale=0, min_width=180, elem_id="align-button")
        self.result = gr.HTML("", elem_id="alignment")
        with gr.Row(visible=False) as self.row:
            self.downloads = [gr.DownloadButton(f"Download {name}", size="sm", min_width=120) for name in EXPORTED]
        outputs = [self.result, self.row, *self.downloads]
        self.clip.change(self._opened, [self.clip, self.text], [self.which, self.text, *outputs], **QUIET)
        inputs = [self.clip, self.text, running]
        self.button.click(self._align, inputs, outputs, concurrency_id="decoder", **QUIET)

    def _opened(self, clip, text):
        return [clip_line(clip), reference_of(clip, text), *self._nothing(Html(""))]

    def _nothing(self, message: Html) -> list:
        return [message, gr.update(visible=False), *(None for _ in EXPORTED)]

    def _align(self, clip, text, running):
        if clip is None:
            return self._nothing(no_clip())
        superseded = running.superseded()
        try:
            with logged("align", audio_seconds=round(clip.seconds, 2)):
                recognizer = self.engine.recognizer(clip.model)
                transcript = recognizer.align(clip.emissions, clip.seconds, text or "", superseded)
            target = clip.audio.folder / f"{safe_stem(clip.name)}-aligned"
            paths = write_files(transcript, target, clip.name, formats=EXPORTED)
            return [alignment_card(clip, transcript), gr.update(visible=True), *map(str, paths)]
        except Cancelled:  # another recording is open by now, and `_opened` has cleared this tab
            return [gr.skip() for _ in range(2 + len(EXPORTED))]
        except Exception as error:
            return self._nothing(notice("The text could not be aligned", explain(error), kind="error"))


def alignment_card(clip: Clip, transcript) -> Html:
    """The words as buttons that play them, and as a table."""
    words = transcript.words
    rows = [
        (
            word.text,
            clock(word.start, 2),
            clock(word.end, 2),
            percent(word.confidence) if word.checked else "",
            _mark(word),
        )
        for word in words
    ]
    return tag(
        "div",
        [notice("Please check the text", note, kind="warning") for note in transcript.notes],
        tag("p", _verdict(words, bool(transcript.notes)), class_="small", role="status"),
        tag("div", join([_word(word) for word in words], " "), class_="diff", dir="auto"),
        tag(
            "details",
            tag("summary", "Times as a table"),
            table(
                ["Word", "Start", "End", "Confidence", "Remark"],
                rows,
                caption="Words with their times",
                numeric=[1, 2, 3],
            ),
        ),
        class_="card",
        data_audio=clip.audio.path,
        data_stamp=secrets.token_hex(4),
    )


def _verdict(words, doubtful: bool) -> str:
    """Sentences with the number of words that fit, or do not, and of those that cannot be checked.

    Args:
        doubtful: whether the text as a whole is probably of another recording; the words that fit are not counted then.
    """
    unfit = sum(_mark(word) == UNFIT for word in words)
    unchecked = sum(not word.checked for word in words)
    checked = len(words) - unchecked
    verdict = ""
    if unfit:
        verdict = f"Marked: {unfit} of {len(words)} words. They were not spoken, or the recogniser missed them."
    elif checked and not doubtful:
        verdict = (
            f"{checked} of {len(words)} words fit the recording." if unchecked else "Every word fits the recording."
        )
    if unchecked:
        verdict += f" {unchecked} of {len(words)} words cannot be checked: the model lacks letters for them."
    return verdict.strip()


def _mark(word) -> str:
    """The mark of a word that does not fit, or cannot be checked; "" for any other."""
    if not word.checked:
        return UNCHECKED
    return "" if word.confidence >= MIN_FITTING else UNFIT


def _word(word) -> Html:
    mark = _mark(word)
    return tag(
        "button",
        tag("span", word.text),
        tag("span", clock(word.start, 2), class_="gap"),
        type="button",
        class_=f"pair {CLASSES[mark]}".strip(),
        data_at=f"{word.start:.2f},{word.end:.2f}",
        title=mark if not word.checked else f"{percent(word.confidence)} sure" + (mark and f": {mark}"),
    )
