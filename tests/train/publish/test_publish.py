"""Publishing: the real client against a Hub on loopback, whole, refused and broken; and what may go to a Space."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from huggingface_hub import ModelCard, RepoCard, constants
from huggingface_hub.utils import close_session

from asr_core import models
from asr_core.bundle import weights
from asr_core.bundle.description import CONFIG
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.errors import BundleError
from tests.train.hub_server import READER, WRITER, Fault, Repository
from train.publish import space
from train.publish.__main__ import FAILED, main, parse
from train.publish.card import card, write_card
from train.publish.card import main as card_main
from train.publish.space import app_files, check_tree, front_page, push_space, space_upload
from train.publish.upload import PublishError, push

ROOT = Path(__file__).parents[3]
SIZES = {"width": 16, "blocks": 1, "heads": 2, "channels": 4, "kernel": 5}
EVALUATION = [
    {"dataset": "ljspeech", "split": "valid", "decoder": "greedy", "wer": 0.25, "cer": 0.1, "words": 90, "clips": 9},
    {"dataset": "ljspeech", "split": "valid", "decoder": "beam", "wer": 0.2, "cer": 0.09, "wer_low": 0.1,
     "wer_high": 0.31, "resampled": "clips"},
    {"dataset": "mine", "split": "valid", "decoder": "beam", "wer": 0.4, "cer": 0.3},
]  # fmt: skip
CONFIGURATION = {
    "name": "Tiny",
    "licence": "Apache-2.0",
    "language": "en",
    "featurizer": {"name": "log-mel", "sample_rate": 8000, "bins": 12},
    "sample_rate": 8000,
    "tokens": ["", *"abc "],
    "training_data": [{"name": "LJSpeech 1.1", "hours": 2.5, "licence": "public domain", "hub": "keithito/lj_speech"}],
    "evaluation": EVALUATION,
    "recipe": {"preset": "smoke", "seed": 3},
}


@pytest.fixture(scope="module")
def network():
    return models.build("conformer", 12, 5, **SIZES)


@pytest.fixture(scope="module")
def finished(network, tmp_path_factory):
    """A finished run, its weights in several files."""
    run = tmp_path_factory.mktemp("runs") / "x"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "FILE_BYTES", 8_000)
        save_bundle(run / "best", network, CONFIGURATION)
    (run / "curves.svg").write_text("<svg/>")
    (run / "metrics.csv").write_text("pass,wer\n1,40\n")
    (run / "run.json").write_text(json.dumps({"preset": {"passes": 7}, "clips": 10, "versions": {"keras": "3.15"}}))
    (run / "checkpoint.safetensors").write_bytes(b"not for the Hub")
    return run


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "x")


def published(hub, name="name/repo", kind="model") -> Repository:
    return hub.repositories[kind, name]


def edit(run, change):
    config = json.loads((run / "best" / CONFIG).read_text())
    change(config)
    (run / "best" / CONFIG).write_text(json.dumps(config))


def test_a_run_goes_up_in_one_commit(run, hub):
    address = push(run, "name/repo")
    repository = published(hub)
    assert list(repository.messages.values()) == ["initial commit", "Publish x"]
    assert address == f"{hub.address}/name/repo/commit/{repository.branches['main']}"
    weights = sorted(path.name for path in (run / "best").glob("model*"))
    assert len(weights) > 1
    assert sorted(repository.files()) == sorted(
        [".gitattributes", "README.md", "config.json", "curves.svg", "metrics.csv", "run.json", *weights]
    )
    assert not repository.private


def test_what_was_published_is_pulled_and_is_the_same(run, hub, network):
    push(run, "name/repo")
    pulled = load_bundle("name/repo").build()
    for mine, theirs in zip(network.weights, pulled.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1e-3)


def test_a_bundle_without_a_run_is_published_alone(run, hub):
    shutil.copytree(run / "best", run.parent / "alone" / "bundle")
    push(run.parent / "alone" / "bundle", "name/repo")
    assert {"config.json", "README.md"} < set(published(hub).files())
    assert "curves.svg" not in published(hub).files()


def test_the_best_bundle_of_a_run_brings_the_curves_of_its_run(run, hub):
    push(run / "best", "name/repo")
    assert "curves.svg" in published(hub).files()


def test_the_card_says_what_the_hub_and_people_need(run, hub):
    push(run, "name/repo")
    page = ModelCard(published(hub).files()["README.md"].decode())
    data = page.data
    assert (data.library_name, data.pipeline_tag) == ("keras", "automatic-speech-recognition")
    assert (data.license, data.language, data.datasets) == ("apache-2.0", "en", ["keithito/lj_speech"])
    results = {(r.dataset_type, r.dataset_split, r.metric_name): r.metric_value for r in data.eval_results}
    assert results == {
        ("ljspeech", "valid", "WER, greedy"): 25.0,
        ("ljspeech", "valid", "CER, greedy"): 10.0,
        ("ljspeech", "valid", "WER, beam"): 20.0,
        ("ljspeech", "valid", "CER, beam"): 9.0,
        ("mine", "valid", "WER, beam"): 40.0,
        ("mine", "valid", "CER, beam"): 30.0,
    }
    text = page.text
    for heading in ("Use", "Measured", "Trained on", "Recipe", "Limits", "Biases"):
        assert f"\n## {heading}\n" in text
    assert "| LJSpeech 1.1 | valid | beam |  |  | 20.0 | 10.0-31.0* | 9.0 |" in text
    assert "| LJSpeech 1.1 | 2.50 | public domain |" in text
    assert "| preset | smoke |" in text and "| passes | 7 |" in text and "| keras version | 3.15 |" in text
    assert "](curves.svg)" in text
    assert "20.0 % of the words of LJSpeech 1.1 are wrong, and 40.0 % of those of mine." in text


def test_only_a_small_network_is_called_one(run):
    config = load_bundle(run / "best").config
    for parameters, small in (5_500_000, True), (95_000_000, False):
        assert ("a small network" in card(config | {"parameters": parameters})) == small


def test_the_card_of_the_embedded_model_names_no_repository(run):
    edit(run, lambda c: c.update(evaluation=[]))
    write_card(run / "best", licence="CC BY-SA 3.0", name="Ours | theirs")
    text = (run / "best" / "README.md").read_text()
    assert "load_bundle()" in text and "python app.py\n" in text and "Nothing has been measured." in text
    assert ModelCard(text).data.license == "cc-by-sa-3.0"
    assert load_bundle(run / "best").config["name"] == "Ours | theirs"


def test_the_corpora_of_manifests_are_credited(run, tmp_path, capsys):
    rows = [
        {"id": str(i), "audio": "a.wav", "seconds": 1800, "speaker": "s", "text": "a", "corpus": corpus}
        for i, corpus in enumerate(["librispeech-dev-clean", "speechocean762", "speechocean762", "mine"])
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert card_main([str(run / "best"), "--data", str(tmp_path / "data.jsonl"), "--texts", "--licence", "mit"]) == 0
    noted = load_bundle(run / "best").config["training_data"]
    assert [(one["name"], one.get("hours"), one["licence"]) for one in noted[:3]] == [
        ("speechocean762", 1.0, "CC BY 4.0"),
        ("LibriSpeech", 0.5, "CC BY 4.0"),
        ("mine", 0.5, "not stated"),
    ]
    text = (run / "best" / "README.md").read_text()
    assert "| LibriSpeech | 0.50 | CC BY 4.0 |" in text and "Vassil Panayotov" in text
    assert "The language models were trained on:" in text and "| Topical-Chat | CDLA-Sharing-1.0 |" in text
    assert ModelCard(text).data.datasets == ["mispeech/speechocean762", "openslr/librispeech_asr", "mine"]
    assert card_main([str(tmp_path), "--name", "x"]) == FAILED
    assert "has no config.json" in capsys.readouterr().err


def test_a_licence_that_the_hub_does_not_list_keeps_its_name():
    config = CONFIGURATION | {"architecture": {"name": "conformer", "sizes": SIZES}, "files": {}, "licence": "My Own"}
    data = ModelCard(card(config)).data
    assert (data.license, data.license_name) == ("other", "my-own")


def test_an_untrained_model_says_so(run):
    edit(run, lambda c: c.update(trained=False))
    write_card(run / "best")
    assert "has not learned to transcribe" in (run / "best" / "README.md").read_text()


def test_the_snippet_of_the_card_runs(run, hub, tmp_path):
    push(run, "name/repo")
    (snippet,) = re.findall(r"```python\n(.*?)```", published(hub).files()["README.md"].decode(), re.S)
    soundfile.write(tmp_path / "recording.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    clean = {"PATH": os.environ["PATH"], "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    clean["HF_ENDPOINT"] = hub.address
    command = [sys.executable, "-c", snippet]
    done = subprocess.run(command, env=clean, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout) <= set("abc \n")


def test_a_bundle_that_was_not_evaluated_is_refused(run, hub):
    edit(run, lambda c: c.pop("evaluation"))
    with pytest.raises(PublishError, match=r"has not been evaluated.*train.evaluate --manifest FILE --model .*best"):
        push(run, "name/repo")
    assert hub.requests == []


def test_what_the_card_cannot_say_is_reported_before(run, hub, capsys):
    edit(run, lambda c: [c.pop(field) for field in ("licence", "training_data")])
    push(run, "name/repo")
    advice = "The card will not state: licence, training_data. Note it with python -m train.publish.card"
    assert advice in capsys.readouterr().out
    page = ModelCard(published(hub).files()["README.md"].decode())
    assert page.data.license is None and "The training data is not stated." in page.text


def test_a_strangers_config_makes_a_card_all_the_same():
    odd = {"evaluation": [{}, 3, {"wer": "low"}], "training_data": [{}, None], "language": "", "licence": ""}
    config = CONFIGURATION | {"architecture": {"name": "conformer", "sizes": {}}, "files": {}} | odd
    assert ModelCard(card(config, "name/repo")).data.pipeline_tag == "automatic-speech-recognition"


def test_a_damaged_bundle_is_refused(run, hub):
    next((run / "best").glob("model*")).write_bytes(b"")
    with pytest.raises(BundleError, match="is damaged"):
        push(run, "name/repo")
    with pytest.raises(BundleError, match="no config.json"):
        (run.parent / "empty").mkdir()
        push(run.parent / "empty", "name/repo")
    assert hub.requests == []


def test_a_bundle_that_no_network_takes_is_refused(run, hub):
    edit(run, lambda c: c["architecture"]["sizes"].update(width=32))
    with pytest.raises(BundleError, match="has shape"):
        push(run, "name/repo")
    assert hub.requests == []


def test_a_dry_run_shows_everything_and_sends_nothing(run, hub, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert main([str(run), "--repo", "name/repo", "--dry-run"]) == 0
    out = capsys.readouterr().out
    size = (run / "best" / CONFIG).stat().st_size
    assert f"{size:,}  config.json" in out and "curves.svg" in out and "bytes in all" in out
    assert "pipeline_tag: automatic-speech-recognition" in out and "Nothing was sent." in out
    assert hub.requests == []


def test_a_broken_upload_goes_on_and_nothing_is_sent_twice(run, hub):
    digests = [facts["sha256"] for facts in load_bundle(run / "best").config["files"].values()]
    assert len(digests) > 1
    hub.faults.append(Fault("PUT", digests[-1], cut=True))
    with pytest.raises(PublishError, match="broke off .*: try again; what has arrived is not sent twice"):
        push(run, "name/repo")
    assert sorted(hub.objects) == sorted(digests[:-1])
    assert sorted(published(hub).files()) == [".gitattributes"]  # nobody pulls half a model
    hub.faults.clear()
    hub.requests.clear()
    push(run, "name/repo")
    assert [path for method, path in hub.requests if method == "PUT"] == [f"/lfs/{digests[-1]}"]
    assert load_bundle("name/repo").build()


def test_an_upload_survives_passing_trouble(run, hub):
    hub.faults += [Fault("PUT", "/lfs/", status=503, times=2), Fault("POST", "/preupload/", status=429, times=1)]
    push(run, "name/repo")
    assert load_bundle("name/repo").build()


def test_publishing_again_without_a_change_makes_no_commit(run, hub):
    assert push(run, "name/repo") == push(run, "name/repo")
    assert len(published(hub).commits) == 2


def test_old_weights_go_and_other_files_stay(run, hub, network):
    push(run, "name/repo")
    repository = published(hub)
    repository.add(repository.files() | {"NOTES.md": b"mine", "language_model.safetensors": b"old"})
    save_bundle(run / "best", network, CONFIGURATION)  # now in one file
    push(run, "name/repo")
    files = set(repository.files())
    assert {path for path in files if path.startswith("model")} == {"model-00001-of-00001.safetensors"}
    assert "NOTES.md" in files and "language_model.safetensors" not in files


def test_private_means_private(run, hub):
    push(run, "name/mine", private=True)
    assert published(hub, "name/mine").private
    with pytest.raises(BundleError, match="no such model on the Hub"):
        load_without_token("name/mine")
    push(run, "name/open")
    hub.requests.clear()
    with pytest.raises(PublishError, match="name/open is there already and public: make it private"):
        push(run, "name/open", private=True)
    assert not any("commit" in path or "lfs" in path for _, path in hub.requests)


def load_without_token(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HF_TOKEN")
        return load_bundle(name)


def test_a_proposal_leaves_the_main_branch_alone(run, hub, capsys):
    hub.repositories["model", "name/repo"] = Repository()
    published(hub).add({".gitattributes": b"*.safetensors filter=lfs"}, message="theirs")
    assert main([str(run), "--repo", "name/repo", "--pr"]) == 0
    assert f"published: {hub.address}/name/repo/discussions/1" in capsys.readouterr().out
    assert sorted(published(hub).files()) == [".gitattributes"]
    assert "config.json" in published(hub).files("refs/pr/1")


def test_a_proposal_needs_a_repository(run, hub):
    with pytest.raises(PublishError, match="There is no repository name/repo on http"):
        push(run, "name/repo", pull_request=True)
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("token", "repository", "message"),
    [
        (None, "name/repo", "There is no token: set HF_TOKEN"),
        ("hf_wrong", "name/repo", "does not know this token: make a new one at http"),
        (READER, "name/repo", "This token may not write to name/repo: give it write access"),
        (WRITER, "somebody/repo", "This token may not write to somebody/repo: .* or propose the change with --pr"),
        (WRITER, "name/a/b", "name/a/b is not the name of a repository: write name/repo"),
        (WRITER, "na me/repo", "na me/repo is not the name of a repository"),
        (WRITER, "repo", "repo does not say whose it is: write name/repo"),
    ],
)
def test_who_may_not_publish_is_refused_with_the_reason(token, repository, message, run, hub, monkeypatch, capsys):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    else:
        monkeypatch.delenv("HF_TOKEN")
    assert main([str(run), "--repo", repository]) == FAILED
    error = capsys.readouterr().err
    assert re.search(message, error) and "Traceback" not in error
    assert token is None or token not in error
    assert not hub.repositories
    assert hub.objects == {}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("POST", "/commit/", status=429), r"asks for patience \(429\)"),
        (Fault("POST", "/commit/", status=503), r"is in trouble \(503\): try again later"),
        (Fault("POST", "/commit/", status=412), "Somebody has changed name/repo in the meantime"),
        (Fault("POST", "/commit/", cut=True), "cannot be reached .* what has arrived is not sent twice"),
        (Fault("POST", "/preupload/", status=500), r"is in trouble \(500\)"),
        (Fault("PUT", "/lfs/", status=500), "broke off"),
        (Fault("POST", "/api/repos/create", status=400), "refused"),
        (Fault("POST", "/validate-yaml", status=400), "does not take this .*Invalid metadata in README.md"),
    ],
)
def test_a_hub_in_trouble_is_an_error_to_act_on(fault, message, run, hub):
    hub.faults.append(fault)
    with pytest.raises(PublishError, match=message):
        push(run, "name/repo")
    repository = hub.repositories.get(("model", "name/repo"))
    assert repository is None or sorted(repository.files()) == [".gitattributes"]


def test_a_commit_whose_answer_was_lost_is_not_made_again(run, hub):
    push(run, "name/repo")
    made = len(published(hub).commits)
    assert main([str(run), "--repo", "name/repo"]) == 0
    assert len(published(hub).commits) == made


def test_no_network_is_reported(run, hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        PublishError, match="http://127.0.0.1:9 cannot be reached .*Connection refused.*check the network"
    ):
        push(run, "name/repo")


def test_offline_mode_is_respected(run, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    try:
        with pytest.raises(PublishError, match="cannot be reached .*offline mode is enabled"):
            push(run, "name/repo")
    finally:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        close_session()


def test_the_environment_is_honoured(run, hub, tmp_path):
    """As on a machine that has nothing but the project and a token."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "train.publish", str(run), "--repo", "name/repo"]
    done = subprocess.run(
        command, cwd=ROOT, env=clean | {"HF_ENDPOINT": hub.address, "HF_TOKEN": WRITER}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    oid = published(hub).branches["main"]
    assert done.stdout.endswith(
        f"published: {hub.address}/name/repo/commit/{oid}\npython app.py --model name/repo@{oid}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "one of the arguments --repo --space is required"),
        ("--repo name/repo", "name the run to publish"),
        ("runs/x --space name/space", "a Space takes the app as it is here"),
        ("runs/x --repo name/repo --space name/space", "not allowed with argument"),
        ("runs/x --repo name/repo --model a/b", "--model is for --space"),
        ("--space name/space --pr", "--pr is for --repo"),
    ],
)
def test_slips_on_the_command_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(arguments.split())
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


