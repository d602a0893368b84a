"""The example of ARCHIVES.md, as it stands there, with two local workers: the words are the recogniser's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_core.audio.loading import load_audio
from asr_core.bundle.loading import DEFAULT_FOLDER, load_bundle
from asr_core.recognizer import Recognizer

ROOT = Path(__file__).parents[2]
RATE = 16_000
SPEECH_SECONDS = 2.5
LOCAL = """
import ray
ray.init(num_cpus=4, include_dashboard=False, object_store_memory=100_000_000, logging_level="ERROR")
ray.data.DataContext.get_current().wait_for_min_actors_s = 600  # else one worker may be done before the other is up
"""


def example() -> str:
    """The block of Python in ARCHIVES.md that speaks of Ray."""
    text = (ROOT / "asr_core" / "ARCHIVES.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    (block,) = (block for block in blocks if "import ray" in block)
    return block


@pytest.fixture
def archive(tmp_path) -> Path:
    """Two recordings of speech, one of silence, and one that is none."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("milton", "library"):
        speech = load_audio(DEFAULT_FOLDER.parent / "examples" / f"{name}.opus", RATE).samples
        soundfile.write(folder / f"{name}.wav", speech[: round(SPEECH_SECONDS * RATE)], RATE)
    soundfile.write(folder / "silence.wav", np.zeros(RATE), RATE)
    (folder / "broken.wav").write_bytes(b"no sound")
    return folder


def test_the_readmes_example_transcribes_an_archive_with_two_workers(archive):
    if not DEFAULT_FOLDER.is_dir():
        pytest.skip("no model is embedded")
    code = example()
    result = 'return {"path"'
    assert code.count(result) == 1
    code = code.replace(result, 'return {"worker": [__import__("os").getpid()] * len(answers), "path"')
    environment = {
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # by default its workers stand back behind everything else
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOCAL + code],
        cwd=archive.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for path in archive.parent.glob("transcripts/*.json") for line in path.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 4 and len({row["worker"] for row in rows}) == 2
    found = {Path(row["path"]).name: (row["text"], row["error"]) for row in rows}
    recognizer = Recognizer(load_bundle())
    for name in ("milton.wav", "library.wav", "silence.wav"):
        assert found.pop(name) == (recognizer.transcribe(archive / name).text, "")
    assert found.keys() == {"broken.wav"} and "is not a recording" in found["broken.wav"][1]
