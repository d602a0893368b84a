"""Adaptation: a trained model continues on the recordings of one person, and is kept if it is better for that person.

The training is repeated from the old weights, each time without another part of the clips (cross-validation). Each
adapted network is measured on the clips that it has not learned from, in means of its weights and the old ones, with
the decoders of the model: so all clips decide which share of the adapted weights is best, and whether it is better. The
bundle `best` of the run has the mean of all adapted weights with that share. Such means can recognise the new voice no
worse than the adapted weights, and other voices much better (Wortsman et al., 2022, arXiv 2109.01903). Language models,
pronunciations, decoder options and calibration are those of the old model.
"""

import dataclasses
import itertools
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from keras import ops
from safetensors.numpy import load_file, save_file

from asr_core.bundle.bundle import Bundle
from asr_core.bundle.description import LANGUAGE_MODEL, NEURAL_LANGUAGE_MODEL, README
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.bundle.weights import weight_name
from asr_core.recognizer import Recognizer
from asr_core.storage import replace_file, replacing
from train.data.batches import Batching, TrainingBatches
from train.data.credits import training_data
from train.data.examples import SpeechData, folds, split
from train.evaluate.measure import Run, measure
from train.fit.presets import Preset
from train.fit.trainer import Trainer
from train.publish.card import card

LARGE_PARAMETERS = 30_000_000  # of a network whose training steps take too long on a CPU
HEAD = ("head/", "classifier/")  # beginnings of the names of the output layer's weights
CLEAR_GAIN = 0.8  # a gain is clear if fewer wrong words are left than 0.8 times as many
FEW_WORDS = 100  # on fewer held-out words a gain may be chance

# Share of the adapted weights in the mean with the old ones -> minutes of training speech below which it is not tried:
# a network overfits to a minute of speech, and a gain on the few held-out words may then be chance.
SHARES = {0.25: 0.0, 0.5: 2.0, 0.75: 3.0, 1.0: 8.0}
# Fields of the old config that the adapted model keeps.
KEPT = "licence language decoder confidence trained featurizer dereverberation sample_rate tokens".split()


