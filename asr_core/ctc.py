"""What CTC is: the loss, the collapse of a path, and forced alignment.

A CTC network says at every step one token of the alphabet or *blank*. A path of T tokens stands for the text
that is left when repeats are merged and blanks are dropped (Graves et al., 2006, "Connectionist Temporal
Classification"). The loss is minus the logarithm of the summed probability of all paths that collapse to the
label.
"""

from keras import ops

BLANK = 0  # the token of "nothing new"; the vocabulary lists the rest from 1


def ctc_loss(labels, label_lengths, logits, logit_lengths):
    """Negative log-likelihood of each label under its logits.

    Args:
        labels: int32 [batch, label], tokens from 1, padded with anything.
        label_lengths: int32 [batch], true lengths.
        logits: float [batch, steps, tokens], unnormalised; token 0 is blank.
        logit_lengths: int32 [batch], true numbers of steps.

    Returns:
        float32 [batch], in nats.
    """
    return ops.ctc_loss(labels, ops.cast(logits, "float32"), label_lengths, logit_lengths, mask_index=BLANK)
