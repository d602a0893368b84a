"""Streaming beside offline: errors of both, how soon words appear, what a second of audio costs over time.

    python -m tests.benchmarks.streaming --manifest valid.jsonl [--model FOLDER] [--seconds 600] [--minutes 30]

Clips of the manifest are joined to one recording, with pauses of faint noise. The stream gets it half a second at a
time, as a browser sends it. The delay of a word counts from its end in the final transcript to the first update that
shows it, right as it is there; once as if computing took no time, and once with the time that this machine took.
"""

import argparse
import resource
import time
from pathlib import Path

import jiwer
import numpy as np

from asr_core.audio.loading import Audio, load_audio
from asr_core.bundle.loading import load_bundle
from asr_core.recognizer import Recognizer
from asr_core.streaming import Stream
from asr_core.text.normaliser import normalise
from train.data.manifest import read_bytes, read_manifest

CHUNK_SECONDS = 0.5
PAUSES = (0.3, 1.2)  # seconds between clips, shortest and longest
NOISE = 1e-3  # -60 dB of full scale
SAME_SECONDS = 0.3  # a word is the same as one in the end if its text is the same and it begins so near to it


def some_clips(manifest: Path, rate: int, seconds: float, seed: int):
    """Clips in random order up to so many seconds: yields (samples, the pause after them, the words in them)."""
    generator = np.random.default_rng(seed)
    clips = read_manifest(manifest)
    length = 0
    for place in generator.permutation(len(clips)):
        samples = load_audio(read_bytes(clips[place].audio), rate).samples
        pause = generator.normal(0, NOISE, round(generator.uniform(*PAUSES) * rate)).astype(np.float32)
        yield samples, pause, normalise(clips[place].text)
        length += len(samples) + len(pause)
        if length >= seconds * rate:
            break


def recording(manifest: Path, rate: int, seconds: float, seed: int) -> tuple[np.ndarray, str]:
    """`some_clips` as one recording, and the words in it."""
    clips, pauses, texts = zip(*some_clips(manifest, rate, seconds, seed), strict=True)
    parts = [part for pair in zip(clips, pauses, strict=True) for part in pair]
    return np.concatenate(parts), " ".join(texts)


def streamed(stream: Stream, samples: np.ndarray):
    """All final words; the shown words after every chunk; seconds of processor and clock for every chunk."""
    size = round(CHUNK_SECONDS * stream.sample_rate)
    final, shown, processor, clock = [], [], [], []
    for start in range(0, len(samples), size):
        before = time.process_time(), time.perf_counter()
        update = stream.feed(samples[start : start + size], stream.sample_rate)
        processor.append(time.process_time() - before[0])
        clock.append(time.perf_counter() - before[1])
        final += update.final
        shown.append((update.seconds, [*final[-40:], *update.partial]))
    return [*final, *stream.finish().final], shown, np.array(processor), np.array(clock)


def first_seen(final, shown, clock: np.ndarray) -> np.ndarray:
    """Delay of each word in seconds, without and with computing: [words, 2]; words never shown are left out."""
    arrived = np.array([seconds for seconds, _ in shown])
    ready, now = [], 0.0
    for at, took in zip(arrived, clock, strict=True):  # an update waits until the one before is done
        now = max(now, at) + took
        ready.append(now)
    delays, place = [], 0
    for word in final:
        while place < len(shown) and arrived[place] < word.start:
            place += 1
        for later in range(place, len(shown)):
            same = (w.text == word.text and abs(w.start - word.start) < SAME_SECONDS for w in shown[later][1])
            if any(same):
                delays.append((arrived[later] - word.end, ready[later] - word.end))
                break
    return np.array(delays).reshape(-1, 2)


def text_of(words) -> str:
    return " ".join(word.text for word in words)


def compare(recognizer: Recognizer, samples: np.ndarray, reference: str) -> None:
    offline = recognizer.transcribe(Audio(samples, recognizer.sample_rate))
    final, shown, processor, clock = streamed(Stream(recognizer), samples)
    print(f"{len(samples) / recognizer.sample_rate:.0f} s of audio, {len(reference.split())} words")
    for name, text in (("offline", offline.text), ("streaming", text_of(final))):
        print(
            f"  WER {name:10} {100 * jiwer.wer(reference, text):6.2f} %   CER {100 * jiwer.cer(reference, text):6.2f} %"
        )
    print(f"  streaming beside offline: {100 * jiwer.wer(offline.text, text_of(final)):.2f} % of the words differ")
    delays = first_seen(final, shown, clock)
    if not len(delays):
        print("  no word was shown, so there is no delay to report")
        return
    for name, column in (("of the audio alone", 0), ("with computing", 1)):
        shares = np.percentile(delays[:, column], [50, 90, 95, 99])
        print(
            f"  delay {name:19} "
            + "  ".join(f"{p} %: {d:.2f} s" for p, d in zip((50, 90, 95, 99), shares, strict=True))
        )
    late = np.mean(delays[:, 1] > 1)
    print(
        f"  later than a second: {100 * late:.1f} %; right only when final: {len(final) - len(delays)} of {len(final)}"
    )
    print(f"  processor {processor.sum() / (len(samples) / recognizer.sample_rate):.3f} s per second of audio")


def endure(recognizer: Recognizer, samples: np.ndarray, minutes: int) -> None:
    """What each minute of a long stream costs."""
    minute = 60 * recognizer.sample_rate
    stream = Stream(recognizer)
    looped = (
        np.resize(samples, (len(samples) // minute * minute,)) if len(samples) >= minute else np.resize(samples, minute)
    )
    for number in range(1, minutes + 1):
        start = (number - 1) * minute % len(looped)
        before = time.process_time()
        for chunk in np.array_split(looped[start : start + minute], round(60 / CHUNK_SECONDS)):
            stream.feed(chunk, recognizer.sample_rate)
        if number in (1, 2, 5, 10, 20, 30) or number == minutes:
            used = (time.process_time() - before) / 60
            megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"  minute {number:3}: {used:.3f} s of processor per second of audio, {megabytes:.0f} MB at most")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="default", help="bundle: folder or Hub repo")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600, help="of clips to compare over")
    parser.add_argument("--minutes", type=int, default=30, help="of the long stream; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recognizer = Recognizer(load_bundle(options.model))
    recognizer.warm_up()
    samples, reference = recording(options.manifest, recognizer.sample_rate, options.seconds, options.seed)
    compare(recognizer, samples, reference)
    if options.minutes:
        print(f"{options.minutes} minutes without a break")
        endure(recognizer, samples, options.minutes)


if __name__ == "__main__":
    main()
