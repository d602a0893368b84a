"""Recordings of a corpus -> rows of a manifest. What cannot be trained on is left out and counted by reason."""

import hashlib
import itertools
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr_core.errors import AudioError
from asr_core.storage import replace_file
from asr_core.text.normaliser import Normaliser
from train.corpora.tables import CorpusRecording, recordings_in
from train.data.examples import MAX_CHARACTERS_PER_SECOND, MAX_SECONDS, MIN_SECONDS
from train.data.manifest import MAX_RECORDING_SECONDS
from train.data.text_files import is_unicode
from train.options import duration

MIN_SPEAKERS = 10  # fewer speakers cannot be held out as a whole: clips are
EXAMPLES = 3  # names of left-out recordings to print for each reason
MAX_NAME_CHARACTERS = 60  # of a printed name; in a cut row a whole text may take its place
UNLISTED = "no line in a table of texts"


@dataclass
class Survey:
    """The clips of a corpus, and the recordings that were left out.

    Attributes:
        corpus: its name.
        rows: the manifest's row of each clip.
        changes: kind of change -> number of texts to which the normaliser applied it.
        dropped: reason -> names of the recordings that were left out for this reason.
        long: number of clips that are in the manifest but too long to train on.
    """

    corpus: str
    rows: list[dict] = field(default_factory=list)
    changes: Counter = field(default_factory=Counter)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    long: int = 0

    @property
    def hours(self) -> float:
        return sum(row["seconds"] for row in self.rows) / 3600

    def __str__(self) -> str:
        speakers = {row["speaker"] for row in self.rows}
        named = f"{len(speakers)} speakers" if speakers - {""} else "speakers not named"
        lines = [f"{self.corpus}: {len(self.rows)} clips, {duration(3600 * self.hours)}, {named}"]
        if self.changes:
            counts = ", ".join(f"{kind} in {count}" for kind, count in self.changes.most_common())
            lines.append(f"  the normaliser changes {counts} texts")
        for reason, names in self.dropped.items():
            shown = ", ".join(map(_shown, names[:EXAMPLES])) + (", ..." if len(names) > EXAMPLES else "")
            lines.append(f"  left out: {len(names)} with {reason} ({shown})")
        if self.long:
            lines.append(f"  training leaves out {self.long} longer than {MAX_SECONDS:g} s")
        return "\n".join(lines)


def _shown(name: str) -> str:
    name = " ".join(name.encode("utf-8", "replace").decode().split())
    return name if len(name) <= MAX_NAME_CHARACTERS else f"{name[:MAX_NAME_CHARACTERS]}..."


def survey(recordings: Iterable[CorpusRecording], corpus: str, root: Path, folders: Iterable[Path] = ()) -> Survey:
    """Checks every recording of a corpus: its length, its text, and whether the two can belong together.

    Args:
        recordings: as a layout lists them.
        corpus: its name.
        root: folder of the manifest; the rows' paths are relative to it.
        folders: folders whose recordings should all be listed; recordings that are not are counted as left out.
    """
    from tqdm import tqdm

    found, normalise, seen, names = Survey(corpus), Normaliser(), set(), Counter()
    recordings = list(recordings)
    latin = _is_latin(recording.text for recording in recordings)
    for recording in tqdm(recordings, desc=corpus, unit="clip", disable=None):
        foreign_letters = sum(normalise.dropped.values())
        if latin:
            spoken = normalise(" ".join(recording.text.split()))
        else:
            spoken = "".join(filter(str.isalnum, recording.text))
        foreign_letters = sum(normalise.dropped.values()) - foreign_letters
        seconds, reason = _judge(recording, spoken, foreign_letters, seen)
        if reason:
            found.dropped.setdefault(reason, []).append(recording.name)
            continue
        seen.add(recording.path.resolve())
        found.long += seconds > MAX_SECONDS
        row = _row(recording, seconds, corpus, root)
        names[row["id"]] += 1
        if names[row["id"]] > 1:  # files of the same name in different folders
            row["id"] += f"~{names[row['id']]}"
        found.rows.append(row)
    found.changes = normalise.changes
    if unlisted := _unlisted(recordings, folders):
        found.dropped[UNLISTED] = unlisted
    return found


