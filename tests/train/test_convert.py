"""Checkpoints of the Keras example, as every version of Keras has saved them, predict the same as their bundles."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file

from asr_core.audio.loading import Audio
from asr_core.bundle.loading import load_bundle
from asr_core.decoding.beam_search import DecoderOptions
from asr_core.errors import BundleError
from asr_core.recognizer import Recognizer
from asr_core.text.vocabulary import EXAMPLE_CHARACTERS
from train.convert import convert_example, key_in_keras_file, main, read_checkpoint
from ui import build, launch_options
from ui.service.engine import Engine

UNITS, LAYERS, BINS, CLASSES = 6, 2, 193, 32


def the_example(keras):
    """The example's `build_model`, for Keras 2 (`tf_keras`) or Keras 3, with weights as after training."""
    layers = keras.layers
    keras.backend.clear_session()  # a second "dense_1" would be one too many
    inputs = layers.Input((None, BINS), name="input")
    x = layers.Reshape((-1, BINS, 1), name="expand_dim")(inputs)
    for number, kernel, strides in ((1, [11, 41], [2, 2]), (2, [11, 21], [1, 2])):
        x = layers.Conv2D(
            filters=32,
            kernel_size=kernel,
            strides=strides,
            padding="same",
            use_bias=False,
            name=f"conv_{number}",
        )(x)
        x = layers.BatchNormalization(name=f"conv_{number}_bn")(x)
        x = layers.ReLU(name=f"conv_{number}_relu")(x)
    x = layers.Reshape((-1, x.shape[-2] * x.shape[-1]))(x)
    for i in range(1, LAYERS + 1):
        gru = layers.GRU(
            units=UNITS,
            activation="tanh",
            recurrent_activation="sigmoid",
            use_bias=True,
            return_sequences=True,
            reset_after=True,
            name=f"gru_{i}",
        )
        x = layers.Bidirectional(gru, name=f"bidirectional_{i}", merge_mode="concat")(x)
        if i < LAYERS:
            x = layers.Dropout(rate=0.5)(x)
    x = layers.Dense(units=2 * UNITS, name="dense_1")(x)
    x = layers.ReLU(name="dense_1_relu")(x)
    x = layers.Dropout(rate=0.5)(x)
    outputs = layers.Dense(units=CLASSES, activation="softmax")(x)
    model = keras.Model(inputs, outputs, name="DeepSpeech_2")
    rng = np.random.default_rng(4)
    model.set_weights([np.abs(rng.normal(0.5 / w.ndim, 0.2, w.shape)) for w in model.get_weights()])
    return model


def keras_version(number):
    """Keras 3, or Keras 2 where it is installed."""
    reason = (
        "Keras 2 is not installed: pip would bring a second TensorFlow over tensorflow-cpu with it. "
        "What it writes is read from recorded layouts; pip install --no-deps tf_keras to see it write"
    )
    return keras if number == 3 else pytest.importorskip("tf_keras", reason=reason)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        # Keras 2, weights and whole models; its GRU cells are numbered through the whole program
        ("conv_1/conv_1/kernel:0", "conv_1/kernel"),
        ("model_weights/conv_2_bn/conv_2_bn/moving_variance:0", "conv_2_bn/moving_variance"),
        (
            "bidirectional_1/bidirectional_1/forward_gru_1/gru_cell_16/kernel:0",
            "bidirectional_1/forward/gru_cell/kernel",
        ),
        (
            "model_weights/bidirectional_5/bidirectional_5/backward_gru_5/gru_cell/recurrent_kernel:0",
            "bidirectional_5/backward/gru_cell/recurrent_kernel",
        ),
        ("dense_1/dense_1/bias:0", "dense_1/bias"),
        ("dense_7/dense_7/bias:0", "classifier/bias"),
        # Keras 3, and the .keras files of Keras 2.13 on
        ("layers/conv2d_1/vars/0", "conv_2/kernel"),
        ("layers/batch_normalization/vars/3", "conv_1_bn/moving_variance"),
        ("layers/bidirectional/forward_layer/cell/vars/2", "bidirectional_1/forward/gru_cell/bias"),
        ("layers/bidirectional_4/backward_layer/cell/vars/0", "bidirectional_5/backward/gru_cell/kernel"),
        ("layers/dense/vars/0", "dense_1/kernel"),
        ("layers/dense_1/vars/1", "classifier/bias"),
        # the .keras files of Keras 2.12
        ("_layer_checkpoint_dependencies\\conv2d\\vars\\0", "conv_1/kernel"),
        # what is none of the network's
        ("optimizer_weights/adam/conv_1_kernel_momentum", None),
        ("optimizer_weights/Adam/m/conv_1/kernel:0", None),
        ("optimizer/vars/13", None),
        ("metrics/mean/vars/0", None),
    ],
)
def test_weights_are_found_under_the_names_of_every_version(name, key):
    assert key_in_keras_file(name) == key


