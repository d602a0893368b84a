"""Checkpoints that strangers made up: every one is translated or refused in words."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_core.bundle.checkpoints.tensors import stored_tensors
from asr_core.bundle.loading import load_bundle
from asr_core.errors import BundleError
from tests.asr_core.bundle.test_fuzz_bundle import PLACES, VALUES, changed
from tests.asr_core.fuzzing import thoroughly

CHECKPOINTS = Path(__file__).parents[2] / "data" / "checkpoints"
ORIGINALS = ("mms", "parakeet", "wav2vec2-bert-adapters", "omniasr")
FILES = ("config", "vocab", "tokenizer", "tokenizer_config", "special_tokens_map", "preprocessor_config")
KEYS = st.one_of(
    st.sampled_from(
        "model_type architectures pad_token_id conv_kernel conv_stride hidden_size num_hidden_layers add_adapter vocab "
        "model decoder added_tokens target_lang word_delimiter_token pad_token sampling_rate encoder_config".split()
    ),
    st.text(max_size=5),
)
CHANGES = st.lists(st.tuples(PLACES, st.none() | KEYS, VALUES), min_size=1, max_size=3)


@pytest.fixture(scope="module", params=ORIGINALS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "invented"
    shutil.copytree(CHECKPOINTS / request.param, folder)
    return folder


def assert_is_loaded_or_refused(folder) -> None:
    try:
        bundle = load_bundle(folder)
        assert bundle.sample_rate > 0 and len(bundle.vocabulary) == len(bundle.checkpoint.rows)
    except BundleError as error:
        said = str(error)
        assert "invented" in said and said.endswith(".") and len(said) < 500


def test_the_whole_checkpoint_is_loaded(folder):
    """Else the tests below would only ever see refusals."""
    bundle = load_bundle(folder)
    assert len(bundle.vocabulary) == len(bundle.checkpoint.rows) > 10


@thoroughly(150)
@given(st.sampled_from(FILES), CHANGES)
def test_any_change_of_a_description_is_taken_or_refused(folder, file, changes):
    path = folder / f"{file}.json"
    original = path.read_text() if path.exists() else None
    path.write_text(json.dumps(changed(json.loads(original or "{}"), changes)))
    try:
        assert_is_loaded_or_refused(folder)
    finally:
        path.unlink() if original is None else path.write_text(original)


@thoroughly(200)
@given(st.integers(0, 5000), st.binary(min_size=1, max_size=12), st.one_of(st.just(1.0), st.floats(0, 1)))
def test_any_bytes_of_weights_are_tensors_inside_the_file_or_refused(folder, place, patch, end):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[place % len(content) : place % len(content) + len(patch)] = patch
    path = folder / "changed.safetensors"
    path.write_bytes(content[: round(end * len(content))])
    try:
        tensors = stored_tensors(path, "invented")
    except BundleError as error:
        assert str(error).startswith("invented: ") and len(str(error)) < 500
    else:
        for tensor in tensors.values():
            if tensor.dtype in ("F32", "F16", "BF16"):
                assert tensor.read().shape == tensor.shape
