"""What there is to know of a recording is shown beside its transcript, as text."""

from dataclasses import replace

import pytest

from ui.service.overrides import DecodingOverrides
from ui.service.requests import Limits, read_audio, transcribe_file
from ui.tabs.batch import Row, batch_table, transcribe_all
from ui.widgets.words import NOTES, facts

DAMAGED = "The recording is damaged <b>from 3 s</b> on."
TRACKS = "It has 2 more tracks & only the first was transcribed."
ESCAPED = ("The recording is damaged &lt;b&gt;from 3 s&lt;/b&gt; on.", "It has 2 more tracks &amp; only the first")


@pytest.fixture
def noted(monkeypatch):
    """Gives every recording notes."""

    def read(*args):
        return replace(read_audio(*args), notes=(DAMAGED, TRACKS))

    monkeypatch.setattr("ui.service.requests.read_audio", read)
    monkeypatch.setattr("ui.tabs.batch.read_audio", read)


def test_transcribe_shows_the_notes_of_a_recording_above_its_facts(engine, recording, noted):
    shown = facts(transcribe_file(recording(), "tone.wav", DecodingOverrides(), engine, Limits()))
    assert all(note in shown for note in ESCAPED) and "<b>" not in shown
    assert shown.index(NOTES) < shown.index(ESCAPED[0]) < shown.index('class="facts"')


def test_a_recording_without_notes_has_no_notice(clip):
    assert NOTES not in facts(clip) and "notice" not in facts(clip)


def test_notes_outlive_another_text(engine, recording, noted):
    clip = transcribe_file(recording(), "tone.wav", DecodingOverrides(), engine, Limits())
    assert ESCAPED[0] in facts(clip.with_transcript(replace(clip.transcript, notes=()), edited=True))


def test_batch_shows_the_notes_of_a_file_in_its_row(engine, recording, noted):
    rows = [Row(recording(name=f"{name}.wav"), f"{name}.wav") for name in ("first", "second")]
    for _ in transcribe_all(rows, engine, Limits()):
        pass
    rows[1].transcript = replace(rows[1].transcript, notes=())
    _, first, second = batch_table(rows).split("<tr>")[1:]
    assert rows[0].transcript.text in first and all(note in first for note in ESCAPED) and "<b>" not in first
    assert rows[1].transcript.text in second and NOTES not in second