def noise(seconds=1.3):
    samples = np.random.default_rng(1).normal(0, 0.1, round(seconds * 22_050))
    return Audio(samples.astype("float32"), 22_050)


def probabilities_of(model, audio):
    """Posteriors of the example for a recording, with its own feature extraction: [steps, 32]."""
    import tensorflow as tf

    spectrogram = tf.signal.stft(audio.samples, frame_length=256, frame_step=160, fft_length=384)
    spectrogram = tf.math.pow(tf.abs(spectrogram), 0.5)
    means = tf.math.reduce_mean(spectrogram, 1, keepdims=True)
    stddevs = tf.math.reduce_std(spectrogram, 1, keepdims=True)
    return model.predict(((spectrogram - means) / (stddevs + 1e-10))[None], verbose=0)[0]


SAVED = {
    "Keras 3, .keras": (3, "model.keras", "save"),
    "Keras 3, .h5": (3, "model.h5", "save"),
    "Keras 3, weights": (3, "model.weights.h5", "save_weights"),
    "Keras 2, .keras": (2, "model.keras", "save"),
    "Keras 2, .h5": (2, "model.h5", "save"),
    "Keras 2, weights": (2, "model.weights.h5", "save_weights"),
    "Keras 2, TensorFlow checkpoint": (2, "weights", "save_weights"),
}


def names():
    """Our names of the example's weights, in the order in which it has them."""
    for number in (1, 2):
        yield f"conv_{number}/kernel"
        yield from (f"conv_{number}_bn/{part}" for part in ("gamma", "beta", "moving_mean", "moving_variance"))
    for number in range(1, LAYERS + 1):
        for direction in ("forward", "backward"):
            gru = f"bidirectional_{number}/{direction}/gru_cell"
            yield from (f"{gru}/{part}" for part in ("kernel", "recurrent_kernel", "bias"))
    for layer in ("dense_1", "classifier"):
        yield from (f"{layer}/{part}" for part in ("kernel", "bias"))


def check_weights(path, example):
    read = read_checkpoint(path)
    assert read.keys() == set(names())
    for name, weight in zip(names(), example.get_weights(), strict=True):
        np.testing.assert_array_equal(read[name], weight, err_msg=name)


@pytest.mark.parametrize("case", SAVED)
def test_weights_are_read_from(case, tmp_path):
    version, name, save = SAVED[case]
    example = the_example(keras_version(version))
    getattr(example, save)(str(tmp_path / name))
    check_weights(tmp_path / name, example)


# Recorded from tf_keras 2.21, after a step of training: what a file calls each weight -> its place in
# `get_weights()`, or null for what is none of the network's.
KERAS_2 = json.loads(Path(__file__).with_name("keras_2_layouts.json").read_text())


@pytest.mark.parametrize("layout", KERAS_2)
def test_weights_are_read_from_what_keras_2_was_seen_to_write(layout, tmp_path):
    example = the_example(keras)
    weights = example.get_weights()
    stored = {name: np.full(3, 7.0) if i is None else weights[i] for name, i in KERAS_2[layout].items()}
    path = tmp_path / "model.h5"
    if layout == "TensorFlow checkpoint":
        write_tensorflow_checkpoint(path, stored)
    else:
        with h5py.File(path, "w") as file:
            for name, array in stored.items():
                file[name] = array
    if layout == ".keras":
        path = archived(path, tmp_path / "model.keras")
    check_weights(path, example)


def write_tensorflow_checkpoint(prefix, stored):
    import tensorflow as tf

    names, tensors = list(stored), list(stored.values())
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)


def archived(weights, path):
    """A `.keras` file of stored weights, with configurations that nobody can read."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Lambda", "config": {"function": "not read"}}')
        archive.writestr("metadata.json", "{")
        archive.write(weights, "model.weights.h5")
    return path


def test_weights_are_read_from_a_saved_model(tmp_path):
    """The format of the Hub's old Keras mixin. To save one takes Keras 2 20 s, so it is laid out here."""
    example = the_example(keras)
    places = []
    for number, layer in enumerate(layer for layer in example.layers if layer.weights):
        for weight in layer.weights:
            place = f"layer_with_weights-{number}/{weight.name}"
            places.append(f"variables/{len(places)}" if "gru" in weight.path else place)
    (tmp_path / "folder" / "variables").mkdir(parents=True)
    stored = {f"{place}/.ATTRIBUTES/VARIABLE_VALUE": w for place, w in zip(places, example.get_weights(), strict=True)}
    write_tensorflow_checkpoint(tmp_path / "folder" / "variables" / "variables", stored)
    check_weights(tmp_path / "folder", example)


