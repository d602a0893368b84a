"""Pulling a model: the real Hub client against a small Hub on loopback, whole, broken and hostile."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from asr_core import models
from asr_core.bundle import CONFIG, load_bundle, save_bundle
from asr_core.errors import BundleError

FIRST, SECOND = "a" * 40, "b" * 40  # commits
CONFIGURATION = {
    "featurizer": {"name": "log-mel", "sample_rate": 8000, "bins": 12},
    "sample_rate": 8000,
    "tokens": ["", "a", "b"],
}


class Hub(ThreadingHTTPServer):
    """As much of the Hub as downloads need: HEAD and GET of NAME/REPO/resolve/REVISION/FILE.

    Attributes:
        commits: {commit: folder} of the one repository, name/repo.
        branches: {branch: commit}.
        token: what a request must bear, or None.
        fault: "cut" breaks every body off half way; a number is a status to answer with instead.
        served: the paths of all bodies sent.
    """

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), HubRequest)
        self.commits, self.branches = {FIRST: folder}, {"main": FIRST}
        self.token, self.fault, self.served = None, None, []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class HubRequest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):  # noqa: N802
        self.answer(with_body=False)

    def do_GET(self):  # noqa: N802
        self.answer(with_body=True)

    def answer(self, with_body):
        hub, (repository, _, rest) = self.server, self.path[1:].partition("/resolve/")
        revision, _, name = rest.partition("/")
        commit = hub.branches.get(revision, revision)
        if isinstance(hub.fault, int):
            return self.refuse(hub.fault)
        if repository != "name/repo" or hub.token and self.headers["authorization"] != f"Bearer {hub.token}":
            return self.refuse(401, "RepoNotFound")
        if commit not in hub.commits:
            return self.refuse(404, "RevisionNotFound")
        if not (hub.commits[commit] / name).is_file():
            return self.refuse(404, "EntryNotFound")
        body = (hub.commits[commit] / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if with_body:
            hub.served.append(name)
            self.wfile.write(body[: len(body) // 2] if hub.fault == "cut" else body)
            self.close_connection = hub.fault == "cut"

    def refuse(self, status, code=None):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    network = models.build("conformer", 12, 3, width=16, blocks=1, heads=2, channels=4, kernel=5)
    return save_bundle(tmp_path_factory.mktemp("bundles") / "original", network, CONFIGURATION)


@pytest.fixture
def hub(original, tmp_path, monkeypatch):
    shutil.copytree(original, tmp_path / "repository")
    (tmp_path / "repository" / "malware.py").write_text("raise SystemExit")
    hub = Hub(tmp_path / "repository")
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits before it tries again
    yield hub
    hub.shutdown()
    thread.join()
    hub.server_close()


def change_config(folder, change):
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def test_a_model_is_pulled_and_only_its_own_files(hub):
    bundle = load_bundle("name/repo")
    assert bundle.name == f"name/repo@{FIRST[:12]}"
    assert bundle.build().count_params() == bundle.config["parameters"]
    assert sorted(hub.served) == ["README.md", "config.json", "model-00001-of-00001.safetensors"]
    assert bundle.readme == "# original\n"


def test_a_second_pull_downloads_nothing(hub):
    load_bundle("name/repo")
    hub.served.clear()
    load_bundle("name/repo")
    assert hub.served == []


def test_a_revision_stays_when_the_branch_moves_on(hub, tmp_path):
    shutil.copytree(tmp_path / "repository", tmp_path / "next")
    change_config(tmp_path / "next", lambda c: c.update(licence="MIT"))
    hub.commits[SECOND] = tmp_path / "next"
    hub.branches["main"] = SECOND
    assert load_bundle("name/repo").config["licence"] == "MIT"
    assert "licence" not in load_bundle(f"name/repo@{FIRST}").config


def test_a_cached_model_needs_no_hub(hub):
    load_bundle("name/repo")
    hub.fault = 503
    assert load_bundle("name/repo").name == f"name/repo@{FIRST[:12]}"
    assert load_bundle(f"name/repo@{FIRST}").name == f"name/repo@{FIRST[:12]}"


def test_the_environment_is_honoured(hub, tmp_path):
    """One program pulls with HF_ENDPOINT and HF_TOKEN, the next has neither but HF_HUB_OFFLINE."""
    hub.token = "hf_secret"
    code = "from asr_core.bundle import load_bundle; print(load_bundle('name/repo').name)"
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(Path.cwd()),
    }

    def run(**further):
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment | further, capture_output=True, text=True)

    online = run(HF_ENDPOINT=hub.address, HF_TOKEN="hf_secret")
    offline = run(HF_HUB_OFFLINE="1")
    assert online.stdout == offline.stdout == f"name/repo@{FIRST[:12]}\n", online.stderr + offline.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "name/other",
            "no folder name/other here and no such model on the Hub; if it is private, set HF_TOKEN",
        ),
        ("name/repo@nothing", "name/repo has no revision nothing"),
        ("name/..repo..", "There is no model|the Hub has no such names"),
    ],
)
def test_what_the_hub_does_not_have(hub, source, message):
    with pytest.raises(BundleError, match=message):
        load_bundle(source)


def test_a_foreign_repository_is_told_what_a_bundle_needs(hub, tmp_path):
    (tmp_path / "repository" / CONFIG).write_text('{"model_type": "bert"}')
    with pytest.raises(
        BundleError, match="name/repo is no bundle: .*; a bundle holds config.json, the model"
    ):
        load_bundle("name/repo")
    (tmp_path / "repository" / CONFIG).unlink()
    with pytest.raises(
        BundleError, match="no bundle, or not a whole one; a bundle holds config.json, the model"
    ):
        load_bundle("name/repo")


def test_a_card_is_not_needed_and_a_giant_one_not_downloaded(hub, tmp_path):
    card = tmp_path / "repository" / "README.md"
    card.unlink()
    assert load_bundle("name/repo").readme == ""
    card.write_text("#" * (2 << 20))
    with pytest.raises(BundleError, match="was not downloaded: README.md has 2,097,152 bytes"):
        load_bundle("name/repo")


def test_a_repository_without_its_weights_is_refused(hub, tmp_path):
    (tmp_path / "repository" / "model-00001-of-00001.safetensors").unlink()
    with pytest.raises(BundleError, match="no bundle, or not a whole one"):
        load_bundle("name/repo")


def test_sizes_are_checked_before_the_download(hub, tmp_path):
    with open(tmp_path / "repository" / "model-00001-of-00001.safetensors", "ab") as weights:
        weights.truncate(50_000_000)
    with pytest.raises(BundleError, match="was not downloaded: model-00001-of-00001.* has 50,000,000 bytes"):
        load_bundle("name/repo")
    (tmp_path / "repository" / CONFIG).write_text(" " * (2 << 20))
    with pytest.raises(BundleError, match="was not downloaded: config.json has 2,097,152 bytes"):
        load_bundle("name/repo")
    assert hub.served == ["config.json"]


def test_a_half_finished_download_never_loads(hub):
    hub.fault = "cut"
    with pytest.raises(BundleError, match="could not be downloaded"):
        load_bundle("name/repo")
    hub.fault = 503
    with pytest.raises(BundleError, match="is not complete in the cache and the Hub does not answer"):
        load_bundle("name/repo")
    hub.fault = None
    assert load_bundle("name/repo").build()


@pytest.mark.parametrize(("status", "message"), [(429, "429 "), (500, "500 "), (503, "503 ")])
def test_a_hub_in_trouble_is_an_error_to_act_on(hub, status, message):
    hub.fault = status
    with pytest.raises(BundleError, match=message):
        load_bundle("name/repo")


def test_no_network_and_no_cache_is_said_so(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        BundleError, match="not complete in the cache and the Hub does not answer .*offline mode is enabled"
    ):
        load_bundle("name/repo")
