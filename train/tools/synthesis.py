"""A text -> synthetic speech to train on: recordings of its sentences in many voices, with a manifest.

    pip install onnxruntime hibari-tts
    python -m train.tools.synthesis prose.txt --kokoro FOLDER --hours 1 --out data/synthetic

Synthetic speech adds words and voices to real speech, but cannot replace it. The synthesiser is Kokoro-82M (hexgrad,
Apache-2.0) as ONNX. Its folder holds `model.onnx`, `vocab.json` ({"vocab": {phoneme: number}}) and `voices/*.bin`
(float32 [longest, 256]: a style for each number of phonemes). All voices speak English here; voices of other languages
add their timbre and a little of their accent. Phonemes come from the package hibari-tts. If a run is stopped, running
the same command again continues it.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from train.data.manifest import read_manifest
from train.options import MAX_SEED, in_words, real, stoppable, whole

DONE, FAILED = 0, 1
KOKORO_RATE, RATE = 24_000, 16_000  # Hz
MAX_PHONEMES = 505  # of a sentence; the synthesiser takes no more
SENTENCES_PER_VOICE = 12  # in succession
PLAIN = re.compile(r"[A-Za-z ,.;:!?'\-]{12,170}")  # no figures, since their spoken form is ambiguous
ABBREVIATION = re.compile(r"\b[A-Z]\.|\b(?:Mr|Mrs|Ms|Dr|St|etc|Co|No|Jr|Sr|vs)\.")
TYPOGRAPHY = str.maketrans({"’": "'", "‘": "'", "“": "", "”": "", '"': "", "—": ", ", "–": ", "})


def sentences(paths: Iterable[Path]) -> Iterator[str]:
    """The sentences of texts with at least three words and without figures and abbreviations."""
    for path in paths:
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", line.translate(TYPOGRAPHY)):
                sentence = " ".join(sentence.split()).strip(" '")
                if PLAIN.fullmatch(sentence) and sentence.count(" ") >= 2 and not ABBREVIATION.search(sentence):
                    yield sentence


class Kokoro:
    """The Kokoro synthesiser.

    Args:
        folder: of its files.

    Raises:
        ValueError: a file or a package is missing.
    """

    def __init__(self, folder: Path):
        try:
            import onnxruntime
            from hibari import Hibari
        except ImportError as error:
            raise ValueError(f"{error.name} is missing: pip install onnxruntime hibari-tts") from error
        try:
            self.numbers = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
            self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises exceptions of its own, a different one for each kind of damage
            raise ValueError(f"{folder} holds no Kokoro: {error}") from error
        self.styles = {
            path.stem: np.fromfile(path, np.float32).reshape(-1, 256) for path in sorted(folder.glob("voices/*.bin"))
        }
        if not self.styles:
            raise ValueError(f"{folder} has no voices in voices/*.bin.")
        self.phonemes = Hibari()

    def voice(self, rng) -> tuple[str, np.ndarray]:
        """Draws a voice, or a blend of two or three: (its name, its styles, float32 [longest, 256])."""
        names = list(self.styles)
        chosen = rng.choice(names, min(len(names), rng.choice([1, 2, 3], p=[0.4, 0.3, 0.3])), replace=False)
        shares = rng.dirichlet([1.5] * len(chosen))
        style = sum(share * self.styles[name] for name, share in zip(chosen, shares, strict=True))
        return "+".join(f"{name}:{share:.2f}" for name, share in zip(chosen, shares, strict=True)), style

    def __call__(self, text: str, style: np.ndarray, speed: float) -> np.ndarray:
        """Synthesises a sentence: float32 samples at `KOKORO_RATE`."""
        phonemes = " ".join(self.phonemes.phonemize(text))
        tokens = [self.numbers[phoneme] for phoneme in phonemes if phoneme in self.numbers][:MAX_PHONEMES]
        values = ([[0, *tokens, 0]], style[len(tokens)][None], [speed])
        types = (np.int64, np.float32, np.float32)
        names = (one.name for one in self.session.get_inputs())
        inputs = {name: np.array(value, dtype) for name, value, dtype in zip(names, values, types, strict=True)}
        return self.session.run(None, inputs)[0].ravel()


def synthesise(speak: Callable, voice: Callable, texts: Iterable[str], folder: Path, hours: float, seed: int) -> Path:
    """Synthesises texts until the manifest holds the given hours of speech.

    Args:
        speak: (text, style, speed) -> float32 samples at `KOKORO_RATE`.
        voice: random generator -> (name, style).
        texts: sentences; those that the manifest holds already are skipped.
        folder: gets `manifest.jsonl` and `audio/` with FLAC files at `RATE`.
        hours: of speech in the manifest, earlier runs included.
        seed: of the order of the texts and of the voices.

    Returns:
        The path of the manifest.
    """
    manifest = folder / "manifest.jsonl"
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    rows = read_manifest(manifest) if manifest.exists() else []
    done, seconds = {row.text for row in rows}, sum(row.seconds for row in rows)
    pool = np.array(sorted(set(texts) - done), object)
    rng = np.random.default_rng((seed, len(rows)))
    rng.shuffle(pool)
    with open(manifest, "a", encoding="utf-8") as file, tqdm(total=round(3600 * hours), unit="s") as bar:
        bar.update(round(seconds))
        for number, text in enumerate(pool, len(rows)):
            if seconds >= 3600 * hours:
                break
            if number % SENTENCES_PER_VOICE == 0 or number == len(rows):
                (speaker, style), pace = voice(rng), rng.uniform(0.85, 1.25)
            samples = soxr.resample(speak(text, style, pace * rng.uniform(0.95, 1.05)), KOKORO_RATE, RATE)
            samples *= 0.7 / max(0.05, np.abs(samples).max())
            row = {
                "id": f"kokoro-{seed}-{number:06}", "audio": f"audio/{seed}-{number:06}.flac",
                "seconds": round(len(samples) / RATE, 3), "speaker": speaker, "text": text, "corpus": "kokoro",
            }  # fmt: skip
            soundfile.write(folder / row["audio"], samples, RATE)
            file.write(json.dumps(row) + "\n")
            file.flush()
            seconds += row["seconds"]
            bar.update(round(row["seconds"]))
    return manifest


@stoppable
def main(arguments=None) -> int:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m train.tools.synthesis", description=summary, epilog=usage,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parser.add_argument("text", type=Path, nargs="+", help="files with a sentence or a paragraph a line")
    parser.add_argument("--kokoro", type=Path, required=True, metavar="FOLDER", help="of the synthesiser")
    hours = real(0, above=True)
    parser.add_argument("--hours", type=hours, required=True, help="of speech, those of earlier runs included")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=whole(0, MAX_SEED), default=0, help="another seed takes other sentences")
    args = parser.parse_args(arguments)
    try:
        kokoro = Kokoro(args.kokoro)
        print(synthesise(kokoro, kokoro.voice, sentences(args.text), args.out, args.hours, args.seed))
    except (OSError, ValueError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
