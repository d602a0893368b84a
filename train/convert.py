"""`python -m train.convert CHECKPOINT --out FOLDER`: a checkpoint of another program -> a bundle.

A folder or Hub repository in the format of transformers is read by `asr_core.bundle.load_bundle`; the bundle keeps its
card, licence and published error rates. Any other checkpoint is one of the Keras example.

The example is "Automatic Speech Recognition using CTC", as published for Keras 2 and for Keras 3. Only arrays are read:
no configuration is deserialised, nothing is unpickled, no code of the checkpoint runs. The bundle computes the same
log-probabilities as the example, except that the class of unknown characters, which the example prints as nothing,
counts as blank.
"""

import argparse
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asr_core.bundle.description import CONFIG
from asr_core.bundle.hub import REPOSITORY
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.errors import AsrError, BundleError, reason
from asr_core.text.vocabulary import EXAMPLE_CHARACTERS, Vocabulary
from train.options import DONE, FAILED, in_words, stoppable, whole

SAMPLE_RATE = 22_050  # Hz of LJSpeech, which the example never resamples
WEIGHTS_OF_KERAS_FILE = "model.weights.h5"  # member of a .keras file, which is a zip archive
MAX_BYTES = 2 << 30  # of a checkpoint; the example's own has 107 MB, 320 MB with the optimiser's state

KERAS_SUFFIXES = (".keras", ".h5")
BITS = (32, 16, 8)  # of each number in a matrix of a converted checkpoint
TAKEN_OVER = (  # fields of a checkpoint's description that its bundle keeps
    "name", "language", "training_data", "evaluation", "decoder", "featurizer", "sample_rate", "tokens",
)  # fmt: skip

# Weights of each kind of layer, in the order in which Keras numbers them.
CONVOLUTION = ("kernel",)
NORMALISATION = ("gamma", "beta", "moving_mean", "moving_variance")
GRU = ("kernel", "recurrent_kernel", "bias")
DENSE = ("kernel", "bias")


