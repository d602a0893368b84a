"""Every recipe, as data: what is trained, on what batches, for how long. All runs are in LOG.md.

`conformer-5bit` is the recipe of the embedded model: `KERAS_BACKEND=jax python -m train --preset conformer-5bit
--data train.jsonl synthetic.jsonl --validation valid.jsonl --out runs/5bit --start runs/gpu/best --precision
mixed_bfloat16 --loaders 14`. 83 passes over 21.8 hours took nine and a half minutes on an NVIDIA H100 and reach 38.3 %
WER greedy on the 593 clips of `valid`. Its network has 14 blocks, three of them copies at first (see
`train.fit.warm_start`), and learns with the five bits a weight that it is stored with.

`conformer-cpu` goes on with such a network on two CPU cores: the same command with its name, `--start` and `--minutes`,
without precision, loaders and JAX.

`conformer-gpu` is what that began as: the same command with its name and `--start runs/phones/best`. 79 passes over
21.5 hours took nine minutes and reach 41.9 % WER. It differs from the recipes for CPUs by what keeps a network from
knowing its speech by heart: two masked views of every clip that have to agree, dropout, more masks; by clips that come
joined; and by twelve times the sound in a step.

`conformer-phones` is its network on two CPU cores, and the run that it began with: `python -m train --preset
conformer-phones --data train.jsonl --validation valid.jsonl --out runs/phones --start runs/small/best --passes 7
--workers 2`. An inner head learns how words sound, from a pronouncing dictionary (`train.data.pronunciations`). Seven
passes took 117 minutes beside other work: 63.1 % WER greedy on the same clips, 32.5 % with beam and language model,
30.9 % where phones have a say among the beam's texts. Two of them did for the letters what six had done without
phones.

`conformer-small` has no such head: the same command with its name, `--start runs/tiny/best --passes 6`. It began as
the `conformer-tiny` below (see `train.fit.warm_start`) and made six passes over 20.8 hours in 108 minutes: 66.7 % WER
greedy, 34.7 % with beam and language model.

`conformer-tiny` has half as many parameters: the same command with its name and without `--start`. Seventeen passes
(three, and twice seven more from there with `--start`; the first ten with less augmentation) took four hours on two
CPU cores beside other work and reach 68.8 % WER greedy on the same clips.

`keras-example` is the recipe of the Keras example "Automatic Speech Recognition using CTC", made correct: the same
network, features, optimiser, batch and 90/10 split, but blanks are no labels, padding is no sound, and the sound is
brought to the network's 22,050 Hz: `python -m train --preset keras-example --data LJSPEECH.jsonl --out runs/example`.
The example reports 16-17 % WER after 50 epochs of LJSpeech on held-out clips of its one voice; here it has not been
run that far, which takes a GPU.

`smoke` overfits a handful of clips to 0 % WER within two minutes on an idle CPU: `python -m train --preset smoke
--data FILE --out runs/smoke`. It is measured on the clips that it learned. It is also a test.
"""

from dataclasses import dataclass, field, replace

from train.data.augmentation import NO_AUGMENTATION, Augmentation
from train.data.batches import Batching
from train.data.pronunciations import PHONES


@dataclass(frozen=True)
class Preset:
    """A recipe.

    Attributes:
        name: as the command line takes it.
        architecture, sizes: of the network, for `asr_core.models.build`.
        featurizer: for `asr_core.models.features.make_featurizer`.
        passes: over the data.
        peak: learning rate after the warm-up.
        warm_up: steps until then.
        decay: share of the run over which the learning rate falls at its end.
        weight_decay, clip_norm, average: of the optimiser.
        intermediate_weight: share of the loss at the intermediate heads.
        phones_weight: of the loss of the inner head that learns how words sound, where the network has one.
        consistency_weight: of the consistency of two masked views of every clip (CR-CTC; its paper takes 0.2, and more
            time masks); 0 is off. A step then costs twice as much: halve `Batching.batch_seconds`.
        bits: of each number of the network's matrices, as they will be stored, which it learns with from the first
            step on (see `train.fit.objective`); 16 for the weights as they are.
        xla: whether XLA compiles the step on TensorFlow. Of a recurrent network it keeps the weights for every time
            step: 42 GB for the example's network and four clips of 6 s.
        validation_share: of the clips that are held out where no validation manifest is given; with 0 the training
            clips themselves are measured.
        spec_augment: arguments of `train.data.augmentation.SpecAugment`, or None.
    """

    name: str
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
    phones_weight: float = 0.5
    consistency_weight: float = 0.0
    bits: int = 16
    batching: Batching = Batching()
    augmentation: Augmentation = NO_AUGMENTATION
    spec_augment: dict | None = None
    xla: bool = True
    validation_share: float = 0.1


