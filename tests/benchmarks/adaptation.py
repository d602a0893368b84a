"""What `--preset adapt` gains for a speaker and costs others: WER before and after, and minutes.

    python -m tests.benchmarks.adaptation --manifest valid.jsonl --speakers lj so762_9626 so762_1186 so762_2451

Every other clip of a speaker is adapted to, and the rest is for the test; then the halves change places. Errors of both
halves are added up. Other speakers are measured on clips spread evenly over the manifest. Where the command keeps the
old model, both figures are those of the old model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def wrong_and_words(model: str, clips) -> dict[str, tuple[int, int]]:
    """Decoder -> (wrong words, words) of a model on some clips, greedy and as the model prefers."""
    from asr_core.bundle.loading import load_bundle
    from asr_core.recognizer import Recognizer
    from train.evaluate.measure import Run, measure

    bundle = load_bundle(model)
    own = bundle.decoder_options()
    runs = [Run(replace(own, decoder=name)) for name in sorted({"greedy", own.decoder}, reverse=True)]
    with closing(Recognizer(bundle)) as recognizer:
        found = measure(recognizer, clips, runs, {}, worst=0)["decoders"]
    figures = {one["decoder"].split()[0]: one["figures"][0] for one in found}
    return {
        name: (one["substitutions"] + one["deletions"] + one["insertions"], one["words"])
        for name, one in figures.items()
    }


def adapt(model: str, clips, folder: Path, further: list[str]) -> tuple[str, float]:
    """Runs the command on some clips; returns the model to use afterwards, and minutes."""
    rows = [{key: getattr(clip, key) for key in ("id", "audio", "seconds", "speaker", "text")} for clip in clips]
    folder.mkdir(parents=True)
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ["--preset", "adapt", "--start", model, "--data", str(folder / "mine.jsonl"), "--out", str(folder / "run")]
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "train", *line, *further], capture_output=True, text=True, check=True)
    print(done.stdout[done.stdout.index("Word error rate") :], flush=True)
    better = (folder / "run" / "best").is_dir()
    return str(folder / "run") if better else model, (time.monotonic() - started) / 60


def add(total: dict, more: dict) -> dict:
    """Sums of wrong words and of words by decoder."""
    return {name: tuple(a + b for a, b in zip(total.get(name, (0, 0)), one, strict=True)) for name, one in more.items()}


def main() -> None:
    from train.data.manifest import read_manifest

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--speakers", nargs="+", required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--others", type=int, default=100, help="clips of other speakers (default: 100)")
    parser.add_argument("--halves", type=int, choices=(1, 2), default=2, help="how many of the halves to adapt to")
    args, further = parser.parse_known_args()  # further arguments are for the command
    clips = read_manifest(args.manifest)
    for speaker in args.speakers:
        of_speaker = [clip for clip in clips if clip.speaker == speaker]
        rest = [clip for clip in clips if clip.speaker != speaker]
        others = [rest[i * len(rest) // args.others] for i in range(min(args.others, len(rest)))]
        sums: dict[str, dict] = {"before": {}, "after": {}, "others before": {}, "others after": {}}
        minutes = []
        for half in range(args.halves):
            learned, tested = of_speaker[half::2], of_speaker[1 - half :: 2]
            with tempfile.TemporaryDirectory() as folder:
                model, took = adapt(args.model, learned, Path(folder) / "work", further)
                minutes.append(took)
                for name, of, on in (
                    ("before", args.model, tested), ("after", model, tested),
                    ("others before", args.model, others), ("others after", model, others),
                ):  # fmt: skip
                    sums[name] = add(sums[name], wrong_and_words(of, on))
        seconds = sum(clip.seconds for clip in of_speaker) / 2
        print(f"{speaker}: {len(of_speaker) // 2} clips, {seconds / 60:.1f} minutes; "
              f"adapted in {', '.join(f'{took:.1f}' for took in minutes)} minutes")  # fmt: skip
        for name, by_decoder in sums.items():
            rates = "  ".join(
                f"{decoder} {100 * wrong / words:.1f} % of {words}" for decoder, (wrong, words) in by_decoder.items()
            )
            print(f"  {name:13}  {rates}", flush=True)


if __name__ == "__main__":
    main()
