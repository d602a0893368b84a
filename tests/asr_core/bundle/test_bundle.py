"""A model at rest: written and read back, and every way in which a foreign one is refused."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from asr_core import models
from asr_core.bundle import bundle as bundle_module
from asr_core.bundle import description, loading, weights
from asr_core.bundle.description import CONFIG
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.decoding.language_model import NGramModel
from asr_core.errors import BundleError
from tests.asr_core.text.test_tagger import METADATA, random_weights, tensors_of

TOKENS = ["", *"abc' "]
CONFIGURATION = {
    "featurizer": {"name": "log-mel", "sample_rate": 8000, "bins": 12},
    "sample_rate": 8000,
    "tokens": TOKENS,
    "licence": "CC0-1.0",
}
SIZES = {"width": 16, "blocks": 2, "heads": 2, "channels": 4, "kernel": 5}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(5)
    return models.build("conformer", 12, len(TOKENS), **SIZES)


@pytest.fixture
def saved(network, tmp_path):
    return save_bundle(tmp_path / "small", network, CONFIGURATION)


@pytest.fixture
def words(tmp_path):
    arpa = tmp_path / "words.arpa"
    arpa.write_text("\\data\\\nngram 1=4\n\\1-grams:\n-1 <s>\n-1 </s>\n-1 abba\n-1 cab\n\\end\\\n")
    return NGramModel.from_arpa(arpa)


def change_config(folder, change):
    """Applies `change` to config.json, as somebody with an editor would."""
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def change_weights(folder, change):
    """Applies `change` to the tensors, and makes config.json agree: a foreign bundle, not a damaged one."""
    (path,) = folder.glob("model*.safetensors")
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    change_config(folder, lambda c: c["files"].update({path.name: description.fingerprint(path)}))


def logits_of(network):
    features = np.random.default_rng(0).normal(size=(1, 20, 12)).astype("float32")
    return np.array(network(features, np.array([20], "int32")))


def test_what_was_saved_is_loaded(network, tmp_path):
    bundle = load_bundle(save_bundle(tmp_path / "small", network, CONFIGURATION, bits=32))
    np.testing.assert_array_equal(logits_of(bundle.build()), logits_of(network))
    assert (bundle.name, bundle.sample_rate, bundle.vocabulary.tokens) == ("small", 8000, TOKENS)
    assert bundle.featurizer().bins == 12
    assert bundle.language_model() is None
    assert bundle.config["licence"] == "CC0-1.0"


def test_a_language_model_goes_with_it(network, words, tmp_path):
    bundle = load_bundle(save_bundle(tmp_path / "small", network, CONFIGURATION, language_model=words))
    assert bundle.language_model().words == words.words
    (bundle.path / "language_model.safetensors").unlink()
    with pytest.raises(BundleError, match="small is incomplete: language_model.safetensors is missing"):
        load_bundle(bundle.path)


def test_a_tagger_goes_with_it(network, saved, tmp_path):
    path = tmp_path / "punctuation.safetensors"
    save_file(tensors_of(random_weights()), path, METADATA)
    bundle = load_bundle(save_bundle(tmp_path / "written", network, CONFIGURATION, tagger=path))
    assert bundle.tagger().language == "en"
    assert load_bundle(saved).tagger() is None


def test_a_damaged_tagger_is_named(network, tmp_path):
    path = tmp_path / "punctuation.safetensors"
    path.write_bytes(b"no tensors")
    bundle = load_bundle(save_bundle(tmp_path / "written", network, CONFIGURATION, tagger=path))
    with pytest.raises(BundleError, match="tagger.safetensors holds no tagger"):
        bundle.tagger()


def test_half_precision_is_half_the_size_and_nearly_the_same(network, tmp_path):
    half = save_bundle(tmp_path / "half", network, CONFIGURATION)
    full = save_bundle(tmp_path / "full", network, CONFIGURATION, bits=32)
    size_of = {f.name: sum(p.stat().st_size for p in f.glob("model*")) for f in (half, full)}
    assert size_of["half"] < 0.8 * size_of["full"]
    model = load_bundle(half).build()
    assert {w.dtype for w in model.weights} == {"float32"}
    np.testing.assert_allclose(logits_of(model), logits_of(network), atol=0.01)


@pytest.mark.parametrize("bits", [8, 7, 5])
def test_whole_numbers_are_a_quarter_of_the_size_and_close(network, tmp_path, bits):
    network = models.build("conformer", 12, len(TOKENS), **SIZES | {"width": 64})
    small = save_bundle(tmp_path / "small", network, CONFIGURATION, bits=bits)
    full = save_bundle(tmp_path / "full", network, CONFIGURATION, bits=32)
    size_of = {f.name: sum(p.stat().st_size for p in f.glob("model*")) for f in (small, full)}
    assert size_of["small"] < 0.4 * size_of["full"]  # of small matrices names and scales are a good part
    for weight, variable in zip(load_bundle(small).build().weights, network.weights, strict=True):
        step = np.abs(variable).max() / {8: 127, 7: 63, 5: 15}[bits] + 1e-12
        steps = np.abs(np.array(weight) - np.array(variable)).max() / step
        assert steps <= 0.5 + 1e-3, variable.path


def test_a_language_model_is_copied_from_its_file(network, words, tmp_path):
    first = load_bundle(save_bundle(tmp_path / "first", network, CONFIGURATION, language_model=words))
    file = first.file("language_model.safetensors")
    again = save_bundle(tmp_path / "again", network, CONFIGURATION, language_model=file)
    assert load_bundle(again).language_model().words == words.words


def test_weights_that_are_none(network, tmp_path):
    folder = save_bundle(tmp_path / "damaged", network, CONFIGURATION)
    (path,) = folder.glob("model*")
    path.write_bytes(b"no safetensors")
    change_config(folder, lambda c: c["files"].update({path.name: description.fingerprint(path)}))
    with pytest.raises(BundleError, match="not a safetensors file"):
        load_bundle(folder).build()


def test_large_weights_are_split_over_files(network, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FILE_BYTES", 4000)
    folder = save_bundle(tmp_path / "split", network, CONFIGURATION)
    names = sorted(path.name for path in folder.glob("model*"))
    assert len(names) > 3
    assert names[0] == f"model-00001-of-{len(names):05}.safetensors"
    np.testing.assert_allclose(logits_of(load_bundle(folder).build()), logits_of(network), atol=0.01)


def test_weights_are_named_by_their_place_in_the_network(saved):
    (path,) = saved.glob("model*.safetensors")
    assert {"head/kernel", "block_2/attention/project/kernel"} <= load_file(path).keys()


def test_everybody_may_read_a_bundle(saved):
    assert saved.stat().st_mode & 0o555 == 0o555
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in saved.iterdir())


def test_saving_replaces_a_bundle_and_leaves_nothing_beside_it(network, saved):
    save_bundle(saved, network, CONFIGURATION | {"licence": "MIT"})
    assert load_bundle(saved).config["licence"] == "MIT"
    assert [path.name for path in saved.parent.iterdir()] == ["small"]


def test_a_save_that_fails_leaves_the_old_bundle(network, saved, monkeypatch):
    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_bundle(saved, network, CONFIGURATION)
    assert load_bundle(saved).config["licence"] == "CC0-1.0"
    assert [path.name for path in saved.parent.iterdir()] == ["small"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    network = models.build("conformer", 12, len(TOKENS), **SIZES)
    network.weights[0].assign(np.full(network.weights[0].shape, 1e6))  # beyond float16
    with pytest.raises(BundleError, match="convolution_0/kernel is not finite as float16: nothing was saved"):
        save_bundle(tmp_path / "never", network, CONFIGURATION)
    assert not any(tmp_path.iterdir())


def test_loading_takes_no_keras(saved):
    code = f"import sys; from asr_core.bundle import load_bundle; load_bundle({str(saved)!r}); "
    code += "sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(bundle_module.__file__).parents[2])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder/here", "There is no model no/such/folder/here: name a folder"),
        ("../nowhere", "There is no model ../nowhere"),
        ("https://example.org/model", "There is no model https://example.org/model"),
    ],
)
def test_a_model_that_is_not_there_is_reported(source, message):
    with pytest.raises(BundleError, match=message):
        load_bundle(source)


def test_a_folder_that_is_no_bundle_is_refused_with_what_a_bundle_holds(tmp_path):
    with pytest.raises(BundleError, match="it has no config.json; a bundle holds config.json, the model"):
        load_bundle(tmp_path)


def test_a_copy_without_the_default_model_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "DEFAULT_FOLDER", tmp_path / "assets")
    with pytest.raises(BundleError, match="No model comes with this copy"):
        load_bundle()


def set_size(name, value):
    return lambda config: config["architecture"]["sizes"].update({name: value})


def set_file(name, **facts):
    return lambda config: config["files"].update({name: facts})


REFUSED_DESCRIPTIONS = {
    "a newer format": (
        lambda c: c.update(format_version=2),
        "format version 2 and this program reads 1: update",
    ),
    "no format": (lambda c: c.pop("format_version"), "no format_version; a bundle holds"),
    "a missing field": (lambda c: c.pop("tokens"), "lacks tokens"),
    "an unknown field": (lambda c: c.update(run_me="x"), "a field that is not known, 'run_me'"),
    "a wrong type": (
        lambda c: c.update(sample_rate="8000"),
        "sample_rate in its config.json is not of type int",
    ),
    "an unknown architecture": (
        lambda c: c["architecture"].update(name="os"),
        "no architecture 'os', only conf",
    ),
    "a huge width": (set_size("width", 10**9), "size 'width' is 1000000000; it must lie between 0 and 16384"),
    "a huge integer": (set_size("width", 10**4000), "is a huge number; it must"),
    "a negative size": (set_size("blocks", -1), "size 'blocks' is -1"),
    "many blocks": (set_size("blocks", 5000), "size 'blocks' is 5000; it must lie between 0 and 128"),
    "a size in words": (set_size("width", "__import__('os')"), "size 'width' is"),
    "a nested size": (set_size("intermediate", [[1]]), "size 'intermediate' is"),
    "a rate of nothing": (lambda c: c.update(sample_rate=1), "sample rate of 1 Hz is not from 4000 to 96000"),
    "another rate": (
        lambda c: c["featurizer"].update(sample_rate=16000),
        "not for its sample rate of 8000 Hz",
    ),
    "endless frames": (
        lambda c: c["featurizer"].update(hop_seconds=1e-9),
        "'hop_seconds' of its featurizer is 1e-09",
    ),
    "no blank": (lambda c: c.update(tokens=["a", "b"]), "must be the blank"),
    "long tokens": (lambda c: c.update(tokens=["", "a" * 65]), "at most 64 characters"),
    "tokens with spaces": (lambda c: c.update(tokens=["", "a b"]), "without white space"),
    "double tokens": (lambda c: c.update(tokens=["", "a", "a"]), "exactly once"),
    "a path": (
        set_file("../../etc/passwd", bytes=1, sha256=""),
        "'../../etc/passwd' is not a file of a bundle",
    ),
    "a pickle": (set_file("model.pkl", bytes=1, sha256=""), "'model.pkl' is not a file of a bundle"),
    "bare files": (set_file("model.safetensors", bytes=1), "must give bytes and sha256 of model.safetensors"),
    "huge files": (set_file("model.safetensors", bytes=10**13, sha256=""), "needs about 12502.7 GB of memory and"),
    "no weights": (lambda c: c.update(files={}), "names no weights"),
    "a strange decoder": (
        lambda c: c.update(decoder={"beam_width": "rm"}),
        "'beam_width' of its decoder is 'rm'",
    ),
    "a strange confidence": (lambda c: c.update(confidence={"beam": {"scale": 1e9}}), "between -100 and 100"),
    "the confidence of no decoder": (lambda c: c.update(confidence={"scale": 1.0}), "scale of beam, greedy, aligned"),
}


@pytest.mark.parametrize("case", REFUSED_DESCRIPTIONS)
def test_a_description_is_refused_for(case, saved):
    change, message = REFUSED_DESCRIPTIONS[case]
    change_config(saved, change)
    with pytest.raises(BundleError, match=message) as refusal:
        load_bundle(saved)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"format_version": NaN}', "[" * 100_000, "\xff"])
def test_a_description_that_is_no_json_object_is_refused(text, saved):
    (saved / CONFIG).write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match="small"):
        load_bundle(saved)


def test_a_name_that_no_file_can_have_is_one_sentence():
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle("a" * 300)


def test_what_is_no_bundle_is_not_replaced(network, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(BundleError, match="exists and is not a bundle"):
            save_bundle(place, network, CONFIGURATION)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_giant_description_is_not_read(saved):
    (saved / CONFIG).write_text(" " * (2 << 20))
    with pytest.raises(BundleError, match="has more than 1 MB"):
        load_bundle(saved)


REFUSED_SIZES = {
    "an unknown size": (set_size("depth", 3), "no conformer has these sizes|has no size depth"),
    "a name": (set_size("name", 3), "no conformer has these sizes|has no size name"),
    "an argument of Keras": (set_size("trainable", False), "has no size trainable"),
    "sizes that do not go together": (set_size("heads", 0), "no conformer has these sizes"),
    "another network": (set_size("blocks", 3), "of its weights are missing, block_3"),
    "100 billion parameters": (
        lambda c: c["architecture"]["sizes"].update(width=8192, blocks=64),
        "has shape",
    ),
    "other bins": (lambda c: c["featurizer"].update(bins=16), "has shape"),
    "an unknown featurizer": (lambda c: c["featurizer"].update(name="x"), "unknown featurizer 'x'"),
    "other tokens": (lambda c: c.update(tokens=TOKENS[:-1]), "has shape"),
}


@pytest.mark.parametrize("case", REFUSED_SIZES)
def test_a_network_is_refused_for(case, saved):
    change, message = REFUSED_SIZES[case]
    change_config(saved, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(saved).build()


def poison(value):
    def change(tensors):
        tensors["head/kernel"][0, 0] = value

    return change


REFUSED_WEIGHTS = {
    "a missing tensor": (lambda t: t.pop("head/bias"), "1 of its weights are missing, head/bias"),
    "a further tensor": (lambda t: t.update(extra=np.zeros(3, "float32")), "'extra' is not a weight"),
    "a wrong shape": (lambda t: t.update({"head/bias": np.zeros(9, "float32")}), r"has shape \(9,\), but"),
    "another type": (lambda t: t.update({"head/bias": np.zeros(6, "int64")}), "is stored as I64"),
    "not a number": (poison(np.nan), "head/kernel is not finite"),
    "infinity": (poison(np.inf), "head/kernel is not finite"),
    "8-bit numbers without a scale": (lambda t: t.update({"head/kernel": np.ones((16, 6), "int8")}), "stored as I8"),
    "floats with a scale": (lambda t: t.update({"head/kernel.scale": np.ones(6, "float32")}), "stored as F16; I8"),
    "a scale of another shape": (
        lambda t: t.update({"head/kernel": np.ones((16, 6), "int8"), "head/kernel.scale": np.ones(5, "float32")}),
        r"kernel.scale has shape \(5,\), but",
    ),
    "a scale that is not finite": (
        lambda t: t.update({"head/kernel": np.ones((16, 6), "int8"), "head/kernel.scale": np.full(6, np.inf, "f")}),
        "head/kernel is not finite",
    ),
    "a scale of nothing": (lambda t: t.update({"head.scale": np.ones(6, "float32")}), "'head.scale' is not a weight"),
}


@pytest.mark.parametrize("case", REFUSED_WEIGHTS)
def test_weights_are_refused_for(case, saved):
    change, message = REFUSED_WEIGHTS[case]
    change_weights(saved, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(saved).build()


def test_weights_that_are_no_safetensors_are_refused(saved):
    (path,) = saved.glob("model*.safetensors")
    path.write_bytes(b"\x80\x04cos\nsystem\n" * 50)  # as a pickle begins
    change_config(saved, lambda c: c["files"].update({path.name: description.fingerprint(path)}))
    with pytest.raises(BundleError, match="is not a safetensors file"):
        load_bundle(saved).build()


@pytest.mark.parametrize("damage", [lambda b: b[:-10], lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_file_is_noticed(saved, damage):
    (path,) = saved.glob("model*.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BundleError, match="small is damaged: model-00001-of-00001.safetensors"):
        load_bundle(saved)


def test_a_missing_file_is_noticed(saved):
    (path,) = saved.glob("model*.safetensors")
    path.unlink()
    with pytest.raises(BundleError, match="small is incomplete: model-00001-of-00001.safetensors is missing"):
        load_bundle(saved)


def test_a_snapshot_in_the_cache_of_the_hub_is_a_folder_too(saved, tmp_path):
    blobs, snapshot = tmp_path / "models--n--r" / "blobs", tmp_path / "models--n--r" / "snapshots" / ("a" * 40)
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    for path in saved.iterdir():
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert load_bundle(snapshot).config["sample_rate"]
    (snapshot / "more.json").symlink_to(tmp_path / "models--n--r" / "elsewhere.json")
    with pytest.raises(BundleError, match="more.json is a link out of the folder"):
        load_bundle(snapshot)


def test_links_out_of_the_folder_are_refused(saved, tmp_path):
    (path,) = saved.glob("model*.safetensors")
    path.rename(tmp_path / "elsewhere.safetensors")
    path.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(BundleError, match="is a link out of the folder"):
        load_bundle(saved)
