"""What the training tests share: a toy language whose characters are tones, a run trained on it, and a Hub.

Every character of the language is a tone, every word a little tune.
"""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from tests.train.hub_server import WRITER, serving

CHARACTERS = "abcdefgh "
RATE = 16_000


def tune(text: str, rng) -> np.ndarray:
    """Samples of a text, float32 [n]: 0.12 s per character, a space is a rest."""
    t = np.arange(int(0.12 * RATE)) / RATE
    notes = [np.sin(2 * np.pi * (300 + 350 * CHARACTERS.index(c)) * t) * (c != " ") for c in text]
    silence = np.zeros(int(0.1 * RATE))
    samples = np.concatenate([silence, *[note * np.hanning(len(t)) for note in notes], silence])
    return (0.5 * samples + 0.003 * rng.standard_normal(len(samples))).astype("float32")


def write_corpus(folder, count=10, seed=0):
    """Wav files and a manifest of `count` clips; returns the manifest's path."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = ["".join(rng.choice(list("abcdefgh"), rng.integers(2, 5))) for _ in range(2)]
        text, name = " ".join(words), f"clip-{i}.wav"
        samples = tune(text, rng)
        soundfile.write(folder / name, samples, RATE)
        rows.append(
            {"id": f"clip-{i}", "audio": name, "seconds": len(samples) / RATE, "speaker": f"s{i % 3}", "text": text}
        )
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def stop_at(step: int, run_class, monkeypatch) -> None:
    """Lets the runs of a subclass of `train.numpy_training.NumpyRun` be stopped by Ctrl-C at a training step."""
    gradients = run_class.gradients

    def until(run, number):
        if number == step:
            raise KeyboardInterrupt
        return gradients(run, number)

    monkeypatch.setattr(run_class, "gradients", until)


def break_at(number: int, trainer, error: type[BaseException]) -> None:
    """Ends the run of a `train.fit.trainer.Trainer` by an error where it asks for the batch of this number."""
    batch = trainer.batches.batch

    def until(step):
        if step == number:
            raise error
        return batch(step)

    trainer.batches.batch = until


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A manifest of ten toy clips."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def smoke_run(corpus, tmp_path_factory):
    """The folder of a finished run of the smoke preset over the toy clips; copy it before you change it.

    Its batches have as many clips as the preset's, but are no longer than the clips: padding takes most of the time.
    """
    from asr_core.text.vocabulary import Vocabulary
    from train.data.examples import load_data
    from train.fit.presets import PRESETS
    from train.fit.trainer import Trainer

    folder = tmp_path_factory.mktemp("smoke")
    data = load_data([corpus], folder / "cache", Vocabulary(), RATE)
    batching = dataclasses.replace(PRESETS["smoke"].batching, bucket_seconds=(1.5,), batch_seconds=12.0)
    Trainer(dataclasses.replace(PRESETS["smoke"], batching=batching), data, data, folder / "run").fit()
    return folder / "run"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on loopback that the client in this process talks to, as a user who may write."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # large files by plain HTTP, which the server speaks
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits before it tries again
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
