"""Any words with any times: files hold them all, within the limits, in order, and are read back."""

import json
import re
from itertools import pairwise

import pytest
import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from asr_core.transcript.subtitles import cues
from asr_core.transcript.words import Transcript, Word
from asr_core.transcript.writers import JsonWriter, SrtWriter, VttWriter
from tests.asr_core.fuzzing import thoroughly

# What a visitor may type into the transcript: any printable character, markup and arrows among them.
TEXTS = st.one_of(
    st.sampled_from(["the", "of", "money", "don't", "end.", "so,", "-->", "<b>", "&amp;", "1", "00:00:01,000"]),
    st.text("aeo'<>&-.,:;0\u00e9\u6f22\u0301/\\{}", min_size=1, max_size=30),
)


@st.composite
def transcripts(draw):
    words, now = [], 0.0
    for text in draw(st.lists(TEXTS, max_size=15)):
        start = now + draw(st.one_of(st.just(0.0), st.floats(0, 5), st.floats(0, 4000)))
        end = start + draw(st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, 20)))
        words.append(Word(text, start, end, draw(st.floats(0, 1))))
        now = draw(st.sampled_from([start, end]))
    seconds = max([now, *(word.end for word in words)]) + draw(st.floats(0, 3))
    return Transcript(words, seconds, draw(st.text(max_size=10)))


LIMITS = st.fixed_dictionaries(
    {"max_characters": st.integers(1, 100), "max_lines": st.integers(1, 4), "max_seconds": st.floats(0.05, 20)}
)


@thoroughly(60)
@given(transcripts(), LIMITS)
def test_cues_hold_every_word_once_within_the_limits(transcript, limits):
    shown = cues(transcript.words, transcript.seconds, **limits)
    assert " ".join(line for cue in shown for line in cue.lines) == transcript.text
    for cue in shown:
        assert len(cue.lines) <= limits["max_lines"]
        assert all(len(line) <= limits["max_characters"] or " " not in line for line in cue.lines)
        assert 0 <= cue.start < cue.end
        assert cue.end - cue.start <= max(round(1000 * limits["max_seconds"]), 1)
        assert cue.end <= round(1000 * transcript.seconds) + len(transcript.words)
    for one, following in pairwise(shown):
        assert one.end <= following.start


@thoroughly(60)
@given(transcripts(), LIMITS)
def test_srt_is_read_back(transcript, limits):
    read = list(srt.parse(SrtWriter().write(transcript, **limits)))
    expected = cues(transcript.words, transcript.seconds, **limits)
    assert [item.content.split("\n") for item in read] == [
        [re.sub("-+>", "->", line) for line in cue.lines] for cue in expected
    ]
    assert [round(item.start.total_seconds() * 1000) for item in read] == [cue.start for cue in expected]


@thoroughly(60)
@given(transcripts(), LIMITS)
def test_vtt_is_read_back(transcript, limits):
    content = VttWriter().write(transcript, **limits)
    read = list(webvtt.from_string(content))
    expected = cues(transcript.words, transcript.seconds, **limits)
    assert len(read) == len(expected) == content.count("-->")
    texts = [item.raw_text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for item in read]
    assert [text.split("\n") for text in texts] == [list(cue.lines) for cue in expected]


@thoroughly(60)
@given(transcripts(), st.one_of(st.none(), st.text()))
def test_json_is_one_line_and_comes_back(transcript, file):
    line = JsonWriter().write(transcript, file=file)
    assert len(line.splitlines()) == 1
    content = json.loads(line)
    assert (content["file"], content["text"], content["model"]) == (file, transcript.text, transcript.model)
    assert content["seconds"] == pytest.approx(transcript.seconds, abs=0.0006)
    assert content["confidence"] == pytest.approx(transcript.confidence, abs=1e-4)
    assert content["notes"] == list(transcript.notes)
    for word, entry in zip(transcript.words, content["words"], strict=True):
        assert entry["word"] == word.text
        assert abs(entry["start"] - word.start) <= 0.0006 and abs(entry["end"] - word.end) <= 0.0006
        assert abs(entry["confidence"] - word.confidence) <= 0.0001


@thoroughly(60)
@given(st.floats() | st.integers(), st.floats() | st.integers(), st.floats() | st.integers(), st.text(max_size=5))
def test_a_word_holds_or_is_refused(start, end, confidence, text):
    try:
        word = Word(text, start, end, confidence)
    except (ValueError, OverflowError):
        return
    assert 0 <= word.start <= word.end and 0 <= word.confidence <= 1 and word.text.strip() == word.text != ""
