"""Any arguments and any file names: an exit code of 0, 1 or 2, no traceback, and one transcript a recording."""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr_core.__main__ import main
from asr_core.decoding.options import DecoderOptions
from asr_core.transcript.words import Transcript, Word
from tests.asr_core.fuzzing import thoroughly


class Listener:
    """The transcript of every recording is its number; an unknown number is a mistake of this test."""

    bundle = SimpleNamespace(trained=True, decoder_options=DecoderOptions)

    def __init__(self, numbers):
        self.numbers = numbers

    def transcribe(self, source, options=None, progress=None, track=None):
        return Transcript([Word(f"number{self.numbers[os.path.realpath(source)]}", 0, 0.1, 1)], 1.0, "fake")


def called(arguments, recognizer=None):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments, lambda model: recognizer)
        except SystemExit as stopped:
            code = stopped.code
    return code, out.getvalue(), err.getvalue()


WORDS = st.one_of(
    st.sampled_from(["--format", "--out", "--shard", "--decoder", "--model", "--help", "--", "-", "-x", "--form=txt"]),
    st.sampled_from(["json", "greedy", "1/2", "2/2", "0/0", "9/3", "1/", "srt", "default"]),
    st.text("a-=1 \n\x0c\u00e9", max_size=6),
)


@thoroughly(100)
@given(st.lists(WORDS, max_size=6))
def test_any_arguments_end_with_a_code_and_a_line(words):
    words = [f"{word}?" if word == "-" else word for word in words]  # nobody speaks at standard input
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        code, _, err = called(words, Listener({}))
    assert code in (0, 1, 2)
    assert "Traceback" not in err
    if code == 2:
        assert "error: " in err.rstrip("\n").split("\n")[-1]


NAMES = st.text("aA.-_ \n\t\x1b'\"*?$\\\u00e9e\u0301\u6f22\u2028", min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
STEMS = st.one_of(st.sampled_from(["talk", "TALK", "talk.wav", "talk.wav-2", "talk-2", "talk.txt"]), NAMES)
PATHS = st.tuples(
    st.sampled_from(["", "a", "b", "A", "a/b"]),
    STEMS,
    st.sampled_from([".wav", ".WAV", ".mp3", ".txt", ""]),
)


@thoroughly(100)
@given(paths=st.lists(PATHS, min_size=1, max_size=8, unique=True), shards=st.integers(1, 3), whole=st.booleans())
def test_every_recording_gets_one_transcript_of_its_own(paths, shards, whole):
    content = io.BytesIO()
    soundfile.write(content, np.zeros(1600), 8000, format="WAV")
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder, "in"), Path(folder, "out")
        files = []
        for parent, stem, suffix in paths:
            path = inputs.joinpath(parent, stem + suffix)
            with contextlib.suppress(OSError):  # a name too long, or one that a folder has already
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.getvalue())
                files.append(str(path))
        files = sorted({os.path.realpath(file): file for file in files}.values())
        if whole:
            inputs.mkdir(exist_ok=True)
            named = [str(inputs)]
            files = [file for file in files if re.search(r"\.(wav|mp3)$", file, re.I)]
            files = [file for file in files if not os.path.basename(file).startswith(".")]
        else:
            named = files
        numbers = {os.path.realpath(file): number for number, file in enumerate(files)}
        if not files:
            return
        for index in range(1, shards + 1):
            arguments = [*named, "--out", str(outputs), "--shard", f"{index}/{shards}"]
            code, out, err = called(arguments, Listener(numbers))
            assert (code, out) == (0, "")
            assert all(": left out: " in line for line in err.splitlines())  # the other files of the folder
        heard = sorted(path.read_text() for path in outputs.rglob("*") if path.is_file())
        assert heard == sorted(f"number{number}\n" for number in range(len(files)))
