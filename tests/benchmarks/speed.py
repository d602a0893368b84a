"""How fast words come: `python -m tests.benchmarks.speed [--model M] [--hour] [RECORDING]`.

Prints the real-time factor of a warm greedy transcription of 10 s, decoding of the file included, and that of the
Keras example's network with random weights on the same path; with --hour the time and the peak memory of a whole
program that transcribes an hour, and how long it computes on when that is cancelled at a tenth. A real-time factor is
seconds of work per second of audio.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
REPOSITORY = Path(__file__).parents[2]

EXAMPLES = REPOSITORY / "assets" / "examples"
RATE = 16_000  # Hz
CLIP_SECONDS = 10
RUNS = 9  # of which the median is printed, the quickest and slowest beside it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?", help="speech to repeat to 10 s; the example clips by default")
    parser.add_argument("--model", default="default")
    parser.add_argument("--hour", action="store_true", help="an hour of audio as well, in a program of its own")
    parser.add_argument("--only-hour", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--suffix", default=".ogg", help="format of the files: .ogg (Opus), .flac, .mp3, .wav")
    args = parser.parse_args()
    if args.only_hour:
        transcribe_hour(args.model, args.only_hour)
        return
    with tempfile.TemporaryDirectory() as folder:
        speech = repeated(args.recording, 3600 if args.hour else CLIP_SECONDS)
        clip = write(speech[: CLIP_SECONDS * RATE], Path(folder) / f"clip{args.suffix}")
        print(f"{os.cpu_count()} cores, {processor()}; {CLIP_SECONDS} s as {args.suffix[1:]}, warm, median of {RUNS}")
        ours = measure(args.model, clip)
        example = measure(str(example_network(Path(folder) / "example")), clip)
        print(f"{'the model':<22} {line(ours)}")
        print(f"{'the Keras example':<22} {line(example)}")
        print(f"{'the model is':<22} {example[0] / ours[0]:.1f} times as fast")
        if args.hour:
            hour = write(speech, Path(folder) / f"hour{args.suffix}")
            del speech
            command = [sys.executable, "-m", "tests.benchmarks.speed", "--model", args.model, "--only-hour", str(hour)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout
            found = json.loads(printed)
            print(
                f"{'an hour':<22} {found['seconds']:.1f} s ({found['load']:.1f} s to load the model before), "
                f"peak memory {found['megabytes']:.0f} MB, {found['words']} words"
            )
            print(f"{'cancelled at a tenth':<22} the processor is idle after {found['idle']:.1f} s")


def repeated(recording: str | None, seconds: int):
    """Speech, repeated to so many seconds: float32 [n] at RATE."""
    import numpy as np

    from asr_core.audio.loading import load_audio

    files = [recording] if recording else sorted(EXAMPLES.glob("*.opus"))
    speech = np.concatenate([load_audio(file, RATE).samples for file in files])
    return np.resize(speech, seconds * RATE)


def write(samples, path: Path) -> Path:
    """Writes in pieces: libsndfile's Opus encoder overflows the stack on long arrays."""
    import soundfile

    subtype = "OPUS" if path.suffix == ".ogg" else None
    with soundfile.SoundFile(path, "w", RATE, 1, subtype=subtype) as file:
        for start in range(0, len(samples), 60 * RATE):
            file.write(samples[start : start + 60 * RATE])
    return path


def example_network(folder: Path) -> Path:
    """A bundle of the Keras example's network, 26.6 M parameters, with random weights."""
    from asr_core import models
    from asr_core.bundle.loading import save_bundle
    from asr_core.models.features import KerasStft
    from asr_core.text.vocabulary import Vocabulary

    vocabulary, featurizer = Vocabulary(), KerasStft()
    network = models.build("deepspeech2", featurizer.bins, len(vocabulary), extra_blanks=1)
    config = {
        "featurizer": featurizer.config(),
        "sample_rate": featurizer.sample_rate,
        "tokens": vocabulary.tokens,
        "trained": False,
    }
    return save_bundle(folder, network, config, bits=32)


def measure(model: str, clip: Path) -> tuple[float, float, float]:
    """(median, quickest, slowest) seconds of a warm greedy transcription, decoding of the file included."""
    from asr_core.bundle.loading import load_bundle
    from asr_core.decoding.beam_search import DecoderOptions
    from asr_core.recognizer import Recognizer

    recognizer = Recognizer(load_bundle(model))
    greedy = DecoderOptions(decoder="greedy")
    seconds = []
    for _ in range(1 + RUNS):
        started = time.perf_counter()
        recognizer.transcribe(clip, greedy)
        seconds.append(time.perf_counter() - started)
    seconds = seconds[1:]  # the first compiles
    return statistics.median(seconds), min(seconds), max(seconds)


def line(seconds: tuple[float, float, float]) -> str:
    median, quickest, slowest = (value / CLIP_SECONDS for value in seconds)
    return f"real-time factor {median:.4f} ({quickest:.4f} to {slowest:.4f})"


def transcribe_hour(model: str, path: str) -> None:
    from asr_core.bundle.loading import load_bundle
    from asr_core.decoding.beam_search import DecoderOptions
    from asr_core.recognizer import Recognizer

    started = time.perf_counter()
    recognizer = Recognizer(load_bundle(model))
    recognizer.warm_up()
    loaded = time.perf_counter()
    transcript = recognizer.transcribe(path, DecoderOptions(decoder="greedy"))
    found = {
        "load": loaded - started,
        "seconds": time.perf_counter() - loaded,
        "megabytes": peak_megabytes(),
        "words": len(transcript.words),
        "idle": seconds_to_idle(recognizer, path, cancel_at=0.1),
    }
    print(json.dumps(found))


def seconds_to_idle(recognizer, path: str, cancel_at: float) -> float:
    """Seconds from a cancellation, when such a share is done, until this program uses less than a tenth of a core."""
    from asr_core.errors import Cancelled

    cancel, cancelled = threading.Event(), []

    def progress(done: float) -> None:
        if done >= cancel_at and not cancel.is_set():
            cancelled.append(time.perf_counter())
            cancel.set()

    try:
        recognizer.transcribe(path, progress=progress, cancel=cancel)
    except Cancelled:
        busy = time.perf_counter()
        while time.perf_counter() - busy < 1:
            used = time.process_time()
            time.sleep(0.1)
            if time.process_time() - used > 0.01:
                busy = time.perf_counter()
        return busy - cancelled[0]
    raise RuntimeError("the recording was over before it could be cancelled")


def peak_megabytes() -> float:
    """Of this program alone: getrusage would count what its parent held when it started it."""
    for entry in Path("/proc/self/status").read_text().splitlines():
        if entry.startswith("VmHWM"):
            return int(entry.split()[1]) / 1000
    raise RuntimeError("this system does not report the peak memory of a program")


def processor() -> str:
    for entry in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if entry.startswith("model name"):
            return entry.split(":", 1)[1].strip()
    return "processor unknown"


if __name__ == "__main__":
    main()