def test_the_bundle_predicts_what_the_example_predicts(tmp_path):
    example = the_example(keras)
    example.save(tmp_path / "model.keras")
    recognizer = Recognizer(load_bundle(convert_example(tmp_path / "model.keras", tmp_path / "bundle")))
    expected = probabilities_of(example, noise())
    posteriors = np.exp(recognizer.emissions(noise()).log_probs)
    assert posteriors.shape == (len(expected), 31)
    np.testing.assert_allclose(posteriors[:, 1:], expected[:, 1:31], atol=1e-4)
    np.testing.assert_allclose(posteriors[:, 0], expected[:, 0] + expected[:, 31], atol=1e-4)
    assert posteriors[:, 1:].std() > 1e-3  # not all alike


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "speech.weights.h5"
    the_example(keras).save_weights(path)
    return path


def test_the_command_writes_a_bundle_that_transcribes_any_rate(checkpoint, tmp_path, capsys):
    assert main([str(checkpoint), "--out", str(tmp_path / "bundle"), "--licence", "MIT"]) == 0
    assert "python app.py --model" in capsys.readouterr().out
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.config["licence"] == "MIT"
    assert bundle.sample_rate == 22_050
    assert "".join(bundle.vocabulary.tokens) == EXAMPLE_CHARACTERS
    audio = Audio(np.random.default_rng(0).normal(0, 0.1, 16_000).clip(-1, 1).astype("float32"), 16_000)
    transcript = Recognizer(bundle).transcribe(audio)
    assert transcript.seconds == pytest.approx(1)


def test_the_app_runs_a_converted_checkpoint_on_sound_of_any_rate(checkpoint, tmp_path):
    engine = Engine(str(convert_example(checkpoint, tmp_path / "bundle"))).start()
    page = build(engine)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options(engine))
    try:
        app = Client(address, verbose=False)
        assert app.predict(api_name="/model")["sample_rate"] == 22_050
        for rate in (16_000, 44_100):
            path = tmp_path / f"{rate}.wav"
            soundfile.write(path, np.random.default_rng(rate).normal(0, 0.1, 2 * rate), rate)
            answer = app.predict(handle_file(str(path)), "greedy", 16, "", api_name="/transcribe")
            expected = engine.recognizer().transcribe(path, DecoderOptions(decoder="greedy"))
            assert (answer["seconds"], answer["text"], answer["model"]) == (2, expected.text, "bundle")
    finally:
        page.close()


def test_a_checkpoint_is_not_executed(checkpoint, tmp_path):
    """A Lambda layer in the configuration of a `.keras` file would run on deserialisation."""
    archived(checkpoint, tmp_path / "model.keras")
    convert_example(tmp_path / "model.keras", tmp_path / "bundle")
    code = "import sys, train.convert as c; c.read_checkpoint(c.Path(sys.argv[1])); "
    code += "sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, tmp_path / "model.keras"], check=True)


def other_features(stored):
    del stored["layers/conv2d/vars/0"]
    stored["layers/conv2d/vars/0"] = np.zeros((3, 3, 1, 32))


def external(stored):
    del stored["layers/dense/vars/0"]
    stored.create_dataset("layers/dense/vars/0", (12, 12), "f4", external=[("/etc/hostname", 0, 576)])


REFUSED = {
    "another network": (
        lambda f: f.move("layers/bidirectional", "layers/lstm"),
        "no bidirectional GRU|is missing",
    ),
    "a missing weight": (lambda f: f.__delitem__("layers/dense/vars/1"), "dense_1/bias is missing, not"),
    "other features": (other_features, r"conv_1/kernel is \(3, 3, 1, 32\), not \(11, 41, 1, 32\)"),
    "weights in other files": (external, "dense_1/kernel lies in another file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_checkpoint_is_refused_for(case, checkpoint, tmp_path):
    change, message = REFUSED[case]
    path = tmp_path / "changed.h5"
    path.write_bytes(checkpoint.read_bytes())
    with h5py.File(path, "a") as stored:
        change(stored)
    with pytest.raises(BundleError, match=message):
        convert_example(path, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_another_alphabet_is_asked_for(checkpoint, tmp_path):
    with pytest.raises(BundleError, match="has 32 classes, and 3 characters make 5 .*: give its --characters"):
        convert_example(checkpoint, tmp_path / "bundle", characters="abc")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n" + bytes(50)])
def test_damaged_files_are_refused_in_one_line(content, tmp_path, capsys):
    (tmp_path / "broken.h5").write_bytes(content)
    assert main([str(tmp_path / "broken.h5"), "--out", str(tmp_path / "bundle")]) == 1
    assert capsys.readouterr().err.startswith("broken.h5 cannot be read as a checkpoint (")
    assert main([str(tmp_path / "nothing.h5"), "--out", str(tmp_path / "bundle")]) == 1
    assert capsys.readouterr().err == f"There is no checkpoint {tmp_path / 'nothing.h5'}.\n"
