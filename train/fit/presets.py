"""Training recipes as data: network, batches, augmentation, optimiser and duration of a run.

- `conformer-5bit` trains the embedded model, on a GPU: `python -m train --preset conformer-5bit --precision
  mixed_bfloat16 --loaders 14`, with KERAS_BACKEND=jax.
- `conformer-cpu` continues with such a network on two CPU cores, as the embedded model did at its end: `--preset
  conformer-cpu --start MODEL --minutes 62`.
- `adapt` continues with any model on one person's recordings: `--preset adapt --start MODEL` (see
  `train.adaptation`).
- `keras-example` is the recipe of the Keras example "Automatic Speech Recognition using CTC": its network, features,
  optimiser, batch size and 90/10 split.
- `smoke` overfits a handful of clips within minutes on a CPU; it is also a test.

The runs and their results, and earlier recipes, are in train/LOG.md.
"""

from dataclasses import dataclass, field

from train.data.augmentation import NO_AUGMENTATION, Augmentation
from train.data.batches import Batching
from train.data.pronunciations import PHONES


@dataclass(frozen=True)
class Preset:
    """A training recipe.

    Attributes:
        name: value of `--preset` on the command line.
        architecture, sizes: arguments of `asr_core.models.build`; with architecture "" the network, its features and
            its vocabulary are those of the model that the run starts from.
        featurizer: argument of `asr_core.models.features.make_featurizer`.
        dereverberation: whether recordings are dereverberated before the trained network transcribes them (see
            `asr_core.audio.dereverberation`); training clips never are.
        passes: number of passes over the data.
        min_steps: training steps of a run at least; with little data there are more passes.
        peak: learning rate between warm-up and decay.
        warm_up: training steps of the linear warm-up.
        decay: share of the run, at its end, over which the learning rate falls.
        weight_decay, clip_norm, average: arguments of `train.fit.optimizer.SafeAdamW`.
        phones_weight: weight of the phone loss, where the network has a phone head.
        consistency_weight: weight of the consistency of two masked views of every clip; 0 switches it off. A training
            step then costs twice as much: halve `Batching.batch_seconds`.
        bits: bits of each number of the weight matrices, which the network is trained with from the first step on
            (see `train.fit.objective`); 16 leaves the weights as they are.
        batching: how clips become batches.
        augmentation: changes of the waveform.
        spec_augment: arguments of `train.data.augmentation.SpecAugment`, or None.
        xla: whether XLA compiles the training step on TensorFlow. For a recurrent network XLA keeps the weights once
            for every time step, which takes more memory than most machines have.
        validation_share: share of the clips that is held out where no validation manifest is given; with 0 the model
            is measured on the training clips themselves. An adaptation holds out every clip once, this share at a time.
    """

    name: str
    architecture: str
    sizes: dict = field(default_factory=dict)
    featurizer: dict = field(default_factory=lambda: {"name": "log-mel"})
    dereverberation: bool = False
    passes: int = 50
    min_steps: int = 0
    peak: float = 1e-3
    warm_up: int = 1000
    decay: float = 0.4
    weight_decay: float = 0.01
    clip_norm: float = 2.0
    average: float = 0.999
    phones_weight: float = 0.5
    consistency_weight: float = 0.0
    bits: int = 16
    batching: Batching = Batching()
    augmentation: Augmentation = NO_AUGMENTATION
    spec_augment: dict | None = None
    xla: bool = True
    validation_share: float = 0.1


# The embedded model's network.
CONFORMER = {
    "width": 128, "blocks": 14, "heads": 4, "kernel": 15, "outer_blocks": 1, "reduction": 2, "parts": 2,
    "channels": 16, "dropout": 0.1, "phones": len(PHONES) + 1, "phones_block": 9,
}  # fmt: skip
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="conformer-5bit",
            architecture="conformer",
            sizes=CONFORMER | {"dropout": 0.15},
            dereverberation=True,
            passes=8,
            peak=2.5e-3,
            warm_up=500,
            decay=0.7,
            weight_decay=0.05,
            clip_norm=1.0,
            consistency_weight=0.2,
            bits=5,
            batching=Batching(
                batch_seconds=800.0, bucket_seconds=(3.2, 4.6, 6.6, 11.0, 20.0), repeats=10, short_first_passes=0,
                join=0.35, join_seconds=(10.5, 19.5),
            ),
            augmentation=Augmentation(
                speeds=(0.85, 0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.15),
                noise=0.2, babble=0.05, room=0.12, band=0.06, gain=0.1, pitch=0.1, codec=0.02,
            ),
            spec_augment={"time_masks": 8, "time_fraction": 0.04, "frequency_masks": 2, "frequency_width": 20},
        ),
        Preset(
            name="conformer-cpu",
            architecture="conformer",
            sizes=CONFORMER,
            dereverberation=True,
            passes=8,
            peak=4e-4,
            warm_up=150,
            decay=0.7,
            weight_decay=0.05,
            clip_norm=1.0,
            bits=8,
            batching=Batching(batch_seconds=64.0, bucket_seconds=(3.2, 4.6, 6.6, 11.0), short_first_passes=0),
            augmentation=Augmentation(
                speeds=(0.85, 0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.15),
                noise=0.15, babble=0.03, room=0.08, band=0.04, gain=0.1, pitch=0.05, codec=0.04, clipping=0.04,
            ),
            spec_augment={"time_masks": 4, "time_fraction": 0.04, "frequency_masks": 2, "frequency_width": 15},
        ),
        Preset(
            name="adapt",
            architecture="",
            passes=12,
            min_steps=60,
            peak=6e-4,
            warm_up=5,
            decay=0.7,
            weight_decay=0.0,
            clip_norm=1.0,
            average=0.9,
            batching=Batching(
                batch_seconds=60.0, bucket_seconds=(12.0, 18.0), short_first_passes=0, join=0.7,
                join_seconds=(7.0, 10.8),
            ),
            augmentation=Augmentation(
                speeds=(0.9, 0.95, 1.0, 1.0, 1.05, 1.1), noise=0.1, babble=0.0, room=0.05, band=0.03, gain=0.1,
            ),
            spec_augment={"time_masks": 4, "time_fraction": 0.04, "frequency_masks": 2, "frequency_width": 15},
            validation_share=0.25,
        ),
        Preset(
            name="keras-example",
            architecture="deepspeech2",
            featurizer={"name": "keras-stft"},
            passes=50,
            peak=1e-4,
            warm_up=1,
            decay=0.0,
            weight_decay=0.0,
            clip_norm=1e9,
            batching=Batching(batch_clips=32, bucket_seconds=(4.0, 7.0, 10.5), short_first_passes=0),
            xla=False,
        ),
        Preset(
            name="smoke",
            architecture="conformer",
            sizes={"width": 96, "blocks": 2, "heads": 4, "reduction": 1, "channels": 16, "dropout": 0.0},
            passes=6,
            peak=2e-3,
            warm_up=20,
            average=0.9,
            batching=Batching(batch_seconds=32.0, bucket_seconds=(4.0, 8.0, 16.0), short_first_passes=0, repeats=12),
            validation_share=0.0,
        ),
    )
}  # fmt: skip
