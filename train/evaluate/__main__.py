"""A model and a manifest -> word and character error rates with intervals, and the clips with most errors.

    python -m train.evaluate --manifest valid.jsonl --model runs/x/best --decoder greedy beam

The app's own Recognizer transcribes the clips. `--tune` chooses the weights of the beam search on one half of the
speakers and evaluates them on the other half. `--write` stores error rates, decoder options and the calibration of
confidence in the bundle.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.errors import AsrError
from train.evaluate.evaluation import OPTIONS, evaluate
from train.options import DONE, FAILED, Help, in_words, stoppable, whole

WHOLE_NUMBERS = ("beam_width", "similar_words")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__, formatter_class=Help)
    parser.add_argument("--manifest", nargs="+", required=True, type=Path, metavar="FILE", help="clips to measure on")
    parser.add_argument("--model", default="default", metavar="PATH_OR_REPO[@REVISION]", help="to measure")
    parser.add_argument("--decoder", nargs="+", choices=["greedy", "beam"], help="default: what the model prefers")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="take N clips, spread evenly over the manifests")
    parser.add_argument(
        "--group", action="append", default=[], type=_group, metavar="NAME=CORPUS,CORPUS",
        help="measure some corpora together, too; may be given several times",
    )  # fmt: skip
    parser.add_argument("--worst", type=whole(0), default=5, metavar="N", help="list N worst clips")
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
        kind = int if name in WHOLE_NUMBERS else float
        parser.add_argument(f"--{flag}", dest=name, type=kind, metavar="V", help="of the beam; by default the model's")
    options = parser.parse_args(arguments)
    if options.tune is not None and "beam" not in (options.decoder or ["beam"]):
        parser.error("--tune is for the beam: leave out --decoder greedy")
    return options


def _group(text: str) -> tuple[str, list[str]]:
    name, _, corpora = text.partition("=")
    if not name or not corpora:
        raise argparse.ArgumentTypeError(f"{text!r} is not a group; write NAME=CORPUS,CORPUS")
    return name, corpora.split(",")


def _axis(text: str) -> tuple[str, list[float]]:
    flag, _, values = text.partition("=")
    try:
        return OPTIONS[flag], [int(v) if OPTIONS[flag] in WHOLE_NUMBERS else float(v) for v in values.split(",")]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be tried; write {', '.join(OPTIONS)} with values, such as lm-weight=0.5,0.8"
        ) from None


@stoppable
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


if __name__ == "__main__":
    sys.exit(main())
