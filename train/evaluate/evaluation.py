"""What `python -m train.evaluate` does: run a model over a manifest, tune on one half of the speakers, write the
figures.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from train.evaluate.report import table

OPTIONS = {  # flag -> field of DecoderOptions
    "beam-width": "beam_width",
    "token-threshold": "token_threshold",
    "score-threshold": "score_threshold",
    "lm-weight": "language_model_weight",
    "word-bonus": "word_bonus",
    "unknown-word-score": "unknown_word_score",
    "unknown-letter-score": "unknown_letter_score",
    "blank-penalty": "blank_penalty",
    "phone-weight": "phone_weight",
    "doubt-threshold": "doubt_threshold",
}


def write(folder: Path, reports: Sequence[dict], split: str, groups: dict) -> None:
    """Puts rates, the last decoder and the calibration of each into a bundle's config.json, in one step.

    Rates of the same data, split and decoder are replaced, and so is what the trainer measured in passing; others
    stay.

    Raises:
        BundleError: the folder holds no bundle.
    """
    from asr_core.bundle.description import CONFIG, check_description, read_description
    from asr_core.storage import replace_file

    config = read_description(folder / CONFIG, folder.name)
    kept = {
        (entry.get("dataset"), entry.get("split"), entry.get("decoder")): entry
        for entry in config.get("evaluation", [])
        if "words" in entry
    }
    for content in reports:
        for row in content["figures"]:
            if row["kind"] != "accent" and row["wer"] is not None:
                measured = {key: value for key, value in row.items() if key not in ("kind", "name")}
                entry = {"dataset": row["name"], "split": split, "decoder": content["decoder"], **measured}
                if row["kind"] == "group":
                    entry["corpora"] = groups[row["name"]]
                kept[row["name"], split, content["decoder"]] = entry
    config["evaluation"] = list(kept.values())
    config["decoder"] = reports[-1]["options"]
    for content in reports:
        if content["confidence"]:
            config["confidence"] = config.get("confidence", {}) | content["confidence"]["calibrations"]
    check_description(config, folder.name)
    replace_file(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def evaluate(asked: argparse.Namespace) -> None:
    """Does what the command line asks for.

    Raises:
        BundleError: the model cannot be loaded.
        OSError, ValueError: a manifest cannot be read, or names nothing to do.
    """
    from asr_core.bundle.loading import load_bundle
    from asr_core.recognizer import Recognizer
    from train.evaluate.measure import Run, measure
    from train.evaluate.scores import NORMALISATION
    from train.evaluate.tuning import GRID

    clips, groups = _clips(asked), dict(asked.group)
    if unknown := {name for names in groups.values() for name in names} - {clip.corpus for clip in clips}:
        raise ValueError(f"There is no corpus {', '.join(sorted(unknown))} in what is to be evaluated.")
    bundle = load_bundle(asked.model)
    if asked.write and asked.model != "default" and not Path(asked.model).is_dir():
        raise ValueError(f"--write needs a bundle in a folder here, and {asked.model} is none.")
    recognizer = Recognizer(bundle)
    runs = [Run(chosen) for chosen in _chosen(asked, bundle.decoder_options())]
    grid = None if asked.tune is None else dict(asked.tune) or GRID
    try:
        content = {"model": bundle.name, "normalisation": NORMALISATION}
        content |= measure(recognizer, clips, runs, groups, grid, asked.worst)
    finally:
        recognizer.close()
    if asked.write:
        write(bundle.path, content["decoders"], _split(asked), groups)
    print(json.dumps(content, indent=1, ensure_ascii=False) if asked.json else table(content))


def _clips(asked: argparse.Namespace) -> list:
    from train.data.manifest import read_manifest

    clips = [clip for path in asked.manifest for clip in read_manifest(path)]
    if not clips:
        raise ValueError(f"There is no clip in {', '.join(map(str, asked.manifest))}.")
    if asked.limit is None or asked.limit >= len(clips):
        return clips
    return [clips[i * len(clips) // asked.limit] for i in range(asked.limit)]


def _chosen(asked: argparse.Namespace, defaults) -> list:
    """The decoders to run, greedy first, each with the options that were given."""
    given = {name: getattr(asked, name) for name in OPTIONS.values() if getattr(asked, name) is not None}
    names = asked.decoder or (["beam"] if asked.tune is not None else [defaults.decoder])
    return [dataclasses.replace(defaults, decoder=name, **given) for name in sorted(set(names), reverse=True)]


def _split(asked: argparse.Namespace) -> str:
    """The part of the data that was measured on, by the names of its manifests."""
    return "+".join(dict.fromkeys(path.stem for path in asked.manifest))
