"""Synthetic speech: texts, voices, and resumed runs. The synthesisers are stand-ins with the same inputs."""

import ast
import json
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from train.data.manifest import read_manifest
from train.data.pronunciations import Dictionary
from train.tools.synthesis import RARE, RareWords, main, sentences, synthesise
from train.tools.synthesisers import ESPEAK_ACCENTS, ESPEAK_VARIANTS, FLITE_VOICES, Espeak, Flite

TEXT = """The "quick" brown fox — it jumped. Over what? Over the lazy dog it went!
In 1901 nobody knew. He lived at No. nine of that street. Too short. And then it rained
"""


def test_sentences_have_no_figures_and_no_abbreviations(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    assert list(sentences([tmp_path / "a.txt"])) == [
        "The quick brown fox , it jumped.", "Over the lazy dog it went!", "And then it rained",
    ]  # fmt: skip


class Tone:
    """A synthesiser of a constant, whose every voice has a number."""

    name = "tone"
    voices = 0

    def voice(self, rng):
        self.voices += 1
        return f"voice-{self.voices}", None

    def speak(self, text, style, speed):
        return np.full(int(24_000 * len(text) / 10 / speed), 0.1, np.float32), 24_000


def test_a_run_is_resumed_and_repeats_no_text(tmp_path):
    texts, tone = [f"sentence number {'x' * i} of a text" for i in range(40)], Tone()
    for seconds in (30, 70):
        manifest = synthesise(tone, texts, tmp_path, seconds / 3600, seed=3)
        clips = read_manifest(manifest)
        assert seconds <= sum(clip.seconds for clip in clips) < seconds + 8
    assert len({clip.text for clip in clips}) == len({clip.id for clip in clips}) == len(clips)
    samples, rate = soundfile.read(clips[-1].audio)
    assert rate == 16_000 and len(samples) == pytest.approx(clips[-1].seconds * rate, abs=16)
    assert np.abs(samples).max() == pytest.approx(0.7, abs=0.02)
    assert 1 < len({clip.speaker for clip in clips}) < len(clips)
    assert {clip.corpus for clip in clips} == {"tone"}


def test_sentences_with_rare_words_are_chosen_until_these_are_no_longer_rare():
    rare = RareWords(["the cat sat on the mat"] * RARE, Dictionary())
    assert not rare.choose("The cat sat on the mat.")
    assert not rare.choose("The cat sat on the sofa.")  # only one rare word
    assert not rare.choose("The smorfle admired the sofa.")  # not in the dictionary
    chosen = [rare.choose("The dog admired the cat.") for _ in range(RARE + 1)]
    assert chosen == [True] * RARE + [False]


def test_only_sentences_with_rare_words_are_synthesised(tmp_path):
    texts = ["the cat sat", "a dog admired the cat", "a horse admired the dog"]
    choose = RareWords(["the cat sat"] * RARE, Dictionary()).choose
    clips = read_manifest(synthesise(Tone(), texts, tmp_path, 1, seed=0, choose=choose))
    assert {clip.text for clip in clips} == set(texts[1:])


RECORDER = """#!{python}
import sys, numpy, soundfile
arguments = sys.argv[1:]
open("{log}", "a").write(repr(arguments) + "\\n")
soundfile.write(arguments[arguments.index("{flag}") + 1], numpy.full(8000, 0.25, "float32"), {rate})
"""


def recorder(tmp_path, monkeypatch, command, flag, rate):
    """Puts a command on the path that writes half a second or so of a constant; gives the file of its arguments."""
    log = tmp_path / "arguments.txt"
    (tmp_path / command).write_text(RECORDER.format(python=sys.executable, log=log, flag=flag, rate=rate))
    (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return log


def test_flite_moves_the_frequencies_of_a_voice_and_keeps_its_speed(tmp_path, monkeypatch):
    log = recorder(tmp_path, monkeypatch, "flite", "-o", 16_000)
    (name, (voice, tract)), text = Flite().voice(np.random.default_rng(0)), "Hello there."
    assert voice in FLITE_VOICES and 0.85 <= tract <= 1.2 and voice in name
    samples, rate = Flite().speak(text, (voice, tract), 1.1)
    assert len(samples) == 8000 and rate == 16_000 * tract
    arguments = ast.literal_eval(log.read_text())
    assert f"duration_stretch={tract / 1.1:.3f}" in arguments and f" {text}" in arguments  # no space: a file's name


def test_espeak_has_many_voices(tmp_path, monkeypatch):
    log = recorder(tmp_path, monkeypatch, "espeak-ng", "-w", 22_050)
    rng = np.random.default_rng(0)
    voices = [Espeak().voice(rng) for _ in range(50)]
    accents, variants = zip(*(style[0].split("+") for _, style in voices), strict=True)
    assert set(accents) == set(ESPEAK_ACCENTS) and len(set(variants)) > 20 and set(variants) <= set(ESPEAK_VARIANTS)
    samples, rate = Espeak().speak("-- Hello there.", voices[0][1], 2)
    assert len(samples) == 8000 and rate == 22_050
    assert ast.literal_eval(log.read_text())[-2:] == ["--", "-- Hello there."]


@pytest.mark.parametrize("flag", ["--flite", "--espeak"])
def test_a_missing_command_is_named(tmp_path, monkeypatch, capsys, flag):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.txt").write_text(TEXT)
    assert main([str(tmp_path / "a.txt"), flag, "--hours", "1", "--out", str(tmp_path / "out")]) == 1
    assert flag[2:] in capsys.readouterr().err


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


def test_rare_words_are_counted_in_manifests(kokoro, tmp_path, capsys):
    texts = ["A bad head ached.", "Be a head of a bed."]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    row = {"audio": "x.wav", "seconds": 1, "speaker": "me", "text": texts[0]}
    (tmp_path / "have.jsonl").write_text("".join(json.dumps({**row, "id": str(i)}) + "\n" for i in range(RARE)))
    arguments = [str(tmp_path / "a.txt"), "--kokoro", str(kokoro), "--hours", "1", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--rare-in", str(tmp_path / "have.jsonl")]) == 0
    assert [clip.text for clip in read_manifest(capsys.readouterr().out.strip())] == texts[1:]
    assert main([*arguments, "--rare-in", str(tmp_path / "have.jsonl"), "--rare", str(RARE + 1)]) == 0
    assert {clip.text for clip in read_manifest(capsys.readouterr().out.strip())} == set(texts)
