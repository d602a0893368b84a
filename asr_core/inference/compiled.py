"""A model of a bundle as one TensorFlow graph: samples -> log-probabilities, feature extraction included."""

from dataclasses import dataclass

import numpy as np

from asr_core.bundle.bundle import Bundle
from asr_core.errors import AsrError
from asr_core.inference.backend import import_tensorflow


@dataclass(frozen=True)
class FrameGeometry:
    """How a model cuts sound, in samples and feature frames."""

    frame_samples: int
    hop_samples: int
    subsampling: int  # frames to a step

    @property
    def step_samples(self) -> int:
        return self.hop_samples * self.subsampling

    def steps(self, samples: int) -> int:
        """Steps that so many samples give; at least one."""
        frames = max((samples - self.frame_samples) // self.hop_samples + 1, 1)
        return -(-frames // self.subsampling)


class CompiledModel:
    """A bundle's network, compiled, in this process. Building it takes seconds, the first call some more.

    Raises:
        BundleError: the bundle's weights are not those of its network.
    """

    def __init__(self, bundle: Bundle):
        import_tensorflow()
        model, featurizer = bundle.build(), bundle.featurizer()
        self.geometry = FrameGeometry(featurizer.frame_samples, featurizer.hop_samples, model.subsampling)
        self.compiled = compiled_step(featurizer, model, phones=bundle.phones > 0)

    def __call__(self, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """As `compiled_step` has it, in NumPy's arrays."""
        return [output.numpy() for output in self.compiled(samples, lengths)]


def compiled_step(featurizer, model, samples: int | None = None, phones: bool = False):
    """Sound to log-probabilities in one graph of TensorFlow, features included.

    The blocks of a Conformer are one function with their weights as arguments, traced once: the graph is there in a
    third of the time. TensorFlow's own rewriting of graphs is switched off for the whole process: it takes longer than
    it saves (8.3 s of processor from the network to the first words without both, 2.7 with; then 0.1 for 10 s either
    way). One graph serves every length. Measured on 2 cores with a Conformer of 8.8 M parameters, it is a tenth
    slower than graphs of fixed lengths, but nothing is padded to the next of those, and 5 s compile it where
    each of them takes 3; XLA takes 6 for each and runs no faster.

    Args:
        featurizer, model: of a bundle.
        samples: fixes the graph to one clip of this length, for runtimes that can do no other.
        phones: whether to tell what the inner head of a Conformer says, too.

    Returns:
        tf.function: samples float32 [batch, samples], lengths int32 [batch] -> log-probabilities float32
        [batch, steps, tokens], with `phones` those of `asr_core.emissions.Emissions.phones`, float16 [batch, steps,
        phones], and the valid ones among the steps, int32 [batch].
    """
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise AsrError("Recognition runs on TensorFlow: set KERAS_BACKEND=tensorflow.")
    batch = None if samples is None else 1
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    shared = samples is None and hasattr(model, "blocks")  # LiteRT mixes up the calls of one graph
    network_outputs = (_with_one_block if shared else _as_it_is)(model)

    @tf.function(
        input_signature=[
            tf.TensorSpec([batch, samples], tf.float32, name="samples"),
            tf.TensorSpec([batch], tf.int32, name="lengths"),
        ],
        autograph=False,
    )
    def step(samples, lengths):
        # Room for one frame more: even the shortest clip has one, and the last frame of the longest clip of a
        # batch ends in zeros as those of the others do.
        samples = tf.pad(samples, [[0, 0], [0, featurizer.frame_samples]])
        features, frames = featurizer(samples, lengths)
        logits, sounds = network_outputs(features, frames)
        log_probs, steps = tf.nn.log_softmax(tf.cast(logits, tf.float32)), model.output_lengths(frames)
        if not phones:
            return log_probs, steps
        sounds = tf.cast(tf.nn.log_softmax(tf.cast(sounds, tf.float32)), tf.float16)
        return log_probs, tf.repeat(sounds, model.upsample, axis=1)[:, : tf.shape(log_probs)[1]], steps

    return step


def _as_it_is(model):
    """(features, lengths) -> logits of a network that names no phones, and None."""
    return lambda features, lengths: (model(features, lengths, training=False), None)


def _with_one_block(model):
    """(features, lengths) -> logits of a Conformer and of its phones, all blocks run by one graph of the first."""
    import tensorflow as tf

    first = model.blocks[0]

    @tf.function(autograph=False)
    def block_of(weights, state, *inputs):
        return first.stateless_call(weights, state, *inputs)[0]

    def run(block, *inputs):
        values = ([v.value for v in part] for part in (block.trainable_variables, block.non_trainable_variables))
        return block_of(*values, *inputs)

    return lambda features, lengths: model.logits(features, lengths, run=run)
