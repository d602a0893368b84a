"""Changes on the device do to a batch what those of the host do to a clip."""

import dataclasses
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from asr_core.text.vocabulary import Vocabulary
from tests.train.data.test_augmentation import RATE, loudest_hertz, tone
from tests.train.fit.test_trainer import TINY
from train.data import augmentation as host
from train.data.augmentation import NO_AUGMENTATION, Augmentation, change_speed
from train.data.batches import Batching, TrainingBatches
from train.data.device_augmentation import DeviceAugmentation, change_speeds, raw_size, telephone
from train.data.examples import load_data
from train.fit.trainer import Trainer

SPEEDS = (0.85, 1.0, 1.15)


def changed(x, lengths=None, speeds=None, seed=0, **ranges):
    """A batch [clips, n] after the changes that `ranges` switch on, and its lengths."""
    layer = DeviceAugmentation(dataclasses.replace(NO_AUGMENTATION, **ranges), RATE, seed)
    lengths = np.full(len(x), x.shape[1]) if lengths is None else np.array(lengths)
    speeds = np.ones(len(x)) if speeds is None else np.array(speeds)
    x, lengths = layer(x.astype("float32"), lengths.astype("int32"), speeds.astype("float32"))
    return ops.convert_to_numpy(x), ops.convert_to_numpy(lengths)


