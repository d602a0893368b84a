"""Synthetic speech: texts, voices, and resumed runs. The synthesiser is a stand-in with the same inputs."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from train.data.manifest import read_manifest
from train.tools.synthesis import KOKORO_RATE, main, sentences, synthesise

TEXT = """The "quick" brown fox — it jumped. Over what? Over the lazy dog it went!
In 1901 nobody knew. He lived at No. nine of that street. Too short. And then it rained
"""


def test_sentences_have_no_figures_and_no_abbreviations(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    assert list(sentences([tmp_path / "a.txt"])) == [
        "The quick brown fox , it jumped.", "Over the lazy dog it went!", "And then it rained",
    ]  # fmt: skip


def speak(text, style, speed):
    return np.full(int(KOKORO_RATE * len(text) / 10 / speed), 0.1, np.float32)


def test_a_run_is_resumed_and_repeats_no_text(tmp_path):
    texts = [f"sentence number {'x' * i} of a text" for i in range(40)]
    voices = []

    def voice(rng):
        voices.append(rng.random())
        return f"voice-{len(voices)}", None

    for seconds in (30, 70):
        manifest = synthesise(speak, voice, texts, tmp_path, seconds / 3600, seed=3)
        clips = read_manifest(manifest)
        assert seconds <= sum(clip.seconds for clip in clips) < seconds + 8
    assert len({clip.text for clip in clips}) == len({clip.id for clip in clips}) == len(clips)
    samples, rate = soundfile.read(clips[-1].audio)
    assert rate == 16_000 and len(samples) == pytest.approx(clips[-1].seconds * rate, abs=16)
    assert np.abs(samples).max() == pytest.approx(0.7, abs=0.02)
    assert 1 < len({clip.speaker for clip in clips}) < len(clips)


@pytest.fixture
def kokoro(tmp_path, monkeypatch):
    """A folder whose model gives one sample a token: its number, plus the style's first value, times the speed."""
    nodes = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["style"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Add", ["numbers", "mean"], ["sum"]),
        helper.make_node("Mul", ["sum", "speed"], ["product"]),
        helper.make_node("Tile", ["product", "many"], ["audio"]),
    ]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "n"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    many = helper.make_tensor("many", TensorProto.INT64, [2], [1, 3000])
    audio = helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, "m"])
    graph = helper.make_graph(nodes, "kokoro", inputs, [audio], [many])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder = tmp_path / "kokoro"
    (folder / "voices").mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "vocab.json").write_text(json.dumps({"vocab": {letter: i for i, letter in enumerate("abcdeh ", 1)}}))
    for name, value in (("af_one", 1), ("bm_two", 2), ("jf_japanese", 9)):
        np.full((510, 256), value, np.float32).tofile(folder / "voices" / f"{name}.bin")
    hibari = SimpleNamespace(Hibari=lambda: SimpleNamespace(phonemize=lambda text: [text.lower()]))
    monkeypatch.setitem(sys.modules, "hibari", hibari)
    return folder


def test_the_command_writes_a_manifest_in_english_voices(kokoro, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("A bad head ached. \nBe a head of a bed.\n" * 2)
    arguments = [str(tmp_path / "a.txt"), "--kokoro", str(kokoro), "--hours", "1", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    clips = read_manifest(capsys.readouterr().out.strip())
    assert {clip.text for clip in clips} == {"A bad head ached.", "Be a head of a bed."}
    assert {part.split(":")[0] for clip in clips for part in clip.speaker.split("+")} <= {"af_one", "bm_two"}
    assert all(clip.corpus == "kokoro" and clip.seconds > 1 for clip in clips)


@pytest.mark.parametrize("missing", ["model.onnx", "vocab.json", "voices/*"])
def test_a_folder_without_a_synthesiser_is_named(kokoro, tmp_path, capsys, missing):
    for path in kokoro.glob(missing):
        path.unlink()
    (tmp_path / "a.txt").write_text(TEXT)
    arguments = [str(tmp_path / "a.txt"), "--kokoro", str(kokoro), "--hours", "1", "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert str(kokoro) in capsys.readouterr().err
