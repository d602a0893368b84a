"""The programming interface, called as its users call it, on a real server with a fake recogniser."""

import importlib.util
import json
import re
import urllib.error
import urllib.parse
import urllib.request

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.train.app_process import free_port
from tests.ui.fake import FAKE_TEXT, FakeRecognizer
from ui import build, launch_options
from ui.service.engine import Engine
from ui.service.requests import Limits

ENDPOINTS = {"/transcribe", "/align", "/subtitles", "/compare", "/model"}


@pytest.fixture(scope="module")
def server(own_upload_folder):
    engine, limits = Engine(load=FakeRecognizer).start(), Limits(file_megabytes=1)
    page = build(engine, limits)
    mcp = importlib.util.find_spec("mcp") is not None
    # with a port of its own: MCP cannot be started again on the next one, if another program has taken the first
    at = {"server_port": free_port(), "prevent_thread_lock": True, "quiet": True}
    _, url, _ = page.launch(mcp_server=mcp, **at, **launch_options(engine, limits))
    yield url.rstrip("/")
    page.close()


@pytest.fixture(scope="module")
def client(server):
    return Client(server, verbose=False)


def test_only_the_documented_endpoints_are_offered_and_typed(client):
    described = client.view_api(return_format="dict")
    assert set(described["named_endpoints"]) == ENDPOINTS
    assert described["unnamed_endpoints"] == {}
    transcribe = described["named_endpoints"]["/transcribe"]
    assert [p["parameter_name"] for p in transcribe["parameters"]] == [
        "recording", "decoder", "beam_width", "hot_words", "text", "replacements", "track",
    ]  # fmt: skip
    assert transcribe["description"].startswith("Transcribe a recording")
    assert "words" in transcribe["returns"][0]["type"]["properties"]


def test_transcribe_returns_the_json_of_the_command_line(client, recording):
    result = client.predict(recording=handle_file(recording()), api_name="/transcribe")
    assert result["text"] == FAKE_TEXT and result["file"] == "tone.wav"
    assert set(result) == {"file", "text", "seconds", "confidence", "words", "model", "notes"}
    assert set(result["words"][0]) == {"word", "start", "end", "confidence"}


def test_align_subtitles_compare_and_model_answer(client, recording):
    sound = handle_file(recording())
    aligned = client.predict(sound, "The quick fox.", api_name="/align")
    assert [word["word"] for word in aligned["words"]] == ["The", "quick", "fox."]
    assert aligned["notes"] == []
    subtitle = "1\n00:00:01,000 --> 00:00:02,000\n<i>The quick</i> \u65e5\u672c [music]"
    pasted = client.predict(sound, subtitle, api_name="/align")
    assert [(word["word"], word["confidence"] > 0) for word in pasted["words"]] == [
        ("The", True), ("quick", True), ("\u65e5\u672c", False),
    ]  # fmt: skip
    foreign = client.predict(sound, "Nobody knew whether it would be 15 %.", api_name="/align")
    assert "not the text of this recording" in foreign["notes"][0]
    assert client.predict("1\n00:00:01,000 --> 00:00:02,000\na b", "a b", api_name="/compare")["word_error_rate"] == 0
    assert client.predict(sound, "vtt", api_name="/subtitles").startswith("WEBVTT")
    scores = client.predict("a b c d", "a x c", api_name="/compare")
    assert scores["word_error_rate"] == 0.5 and scores["deletions"] == 1
    assert client.predict(api_name="/model")["licence"] == "CC0-1.0"


