"""From a run to a page that transcribes: trained, published, pulled by the app, offline from the cache; and a Space."""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from gradio_client import handle_file

from asr_core.bundle.loading import load_bundle
from tests.train.app_process import ROOT, running_app
from train.__main__ import main as train_main
from train.publish.space import space_upload

pytestmark = pytest.mark.timeout(1800)  # each starts the app, which takes a busy machine minutes


def transcript_by(app, recording) -> dict:
    """What the API of an app answers for a recording."""
    return app.predict(handle_file(str(recording)), "greedy", 16, "", api_name="/transcribe")


@pytest.fixture
def machine(tmp_path):
    """The environment of a machine that has never seen a model: empty cache, empty home."""
    for name in ("home", "hub-cache", "temporary"):
        (tmp_path / name).mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "HF_HOME": str(tmp_path / "hub-cache"),
        "TMPDIR": str(tmp_path / "temporary"),
    }


def test_a_trained_model_is_published_and_used_then_offline(
    smoke_run, corpus, hub, machine, tmp_path, monkeypatch, capsys
):
    """The trainer continues a finished run here, has nothing left to do, and pushes it."""
    run = shutil.copytree(smoke_run, tmp_path / "smoke")
    arguments = ["--preset", "smoke", "--data", str(corpus), "--out", str(run), "--cache", str(tmp_path / "sound")]
    assert train_main([*arguments, "--push", "somebody/repo"]) == 1
    assert f"python -m train.publish {run} --repo somebody/repo" in capsys.readouterr().err
    assert train_main([*arguments, "--push", "name/repo"]) == 0
    oid = hub.repositories["model", "name/repo"].branches["main"]
    monkeypatch.undo()  # the Hub's fixture lets nobody sleep, as its client would; the wait for the app does
    clips = [json.loads(line) for line in corpus.read_text().splitlines()][:2]
    address = {"HF_ENDPOINT": hub.address}

    with running_app(["--model", "name/repo"], machine | address) as app:
        for clip in clips:
            answer = transcript_by(app, corpus.parent / clip["audio"])
            assert (answer["text"], answer["model"]) == (clip["text"], f"name/repo@{oid[:12]}")
    weights = [name for name in load_bundle(run / "best").config["files"] if name.startswith("model")]
    assert set(weights) < set(hub.served)

    hub.shutdown()
    hub.server_close()
    with running_app(["--model", "name/repo"], machine | address | {"HF_HUB_OFFLINE": "1"}) as app:
        assert transcript_by(app, corpus.parent / clips[0]["audio"])["text"] == clips[0]["text"]


def test_without_a_token_nothing_is_trained_that_is_to_be_published(corpus, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    arguments = ["--preset", "smoke", "--data", str(corpus), "--out", str(tmp_path / "run"), "--push", "name/repo"]
    assert train_main(arguments) == 1
    assert "There is no token: set HF_TOKEN" in capsys.readouterr().err
    assert not (tmp_path / "run").exists() and hub.requests == []


SPACE = {
    "SYSTEM": "spaces",
    "SPACE_ID": "name/space",
    "SPACE_HOST": "name-space.hf.space",
    "GRADIO_SERVER_NAME": "0.0.0.0",
    "GRADIO_NUM_PORTS": "1",
    "GRADIO_ALLOW_FLAGGING": "never",
    "PYTHONUNBUFFERED": "1",
}


def as_visitor() -> list[str]:
    """How to start a program that file permissions hold for, also where the tests run as root."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("these tests run as root, and without setpriv nothing is read-only for root")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]


@contextlib.contextmanager
def read_only(*folders: Path):
    """Takes the permission to write from folders and all that is in them while the context lasts."""
    inside = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    modes = {path: path.stat().st_mode for path in inside}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def test_the_tree_of_a_space_runs_where_only_cache_and_temporary_folder_are_writable(machine, tmp_path):
    upload = space_upload("name/space")
    tree = tmp_path / "space"
    for name, content in upload.files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    through = as_visitor()
    with read_only(tree, Path(machine["HOME"])):
        refused = subprocess.run([*through, "touch", str(tree / "ui" / "new")], capture_output=True)
        assert refused.returncode, "the tree is writable"
        with running_app([], machine | SPACE, tree, through) as app:
            answer = transcript_by(app, ROOT / "assets" / "examples" / "joy.opus")
        assert answer["model"] == "default" and answer["words"]
        left = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert left == set(upload.files)