@stoppable
def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.convert", description=__doc__)
    parser.add_argument(
        "checkpoint",
        help="a folder or Hub repository (name/repo[@revision]) in the format of transformers; or, of the Keras "
        "example, .keras, .h5, .weights.h5, a TensorFlow checkpoint or a SavedModel",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the bundle to write")
    parser.add_argument("--licence", help="of the weights, for the model card, where the checkpoint does not say")
    theirs = parser.add_argument_group("checkpoints in the format of transformers")
    theirs.add_argument("--language", metavar="CODE", help="of a checkpoint that has several, such as deu")
    theirs.add_argument("--bits", type=int, choices=BITS, default=16, help="of a number in a matrix (default: 16)")
    example = parser.add_argument_group("checkpoints of the Keras example")
    example.add_argument("--characters", default=EXAMPLE_CHARACTERS, help="in the order of the StringLookup")
    rate = whole(1000, 384_000)
    example.add_argument("--sample-rate", type=rate, default=SAMPLE_RATE, metavar="HZ", help="of its training data")
    args = parser.parse_args(argv)
    try:
        if in_format_of_transformers(args.checkpoint):
            folder = convert_transformers(args.checkpoint, args.out, args.bits, args.language, args.licence)
        else:
            licence = args.licence or "unknown"
            folder = convert_example(args.checkpoint, args.out, args.characters, args.sample_rate, licence)
    except (AsrError, OSError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    print(f"{folder} is a bundle: python app.py --model {folder}")
    return DONE


def in_format_of_transformers(checkpoint: str) -> bool:
    """Whether this names a folder with a `config.json`, or nothing here and maybe a repository on the Hub."""
    path = Path(checkpoint)
    if path.exists() or path.with_name(path.name + ".index").is_file():
        return (path / CONFIG).is_file()
    return path.suffix not in KERAS_SUFFIXES and bool(REPOSITORY.fullmatch(checkpoint))


def convert_transformers(source: str, out, bits: int = 16, language: str | None = None, licence=None) -> Path:
    """Converts a checkpoint in the format of transformers to a bundle.

    Args:
        source, language: as `asr_core.bundle.loading.load_bundle` takes them.
        out: folder of the bundle.
        bits: as `asr_core.bundle.loading.save_bundle` takes them.
        licence: of the weights, if the checkpoint's card does not say.

    Returns:
        The bundle's folder.

    Raises:
        BundleError: it is not such a checkpoint, or one that does not run.
    """
    bundle = load_bundle(source, language)
    if bundle.checkpoint is None:
        raise BundleError(f"{bundle.name} is a bundle already: python app.py --model {source}.")
    origin = f"Converted from the checkpoint {bundle.name}: other names and layouts, {bits} bits a number."
    licence = bundle.licence or licence or "unknown"
    config = {field: bundle.config[field] for field in TAKEN_OVER if field in bundle.config}
    model = bundle.build()
    return save_bundle(
        out,
        model,
        {**config, "licence": licence, "description": origin},
        readme=_card(bundle.readme, origin),
        bits=bits,
        tagger=bundle.tagger_path,
    )


def _card(readme: str, origin: str) -> str:
    """The checkpoint's model card with a sentence in front of its text, which says where the weights are from."""
    front, closing, body = readme.partition("\n---\n")
    if readme.startswith("---") and closing:
        return f"{front}{closing}\n{origin}\n\n{body.lstrip()}"
    return f"{origin}\n\n{readme}"


def convert_example(checkpoint, out, characters=EXAMPLE_CHARACTERS, sample_rate=SAMPLE_RATE, licence="unknown") -> Path:
    """Converts a checkpoint of the Keras example to a bundle.

    Args:
        checkpoint: path of a whole model or of its weights.
        out: folder of the bundle.
        characters: the vocabulary of the example's StringLookup, which adds a class for unknown characters at its
            beginning; the network adds one more class.
        sample_rate: Hz of the recordings that the network was trained on.
        licence: of the weights.

    Returns:
        The bundle's folder.

    Raises:
        BundleError: the file is not a checkpoint of the example, or the characters or features differ.
    """
    from asr_core import models
    from asr_core.models.features import KerasStft

    weights = read_checkpoint(Path(checkpoint))
    vocabulary, featurizer = Vocabulary(characters), KerasStft(sample_rate)
    layers, units = _sizes(weights)
    weights |= _reorder_classes(weights, vocabulary)
    model = models.build(
        "deepspeech2", featurizer.bins, len(vocabulary), rnn_layers=layers, rnn_units=units, extra_blanks=1
    )
    for variable in model.weights:
        key = variable.path.removeprefix(model.name + "/")
        if key not in weights or weights[key].shape != tuple(variable.shape):
            found = weights[key].shape if key in weights else "missing"
            raise BundleError(
                f"This is not a checkpoint of the Keras example: {key} is {found}, not {tuple(variable.shape)}."
            )
        variable.assign(weights[key])
    config = {
        "name": Path(checkpoint).stem,
        "description": "Converted from the Keras example Automatic Speech Recognition using CTC.",
        "licence": licence,
        "featurizer": featurizer.config(),
        "sample_rate": sample_rate,
        "tokens": vocabulary.tokens,
    }
    return save_bundle(out, model, config, bits=32)


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Reads the weights of a network as float32, by their names in `asr_core.models.deepspeech2`.

    Raises:
        BundleError: the file is missing, damaged, too large, or in no format of Keras.
    """
    try:
        if path.is_dir():
            named = _tensorflow_weights(path / "variables" / "variables")
        elif path.with_name(path.name + ".index").is_file():
            named = _tensorflow_weights(path)
        elif not path.is_file():
            raise BundleError(f"There is no checkpoint {path}.")
        elif zipfile.is_zipfile(path):
            named = _hdf5_weights(_from_archive(path))
        else:
            named = _hdf5_weights(path)
        return {key: np.asarray(weight, "float32") for key, weight in named}
    except BundleError:
        raise
    except Exception as error:  # h5py, zipfile and TensorFlow raise many kinds for damaged files
        raise BundleError(f"{path.name} cannot be read as a checkpoint ({reason(error)}).") from error


def _from_archive(path: Path) -> io.BytesIO:
    with zipfile.ZipFile(path) as archive:
        if WEIGHTS_OF_KERAS_FILE not in archive.namelist():
            raise BundleError(f"{path.name} cannot be read as a checkpoint (it holds no {WEIGHTS_OF_KERAS_FILE}).")
        size = archive.getinfo(WEIGHTS_OF_KERAS_FILE).file_size
        _check_size(path.name, size)
        with archive.open(WEIGHTS_OF_KERAS_FILE) as file:
            return io.BytesIO(file.read(size))


def _hdf5_weights(file) -> Iterator[tuple[str, np.ndarray]]:
    import h5py

    found = {}
    with h5py.File(file, "r") as stored:
        stored.visititems(lambda name, item: found.update({name: item}))  # does not follow links
        for name, item in found.items():
            key = key_in_keras_file(name)
            if key is None or not isinstance(item, h5py.Dataset):
                continue
            if item.external or item.is_virtual:
                raise BundleError(f"The weight {key} lies in another file; this is not a checkpoint of Keras.")
            _check_size(key, item.size * item.dtype.itemsize)
            yield key, item[()]


def key_in_keras_file(name: str) -> str | None:
    """Maps the name of a dataset in an HDF5 file of Keras to our name of the weight; None if it is not a weight.

    Whole models and weights of Keras 2 use the names of the example's layers. `.keras` files and weights of Keras 3
    number the layers of each class instead.
    """
    name = name.replace("\\", "/").replace("_layer_checkpoint_dependencies/", "layers/")
    name = name.removeprefix("model_weights/").removesuffix(":0")
    if match := re.fullmatch(r"(conv_[12])/(?:.*/)?kernel", name):
        return f"{match[1]}/kernel"
    if match := re.fullmatch(rf"(conv_[12]_bn)/(?:.*/)?({'|'.join(NORMALISATION)})", name):
        return f"{match[1]}/{match[2]}"
    if match := re.fullmatch(r"bidirectional_(\d+)/.*?(forward|backward)_.*/(\w+)", name):
        return f"bidirectional_{match[1]}/{match[2]}/gru_cell/{match[3]}"
    if match := re.fullmatch(r"dense((?:_\d+)?)/(?:.*/)?(kernel|bias)", name):
        return f"{'dense_1' if match[1] == '_1' else 'classifier'}/{match[2]}"
    return _key_by_number(name)


def _key_by_number(name: str) -> str | None:
    """Our name of a weight whose name has the class and the number of its layer; None for other names."""
    match = re.fullmatch(
        r"layers/(conv2d|batch_normalization|bidirectional|dense)(?:_(\d+))?"
        r"(?:/(forward|backward)_layer/cell)?/vars/(\d)",
        name,
    )
    if not match:
        return None
    kind, number, part = match[1], int(match[2] or 0) + 1, int(match[4])
    if kind == "conv2d":
        return f"conv_{number}/{CONVOLUTION[part]}"
    if kind == "batch_normalization":
        return f"conv_{number}_bn/{NORMALISATION[part]}"
    if kind == "bidirectional":
        return f"bidirectional_{number}/{match[3]}/gru_cell/{GRU[part]}"
    return f"{('dense_1', 'classifier')[number - 1]}/{DENSE[part]}"


def _tensorflow_weights(prefix: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Weights of a TensorFlow checkpoint or a SavedModel. A SavedModel stores the weights of all GRUs in one list."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    shapes = {
        name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): shape
        for name, shape in reader.get_variable_to_shape_map().items()
    }
    layers = {int(match[1]) for match in map(re.compile(r"layer_with_weights-(\d+)/").match, shapes) if match}
    for name, shape in shapes.items():
        key = _key_in_tensorflow(name, last=max(layers, default=0))
        if key is not None:
            _check_size(key, 4 * int(np.prod(shape)))
            yield key, reader.get_tensor(name + "/.ATTRIBUTES/VARIABLE_VALUE")


def _key_in_tensorflow(name: str, last: int) -> str | None:
    """Our name of a weight; `last` is the number of the classifier among the layers with weights."""
    if match := re.fullmatch(r"variables/(\d+)", name):
        gru, part = divmod(int(match[1]) - 10, 6)  # the first ten are the convolutions' and normalisations'
        return f"bidirectional_{gru + 1}/{('forward', 'backward')[part // 3]}/gru_cell/{GRU[part % 3]}"
    match = re.fullmatch(r"layer_with_weights-(\d+)/(?:(forward|backward)_layer/cell/)?(\w+)", name)
    if not match:
        return None
    number = int(match[1])
    if match[2]:
        return f"bidirectional_{number - 3}/{match[2]}/gru_cell/{match[3]}"
    first = ("conv_1", "conv_1_bn", "conv_2", "conv_2_bn")
    layer = first[number] if number < 4 else {last: "classifier", last - 1: "dense_1"}.get(number)
    return f"{layer}/{match[3]}" if layer else None


def _reorder_classes(weights: dict, vocabulary: Vocabulary) -> dict:
    """Permutes the classes of the classifier: blank comes first, the class of unknown characters last.

    The example of 2021 has the unknown class first and blank last. That of 2026 trains its first class as blank and
    does not use the last. Neither class is ever printed, so the network adds their probabilities (`extra_blanks`).
    """
    classes = len(vocabulary) + 1
    found = len(weights.get("classifier/bias", ()))
    if found != classes:
        raise BundleError(
            f"The checkpoint has {found} classes, and {len(vocabulary.characters)} characters make {classes} "
            "with unknown and blank: give its --characters."
        )
    order = [classes - 1, *range(1, classes - 1), 0]
    return {key: weights[key][..., order] for key in ("classifier/kernel", "classifier/bias") if key in weights}


def _sizes(weights: dict) -> tuple[int, int]:
    """(number of recurrent layers, units in each direction)."""
    layers = len({key.split("/")[0] for key in weights if key.startswith("bidirectional")})
    kernel = weights.get("bidirectional_1/forward/gru_cell/recurrent_kernel")
    if kernel is None:
        raise BundleError("This is not a checkpoint of the Keras example: it has no bidirectional GRU.")
    return layers, kernel.shape[0]


def _check_size(name: str, size: int) -> None:
    """Raises BundleError if a part of a checkpoint has more than MAX_BYTES, before it is read."""
    if size > MAX_BYTES:
        raise BundleError(f"{name} has {size:,} bytes; a checkpoint of the example stays below {MAX_BYTES:,}.")


if __name__ == "__main__":
    sys.exit(main())