README = """---
title: Speech
emoji: 👂
sdk: gradio
sdk_version: 6.31.0
python_version: "3.11"
app_file: app.py
---

# Speech
"""


@pytest.fixture
def project(tmp_path):
    """A checkout of a small app with tests, training code, and things that nobody tracks."""
    root = tmp_path / "project"
    for name, content in {
        "app.py": "import ui\n",
        "README.md": README,
        "requirements.txt": "gradio>=6.31,<7\nkeras\n",
        "LICENSE": "Apache",
        "ui/__init__.py": "from asr_core import load\n",
        "asr_core/__init__.py": "",
        "asr_core/models/conformer.py": "",
        "assets/default/config.json": "{}",
        "train/trainer.py": "",
        "tests/test_all.py": "",
        ".ci/run": "",
        "pyproject.toml": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    subprocess.run("git init -q && git add -A", shell=True, check=True, cwd=root)
    (root / "assets" / "untracked.bin").write_bytes(b"0")
    (root / "data").mkdir()
    (root / "data" / "me.wav").write_bytes(b"0")
    return root


def track(root, name, content):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    subprocess.run(["git", "add", name], check=True, cwd=root)


def test_a_space_gets_the_tracked_files_of_the_app_and_no_others(project):
    assert sorted(space_upload("name/space", root=project).files) == [
        "LICENSE", "README.md", "app.py", "asr_core/__init__.py", "asr_core/models/conformer.py",
        "assets/default/config.json", "requirements.txt", "ui/__init__.py",
    ]  # fmt: skip


SECRET = b"token = 'hf_" + b"a1B2" * 9 + b"'"
UNFIT = {
    "a large file": (
        "assets/model.bin",
        bytes(10_000_001),
        "has 10,000,001 bytes; files of a Space have at most",
    ),
    "a token": ("ui/hub.py", SECRET, r"ui/hub.py holds what looks like a key \(hf_a1B\.\.\.\)"),
    "a private key": ("assets/x.txt", b"-----BEGIN RSA PRIVATE KEY-----", "assets/x.txt holds what looks like a key"),
    "a dot file": ("assets/.env", b"", "assets/.env looks private"),
    "a hidden folder": ("assets/.notes/a.txt", b"", "assets/.notes/a.txt looks private"),
    "a certificate": ("assets/site.pem", b"", "assets/site.pem looks private"),
    "training code": (
        "ui/learn.py",
        b"def f():\n    from train.fit.trainer import Trainer\n",
        "ui/learn.py imports train",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_tree_is_refused_for(case, project):
    name, content, message = UNFIT[case]
    track(project, name, content)
    with pytest.raises(PublishError, match=message):
        space_upload("name/space", root=project)


def test_a_link_is_refused(project):
    (project / "assets" / "link.txt").symlink_to("/etc/hostname")
    subprocess.run(["git", "add", "assets/link.txt"], check=True, cwd=project)
    with pytest.raises(PublishError, match="assets/link.txt is a link"):
        space_upload("name/space", root=project)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sdk_version: 6.31.0",
            "sdk_version: 5.0.0",
            "sdk_version 5.0.0 and requirements.txt gradio>=6.31,<7",
        ),
        ('python_version: "3.11"\n', "", "does not say python_version"),
        ("app_file: app.py", "app_file: main.py", "asks for gradio and main.py"),
        ("sdk: gradio", "sdk: static", "asks for static"),
    ],
)
def test_front_matter_that_does_not_run_the_app_is_refused(old, new, message, project):
    with pytest.raises(PublishError, match=re.escape(message)):
        front_page(README.replace(old, new), project, None)


