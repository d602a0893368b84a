"""Overlong words of the beam search that greedy decoding does not have, and the word error rate, of clips joined.

    python -m tests.benchmarks.long_words --manifest valid.jsonl [--joined 1 3 20] [--seed 0] [--model default]

A word above MAX_LETTERS letters that greedy decoding does not have is a sentence that has lost its spaces. Clips are
joined with nothing between them, once in the order of the manifest and once in random order.
"""

import argparse
import io
import os
import random
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import jiwer
import numpy as np

from asr_core.audio.loading import Audio
from asr_core.bundle.loading import load_bundle
from asr_core.decoding.hypotheses import greedy
from asr_core.recognizer import Recognizer
from asr_core.text.normaliser import normalise
from train.data.manifest import read_bytes, read_manifest

MAX_LETTERS = 20  # the longest word of the validation texts has 15


def measure(recognizer: Recognizer, clips: list[tuple[str, np.ndarray]], count: int) -> str:
    """One line about (text, samples) of clips joined by `count`."""
    references, hypotheses, glued, seconds = [], [], [], 0.0
    for first in range(0, len(clips), count):
        texts, samples = zip(*clips[first : first + count], strict=True)
        emissions = recognizer.emissions(Audio(np.concatenate(samples), recognizer.sample_rate))
        started = time.process_time()
        found = recognizer.decode(emissions, emissions.seconds).hypotheses[0].text
        seconds += time.process_time() - started
        known = set(greedy(emissions, recognizer.vocabulary).text.split())
        glued += [word for word in found.split() if len(word) > MAX_LETTERS and word not in known]
        references.append(" ".join(texts))
        hypotheses.append(found)
    rate = 100 * jiwer.wer(references, hypotheses)
    words = f"{len(glued)} long words {' '.join(glued)}".strip()
    return f"{len(references):4d} recordings, WER {rate:.2f} %, {seconds:.0f} s of processor to decode, {words}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--joined", nargs="+", type=int, default=[1, 3, 20], metavar="CLIPS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    recognizer = Recognizer(load_bundle(args.model))
    clips = [
        (normalise(clip.text), recognizer.load(io.BytesIO(read_bytes(clip.audio))).samples)
        for clip in read_manifest(args.manifest)
    ]
    shuffled = random.Random(args.seed).sample(clips, len(clips))
    for count in args.joined:
        for order, some in (("in order", clips), ("at random", shuffled))[: 1 if count == 1 else 2]:
            print(f"{count:3d} joined {order:10s}", measure(recognizer, some, count), flush=True)


if __name__ == "__main__":
    main()
