"""A recogniser and clips -> error rates: each clip heard once, then decoded in all ways asked for.

What the network heard is kept where options are to be chosen, so that a grid of them costs no second pass.
"""

import dataclasses
import io
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod

import numpy as np
from tqdm import tqdm

from asr_core.decoding.options import DecoderOptions
from asr_core.emissions import Emissions
from asr_core.errors import AsrError
from train.data.manifest import ManifestClip, read_bytes
from train.evaluate import tuning
from train.evaluate.scores import Score, figures, score

OF_THE_MODEL = (
    "beam_width token_threshold score_threshold language_model_weight word_bonus unknown_word_score "
    "unknown_letter_score blank_penalty phone_weight doubt_threshold"
).split()


@dataclass(frozen=True, eq=False)
class ClipEmissions:
    """What the network heard in one clip, and what that cost, decoding of the file included (see `clocks`)."""

    clip: ManifestClip
    emissions: Emissions
    cost: np.ndarray


@dataclass(eq=False)
class Run:
    """One way to decode, and what came of it."""

    options: DecoderOptions
    scores: list[Score] = field(default_factory=list)
    cost: np.ndarray = field(default_factory=lambda: np.zeros(2))  # network excluded

    def add(self, recognizer, heard: ClipEmissions) -> None:
        started = clocks()
        words = recognizer.hypotheses(heard.emissions, self.options)[0].words
        self.cost += clocks() - started
        self.scores.append(score(heard.clip, words))


def clocks() -> np.ndarray:
    """Seconds by the clock on the wall, and by that of all processors together; the second minds no other program."""
    return np.array([time.perf_counter(), time.process_time()])


def run_model(recognizer, clips: Sequence, failures: dict[str, str]) -> Iterator[ClipEmissions]:
    """Every clip once through the network; those that cannot be read go to `failures`, by id."""
    recognizer.warm_up()
    for clip in tqdm(clips, desc="listening", unit="clip", disable=None):
        started = clocks()
        try:
            audio = recognizer.load(io.BytesIO(read_bytes(clip.audio)))
            emissions = dataclasses.replace(recognizer.emissions(audio), energy=None)  # nobody asks for times
        except (AsrError, OSError, KeyError, tarfile.TarError) as error:
            failures[clip.id] = str(error)
            continue
        yield ClipEmissions(clip, emissions, clocks() - started)


def sets_of(scores: Sequence, groups: dict[str, list[str]]) -> dict[tuple[str, str], list]:
    """(kind, name) -> scores: everything, the groups of corpora, every corpus, every accent that is named."""
    sets: dict[tuple[str, str], list] = {("all", "all"): list(scores)}
    for name, corpora in groups.items():
        sets["group", name] = [one for one in scores if one.clip.corpus in corpora]
    for kind in ("corpus", "accent"):
        names = sorted({getattr(one.clip, kind) for one in scores} - {""})
        for name in names:
            sets[kind, name] = [one for one in scores if getattr(one.clip, kind) == name]
    return sets


def label_of(options, has_language_model: bool, names_phones: bool = False) -> str:
    """How a decoder is called in reports and model cards."""
    weighed = options.decoder == "beam" and has_language_model and options.language_model_weight
    label = f"{options.decoder} + language model" if weighed else options.decoder
    return f"{label} + phones" if options.decoder == "beam" and names_phones and options.phone_weight else label


def tune(recognizer, kept: Sequence[ClipEmissions], start, grid: dict) -> dict:
    """Chooses decoder options on half of the speakers; what they are, and are worth to the other half.

    Raises:
        ValueError: all speakers are in one half.
    """
    choosing, judging = tuning.split_by_speaker(kept, lambda heard: heard.clip)
    if not choosing or not judging:
        raise ValueError("Options can only be chosen where there are speakers in both halves: add clips.")
    total = prod(len(values) for values in grid.values()) * len(choosing) + 2 * len(judging)
    with tqdm(total=total, desc="choosing", unit="clip", disable=None) as bar:

        def decode(heards, options):
            run = Run(options)
            for heard in heards:
                run.add(recognizer, heard)
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


def report(run: Run, groups: dict, heard_cost: np.ndarray, audio_seconds: float, worst: int) -> dict:
    """All that is known about one decoder, as JSON takes it."""
    calibrated = tuning.calibrate(run.scores)
    factors = (heard_cost + run.cost) / max(audio_seconds, 1e-9)
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
            {"id": one.clip.id, "errors": one.words.count, "said": one.reference, "heard": one.hypothesis}
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
    """The options that belong to a model, not to a request, as a bundle's config keeps them."""
    if options.decoder == "greedy":
        return {"decoder": "greedy"}
    return {"decoder": "beam"} | {name: getattr(options, name) for name in OF_THE_MODEL}


def measure(recognizer, clips: Sequence, runs: list[Run], groups: dict, grid=None, worst=5) -> dict:
    """Lets a recogniser hear clips once, decodes them in every way asked for, and counts.

    Args:
        recognizer: an `asr_core.recognizer.Recognizer`.
        clips: of manifests.
        runs: how to decode; with a grid, the last one is replaced by the best point of the grid.
        groups: name -> corpora to measure together.
        grid: values to try by name of a decoder option (see `train.evaluate.tuning.tune`), or None.
        worst: how many of the worst clips to list.

    Returns:
        What `--json` prints, from "clips" on.
    """
    failures: dict[str, str] = {}
    kept, heard_cost, audio_seconds = [], np.zeros(2), 0.0
    for heard in run_model(recognizer, clips, failures):
        heard_cost += heard.cost
        audio_seconds += heard.emissions.seconds
        for run in runs:
            run.add(recognizer, heard)
        if grid:
            kept.append(heard)
    found = None
    if grid:
        found = tune(recognizer, kept, runs[-1].options, grid)
        runs[-1] = Run(found.pop("options"))
        for heard in kept:
            runs[-1].add(recognizer, heard)
    has_language_model = recognizer.language_model is not None
    return {
        "clips": len(clips) - len(failures),
        "hours": round(audio_seconds / 3600, 4),
        "left_out": failures,
        "tuning": found,
        "decoders": [
            {"decoder": label_of(run.options, has_language_model, recognizer.pronunciations is not None)}
            | report(run, groups, heard_cost, audio_seconds, worst)
            for run in runs
        ],
    }
