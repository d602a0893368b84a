"""Transcripts refuse what cannot be; their files are compared whole and read back by others' parsers."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import srt
import webvtt

from asr_core.transcript.subtitles import cues
from asr_core.transcript.words import Transcript, Word
from asr_core.transcript.writers import WRITERS, JsonWriter, SrtWriter, TextWriter, VttWriter


def spoken(text, seconds_a_word=0.3, start=0.5, pauses=()):
    """Words one after the other; pauses: {index: seconds of silence before that word}."""
    words, now = [], start
    for index, part in enumerate(text.split()):
        now += dict(pauses).get(index, 0)
        words.append(Word(part, round(now, 3), round(now + seconds_a_word, 3), 0.9))
        now += seconds_a_word
    return Transcript(words, now + 0.5, "small")


TWO = Transcript((Word("don't", 0.25, 0.5, 0.75), Word("stop", 0.5, 3661.5, 1.0)), 3700, "small")
LONG = spoken(
    "he had a good deal of money and he gave most of it to the poor of the town because he did not need it "
    "himself and when he was asked about it he said that he had been poor once",
    pauses={19: 0.5, 25: 2.0},
)


class TestTranscript:
    def test_text_derives_from_the_words(self):
        assert TWO.text == "don't stop"

    def test_no_words_are_a_valid_answer(self):
        empty = Transcript((), 2.0)
        assert (empty.text, empty.confidence, empty.words) == ("", 0.0, ())

    def test_confidence_weighs_words_by_their_characters(self):
        assert TWO.confidence == pytest.approx((5 * 0.75 + 4 * 1.0) / 9)

    @pytest.mark.parametrize("fields, message", [
        (("", 0, 1, 0.5), "without white space"),
        (("two words", 0, 1, 0.5), "without white space"),
        (("line\n", 0, 1, 0.5), "without white space"),
        ((b"a", 0, 1, 0.5), "without white space"),
        (("a", 1, 0.5, 0.5), "cannot last from 1.0 to 0.5 s"),
        (("a", -0.1, 0.5, 0.5), "cannot last"),
        (("a", 0, math.inf, 0.5), "cannot last"),
        (("a", math.nan, 1, 0.5), "cannot last"),
        (("a", 0, 1, 1.01), r"must lie in \[0, 1\], got 1.01"),
        (("a", 0, 1, math.nan), r"must lie in \[0, 1\]"),
    ])  # fmt: skip
    def test_a_word_that_cannot_be_is_refused(self, fields, message):
        with pytest.raises(ValueError, match=message):
            Word(*fields)

    @pytest.mark.parametrize("words, seconds, message", [
        ([Word("b", 1, 2, 1), Word("a", 0, 3, 1)], 3, "'a' starts at 0.0 s, before the word in front of it"),
        ([Word("a", 0, 3, 1)], 2.9, r"'a' ends at 3.0 s, after the recording \(2.9 s\)"),
        ([], math.nan, "cannot last nan s"),
        ([], -1, "cannot last -1.0 s"),
    ])  # fmt: skip
    def test_a_transcript_that_cannot_be_is_refused(self, words, seconds, message):
        with pytest.raises(ValueError, match=message):
            Transcript(words, seconds)

    def test_numpy_floats_become_json_floats(self):
        transcript = Transcript([Word("a", np.float32(0.5), np.float64(1), np.float32(0.25))], np.float32(2))
        assert json.loads(JsonWriter().write(transcript))["words"] == [
            {"word": "a", "start": 0.5, "end": 1.0, "confidence": 0.25}
        ]


class TestWriters:
    def test_there_is_one_for_each_format(self):
        assert list(WRITERS) == ["txt", "srt", "vtt", "json"]
        assert all(writer.extension == name for name, writer in WRITERS.items())

    def test_txt(self):
        assert TextWriter().write(TWO) == "don't stop\n"

    def test_srt(self):
        assert (
            SrtWriter().write(LONG)
            == """\
