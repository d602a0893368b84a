"""Faults on a real server with a fake recogniser: the visitor gets one sentence, and the server goes on."""

import errno
import json
import shutil
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file

import ui
from asr_core.errors import Cancelled
from tests.processes import comes_true
from tests.ui.fake import FAKE_TEXT, FakeRecognizer
from ui.service.engine import Engine
from ui.service.requests import MAX_TRANSCRIPTIONS

PATIENCE_SECONDS = 60  # everything takes milliseconds on an idle machine; a busy one is not a fault
# of a click on an example: model, cancel, options
LAST_INPUTS = [None, None, "greedy", 16, 0.5, 1, "", 42, 2, 7, "written", ""]


class Gated(FakeRecognizer):
    """Waits in the middle of recognition until it may go on; counts the calls, and notes a cancellation."""

    def __init__(self, name):
        super().__init__(name)
        self.may_go_on, self.calls, self.cancelled = threading.Event(), 0, threading.Event()
        self.may_go_on.set()

    def emissions(self, audio, progress=None, cancel=None, on_emissions=None):
        self.calls += 1
        share = 0.0
        while not self.may_go_on.wait(0.05):
            if progress:
                progress(share := min(share + 0.02, 0.99))
            if cancel is not None and cancel.is_set():
                self.cancelled.set()
                raise Cancelled()
        return super().emissions(audio, progress, cancel, on_emissions)


@pytest.fixture(scope="module")
def server(own_upload_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ui.page.MAX_QUEUED", 2)
        engine = Engine(load=Gated).start()
        page = ui.build(engine)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **ui.launch_options(engine))
    yield url.rstrip("/"), page, engine.recognizer()
    page.close()


@pytest.fixture
def recognizer(server):
    gated = server[2]
    gated.calls = 0
    gated.cancelled.clear()
    yield gated
    gated.may_go_on.set()


def client_of(server) -> Client:
    return Client(server[0], verbose=False, httpx_kwargs={"timeout": PATIENCE_SECONDS})


def take_all_places(client: Client, sound, recognizer) -> list:
    """Jobs that are all being transcribed; one after the other, as more than two at once find the queue full."""
    jobs = []
    for count in range(1, MAX_TRANSCRIPTIONS + 1):
        jobs.append(client.submit(sound, api_name="/transcribe"))
        assert comes_true(lambda count=count: recognizer.calls == count, PATIENCE_SECONDS)
    return jobs


