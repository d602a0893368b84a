"""A recogniser and clips -> error rates: the network runs once on each clip, then every decoder runs on its emissions.

When options are tuned, the emissions of all clips are kept, so that a grid search needs no second pass of the network.
"""

import dataclasses
import io
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod

import numpy as np
from tqdm import tqdm

from asr_core.decoding.options import DecoderOptions
from asr_core.emissions import Emissions
from asr_core.errors import AsrError, AudioError
from train.data.manifest import ManifestClip, read_bytes
from train.evaluate import tuning
from train.evaluate.scores import Score, figures, score
from train.options import in_words

MODEL_OPTIONS = (  # the DecoderOptions that a bundle stores; the others belong to a request
    "beam_width token_threshold score_threshold language_model_weight word_bonus unknown_word_score "
    "unknown_letter_score blank_penalty phone_weight neural_weight similar_words doubt_threshold"
).split()


@dataclass(frozen=True, eq=False)
class ClipEmissions:
    """The network's output for one clip.

    Attributes:
        clip: the clip.
        emissions: log-probabilities of its tokens.
        cost: seconds of `clocks` for reading the file and running the network, float64 [2].
    """

    clip: ManifestClip
    emissions: Emissions
    cost: np.ndarray


@dataclass(eq=False)
class Run:
    """The scores of one decoder.

    Attributes:
        options: of the decoder.
        scores: one for each clip decoded so far.
        cost: seconds of `clocks` that the decoder took, the network excluded, float64 [2].
    """

    options: DecoderOptions
    scores: list[Score] = field(default_factory=list)
    cost: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def add(self, recognizer, output: ClipEmissions) -> None:
        """Decodes one clip and scores its transcript."""
        started = clocks()
        found = recognizer.decode(output.emissions, output.emissions.seconds, self.options)
        self.cost += clocks() - started
        spans = found.hypotheses[0].words
        self.scores.append(score(output.clip, spans, recognizer.vocabulary, found.transcript.words))


def clocks() -> np.ndarray:
    """(wall-clock seconds, CPU seconds of this process on all cores), float64 [2].

    Other programs on the machine change the first but not the second.
    """
    return np.array([time.perf_counter(), time.process_time()])


def run_model(recognizer, clips: Iterable, failures: dict[str, str]) -> Iterator[ClipEmissions]:
    """Runs the network once on every clip, and notes in `failures` (id -> reason) the clips that cannot be read."""
    recognizer.warm_up()
    for clip in clips:
        started = clocks()
        try:
            audio = recognizer.load(io.BytesIO(read_bytes(clip.audio)))
            emissions = dataclasses.replace(recognizer.emissions(audio), energy=None)  # only word times need it
        except (AsrError, OSError) as error:
            failures[clip.id] = in_words(error)
            continue
        yield ClipEmissions(clip, emissions, clocks() - started)


def sets_of(scores: Sequence, groups: dict[str, list[str]]) -> dict[tuple[str, str], list]:
    """(kind, name) -> scores, of all clips, of each group of corpora, of each corpus and of each known accent."""
    sets: dict[tuple[str, str], list] = {("all", "all"): list(scores)}
    for name, corpora in groups.items():
        sets["group", name] = [one for one in scores if one.clip.corpus in corpora]
    for kind in ("corpus", "accent"):
        names = sorted({getattr(one.clip, kind) for one in scores} - {""})
        for name in names:
            sets[kind, name] = [one for one in scores if getattr(one.clip, kind) == name]
    return sets


def label_of(options, has_language_model: bool, has_phones: bool = False) -> str:
    """The name of a decoder in reports and model cards."""
    uses_language_model = options.decoder == "beam" and has_language_model and options.language_model_weight
    label = f"{options.decoder} + language model" if uses_language_model else options.decoder
    return f"{label} + phones" if options.decoder == "beam" and has_phones and options.phone_weight else label