def test_errors_are_sentences_and_the_next_request_is_answered(client, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    with pytest.raises(AppError, match=r"bad\.wav is not a recording"):
        client.predict(recording=handle_file(str(bad)), api_name="/transcribe")
    with pytest.raises(AppError, match="no words"):
        client.predict("", "a", api_name="/compare")
    assert client.predict("a", "a", api_name="/compare")["hits"] == 1


def test_too_large_an_upload_is_refused(client, recording):
    with pytest.raises(Exception, match="(?i)size|large|1048576|1000000"):
        client.predict(recording=handle_file(recording(60.0)), api_name="/transcribe")


def answer(server, name, data) -> str:
    """The events, as text, that a client gets which sends plain JSON, as curl does."""
    event = post(f"{server}/gradio_api/call/{name}", {"data": data})["event_id"]
    with urllib.request.urlopen(f"{server}/gradio_api/call/{name}/{event}", timeout=20) as stream:
        return stream.read().decode()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("transcribe", ["a.wav", "greedy", None, ""], "recording must be an uploaded file, as .*, not a string."),
        ("transcribe", [["a"], "greedy", None, ""], "recording must be an uploaded file, as .*, not a list."),
        ("transcribe", [{"path": 5}, "greedy", None, ""], "recording must be an uploaded file"),
        ("transcribe", [None, 5, None, ""], "decoder must be one of recommended, greedy, beam, not a number."),
        ("transcribe", [None, "best", None, ""], "decoder must be one of recommended, greedy, beam, not .*best"),
        ("transcribe", [None, "beam", "16", ""], "beam_width must be a whole number from 1 to 384, not a string."),
        ("transcribe", [None, "beam", 1.5, ""], "beam_width must be a whole number from 1 to 384, not 1.5."),
        ("transcribe", [None, "beam", True, ""], "beam_width must be .*, not true or false."),
        ("transcribe", [None, "beam", 1e400, ""], "beam_width must be .*, not inf."),
        ("transcribe", [None, "beam", 16, ["Ada"]], "hot_words must be a string, not a list."),
        ("transcribe", [None, "beam", 16, "a b" * 99], "The hotword a ba b.* has 297 characters and the limit is 100"),
        ("transcribe", [None, None, None, " w,".join(map(str, range(201)))], "There are 201 hotwords and at most 200"),
        ("transcribe", [None, "greedy", None, "Ada"], "hot_words need the beam search"),
        ("align", [None, 5], "text must be a string, not a number."),
        ("align", [None, None], "text must be a string, not nothing."),
        (
            "align",
            [None, "a " * 500_001],
            "text has 1,000,002 characters and the limit is 1,000,000: send it",
        ),
        ("subtitles", [None, "doc", 42, 2, 7], "kind must be one of srt, vtt, not .*doc"),
        ("subtitles", [None, "srt", "42", 2, 7], "characters must be a whole number from 20 to 80, not a string."),
        ("subtitles", [None, "srt", 42, 4, 7], "lines must be a whole number from 1 to 3, not 4."),
        ("subtitles", [None, "srt", 42, 2, float("nan")], "seconds must be a number from 1 to 15, not nan."),
        ("compare", ["a", ["a"]], "heard must be a string, not a list."),
        ("compare", [{"a": 1}, "a"], "reference must be a string, not an object."),
        ("compare", ["a " * 500_001, "a"], "reference has 1,000,002 characters and the limit is 1,000,000"),
        ("compare", ["a", "a " * 500_001], "heard has 1,000,002 characters and the limit is 1,000,000"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(server, name, data, message):
    """Nothing is cut, dropped or made of another type in silence."""
    answered = answer(server, name, data)
    assert answered.startswith("event: error") and re.search(message, answered), answered


def test_what_is_left_out_is_the_usual(server, client, recording):
    sound = handle_file(recording())
    usual = client.predict(sound, api_name="/subtitles")
    assert client.predict(sound, None, None, None, None, api_name="/subtitles") == usual
    text = client.predict(sound, None, None, None, api_name="/transcribe")["text"]
    assert text == FAKE_TEXT


def test_hot_words_are_those_of_the_command_line(server, client, recording, monkeypatch):
    used = []
    decode = FakeRecognizer.decode

    def decode_and_note(self, emissions, seconds, options=None, hot_words=()):
        used.append((options.decoder, tuple(hot_words)))
        return decode(self, emissions, seconds, options, hot_words)

    monkeypatch.setattr(FakeRecognizer, "decode", decode_and_note)
    client.predict(handle_file(recording()), hot_words="Ada, Grace Hopper;1,000\nx", api_name="/transcribe")
    assert used == [("beam", ("Ada", "Grace Hopper", "1,000", "x"))]


def post(url: str, body: dict):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_a_path_of_the_server_is_not_taken_for_an_upload(server):
    """Neither to transcribe what lies there nor to learn whether it exists."""
    for path in ("/etc/passwd", "../../etc/passwd", __file__):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for name, data in (("transcribe", [file, "greedy", 16, ""]), ("_run", [[file], None, None])):
            answered = answer(server, name, data)
            assert "event: error" in answered and "root:" not in answered


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "app.py",
        "ui/engine.py",
        "assets/../pyproject.toml",
        ".git/config",
    ],
)
def test_files_outside_the_upload_folder_are_not_served(server, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server}/gradio_api/file={urllib.parse.quote(path)}", timeout=20)
    assert refused.value.code in (403, 404)


def test_addresses_are_neither_fetched_nor_relayed(server):
    """The port is our own, so that a fetch would succeed if one were made."""
    file = {"path": f"{server}/health", "meta": {"_type": "gradio.FileData"}}
    assert "Addresses are not fetched" in answer(server, "transcribe", [file, "greedy", 16, ""])
    for path in (f"file={server}/health", f"file/{server}/health", f"proxy={server}/health"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server}/gradio_api/{path}", timeout=20)
        assert refused.value.code == 403


def test_nobody_gets_past_the_queue(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(f"{server}/gradio_api/run/transcribe", {"data": [None, "greedy", 16, ""]})
    assert refused.value.code in (401, 403, 404)


def test_mcp_offers_the_endpoints_as_tools_with_their_documentation(server):
    if importlib.util.find_spec("mcp") is None:
        pytest.skip('the package mcp is missing: pip install "gradio[mcp]"')
    with urllib.request.urlopen(f"{server}/gradio_api/mcp/schema", timeout=20) as answer:
        tools = {tool["name"]: tool for tool in json.load(answer)}
    assert len(tools) == len(ENDPOINTS)
    transcribe = next(tool for name, tool in tools.items() if name.endswith("transcribe"))
    assert transcribe["description"].startswith("Transcribe a recording")
    assert "An audio or video file." in str(transcribe["inputSchema"])


def test_health_and_headers(server):
    with urllib.request.urlopen(f"{server}/health", timeout=20) as answer:
        assert json.load(answer) == {"status": "ready"}
        assert "object-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_on_the_page_comes_from_elsewhere(server):
    with urllib.request.urlopen(server, timeout=20) as answer:
        page = answer.read().decode()
    assert "fonts.googleapis" not in page