def voices(count=64, seconds=1.0, level=0.3):
    """Noise in bursts: float32 [count, n]."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((count, int(seconds * RATE))) * (0.2 + np.abs(np.sin(np.arange(int(seconds * RATE)) / 900)))
    return (level * x / np.abs(x).max(axis=1, keepdims=True)).astype("float32")


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def precision(request):
    """The precision of the network, which is not that of the samples."""
    keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_dtype_policy("float32")


def test_with_everything_off_a_batch_is_unchanged(precision):
    x = voices(3)
    x[1, 9000:] = 0
    got, lengths = changed(x, [RATE, 9000, RATE])
    np.testing.assert_allclose(got, x, atol=1e-5)
    assert lengths.tolist() == [RATE, 9000, RATE]


def test_speed_moves_pitch_and_length_as_the_resampler_of_the_host_does():
    clip = (0.5 * (tone(440) + 0.3 * tone(1500))).astype("float32")
    batch = np.zeros((3, raw_size(20_000, Augmentation(speeds=SPEEDS))), np.float32)
    batch[:, :RATE] = clip
    got, lengths = map(ops.convert_to_numpy, change_speeds(batch, np.full(3, RATE, np.int32), np.float32(SPEEDS), 1.15))
    assert got.shape == (3, 20_000)
    for row, length, speed in zip(got, lengths, SPEEDS, strict=True):
        assert length == int(RATE / speed) and not row[length:].any()
        assert loudest_hertz(row[:length]) == pytest.approx(440 * speed, abs=1.5)
        wanted = change_speed(np.round(clip * 32767).astype(np.int16), speed)[:length] / 32767
        inner = slice(200, length - 200)
        assert np.abs(row[:length][inner] - wanted[inner]).max() < 0.02


def test_a_faster_clip_has_no_aliases():
    x = np.stack([tone(7500)])
    got, _ = map(ops.convert_to_numpy, change_speeds(x, np.array([RATE]), np.float32([1.15]), 1.15))
    assert np.std(got[0, 200:-200]) < 0.25 * np.std(x)


def test_long_clips_are_read_at_the_right_place_to_their_end():
    x = np.stack([tone(300, 20.0)])
    got, lengths = map(ops.convert_to_numpy, change_speeds(x, np.array([len(x[0])]), np.float32([1.05]), 1.15))
    places = np.arange(lengths[0])[:-100]
    np.testing.assert_allclose(got[0, : len(places)][100:], np.sin(2 * np.pi * 315 * places / RATE)[100:], atol=5e-3)


@pytest.mark.parametrize("change", ["noise", "babble"])
def test_disturbances_have_the_ratio_that_is_asked_for(change):
    x = voices()
    x[:, 12_000:] = 0
    got, _ = changed(x, np.full(64, 12_000), **{change: 1.0, f"{change}_snr": (10.0, 20.0)})
    assert not got[:, 12_000:].any(), "padding stays silent"
    ratio = 10 * np.log10(np.square(x).sum(axis=1) / np.square(got - x).sum(axis=1))
    assert 9.9 < ratio.min() < 12 and 18 < ratio.max() < 20.1 and ratio.std() > 2


def test_noise_has_the_colours_of_the_host():
    x = voices(400)
    got, _ = changed(x, noise=1.0, noise_snr=(20.0, 20.0))
    rng = np.random.default_rng(0)
    wanted = np.stack([host.synthetic_noise(RATE, RATE, rng) for _ in range(400)])

    def low_share(noise):  # quantiles of the share of power below 1 kHz
        power = np.square(np.abs(np.fft.rfft(noise)))
        return np.quantile(power[:, :1000].sum(axis=1) / power.sum(axis=1), (0.1, 0.25, 0.5, 0.75))

    np.testing.assert_allclose(low_share(got - x), low_share(wanted), atol=0.08)


def test_rooms_decay_as_those_of_the_host():
    click = np.zeros((300, 2 * RATE), np.float32)
    click[:, 1000] = 0.5
    got, _ = changed(click, room=1.0)
    rng = np.random.default_rng(0)
    wanted = np.stack([host.reverberate(row, RATE, rng) for row in click])
    assert not np.abs(got[:, :1000]).max() > 1e-4, "no echo comes before its sound"

    def direct_to_reverberant(x):
        return 10 * np.log10(np.square(x[:, 1000]) / np.square(x[:, 1032:]).sum(axis=1))

    def early(x):
        return np.square(x[:, 1032:2600]).sum(axis=1) / np.square(x[:, 1032:]).sum(axis=1)

    for statistic, tolerance in ((direct_to_reverberant, 1.0), (early, 0.06)):
        quantiles = [np.quantile(statistic(x), (0.1, 0.5, 0.9)) for x in (got, wanted)]
        np.testing.assert_allclose(*quantiles, atol=tolerance)


def test_a_telephone_keeps_what_is_below_3_khz_and_nothing_above_4():
    x = np.stack([tone(1000), tone(5000)])
    low, high = ops.convert_to_numpy(telephone(x, RATE))
    np.testing.assert_allclose(low, x[0], atol=1e-3)
    assert np.abs(high).max() < 1e-3


def test_levels_and_clipping_are_those_that_are_asked_for():
    x = voices()
    quiet, _ = changed(x, gain=1.0, gain_dbfs=(-40.0, -20.0))
    peaks = 20 * np.log10(np.abs(quiet).max(axis=1))
    assert -40.1 < peaks.min() < -36 and -24 < peaks.max() < -19.9
    driven, _ = changed(x, clipping=1.0, clipping_db=(6.0, 12.0))
    assert np.abs(driven).max() == pytest.approx(1.0) and (np.abs(driven) > 0.999).mean() > 0.001


def test_each_change_meets_its_share_of_the_clips():
    x = voices(1000, 0.1)
    got, _ = changed(x, noise=0.25)
    assert (np.abs(got - x).max(axis=1) > 1e-4).mean() == pytest.approx(0.25, abs=0.05)


def test_batches_for_the_device_have_clips_at_their_own_speed(corpus, tmp_path):
    data = load_data([corpus], tmp_path / "cache", Vocabulary(), RATE)
    changes = dataclasses.replace(NO_AUGMENTATION, speeds=SPEEDS)
    batching = Batching(bucket_seconds=(2.2,), batch_seconds=6.0, short_first_passes=0)
    for_host, for_device = (TrainingBatches(data, batching, changes, on_device=where) for where in (False, True))
    layer = DeviceAugmentation(changes, RATE)
    for step in range(for_host.steps_per_pass):
        (x, y), (raw, raw_y) = for_host.batch(step), for_device.batch(step)
        np.testing.assert_array_equal(y["labels"], raw_y["labels"])
        samples, lengths = layer(raw["samples"] / np.float32(32768), raw["lengths"], raw["speeds"])
        assert samples.shape == x["samples"].shape
        np.testing.assert_allclose(lengths, x["lengths"], atol=2)
        np.testing.assert_allclose(samples[:, 300:5000], x["samples"][:, 300:5000] / 32768, atol=0.03)


ALL = Augmentation(speeds=SPEEDS, noise=0.5, babble=0.5, room=0.5, band=0.5, gain=0.5, clipping=0.5)


def train_with_changes_on_the_device(corpus, folder) -> list[float]:
    """The losses of a short run."""
    data = load_data([corpus], folder / "cache", Vocabulary(), RATE)
    batching = dataclasses.replace(TINY.batching, bucket_seconds=(1.1, 2.2))
    preset = dataclasses.replace(TINY, augmentation=ALL, batching=batching)
    run = Trainer(preset, data, None, folder / "run", compiled=False, device_augmentation=True)
    losses, step = [], run.training.step
    run.training.step = lambda *batch: losses.append(float(step(*batch))) or losses[-1]
    run.fit()
    assert int(run.optimizer.skipped) == 0
    return losses


def test_a_run_alters_its_clips_on_the_device(corpus, tmp_path):
    losses = train_with_changes_on_the_device(corpus, tmp_path)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_the_same_on_jax(corpus, tmp_path):
    pytest.importorskip("jax")
    code = (
        "import sys; from pathlib import Path; from tests.train.data.test_device_augmentation import *;"
        "losses = train_with_changes_on_the_device(sys.argv[1], Path(sys.argv[2]));"
        "assert losses[-1] < losses[0], losses"
    )
    line = [sys.executable, "-c", code, str(corpus), str(tmp_path)]
    done = subprocess.run(line, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