def _is_latin(texts: Iterable[str]) -> bool:
    """Whether at least half of the letters are Latin. Otherwise the corpus is for a model with other letters."""
    latin = other = 0
    for letter in filter(str.isalpha, itertools.chain.from_iterable(texts)):
        if unicodedata.name(letter, "").startswith("LATIN"):
            latin += 1
        else:
            other += 1
    return latin >= other


def _unlisted(recordings: Sequence[CorpusRecording], folders: Iterable[Path]) -> list[str]:
    """Paths of the recordings in these folders that no row lists, relative to their folder."""
    listed = {recording.path.resolve() for recording in recordings if recording.path}
    present = {path: folder for folder in folders for path in recordings_in(folder)}
    return [path.relative_to(folder).as_posix() for path, folder in present.items() if path.resolve() not in listed]


def _judge(recording: CorpusRecording, spoken: str, foreign_letters: int, seen: set[Path]) -> tuple[float, str]:
    """(length in seconds, why the recording is left out or "")."""
    if recording.fault:
        return 0.0, recording.fault
    if recording.path is None:
        return 0.0, "no recording of that name, or several"
    if not spoken:
        return 0.0, "no text" if not recording.text.strip() else "no letter of the alphabet in the text"
    if foreign_letters:
        return 0.0, "letters of another script in the text"
    if not is_unicode(f"{recording.path}{recording.text}"):
        return 0.0, "a name that is not in UTF-8"
    if "#" in str(recording.path.resolve()):
        return 0.0, "a # in the path, which separates an archive from a file in it: rename it"
    if recording.path.resolve() in seen:
        return 0.0, "a recording that was listed before"
    try:
        seconds = recording.seconds or seconds_of(recording.path)
    except AudioError:
        return 0.0, "a recording that cannot be read"
    if seconds > MAX_RECORDING_SECONDS:
        return seconds, f"more than {MAX_RECORDING_SECONDS / 3600:g} hours"
    if seconds < MIN_SECONDS:
        return seconds, f"less than {MIN_SECONDS:g} s"
    if len(spoken) > MAX_CHARACTERS_PER_SECOND * seconds:
        return seconds, "more text than its audio can hold"
    return seconds, ""


def seconds_of(path: Path) -> float:
    """Length of a recording: from its header if the file is complete, otherwise by decoding it.

    Raises:
        AudioError: the recording cannot be read.
    """
    from asr_core.audio.files import stated_seconds
    from asr_core.audio.loading import load_audio

    seconds = stated_seconds(path)
    return load_audio(path, 16_000).seconds if seconds is None else seconds


def _row(recording: CorpusRecording, seconds: float, corpus: str, root: Path) -> dict:
    audio = Path(os.path.relpath(recording.path.parent.resolve() / recording.path.name, root.resolve())).as_posix()
    row = {
        "id": f"{corpus}/{recording.path.stem}",
        "audio": audio,
        "seconds": round(seconds, 3),
        "speaker": recording.speaker,
        "text": " ".join(recording.text.split()),
        "corpus": corpus,
    }
    return row | ({"accent": recording.accent} if recording.accent else {})


def hold_out(rows: Sequence[dict], share: float) -> tuple[list[dict], list[dict], str]:
    """Splits rows for training and validation, the same way every time.

    All clips of a speaker go to one side if there are at least MIN_SPEAKERS speakers; otherwise clips are split.

    Args:
        rows: of a manifest.
        share: of the hours that validation gets, between 0 and 1.

    Returns:
        (rows to train on, rows to validate on, what was split: "speakers" or "clips").
    """
    by_speaker = len({row["speaker"] for row in rows}) >= MIN_SPEAKERS
    key = "speaker" if by_speaker else "id"
    units: Counter[str] = Counter()  # seconds of each
    for row in rows:
        units[row[key]] += row["seconds"]
    held_out, room = set(), share * units.total()
    for unit in sorted(units, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if units[unit] <= room:
            held_out.add(unit)
            room -= units[unit]
    if units and not held_out:
        held_out.add(min(units, key=units.get))
    parts: tuple[list[dict], list[dict]] = [], []
    for row in rows:
        parts[row[key] in held_out].append(row)
    return *parts, "speakers" if by_speaker else "clips"


def write_manifest(rows: Sequence[dict], path: Path) -> None:
    """Writes a manifest atomically, one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"wrote {path}: {len(rows)} clips, {duration(sum(row['seconds'] for row in rows))}")