_ALL = [
    Preset(
        name="conformer-small",
        architecture="conformer",
        sizes={
            "width": 128, "blocks": 11, "heads": 4, "kernel": 15, "outer_blocks": 1, "reduction": 2,
            "parts": 2, "channels": 16, "dropout": 0.0,
        },
        passes=10,
        peak=1e-3,
        warm_up=300,
        decay=0.8,
        clip_norm=1.0,
        batching=Batching(batch_seconds=64.0, bucket_seconds=(3.0, 4.0, 5.5, 7.5, 12.0)),
        augmentation=Augmentation(
            noise=0.15, babble=0.03, room=0.07, band=0.04, gain=0.1, pitch=0.05, codec=0.02
        ),
        spec_augment={"time_masks": 2, "time_fraction": 0.04, "frequency_masks": 1, "frequency_width": 12},
    ),
    Preset(
        name="conformer-tiny",
        architecture="conformer",
        sizes={
            "width": 128, "blocks": 6, "heads": 4, "kernel": 15, "outer_blocks": 1, "reduction": 2,
            "parts": 2, "channels": 16, "dropout": 0.0,
        },
        passes=12,
        peak=1.5e-3,
        warm_up=300,
        decay=0.8,
        clip_norm=1.0,
        batching=Batching(batch_seconds=64.0, bucket_seconds=(3.0, 4.0, 5.5, 7.5, 12.0)),
        augmentation=Augmentation(
            noise=0.2, babble=0.04, room=0.1, band=0.05, gain=0.1, pitch=0.1, codec=0.03
        ),
        spec_augment={"time_masks": 2, "time_fraction": 0.04, "frequency_masks": 1, "frequency_width": 12},
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
]  # fmt: skip

PRESETS = {preset.name: preset for preset in _ALL}
PRESETS["conformer-phones"] = replace(
    PRESETS["conformer-small"],
    name="conformer-phones",
    sizes=PRESETS["conformer-small"].sizes | {"phones": len(PHONES) + 1, "phones_block": 7},
    passes=7,
)
PRESETS["conformer-gpu"] = replace(
    PRESETS["conformer-phones"],
    name="conformer-gpu",
    sizes=PRESETS["conformer-phones"].sizes | {"dropout": 0.1},
    passes=8,
    peak=2.5e-3,
    warm_up=500,
    decay=0.7,
    weight_decay=0.05,
    consistency_weight=0.2,
    batching=Batching(
        batch_seconds=800.0, bucket_seconds=(3.2, 4.6, 6.6, 11.0, 20.0), repeats=10, short_first_passes=0,
        join=0.35, join_seconds=(10.5, 19.5),
    ),
    augmentation=Augmentation(
        speeds=(0.85, 0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.15),
        noise=0.2, babble=0.05, room=0.12, band=0.06, gain=0.1, pitch=0.1, codec=0.02,
    ),
    spec_augment={"time_masks": 8, "time_fraction": 0.04, "frequency_masks": 2, "frequency_width": 20},
)  # fmt: skip
PRESETS["conformer-5bit"] = replace(
    PRESETS["conformer-gpu"],
    name="conformer-5bit",
    sizes=PRESETS["conformer-gpu"].sizes | {"blocks": 14, "phones_block": 9, "dropout": 0.15},
    bits=5,
)
PRESETS["conformer-cpu"] = replace(
    PRESETS["conformer-5bit"],
    name="conformer-cpu",
    sizes=PRESETS["conformer-5bit"].sizes | {"dropout": 0.1},
    peak=6e-4,
    warm_up=150,
    decay=0.7,
    consistency_weight=0.0,
    batching=Batching(
        batch_seconds=64.0, bucket_seconds=(3.2, 4.6, 6.6, 11.0), short_first_passes=0, balance=0.8,
    ),
    augmentation=Augmentation(
        speeds=(0.85, 0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.15),
        noise=0.15, babble=0.03, room=0.12, band=0.04, gain=0.1, pitch=0.08, codec=0.02, clipping=0.06,
    ),
    spec_augment={"time_masks": 4, "time_fraction": 0.04, "frequency_masks": 2, "frequency_width": 15},
)  # fmt: skip
