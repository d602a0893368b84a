"""Adaptation: a model learns another voice, keeps what belongs to it, and is offered only if it is better."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.bundle.weights import weight_name
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.neural_language_model import GROUP, SPECIAL_WORDS
from tests.asr_core.decoding.small import random_recurrent_model
from tests.train.conftest import RATE, break_at, tune
from train import adaptation
from train.__main__ import main
from train.adaptation import Adaptation, best_share, is_better, possible_shares
from train.data.batches import Batching
from train.data.examples import load_data, split
from train.fit.presets import PRESETS

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"
OTHER_PITCH = 1.06  # of the new voice, as a factor
ARPA = "\\data\\\nngram 1=4\n\n\\1-grams:\n-1 <s>\n-1 </s>\n-1 <unk>\n-1 abba\n\n\\end\\\n"
QUICK = dataclasses.replace(
    PRESETS["adapt"],
    passes=1,
    min_steps=60,
    peak=2e-3,
    validation_share=0.5,
    batching=Batching(bucket_seconds=(1.5,), batch_seconds=12.0, short_first_passes=0),
    augmentation=dataclasses.replace(PRESETS["adapt"].augmentation, speeds=(1.0,)),
)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A manifest of 30 clips of a voice of another pitch than that of the toy corpus."""
    folder, rng, rows = tmp_path_factory.mktemp("recordings"), np.random.default_rng(5), []
    for i in range(30):
        text = " ".join("".join(rng.choice(list("abcdefgh"), rng.integers(2, 5))) for _ in range(2))
        samples = tune(text, rng)
        samples = np.interp(np.arange(0, len(samples) - 1, OTHER_PITCH), np.arange(len(samples)), samples)
        soundfile.write(folder / f"{i}.wav", samples, RATE)
        row = {"id": f"r{i}", "audio": f"{i}.wav", "seconds": len(samples) / RATE, "speaker": "me", "text": text}
        rows.append(json.dumps(row) + "\n")
    (folder / "mine.jsonl").write_text("".join(rows))
    return folder / "mine.jsonl"