1
00:00:00,500 --> 00:00:06,200
he had a good deal of money and he
gave most of it to the poor of the town

2
00:00:06,700 --> 00:00:08,500
because he did not need it

3
00:00:10,500 --> 00:00:15,300
himself and when he was asked about it
he said that he had been poor once
"""
        )

    def test_vtt(self):
        words = spoken("did you come to the house because of the rain", pauses={6: 1.5})
        assert (
            VttWriter().write(words, max_characters=20, max_lines=1, max_seconds=2)
            == """\
WEBVTT

1
00:00:00.500 --> 00:00:01.400
did you come

2
00:00:01.400 --> 00:00:02.400
to the house

3
00:00:03.800 --> 00:00:05.000
because of the rain
"""
        )

    def test_json(self):
        assert JsonWriter().write(TWO, file="a/b.wav") == (
            '{"file": "a/b.wav", "text": "don\'t stop", "seconds": 3700.0, "confidence": 0.8611, "words": '
            '[{"word": "don\'t", "start": 0.25, "end": 0.5, "confidence": 0.75}, '
            '{"word": "stop", "start": 0.5, "end": 3661.5, "confidence": 1.0}], "model": "small", "notes": []}\n'
        )

    def test_nothing_recognised(self):
        empty = Transcript((), 2.0)
        assert [writer().write(empty) for writer in WRITERS.values()] == [
            "\n",
            "",
            "WEBVTT\n\n",
            '{"file": null, "text": "", "seconds": 2.0, "confidence": 0.0, "words": [], "model": "", "notes": []}\n',
        ]

    def test_hours_are_counted_on(self):
        transcript = Transcript([Word("late", 3600 * 30 + 61.0015, 3600 * 30 + 62.5, 1)], 3600 * 31)
        assert "30:01:01,002 --> 30:01:02,500" in SrtWriter().write(transcript)
        assert "30:01:01.002 --> 30:01:02.500" in VttWriter().write(transcript)

    def test_vtt_escapes_what_is_markup(self):
        transcript = spoken("<b>Tom</b> & --> Jerry")
        content = VttWriter().write(transcript)
        assert "&lt;b&gt;Tom&lt;/b&gt; &amp; --&gt; Jerry" in content
        assert content.count("-->") == 1

    @pytest.mark.parametrize("arrow", ["-->", "--->", "----->"])
    def test_srt_holds_no_arrow_but_those_between_times(self, arrow):
        content = SrtWriter().write(spoken(f"1 00:00:01,000 {arrow} 00:00:02,000"))
        assert content.count("-->") == 1
        assert len(list(srt.parse(content))) == 1

    @pytest.mark.parametrize("transcript", [LONG, TWO, spoken("one"), spoken("a " * 200), Transcript((), 1)])
    def test_srt_is_read_by_somebody_elses_parser(self, transcript):
        read = list(srt.parse(SrtWriter().write(transcript)))
        assert " ".join(" ".join(item.content.split()) for item in read) == transcript.text
        assert [item.index for item in read] == list(range(1, len(read) + 1))
        expected = cues(transcript.words, transcript.seconds)
        assert [(item.start.total_seconds(), item.end.total_seconds()) for item in read] == [
            (cue.start / 1000, cue.end / 1000) for cue in expected
        ]

    @pytest.mark.parametrize("transcript", [LONG, TWO, spoken("a<b & c>d"), Transcript((), 1)])
    def test_vtt_is_read_by_somebody_elses_parser(self, transcript):
        read = webvtt.from_string(VttWriter().write(transcript))
        text = " ".join(" ".join(item.raw_text.split()) for item in read)
        assert text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == transcript.text
        expected = cues(transcript.words, transcript.seconds)
        assert [(item.start_in_seconds, item.end_in_seconds) for item in read] == [
            (cue.start // 1000, cue.end // 1000) for cue in expected
        ]

    def test_json_comes_back(self):
        for transcript in (LONG, TWO):
            content = json.loads(JsonWriter().write(transcript))
            fields = ("word", "start", "end", "confidence")
            words = [Word(*(entry[name] for name in fields)) for entry in content["words"]]
            assert Transcript(words, content["seconds"], content["model"]) == Transcript(
                transcript.words, round(transcript.seconds, 3), transcript.model
            )

    def test_json_is_one_line_whatever_the_names_hold(self):
        content = JsonWriter().write(TWO, file="odd\u2028\x85\n\udcff.wav")
        assert content.isascii() and len(content.splitlines()) == 1
        assert json.loads(content)["file"] == "odd\u2028\x85\n\udcff.wav"


class TestCues:
    def test_end_at_pauses(self):
        shown = cues(LONG.words, LONG.seconds)
        assert [cue.lines[-1].split()[-1] for cue in shown] == ["town", "it", "once"]

    def test_never_span_a_long_silence(self):
        shown = cues(spoken("one two", pauses={1: 1.0}).words, 10)
        assert [cue.lines for cue in shown] == [("one",), ("two",)]

    def test_lines_are_balanced_and_do_not_end_in_an_article(self):
        words = spoken("we walked down to the river and looked at the water", 0.2).words
        assert cues(words, 5)[0].lines == ("we walked down to the river", "and looked at the water")

    def test_the_words_of_a_replacement_share_the_time_of_what_was_spoken(self):
        long = "the North Atlantic Treaty Organisation (NATO), Supreme Headquarters".split()
        words = [Word("join", 1.0, 1.5, 0.9), *(Word(text, 2.0, 6.0, 0.9) for text in long), Word("now", 6.0, 6.5, 0.9)]
        shown = cues(words, 8, max_characters=20, max_lines=1)
        assert len(shown) > 4 and all(cue.end - cue.start >= 500 for cue in shown)
        assert " ".join(line for cue in shown for line in cue.lines) == " ".join(word.text for word in words)

    def test_sentences_of_an_edited_transcript_end_cues(self):
        text = "Is it you who called me last night? Yes, it is me. "
        text += "Come in and sit down here, by the fire, with us."
        shown = cues(spoken(text).words, 10)
        assert [cue.lines[-1] for cue in shown] == ["last night? Yes, it is me.", "by the fire, with us."]

    @pytest.mark.parametrize("limits", [(42, 2, 7), (20, 1, 2), (30, 3, 4), (80, 1, 15), (5, 1, 0.5)])
    def test_keep_the_limits(self, limits):
        characters, lines, seconds = limits
        shown = cues(LONG.words, LONG.seconds, max_characters=characters, max_lines=lines, max_seconds=seconds)
        assert " ".join(line for cue in shown for line in cue.lines) == LONG.text
        for cue in shown:
            assert len(cue.lines) <= lines
            assert all(len(line) <= characters or " " not in line for line in cue.lines)
            assert 0 < cue.end - cue.start <= seconds * 1000
        for one, next_one in pairwise(shown):
            assert one.end <= next_one.start

    def test_short_ones_stay_a_second_where_there_is_room(self):
        words = (Word("yes", 1, 1.2, 1), Word("no", 5, 5.1, 1), Word("so", 9.7, 9.8, 1))
        assert [(cue.start, cue.end) for cue in cues(words, 10)] == [
            (1000, 2000),
            (5000, 6000),
            (9700, 10000),
        ]

    def test_words_without_length_still_get_times_of_their_own(self):
        words = tuple(Word("aaaa", 1, 1, 1) for _ in range(3))
        shown = cues(words, 1, max_characters=4, max_lines=1)
        assert [(cue.start, cue.end) for cue in shown] == [(1000, 1001), (1001, 1002), (1002, 1003)]

    @pytest.mark.parametrize(
        "limits", [{"max_characters": 0}, {"max_lines": 0}, {"max_seconds": 0.0}, {"max_seconds": math.inf}]
    )
    def test_limits_must_be_positive(self, limits):
        with pytest.raises(ValueError, match="must be positive and finite, got"):
            cues(LONG.words, LONG.seconds, **limits)
