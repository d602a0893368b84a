"""Manifests, cache and batches: nothing lost, nothing padded wrongly, the same batch for the same step."""

import dataclasses
import io
import json
import operator
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_core.inference.windows import windows_of
from asr_core.text.vocabulary import Vocabulary
from tests.processes import ended
from train.data.augmentation import NO_AUGMENTATION, Augmentation
from train.data.batches import Batching, TrainingBatches, evaluation_batches, trim_silence
from train.data.cache import AudioCache, in_order
from train.data.examples import SpeechData
from train.data.loaders import batches_from_processes
from train.data.manifest import ManifestClip, ManifestError, read_bytes, read_manifest
from train.data.text_files import CorpusError

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


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"id": ...}, "it has no id"),
        ({"speaker": ..., "text": ...}, "it has no speaker, text"),
        ({"text": None}, "its text is null"),
        ({"text": ["a"]}, "its text is not a string"),
        ({"text": "\ud800"}, "its text is not a string"),
        ({"audio": ""}, "its audio is not a path"),
        ({"audio": None}, "its audio is not a path"),
        ({"audio": "a\0b"}, "its audio is not a path"),
        ({"seconds": -1}, "its seconds are -1, and not from 0 to 86,400 (24 hours)"),
        ({"seconds": float("nan")}, "its seconds are nan,"),
        ({"seconds": float("inf")}, "its seconds are inf,"),
        ({"seconds": 86_401}, "its seconds are 86401,"),
        ({"seconds": 192153584101141.2}, "its seconds are 192153584101141.2,"),
        ({"seconds": None}, "its seconds are None,"),
        ({"seconds": True}, "its seconds are True,"),
        ({"seconds": "soon"}, "its seconds are soon,"),
        ({"seconds": 10**400}, "its seconds are 1000"),
    ],
)
def test_what_a_line_of_a_manifest_lacks_is_reported_in_words(changes, fault, tmp_path):
    row = {"id": "a", "audio": "a.wav", "seconds": 1, "speaker": "s", "text": "t"} | changes
    row = {key: value for key, value in row.items() if value is not ...}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    with pytest.raises(ManifestError) as error:
        read_manifest(tmp_path / "m.jsonl")
    assert f"line 1: not a clip ({fault}" in str(error.value)
    assert str(error.value).endswith("speaker and text, as python -m train.corpora writes it.")


@pytest.mark.parametrize("line", ["", "[1]", "1", "null", '"a"', "{", "[" * 100_000])
def test_a_line_that_is_no_object_is_no_clip(line, tmp_path):
    (tmp_path / "m.jsonl").write_text(line)
    if not line:
        assert read_manifest(tmp_path / "m.jsonl") == []
        return
    with pytest.raises(ManifestError, match=r"line 1: not a clip \(it is not a JSON object\)"):
        read_manifest(tmp_path / "m.jsonl")


def test_manifests_of_other_programs(tmp_path):
    """With a byte-order mark, line ends of Windows, and nothing where nothing is known."""
    rows = [{"id": 1, "audio": "a.wav", "seconds": "1.5", "speaker": None, "text": "a\u2028b", "accent": None}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "m.jsonl").write_text("\r\n".join([*lines, ""]), encoding="utf-8-sig", newline="")
    (clip,) = read_manifest(tmp_path / "m.jsonl")
    assert clip == ManifestClip("1", str(tmp_path.resolve() / "a.wav"), 1.5, "", "a\u2028b", "m", "")
    (tmp_path / "m.jsonl").write_bytes(b"{}\n\xff")
    with pytest.raises(CorpusError, match=r"m.jsonl is not in UTF-8 \(byte 3\) in line 2"):
        read_manifest(tmp_path / "m.jsonl")


