"""The app as a process of its own, started as its users start it and asked as their programs ask it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradio_client import Client

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 60  # what a busy machine may need to end it


@contextlib.contextmanager
def running_app(
    arguments: Sequence[str], environment: dict[str, str], folder: Path = ROOT, through: Sequence[str] = ()
) -> Iterator[Client]:
    """A client of `python app.py ARGUMENTS` whose model is ready; the process ends with the context.

    Args:
        arguments: of app.py.
        environment: all of it but the path of programs, the address and the port.
        folder: where app.py lies, and is started.
        through: a command that starts it, such as setpriv.
    """
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "GRADIO_SERVER_PORT": str(port)} | environment
    log = Path(environment["TMPDIR"]) / "app.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [*through, sys.executable, "app.py", *arguments],
            cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        while (state := _state(port)) in (None, "absent", "loading"):
            assert process.poll() is None, f"the app ended: {log.read_text()}"
            time.sleep(0.2)
        assert state == "ready", log.read_text()
        yield Client(f"http://127.0.0.1:{port}", verbose=False)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _state(port: int) -> str | None:
    """The state of the app's model, or None while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
            return json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        return json.load(error)["status"]
    except OSError:
        return None
