"""Requests from file to clip: what a visitor gets, and the message when a request fails."""

import dataclasses
import json
import logging

import gradio as gr
import numpy as np
import pytest

from asr_core.audio.formats import AUDIO_SUFFIXES
from asr_core.errors import AlignmentError, AudioError, Cancelled, GivenTextError
from tests.ui.fake import DOUBTFUL_WORD, FAKE_TEXT
from ui.service.clip import MAX_HYPOTHESES
from ui.service.exports import FORMATS, SubtitleLimits, content, safe_stem, write_exports
from ui.service.jobs import CancelFlag
from ui.service.overrides import DecodingOverrides
from ui.service.requests import Limits, align_edit, decode_again, explain, transcribe_file
from ui.tabs.how_it_works import guided_walk
from ui.widgets.decoding import Decoding, hypotheses_table
from ui.widgets.uploads import FILE_TYPES
from ui.widgets.words import facts, transcript_card


def test_every_suffix_that_is_read_can_be_chosen_on_the_page():
    assert set(FILE_TYPES) >= AUDIO_SUFFIXES


def test_a_recording_whose_emissions_take_too_much_memory_is_refused_with_the_length_that_fits(engine, recording):
    limits = Limits(emission_megabytes=0.001)  # 9.6 steps of 26 tokens
    with pytest.raises(AudioError, match="cut the recording into parts of at most 0 minutes"):
        transcribe_file(recording(), "tone.wav", DecodingOverrides(), engine, limits)


def test_a_file_becomes_words_with_times_and_audio_to_play(clip):
    assert clip.transcript.text == FAKE_TEXT
    assert clip.seconds == pytest.approx(4.0)
    assert clip.audio.path.is_file() and len(clip.audio.samples) == 64000
    assert np.abs(clip.audio.samples).max() == pytest.approx(0.3 * 32767, rel=0.01)
    assert clip.real_time_factor > 0


def test_doubtful_words_are_marked(clip):
    card = transcript_card(clip)
    doubtful = [word.text for word in clip.transcript.words if word.confidence < 0.85]
    assert doubtful == [DOUBTFUL_WORD]
    assert card.count("data-unsure") == 1 and "Next unsure word (1)" in card


def test_silence_is_reported_to_hold_no_speech(engine, recording):
    clip = transcribe_file(recording(level=0.0), "silence.wav", DecodingOverrides(), engine, Limits())
    assert clip.transcript.words == ()
    assert "No speech was found" in transcript_card(clip)
    assert all(path.is_file() for path in write_exports(clip, SubtitleLimits()))
    assert "No word was recognised" in guided_walk(clip, 3)


def test_an_edit_is_aligned_again(clip, engine):
    edited = align_edit(clip, "The quick, brown fox jumped over the lazy dog!", engine)
    assert [word.text for word in edited.transcript.words][:3] == ["The", "quick,", "brown"]
    assert edited.edited and edited.token != clip.token and edited.audio is clip.audio
    starts = [word.start for word in edited.transcript.words]
    assert starts == sorted(starts)
    with pytest.raises(AlignmentError):
        align_edit(clip, "", engine)


def test_an_edit_may_hold_dashes_and_says_if_it_does_not_fit(clip, engine):
    edited = align_edit(clip, "The quick \u2014 brown fox", engine)
    assert edited.transcript.text == "The quick\u2014 brown fox"
    foreign = align_edit(edited, "nobody knew whether it was winter", engine)
    assert "not the text of this recording" in foreign.transcript.notes[0]
    assert foreign.transcript.notes[0] in facts(foreign)
    assert align_edit(foreign, "the quick brown fox", engine).transcript.notes == ()


def test_decoding_again_does_not_run_the_network(clip, engine, monkeypatch):
    monkeypatch.setattr(engine.recognizer(), "emissions", None)
    again = decode_again(clip, DecodingOverrides("beam"), engine)
    assert again.emissions is clip.emissions
    assert len(again.hypotheses) == MAX_HYPOTHESES
    shown = [hypotheses_table(again, count).count("<tr>") - 1 for count in (2, 3, MAX_HYPOTHESES)]
    assert shown == [2, 3, MAX_HYPOTHESES] and hypotheses_table(again, 1) == ""


