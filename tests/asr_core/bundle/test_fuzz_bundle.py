"""Bundles that strangers made up: every one is read or refused in words, before anything is built on its word."""

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from asr_core.bundle.description import CONFIG, fingerprint
from asr_core.bundle.loading import load_bundle
from asr_core.bundle.weights import BundleWeights, read_weights
from asr_core.errors import BundleError
from tests.asr_core.fuzzing import thoroughly

WEIGHTS = "model-00001-of-00001.safetensors"
TENSORS = {
    "head/kernel": np.ones((4, 3), "float16"),
    "head/bias": np.zeros(3, "float32"),
    "project/kernel": np.ones((3, 4), "int8"),
    "project/kernel.scale": np.ones(4, "float32"),
}
SHAPES = {name: tensor.shape for name, tensor in TENSORS.items() if not name.endswith(".scale")}
DESCRIPTION = {
    "format_version": 1,
    "architecture": {"name": "conformer", "sizes": {"width": 16, "blocks": 1, "heads": 2, "channels": 4, "kernel": 5}},
    "featurizer": {"name": "log-mel", "sample_rate": 8000, "bins": 12, "hop_seconds": 0.01},
    "sample_rate": 8000,
    "tokens": ["", "a", "b"],
    "confidence": {"greedy": {"scale": 0.5, "offset": 0.1}, "beam": {"agreement": 0.5, "doubt": -0.2}},
    "decoder": {"decoder": "beam", "beam_width": 8, "language_model_weight": 0.5},
    "licence": "CC0-1.0",
    "trained": True,
}
NUMBERS = st.one_of(
    st.integers(-2, 20), st.floats(), st.sampled_from([10**9, 2**63, 10**400, 1e308, 0.001, 8192, 1e-320])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.sampled_from(["../x", "beam", "deepspeech2", "__"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.one_of(
    st.sampled_from([*DESCRIPTION, *DESCRIPTION["decoder"], "width", "blocks", "bins", "name", "sha256", "bytes"]),
    st.text(max_size=5),
)
PLACES = st.lists(st.integers(0, 20), max_size=3)
CHANGES = st.lists(st.tuples(PLACES, st.none() | KEYS, VALUES), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "invented"
    folder.mkdir()
    save_file(TENSORS, folder / WEIGHTS)
    return folder


def described(folder, description=None, text=None) -> None:
    """Writes config.json: a description that names the weights as they are now, or any bytes."""
    if text is None:
        description = {"files": {WEIGHTS: fingerprint(folder / WEIGHTS)}} | (description or DESCRIPTION)
        text = json.dumps(description).encode()
    (folder / CONFIG).write_bytes(text)


def changed(description: dict, changes) -> dict:
    """Somewhere in a description, a value is another one, a key is new, or both."""
    description = copy.deepcopy(description)
    for way, key, value in changes:
        place = description
        for turn in way:
            inner = [child for child in place.values() if isinstance(child, dict)]
            place = inner[turn % len(inner)] if inner else place
        names = sorted(place, key=str)
        name = key if key is not None or not names else names[(way or [0])[-1] % len(names)]
        place[name or ""] = value
    return description


def assert_is_loaded_or_refused(folder, build=False) -> None:
    try:
        bundle = load_bundle(folder)
        assert bundle.sample_rate > 0 and len(bundle.vocabulary) >= 2
        bundle.decoder_options()
        if build:
            bundle.build()
    except BundleError as error:
        said = str(error)
        assert "invented" in said and said.endswith(".") and len(said) < 500


def test_the_whole_bundle_is_loaded(folder):
    """Else the tests below would only ever see refusals."""
    described(folder)
    bundle = load_bundle(folder)
    weights = dict(read_weights(BundleWeights(bundle.path, tuple(bundle.config["files"])), "invented", SHAPES))
    np.testing.assert_array_equal(weights["head/kernel"], TENSORS["head/kernel"])
    assert bundle.decoder_options().beam_width == 8


@thoroughly(300)
@given(CHANGES)
def test_any_change_of_the_description_is_taken_or_refused(folder, changes):
    described(folder, changed(DESCRIPTION, changes))
    assert_is_loaded_or_refused(folder)


@thoroughly(100)
@given(st.binary(max_size=60), st.integers(0, 1000), st.floats(0, 1))
def test_any_bytes_of_a_description_are_taken_or_refused(folder, patch, place, end):
    described(folder)
    content = bytearray((folder / CONFIG).read_bytes())
    content[place % len(content) : place % len(content) + len(patch)] = patch
    described(folder, text=bytes(content[: round(end * len(content))]))
    assert_is_loaded_or_refused(folder)


@thoroughly(8)  # each builds the outline of a network
@given(st.dictionaries(st.sampled_from(["width", "blocks", "heads", "channels", "kernel", "x"]), NUMBERS | VALUES))
def test_no_sizes_get_past_the_weights(folder, sizes):
    architecture = {"name": "conformer", "sizes": DESCRIPTION["architecture"]["sizes"] | sizes}
    described(folder, DESCRIPTION | {"architecture": architecture})
    assert_is_loaded_or_refused(folder, build=True)


@thoroughly(200)
@given(st.integers(0, 500), st.binary(min_size=1, max_size=12), st.one_of(st.just(1.0), st.floats(0, 1)))
def test_any_bytes_of_weights_are_whole_finite_tensors_or_refused(folder, place, patch, end):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[place % len(content) : place % len(content) + len(patch)] = patch
    (folder / "changed.safetensors").write_bytes(content[: round(end * len(content))])
    stored = BundleWeights(folder, ("model.safetensors",))
    (folder / "changed.safetensors").replace(folder / "model.safetensors")
    try:
        weights = dict(read_weights(stored, "invented", SHAPES))
    except BundleError as error:
        assert str(error).startswith("invented: ") and len(str(error)) < 500
    else:
        assert {name: weight.shape for name, weight in weights.items()} == SHAPES
        assert all(math.isfinite(value) for weight in weights.values() for value in weight.flat)
    finally:
        (folder / "model.safetensors").unlink()
