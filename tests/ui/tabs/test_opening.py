"""The two events that open a recording: what each of them sends to the page."""

import threading

import gradio as gr
import pytest

from asr_core.errors import Cancelled
from tests.ui.fake import FAKE_TEXT, FakeRecognizer
from ui.service.clip import SPOKEN, ClipRegistry
from ui.service.engine import Engine
from ui.service.jobs import CurrentRequest
from ui.service.requests import Limits
from ui.tabs.transcribe import Transcribe


class HalfWay(FakeRecognizer):
    """Stops in the middle of recognition, and of alignment, until it may continue."""

    go_on = threading.Event()

    def align(self, emissions, seconds, text, cancel=None):
        self.go_on.wait()
        if cancel.is_set():
            raise Cancelled()
        return super().align(emissions, seconds, text, cancel)

    def emissions(self, audio, progress=None, cancel=None, on_emissions=None):
        progress(0.5)
        self.go_on.wait()
        return super().emissions(audio, progress, cancel, on_emissions)


@pytest.fixture
def transcribe():
    HalfWay.go_on.clear()
    engine = Engine(load=HalfWay).start()
    engine.recognizer()
    with gr.Blocks():
        yield Transcribe(engine, ClipRegistry(), Limits(), gr.State(None))
    HalfWay.go_on.set()


def opening(transcribe, path: str, running: CurrentRequest):
    controls = [component.value for component in transcribe.inputs[2:]]
    return transcribe.open(path, "tone.wav", None, running, *controls)


def shown(transcribe, row: list) -> dict:
    """What the page shows after an update, by component: values and visibility."""
    return {
        component: value["value"] if isinstance(value, dict) and "value" in value else value
        for component, value in zip(transcribe.outputs, row, strict=True)
    }


def test_no_update_of_an_opening_leaves_anything_to_another_one(transcribe, recording):
    running = CurrentRequest()
    rows = opening(transcribe, recording(), running)
    updates = [next(rows), next(rows)]
    HalfWay.go_on.set()
    updates += list(rows)
    assert len(updates) >= 3 and all(gr.skip() not in row for row in updates)
    outcome = transcribe.outcome(running)
    assert gr.skip() not in outcome[1:]  # the clip, which is first, stays in its state
    page = shown(transcribe, outcome)
    assert FAKE_TEXT == page[transcribe.text] and page[transcribe.timeline] and all(map(page.get, transcribe.downloads))
    assert [page[part]["visible"] for part in (transcribe.after, transcribe.stop)] == [True, False]


def test_an_outcome_is_shown_once(transcribe, recording):
    running = CurrentRequest()
    HalfWay.go_on.set()
    *_, last = opening(transcribe, recording(), running)
    assert last[0].transcript.text == FAKE_TEXT
    assert transcribe.outcome(running) != transcribe.unchanged() == transcribe.outcome(running)


def test_an_outcome_is_not_shown_once_another_recording_is_opened(transcribe, recording):
    running = CurrentRequest()
    HalfWay.go_on.set()
    list(opening(transcribe, recording(), running))
    next(opening(transcribe, recording(name="other.wav"), running))
    assert transcribe.outcome(running) == transcribe.unchanged()


def test_a_superseded_opening_ends_without_a_change(transcribe, recording):
    running = CurrentRequest()
    first = opening(transcribe, recording(), running)
    next(first)
    next(opening(transcribe, recording(name="other.wav"), running))
    HalfWay.go_on.set()
    assert list(first)[-1] == transcribe.unchanged()  # Gradio repeats it at the end


def test_a_page_that_was_cleared_at_the_end_stays_clear(transcribe, recording):
    running = CurrentRequest()
    HalfWay.go_on.set()
    list(opening(transcribe, recording(), running))
    cleared = transcribe._close(running)
    assert transcribe.outcome(running) == cleared


@pytest.fixture
def correcting(transcribe, recording):
    """The opened clip and, as a function of the visitor's requests, the updates after a correction of its text."""
    running = CurrentRequest()
    HalfWay.go_on.set()
    *_, last = opening(transcribe, recording(), running)
    HalfWay.go_on.clear()
    transcribe.opened = last[0]
    controls = [component.value for component in transcribe.controls]
    return running, transcribe._align_edit(last[0], running, "the lazy dog", *controls)


def test_a_correction_locks_the_text_and_shows_its_result(transcribe, correcting):
    _, rows = correcting
    first = next(rows)
    assert first[transcribe.outputs.index(transcribe.text)] == gr.update(interactive=False)
    assert first[-1] == gr.update(visible=True), "the Stop button"
    HalfWay.go_on.set()
    *_, row = rows
    assert row[transcribe.outputs.index(transcribe.text)] == gr.update(value="the lazy dog", interactive=True)
    assert row[-1] == gr.update(visible=False)


def test_a_correction_that_ends_after_another_recording_was_opened_changes_nothing(transcribe, correcting, recording):
    running, rows = correcting
    next(rows)
    next(opening(transcribe, recording(name="other.wav"), running))
    HalfWay.go_on.set()
    assert list(rows)[-1] == transcribe.unchanged()


def test_a_form_that_is_chosen_while_a_correction_is_aligned_counts(transcribe, correcting):
    running, rows = correcting
    clip = next(rows)[0]
    values = {component: component.value for component in transcribe.controls}
    values |= {transcribe.written.form: SPOKEN, transcribe.subtitles.lines: 1}
    transcribe._change_form(transcribe.opened, running, "the lazy dog", *values.values())
    HalfWay.go_on.set()
    *_, row = rows
    assert clip == gr.skip() and row[0].form == SPOKEN and running.controls == tuple(values.values())


def test_a_correction_that_is_stopped_keeps_the_words(transcribe, correcting):
    running, rows = correcting
    next(rows)
    running.flag.set()
    HalfWay.go_on.set()
    *_, row = rows
    page = dict(zip(transcribe.outputs, row, strict=True))
    assert "Stopped" in page[transcribe.message] and page[transcribe.clip] == page[transcribe.words] == gr.skip()


def test_a_recording_that_cannot_be_read_says_so_in_one_whole_update(transcribe, tmp_path):
    running = CurrentRequest()
    path = tmp_path / "text.wav"
    path.write_text("no sound")
    list(opening(transcribe, str(path), running))
    row = transcribe.outcome(running)
    assert "is not a recording" in shown(transcribe, row)[transcribe.message] and gr.skip() not in row[1:]


def test_wrong_hot_words_and_replacements_are_left_out_with_a_notice_and_can_be_corrected(transcribe, recording):
    running = CurrentRequest()
    HalfWay.go_on.set()
    values = {component: component.value for component in transcribe.inputs[2:]}
    values |= {transcribe.written.pairs: "no arrow", transcribe.decoding.hot_words: "\n".join(map(str, range(500)))}
    list(transcribe.open(recording(), "tone.wav", None, running, *values.values()))
    page = shown(transcribe, transcribe.outcome(running))
    assert page[transcribe.text] == FAKE_TEXT and page[transcribe.after]["visible"]
    assert all(word in page[transcribe.message] for word in ("Some settings were not applied", "arrow", "200"))


def test_corrections_of_a_recording_that_the_server_no_longer_has_get_an_answer(transcribe):
    controls = [component.value for component in transcribe.controls]
    (row,) = transcribe._align_edit(None, CurrentRequest(), "corrected words", *controls)
    page = shown(transcribe, row)
    assert "no longer open" in page[transcribe.message] and page[transcribe.text] == gr.skip()
