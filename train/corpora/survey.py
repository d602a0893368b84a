"""Recordings of a corpus -> rows of a manifest, with what cannot be trained on left out and counted."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr_core.errors import AudioError
from asr_core.text.normaliser import Normaliser
from train.corpora.tables import CorpusRecording, recordings_in
from train.data.examples import MAX_CHARACTERS_SECOND, MAX_SECONDS, MIN_SECONDS
from train.data.manifest import MAX_RECORDING_SECONDS
from train.data.text_files import is_unicode

MIN_SPEAKERS = 10  # from so many on, clips are held out by speaker
EXAMPLES = 3  # of what was left out, by reason
MAX_NAME_CHARACTERS = 60  # of such an example; a row that was cut may have a whole text in its place
UNLISTED = "no line in a table of texts"


@dataclass
class Survey:
    """What a corpus holds, and what of it was left out.

    Attributes:
        corpus: its name.
        rows: what a manifest says of each clip.
        changes: kind of change -> number of texts in which the normaliser made it.
        dropped: reason -> names of the recordings left out for it.
        long: how many clips stay in the manifest but are too long to train on.
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
        lines = [f"{self.corpus}: {len(self.rows)} clips, {self.hours:.2f} hours, {named}"]
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
    """Looks at every recording of a corpus once: its length, and whether text and recording can belong together.

    Args:
        recordings: as a layout names them.
        corpus: what to call it.
        root: folder of the manifest, to which paths are relative.
        folders: those whose recordings should all be listed; others in them are counted.
    """
    from tqdm import tqdm

    found, normalise, seen, names = Survey(corpus), Normaliser(), set(), Counter()
    recordings = list(recordings)
    for recording in tqdm(recordings, desc=corpus, unit="clip", disable=None):
        odd = sum(normalise.dropped.values())
        spoken = normalise(" ".join(recording.text.split()))
        odd = sum(normalise.dropped.values()) - odd
        seconds, reason = _judge(recording, spoken, odd, seen)
        if reason:
            found.dropped.setdefault(reason, []).append(recording.name)
            continue
        seen.add(recording.path.resolve())
        found.long += seconds > MAX_SECONDS
        row = _row(recording, seconds, corpus, root)
        names[row["id"]] += 1
        if names[row["id"]] > 1:  # of one name, in different folders
            row["id"] += f"~{names[row['id']]}"
        found.rows.append(row)
    found.changes = normalise.changes
    if unlisted := _unlisted(recordings, folders):
        found.dropped[UNLISTED] = unlisted
    return found


def _unlisted(recordings: Sequence[CorpusRecording], folders: Iterable[Path]) -> list[str]:
    """Recordings in some folders that no row names, each from its folder."""
    listed = {recording.path.resolve() for recording in recordings if recording.path}
    present = {path: folder for folder in folders for path in recordings_in(folder)}
    return [path.relative_to(folder).as_posix() for path, folder in present.items() if path.resolve() not in listed]


def _judge(recording: CorpusRecording, spoken: str, odd: int, seen: set[Path]) -> tuple[float, str]:
    """(seconds, why it is left out or nothing)."""
    if recording.fault:
        return 0.0, recording.fault
    if recording.path is None:
        return 0.0, "no recording of that name, or several"
    if not spoken:
        return 0.0, "no text" if not recording.text.strip() else "no letter of the alphabet in the text"
    if odd:
        return 0.0, "letters of another script in the text"
    if not is_unicode(f"{recording.path}{recording.text}"):
        return 0.0, "a name that is not in UTF-8"
    if "#" in str(recording.path):
        return 0.0, "a # in the path, which parts an archive from its member"
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
    if len(spoken) > MAX_CHARACTERS_SECOND * seconds:
        return seconds, "more text than its sound can hold"
    return seconds, ""


def seconds_of(path: Path) -> float:
    """Length of a recording, from its header where that says it and the last sample is there.

    Raises:
        AudioError: it cannot be read.
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
    """(to train on, to validate on, what was parted): about a share of the hours, the same every time.

    Speakers go to one side as a whole where there are MIN_SPEAKERS of them; otherwise clips do.
    """
    by_speaker = len({row["speaker"] for row in rows}) >= MIN_SPEAKERS
    key = "speaker" if by_speaker else "id"
    units: dict[str, float] = {}
    for row in rows:
        units[row[key]] = units.get(row[key], 0.0) + row["seconds"]
    held, room = set(), share * sum(units.values())
    for unit in sorted(units, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if units[unit] <= room:
            held.add(unit)
            room -= units[unit]
    if units and not held:
        held.add(min(units, key=units.get))
    parts: tuple[list[dict], list[dict]] = [], []
    for row in rows:
        parts[row[key] in held].append(row)
    return *parts, "speakers" if by_speaker else "clips"


def write_manifest(rows: Sequence[dict], path: Path) -> None:
    """One JSON object a line, all of them or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(path)
    hours = sum(row["seconds"] for row in rows) / 3600
    print(f"wrote {path}: {len(rows)} clips, {hours:.2f} hours")
