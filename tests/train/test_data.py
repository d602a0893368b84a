"""Manifests, cache and batches: nothing lost, nothing padded wrongly, the same batch for the same step."""

import io
import json
import tarfile

import numpy as np
import pytest

from asr_core.vocabulary import Vocabulary
from train.augment import NO_AUGMENTATION, Augmentation
from train.data import (
    Batching,
    SoundCache,
    SpeechData,
    TrainingBatches,
    evaluation_batches,
    read_bytes,
    read_manifest,
)  # fmt: skip

RATE = 16_000
BATCHING = Batching(bucket_seconds=(1.2, 2.0), batch_seconds=4.0, short_first_passes=0)


@pytest.fixture
def data(corpus, tmp_path):
    return SpeechData(read_manifest(corpus), tmp_path, Vocabulary(), RATE)


def test_manifest_names_the_line_that_is_wrong(tmp_path):
    manifest = tmp_path / "m.jsonl"
    row = {"id": "a", "audio": "a.wav", "seconds": 1, "speaker": "s", "text": "t"}
    manifest.write_text(json.dumps(row) + '\n{"id": 1}\n')
    with pytest.raises(ValueError, match="m.jsonl, line 2: not a clip"):
        read_manifest(manifest)


def test_sound_is_read_out_of_a_tar_archive(corpus, tmp_path):
    wav = (corpus.parent / "clip-0.wav").read_bytes()
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        entry = tarfile.TarInfo("x/clip-0.wav")
        entry.size = len(wav)
        tar.addfile(entry, io.BytesIO(wav))
    row = json.loads(corpus.read_text().splitlines()[0]) | {"audio": "shard.tar#x/clip-0.wav"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    assert read_bytes(read_manifest(tmp_path / "m.jsonl")[0].audio) == wav


def test_cache_holds_every_sound_and_names_what_it_could_not_read(corpus, tmp_path):
    clips = read_manifest(corpus)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    broken = clips[1].__class__("broken", str(tmp_path / "broken.wav"), 1.0, "s", "t")
    cache = SoundCache([clips[0], broken, clips[2]], tmp_path / "cache", RATE)
    assert len(cache[0]) == pytest.approx(clips[0].seconds * RATE, abs=1)
    assert len(cache[1]) == 0 and list(cache.failures) == ["broken"]
    assert np.abs(cache[2]).max() > 10_000
    again = SoundCache([clips[0], broken, clips[2]], tmp_path / "cache", RATE)
    np.testing.assert_array_equal(cache[2], again[2])


def test_clips_that_cannot_be_learned_are_counted(corpus, tmp_path):
    clips = read_manifest(corpus)
    silent = clips[0].__class__("silent", clips[0].audio, clips[0].seconds, "s", "...")
    crowded = clips[0].__class__("crowded", clips[0].audio, clips[0].seconds, "s", "abc " * 40)
    data = SpeechData([*clips, silent, crowded], tmp_path, Vocabulary(), RATE)
    assert data.dropped == {"no text": 1, "more text than its sound can hold": 1}
    assert len(data.examples) == len(clips)


def test_a_pass_sees_every_clip(data):
    batches = TrainingBatches(data, BATCHING, NO_AUGMENTATION)
    wanted = sorted(tuple(example.labels) for example in data.examples)
    seen = set()
    for i in range(len(batches)):
        x, y = batches[i]
        assert x["samples"].dtype == np.int16 and x["samples"].shape[0] == len(y["labels"])
        for labels, length in zip(y["labels"], y["label_lengths"], strict=True):
            seen.add(tuple(labels[:length]))
            assert not labels[length:].any()
    assert sorted(seen) == sorted(set(wanted))


def test_samples_lie_in_front_and_padding_is_silent(data):
    x, _ = TrainingBatches(data, BATCHING, NO_AUGMENTATION)[0]
    for samples, length in zip(x["samples"], x["lengths"], strict=True):
        assert np.abs(samples[:length]).max() > 10_000 and not samples[length:].any()


def test_batch_depends_on_seed_and_step_alone(data):
    augmentation = Augmentation(noise=1.0)
    first, again = (TrainingBatches(data, BATCHING, augmentation, seed=3) for _ in range(2))
    late = first.steps_per_pass + 1
    for step in (0, 1, late):
        first.batch(step)
    np.testing.assert_array_equal(first.batch(late)[0]["samples"], again.batch(late)[0]["samples"])
    other = TrainingBatches(data, BATCHING, augmentation, seed=4)
    assert not np.array_equal(other.batch(late)[0]["samples"], first.batch(late)[0]["samples"])


def test_short_clips_come_first_when_asked(data):
    batching = Batching(bucket_seconds=(1.2, 2.0), batch_seconds=4.0, short_first_passes=1)
    batches = TrainingBatches(data, batching, NO_AUGMENTATION)
    sizes = [batches.batch(i)[0]["samples"].shape[1] for i in range(len(batches))]
    assert sizes == sorted(sizes) and len(set(sizes)) == 2


def test_evaluation_sees_every_clip_once_and_unchanged(data):
    seen = []
    for inputs, examples in evaluation_batches(data, BATCHING):
        for row, example in enumerate(examples):
            length = inputs["lengths"][row]
            np.testing.assert_array_equal(inputs["samples"][row][:length], data.sound[example.number])
            seen.append(example.number)
    assert sorted(seen) == [example.number for example in data.examples]
