"""The Batch tab: a bad file, the limit, the choice of a form, and a visitor who leaves."""

import errno
import threading
import time
import zipfile

import gradio as gr

from asr_core.errors import Cancelled
from tests.ui.fake import FAKE_TEXT, FakeRecognizer
from ui.service.clip import SPOKEN, WRITTEN
from ui.service.engine import Engine
from ui.service.jobs import CancelFlag
from ui.service.requests import Limits
from ui.tabs.batch import Batch, Row, transcribe_all, write_zip


def test_one_bad_file_does_not_stop_the_batch(engine, recording, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"not a recording")
    rows = [
        Row(recording(name="a.wav"), "a.wav"),
        Row(str(bad), "bad.wav"),
        Row(recording(name="b.wav"), "a.wav"),
    ]
    states = [[row.state for row in rows] for _ in transcribe_all(rows, engine, Limits())]
    assert states[0] == ["waiting"] * 3
    assert states[-1] == ["done", "failed", "done"]
    assert rows[1].error and rows[0].transcript.text == FAKE_TEXT
    names = zipfile.ZipFile(write_zip([rows[0], rows[2]], tmp_path)).namelist()
    assert {"txt/a.txt", "txt/a-2.txt", "json/a.json", "srt/a-2.srt"} <= set(names) and len(names) == 8


def test_a_batch_stops_at_its_limit_and_on_request(engine, recording):
    rows = [Row(recording(name=f"{i}.wav"), f"{i}.wav") for i in range(3)]
    list(transcribe_all(rows, engine, Limits(batch_seconds=9)))
    assert [row.state for row in rows] == ["done", "done", "failed"]
    flag = CancelFlag()
    flag.set()
    rows = [Row(recording(), "x.wav")]
    list(transcribe_all(rows, engine, Limits(), cancel=flag))
    assert rows[0].state == "skipped"


def test_the_file_in_work_is_cancelled_when_the_visitor_leaves(recording):
    ended, begun = threading.Event(), threading.Event()

    class Slow(FakeRecognizer):
        def transcribe(self, audio, *, progress, cancel):
            progress(0.5)
            begun.set()
            while not cancel.is_set():
                time.sleep(0.01)
            ended.set()
            raise Cancelled()

    engine = Engine(load=Slow).start()
    running = transcribe_all([Row(recording(), "x.wav")], engine, Limits())
    next(running), next(running)  # all rows wait, the first one is in work
    next(running)
    assert begun.wait(10) and not ended.is_set()
    running.close()
    assert ended.wait(10)


def test_the_form_of_a_batch_can_be_changed_while_it_runs_and_afterwards(engine, recording):
    with gr.Blocks():
        batch = Batch(engine, Limits(), gr.State(None))
    rows = [Row(recording(), "x.wav"), Row(recording(), "y.wav", state="waiting")]
    rows[0].transcript, rows[0].state = engine.recognizer().transcribe(recording()), "done"
    (_, archive), *_ = batch._change_form(rows, SPOKEN)
    assert {row.form for row in rows} == {SPOKEN} and "value" not in archive
    rows.pop()
    (_, archive), *_ = batch._change_form(rows, WRITTEN)
    assert archive["value"].endswith(".zip") and rows[0].form == WRITTEN


def test_a_batch_keeps_its_table_if_the_zip_cannot_be_written(engine, recording, monkeypatch):
    with gr.Blocks():
        batch = Batch(engine, Limits(), gr.State(None))
    rows = [Row(recording(), "x.wav", state="done", transcript=engine.recognizer().transcribe(recording()))]

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ui.tabs.batch.write_zip", full)
    ((shown, archive),) = batch._finished(rows)
    assert "disk of this machine is full" in shown and "x.wav" in shown and not archive["visible"]
