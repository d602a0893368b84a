"""The Compare tab: a reference beside the transcript, word for word, with the error rates of both readings.

Alignment and rates are jiwer's. *Normalised* compares what was said (case, punctuation and figures spelled out),
*as written* compares the strings.
"""

from dataclasses import dataclass

import gradio as gr

from asr_core.errors import AlignmentError
from asr_core.text.pasted import words_alone
from ui.service.clip import Clip
from ui.service.examples import reference_of
from ui.service.requests import Limits, explain
from ui.widgets.events import QUIET
from ui.widgets.markup import Html, join, notice, percent, tag
from ui.widgets.words import clip_line, no_clip

PAUSE_AROUND_SECONDS = 0.4  # played before and after a place where a word is missing


@dataclass(frozen=True)
class Pair:
    """One step of the alignment: what was said, what was heard, and where that is in the recording.

    Attributes:
        kind: "equal", "substitute", "insert" or "delete".
        reference, heard: a word each, "" where there is none.
        start, end: seconds, or None when the words carry no times.
    """

    kind: str
    reference: str
    heard: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Error rates as shares (they can exceed 1), counts of words, and the alignment."""

    word_error_rate: float
    character_error_rate: float
    hits: int
    substitutions: int
    insertions: int
    deletions: int
    pairs: tuple[Pair, ...]

    @property
    def reference_words(self) -> int:
        return self.hits + self.substitutions + self.deletions


def compare(reference: str, words, normalised: bool = True) -> Comparison:
    """Score words (anything with text, start, end) against a reference text.

    Args:
        reference: as people paste it: of subtitles, the words alone count (see `asr_core.text.pasted`).

    Raises:
        AlignmentError: nothing is left of the reference.
    """
    import jiwer

    reference = words_alone(reference)
    said = _spoken(reference) if normalised else reference.split()
    heard = [(piece, word) for word in words for piece in (_spoken(word.text) if normalised else word.text.split())]
    if not said:
        raise AlignmentError("The reference holds no words to compare with; paste what was really said.")
    texts = [piece for piece, _ in heard]
    scores = jiwer.process_words(" ".join(said), " ".join(texts))
    characters = jiwer.process_characters(" ".join(said), " ".join(texts))
    return Comparison(
        word_error_rate=scores.wer,
        character_error_rate=characters.cer,
        hits=scores.hits,
        substitutions=scores.substitutions,
        insertions=scores.insertions,
        deletions=scores.deletions,
        pairs=tuple(_pairs(scores.alignments[0], said, heard)),
    )


def _spoken(text: str) -> list[str]:
    from asr_core.text.normaliser import normalise

    return normalise(text).split()


def _pairs(chunks, said, heard):
    for chunk in chunks:
        length = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for i in range(length):
            if chunk.type == "insert":
                piece, word = heard[chunk.hyp_start_idx + i]
                yield Pair("insert", "", piece, word.start, word.end)
            elif chunk.type == "delete":
                yield Pair("delete", said[chunk.ref_start_idx + i], "", *_gap(heard, chunk.hyp_start_idx))
            else:
                piece, word = heard[chunk.hyp_start_idx + i]
                yield Pair(chunk.type, said[chunk.ref_start_idx + i], piece, word.start, word.end)


def _gap(heard, index: int) -> tuple[float | None, float | None]:
    """Where a missing word must have been: between the words around it. Nowhere, if those have no times."""
    if not heard or heard[0][1].start is None:
        return None, None
    before = heard[index - 1][1] if index > 0 else None
    after = heard[index][1] if index < len(heard) else None
    start = before.end if before else max(0.0, after.start - 1.0)
    end = after.start if after else before.end + 1.0
    return max(0.0, start - PAUSE_AROUND_SECONDS), end + PAUSE_AROUND_SECONDS


class Compare:
    """Builds the tab and wires it to the recording that is open in Transcribe."""

    def __init__(self, clip: gr.State, limits: Limits):
        self.clip = clip
        gr.HTML(
            tag(
                "p",
                "Paste what was really said and see where the transcript differs. Click a word to hear it.",
                class_="lead",
            )
        )
        self.which = gr.HTML(no_clip())
        self.reference = gr.Textbox(
            label="Reference",
            info="The examples bring theirs along.",
            lines=3,
            max_lines=12,
            max_length=limits.text_characters,
            elem_id="reference",
        )
        self.reading = gr.Radio(
            [("Normalised", "normalised"), ("As written", "raw")],
            value="normalised",
            label="Show the alignment of",
            info="Normalised: case and punctuation dropped, figures spelled out.",
        )
        with gr.Row():
            self.button = gr.Button("Compare", variant="primary", scale=0, min_width=180, elem_id="compare-button")
        self.result = gr.HTML("", elem_id="comparison")
        self._wire()

    def _wire(self) -> None:
        inputs = [self.clip, self.reference, self.reading]
        self.clip.change(self._opened, [self.clip, self.reference], [self.which, self.reference, self.result], **QUIET)
        self.button.click(self._compare, inputs, self.result, **QUIET)
        self.reading.input(self._compare, inputs, self.result, **QUIET)

    def _opened(self, clip, reference):
        return clip_line(clip), reference_of(clip, reference), ""

    def _compare(self, clip, reference, reading):
        if clip is None:
            return no_clip()
        try:
            words = clip.transcript.words
            both = {kind: compare(reference or "", words, kind == "normalised") for kind in ("normalised", "raw")}
        except Exception as error:
            return notice("No comparison", explain(error), kind="error")
        return comparison_card(clip, both, reading)


def comparison_card(clip: Clip, both: dict, reading: str) -> Html:
    """The figures of both readings, and the alignment of the one asked for."""
    shown, spoken, raw = both[reading], both["normalised"], both["raw"]
    figures = [
        (percent(spoken.word_error_rate, 1), "word error rate"),
        (percent(spoken.character_error_rate, 1), "character error rate"),
        (percent(raw.word_error_rate, 1), "word error rate as written"),
        (percent(raw.character_error_rate, 1), "character error rate as written"),
    ]
    counts = (
        f"{shown.reference_words} words said: {shown.hits} right, {shown.substitutions} substituted, "
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
        tag("div", join([pair_markup(pair) for pair in shown.pairs], " "), class_="diff"),
        tag("p", "Struck through: what was said. Below it: what was heard instead.", class_="small"),
        class_="card",
        data_audio=clip.sound.path,
        data_stamp=clip.token + reading,
    )


# Between the two words, for those who hear the page instead of seeing its colours.
SPOKEN = {"substitute": " heard as ", "insert": " added: ", "delete": " missing"}


def pair_markup(pair: Pair) -> Html:
    """One step of the alignment; a button that plays it where its place is known."""
    at = None if pair.start is None else f"{pair.start:.2f},{pair.end:.2f}"
    name = "span" if at is None else "button"
    attributes = {"class_": f"pair {pair.kind}", "data_at": at, "type": "button" if at else None}
    if pair.kind == "equal":
        return tag(name, tag("span", pair.heard), **attributes)
    return tag(
        name,
        tag("span", pair.reference or "·", class_="was" if pair.reference else "gap"),
        tag("span", SPOKEN[pair.kind], class_="unseen"),
        tag("span", pair.heard or "·", class_="now" if pair.heard else "gap"),
        **attributes,
    )
