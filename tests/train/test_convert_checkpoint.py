"""Checkpoints in the format of transformers as bundles of ours."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from asr_core.bundle.loading import load_bundle
from train.convert import in_format_of_transformers, main
from train.publish.upload import PublishError, model_upload

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"
CARD = """\
---
language: en
license: cc-by-nc-4.0
model-index:
- name: tiny
  results:
  - dataset: {name: Letters}
    metrics: [{type: wer, value: 12.5}]
---
# Tiny

Trained on letters.
"""


@pytest.fixture
def checkpoint(tmp_path):
    shutil.copytree(CHECKPOINTS / "wav2vec2-base", tmp_path / "tiny")
    (tmp_path / "tiny" / "README.md").write_text(CARD)
    return tmp_path / "tiny"


def logits(bundle) -> np.ndarray:
    samples = load_file(CHECKPOINTS / "wav2vec2-base" / "reference.safetensors")["samples"] / np.float32(32768)
    features, frames = bundle.featurizer()(samples[None], np.array([len(samples)]))
    return np.array(bundle.build()(features, frames))


@pytest.mark.parametrize(("bits", "tolerance", "share"), [(32, 1e-6, 1.1), (16, 0.05, 0.9), (8, 0.5, 0.8)])
def test_a_bundle_predicts_what_its_checkpoint_predicts(checkpoint, tmp_path, bits, tolerance, share):
    assert main([str(checkpoint), "--out", str(tmp_path / "bundle"), "--bits", str(bits)]) == 0
    original, bundle = load_bundle(checkpoint), load_bundle(tmp_path / "bundle")
    assert bundle.checkpoint is None
    assert np.abs(logits(bundle) - logits(original)).max() < tolerance
    weights = sum(path.stat().st_size for path in bundle.path.glob("model*.safetensors"))
    assert weights < share * original.bytes
    assert bundle.vocabulary == original.vocabulary
    assert (bundle.licence, bundle.language) == ("cc-by-nc-4.0", "en")
    assert bundle.config["evaluation"] == [{"dataset": "Letters", "decoder": "published", "wer": 0.125}]
    assert bundle.decoder_options().decoder == "greedy"


@pytest.mark.parametrize(("language", "kept"), [("en", True), ("de", False)])
def test_an_english_checkpoint_keeps_capitals_and_punctuation(language, kept, checkpoint, tmp_path):
    (checkpoint / "README.md").write_text(CARD.replace("language: en", f"language: {language}"))
    main([str(checkpoint), "--out", str(tmp_path / "bundle")])
    for source in checkpoint, tmp_path / "bundle":
        assert (load_bundle(source).tagger() is not None) == kept


def test_the_card_is_kept_with_a_sentence_on_its_origin(checkpoint, tmp_path):
    main([str(checkpoint), "--out", str(tmp_path / "bundle")])
    front, _, body = CARD.partition("---\n# Tiny")
    origin = "Converted from the checkpoint tiny: other names and layouts, 16 bits a number."
    assert load_bundle(tmp_path / "bundle").readme == f"{front}---\n\n{origin}\n\n# Tiny{body}"
    assert load_bundle(tmp_path / "bundle").config["description"] == origin


def test_a_language_is_chosen_once(tmp_path, capsys):
    assert main([str(CHECKPOINTS / "mms"), "--out", str(tmp_path / "french"), "--language", "fra"]) == 0
    assert load_bundle(tmp_path / "french", language="fra").language == "fra"
    assert load_bundle(tmp_path / "french").licence == "unknown"
    assert main([str(tmp_path / "french"), "--out", str(tmp_path / "again")]) == 1
    assert "french is a bundle already" in capsys.readouterr().err


def test_a_checkpoint_is_not_published_unconverted(checkpoint):
    with pytest.raises(PublishError, match="tiny is a checkpoint of another program: python -m train.convert makes"):
        model_upload(checkpoint, "name/tiny")


def test_what_the_source_may_be(tmp_path):
    assert in_format_of_transformers(str(CHECKPOINTS / "mms"))
    assert in_format_of_transformers("facebook/wav2vec2-base-960h@refs/pr/5")
    assert not in_format_of_transformers("runs/model.keras")
    assert not in_format_of_transformers(str(tmp_path))
