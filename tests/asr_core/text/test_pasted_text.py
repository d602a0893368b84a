"""Only the words are left of pasted subtitles and transcripts."""

import pytest

from asr_core.text.pasted import without_subtitle_markup
from asr_core.transcript.words import Transcript, Word
from asr_core.transcript.writers import SrtWriter, VttWriter

SRT = "1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i> there\n\n2\n00:00:03,000 --> 00:00:04,000\nHe was 25\n\n3\n"
SRT += "00:00:05,000 --> 00:00:06,000\n- Yes [music]\n"
VTT = "WEBVTT\nKind: captions\n\nNOTE a remark\nof two lines\n\nSTYLE\n::cue { color: red }\n\nfirst\n"
VTT += "00:01.000 --> 00:02.000 align:start position:0%\n<v Mary>Hello <00:01.500><c>there</c>\n\n"
VTT += "00:03.000 --> 00:04.000\nHe was 25\n\n"
VTT += "00:05.000 --> 00:06.000\nAT&amp;T\n"

ROLLING = (
    "WEBVTT\nKind: captions\n\n00:00:00.000 --> 00:00:02.000 align:start position:0%\n \nno<00:00:00.500><c> no</c>\n\n"
)
ROLLING += (
    "00:00:02.000 --> 00:00:02.010\nno no\n \n\n00:00:02.010 --> 00:00:04.000\nno no\nhe<00:00:03.000><c> was</c>\n\n"
)
ROLLING += "00:00:04.000 --> 00:00:04.010\nhe was\n \n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SRT, "Hello there He was 25 Yes"),
        ("\ufeff" + SRT.replace("\n", "\r\n"), "Hello there He was 25 Yes"),
        (SRT.replace("\n\n", "\n"), "Hello there He was 25 Yes"),
        (SRT.replace("\n", " "), "Hello there He was 25 - Yes"),
        (VTT, "Hello there He was 25 AT&T"),
        (ROLLING, "no no he was"),
        (SRT + "\n4\n00:00:07,000 --> 00:00:08,000\nYes\n", "Hello there He was 25 Yes Yes"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nHi", "Hi"),
        ("0:00:01.000,0:00:03.000\nhello\n\n0:00:03.000,0:00:05.000\nyou", "hello you"),
        ("0:00\nhello\n0:05\nworld", "hello world"),
        ("[00:12.00] one\n[00:15.00] two", "one two"),
        ("[music] the cat (applause) sat [Laughter] \u266a la la \u266a", "the cat sat la la"),
        (">> JOHN: hi\n>> hello", "hi hello"),
        ("JOHN: Hello there\nMARY: Hi John", "Hello there Hi John"),
        ("{\\an8}Top {\\i1}it{\\i0}", "Top it"),
        ("one<br>two <font color='red'>three</font>", "one two three"),
    ],
)
def test_times_numbers_tags_and_remarks_go(text, words):
    assert without_subtitle_markup(text).split() == words.split()


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "WARNING: do not touch",
        "the cat (the old one) sat, as the music (of Bach) played",
        "at 3:30\nwe met 25 people",
        "if x --> y then 5",
        "1\nand 2\nand 3",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert without_subtitle_markup(text) == text


@pytest.mark.parametrize("writer", [SrtWriter, VttWriter])
def test_our_own_subtitles_give_their_words_back(writer):
    texts = "In 1910, there were 12 & more.".split()
    words = [Word(text, i, i + 0.8, 0.9) for i, text in enumerate(texts)]
    assert without_subtitle_markup(writer().write(Transcript(words, 9.0))).split() == texts
