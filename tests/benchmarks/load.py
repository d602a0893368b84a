"""The app under load: many visitors at once, every answer checked, memory; then minutes of good and bad input mixed.

    python -m tests.benchmarks.load --manifest valid.jsonl [--visitors 20] [--requests 200] [--minutes 5]

Starts `python app.py` on loopback in a program of its own. Each visitor has a clip of their own, which the recogniser
has also transcribed alone: an answer must equal that transcript, word for word. One that equals another visitor's is
mixed up. Without a manifest the clips are cut from the examples that come with the app. Exits with 1 if anything is
not as it must be.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
REPOSITORY = Path(__file__).parents[2]

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

from asr_core.audio.loading import load_audio  # noqa: E402
from tests.train.app_process import free_port  # noqa: E402

CLIP_SECONDS = 10
RATE = 16_000
READY_SECONDS = 900  # for the app to load its model on a machine that is busy
PATIENCE_SECONDS = 120  # for one exchange over HTTP; the client's own 5 s are short for 20 at once
FLAT_SHARE = 0.1  # by which memory may grow and still be called flat


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, help="whose clips are joined to 10 s; the examples by default")
    parser.add_argument("--model", default="default", help="bundle: folder or Hub repo")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--requests", type=int, default=200, help="of all visitors together")
    parser.add_argument("--minutes", type=float, default=5, help="of mixed input after that; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, App(options.model, Path(folder)) as app:
        clips = write_clips(options.manifest, options.visitors, Path(folder))
        expected = transcribed_alone(options.model, clips)
        print(f"{os.cpu_count()} cores; {len(clips)} clips of {CLIP_SECONDS} s, {len(set(expected))} different texts")
        app.wait_until_ready()
        visitors = [Visitor(app.url, clip, text) for clip, text in zip(clips, expected, strict=True)]
        good = crowd(app, visitors, options.requests, expected)
        if options.minutes:
            good &= mixture(app, visitors, options.minutes, write_bad_files(Path(folder), clips[0]), options.seed)
    return 0 if good else 1


class App:
    """`python app.py` while the block runs."""

    def __init__(self, model: str, folder: Path):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "app.log"
        self._command = [sys.executable, "app.py", "--model", model, "--port", str(port)]
        self._environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads")}

    def __enter__(self) -> "App":
        with open(self.log, "wb") as log:
            self._program = subprocess.Popen(
                self._command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, *_) -> None:
        self._program.terminate()
        self._program.wait(60)

    def wait_until_ready(self) -> None:
        latest = time.monotonic() + READY_SECONDS
        while time.monotonic() < latest and self.alive:
            if self.health == "ready":
                return
            time.sleep(0.5)
        raise SystemExit(f"The app did not come up:\n{self.log.read_text()[-2000:]}")

    @property
    def alive(self) -> bool:
        return self._program.poll() is None

    @property
    def health(self) -> str:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return json.load(answer)["status"]
        except OSError:
            return "no answer"

    @property
    def megabytes(self) -> float:
        """Resident memory of the program and its processes now; pages that they share count for each."""
        return sum(map(resident_megabytes, [self._program.pid, *children(self._program.pid)]))


def children(pid: int) -> list[int]:
    """The processes that one has started, and those that these have."""
    lists = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    started = [int(child) for listed in lists for child in listed]
    return started + [grandchild for child in started for grandchild in children(child)]


def resident_megabytes(pid: int) -> float:
    for entry in Path(f"/proc/{pid}/status").read_text().splitlines():
        if entry.startswith("VmRSS"):
            return int(entry.split()[1]) / 1000
    raise RuntimeError("this system does not report the memory of a program")


class Visitor:
    """One client with a clip of its own. `transcribe` is called from one thread at a time."""

    def __init__(self, url: str, clip: Path, expected: str):
        self.clip, self.expected = clip, expected
        self._client = Client(url, verbose=False, httpx_kwargs={"timeout": PATIENCE_SECONDS})
        self.seconds: list[float] = []

    def transcribe(self, file: Path | None = None) -> str:
        """The server's transcript of a file, by default of the own clip. Raises AppError if the server refuses it."""
        started = time.perf_counter()
        answer = self._client.predict(handle_file(str(file or self.clip)), api_name="/transcribe")
        self.seconds.append(time.perf_counter() - started)
        return answer["text"]


