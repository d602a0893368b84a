"""A toy language for training tests: every character is a tone, every word a little tune."""

import json

import numpy as np
import pytest
import soundfile

CHARACTERS = "abcdefgh "
RATE = 16_000


def tune(text: str, rng) -> np.ndarray:
    """float32 sound of a text: 0.12 s a character, a space is a rest."""
    t = np.arange(int(0.12 * RATE)) / RATE
    notes = [np.sin(2 * np.pi * (300 + 350 * CHARACTERS.index(c)) * t) * (c != " ") for c in text]
    silence = np.zeros(int(0.1 * RATE))
    sound = np.concatenate([silence, *[note * np.hanning(len(t)) for note in notes], silence])
    return (0.5 * sound + 0.003 * rng.standard_normal(len(sound))).astype("float32")


def write_corpus(folder, count=10, seed=0):
    """Wav files and a manifest of `count` clips; returns the manifest's path."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = ["".join(rng.choice(list("abcdefgh"), rng.integers(2, 5))) for _ in range(2)]
        text, name = " ".join(words), f"clip-{i}.wav"
        sound = tune(text, rng)
        soundfile.write(folder / name, sound, RATE)
        rows.append(
            {"id": f"clip-{i}", "audio": name, "seconds": len(sound) / RATE, "speaker": f"s{i % 3}", "text": text}
        )
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A manifest of ten toy clips."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))
