"""Pasted text -> the words in it: subtitles and transcripts also hold times, numbers, tags and remarks."""

import re
from html import unescape

# Notes on a text as a whole, after its alignment with a recording (see `Transcript.notes`).
NOT_THIS_TEXT = "This is probably not the text of this recording: much of it does not fit."
NOT_CHECKED = "This text cannot be checked: the model has no letters for any of its words."
ALIGNMENT_NOTES = (NOT_THIS_TEXT, NOT_CHECKED)

_TIME = r"(?:\d{1,3}:)?\d{1,2}:\d{2}(?:[.,:]\d{1,3})?"
_ARROW = r"[ \t]*(?:-{1,2}>|[\u2013\u2014]>|\u2192)[ \t]*"
_SETTINGS = r"(?:[ \t]+(?:align|position|line|size|region|vertical|[XY][12]):\S+)*"
_TIMING = rf"{_TIME}{_ARROW}{_TIME}{_SETTINGS}"
_CUE = re.compile(rf"^[ \t]*{_TIMING}[ \t]*$", re.M)
_NUMBERED_CUE = re.compile(rf"^[ \t]*\d+[ \t]*\n[ \t]*{_TIMING}", re.M)
_NAMED_CUE = re.compile(rf"(?:\A|(?<=\n\n))[^\n]+\n[ \t]*{_TIMING}")  # a cue of WebVTT may have any name
_CUE_IN_LINE = re.compile(_TIMING)
_NUMBERED_CUE_IN_LINE = re.compile(rf"(?:(?<=\s)|^)\d+[ \t]+{_TIMING}", re.M)
_PAIR_OF_TIMES = re.compile(rf"^[ \t]*{_TIME},{_TIME}[ \t]*$", re.M)  # SubViewer
_TIME_ALONE = re.compile(rf"^[ \t]*{_TIME}[ \t]*$", re.M)  # copied from a transcript beside a video
_VTT_HEADER = re.compile(r"\AWEBVTT\b[^\n]*(?:\n[^\n]+)*?(?=\n[ \t]*\n|\n[^\n]*-->|\Z)")
_VTT_BLOCK = re.compile(r"(?<=\n\n)(?:NOTE|STYLE|REGION)\b[^\n]*(?:\n[^\n]+)*")

_LINE_BREAK = re.compile(r"<br[ \t]*/?>|\\[Nn](?![a-z])", re.I)
_TIME_IN_TEXT = re.compile(rf"<{_TIME}>")
_TAG = re.compile(rf"</?[A-Za-z][^<>\n]*>|<{_TIME}>|<!--.*?-->", re.S)
_OVERRIDE = re.compile(r"\{(?:\\[^{}]*|\d+|[A-Za-z]:[^{}]*)\}")  # SubStation Alpha and MicroDVD
_BRACKETED = re.compile(r"\[[^\[\]]{0,200}\]|[\u3010\uff3b][^\u3011\uff3d]{0,200}[\u3011\uff3d]")
_ROUND = re.compile(r"\(([^()]{1,60})\)")
_NOISE = re.compile(
    r"\b(?:applau\w*|laugh\w*|chuckl\w*|giggl\w*|music|sigh\w*|cough\w*|cheer(?:s|ing)|gasp\w*|groan\w*|sob(?:s|bing)|"
    r"sniff\w*|inaudible|unintelligible|indistinct|crosstalk|silence|pause|static|foreign language)\b",
    re.I,
)
_MAX_NOISE_WORDS = 3  # of a remark such as "upbeat music playing"
_MUSIC = re.compile("[\u2669-\u266c\U0001f3b5\U0001f3b6]")
_TURN = re.compile(r"(?:^|(?<=\s))>{2,3}(?=\s|\w)[ \t]*(?:[A-Z][A-Z .'-]{0,30}:)?", re.M)
_SPEAKER = re.compile(r"^[ \t]*(?:[A-Z][A-Z0-9 .'-]{1,30}|Speaker[ \t]+\w+)(?<! ):(?=\s|$)", re.M)
_DIALOGUE_DASH = re.compile("^[ \t]*[-\u2013\u2014][ \t]*(?=\\w)", re.M)
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-f]{1,5}|amp|lt|gt|nbsp|lrm|rlm|quot|apos);", re.I)
_INVISIBLE = re.compile("[\ufeff\u200b\u200e\u200f\u2060]")


def without_subtitle_markup(text: str) -> str:
    """Removes what is not spoken: cue times and numbers, tags, remarks in brackets, marks of music and of turns.

    SubRip, WebVTT and similar formats are detected by their times, even if line breaks are lost. Words in round
    brackets are kept unless they name a noise. A name in capitals before a colon, at the start of a line, counts as a
    speaker in subtitles, and in other text if there are two such names. Any other text is returned unchanged, line
    breaks included.
    """
    text = _INVISIBLE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    timed = _CUE_IN_LINE.search(text) or _PAIR_OF_TIMES.search(text)
    rolling = timed and _TIME_IN_TEXT.search(text)
    if timed:
        text = _without_cues(text)
    if len(_TIME_ALONE.findall(text)) > 1:
        text = _TIME_ALONE.sub("", text)
    text = _TAG.sub("", _LINE_BREAK.sub(" ", text))
    if rolling:
        text = _without_repeated_lines(text)
    text = _ROUND.sub(lambda remark: " " if _is_noise(remark.group(1)) else remark.group(), text)
    for pattern in (_OVERRIDE, _BRACKETED, _MUSIC, _TURN):
        text = pattern.sub(" ", text)
    if timed or len(_SPEAKER.findall(text)) > 1:
        text = _SPEAKER.sub("", text)
    if timed:
        text = _DIALOGUE_DASH.sub("", text)
    return _ENTITY.sub(lambda entity: unescape(entity.group()), text)


def _is_noise(remark: str) -> bool:
    return _NOISE.search(remark) is not None and len(remark.split()) <= _MAX_NOISE_WORDS


def _without_repeated_lines(text: str) -> str:
    """The lines of captions that roll up, as YouTube makes them: every cue repeats the last line of the one before."""
    kept: list[str] = []
    for line in text.split("\n"):
        words = " ".join(line.split())
        if words and words != (kept[-1] if kept else ""):
            kept.append(words)
    return "\n".join(kept)


def _without_cues(text: str) -> str:
    text = re.sub(r"\n[ \t]+(?=\n)", "\n", text)
    if text.startswith("WEBVTT"):
        for pattern in (_VTT_HEADER, _VTT_BLOCK, _NAMED_CUE):
            text = pattern.sub("", text)
    for pattern in (_NUMBERED_CUE, _CUE, _PAIR_OF_TIMES):
        text = pattern.sub("", text)
    if _NUMBERED_CUE_IN_LINE.match(text.lstrip()):
        text = _NUMBERED_CUE_IN_LINE.sub("", text)
    return _CUE_IN_LINE.sub("", text)
