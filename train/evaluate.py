"""A model and a manifest -> word and character error rates, with intervals, and the clips it hears worst.

    python -m train.evaluate --manifest valid.jsonl --model runs/x/best --decoder greedy beam

Clips go through the Recognizer of the app. `--tune` chooses the weights of the beam on one half of the
speakers and judges them on the other; `--write` keeps rates, decoder and calibrated confidence in the bundle.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.errors import AsrError
from train.options import in_words, whole
from train.report import table

DONE, FAILED, USAGE = 0, 1, 2
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
    from asr_core.bundle import CONFIG
    from asr_core.description import check_description, read_description
    from train.card import replace_file

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


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.evaluate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--manifest", nargs="+", required=True, type=Path, metavar="FILE")
    parser.add_argument("--model", default="default", metavar="PATH_OR_REPO[@REVISION]")
    parser.add_argument("--decoder", nargs="+", choices=["greedy", "beam"], help="default: what the model prefers")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="N clips, spread evenly over the manifests")
    parser.add_argument(
        "--group", action="append", default=[], type=_group, metavar="NAME=CORPUS,CORPUS",
        help="measure some corpora together, too; may be given several times",
    )  # fmt: skip
    parser.add_argument("--worst", type=whole(0), default=5, metavar="N", help="list N worst clips (default: 5)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--tune", nargs="*", type=_axis, metavar="OPTION=V,V",
        help="choose options of the beam on half of the speakers, e.g. lm-weight=0.5,0.8 word-bonus=0,1",
    )  # fmt: skip
    parser.add_argument(
        "--write", action="store_true",
        help="keep rates, the last decoder and calibrations of confidence in the bundle's config.json",
    )  # fmt: skip
    for flag, name in OPTIONS.items():
        parser.add_argument(f"--{flag}", dest=name, type=int if name == "beam_width" else float)
    options = parser.parse_args(arguments)
    if options.tune is not None and "beam" not in (options.decoder or ["beam"]):
        parser.error("--tune is for the beam: leave --decoder greedy away")
    return options


def _group(text: str) -> tuple[str, list[str]]:
    name, _, corpora = text.partition("=")
    if not name or not corpora:
        raise argparse.ArgumentTypeError(f"{text!r} is not a group; write NAME=CORPUS,CORPUS")
    return name, corpora.split(",")


def _axis(text: str) -> tuple[str, list[float]]:
    flag, _, values = text.partition("=")
    try:
        return OPTIONS[flag], [int(v) if flag == "beam-width" else float(v) for v in values.split(",")]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be tried; write {', '.join(OPTIONS)} with values, such as lm-weight=0.5,0.8"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        evaluate(options)
    except (AsrError, OSError, ValueError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    return DONE


def evaluate(asked: argparse.Namespace) -> None:
    """Does what the command line asks for.

    Raises:
        BundleError: the model cannot be loaded.
        OSError, ValueError: a manifest cannot be read, or names nothing to do.
    """
    from asr_core.bundle import load_bundle
    from asr_core.recognizer import Recognizer
    from train.measure import Run, measure
    from train.scores import NORMALISATION
    from train.tuning import GRID

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
    from train.data import read_manifest

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


if __name__ == "__main__":
    sys.exit(main())