def test_an_unknown_decoder_is_left_to_the_model_and_hotwords_count_once():
    choice = DecodingOverrides.of("recommended", 16.0, 1, "  Ada \n\nx\n" * 500)
    assert (choice.decoder, choice.beam_width, choice.language_model_weight) == (None, 16, 1.0)
    assert choice.hot_words == ("Ada", "x")


def test_too_many_hot_words_are_refused_and_none_dropped():
    words = "\n".join(map(str, range(201)))
    with pytest.raises(GivenTextError, match="There are 201 hotwords and at most 200 can be used"):
        DecodingOverrides.of(hot_words=words)
    assert len(DecodingOverrides.of(hot_words=words[:-3]).hot_words) == 200


def test_sliders_that_the_model_has_not_set_yet_choose_nothing(engine):
    """Who opens a recording as soon as the page is there gets what the model recommends."""
    with gr.Blocks():
        decoding = Decoding()
    untouched = [component.value for component in decoding.components]
    early, bundle = decoding.read(untouched), engine.recognizer().bundle
    assert early.options(bundle) == bundle.decoder_options()
    recommended = decoding.read([*decoding.defaults(bundle), *untouched[3:]])
    assert recommended != early and recommended.same(early, bundle)
    assert not recommended.same(dataclasses.replace(early, beam_width=7), bundle)
    assert not recommended.same(dataclasses.replace(early, hot_words=("Ada",)), bundle)


def test_too_long_and_too_large_are_refused_with_numbers(engine, recording):
    with pytest.raises(AudioError, match="2"):
        transcribe_file(recording(4.0), "x", DecodingOverrides(), engine, Limits(audio_seconds=2))
    with pytest.raises(AudioError, match="limit is 0 MB"):
        transcribe_file(recording(20.0), "x", DecodingOverrides(), engine, Limits(file_megabytes=0))


def test_a_set_flag_stops_the_work(engine, recording):
    flag = CancelFlag()
    flag.set()
    with pytest.raises(Cancelled):
        transcribe_file(recording(), "x", DecodingOverrides(), engine, Limits(), cancel=flag)


def test_every_request_leaves_one_line_without_words(engine, recording, caplog):
    with caplog.at_level(logging.INFO, "asr.requests"):
        transcribe_file(recording(), "secret name.wav", DecodingOverrides(), engine, Limits())
        with pytest.raises(AudioError):
            transcribe_file(__file__, "x", DecodingOverrides(), engine, Limits())
    lines = [json.loads(record.message) for record in caplog.records]
    assert [line["outcome"] for line in lines] == ["ok", "AudioError"]
    assert lines[0]["audio_seconds"] == 4.0
    assert "secret" not in caplog.text and "fox" not in caplog.text


def test_a_failure_shows_a_reference_and_not_itself(caplog):
    said = explain(ZeroDivisionError("division of /etc/passwd"))
    assert "passwd" not in said and "An error occurred in this program" in said
    assert explain(AudioError("Cut it first.")) == "Cut it first."


def test_downloads_are_what_their_formats_say(clip):
    paths = write_exports(clip, SubtitleLimits())
    assert [path.suffix[1:] for path in paths] == list(FORMATS)
    by_suffix = {path.suffix: path.read_text("utf-8") for path in paths}
    assert by_suffix[".txt"].strip() == FAKE_TEXT
    assert json.loads(by_suffix[".json"])["text"] == FAKE_TEXT
    assert by_suffix[".vtt"].startswith("WEBVTT")


def test_subtitle_limits_reach_the_file(clip):
    narrow = content(clip.transcript, "srt", SubtitleLimits(characters=20, lines=1, seconds=2))
    wide = content(clip.transcript, "srt", SubtitleLimits())
    assert narrow.count("-->") > wide.count("-->")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "passwd"),
        ("a b<c>.wav", "a-b-c"),
        ("C:\\x\\y.mp3", "y"),
        ("...", "recording"),
        ("", "recording"),
    ],
)
def test_download_names_are_safe(name, stem):
    assert safe_stem(name) == stem
