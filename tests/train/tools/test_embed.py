"""A model replaces another: the language model of the old one stays, its error rates do not."""

import json

import keras
import numpy as np
import pytest

from asr_core import models
from asr_core.bundle.description import CONFIG, LANGUAGE_MODEL
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.neural_language_model import GROUP, SPECIAL_WORDS
from tests.asr_core.decoding.small import random_recurrent_model
from train.data.pronunciations import PHONES
from train.fit.objective import rounded
from train.tools.embed import main

SIZES = {"width": 16, "blocks": 1, "heads": 2, "channels": 4, "kernel": 5}
FEATURIZER = {"name": "log-mel", "sample_rate": 8000, "bins": 12}
CONFIGURATION = {"featurizer": FEATURIZER, "sample_rate": 8000, "tokens": ["", "a", "b"]}
WORDS = "\\data\\\nngram 1=4\n\\1-grams:\n-1 <s>\n-1 </s>\n-1 abba\n-1 bab\n\\end\\\n"


def network(seed):
    keras.utils.set_random_seed(seed)
    return models.build("conformer", 12, 3, **SIZES)


@pytest.fixture
def old(tmp_path):
    (tmp_path / "words.arpa").write_text(WORDS)
    measured = {"evaluation": [{"dataset": "all", "wer": 0.5}], "confidence": {"greedy": {"scale": 0.5}}}
    own = {"name": "Old", "decoder": {"beam_width": 8}, "dereverberation": True, "trained": False}
    config = CONFIGURATION | own | measured
    words = NGramModel.from_arpa(tmp_path / "words.arpa")
    return save_bundle(tmp_path / "default", network(1), config, language_model=words)


def test_the_network_is_new_and_the_language_model_the_same_file(old, tmp_path, capsys):
    fresh = network(2)
    run = save_bundle(tmp_path / "best", fresh, CONFIGURATION | {"recipe": {"preset": "smoke"}})
    words = (old / LANGUAGE_MODEL).read_bytes()
    assert main([str(run), "--into", str(old), "--bits", "8", "--description", "A new one."]) == 0
    bundle = load_bundle(old)
    for weight, variable in zip(bundle.build().weights, fresh.weights, strict=True):
        np.testing.assert_allclose(weight, variable, atol=0.02)
    assert (old / LANGUAGE_MODEL).read_bytes() == words
    config = bundle.config
    assert (config["name"], config["description"], config["decoder"]) == ("Old", "A new one.", {"beam_width": 8})
    assert config["dereverberation"], "as the bundle says, not the run"
    assert config["recipe"] == {"preset": "smoke"}
    assert not {"evaluation", "confidence", "trained"} & config.keys()


def test_rounded_with_another_language_model(old, tmp_path, capsys):
    fresh = network(2)
    run = save_bundle(tmp_path / "best", fresh, CONFIGURATION, bits=32)
    (tmp_path / "others.arpa").write_text(WORDS.replace("abba", "aab"))
    NGramModel.from_arpa(tmp_path / "others.arpa").save(tmp_path / "others.safetensors")
    options = ["--bits", "5", "--language-model", str(tmp_path / "others.safetensors")]
    assert main([str(run), "--into", str(old), *options]) == 0
    bundle = load_bundle(old)
    assert bundle.language_model().words[3:] == ["aab", "bab"]
    for weight, variable in zip(bundle.build().weights, fresh.weights, strict=True):
        learned_with = rounded(variable, 5) if len(variable.shape) > 1 else variable
        np.testing.assert_allclose(weight, learned_with, atol=1e-6)


def test_of_several_networks_the_weights_are_averaged(old, tmp_path, capsys):
    networks = [network(2), network(3), network(4)]
    runs = [save_bundle(tmp_path / str(i), one, CONFIGURATION, bits=32) for i, one in enumerate(networks)]
    assert main([*map(str, runs), "--into", str(old), "--bits", "32"]) == 0
    for weight, *parts in zip(load_bundle(old).build().weights, *(one.weights for one in networks), strict=True):
        np.testing.assert_allclose(weight, np.mean(parts, axis=0), atol=1e-6)
    other = models.build("conformer", 12, 3, **SIZES | {"width": 8})
    runs.append(save_bundle(tmp_path / "other", other, CONFIGURATION))
    assert main([*map(str, runs), "--into", str(old)]) == 1
    assert "same architecture" in capsys.readouterr().err


def test_a_network_with_phones_gets_a_lexicon(old, tmp_path, capsys):
    network = models.build("conformer", 12, 3, **SIZES | {"blocks": 3, "phones": len(PHONES) + 1, "phones_block": 2})
    run = save_bundle(tmp_path / "best", network, CONFIGURATION)
    (tmp_path / "lexicon").write_text("abba AE1 B AH0\nzebra Z IY1 B R AH0\n")
    assert main([str(run), "--into", str(old), "--pronunciations", str(tmp_path / "nothing")]) == 1
    assert main([str(run), "--into", str(old), "--pronunciations", str(tmp_path / "lexicon")]) == 0
    bundle = load_bundle(old)
    lexicon = bundle.pronunciations(bundle.language_model())
    assert [PHONES[phone - 1] for phone in lexicon.spell("abba", 0)] == ["AE", "B", "AH"]
    assert lexicon.spell("bab", 0) == [0, 0, 0]


def test_the_neural_language_model_stays_or_is_replaced(old, tmp_path, capsys):
    run = save_bundle(tmp_path / "best", network(2), CONFIGURATION)
    for words in ["abba"], ["bab", "ab"]:
        random_recurrent_model([*SPECIAL_WORDS, *words], cells=GROUP).save(tmp_path / "neural.safetensors")
        options = ["--neural-language-model", str(tmp_path / "neural.safetensors")]
        assert main([str(run), "--into", str(old), *options]) == 0
        assert main([str(run), "--into", str(old)]) == 0
        assert load_bundle(old).neural_language_model().words == [*SPECIAL_WORDS, *words]


def test_no_bundle_is_one_line_and_changes_nothing(old, capsys):
    before = json.loads((old / CONFIG).read_text())
    assert main(["no/such/run", "--into", str(old)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert json.loads((old / CONFIG).read_text()) == before


def test_the_mean_of_several_networks_may_be_weighted(old, tmp_path, capsys):
    networks = [network(3), network(4)]
    runs = [str(save_bundle(tmp_path / str(i), one, CONFIGURATION, bits=32)) for i, one in enumerate(networks)]
    assert main([*runs, "--into", str(old), "--bits", "32", "--shares", "1", "3"]) == 0
    for weight, first, second in zip(load_bundle(old).build().weights, *(one.weights for one in networks), strict=True):
        np.testing.assert_allclose(weight, 0.25 * np.array(first) + 0.75 * np.array(second), atol=1e-6)
    assert main([*runs, "--into", str(old), "--shares", "1"]) == 1
    assert "one for each bundle" in capsys.readouterr().err
