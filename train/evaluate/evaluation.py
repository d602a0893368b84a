"""The work behind `python -m train.evaluate`: read the manifests, measure the model, print or store the error rates."""

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
    "neural-weight": "neural_weight",
    "similar-words": "similar_words",
    "doubt-threshold": "doubt_threshold",
}


def write(folder: Path, reports: Sequence[dict], split: str, groups: dict) -> None:
    """Stores error rates, decoder options and calibrations of confidence in a bundle's config.json, atomically.

    New rates replace those of the same data, split and decoder, and those that the trainer measured during training
    (they have no count of words). All other rates stay. The options stored are those of the last decoder.

    Args:
        folder: of the bundle.
        reports: the "decoders" of `train.evaluate.measure.measure`.
        split: the part of the data that was measured.
        groups: name -> corpora measured together.

    Raises:
        BundleError: the folder holds no bundle.
    """
    from asr_core.bundle.description import CONFIG, read_description, write_description

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
    write_description(folder, config, folder.name)


def evaluate(args: argparse.Namespace) -> None:
    """Evaluates a model as the command line asks, prints the result, and stores it if `--write` is given.

    Raises:
        BundleError: the model cannot be loaded.
        OSError, ValueError: a manifest cannot be read or has no clips, or the options do not fit the data.
    """
    from asr_core.bundle.loading import load_bundle
    from asr_core.recognizer import Recognizer
    from train.evaluate.measure import Run, measure
    from train.evaluate.scores import NORMALISATION
    from train.evaluate.tuning import GRID

    clips, groups = _clips(args), dict(args.group)
    if unknown := {name for names in groups.values() for name in names} - {clip.corpus for clip in clips}:
        raise ValueError(f"There is no corpus {', '.join(sorted(unknown))} in what is to be evaluated.")
    bundle = load_bundle(args.model)
    if args.write and args.model != "default" and not Path(args.model).is_dir():
        raise ValueError(f"--write needs a bundle in a folder here, and {args.model} is none.")
    if args.write and bundle.checkpoint is not None:
        raise ValueError(
            f"--write needs a bundle, not a checkpoint: convert {args.model} with python -m train.convert."
        )
    recognizer = Recognizer(bundle)
    runs = [Run(options) for options in _decoders(args, bundle.decoder_options())]
    grid = None if args.tune is None else dict(args.tune) or GRID
    try:
        content = {"model": bundle.name, "normalisation": NORMALISATION}
        content |= measure(recognizer, clips, runs, groups, grid, args.worst)
    finally:
        recognizer.close()
    print(json.dumps(content, indent=1, ensure_ascii=False) if args.json else table(content))
    if args.write:
        write(bundle.path, content["decoders"], _split(args), groups)


def _clips(args: argparse.Namespace) -> list:
    from train.data.manifest import read_manifest

    clips = [clip for path in args.manifest for clip in read_manifest(path)]
    if not clips:
        raise ValueError(f"There is no clip in {', '.join(map(str, args.manifest))}.")
    if args.limit is None or args.limit >= len(clips):
        return clips
    return [clips[i * len(clips) // args.limit] for i in range(args.limit)]


def _decoders(args: argparse.Namespace, defaults) -> list:
    """Options of the decoders to run, greedy first: the model's own, overridden by those of the command line."""
    given = {name: getattr(args, name) for name in OPTIONS.values() if getattr(args, name) is not None}
    names = args.decoder or (["beam"] if args.tune is not None else [defaults.decoder])
    return [dataclasses.replace(defaults, decoder=name, **given) for name in sorted(set(names), reverse=True)]


def _split(args: argparse.Namespace) -> str:
    """The name of the measured part of the data: the stems of its manifests."""
    return "+".join(dict.fromkeys(path.stem for path in args.manifest))
