"""Warm start: the weights of a trained network as the initial weights of a deeper one.

A deeper network learns more from every clip and costs more per clip. Started from a smaller trained network, it does
not repeat what the smaller one has learned already.
"""

from keras import ops

# The last matrix of every residual branch of a block. With zeros in all of them a block is the identity.
BRANCH_OUTPUTS = ("feed_forward_in/narrow/", "attention/merge/", "convolution/project/", "feed_forward_out/narrow/")

# Layers of the phone head. The conditioning on phones has zero weights initially (see `asr_core.models.conformer`).
PHONE_LAYERS = ("normalise_phones", "phones_head", "hear_phones")


def warm_start(network, smaller) -> None:
    """Sets the weights of `network` so that it has the same logits as `smaller`.

    A Conformer may have more blocks than `smaller`. The blocks of each rate are spread evenly over those of `network`,
    and every block is followed by copies of itself whose branches end in zero matrices (after Wu et al., 2024, arXiv
    2401.02415). A copy is the identity at first, and its other matrices are trained already. If `smaller` has no phone
    head, that of `network` keeps its initial weights.

    Raises:
        ValueError: the networks differ in more than that, or `network` has fewer blocks.
    """
    values = {variable.path: ops.convert_to_numpy(variable) for variable in smaller.weights}
    origins = _origins(network, smaller)
    initial, used = [], set()
    fresh = () if hasattr(smaller, "phones_head") else PHONE_LAYERS
    if not fresh and hasattr(network, "phones_head"):
        here, next_ = (origins[f"block_{network.sizes['phones_block'] + i}"][0] for i in (0, 1))
        if not here == f"block_{smaller.sizes['phones_block']}" != next_:
            raise ValueError("the head for phones is after another block")
    for variable in network.weights:
        model, layer, rest = variable.path.split("/", 2)
        if layer in fresh:
            initial.append(ops.convert_to_numpy(variable))
            continue
        origin, copied = origins.get(layer, (layer, False))
        path = f"{model}/{origin}/{rest}"
        value = values.get(path)
        if value is None or value.shape != tuple(variable.shape):
            raise ValueError(f"no weights of shape {tuple(variable.shape)} for {variable.path}")
        initial.append(value * 0 if copied and rest.startswith(BRANCH_OUTPUTS) else value)
        used.add(path)
    if used != values.keys():
        raise ValueError(f"no place for {min(values.keys() - used)}")
    network.set_weights(initial)


def _origins(network, smaller) -> dict[str, tuple[str, bool]]:
    """Block of `network` -> the block of `smaller` with its weights, and whether an earlier block has the same."""
    if not hasattr(network, "outer_blocks") or not hasattr(smaller, "outer_blocks"):
        return {}
    few_outer, many_outer = smaller.outer_blocks, network.outer_blocks
    few_inner, many_inner = len(smaller.blocks) - few_outer, len(network.blocks) - many_outer
    numbers = _spread(few_outer, many_outer) + [few_outer + i for i in _spread(few_inner, many_inner)]
    return {f"block_{i + 1}": (f"block_{number + 1}", number in numbers[:i]) for i, number in enumerate(numbers)}


def _spread(few: int, many: int) -> list[int]:
    """Distributes `few` origins evenly over `many` places: 2 over 5 gives 0, 0, 0, 1, 1."""
    return [i * few // many for i in range(many)]