def test_a_space_without_a_model_needs_one(project):
    subprocess.run("git rm -q --cached -r assets/default", shell=True, check=True, cwd=project)
    with pytest.raises(PublishError, match="No model comes with this copy: name one on the Hub with --model"):
        space_upload("name/space", root=project)


def test_a_folder_without_git_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(PublishError, match="is not a checkout of git, and only tracked files go to a Space"):
        app_files(tmp_path)


@pytest.fixture
def here(project, monkeypatch):
    """The small app in the place of this one."""
    monkeypatch.setattr(space, "ROOT", project)
    monkeypatch.setattr(space, "DEFAULT_FOLDER", project / "assets" / "default")
    monkeypatch.setattr(space.space_upload, "__defaults__", (None, project))
    return project


def test_a_space_is_made_and_mirrors_the_app(here, hub):
    push_space("name/space")
    made = published(hub, "name/space", "space")
    assert made.sdk == "gradio" and made.variables == {}
    assert made.files()["app.py"] == b"import ui\n"
    assert RepoCard(made.files()["README.md"].decode()).data.to_dict()["emoji"] == "👂"
    made.add(made.files() | {"old.py": b"", "tests/test_old.py": b""})
    push_space("name/space")
    assert sorted(made.files()) == [".gitattributes", *sorted(space_upload("name/space").files)]


