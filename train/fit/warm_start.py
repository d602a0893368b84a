"""A trained network's weights as the beginning of a deeper one.

A deeper network learns more from every clip, and costs more for every clip. Begun as the smaller one that is
already trained, it need not pay that price for what the smaller one has learned.
"""

from keras import ops

ENDS = ("feed_forward_in/narrow/", "attention/merge/", "convolution/project/", "feed_forward_out/narrow/")

# A head for phones says nothing to the blocks behind it at first (see `asr_core.models.conformer`).
PHONE_LAYERS = ("normalise_phones", "phones_head", "hear_phones")


def warm_start(network, smaller) -> None:
    """Gives `network` the weights of `smaller`: both give the same logits.

    A Conformer may have more blocks than `smaller`. Those of each rate are spread over as many as there are now: a
    block is followed by its copies, whose parts end in weights of zero. Such a copy adds nothing at first, and need
    not find from nothing what to listen for (Wu et al., 2024, arXiv 2401.02415, grow transformers so). A head for
    phones that `smaller` does not have begins afresh.

    Raises:
        ValueError: they differ in more than that, or `network` has fewer blocks.
    """
    values = {variable.path: ops.convert_to_numpy(variable) for variable in smaller.weights}
    origins = _origins(network, smaller)
    begun, used = [], set()
    fresh = () if hasattr(smaller, "phones_head") else PHONE_LAYERS
    if not fresh and hasattr(network, "phones_head"):
        here, next_ = (origins[f"block_{network.sizes['phones_block'] + i}"][0] for i in (0, 1))
        if not here == f"block_{smaller.sizes['phones_block']}" != next_:
            raise ValueError("the head for phones reads behind another block")
    for variable in network.weights:
        model, layer, rest = variable.path.split("/", 2)
        if layer in fresh:
            begun.append(ops.convert_to_numpy(variable))
            continue
        origin, copied = origins.get(layer, (layer, False))
        path = f"{model}/{origin}/{rest}"
        value = values.get(path)
        if value is None or value.shape != tuple(variable.shape):
            raise ValueError(f"no weights of shape {tuple(variable.shape)} for {variable.path}")
        begun.append(value * 0 if copied and rest.startswith(ENDS) else value)
        used.add(path)
    if used != values.keys():
        raise ValueError(f"no place for {min(values.keys() - used)}")
    network.set_weights(begun)


def _origins(network, smaller) -> dict[str, tuple[str, bool]]:
    """Name of every block -> the name of that which it begins as, and whether an earlier block does so already."""
    if not hasattr(network, "outer_blocks") or not hasattr(smaller, "outer_blocks"):
        return {}
    before, first = smaller.outer_blocks, network.outer_blocks
    numbers = _spread(before, first) + [
        before + i for i in _spread(len(smaller.blocks) - before, len(network.blocks) - first)
    ]
    return {
        f"block_{i + 1}": (f"block_{number + 1}", number in numbers[:i]) for i, number in enumerate(numbers)
    }


def _spread(few: int, many: int) -> list[int]:
    """Which of a few each of many is: 2 over 5 gives 0, 0, 0, 1, 1."""
    return [i * few // many for i in range(many)]