def write_clips(manifest: Path | None, count: int, folder: Path) -> list[Path]:
    """So many WAV files of CLIP_SECONDS, no two the same."""
    if manifest:
        from train.data.manifest import read_bytes, read_manifest

        recordings = (load_audio(read_bytes(clip.audio), RATE).samples for clip in read_manifest(manifest))
    else:
        recordings = (load_audio(path, RATE).samples for path in sorted(REPOSITORY.glob("assets/examples/*.opus")))
    length, speech = CLIP_SECONDS * RATE, []
    for samples in recordings:
        speech.append(samples)
        if sum(map(len, speech)) >= count * length:
            break
    joined = np.concatenate(speech)
    if len(joined) < count * length:  # begin the repeats elsewhere, so that they are not the same clips again
        joined = np.concatenate([np.roll(joined, -turn * 7 * RATE // 2) for turn in range(count)])
    paths = []
    for number in range(count):
        paths.append(folder / f"clip{number}.wav")
        soundfile.write(paths[-1], joined[number * length :][:length], RATE)
    return paths


def transcribed_alone(model: str, clips: list[Path]) -> list[str]:
    """The recogniser's transcript of each clip, one after the other, as the endpoint decodes by default."""
    from asr_core.bundle.loading import load_bundle
    from asr_core.recognizer import Recognizer

    recognizer = Recognizer(load_bundle(model))
    texts = []
    for clip in clips:
        texts.append(recognizer.transcribe(clip).text)
    recognizer.close()
    return texts


def crowd(app: App, visitors: list[Visitor], requests: int, expected: list[str]) -> bool:
    """All visitors at once, again and again; prints the outcomes, and returns whether all are right."""
    with ThreadPoolExecutor(len(visitors)) as pool:
        list(pool.map(Visitor.transcribe, visitors))  # the first of each warms up and is not counted
        before = app.megabytes
        for visitor in visitors:
            visitor.seconds.clear()
        turns = [visitors[number % len(visitors)] for number in range(requests)]
        rounds = [turns[first : first + len(visitors)] for first in range(0, requests, len(visitors))]
        outcomes: Counter[str] = Counter()
        for together in rounds:
            for visitor, outcome in zip(
                together, pool.map(lambda v: own_clip_outcome(v, expected), together), strict=True
            ):
                outcomes[outcome] += 1
                if outcome != "right":
                    print(f"  {visitor.clip.name}: {outcome}")
    seconds = np.array([second for visitor in visitors for second in visitor.seconds])
    p50, p95 = np.percentile(seconds, [50, 95])
    growth = app.megabytes / before - 1
    print(
        f"{len(visitors)} at once, {requests} requests: {dict(outcomes)}; p50 {p50:.2f} s, p95 {p95:.2f} s; "
        f"memory {before:.0f} MB after the warm-up, {app.megabytes:.0f} MB at the end ({growth:+.1%})"
    )
    return outcomes == {"right": requests} and growth < FLAT_SHARE


def own_clip_outcome(visitor: Visitor, everybody: list[str]) -> str:
    try:
        text = visitor.transcribe()
    except Exception as error:
        return f"not answered ({type(error).__name__}: {error})"
    if text == visitor.expected:
        return "right"
    return "mixed up" if text in everybody else f"other words: {text!r} for {visitor.expected!r}"


def write_bad_files(folder: Path, clip: Path) -> dict[Path, str | None]:
    """Files to try the server with, and the text that belongs to each; None for those to be refused."""
    whole = clip.read_bytes()
    contents = {
        "noise.wav": (random.Random(0).randbytes(50_000), None),
        "text.mp3": (b"this is not sound at all\n" * 100, None),
        "empty.flac": (b"", None),
        "header.wav": (whole[:44], None),
        "page.webm": (b"<html><script>alert(1)</script></html>", None),
        "<img src=x onerror=alert(1)>.ogg": (b"OggS" + b"\xff" * 4000, None),
    }
    files = {}
    for name, (content, text) in contents.items():
        path = folder / name
        path.write_bytes(content)
        files[path] = text
    silence = folder / "silence.wav"
    soundfile.write(silence, np.zeros(3 * RATE), RATE)
    return files | {silence: ""}


def mixture(app: App, visitors: list[Visitor], minutes: float, bad: dict[Path, str | None], seed: int) -> bool:
    """Each visitor sends its own clip or a bad file, drawn at random, until the time is up."""
    before, latest = app.megabytes, time.monotonic() + 60 * minutes
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def behave(number: int) -> None:
        dice, visitor = random.Random(seed + number), visitors[number]
        while time.monotonic() < latest and app.alive:
            file = dice.choice(list(bad)) if dice.random() < 0.5 else None
            outcome = mixed_outcome(visitor, file, bad.get(file))
            with lock:
                outcomes[outcome] += 1

    with ThreadPoolExecutor(len(visitors)) as pool:
        list(pool.map(behave, range(len(visitors))))
    growth = app.megabytes / before - 1 if app.alive else 0
    last = [own_clip_outcome(visitor, [v.expected for v in visitors]) for visitor in visitors] if app.alive else []
    print(
        f"{minutes:g} minutes of mixed input: {dict(outcomes)}; alive: {app.alive}, health: {app.health}, "
        f"memory {growth:+.1%}; then {last.count('right')} of {len(visitors)} clips right"
    )
    well = {"good answered right", "bad refused in words", "silence is empty"}
    return app.alive and set(outcomes) <= well and last == ["right"] * len(visitors) and growth < FLAT_SHARE


def mixed_outcome(visitor: Visitor, file: Path | None, text: str | None) -> str:
    kind = "good" if file is None else "bad"
    try:
        answer = visitor.transcribe(file)
    except AppError as error:
        message = str(error)
        one_sentence = message.endswith(".") and "Traceback" not in message and "Internal error" not in message
        return f"{kind} refused in words" if one_sentence else f"{kind} failed: {message}"
    except Exception as error:
        return f"{kind} not answered ({type(error).__name__})"
    if file is None:
        return "good answered right" if answer == visitor.expected else "good answered wrong"
    return "silence is empty" if answer == text else f"{file.name} answered {answer[:40]!r}"


if __name__ == "__main__":
    sys.exit(main())
