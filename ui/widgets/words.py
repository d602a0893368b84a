"""The transcript as the page shows it: words coloured by confidence, each a button that plays the word.

`ui/static/page.js` plays the words, highlights the one being played, and steps through the unsure ones. It finds them
by their attribute `data-at`.
"""

from collections.abc import Iterator

from ui.service.clip import WRITTEN, Clip
from ui.widgets.markup import Html, clock, join, notice, percent, seconds_or_clock, tag

MIN_SURE = 0.85  # words with at least this confidence are not marked
MIN_UNSURE = 0.6  # words below this confidence are marked as doubtful
PARAGRAPH_PAUSE_SECONDS = 1.2  # a pause of more than this ends a paragraph
PARAGRAPH_SECONDS = 45.0  # after this length any pause of more than SHORT_PAUSE_SECONDS ends a paragraph
SHORT_PAUSE_SECONDS = 0.25
MAX_FIRST_WORDS = 300  # words shown of a recording that is still being transcribed
UNTRAINED = (
    "This model is untrained",
    "It has not learned to transcribe: the letters below show how the page works and are not a transcript.",
)
NOTES = "About this recording"


def transcript_card(clip: Clip) -> Html:
    """The words of a clip with legend and buttons, or a notice when there are none."""
    if not clip.transcript.words:
        return notice(
            "No speech was found in this recording",
            "The model found nothing that it could read as words. Check below that the waveform is not flat, speak "
            "closer to the microphone, or try one of the examples.",
            kind="warning",
        )
    words = clip.shown_words
    parts = list(_written_paragraphs(clip) if clip.form == WRITTEN and clip.transcript.written else paragraphs(words))
    separator = clip.transcript.separator
    unsure = sum(word.confidence < MIN_SURE for word in words)
    return tag(
        "div",
        tag(
            "div",
            [_paragraph(part, clip.seconds > PARAGRAPH_SECONDS or len(parts) > 1, separator) for part in parts],
            class_="transcript",
            lang=clip.language or None,
            dir="auto",
        ),
        tag("div", _legend(), _buttons(unsure), class_="transcript-bar"),
        class_="card",
        data_audio=clip.audio.path,
        data_stamp=clip.token,
        data_text=clip.shown_text,
    )


def first_words_card(words, separator: str) -> Html:
    """The latest words of a recording that is still being transcribed; plain text, as every update sends it again."""
    latest = words[-MAX_FIRST_WORDS:]
    count = tag("p", f"{len(words)} words so far, the latest of them here:", class_="small")
    text = separator.join(word.text for word in latest)
    text = tag("p", tag("span", clock(latest[0].start, 0), class_="stamp"), text)
    return tag("div", count, tag("div", text, class_="transcript", dir="auto"), class_="card first-words")


def _written_paragraphs(clip: Clip) -> Iterator[list]:
    """The words of the written form by the paragraphs that it has."""
    paragraph: list = []
    for token, word in zip(clip.transcript.written, clip.shown_words, strict=True):
        if token.paragraph and paragraph:
            yield paragraph
            paragraph = []
        paragraph.append(word)
    yield paragraph


def paragraphs(words) -> Iterator[list]:
    """Splits words into paragraphs, which end at a long pause, or, once they are long, at any pause."""
    paragraph: list = []
    for word in words:
        if paragraph:
            pause, length = word.start - paragraph[-1].end, word.start - paragraph[0].start
            if pause > PARAGRAPH_PAUSE_SECONDS or (length > PARAGRAPH_SECONDS and pause > SHORT_PAUSE_SECONDS):
                yield paragraph
                paragraph = []
        paragraph.append(word)
    if paragraph:
        yield paragraph


def _paragraph(words, stamped: bool, separator: str) -> Html:
    """A paragraph; if `stamped`, after a button that plays all of it."""
    stamp = tag(
        "button",
        clock(words[0].start, 0),
        type="button",
        class_="stamp",
        data_at=f"{words[0].start:.2f},{words[-1].end:.2f}",
        title="Play this paragraph",
    )
    return tag("p", stamp if stamped else None, join([word_button(word) for word in words], separator))


def word_button(word) -> Html:
    """A word as a button; colour, underline and title show its confidence."""
    return tag(
        "button",
        word.text,
        type="button",
        class_=f"word {level(word.confidence)}".strip(),
        data_at=f"{word.start:.2f},{word.end:.2f}",
        data_unsure=word.confidence < MIN_SURE,
        tabindex=None if word.confidence < MIN_SURE else -1,  # else the tab key would stop at every word
        title=f"{percent(word.confidence)} sure, {clock(word.start, 2)}",
    )


def level(confidence: float) -> str:
    return "" if confidence >= MIN_SURE else "mid" if confidence >= MIN_UNSURE else "low"


def _legend() -> Html:
    return tag(
        "span",
        tag("span", tag("span", "sure", class_="word"), f" {percent(MIN_SURE)} and up"),
        tag("span", tag("span", "unsure", class_="word mid"), f" below {percent(MIN_SURE)}"),
        tag("span", tag("span", "doubtful", class_="word low"), f" below {percent(MIN_UNSURE)}"),
        class_="legend",
    )


def _buttons(unsure: int) -> Html:
    next_one = tag(
        "button",
        f"Next unsure word ({unsure})" if unsure else "No unsure word",
        type="button",
        class_="plain-button",
        data_do="next-unsure",
        disabled=not unsure,
    )
    return tag(
        "span",
        next_one,
        " ",
        tag("button", "Copy text", type="button", class_="plain-button", data_do="copy"),
        style="margin-left:auto",
    )


def facts(clip: Clip) -> Html:
    """One line with name, seconds of audio and of computation, real-time factor, confidence and model.

    Above it are the notes on the recording, and a warning if the model is untrained.
    """
    items = [
        ("Recording", clip.name),
        ("Audio", seconds_or_clock(clip.seconds)),
        ("Computing time", f"{clip.compute_seconds:.2f} s"),
        ("Real-time factor", f"{clip.real_time_factor:.3f}"),
        ("Words", len(clip.transcript.words)),
        ("Confidence", percent(clip.transcript.confidence) if clip.transcript.words else "none"),
        ("Model", clip.transcript.model),
    ]
    if clip.edited:
        items.append(("Text", "edited and aligned again"))
    line = tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in items], class_="facts")
    untrained = None if clip.trained else notice(*UNTRAINED, kind="warning")
    return join([untrained, notes(clip.transcript), line])


def notes(transcript) -> Html | None:
    """A notice with the notes on a recording, a line each; None if there are none."""
    if not transcript.notes:
        return None
    return notice(NOTES, kind="warning", action=join(tag("p", note) for note in transcript.notes))


def clip_line(clip: Clip | None) -> Html:
    """The line that names the recording that a tab works on."""
    if clip is None:
        return no_clip()
    return tag("p", "Recording: ", tag("b", clip.name), f", {clock(clip.seconds)}", class_="small")


def no_clip() -> Html:
    return notice(
        "No recording is open",
        "Open one in Transcribe, by file, microphone or example; once it is transcribed, it is used here, too.",
        action=tag(
            "button",
            "Go to Transcribe",
            type="button",
            class_="plain-button",
            data_do="open-tab",
            data_tab="Transcribe",
        ),
    )
