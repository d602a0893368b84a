"""Scores against references, by hand; and the recordings that visitors collect with their corrected texts."""

import dataclasses
import gc
import zipfile
from itertools import pairwise

import jiwer
import numpy as np
import pytest
import soundfile

from asr_core.audio.levels import full_scale
from asr_core.errors import AlignmentError, AudioError
from asr_core.transcript.words import Word
from tests.ui.fake import FAKE_TEXT
from train.data.manifest import read_manifest
from ui.service.clip import ClipAudio
from ui.service.recordings import MAX_PIECE_SECONDS, Recordings, pieces
from ui.service.requests import Limits
from ui.service.scoring import PIECE_WORDS, compare
from ui.tabs.compare import add_recording, collected


def words(text: str):
    return [Word(word, float(i), i + 0.5, 1.0) for i, word in enumerate(text.split())]


def test_each_kind_of_error_is_counted_and_placed():
    result = compare("the cat sat on the mat", words("the bat sat the mat today"))
    assert (result.hits, result.substitutions, result.deletions, result.insertions) == (4, 1, 1, 1)
    assert result.word_error_rate == pytest.approx(3 / 6)
    kinds = [(pair.kind, pair.reference, pair.hypothesis) for pair in result.pairs]
    assert kinds == [
        ("equal", "the", "the"), ("substitute", "cat", "bat"), ("equal", "sat", "sat"), ("delete", "on", ""),
        ("equal", "the", "the"), ("equal", "mat", "mat"), ("insert", "", "today"),
    ]  # fmt: skip
    substituted, deleted = result.pairs[1], result.pairs[3]
    assert (substituted.start, substituted.end) == (1.0, 1.5)
    assert deleted.start < 2.5 < 3.0 < deleted.end  # between "sat" and "the"


def test_normalised_ignores_case_and_punctuation_and_as_written_does_not():
    assert compare("The cat, sat!", words("the cat sat")).word_error_rate == 0
    assert compare("The cat, sat!", words("the cat sat"), normalised=False).word_error_rate == 1


def test_long_texts_are_compared_in_pieces_with_the_same_result():
    random = np.random.default_rng(3)
    names = np.array("the cat sat on a mat and looked up at houses".split())
    reference = random.choice(names, 3 * PIECE_WORDS)
    changed = np.where(random.random(len(reference)) < 0.2, random.choice(names, len(reference)), reference)
    hypothesis = " ".join(changed[random.random(len(changed)) > 0.1])
    for text in (hypothesis, f"{hypothesis} and more", hypothesis[1000:], ""):
        expected = jiwer.cer(" ".join(reference), text)
        found = compare(" ".join(reference), words(text), False).character_error_rate
        assert found == pytest.approx(expected, rel=1e-3)


def test_texts_that_would_hold_up_the_server_are_refused(monkeypatch):
    monkeypatch.setattr("ui.service.scoring.MAX_WORD_PAIRS", 8)
    assert compare("a b", words("a b c d")).hits == 2
    with pytest.raises(AlignmentError, match="compare them in parts"):
        compare("a b c", words("a b c"))


def test_words_in_letters_that_the_model_lacks_count_as_missing():
    result = compare("Brooke \u043f\u0440\u0438\u0432\u0435\u0442 was used", words("brooke was used"))
    assert (result.reference_words, result.deletions) == (4, 1)
    assert compare("\u043f\u0440\u0438\u0432\u0435\u0442", words("a")).word_error_rate == 1


def test_one_written_word_may_be_two_spoken_ones():
    result = compare("twenty one cats", words("21 cats"))
    assert result.word_error_rate == 0
    assert [pair.start for pair in result.pairs] == [0.0, 0.0, 1.0]


def test_nothing_recognised_is_all_deletions():
    result = compare("one two", [])
    assert result.word_error_rate == 1 and result.deletions == 2
    assert all(pair.start is None for pair in result.pairs)


@pytest.mark.parametrize("reference", ["", "  ", "?!"])
def test_a_reference_without_words_is_refused_in_words(reference):
    with pytest.raises(AlignmentError, match="no words"):
        compare(reference, words("a"))


def spoken(*times):
    """Words w0, w1 ... with these (start, end)."""
    return [Word(f"w{i}", start, end, 1.0) for i, (start, end) in enumerate(times)]


def test_a_recording_is_cut_at_every_long_pause_and_keeps_a_margin():
    first, second = pieces(spoken((1.0, 1.5), (1.6, 2.0), (5.0, 6.0)), seconds=6.1)
    assert (first.text, first.start, first.end) == ("w0 w1", 0.75, 2.25)
    assert (second.text, second.start, second.end) == ("w2", 4.75, 6.1)


def test_speech_without_long_pauses_is_cut_at_the_widest_ones():
    words = spoken(*((i, i + (0.7 if i == 13 else 0.95)) for i in range(20)))
    cut = list(pieces(words, 20.0))
    assert "w13" in [piece.text.split()[-1] for piece in cut]
    assert " ".join(piece.text for piece in cut) == " ".join(word.text for word in words)
    assert all(piece.end - piece.start <= MAX_PIECE_SECONDS for piece in cut)
    assert all(a.end <= b.start for a, b in pairwise(cut))


def test_corrected_recordings_become_a_manifest_that_training_reads(clip, engine, tmp_path):
    recordings = Recordings()
    add_recording(clip, "The quick brown fox jumped over the lazy dog.", recordings, engine, Limits())
    add_recording(clip, FAKE_TEXT.capitalize(), recordings, engine, Limits())  # corrected again
    other = dataclasses.replace(clip, audio=ClipAudio(full_scale(clip.audio.samples), 16_000))
    add_recording(other, FAKE_TEXT, recordings, engine, Limits())
    assert recordings.count == 2 and "2 clips, 0:0" in collected(recordings)
    with zipfile.ZipFile(recordings.zip()) as archive:
        archive.extractall(tmp_path)
    first, second = read_manifest(tmp_path / recordings.name / "manifest.jsonl")
    assert (first.text, first.speaker) == (FAKE_TEXT.capitalize(), "me") and first.id != second.id
    samples, rate = soundfile.read(first.audio)
    assert len(samples) / 16_000 == pytest.approx(first.seconds, abs=0.001)
    assert rate == 16_000 and np.abs(samples).max() > 0.2


def test_what_a_visitor_collects_is_deleted_with_the_session(clip, engine):
    recordings = Recordings()
    add_recording(clip, FAKE_TEXT, recordings, engine, Limits())
    path = recordings.zip()
    assert path.is_file()
    del recordings
    gc.collect()
    assert not path.parent.exists()


def test_a_text_that_is_not_that_of_the_recording_is_not_collected(clip, engine):
    recordings = Recordings()
    with pytest.raises(AlignmentError, match="not the text of this recording"):
        add_recording(clip, "nobody knew whether it was winter", recordings, engine, Limits())
    with pytest.raises(AlignmentError):
        add_recording(clip, "", recordings, engine, Limits())
    assert recordings.count == 0


def test_a_session_collects_no_more_than_its_limit(clip, engine):
    recordings, limits = Recordings(), Limits(batch_seconds=6)
    add_recording(clip, FAKE_TEXT, recordings, engine, limits)
    with pytest.raises(AudioError, match="can be collected"):
        add_recording(clip, FAKE_TEXT, recordings, engine, limits)
