"""The transcript as written and as spoken: what the page shows, what is downloaded, and what the API returns."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from asr_core.text.replacements import parse_replacements
from asr_core.text.tagger import Tag
from asr_core.transcript.written import with_written_form
from tests.processes import comes_true
from tests.ui.fake import FAKE_TEXT, FakeRecognizer
from tests.ui.tones import RATE, ToneRecognizer, tones
from ui.service.clip import SPOKEN, WRITTEN
from ui.service.engine import Engine
from ui.service.exports import SubtitleLimits, write_exports
from ui.service.live_session import LiveSession
from ui.service.overrides import DecodingOverrides
from ui.service.requests import Limits, align_edit, transcribe_file, write_again
from ui.tabs.batch import Row, transcribe_all, write_zip
from ui.tabs.live import shown
from ui.widgets.words import transcript_card

WRITTEN_TEXT = "The quick brown Fox jumps, over the lazy dog."


class FakeTagger:
    """Capitals for "fox", a comma after "jumps", a full stop after "green" and at the end."""

    language = "en"

    def __call__(self, words, finished=True):
        tags = [Tag(self._mark(word.text), "first" if word.text == "fox" else "lower") for word in words]
        if finished and tags:
            tags[-1] = Tag(".", tags[-1].capital)
        return tags

    def _mark(self, text):
        return {"jumps": ",", "green": "."}.get(text, "")

    def write(self, text, tag):
        return text.capitalize() if tag.capital == "first" else text

    def stream(self):
        return FakeTagStream(self)


class FakeTagStream:
    """Tags are final once two words follow."""

    def __init__(self, tagger):
        self.tagger, self.words = tagger, []

    def add(self, words):
        self.words += words
        count = max(0, len(self.words) - 2)
        tags, self.words = self.tagger(self.words[:count], finished=False), self.words[count:]
        return tags

    def preview(self, words=()):
        return self.tagger([*self.words, *words], finished=False)

    def finish(self):
        tags, self.words = self.tagger(self.words), []
        return tags


class WritingRecognizer(FakeRecognizer):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.tagger = FakeTagger()

    def transcript(self, words, seconds):
        return with_written_form(super().transcript(words, seconds), self.tagger)

    def align(self, emissions, seconds, text, cancel=None):
        return replace(super().align(emissions, seconds, text, cancel), written=())  # as typed


@pytest.fixture
def engine():
    return Engine(load=WritingRecognizer).start()


@pytest.fixture
def clip(engine, recording):
    return transcribe_file(recording(), "tone.wav", DecodingOverrides(), engine, Limits())


def plain(html):
    return " ".join(re.sub("<.*?>", " ", html).split())


def test_the_page_shows_the_written_form_and_each_of_its_words_plays_what_was_spoken(clip):
    card = transcript_card(clip)
    assert WRITTEN_TEXT in plain(card) and f'data-text="{WRITTEN_TEXT}"' in card
    fox = next(word for word in clip.transcript.words if word.text == "fox")
    assert re.search(rf'data-at="{fox.start:.2f},{fox.end:.2f}"[^>]*>Fox<', card)


def test_a_doubtful_word_stays_marked(clip):
    card = transcript_card(clip)
    assert re.search(r'class="word (low|mid)"[^>]*>lazy<', card)


def test_the_other_form_changes_nothing_but_the_text(clip, engine):
    spoken = write_again(clip, SPOKEN, parse_replacements(""), engine)
    assert FAKE_TEXT in plain(transcript_card(spoken)) and WRITTEN_TEXT not in plain(transcript_card(spoken))
    assert spoken.transcript.words == clip.transcript.words
    assert spoken.shown_text == FAKE_TEXT and clip.shown_text == WRITTEN_TEXT


def test_downloads_follow_the_form_and_json_has_both(clip, engine):
    for form, text in ((WRITTEN, WRITTEN_TEXT), (SPOKEN, FAKE_TEXT)):
        files = {path.suffix: path.read_text("utf-8") for path in write_exports(
            write_again(clip, form, parse_replacements(""), engine), SubtitleLimits()
        )}  # fmt: skip
        assert files[".txt"] == text + "\n"
        assert text in " ".join(files[".srt"].split("\n")) and text in " ".join(files[".vtt"].split("\n"))
        assert json.loads(files[".json"])["text"] == FAKE_TEXT
        assert ("written" in json.loads(files[".json"])) == (form == WRITTEN)


def test_replacements_are_written_and_taken_back(clip, engine):
    named = write_again(clip, WRITTEN, parse_replacements("brown fox -> Reynard"), engine)
    assert named.shown_text == "The quick Reynard jumps, over the lazy dog."
    assert named.transcript.words == clip.transcript.words
    assert write_again(named, WRITTEN, parse_replacements(""), engine).shown_text == WRITTEN_TEXT


def test_a_note_on_the_recording_is_kept_once(clip, engine):
    noted = replace(clip, transcript=replace(clip.transcript, notes=("The recording is cut off.",)))
    for form in (SPOKEN, WRITTEN, SPOKEN):
        noted = write_again(noted, form, parse_replacements(""), engine)
    assert noted.transcript.notes == ("The recording is cut off.",)


def test_a_corrected_text_is_shown_as_it_was_typed_in_both_forms(clip, engine):
    typed = "The quick, brown socks jump; over the lazy dog!"
    edited = align_edit(clip, typed, engine)
    for form in (WRITTEN, SPOKEN):
        again = write_again(edited, form, parse_replacements("lazy -> busy"), engine)
        assert again.shown_text == typed


def test_a_batch_is_written_in_the_form_that_was_chosen(engine, recording, tmp_path):
    for form, text in ((WRITTEN, WRITTEN_TEXT), (SPOKEN, FAKE_TEXT)):
        rows = [Row(recording(), "tone.wav", form=form)]
        list(transcribe_all(rows, engine, Limits()))
        assert text in plain(rows[0].cells()[1])
        assert write_zip(rows, tmp_path).stat().st_size > 0


class WritingToneRecognizer(ToneRecognizer):
    def __init__(self, name="tones"):
        super().__init__(name)
        self.tagger = FakeTagger()


def test_live_words_are_written_and_final_ones_stay(tmp_path):
    engine = Engine(load=WritingToneRecognizer).start()
    engine.recognizer()
    session = LiveSession(engine, None, Limits())
    samples = np.concatenate([tones("red green blue black white brown red blue"), np.zeros(2 * RATE, np.float32)])
    latest, finals = "", []
    for start in range(0, len(samples), RATE // 2):
        session.push(samples[start : start + RATE // 2], RATE, wait_seconds=20)
        assert comes_true(lambda: session.phase != "loading", seconds=20)
        finals.append([word[0] for word in shown(session, whole=True)["final"]])
        latest = " ".join(word[0] for name in ("final", "partial") for word in shown(session, whole=True)[name])
    for before, after in zip(finals, finals[1:], strict=False):
        assert after[: len(before)] == before
    assert latest.startswith("Red green. Blue black")
    paths = {path.suffix: path for path in session.stop()}
    assert paths[".txt"].read_text("utf-8") == "Red green. Blue black white brown red blue.\n"
    session.form = SPOKEN
    assert " ".join(word[0] for word in shown(session)["final"]) == "red green blue black white brown red blue"
    assert session.files()[0].read_text("utf-8") == "red green blue black white brown red blue\n"
    session.close()