class Adaptation(Trainer):
    """Trains a model further on a person's recordings, and measures what that person gains.

    Args:
        preset: with architecture "", which stands for that of `start`.
        data: to learn from.
        held_out: of the same person, to measure on; with None parts of `data` are, each in a training without it.
        folder: of the run.
        start: the model to continue with.
        train_encoder: whether all of a large network is trained. Otherwise a network of more than LARGE_PARAMETERS
            keeps its weights up to the output layer.
        arguments: further ones, as for `Trainer`. With a time limit there is one training.
    """

    def __init__(
        self, preset: Preset, data: SpeechData, held_out: SpeechData | None, folder, *, start: Bundle,
        train_encoder=False, **arguments,
    ):  # fmt: skip
        self.start, self.held_out, self.train_encoder = start, held_out, train_encoder
        self.single_training = held_out is not None or bool(arguments.get("minutes"))
        preset = dataclasses.replace(preset, batching=_for_lengths(preset.batching, data))
        super().__init__(preset, data, None, folder, start=start, **arguments)
        self.fold_steps = self.total
        self.total *= len(self.folds)
        self.batches.fold_batches = self.fold_steps * self.workers.count
        self.optimizer.iterations.assign(self.step % self.fold_steps)
        self.learned = self.data if len(self.folds) > 1 else self.folds[0][0]

    def _network_and_featurizer(self, start: Bundle):
        network = start.build()
        trained = {weight_name(network, weight): weight for weight in network.weights}
        if network.count_params() > LARGE_PARAMETERS:
            self.single_training = True  # several trainings would take too long
            if not self.train_encoder:
                for name, weight in trained.items():
                    weight.trainable = name.startswith(HEAD)
                trained = {name: weight for name, weight in trained.items() if weight.trainable}
        self.trained = trained
        self.old = {name: np.array(ops.convert_to_numpy(weight)) for name, weight in trained.items()}
        return network, start.featurizer()

    def _make_batches(self, *arguments):
        """The batches of all trainings, one after the other."""
        share = self.preset.validation_share
        if self.held_out is not None:
            self.folds = [(self.data, self.held_out)]
        elif self.single_training:
            self.folds = [split(self.data, share, self.seed)]
        else:
            self.folds = folds(self.data, round(1 / share), self.seed)
        return _FoldBatches([TrainingBatches(data, *arguments) for data, _ in self.folds])

    def _recipe(self) -> str:
        """Also which clips are held out: a network must not be measured on clips that it has learned from."""
        if self.held_out is not None:
            return f"{self.preset.name}, held out: another manifest"
        return f"{self.preset.name}, held out: some clips of each of {len(self.folds)} trainings"

    def _learning_rate(self, step: int) -> float:
        return super()._learning_rate(step % self.fold_steps)

    def _finish_pass(self, loss, audio_seconds, seconds):
        """Logs a pass and writes the adapted weights. They are measured when all trainings are over."""
        row = self._row(loss, audio_seconds, seconds)
        if self.chief:
            self._log(row)
            with self.averaged_weights(), replacing(self._adapted((self.step - 1) // self.fold_steps)) as partial:
                save_file({name: np.array(ops.convert_to_numpy(w)) for name, w in self.trained.items()}, partial)
        if self.step % self.fold_steps == 0 and self.step < self.total:  # the next training begins anew
            self._assign(self.old)
            for variable in self.optimizer.variables:
                variable.assign(ops.zeros_like(variable))
        return row

    def _adapted(self, fold: int) -> Path:
        """The file with the adapted weights of a training."""
        return self.folder / f"adapted-{fold + 1}.safetensors"

    def _assign(self, weights: dict[str, np.ndarray]) -> None:
        for name, values in weights.items():
            self.trained[name].assign(values)

    def conclude(self) -> bool:
        """Measures the old and the new weights, and prints both; saves the bundle `best` if it is better than the old.

        Returns:
            Whether it is better.
        """
        before = self._measure(itertools.repeat(self.start))
        measured = {share: self._measure(self._trials(share)) for share in possible_shares(60 * self.learned.hours)}
        share = best_share({share: wrong_words(rates) for share, rates in measured.items()})
        after, best = measured[share], self.folder / "best"
        better = is_better(before, after)
        if better:
            self._assign_share(share, range(len(self.folds)))
            self._save(best, share, after)
        print(table(self.start.name, best, before, after, better))
        return better

    def _trials(self, share: float) -> Iterator[Bundle]:
        """The bundle of each training, with that share of its adapted weights."""
        trial = self.folder / "trial"
        try:
            for fold in range(len(self.folds)):
                self._assign_share(share, [fold])
                self._save(trial, share, [])
                yield load_bundle(trial)
        finally:
            shutil.rmtree(trial, ignore_errors=True)

    def _assign_share(self, share: float, trainings: Sequence[int]) -> None:
        """Assigns the mean of the weights of some trainings with that share, and the old weights with the rest."""
        weights = {name: (1 - share) * values for name, values in self.old.items()}
        for training in trainings:
            for name, values in load_file(self._adapted(training)).items():
                weights[name] = weights[name] + share / len(trainings) * values
        self._assign(weights)

    def _measure(self, bundles: Iterable[Bundle]) -> list[dict]:
        """Error rates on the held-out clips by greedy decoding and, where the model prefers it, by the beam.

        Args:
            bundles: one for the clips that each training has held out.
        """
        own = self.start.decoder_options()
        runs = [Run(dataclasses.replace(own, decoder=name)) for name in sorted({"greedy", own.decoder}, reverse=True)]
        for bundle, (_, held_out) in zip(bundles, self.folds):  # noqa: B905, one bundle may be repeated without end
            clips = [held_out.clips[example.number] for example in held_out.examples]
            with closing(Recognizer(bundle)) as recognizer:
                decoders = measure(recognizer, clips, runs, {}, worst=0)["decoders"]  # of all clips so far
        return [{"decoder": one["decoder"], **one["figures"][0]} for one in decoders]

    def _save(self, folder: Path, share: float, measured: Sequence[dict]) -> None:
        """Saves the network with its present weights and what it has from the old model, with a card."""
        old, minutes = self.start.config, 60 * self.learned.hours
        facts = ("clips", "speakers", "seconds", "words", "wer", "wer_low", "wer_high", "resampled", "cer")
        learned = training_data([self.learned.clips[example.number] for example in self.learned.examples])
        name = old.get("name", self.start.name).removesuffix(", adapted")
        config = {key: old[key] for key in KEPT if key in old} | {
            "name": f"{name}, adapted",
            "description": f"The model {self.start.name}, adapted to {minutes:.1f} minutes of its user's recordings.",
            "evaluation": [
                {"dataset": "held-out clips of the recordings", "split": "held out", "decoder": one["decoder"]}
                | {key: one[key] for key in facts}
                for one in measured
            ],
            "recipe": {
                "preset": self.preset.name, "adapted_from": self.start.name, "share_of_adapted_weights": share,
                "trainings": len(self.folds), "step": min(self.step, self.fold_steps),
                "passes": self.fold_steps // self.steps_per_pass, "seed": self.seed,
            },
            "training_data": [*learned, *old.get("training_data", [])],
            **self.card,
        }  # fmt: skip
        words = self.start.language_model()
        pronunciations = self.start.pronunciations(words)
        save_bundle(
            folder, self.network, config,
            language_model=self.start.file(LANGUAGE_MODEL),
            neural_language_model=self.start.file(NEURAL_LANGUAGE_MODEL),
            pronunciations=pronunciations,
            tagger=self.start.tagger_path,
        )  # fmt: skip
        replace_file(folder / README, card(load_bundle(folder).config, str(folder)))


class _FoldBatches:
    """The batches of several trainings, one after the other.

    Attributes:
        fold_batches: number of batches of each training.
    """

    def __init__(self, trainings: Sequence[TrainingBatches]):
        self.trainings, self.fold_batches = trainings, 0
        self.steps_per_pass = trainings[0].steps_per_pass
        self.unfit = max(training.unfit for training in trainings)

    def batch(self, number: int):
        training, number = divmod(number, self.fold_batches)
        return self.trainings[training].batch(number)


def _for_lengths(batching: Batching, data: SpeechData) -> Batching:
    """Batching without the buckets that no clip needs: compiling a training step may take as long as the training."""
    longest = max((example.seconds for example in data.examples), default=0.0)
    needed = 1 + sum(bucket < longest for bucket in batching.bucket_seconds[:-1])
    return dataclasses.replace(batching, bucket_seconds=batching.bucket_seconds[:needed])


def possible_shares(minutes: float) -> list[float]:
    """The shares of the adapted weights to try after learning from so many minutes of speech."""
    return [share for share, least in SHARES.items() if minutes >= least]


def best_share(errors: dict[float, int]) -> float:
    """The share with the fewest wrong words; of equal ones the smallest, which changes other voices least.

    Share 1 is the worst for other voices, and must be clearly better than any other (see CLEAR_GAIN).

    Args:
        errors: wrong words by share.
    """
    clearly = {share: count / CLEAR_GAIN if share == 1 else count for share, count in errors.items()}
    return min(sorted(clearly), key=clearly.__getitem__)


def wrong_words(measured: Sequence[dict]) -> int:
    """Wrong words of all decoders together."""
    return sum(one["substitutions"] + one["deletions"] + one["insertions"] for one in measured)


def is_better(before: Sequence[dict], after: Sequence[dict]) -> bool:
    """Whether the decoder that serves gains, or loses nothing while greedy decoding gains clearly (see CLEAR_GAIN).

    Args:
        before, after: error rates of greedy decoding, and last those of the decoder that the model prefers.
    """
    (old_greedy, old), (new_greedy, new) = (
        (wrong_words(measured[:1]), wrong_words(measured[-1:])) for measured in (before, after)
    )
    return new < old or (new == old and new_greedy < CLEAR_GAIN * old_greedy)


def table(name: str, folder: Path, before: Sequence[dict], after: Sequence[dict], better: bool) -> str:
    """Error rates before and after as text, and what to do.

    Args:
        name: of the old model.
        folder: of the new one.
        before, after: error rates of each decoder.
    """
    size, minutes = before[0], before[0]["seconds"] / 60
    width = max(len(one["decoder"]) for one in before)
    lines = [
        f"Word error rate on {size['clips']} held-out clips ({size['words']} words, {minutes:.1f} minutes):",
        f"{'':{width}}  before   after",
        *(
            f"{old['decoder']:{width}}  {100 * old['wer']:5.1f} %  {100 * new['wer']:5.1f} %"
            for old, new in zip(before, after, strict=True)
        ),
    ]
    if not better:
        lines.append(
            f"The adapted model is no better: keep {name}. More recordings may help; ten minutes are a beginning."
        )
        return "\n".join(lines)
    lines.append(f"The adapted model is better: python app.py --model {shlex.quote(str(folder.parent))}")
    if size["words"] < FEW_WORDS:
        lines.append(f"On fewer than {FEW_WORDS} words this may be chance: more recordings make it certain.")
    return "\n".join(lines)
