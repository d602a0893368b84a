"""A text -> synthetic speech to train on: recordings of its sentences in many voices, with a manifest.

    pip install onnxruntime hibari-tts
    python -m train.tools.synthesis prose.txt --kokoro FOLDER --hours 1 --out data/synthetic
    python -m train.tools.synthesis prose.txt --flite --rare-in train.jsonl --hours 10 --out data/flite

Synthetic speech adds words and voices to real speech, but cannot replace it. The synthesisers are described in
`train.tools.synthesisers`. If a run is stopped, running the same command again continues it.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from asr_core.text.normaliser import normalise
from train.data.manifest import read_manifest
from train.data.pronunciations import Dictionary
from train.options import DONE, FAILED, MAX_SEED, in_words, real, stoppable, whole
from train.tools.synthesisers import Espeak, Flite, Kokoro

RATE = 16_000  # Hz
SENTENCES_PER_VOICE = 12  # in succession
RARE = 20  # a word with fewer occurrences in the recordings is rare, by default
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


class RareWords:
    """Chooses sentences that have two rare words or more.

    A word that is not in the pronouncing dictionary leaves a sentence out: a synthesiser would have to guess how it is
    pronounced.

    Args:
        texts: of the recordings that there are.
        dictionary: of pronunciations.
        limit: a word with fewer occurrences in the recordings is rare.
    """

    def __init__(self, texts: Iterable[str], dictionary: Dictionary, limit: int = RARE):
        self.counts = Counter(word for text in texts for word in normalise(text).split())
        self.known = dictionary.words
        self.limit = limit

    def choose(self, text: str) -> bool:
        """Whether the sentence is to be recorded; if so, its words count as recorded from now on."""
        words = normalise(text).split()
        chosen = (
            all(word in self.known for word in words) and sum(self.counts[word] < self.limit for word in words) >= 2
        )
        if chosen:
            self.counts.update(words)
        return chosen


def synthesise(
    synthesiser,
    texts: Iterable[str],
    folder: Path,
    hours: float,
    seed: int,
    choose: Callable[[str], bool] | None = None,
) -> Path:
    """Synthesises texts until the manifest holds the given hours of speech.

    Args:
        synthesiser: one of `train.tools.synthesisers`.
        texts: sentences; those that the manifest holds already are skipped.
        folder: gets `manifest.jsonl` and `audio/` with FLAC files at `RATE`.
        hours: of speech in the manifest, earlier runs included.
        seed: of the order of the texts and of the voices.
        choose: text -> whether it is to be synthesised; all are without it.

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
        for number, text in enumerate(filter(choose or bool, pool), len(rows)):
            if seconds >= 3600 * hours:
                break
            if number % SENTENCES_PER_VOICE == 0 or number == len(rows):
                (speaker, style), pace = synthesiser.voice(rng), rng.uniform(0.85, 1.25)
            samples, rate = synthesiser.speak(text, style, pace * rng.uniform(0.95, 1.05))
            samples = soxr.resample(samples, rate, RATE)
            samples *= 0.7 / max(0.05, np.abs(samples).max())
            row = {
                "id": f"{synthesiser.name}-{seed}-{number:06}", "audio": f"audio/{seed}-{number:06}.flac",
                "seconds": round(len(samples) / RATE, 3), "speaker": speaker, "text": text, "corpus": synthesiser.name,
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
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--kokoro", type=Path, metavar="FOLDER", help="Kokoro-82M, whose files are there")
    which.add_argument("--flite", action="store_true", help="the command flite")
    which.add_argument("--espeak", action="store_true", help="the command espeak-ng")
    parser.add_argument(
        "--rare-in", type=Path, nargs="+", metavar="MANIFEST",
        help="only sentences with two or more words that are rare in these manifests and in the one that is made",
    )  # fmt: skip
    parser.add_argument(
        "--rare", type=whole(1), default=RARE, metavar="N",
        help="a word with fewer than N occurrences there is rare (default: %(default)s)",
    )  # fmt: skip
    hours = real(0, above=True)
    parser.add_argument("--hours", type=hours, required=True, help="of speech, those of earlier runs included")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=whole(0, MAX_SEED), default=0, help="another seed takes other sentences")
    args = parser.parse_args(arguments)
    try:
        synthesiser = Kokoro(args.kokoro) if args.kokoro else Flite() if args.flite else Espeak()
        choose = None
        if args.rare_in:
            made = args.out / "manifest.jsonl"
            manifests = [*args.rare_in, made] if made.exists() else args.rare_in
            texts = (clip.text for manifest in manifests for clip in read_manifest(manifest))
            choose = RareWords(texts, Dictionary(), args.rare).choose
        print(synthesise(synthesiser, sentences(args.text), args.out, args.hours, args.seed, choose))
    except (OSError, ValueError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
