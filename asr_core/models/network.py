"""What the networks with two outputs share: logits of tokens, and of phones where a network predicts them."""

import keras


class CtcNetwork(keras.Model):
    """Base of the encoders with a CTC head.

    A network has `sizes`, the arguments of its constructor, and `logits(features, lengths, training, run)`, which
    returns the logits of tokens and those of phones, or None.
    """

    sizes: dict

    def call(self, features, lengths, training=False):
        """Logits of a batch.

        Args:
            features: [batch, frames, bins] of the network's front end, zero in the padding.
            lengths: int32 [batch], valid frames; samples, for a network over the waveform.

        Returns:
            Logits [batch, steps, tokens], of which the first `output_lengths(lengths)` steps are valid.
        """
        return self.logits(features, lengths, training)[0]

    def get_config(self):
        return {**self.sizes, "name": self.name}
