"""Ten minutes of speech and its text, aligned as a whole and clip by clip.

    python -m tests.benchmarks.alignment --manifest valid.jsonl [--model FOLDER] [--seconds 600]

Clips of the manifest are joined to one recording as for `tests.benchmarks.streaming`. Its words are aligned three
times: as a whole, in the same log-probabilities cut at the pauses, and in those that the network gives for each clip
alone. Prints how many words begin and end within one step of each other, and the seconds and the memory of the whole.
"""

import argparse
import time
import tracemalloc
from pathlib import Path

import numpy as np

from asr_core.audio.loading import Audio
from asr_core.bundle.loading import load_bundle
from asr_core.decoding.text_alignment import align_text
from asr_core.emissions import Emissions
from asr_core.recognizer import Recognizer
from tests.benchmarks.streaming import some_clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recognizer = Recognizer(load_bundle(options.model))
    rate, step = recognizer.sample_rate, recognizer.step_seconds
    clips, pauses, texts = zip(*some_clips(options.manifest, rate, options.seconds, options.seed), strict=True)
    parts = [np.concatenate(pair) for pair in zip(clips, pauses, strict=True)]
    starts = np.cumsum([0, *map(len, parts)])
    emissions = recognizer.emissions(Audio(np.concatenate(parts), rate))

    tracemalloc.start()
    before = time.process_time()
    whole = align_text(emissions, " ".join(texts), recognizer.vocabulary).words
    seconds, (_, peak) = time.process_time() - before, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{starts[-1] / rate:.0f} s of audio, {len(whole)} words: {seconds:.1f} s of processor, {peak / 1e6:.0f} MB")

    cut, alone, frames = [], [], len(emissions.energy) // len(emissions)
    for clip, text, start, end in zip(clips, texts, starts[:-1], starts[1:], strict=True):
        first, last = round(start / rate / step), round(end / rate / step)
        energy = emissions.energy[frames * first : frames * last]
        part = Emissions(emissions.log_probs[first:last], step, first * step, energy)
        cut += edges(align_text(part, text, recognizer.vocabulary).words)
        words = align_text(recognizer.emissions(Audio(clip, rate)), text, recognizer.vocabulary).words
        alone += [(word.start + start / rate, word.end + start / rate) for word in words]
    for name, other in (("the same log-probabilities, cut", cut), ("every clip alone", alone)):
        apart = np.abs(np.array(other) - edges(whole))
        within = 100 * np.mean(apart <= step + 1e-6)
        print(f"{name:<32} {within:.1f} % of the edges within a step, median {np.median(apart):.3f} s")


def edges(words) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in words]


if __name__ == "__main__":
    main()