def tune(recognizer, kept: Sequence[ClipEmissions], start, grid: dict) -> dict:
    """Chooses decoder options on one half of the speakers and evaluates them on the other half.

    Args:
        recognizer: an `asr_core.recognizer.Recognizer`.
        kept: the network's output for all clips.
        start: options before the search.
        grid: values to try, by name of an option.

    Returns:
        options: the best; clips: how many there are in each half; tried: the points of the grid with their WER;
        before, after: error rates of the other half with `start` and with the best options.

    Raises:
        ValueError: all speakers are in one half.
    """
    choosing, judging = tuning.split_by_speaker(kept, lambda output: output.clip)
    if not choosing or not judging:
        raise ValueError("Options can only be chosen where there are speakers in both halves: add clips.")
    total = prod(len(values) for values in grid.values()) * len(choosing) + 2 * len(judging)
    with tqdm(total=total, desc="tuning", unit="clip", disable=None) as bar:

        def decode(outputs, options):
            run = Run(options)
            for output in outputs:
                run.add(recognizer, output)
                bar.update()
            return run.scores

        found = tuning.tune(partial(decode, choosing), start, grid)
        before, after = (figures(decode(judging, options)) for options in (start, found.options))
    return {
        "options": found.options,
        "clips": (len(choosing), len(judging)),
        "tried": [{**values, "wer": round(rate, 4)} for values, rate in found.tried],
        "before": before.as_json(),
        "after": after.as_json(),
    }


def report(run: Run, groups: dict, network_cost: np.ndarray, audio_seconds: float, worst: int) -> dict:
    """The error rates, cost, calibration and worst clips of one decoder, as values of JSON."""
    calibrated = tuning.calibrate(run.scores)
    factors = (network_cost + run.cost) / max(audio_seconds, 1e-9)
    content = {
        "options": stored_options(run.options),
        "figures": [
            {"kind": kind, "name": name, **figures(scores).as_json()}
            for (kind, name), scores in sets_of(run.scores, groups).items()
        ],
        "real_time_factor": round(float(factors[0]), 4),
        "cpu_seconds_a_second": round(float(factors[1]), 4),
        "cpu_seconds_a_second_of_decoder": round(float(run.cost[1] / max(audio_seconds, 1e-9)), 4),
        "confidence": None,
        "worst": [
            {"id": one.clip.id, "errors": one.words.count, "reference": one.reference, "hypothesis": one.hypothesis}
            for one in sorted(run.scores, key=lambda one: -one.words.count)[:worst]
        ],
    }
    if calibrated:
        content["confidence"] = {
            "calibrations": {origin: dataclasses.asdict(found) for origin, found in calibrated.calibrations.items()},
            "words": calibrated.words,
            "calibration_error_before": round(calibrated.error_before, 4),
            "calibration_error_after": round(calibrated.error_after, 4),
        }
    return content


def stored_options(options) -> dict:
    """The options that a bundle's config stores: those that belong to a model, not to a request."""
    if options.decoder == "greedy":
        return {"decoder": "greedy"}
    return {"decoder": "beam"} | {name: getattr(options, name) for name in MODEL_OPTIONS}


def measure(recognizer, clips: Sequence, runs: list[Run], groups: dict, grid=None, worst=5) -> dict:
    """Measures the error rates and the cost of several decoders on the same clips.

    Args:
        recognizer: an `asr_core.recognizer.Recognizer`.
        clips: of manifests.
        runs: the decoders; with a grid, the last one is replaced by the best point of the grid.
        groups: name -> corpora to measure together.
        grid: values to try by name of a decoder option (see `train.evaluate.tuning.tune`), or None.
        worst: how many of the clips with most errors to list.

    Returns:
        The fields that `--json` prints, from "clips" on.

    Raises:
        AudioError: no clip can be read.
        ValueError: options are to be chosen, and all speakers are in one half.
    """
    failures: dict[str, str] = {}
    kept, network_cost, audio_seconds = [], np.zeros(2), 0.0
    with tqdm(clips, desc="transcribing", unit="clip", disable=None) as bar:
        for output in run_model(recognizer, bar, failures):
            network_cost += output.cost
            audio_seconds += output.emissions.seconds
            for run in runs:
                run.add(recognizer, output)
            if grid:
                kept.append(output)
    if not runs[0].scores:
        first, reason = next(iter(failures.items()))
        raise AudioError(f"None of the {len(clips)} clips can be read ({first}: {reason}): mend the manifest.")
    found = None
    if grid:
        found = tune(recognizer, kept, runs[-1].options, grid)
        runs[-1] = Run(found.pop("options"))
        for output in kept:
            runs[-1].add(recognizer, output)
    has_language_model = recognizer.language_model is not None
    return {
        "clips": len(runs[0].scores),
        "hours": round(audio_seconds / 3600, 4),
        "left_out": failures,
        "tuning": found,
        "decoders": [
            {"decoder": label_of(run.options, has_language_model, recognizer.rescoring.pronunciations is not None)}
            | report(run, groups, network_cost, audio_seconds, worst)
            for run in runs
        ],
    }