def post(url: str, body: dict):
    """Sends JSON; returns the response, which the caller closes."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)


def join_queue(server, session: str) -> None:
    """A click on an example."""
    url, page, _ = server
    number = next(number for number, function in page.fns.items() if function.name == "open_example")
    body = {"fn_index": number, "data": LAST_INPUTS, "session_hash": session}
    post(f"{url}/gradio_api/queue/join", body).close()


def opening_an_example(server, session: str):
    """What the page gets, message by message, from a click on an example."""
    url = server[0]
    join_queue(server, session)
    with urllib.request.urlopen(f"{url}/gradio_api/queue/data?session_hash={session}", timeout=PATIENCE_SECONDS) as sse:
        for line in sse:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def sound_folders() -> set[str]:
    return {path.name for path in Path(get_upload_folder()).glob("sound-*")}


def outcome(server, session: str) -> str:
    """What the page gets from the event after the click, which shows the result."""
    url, page, _ = server
    number = next(number for number, function in page.fns.items() if function.name == "outcome")
    body = {"fn_index": number, "data": [None], "session_hash": session}
    with post(f"{url}/gradio_api/run/predict", body) as answer:
        return answer.read().decode()


def shown(server, session: str) -> str:
    """All that the page gets from a click on an example and the event after it."""
    return json.dumps(list(opening_an_example(server, session))) + outcome(server, session)


def test_a_full_queue_says_so_and_forgets_nobody(server, recognizer, recording):
    _, page, _ = server
    client, sound = client_of(server), handle_file(recording())
    recognizer.may_go_on.clear()
    jobs = take_all_places(client, sound, recognizer)
    jobs += [client.submit(sound, api_name="/transcribe") for _ in range(2)]
    assert comes_true(lambda: len(page._queue) == 2, PATIENCE_SECONDS)
    with pytest.raises(Exception, match="Queue is full! Please try again."):
        client.predict(sound, api_name="/transcribe")
    with pytest.raises(urllib.error.HTTPError) as refused:
        list(opening_an_example(server, "late"))
    assert refused.value.code == 503 and b"Queue is full." in refused.value.read()
    recognizer.may_go_on.set()
    assert [job.result(PATIENCE_SECONDS)["text"] for job in jobs] == 6 * [FAKE_TEXT]
    assert client.predict(sound, api_name="/transcribe")["text"] == FAKE_TEXT


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
@pytest.mark.parametrize("writing", ["ui.service.clip._write_wav", "ui.tabs.transcribe.write_exports"])
def test_a_disk_that_takes_nothing_is_one_sentence_and_the_next_request_is_answered(
    server, recognizer, monkeypatch, writing, code
):
    def refused(*_):
        raise OSError(code, "it takes nothing")

    before = sound_folders()
    with monkeypatch.context() as patch:
        patch.setattr(writing, refused)
        said = shown(server, f"disk-{writing}-{code}")
    assert "The disk of this machine is full: try again later." in said and FAKE_TEXT not in said
    if "wav" in writing:
        assert sound_folders() <= before  # nothing half-written stays
    assert FAKE_TEXT in shown(server, f"after-{writing}-{code}")


def test_a_visitor_who_goes_while_his_recording_is_transcribed_stops_it(server, recognizer):
    recognizer.may_go_on.clear()
    messages = opening_an_example(server, "gone")
    assert any("is being transcribed" in json.dumps(message) for message in messages)  # reads up to there
    messages.close()
    assert recognizer.cancelled.wait(PATIENCE_SECONDS)
    recognizer.may_go_on.set()
    assert FAKE_TEXT in shown(server, "here")


def test_the_latest_recording_is_shown_whatever_was_being_transcribed(server, recognizer):
    recognizer.may_go_on.clear()
    first = opening_an_example(server, "hasty")
    assert any("is being transcribed" in json.dumps(message) for message in first)
    second = threading.Thread(target=lambda: join_queue(server, "hasty"))
    second.start()
    assert recognizer.cancelled.wait(PATIENCE_SECONDS)
    recognizer.may_go_on.set()
    second.join()
    said = [json.dumps(message) for message in first]
    assert sum('"process_completed"' in message for message in said) == 2
    assert not any(FAKE_TEXT in message or "Stopped" in message for message in said)
    assert FAKE_TEXT in outcome(server, "hasty")
    assert FAKE_TEXT not in outcome(server, "hasty")  # the event after the other click shows nothing again


def test_clients_who_go_in_the_middle_leave_their_places_to_others(server, recognizer, recording):
    recognizer.may_go_on.clear()
    client, sound = client_of(server), handle_file(recording())
    take_all_places(client, sound, recognizer)
    client.close()
    recognizer.may_go_on.set()
    assert client_of(server).predict(sound, api_name="/transcribe")["text"] == FAKE_TEXT


@pytest.mark.parametrize("endpoint", ["transcribe", "align"])
def test_a_program_that_goes_while_its_recording_is_transcribed_stops_it(server, recognizer, recording, endpoint):
    recognizer.may_go_on.clear()
    url = f"{server[0]}/gradio_api/call/{endpoint}"
    uploaded = shutil.copy(recording(), Path(get_upload_folder()) / f"{endpoint}.wav")
    file = {"path": str(uploaded), "meta": {"_type": "gradio.FileData"}}
    data = [file, "the text"] if endpoint == "align" else [file, "recommended", None, ""]
    with post(url, {"data": data}) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{url}/{event}", timeout=PATIENCE_SECONDS):
        assert comes_true(lambda: recognizer.calls == 1, PATIENCE_SECONDS) and not recognizer.cancelled.is_set()
    assert recognizer.cancelled.wait(PATIENCE_SECONDS)


def test_requests_of_programs_displace_no_visitors(server, recognizer, recording):
    assert FAKE_TEXT in shown(server, "visitor")
    client = client_of(server)
    assert client.predict(handle_file(recording()), api_name="/transcribe")["text"] == FAKE_TEXT
    sessions = server[1].state_holder.session_data
    assert "visitor" in sessions and client.session_hash not in sessions


def test_a_program_that_cancels_its_request_stops_the_work(server, recognizer, recording):
    recognizer.may_go_on.clear()
    job = client_of(server).submit(handle_file(recording()), api_name="/transcribe")
    assert comes_true(lambda: recognizer.calls == 1, PATIENCE_SECONDS)
    job.cancel()
    assert recognizer.cancelled.wait(PATIENCE_SECONDS)


def test_an_upload_that_breaks_off_leaves_nothing(server):
    address = urllib.parse.urlsplit(server[0])
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="cut.wav"\r\n\r\n'
    request = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 10000000\r\n"
    before = files_in(get_upload_folder())
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{request}Content-Type: multipart/form-data; boundary=B\r\n\r\n".encode())
        connection.sendall(head + bytes(3_000_000))
        assert comes_true(lambda: files_in(get_upload_folder()) > before, PATIENCE_SECONDS)
    assert comes_true(lambda: files_in(get_upload_folder()) == before, PATIENCE_SECONDS)


def files_in(folder) -> set[Path]:
    return {path for path in Path(folder).rglob("*") if path.is_file()}


def test_a_recogniser_that_ends_its_thread_is_reported_and_the_next_one_answered(server, recognizer, monkeypatch):
    def ended(*_, **__):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(recognizer, "emissions", ended)
        assert "An error occurred in this program" in shown(server, "ended")
    assert FAKE_TEXT in shown(server, "next")
