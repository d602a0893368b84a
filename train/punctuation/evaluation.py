"""Held-out texts and recognised speech -> figures of a tagger, beside those of simple rules."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import jiwer
import numpy as np

from asr_core.bundle.description import CONFIG, fingerprint
from asr_core.storage import replace_file
from asr_core.text.tagger import Tag, Tagger
from train.data.manifest import read_bytes, read_manifest
from train.punctuation.labels import NONE, NOT_SCORED, STOP, UPPER, label_text
from train.punctuation.measures import score
from train.punctuation.pauses import Pauses
from train.punctuation.texts import Text, running_order

MAX_WORDS = 60_000  # of a held-out part that are scored
PASSAGE_WORDS = 400  # that share a speaker where pauses are drawn
PAUSE_SECONDS = 0.3  # from which on the rule "full stop at pauses" writes one
MIN_PUNCTUATED_SHARE = 0.2  # share of the clips of a corpus that must have punctuation


@dataclass(frozen=True)
class SpokenWord:
    """A word as the tagger takes it."""

    text: str
    start: float | None = None
    end: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, eq=False)
class Passage:
    """Words with the classes that their reference has.

    Attributes:
        words: with times.
        marks, capitals: int64 [words].
    """

    words: list[SpokenWord]
    marks: np.ndarray
    capitals: np.ndarray


def one_sentence(words: Sequence[SpokenWord]) -> list[Tag]:
    """The rule that writes one full stop at the end, one capital at the start, and I."""
    return [Tag("." if n == len(words) - 1 else "", _case(word, not n)) for n, word in enumerate(words)]


def stops_at_pauses(words: Sequence[SpokenWord]) -> list[Tag]:
    """The rule that writes a full stop at every pause of PAUSE_SECONDS."""
    tags, begins = [], True
    for n, word in enumerate(words):
        after = words[n + 1].start - word.end if n + 1 < len(words) else np.inf
        tags.append(Tag("." if after >= PAUSE_SECONDS else "", _case(word, begins)))
        begins = after >= PAUSE_SECONDS
    return tags


def _case(word: SpokenWord, begins: bool) -> str:
    return "first" if begins or word.text.split("'")[0] == "i" else "lower"


def evaluate(tagger: Tagger, passages: Sequence[Passage], report: Callable[[str], None]) -> None:
    """Reports the figures of the tagger with times, if there are any, and without them, and those of the rules."""
    marks = np.concatenate([passage.marks for passage in passages])
    capitals = np.concatenate([passage.capitals for passage in passages])
    bare = [[SpokenWord(word.text) for word in passage.words] for passage in passages]
    timed = [passage.words for passage in passages]
    has_times = any(word.start is not None for words in timed for word in words)
    for name, rule, texts in (
        ("tagger, with pauses", tagger, timed),
        ("tagger, words alone", tagger, bare),
        ("stop at pauses", stops_at_pauses, timed),
        ("nothing", one_sentence, bare),
    ):
        if texts is timed and not has_times:
            continue
        report(f"  {name:20} {score(marks, capitals, [tag for words in texts for tag in rule(words)])}")


def held_out(text: Text, chosen: np.ndarray, seed: int = 0) -> list[Passage]:
    """Passages of a held-out part with drawn times.

    Args:
        text: labelled.
        chosen: bool [words], the part: `text.blocks` or `text.end`.
        seed: of the times.
    """
    pauses, generator = Pauses.load(), np.random.default_rng(seed)
    at = running_order(text.labelled, np.flatnonzero(chosen), seed)
    every = max(1, len(at) // MAX_WORDS)  # of the passages, one is scored, so that all of the part is represented
    passages = []
    while len(at):
        size = min(PASSAGE_WORDS, len(at))
        ends = np.flatnonzero(text.labelled.marks[at[:size]] >= STOP)
        size = int(ends[-1]) + 1 if len(ends) else size
        part, at = at[:size], at[size * every :]
        words = [text.labelled.words[number] for number in text.labelled.numbers[part]]
        marks, capitals = (array[part].astype(np.int64) for array in (text.labelled.marks, text.labelled.capitals))
        times = pauses.draw(marks, np.array([len(word) for word in words]), generator)
        spoken = [SpokenWord(word, *row) for word, *row in zip(words, *(part.tolist() for part in times), strict=True)]
        passages.append(Passage(spoken, marks, capitals))
    return passages


def recognised(manifest: Path, model: str, folder: Path) -> dict[str, list[list]]:
    """Transcribes a manifest: id -> [text, start, end, confidence] of every word. Kept in `folder`."""
    from asr_core import load

    recognizer = load(model)
    parts = [manifest, recognizer.bundle.path / CONFIG]
    kept = folder / f"recognised.{'.'.join(fingerprint(part)['sha256'][:12] for part in parts)}.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    found = {}
    for clip in _punctuated(manifest):
        words = recognizer.transcribe(read_bytes(clip.audio)).words
        found[clip.id] = [[word.text, word.start, word.end, round(word.confidence, 4)] for word in words]
    replace_file(kept, json.dumps(found))
    return found


def _punctuated(manifest: Path) -> list:
    """The clips of the corpora whose published texts have case and punctuation."""
    clips = []
    for _, own in groupby(sorted(read_manifest(manifest), key=lambda c: (c.corpus, c.id)), key=lambda c: c.corpus):
        own = list(own)
        marked = [clip for clip in own if not clip.text.isupper() and any(mark in clip.text for mark in ".?!,;")]
        clips += own if len(marked) >= MIN_PUNCTUATED_SHARE * len(own) else []
    return clips


def speech_sets(manifest: Path, words_of: dict[str, list[list]]) -> Iterator[tuple[str, list[Passage]]]:
    """Per corpus of a manifest: its clips one by one, joined to one recording in their order, and its true words."""
    for corpus, own in groupby(_punctuated(manifest), key=lambda clip: clip.corpus):
        own = [clip for clip in own if words_of.get(clip.id)]
        single = [passage for clip in own if (passage := _passage(clip.text, words_of[clip.id]))]
        yield f"{corpus}, clip by clip", single
        offset, joined, texts = 0.0, [], []
        for clip in own:
            joined += [[text, start + offset, end + offset, sure] for text, start, end, sure in words_of[clip.id]]
            texts.append(clip.text)
            offset += clip.seconds
        whole = _passage(" ".join(texts), joined)
        yield f"{corpus}, joined", [whole] if whole else []
        truth = label_text(" ".join(texts))
        if truth is not None:
            spoken = [SpokenWord(truth.words[number]) for number in truth.numbers]
            capitals = np.where(truth.capitals == UPPER, NOT_SCORED, truth.capitals).astype(np.int64)
            yield f"{corpus}, true words", [Passage(spoken, truth.marks.astype(np.int64), capitals)]


def _passage(text: str, rows: list[list]) -> Passage | None:
    """Recognised words with the classes of the reference words that they are aligned with.

    The mark of a word that was not recognised belongs to the word before it. Words in capitals are not scored: in some
    texts capitals are emphasis.
    """
    reference = label_text(text)
    if reference is None or not len(reference.numbers):
        return None
    spoken = [reference.words[number] for number in reference.numbers]
    hypothesis = [row[0] for row in rows]
    marks, capitals = np.full(len(rows), NONE, np.int64), np.full(len(rows), NOT_SCORED, np.int64)
    output = jiwer.process_words(" ".join(spoken), " ".join(hypothesis))
    for chunk in output.alignments[0]:
        for step in range(max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)):
            source = chunk.ref_start_idx + step if chunk.type != "insert" else None
            target = chunk.hyp_start_idx + step if chunk.type != "delete" else chunk.hyp_start_idx - 1
            if source is None or target < 0:
                continue
            marks[target] = max(marks[target], reference.marks[source])
            if chunk.type == "equal":
                capital = int(reference.capitals[source])
                capitals[target] = NOT_SCORED if capital == UPPER else capital
    return Passage([SpokenWord(*row) for row in rows], marks, capitals)
