"""Pulling a model: the real Hub client against a small Hub on loopback, whole, broken and hostile."""

import builtins
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from asr_core import models
from asr_core.bundle.description import CONFIG
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.errors import BundleError
from tests.train.hub_server import READER, Fault, Repository

FIRST, SECOND = "a" * 40, "b" * 40  # commits
CONFIGURATION = {
    "featurizer": {"name": "log-mel", "sample_rate": 8000, "bins": 12},
    "sample_rate": 8000,
    "tokens": ["", "a", "b"],
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    network = models.build("conformer", 12, 3, width=16, blocks=1, heads=2, channels=4, kernel=5)
    return save_bundle(tmp_path_factory.mktemp("bundles") / "original", network, CONFIGURATION)


@pytest.fixture
def hub(loopback_hub, original, tmp_path):
    shutil.copytree(original, tmp_path / "repository")
    (tmp_path / "repository" / "malware.py").write_text("raise SystemExit")
    loopback_hub.repositories["model", "name/repo"] = Repository()
    repository(loopback_hub).add(tmp_path / "repository", oid=FIRST)
    return loopback_hub


def repository(hub):
    return hub.repositories["model", "name/repo"]


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
    repository(hub).add(tmp_path / "next", oid=SECOND)
    assert load_bundle("name/repo").config["licence"] == "MIT"
    assert "licence" not in load_bundle(f"name/repo@{FIRST}").config


def test_a_cached_model_needs_no_hub(hub):
    load_bundle("name/repo")
    hub.faults = [Fault("*", "", status=503)]
    assert load_bundle("name/repo").name == f"name/repo@{FIRST[:12]}"
    assert load_bundle(f"name/repo@{FIRST}").name == f"name/repo@{FIRST[:12]}"


def test_the_environment_is_honoured(hub, tmp_path):
    """One program pulls with HF_ENDPOINT and HF_TOKEN, the next has neither but HF_HUB_OFFLINE."""
    repository(hub).private = True
    code = "from asr_core.bundle import load_bundle; print(load_bundle('name/repo').name)"
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(Path.cwd()),
    }

    def run(**further):
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment | further, capture_output=True, text=True)

    online = run(HF_ENDPOINT=hub.address, HF_TOKEN=READER)
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


def test_a_foreign_repository_is_refused_with_what_a_bundle_needs(hub, tmp_path):
    (tmp_path / "repository" / CONFIG).write_text('{"vocab": "a"}')
    with pytest.raises(BundleError, match="name/repo is not a bundle: .*; a bundle holds config.json, the model"):
        load_bundle("name/repo")
    (tmp_path / "repository" / CONFIG).unlink()
    with pytest.raises(BundleError, match="not a bundle, or not a whole one; a bundle holds config.json, the model"):
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
    with pytest.raises(BundleError, match="not a bundle, or not a whole one"):
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
    hub.faults = [Fault("GET", "/resolve/", cut=True)]
    with pytest.raises(BundleError, match="could not be downloaded"):
        load_bundle("name/repo")
    hub.faults = [Fault("*", "", status=503)]
    with pytest.raises(BundleError, match="is not complete in the cache and the Hub does not answer"):
        load_bundle("name/repo")
    hub.faults = []
    assert load_bundle("name/repo").build()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "does not accept the access token.*: renew or unset HF_TOKEN"),
        (403, "access token may not read name/repo: change its permissions"),
        (429, "429 "),
        (500, "500 "),
        (503, "503 "),
    ],
)
def test_a_hub_in_trouble_is_an_error_to_act_on(hub, status, message):
    hub.faults = [Fault("*", "", status=status)]
    with pytest.raises(BundleError, match=message):
        load_bundle("name/repo")


def test_a_model_that_offline_mode_keeps_from_the_cache_is_an_error_to_act_on(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BundleError) as caught:
        load_bundle("name/repo")
    advice = "HF_HUB_OFFLINE forbids downloading it: unset that variable."
    assert str(caught.value) == f"name/repo is not complete in the cache, and {advice}"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_cache_that_takes_nothing_is_reported_and_nothing_half_written_is_loaded(hub, monkeypatch, code):
    def refused(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", refused)
        with pytest.raises(BundleError, match=f"could not be downloaded .*{os.strerror(code)}.*; try again later"):
            load_bundle("name/repo")
    assert load_bundle("name/repo").name == f"name/repo@{FIRST[:12]}"


def test_a_model_in_a_cache_that_is_read_only_is_loaded(hub, monkeypatch):
    """As in an image into which the model was downloaded when it was made."""
    load_bundle("name/repo")
    writable = builtins.open

    def read_only(file, mode="r", *rest, **options):
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), file)
        return writable(file, mode, *rest, **options)

    def refused(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr("builtins.open", read_only)
    for name in ("os.mkdir", "os.symlink", "os.replace", "os.rename", "os.open"):
        monkeypatch.setattr(name, refused)
    assert load_bundle("name/repo").name == f"name/repo@{FIRST[:12]}"
    assert load_bundle(f"name/repo@{FIRST}").name == f"name/repo@{FIRST[:12]}"


@pytest.fixture
def no_waiting(monkeypatch):
    """The client does not wait and try again, and prints nothing."""

    def waits(seconds):
        raise AssertionError(f"waits {seconds} s")

    monkeypatch.setattr("time.sleep", waits)


def test_without_a_network_one_sentence_comes_at_once(hub, monkeypatch, no_waiting, capfd):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(BundleError, match=r"the Hub does not answer \(Connection refused\); try again later\.$"):
        load_bundle("name/repo")
    assert capfd.readouterr() == ("", "")


def test_a_network_that_swallows_requests_is_given_up_after_seconds(hub, monkeypatch, no_waiting, capfd):
    load_bundle("name/repo")
    monkeypatch.setattr("asr_core.bundle.hub.ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        template = f"http://127.0.0.1:{mute.getsockname()[1]}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        assert load_bundle("name/repo").name == f"name/repo@{FIRST[:12]}"  # from the cache
        with pytest.raises(BundleError, match=r"the Hub does not answer \(.*timed out"):
            load_bundle("name/other")
    assert capfd.readouterr() == ("", "")
