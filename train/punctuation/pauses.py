"""Pauses after words and the pace of words, by the punctuation after them: measured on recordings, drawn for training.

    python -m train.punctuation.pauses --manifest train.jsonl --out pauses.json

The measured values that come with the program (`pauses.json` beside this file) are those of corpora with published
punctuation, a voice or a way of recording each. Training draws a corpus for every text, then for every word a measured
pair of pause and pace among those of its class.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from asr_core.errors import AlignmentError, AsrError
from asr_core.text.word_features import LETTER_SECONDS, WORD_SECONDS
from train.data.manifest import read_bytes, read_manifest
from train.options import DONE, FAILED, in_words, make_room, stoppable, whole
from train.punctuation.labels import COMMA, QUESTION, STOP, LabelledText, label

MEASURED = Path(__file__).with_name("pauses.json")
MAX_SAMPLES = 400  # of a class in a corpus
MIN_SAMPLES = 30  # of a class; a corpus with fewer borrows those of all others
MIN_CONFIDENCE = 0.5  # of both words beside a pause: a misread text is not measured
HESITATIONS = (0.0, 0.08)  # share of words inside a sentence that a long pause follows, from fluent to halting
HESITATION_SECONDS = (0.15, 0.9)
LONGER_STOPS = (0.25, 0.4)  # share of full stops with a longer pause, as between paragraphs; its mean in seconds
COMMA_FACTORS = (0.7, 4.0)  # of pauses at commas in a text: some readers pause there as long as at full stops
STOP_FACTORS = (0.7, 2.0)  # of pauses at full stops in a text
TEMPO = (0.75, 1.4)  # of a speaker, relative to the corpus: divides pauses


class Pauses:
    """Draws start and end of words for a text without a recording.

    Args:
        measured: corpus -> class of the mark after a word -> [[pause in seconds, log of the pace], ...].
    """

    def __init__(self, measured: dict[str, dict[str, list]]):
        pooled = {mark: [row for corpus in measured.values() for row in corpus.get(mark, [])] for mark in "012"}
        self._corpora = []
        for corpus in measured.values():
            rows = [corpus.get(mark, []) for mark in "012"]
            chosen = [own if len(own) >= MIN_SAMPLES else pooled[mark] for own, mark in zip(rows, "012", strict=True)]
            self._corpora.append([np.array(rows, np.float64).reshape(-1, 2) for rows in chosen])

    @classmethod
    def load(cls, path: Path = MEASURED) -> "Pauses":
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def draw(self, marks: np.ndarray, letters: np.ndarray, generator: np.random.Generator):
        """Times of one text.

        Args:
            marks: class of each word: [words].
            letters: number of letters of each word: [words].
            generator: of random numbers.

        Returns:
            Start and end of each word in seconds: float64 [words] each.
        """
        corpus = self._corpora[generator.integers(len(self._corpora))]
        pauses, paces = np.empty(len(marks)), np.empty(len(marks))
        classes = np.minimum(marks, STOP)
        for mark, rows in enumerate(corpus):
            at = np.flatnonzero(classes == mark)
            drawn = rows[generator.integers(len(rows), size=len(at))]
            pauses[at], paces[at] = drawn[:, 0], drawn[:, 1]
        for mark, factors in ((COMMA, COMMA_FACTORS), (STOP, STOP_FACTORS)):
            pauses[classes == mark] *= np.exp(generator.uniform(*np.log(factors)))
        tempo = generator.uniform(*TEMPO)
        pauses = pauses * generator.uniform(0.8, 1.25, len(marks)) / tempo
        longer = (classes == STOP) & (generator.random(len(marks)) < LONGER_STOPS[0])
        pauses[longer] += generator.exponential(LONGER_STOPS[1], int(longer.sum()))
        halting = generator.random(len(marks)) < generator.uniform(*HESITATIONS)
        at = np.flatnonzero(halting & (classes == 0))
        pauses[at] = generator.uniform(*HESITATION_SECONDS, len(at))
        seconds = (LETTER_SECONDS * letters + WORD_SECONDS) * np.exp(paces) / np.sqrt(tempo)
        start = np.cumsum(np.concatenate([[0.0], (seconds + pauses)[:-1]]))
        return start, start + seconds


def measure(recognizer, clips) -> dict[str, dict[str, list]]:
    """Aligns clips with their published texts: what `Pauses` takes."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        text = label([clip.text])
        if len(text.numbers) < 3:
            continue
        spoken = [text.words[number] for number in text.numbers]
        try:
            audio = recognizer.load(read_bytes(clip.audio))
            words = recognizer.align(recognizer.emissions(audio), audio.seconds, " ".join(spoken)).words
        except AlignmentError:
            continue
        if len(words) == len(spoken):
            _collect(found[clip.corpus], words, text)
    return {corpus: {mark: rows[:MAX_SAMPLES] for mark, rows in marks.items()} for corpus, marks in found.items()}


def _collect(found: dict[str, list], words, text: LabelledText) -> None:
    for place, (word, following) in enumerate(zip(words, words[1:], strict=False)):
        if min(word.confidence, following.confidence) < MIN_CONFIDENCE or word.end <= word.start:
            continue
        expected = LETTER_SECONDS * len(word.text) + WORD_SECONDS
        pace = np.log(max(word.end - word.start, 0.01) / expected)
        mark = STOP if text.marks[place] == QUESTION else int(text.marks[place])
        found[str(mark)].append([round(max(0.0, following.start - word.end), 2), round(float(pace), 2)])


def choose_clips(clips, corpora: list[str], count: int) -> list:
    """At most `count` clips of each corpus, those with most marks inside first."""
    chosen = []
    for corpus in corpora:
        own = [clip for clip in clips if clip.corpus == corpus]
        inner = {clip.id: sum(clip.text[:-1].count(mark) for mark in ".?!,;") for clip in own}
        chosen += sorted(own, key=lambda clip: (-min(inner[clip.id], 2), clip.id))[:count]
    return chosen


@stoppable
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m train.punctuation.pauses", description=__doc__.split("\n")[0])
    parser.add_argument("--manifest", type=Path, required=True, help="clips with published punctuation")
    parser.add_argument("--corpus", action="append", default=[], help="of the manifest; all of them if not given")
    parser.add_argument("--clips", type=whole(1), default=100, help="of each corpus at most")
    parser.add_argument("--model", default="default", help="that aligns")
    parser.add_argument(
        "--out", type=Path, required=True, help=f"JSON; the training reads {MEASURED.name} beside this module"
    )
    options = parser.parse_args(arguments)
    from asr_core import load

    try:
        make_room(options.out)
        clips = read_manifest(options.manifest)
        corpora = options.corpus or sorted({clip.corpus for clip in clips})
        measured = measure(load(options.model), choose_clips(clips, corpora, options.clips))
        if not measured:
            raise AsrError(f"{options.manifest} has no clip of {', '.join(corpora)} that can be measured.")
        options.out.write_text(json.dumps(measured, separators=(",", ":")) + "\n", encoding="utf-8")
    except (AsrError, OSError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    for corpus, marks in measured.items():
        for mark, rows in sorted(marks.items()):
            pauses = np.array(rows)[:, 0]
            quantiles = " ".join(f"{value:.2f}" for value in np.percentile(pauses, (10, 25, 50, 75, 90)))
            print(f"{corpus:24} class {mark} {len(rows):5}  pause 10/25/50/75/90 %: {quantiles} s")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
