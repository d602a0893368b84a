"""A bundle's network as one TensorFlow graph, feature extraction included: samples -> log-probabilities."""

from dataclasses import dataclass

import numpy as np

from asr_core.bundle.bundle import Bundle
from asr_core.errors import AsrError
from asr_core.inference.backend import import_tensorflow


@dataclass(frozen=True)
class FrameGeometry:
    """How samples become feature frames, and frames output steps.

    Attributes:
        frame_samples: length of a frame.
        hop_samples: from one frame to the next.
        subsampling: frames per output step.
        steps_per_phone_step: output steps for each step of the phone output, if the network has one.
    """

    frame_samples: int
    hop_samples: int
    subsampling: int
    steps_per_phone_step: int = 1

    @property
    def step_samples(self) -> int:
        return self.hop_samples * self.subsampling

    def steps(self, samples: int) -> int:
        """Output steps of a recording with this many samples; at least one."""
        frames = max((samples - self.frame_samples) // self.hop_samples + 1, 1)
        return -(-frames // self.subsampling)


class CompiledModel:
    """A bundle's network, compiled in this process. Building it takes seconds, and the first call some more.

    Raises:
        BundleError: the bundle's weights do not fit its network.
    """

    def __init__(self, bundle: Bundle):
        import_tensorflow()
        model, featurizer = bundle.build(), bundle.featurizer()
        phones = bundle.phones > 0
        ratio = model.upsample if phones else 1
        self.geometry = FrameGeometry(featurizer.frame_samples, featurizer.hop_samples, model.subsampling, ratio)
        self.compiled = compiled_graph(featurizer, model, phones=phones)

    def __call__(self, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Runs a batch; arguments and outputs as those of `compiled_graph`, but NumPy arrays."""
        return [output.numpy() for output in self.compiled(samples, lengths)]


def compiled_graph(featurizer, model, samples: int | None = None, phones: bool = False):
    """Samples to log-probabilities in one TensorFlow graph, feature extraction included.

    One graph serves every length, so that nothing is padded to the next of several fixed lengths and nothing compiled
    for each of them. The blocks of a Conformer share one function that takes their weights as arguments, and is traced
    once instead of once a block. TensorFlow's graph optimiser is switched off for the whole process, because it takes
    longer than it saves.

    Args:
        featurizer, model: of a bundle.
        samples: fixes the graph to one clip of this length, for runtimes without dynamic shapes.
        phones: whether the outputs include the phone head of a Conformer.

    Returns:
        tf.function: samples float32 [batch, samples], lengths int32 [batch] -> log-probabilities float32
        [batch, steps, tokens]; with `phones`, those of the phones at their own rate, float16 [batch, phone steps,
        phones]; and the valid steps of the tokens, int32 [batch].

    Raises:
        AsrError: Keras runs on another backend.
    """
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise AsrError("Recognition runs on TensorFlow: set KERAS_BACKEND=tensorflow.")
    batch = None if samples is None else 1
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    shared = samples is None and hasattr(model, "blocks")  # LiteRT confuses several calls of one function
    network_outputs = (_with_shared_block if shared else _without_phones)(model)

    @tf.function(
        input_signature=[
            tf.TensorSpec([batch, samples], tf.float32, name="samples"),
            tf.TensorSpec([batch], tf.int32, name="lengths"),
        ],
        autograph=False,
    )
    def graph(samples, lengths):
        # Zeros for one more frame: even the shortest clip then fills a frame, and the last frame of the longest clip
        # of a batch ends in zeros as those of the others do.
        samples = tf.pad(samples, [[0, 0], [0, featurizer.frame_samples]])
        features, frames = featurizer(samples, lengths)
        logits, phone_logits = network_outputs(features, frames)
        log_probs, steps = tf.nn.log_softmax(tf.cast(logits, tf.float32)), model.output_lengths(frames)
        if not phones:
            return log_probs, steps
        phone_log_probs = tf.cast(tf.nn.log_softmax(tf.cast(phone_logits, tf.float32)), tf.float16)
        return log_probs, phone_log_probs, steps

    return graph


def _without_phones(model):
    """(features, lengths) -> logits of a network without a phone head, and None."""
    return lambda features, lengths: (model(features, lengths, training=False), None)


def _with_shared_block(model):
    """(features, lengths) -> logits of a Conformer and of its phone head, all blocks run by the graph of the first."""
    import tensorflow as tf

    first = model.blocks[0]

    @tf.function(autograph=False)
    def block_of(weights, state, *inputs):
        return first.stateless_call(weights, state, *inputs)[0]

    def run(block, *inputs):
        values = ([v.value for v in part] for part in (block.trainable_variables, block.non_trainable_variables))
        return block_of(*values, *inputs)

    return lambda features, lengths: model.logits(features, lengths, run=run)