@pytest.fixture(scope="module")
def start(smoke_run, tmp_path_factory):
    """The model of the toy corpus, with language models, decoder options and a calibration."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "words.arpa").write_text(ARPA)
    old = load_bundle(smoke_run / "best")
    own = {
        "name": "Tones", "licence": "cc0-1.0", "decoder": {"decoder": "beam", "beam_width": 8},
        "confidence": {"greedy": {"scale": 0.5}}, "dereverberation": True,
    }  # fmt: skip
    kept = {key: old.config[key] for key in ("featurizer", "sample_rate", "tokens", "language", "training_data")}
    words = NGramModel.from_arpa(folder / "words.arpa")
    neural = folder / "neural.safetensors"
    random_recurrent_model([*SPECIAL_WORDS, "ab"], cells=GROUP).save(neural)
    save_bundle(folder / "tones", old.build(), kept | own, language_model=words, neural_language_model=neural)
    return folder / "tones"


@pytest.fixture
def command(monkeypatch, recordings, start, tmp_path):
    """Runs the command line with further arguments; returns its exit status."""

    def run(*arguments, preset=QUICK):
        monkeypatch.setitem(PRESETS, "adapt", preset)
        shares = dict.fromkeys(adaptation.SHARES, 0.1)  # minutes; the toy voice has half a minute
        monkeypatch.setattr(adaptation, "SHARES", shares)
        line = ["--start", str(start), "--data", str(recordings), "--out", str(tmp_path / "me"), "--no-compile"]
        return main([*line, *arguments])

    return run


def test_a_model_learns_a_voice_and_keeps_what_belongs_to_it(command, start, tmp_path, capsys):
    assert command("--name", "My tones") == 0
    printed = capsys.readouterr().out
    assert "on 30 held-out clips" in printed
    assert f"The adapted model is better: python app.py --model {tmp_path}" in printed
    new, old = load_bundle(tmp_path / "me"), load_bundle(start)
    for key in ("decoder", "confidence", "licence", "featurizer", "dereverberation", "tokens"):
        assert new.config[key] == old.config[key]
    assert new.language_model().words == old.language_model().words
    assert new.neural_language_model().words == old.neural_language_model().words
    assert new.config["name"] == "My tones" and new.config["recipe"]["adapted_from"] == "tones"
    assert "The model tones, adapted to" in new.readme
    assert [entry["corpus"] for entry in new.config["training_data"]] == ["mine", "manifest"]
    greedy, beam = new.config["evaluation"]
    assert greedy["decoder"] == "greedy" and beam["decoder"].startswith("beam") and greedy["clips"] == 30
    assert new.config["recipe"]["trainings"] == 2 and new.config["recipe"]["step"] == 60
    assert not (tmp_path / "me" / "trial").exists()


def test_a_model_that_is_no_better_is_not_offered(command, tmp_path, capsys):
    assert command(preset=dataclasses.replace(QUICK, peak=0.0, min_steps=1)) == 0
    assert "The adapted model is no better: keep tones" in capsys.readouterr().out
    assert not (tmp_path / "me" / "best").exists()


def test_ctrl_c_while_the_gain_is_measured_is_a_line(command, monkeypatch, capsys):
    def stop(run, bundle):
        raise KeyboardInterrupt

    monkeypatch.setattr(Adaptation, "_measure", stop)
    assert command(preset=dataclasses.replace(QUICK, min_steps=1)) == 130
    assert capsys.readouterr().err.endswith("Stopped. The training is over; the same command measures again.\n")


def test_a_model_to_begin_with_must_be_named(corpus, tmp_path, capsys):
    assert main(["--preset", "adapt", "--data", str(corpus), "--out", str(tmp_path)]) == 2
    assert "name it with --start" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--data", str(corpus), "--out", str(tmp_path)])
    assert "name a recipe with --preset, or with --start a model" in capsys.readouterr().err


@pytest.mark.parametrize("train_encoder", [False, True])
def test_of_a_large_network_the_output_layer_is_trained_or_all(train_encoder, recordings, start, tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation, "LARGE_PARAMETERS", 0)
    old = load_bundle(start)
    data, held_out = split(load_data([recordings], tmp_path / "cache", old.vocabulary, RATE), 0.2, seed=0)
    preset = dataclasses.replace(QUICK, min_steps=2)
    run = Adaptation(preset, data, held_out, tmp_path / "run", start=old, train_encoder=train_encoder, compiled=False)
    run.fit()
    changed = {
        weight_name(run.network, new).split("/")[0]
        for new, weight in zip(run.network.weights, old.build().weights, strict=True)
        if np.abs(np.array(new) - np.array(weight)).max() > 0
    }
    assert "head" in changed and ("block_1" in changed) == train_encoder


def test_little_data_is_gone_through_more_often(recordings, start, tmp_path):
    old = load_bundle(start)
    data, held_out = split(load_data([recordings], tmp_path / "cache", old.vocabulary, RATE), 0.2, seed=0)
    assert (len(data.examples), len(held_out.examples)) == (24, 6)
    run = Adaptation(QUICK, data, held_out, tmp_path / "run", start=old, compiled=False)
    assert run.steps_per_pass == 3 and run.total == 60
    shutil.rmtree(tmp_path / "run")


SHORT = dataclasses.replace(QUICK, min_steps=4, warm_up=1, validation_share=0.25)


def adaptation_of(recordings, start, folder, held_out=None, **arguments):
    old = load_bundle(start)
    data = load_data([recordings], folder.parent / "cache", old.vocabulary, RATE)
    return Adaptation(SHORT, data, held_out, folder, start=old, compiled=False, **arguments)


@pytest.fixture(scope="module")
def whole(recordings, start, tmp_path_factory):
    """A finished adaptation of four trainings."""
    run = adaptation_of(recordings, start, tmp_path_factory.mktemp("whole") / "run")
    run.fit()
    return run


def test_every_clip_is_held_out_by_one_training_and_each_begins_with_the_old_weights(whole):
    parts = [[example.number for example in held_out.examples] for _, held_out in whole.folds]
    assert len(parts) == 4 and sorted(sum(parts, [])) == list(range(30))
    for learned, held_out in whole.folds:
        assert len(learned.examples) + len(held_out.examples) == 30
    rates = [whole._learning_rate(step) for step in range(whole.total)]
    assert rates == 4 * rates[: whole.fold_steps]
    adapted = [load_file(whole._adapted(fold)) for fold in range(4)]
    for name, old in whole.old.items():
        moved = [np.abs(weights[name] - old).max() for weights in adapted]
        assert max(moved) < 2.5 * max(min(moved), 1e-4), "no training goes on where another has ended"


def test_an_adaptation_that_was_stopped_ends_where_an_unbroken_one_does(whole, recordings, start, tmp_path):
    broken = adaptation_of(recordings, start, tmp_path / "broken", checkpoint_seconds=0)
    stop_at = 2 * whole.fold_steps + 2
    break_at(stop_at, broken, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    resumed = adaptation_of(recordings, start, tmp_path / "broken")
    assert resumed.step == stop_at
    resumed.fit()
    for fold in range(4):
        expected, found = load_file(whole._adapted(fold)), load_file(resumed._adapted(fold))
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=f"{fold} {name}")


def test_with_a_time_limit_there_is_one_training_and_a_part_is_held_out(recordings, start, tmp_path):
    run = adaptation_of(recordings, start, tmp_path / "run", minutes=60)
    assert [(len(learned.examples), len(held_out.examples)) for learned, held_out in run.folds] == [(22, 8)]
    assert len(run.learned.examples) == 22


def test_no_network_is_measured_on_clips_that_it_has_learned_from_before(whole, recordings, start):
    folder = whole.folder
    with pytest.raises(ValueError, match="1 trainings.*: use another --out"):
        adaptation_of(recordings, start, folder, minutes=60)
    with pytest.raises(ValueError, match="another manifest.*: use another --out"):
        adaptation_of(recordings, start, folder, held_out=whole.data)


def test_the_output_layer_of_a_checkpoint_of_others_is_trained_on_their_waveform_features(
    recordings, tmp_path, monkeypatch, capsys
):
    """One with random weights: what matters is that the path from its files to a bundle of ours is whole."""
    monkeypatch.setattr(adaptation, "LARGE_PARAMETERS", 0)
    monkeypatch.setattr(Adaptation, "_measure", lambda run, bundles: [measured(9 if next(bundles) is run.start else 3)])
    monkeypatch.setitem(PRESETS, "adapt", dataclasses.replace(QUICK, min_steps=3))
    out = tmp_path / "run"
    line = ["--start", str(CHECKPOINTS / "wav2vec2-base"), "--data", str(recordings), "--out", str(out), "--no-compile"]
    assert main(line) == 0
    assert "are trained (all of them with --train-encoder)" in capsys.readouterr().out
    old, new = load_bundle(CHECKPOINTS / "wav2vec2-base"), load_bundle(out)
    assert new.config["architecture"] == old.config["architecture"] and new.config["tokens"] == old.config["tokens"]
    assert new.featurizer().config() == old.featurizer().config()
    network, before = new.build(), {weight_name(net, v): np.array(v) for net in [old.build()] for v in net.weights}
    for weight in network.weights:
        name = weight_name(network, weight)
        moved = np.abs(np.array(weight) - before[name]).max()
        assert (moved > 1e-3) if name == "head/kernel" else (moved < 1e-2), name  # 16 bits


def test_the_less_speech_there_is_the_more_is_kept_of_the_old_weights():
    assert possible_shares(0.2) == possible_shares(1.9) == [0.25]
    assert possible_shares(2.0) == possible_shares(2.9) == [0.25, 0.5]
    assert possible_shares(3.0) == possible_shares(7.9) == [0.25, 0.5, 0.75]
    assert possible_shares(8.0) == [0.25, 0.5, 0.75, 1.0]


def test_of_shares_that_are_as_good_the_smallest_is_taken_and_all_only_for_a_clear_gain():
    assert best_share({0.25: 20, 0.5: 20, 1.0: 17}) == 0.25
    assert best_share({0.25: 21, 0.5: 20, 1.0: 17}) == 0.5
    assert best_share({0.25: 21, 0.5: 20, 1.0: 15}) == 1.0


def test_better_is_what_the_decoder_that_serves_gains():
    for before, after, better in [
        ([9, 4], [9, 3], True),
        ([9, 4], [2, 5], False),
        ([9, 4], [8, 4], False),
        ([9, 4], [7, 4], True),
        ([0, 0], [0, 0], False),
        ([9], [8], True),
        ([9], [9], False),
    ]:
        assert is_better([*map(measured, before)], [*map(measured, after)]) == better, (before, after)


def test_the_verdict_can_be_pasted_and_doubts_what_few_words_decide():
    few, many = measured(3), measured(3) | {"words": 100}
    lines = adaptation.table("old", Path("runs/me too/best"), [few], [few], True).splitlines()
    assert lines[-2] == "The adapted model is better: python app.py --model 'runs/me too'"
    assert lines[-1] == "On fewer than 100 words this may be chance: more recordings make it certain."
    assert "chance" not in adaptation.table("old", Path("runs/me/best"), [many], [many], True)


def measured(errors: int) -> dict:
    return {
        "decoder": "greedy", "clips": 6, "seconds": 6.0, "words": 12, "wer": errors / 12, "cer": 0.1, "speakers": 1,
        "wer_low": None, "wer_high": None, "resampled": "clips", "substitutions": errors, "deletions": 0,
        "insertions": 0,
    }  # fmt: skip
