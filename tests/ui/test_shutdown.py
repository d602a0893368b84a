"""SIGTERM, as hosts send it, on the real program with a fake recogniser: it finishes or refuses, and ends."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from tests.train.app_process import free_port
from tests.ui.fake import FAKE_TEXT

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 240  # all of it takes seconds on an idle machine
PROGRAM = """
import functools, sys, time
import app, ui.service.engine, ui.service.shutdown
from tests.ui.fake import FakeRecognizer

class Slow(FakeRecognizer):
    def emissions(self, audio, progress=None, cancel=None, on_emissions=None):
        print("transcribing", flush=True)
        time.sleep({transcribe_seconds})
        return super().emissions(audio, progress, cancel, on_emissions)

ui.service.engine.Engine = functools.partial(ui.service.engine.Engine, load=Slow)
ui.service.shutdown.FINISH_SECONDS = {finish_seconds}
app.main(["--port", sys.argv[1]])
"""


@pytest.fixture
def started(tmp_path):
    """A function that starts the program and returns it with its address once it is ready."""
    programs = []

    def start(transcribe_seconds: float, finish_seconds: float):
        port = free_port()
        code = PROGRAM.format(transcribe_seconds=transcribe_seconds, finish_seconds=finish_seconds)
        program = subprocess.Popen(
            [sys.executable, "-c", code, str(port)],
            cwd=ROOT,
            env=os.environ | {"GRADIO_TEMP_DIR": str(tmp_path / "uploads"), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        programs.append(program)
        wait_until_ready(program, f"http://127.0.0.1:{port}")
        return program, f"http://127.0.0.1:{port}"

    yield start
    for program in programs:
        program.kill()
        program.wait()


def wait_until_ready(program, url: str) -> None:
    latest = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < latest and program.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            time.sleep(0.2)
    program.kill()
    pytest.fail(f"the program did not come up: {program.communicate()[0]}")


def wait_for_line(program, word: str) -> None:
    """Reads what the program prints, up to a line with this word."""
    assert any(word in line for line in iter(program.stdout.readline, ""))


def stop_during_a_request(program, url: str, recording: str):
    """(job of a request that was running when the program was asked to stop, its client)."""
    client = Client(url, verbose=False, httpx_kwargs={"timeout": PATIENCE_SECONDS})
    job = client.submit(handle_file(recording), api_name="/transcribe")
    wait_for_line(program, "transcribing")
    program.send_signal(signal.SIGTERM)
    return job, client


def test_a_running_request_is_answered_and_new_ones_are_refused(started, recording, tmp_path):
    program, url = started(transcribe_seconds=3, finish_seconds=PATIENCE_SECONDS)
    job, client = stop_during_a_request(program, url, recording())
    time.sleep(1)
    with pytest.raises(Exception, match="try again"):
        client.predict("a", "a", api_name="/compare")
    assert job.result(PATIENCE_SECONDS)["text"] == FAKE_TEXT
    assert program.wait(PATIENCE_SECONDS) == 0
    said = program.stdout.read()
    assert "Traceback" not in said and "every request was answered" in said
    assert not list(tmp_path.glob("uploads/**/*.wav"))
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/health", timeout=5)


def test_a_request_that_takes_too_long_is_reported_and_does_not_hold_the_end_up(started, recording, tmp_path):
    program, url = started(transcribe_seconds=10 * PATIENCE_SECONDS, finish_seconds=0.5)
    job, _ = stop_during_a_request(program, url, recording())
    assert program.wait(PATIENCE_SECONDS) == 0  # a tenth of what the request would take
    with pytest.raises(Exception, match="is being stopped"):
        job.result(PATIENCE_SECONDS)
    said = program.stdout.read()
    assert "Traceback" not in said and "some requests were cut short" in said
    assert not list(tmp_path.glob("uploads/**/*.wav"))
