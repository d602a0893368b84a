"""The way in: flags over environment over defaults, and a page that is up before TensorFlow."""

import socket
import subprocess
import sys

import httpx
import pytest

import ui
from app import main, parse_arguments


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in (
        "ASR_MODEL",
        "GRADIO_SERVER_NAME",
        "GRADIO_SERVER_PORT",
        "GRADIO_SHARE",
        "GRADIO_MCP_SERVER",
    ):
        monkeypatch.delenv(name, raising=False)


def test_without_anything_the_page_is_for_this_machine_only():
    options = parse_arguments([])
    assert (options.host, options.port, options.model) == ("127.0.0.1", None, "default")
    assert not (options.share or options.mcp or options.model_paths)


def test_the_environment_of_a_space_is_honoured_and_flags_win(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7861")
    monkeypatch.setenv("ASR_MODEL", "name/repo")
    options = parse_arguments([])
    assert (options.host, options.port, options.model) == ("0.0.0.0", 7861, "name/repo")
    options = parse_arguments(["--host", "::1", "--port", "1", "--model", "x"])
    assert (options.host, options.port, options.model) == ("::1", 1, "x")


@pytest.mark.parametrize("port", ["x", "-1", "65536", "7e3"])
def test_a_bad_port_is_a_usage_error(port, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(["--port", port])
    assert stopped.value.code == 2
    assert port in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "203.0.113.1"])  # the latter is of no machine (RFC 5737)
def test_a_page_that_cannot_be_served_is_one_sentence(host, monkeypatch, engine):
    monkeypatch.setattr("ui.service.engine.Engine", lambda *_, **__: engine)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"port {port} is in use, or {host} is no address of this machine"):
            main(["--port", str(port), "--host", host])


def test_mcp_without_its_package_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        parse_arguments(["--mcp"])
    assert "gradio[mcp]" in capsys.readouterr().err


def test_building_the_page_imports_no_tensorflow():
    code = (
        "import sys; from ui import build; from ui.service.engine import Engine;"
        "build(Engine()); assert not {'tensorflow', 'keras'} & set(sys.modules), 'imported too early'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]


def test_the_program_starts_where_its_page_answers_slowly(engine, monkeypatch):
    def time_out(*arguments, **options):
        raise httpx.ReadTimeout("a busy machine")

    monkeypatch.setattr("httpx.head", time_out)  # with which Gradio checks that the page can be reached
    page = ui.build(engine)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **ui.launch_options(engine))
    assert httpx.get(url).status_code == 200
    page.close()
