"""Every recipe, as data: what is trained, on what batches, for how long."""

from dataclasses import dataclass, field

from train.augment import NO_AUGMENTATION, Augmentation
from train.data import Batching


@dataclass(frozen=True)
class Preset:
    """A recipe.

    Attributes:
        architecture, sizes: of the network, for `asr_core.models.build`.
        featurizer: for `asr_core.featurizer.make_featurizer`.
        passes: over the data.
        peak: learning rate after the warm-up.
        warm_up: steps until then.
        decay: share of the run over which the learning rate falls at its end.
        weight_decay, clip_norm, average: of the optimiser.
        intermediate_weight: share of the loss at the intermediate heads.
        spec_augment: arguments of `train.augment.SpecAugment`, or None.
    """

    architecture: str
    sizes: dict = field(default_factory=dict)
    featurizer: dict = field(default_factory=lambda: {"name": "log-mel"})
    passes: int = 50
    peak: float = 1e-3
    warm_up: int = 1000
    decay: float = 0.4
    weight_decay: float = 0.01
    clip_norm: float = 2.0
    average: float = 0.999
    intermediate_weight: float = 0.3
    batching: Batching = Batching()
    augmentation: Augmentation = NO_AUGMENTATION
    spec_augment: dict | None = None


PRESETS = {
    "conformer-small": Preset(
        architecture="conformer",
        sizes={
            "width": 192, "blocks": 8, "heads": 4, "kernel": 15, "outer_blocks": 1, "reduction": 2,
            "channels": 24, "dropout": 0.0, "intermediate": [4],
        },
        passes=12,
        peak=1.5e-3,
        batching=Batching(batch_seconds=64.0, bucket_seconds=(3.0, 4.0, 5.5, 7.5, 12.0)),
        augmentation=Augmentation(noise=0.2, babble=0.04, room=0.1, band=0.05, gain=0.1),
        spec_augment={"time_masks": 4, "time_fraction": 0.04, "frequency_masks": 2, "frequency_width": 12},
    ),
    "smoke": Preset(
        architecture="conformer",
        sizes={"width": 96, "blocks": 2, "heads": 4, "reduction": 1, "channels": 16, "dropout": 0.0},
        passes=150,
        peak=2e-3,
        warm_up=20,
        average=0.9,
        batching=Batching(batch_seconds=32.0, bucket_seconds=(4.0,), short_first_passes=0),
    ),
}  # fmt: skip
