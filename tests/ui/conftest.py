"""What the tests of the page share: a fake engine, recordings, clips."""

import numpy as np
import pytest
import soundfile

from tests.ui.fake import FakeRecognizer
from ui.service.engine import Engine
from ui.service.overrides import DecodingOverrides
from ui.service.requests import Limits, transcribe_file


@pytest.fixture
def engine():
    return Engine(load=lambda name: FakeRecognizer(name)).start()


@pytest.fixture
def recording(tmp_path):
    """A function that writes a WAV of so many seconds of tone and returns its path."""

    def write(seconds: float = 4.0, level: float = 0.3, name: str = "tone.wav", rate: int = 16000):
        times = np.arange(int(seconds * rate)) / rate
        path = tmp_path / name
        soundfile.write(path, (level * np.sin(2 * np.pi * 440 * times)).astype(np.float32), rate)
        return str(path)

    return write


@pytest.fixture
def clip(engine, recording):
    return transcribe_file(recording(), "tone.wav", DecodingOverrides(), engine, Limits())
