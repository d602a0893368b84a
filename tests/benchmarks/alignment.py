"""Ten minutes of speech and its text, aligned as a whole and clip by clip.

    python -m tests.benchmarks.alignment --manifest valid.jsonl [--model FOLDER] [--seconds 600]

Clips of the manifest are joined to one recording with half-second pauses of faint noise. Its words are aligned three
times: as a whole, in the same log-probabilities cut at the pauses, and in those that the network gives for each clip
alone. Prints how many words begin and end within one step of each other, and the seconds and the memory of the whole.
"""

import argparse
import time
import tracemalloc
from pathlib import Path

import numpy as np

from asr_core.alignment import align_text
from asr_core.audio import Audio, load_audio
from asr_core.bundle import load_bundle
from asr_core.ctc import Emissions
from asr_core.recognizer import Recognizer
from asr_core.vocabulary import normalise
from train.data import read_bytes, read_manifest

PAUSE_SECONDS = 0.5
NOISE = 1e-3  # -60 dB of full scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recognizer = Recognizer(load_bundle(options.model))
    rate, step = recognizer.sample_rate, recognizer.step_seconds
    rng = np.random.default_rng(options.seed)
    clips = read_manifest(options.manifest)
    pause = rng.normal(0, NOISE, round(PAUSE_SECONDS * rate)).astype(np.float32)
    sounds, texts, starts, length = [], [], [], 0
    for place in rng.permutation(len(clips)):
        sounds.append(load_audio(read_bytes(clips[place].audio), rate).samples)
        texts.append(normalise(clips[place].text))
        starts.append(length)
        length += len(sounds[-1]) + len(pause)
        if length >= options.seconds * rate:
            break
    heard = recognizer.emissions(Audio(np.concatenate([part for sound in sounds for part in (sound, pause)]), rate))

    tracemalloc.start()
    before = time.process_time()
    whole = align_text(heard, " ".join(texts), recognizer.vocabulary).words
    seconds, (_, peak) = time.process_time() - before, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{length / rate:.0f} s of sound, {len(whole)} words: {seconds:.1f} s of processor, {peak / 1e6:.0f} MB")

    cut, alone, frames = [], [], len(heard.energy) // len(heard)
    for sound, text, start in zip(sounds, texts, starts, strict=True):
        first, last = round(start / rate / step), round((start + len(sound) + len(pause)) / rate / step)
        part = Emissions(heard.log_probs[first:last], step, first * step, heard.energy[frames * first : frames * last])
        cut += edges(align_text(part, text, recognizer.vocabulary).words)
        words = align_text(recognizer.emissions(Audio(sound, rate)), text, recognizer.vocabulary).words
        alone += [(begin + start / rate, end + start / rate) for begin, end in edges(words)]
    for name, other in (("the same log-probabilities, cut", cut), ("every clip heard alone", alone)):
        apart = np.abs(np.array(other) - edges(whole))
        within = 100 * np.mean(apart <= step + 1e-6)
        print(f"{name:<32} {within:.1f} % of the edges within a step, median {np.median(apart):.3f} s")


def edges(words) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in words]


if __name__ == "__main__":
    main()