def test_a_space_runs_the_model_that_is_named_and_fetches_it_while_it_is_built(here, hub, run):
    push(run, "name/repo")
    oid = published(hub).branches["main"]
    assert main(["--space", "name/space", "--model", f"name/repo@{oid}", "--private"]) == 0
    made = published(hub, "name/space", "space")
    assert made.variables == {"ASR_MODEL": f"name/repo@{oid}"} and made.private
    data = RepoCard(made.files()["README.md"].decode()).data
    assert data.models == ["name/repo"]
    repository, files, revision = data.preload_from_hub[0].split(" ")
    assert (repository, revision) == ("name/repo", oid)
    assert set(files.split(",")) == {"config.json", *load_bundle("name/repo").config["files"]}


def test_a_space_for_a_private_model_is_refused_with_what_it_needs(here, hub, run, capsys):
    push(run, "name/open")
    push_space("name/space", "name/open")
    assert "HF_TOKEN" not in capsys.readouterr().out
    push(run, "name/mine", private=True)
    push_space("name/space", "name/mine", dry_run=True)
    assert "name/mine is private: give the Space a secret HF_TOKEN" in capsys.readouterr().out


def test_a_space_goes_back_to_the_embedded_model(here, hub, run):
    push(run, "name/repo")
    push_space("name/space", "name/repo")
    made = published(hub, "name/space", "space")
    made.variables["MINE"] = "stays"
    assert made.variables["ASR_MODEL"] == "name/repo"
    push_space("name/space")
    assert made.variables == {"MINE": "stays"}
    data = RepoCard(made.files()["README.md"].decode()).data
    assert data.get("models") is None and data.get("preload_from_hub") is None


def test_a_space_for_a_model_that_is_not_there_is_refused(here, hub, capsys):
    assert main(["--space", "name/space", "--model", "name/nothing"]) == FAILED
    assert "no such model on the Hub" in capsys.readouterr().err
    assert ("space", "name/space") not in hub.repositories


def test_a_dry_run_of_a_space_sends_nothing(here, hub, capsys):
    assert main(["--space", "name/space", "--dry-run"]) == 0
    assert "space name/space:" in (out := capsys.readouterr().out) and "app.py" in out
    assert hub.requests == []


def test_this_project_is_fit_for_a_space():
    names = app_files()
    check_tree(ROOT, names)
    front_page((ROOT / "README.md").read_text(encoding="utf-8"), ROOT, None)
    assert {"app.py", "asr_core/recognizer.py", "ui/__init__.py", "ui/static/style.css"} <= set(names)
    assert not [name for name in names if name.startswith(("train", "tests", "."))]
