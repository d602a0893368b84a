"""How far word times are off, on speech whose word edges are known because it was put together from single words.

    python -m tests.benchmarks.word_times --model FOLDER --manifest single_words.jsonl [--recordings 40]

Every clip of the manifest holds one word. Clips are cut where the word begins and ends, joined with pauses of
known length over faint noise, transcribed, and aligned with their own text.
"""

import argparse
from pathlib import Path

import numpy as np

from asr_core.audio.loading import Audio
from asr_core.bundle.loading import load_bundle
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.text_alignment import align_text
from asr_core.emissions import Emissions
from asr_core.recognizer import Recognizer
from asr_core.text.normaliser import normalise
from train.data.manifest import read_bytes, read_manifest

EDGE_DB = -35.0  # a word begins and ends where 5 ms of it come this near to its loudest 5 ms
PAUSES = (0.08, 0.8)  # seconds, shortest and longest
NOISE_DB = -60.0


def trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    """The clip from the beginning to the end of its word."""
    frame = rate // 200
    power = np.square(samples[: len(samples) // frame * frame]).reshape(-1, frame).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (EDGE_DB / 10))
    return samples[loud[0] * frame : (loud[-1] + 1) * frame]


def join(words: list[np.ndarray], rate: int, generator) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Words with pauses before, between and after; also the true start and end of each in seconds."""
    parts, times, at = [], [], 0
    for word in words:
        pause = np.zeros(round(generator.uniform(*PAUSES) * rate), np.float32)
        at += len(pause)
        times.append((at / rate, (at + len(word)) / rate))
        at += len(word)
        parts += [pause, word * 0.3 / np.abs(word).max()]
    parts.append(np.zeros(rate // 2, np.float32))
    samples = np.concatenate(parts)
    noise = generator.normal(0, 10 ** (NOISE_DB / 20), len(samples))
    return (samples + noise).astype(np.float32), times


def describe(name: str, errors: list) -> None:
    if errors:
        starts, ends = np.abs(np.array(errors)).T * 1000
        both = np.concatenate([starts, ends])
        print(
            f"{name:34} {len(errors):5} words  median {np.median(both):4.0f} ms  90 % {np.percentile(both, 90):4.0f} ms"
            f"  (start {np.median(starts):3.0f} / {np.percentile(starts, 90):3.0f},"
            f" end {np.median(ends):3.0f} / {np.percentile(ends, 90):3.0f};"
            f" mean shift {1000 * np.mean(np.array(errors)[:, 0]):+.0f}, {1000 * np.mean(np.array(errors)[:, 1]):+.0f})"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--words", type=int, default=8, help="in each recording")
    options = parser.parse_args()
    recognizer = Recognizer(load_bundle(options.model))
    clips = [clip for clip in read_manifest(options.manifest) if len(normalise(clip.text).split()) == 1]
    generator = np.random.default_rng(0)
    errors = {name: [] for name in ("greedy", "greedy, peaks alone", "aligned", "aligned, peaks alone")}
    wrong = total = 0
    for _ in range(options.recordings):
        chosen = [clips[i] for i in generator.choice(len(clips), options.words, replace=False)]
        rate = recognizer.sample_rate
        words_alone = [trimmed(recognizer.load(read_bytes(clip.audio)).samples, rate) for clip in chosen]
        texts = [normalise(clip.text) for clip in chosen]
        samples, times = join(words_alone, rate, generator)
        emissions = recognizer.emissions(Audio(samples, rate))
        peaks = Emissions(emissions.log_probs, emissions.step_seconds)
        for name, found in ("", emissions), (", peaks alone", peaks):
            words = align_text(found, " ".join(texts), recognizer.vocabulary).words
            errors["aligned" + name] += [
                (word.start - start, word.end - end) for word, (start, end) in zip(words, times, strict=True)
            ]
            words = greedy(found, recognizer.vocabulary).words
            if [word.text for word in words] == texts:
                errors["greedy" + name] += [
                    (word.start - start, word.end - end) for word, (start, end) in zip(words, times, strict=True)
                ]
        total += 1
        wrong += [word.text for word in words] != texts
    print(
        f"{total} recordings of {options.words} words; {wrong} not recognised word for word, left out of greedy's rows"
    )
    for name, found in errors.items():
        describe(name, found)


if __name__ == "__main__":
    main()