def test_audio_is_read_out_of_a_tar_archive(corpus, tmp_path):
    wav = (corpus.parent / "clip-0.wav").read_bytes()
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        entry = tarfile.TarInfo("x/clip-0.wav")
        entry.size = len(wav)
        tar.addfile(entry, io.BytesIO(wav))
    row = json.loads(corpus.read_text().splitlines()[0]) | {"audio": "shard.tar#x/clip-0.wav"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    assert read_bytes(read_manifest(tmp_path / "m.jsonl")[0].audio) == wav


def test_cache_holds_every_clip_and_names_what_it_could_not_decode(corpus, tmp_path):
    clips = read_manifest(corpus)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    broken = clips[1].__class__("broken", str(tmp_path / "broken.wav"), 1.0, "s", "t")
    cache = AudioCache([clips[0], broken, clips[2]], tmp_path / "cache", RATE)
    assert len(cache[0]) == pytest.approx(clips[0].seconds * RATE, abs=1)
    assert len(cache[1]) == 0 and list(cache.failures) == [1]
    assert np.abs(cache[2]).max() > 10_000
    again = AudioCache([clips[0], broken, clips[2]], tmp_path / "cache", RATE)
    np.testing.assert_array_equal(cache[2], again[2])


def test_cache_notices_a_file_that_has_changed(tmp_path):
    clip = ManifestClip("a", str(tmp_path / "a.wav"), 1.0, "s", "text")
    assert AudioCache([clip], tmp_path / "cache", 8000).failures.keys() == {0}  # not there yet
    for level in (0.25, 0.5):
        soundfile.write(clip.audio, np.resize([level, -level], 8000), 8000)
        os.utime(clip.audio, ns=(0, int(1e9 * level)))
        assert AudioCache([clip], tmp_path / "cache", 8000)[0][4000] == pytest.approx(32767 * level, rel=0.01)
    assert not list((tmp_path / "cache").glob("*partial*"))


def test_what_a_killed_run_left_half_decoded_is_removed(corpus, tmp_path):
    left, fresh = tmp_path / ".left.part", tmp_path / ".fresh.part"
    for path in left, fresh:
        path.write_bytes(b"samples")
    os.utime(left, (0, 0))
    AudioCache(read_manifest(corpus)[:1], tmp_path, RATE)
    assert not left.exists() and fresh.exists(), "another run may be writing to the latter"


@pytest.mark.parametrize("damage", ["sound-*.pcm", "sound-*.json"])
def test_a_cache_that_has_lost_a_part_is_made_again(damage, corpus, tmp_path):
    clips = read_manifest(corpus)[:2]
    whole = AudioCache(clips, tmp_path, RATE)[1].copy()
    (path,) = tmp_path.glob(damage)
    path.write_bytes(path.read_bytes()[:-20])
    np.testing.assert_array_equal(AudioCache(clips, tmp_path, RATE)[1], whole)
    path.unlink()
    np.testing.assert_array_equal(AudioCache(clips, tmp_path, RATE)[1], whole)


def test_a_member_that_an_archive_lacks_is_named(tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w"):
        pass
    (tmp_path / "no.tar").write_bytes(b"no archive" * 100)
    clips = [ManifestClip(name, f"{tmp_path}/{name}.tar#x.wav", 1.0, "s", "t") for name in ("shard", "no")]
    failures = AudioCache(clips, tmp_path / "cache", RATE).failures
    assert failures[0].endswith("shard.tar holds no x.wav.")
    assert "no.tar cannot be read as a tar archive (" in failures[1]


def test_a_file_that_could_not_be_read_is_tried_again(corpus, tmp_path, monkeypatch):
    clips = read_manifest(corpus)

    def broken(audio):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("train.data.cache.read_bytes", broken)
        assert len(AudioCache(clips, tmp_path / "cache", RATE).failures) == len(clips)
    assert not AudioCache(clips, tmp_path / "cache", RATE).failures


def test_threads_keep_the_order_and_stay_near_the_reader():
    drawn, ahead = [], 5

    def items():
        for number in range(40):
            drawn.append(number)
            yield number

    def slowly(number):
        time.sleep(random.uniform(0, 0.004))
        return number, threading.get_ident()

    found = []
    for number, thread in in_order(ThreadPoolExecutor(4), slowly, items(), ahead=ahead):
        found.append((number, thread))
        assert len(drawn) <= len(found) + ahead
    assert [number for number, _ in found] == list(range(40))
    assert len({thread for _, thread in found}) > 1


def test_a_clip_that_cannot_be_decoded_leaves_others_of_its_name_alone(corpus, tmp_path):
    clips = read_manifest(corpus)
    gone = dataclasses.replace(clips[0], audio=str(tmp_path / "gone.wav"))
    data = SpeechData([gone, *clips], tmp_path, Vocabulary(), RATE)
    assert data.dropped == {"not decodable": 1} and len(data.examples) == len(clips)
    assert data.cache.failures == {0: f"{tmp_path / 'gone.wav'}: No such file or directory."}


def test_clips_longer_than_the_limit_are_left_out(corpus, tmp_path):
    assert SpeechData(read_manifest(corpus), tmp_path, Vocabulary(), RATE, max_seconds=0.5).dropped == {
        "longer than 0.5 s": 10
    }


def test_clips_that_cannot_be_trained_on_are_counted(corpus, tmp_path):
    clips = read_manifest(corpus)
    silent = clips[0].__class__("silent", clips[0].audio, clips[0].seconds, "s", "...")
    crowded = clips[0].__class__("crowded", clips[0].audio, clips[0].seconds, "s", "abc " * 40)
    data = SpeechData([*clips, silent, crowded], tmp_path, Vocabulary(), RATE)
    assert data.dropped == {"no text": 1, "more text than its audio can hold": 1}
    assert len(data.examples) == len(clips)


def test_a_pass_has_every_clip(data):
    batches = TrainingBatches(data, BATCHING, NO_AUGMENTATION)
    wanted = sorted(tuple(example.labels) for example in data.examples)
    seen = set()
    for i in range(batches.steps_per_pass):
        x, y = batches.batch(i)
        assert x["samples"].dtype == np.int16 and x["samples"].shape[0] == len(y["labels"])
        for labels, length in zip(y["labels"], y["label_lengths"], strict=True):
            seen.add(tuple(labels[:length]))
            assert not labels[length:].any()
    assert sorted(seen) == sorted(set(wanted))


def test_samples_lie_in_front_and_padding_is_silent(data):
    x, _ = TrainingBatches(data, BATCHING, NO_AUGMENTATION).batch(0)
    for samples, length in zip(x["samples"], x["lengths"], strict=True):
        assert np.abs(samples[:length]).max() > 10_000 and not samples[length:].any()


def test_threads_that_are_in_two_passes_do_not_plan_a_pass_again(data, monkeypatch):
    batches, planned = TrainingBatches(data, BATCHING, NO_AUGMENTATION), []
    make_plan = batches._make_plan
    monkeypatch.setattr(batches, "_make_plan", lambda number: planned.append(number) or make_plan(number))
    steps = batches.steps_per_pass
    for step in (0, steps, steps - 1, steps + 1, 2 * steps, steps):
        batches.batch(step)
    assert planned == [0, 1, 2]


def test_batch_depends_on_seed_and_step_alone(data):
    augmentation = Augmentation(noise=1.0)
    first, again = (TrainingBatches(data, BATCHING, augmentation, seed=3) for _ in range(2))
    late = first.steps_per_pass + 1
    for step in (0, 1, late):
        first.batch(step)
    np.testing.assert_array_equal(first.batch(late)[0]["samples"], again.batch(late)[0]["samples"])
    other = TrainingBatches(data, BATCHING, augmentation, seed=4)
    assert not np.array_equal(other.batch(late)[0]["samples"], first.batch(late)[0]["samples"])


@pytest.fixture
def three_corpora(data):
    """The ten toy clips as three corpora of seven, two and one."""
    clips = [dataclasses.replace(c, corpus="large" if i < 7 else "small" if i < 9 else "one")
             for i, c in enumerate(data.clips)]  # fmt: skip
    other = data.subset(lambda example: True)
    other.clips = clips
    return other


def test_short_clips_come_first_when_asked(data):
    batching = Batching(bucket_seconds=(1.2, 2.0), batch_seconds=4.0, short_first_passes=1)
    batches = TrainingBatches(data, batching, NO_AUGMENTATION)
    sizes = [batches.batch(i)[0]["samples"].shape[1] for i in range(batches.steps_per_pass)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 2


def test_clips_of_one_speaker_can_come_as_one(three_corpora):
    """Every clip once, its text at its place among those it came with."""
    batching = dataclasses.replace(
        BATCHING, bucket_seconds=(2.0, 8.0), batch_clips=1, join=1.0, join_seconds=(5.0,), characters_per_second=40.0
    )
    batches = TrainingBatches(three_corpora, batching, NO_AUGMENTATION)
    texts = {three_corpora.vocabulary.decode(e.labels): e for e in three_corpora.examples}
    drawn, parts_of = Counter(), []
    for step in range(batches.steps_per_pass):
        x, y = batches.batch(step)
        text = three_corpora.vocabulary.decode(y["labels"][0][: y["label_lengths"][0]])
        parts = [texts[part] for part in re.findall("|".join(texts), text)]
        assert text == " ".join(three_corpora.vocabulary.decode(part.labels) for part in parts)
        assert len({three_corpora.clips[part.number].corpus for part in parts}) == 1
        assert sum(part.seconds for part in parts) <= 5.0 or len(parts) == 1
        whole = np.concatenate([three_corpora.cache[part.number] for part in parts])
        np.testing.assert_array_equal(x["samples"][0][: x["lengths"][0]], trim_silence(whole, RATE))
        drawn.update(part.number for part in parts)
        parts_of.append(len(parts))
    assert drawn == Counter(range(10)) and max(parts_of) >= 3


def test_processes_make_the_batches_of_this_one(data):
    steps_of = partial(operator.floordiv, 320_000)
    batches = TrainingBatches(data, BATCHING, Augmentation(noise=1.0), seed=3, steps_of=steps_of)
    numbers = range(1, 8)
    for number, (x, y) in zip(numbers, batches_from_processes(batches, numbers, 2), strict=True):
        expected = batches.batch(number)
        for part, wanted in zip((x, y), expected, strict=True):
            assert part.keys() == wanted.keys()
            for key in part:
                np.testing.assert_array_equal(part[key], wanted[key])


LOADING = """
import multiprocessing, operator, sys, time
from functools import partial
from asr_core.text.vocabulary import Vocabulary
from train.data.augmentation import NO_AUGMENTATION
from train.data.batches import Batching, TrainingBatches
from train.data.examples import SpeechData
from train.data.loaders import batches_from_processes
from train.data.manifest import read_manifest
if __name__ == "__main__":
    data = SpeechData(read_manifest(sys.argv[1]), sys.argv[2], Vocabulary(), 16_000)
    batches = TrainingBatches(data, Batching(bucket_seconds=(2.0,)), NO_AUGMENTATION)
    made = batches_from_processes(batches, range(100), 1)
    next(made)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(600)
"""


def test_processes_end_with_a_trainer_that_was_killed(corpus, tmp_path):
    (tmp_path / "loading.py").write_text(LOADING)
    command = [sys.executable, str(tmp_path / "loading.py"), str(corpus), str(tmp_path / "cache")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as trainer:
        line = trainer.stdout.readline()
        trainer.kill()
    loader = int(line)
    if not ended(loader, seconds=30):
        os.kill(loader, signal.SIGKILL)
        pytest.fail("the loader is still there")


def with_silence_around(data, seconds):
    """The same examples, each between two digital silences."""
    silence = np.zeros(int(seconds * RATE), np.int16)
    other = data.subset(lambda example: True)
    other.cache = [np.concatenate([silence, data.cache[i], silence]) for i in range(len(data.clips))]
    other.examples = [dataclasses.replace(e, seconds=e.seconds + 2 * seconds) for e in data.examples]
    return other


def test_digital_silence_is_cut_as_the_recogniser_cuts_it(data):
    whole, quiet = with_silence_around(data, 0.4), np.full(RATE, 1, np.int16)
    for number in range(len(data.clips)):
        np.testing.assert_array_equal(trim_silence(whole.cache[number], RATE), trim_silence(data.cache[number], RATE))
        (window,) = windows_of(whole.cache[number].astype("float32") / 32768, RATE, 640)
        np.testing.assert_array_equal(trim_silence(whole.cache[number], RATE),
                                      whole.cache[number][window.start : window.end])  # fmt: skip
    assert trim_silence(quiet, RATE) is quiet


def test_training_and_evaluation_trim_the_silence_around_clips(data):
    whole = with_silence_around(data, 0.4)
    wanted = sorted(len(trim_silence(data.cache[e.number], RATE)) for e in data.examples)
    batching = dataclasses.replace(BATCHING, bucket_seconds=(4.0,), batch_clips=10)
    x, _ = TrainingBatches(whole, batching, NO_AUGMENTATION).batch(0)
    ((inputs, _),) = evaluation_batches(whole, batching)
    assert sorted(x["lengths"]) == sorted(inputs["lengths"]) == wanted
    x, _ = TrainingBatches(whole, batching, NO_AUGMENTATION, steps_of=lambda samples: samples // 16_000 * 16).batch(0)
    assert min(x["lengths"]) >= RATE, "what a text needs for its steps stays"


def test_evaluation_has_every_clip_once_trimmed_as_at_inference(data):
    seen = []
    for inputs, examples in evaluation_batches(data, BATCHING):
        for row, example in enumerate(examples):
            length = inputs["lengths"][row]
            trimmed = trim_silence(data.cache[example.number], RATE)
            np.testing.assert_array_equal(inputs["samples"][row][:length], trimmed)
            seen.append(example.number)
    assert sorted(seen) == [example.number for example in data.examples]


def test_a_batch_holds_the_phones_of_the_texts_that_the_dictionary_knows(corpus, tmp_path):
    texts = [clip.text for clip in read_manifest(corpus)]

    def pronunciations(text):
        return None if text == texts[0] else [1, 2, 2] if text == texts[1] else list(range(1, 39))

    data = SpeechData(read_manifest(corpus), tmp_path, Vocabulary(), RATE, pronunciations=pronunciations)
    batches = TrainingBatches(data, BATCHING, NO_AUGMENTATION, steps_of=lambda samples: samples * 50 // RATE)
    seen = {}
    for step in range(batches.steps_per_pass):
        _, y = batches.batch(step)
        for row, count in enumerate(y["phone_lengths"]):
            text = data.vocabulary.decode(y["labels"][row][: y["label_lengths"][row]])
            seen[text] = y["phones"][row][:count].tolist()
    assert seen[texts[0]] == [] and seen[texts[1]] == [1, 2, 2]
    assert [] in [seen[text] for text in texts[2:]]  # 38 phones want 39 steps and more: no second of audio has them
