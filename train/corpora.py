"""Corpora -> manifests: public ones fetched, those on this disk read, any folder with a table of texts.

    python -m train.corpora folder recordings --out data/mine.jsonl --valid 0.1
    python -m train.corpora fetch librispeech --parts dev-clean train-clean-100 --to data

A manifest has one JSON object a line: id, audio (relative to the manifest), seconds, speaker, text as
published, corpus, and accent where it is known. What cannot be trained on is left out, and said.
"""

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr_core.errors import AsrError, AudioError
from asr_core.vocabulary import Normaliser
from train.data import MAX_CHARACTERS_SECOND, MAX_SECONDS, MIN_SECONDS
from train.downloads import Archive, fetch
from train.layouts import CorpusError, Recording, layout_of, read_table

LEAST_SPEAKERS = 10  # from so many on, clips are held out by speaker
EXAMPLES = 3  # of what was left out, by reason

DONE, FAILED, INTERRUPTED = 0, 1, 130

_LIBRISPEECH = {  # part -> SHA-256, bytes
    "dev-clean": ("76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3", 337_926_286),
    "dev-other": ("12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365", 314_305_928),
    "test-clean": ("39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23", 346_663_984),
    "test-other": ("d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29", 328_757_843),
    "train-clean-100": ("d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2", 6_387_309_499),
    "train-clean-360": ("146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf", 23_049_477_885),
    "train-other-500": ("ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2", 30_593_501_606),
}
PUBLIC = {  # corpus -> part -> archive
    "ljspeech": {
        "": Archive(
            "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
            2_748_572_632,
            "LJSpeech-1.1",
        )
    },
    "librispeech": {
        part: Archive(f"https://www.openslr.org/resources/12/{part}.tar.gz", sha256, size, f"LibriSpeech/{part}")
        for part, (sha256, size) in _LIBRISPEECH.items()
    },
}


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
            shown = ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
            lines.append(f"  left out: {len(names)} with {reason} ({shown})")
        if self.long:
            lines.append(f"  training leaves out {self.long} longer than {MAX_SECONDS:g} s")
        return "\n".join(lines)


def survey(recordings: Iterable[Recording], corpus: str, root: Path) -> Survey:
    """Looks at every recording of a corpus once: its length, and whether text and sound can belong together.

    Args:
        recordings: as a layout names them.
        corpus: what to call it.
        root: folder of the manifest, to which paths are relative.
    """
    from tqdm import tqdm

    found, normalise, seen, names = Survey(corpus), Normaliser(), set(), Counter()
    for recording in tqdm(list(recordings), desc=corpus, unit="clip", disable=None):
        odd = sum(normalise.dropped.values())
        spoken = normalise(recording.text)
        odd = sum(normalise.dropped.values()) - odd
        seconds, reason = _judge(recording, spoken, odd, seen)
        if reason:
            found.dropped.setdefault(reason, []).append(recording.name)
            continue
        seen.add(recording.path)
        found.long += seconds > MAX_SECONDS
        row = _row(recording, seconds, corpus, root)
        names[row["id"]] += 1
        if names[row["id"]] > 1:  # of one name, in different folders
            row["id"] += f"~{names[row['id']]}"
        found.rows.append(row)
    found.changes = normalise.changes
    return found


def _judge(recording: Recording, spoken: str, odd: int, seen: set[Path]) -> tuple[float, str]:
    """(seconds, why it is left out or nothing)."""
    if recording.path is None:
        return 0.0, "no recording of that name, or several"
    if not spoken:
        return 0.0, "no text" if not recording.text.strip() else "no letter of the alphabet in the text"
    if odd:
        return 0.0, "letters of another script in the text"
    if "#" in str(recording.path):
        return 0.0, "a # in the path, which parts an archive from its member"
    if recording.path in seen:
        return 0.0, "a recording that was listed before"
    try:
        seconds = recording.seconds or seconds_of(recording.path)
    except AudioError:
        return 0.0, "a recording that cannot be read"
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
    from asr_core.audio import load_audio
    from asr_core.sound_files import stated_seconds

    seconds = stated_seconds(path)
    return load_audio(path, 16_000).seconds if seconds is None else seconds


def _row(recording: Recording, seconds: float, corpus: str, root: Path) -> dict:
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

    Speakers go to one side as a whole where there are LEAST_SPEAKERS of them; otherwise clips do.
    """
    by_speaker = len({row["speaker"] for row in rows}) >= LEAST_SPEAKERS
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


def read(asked: argparse.Namespace) -> None:
    """`folder`: a folder on this disk -> a manifest.

    Raises:
        CorpusError: it holds nothing to train on.
    """
    folder = asked.folder
    corpus = asked.name or folder.resolve().name
    layout = layout_of(folder)
    if asked.table:
        print(f"{folder}: recordings listed in {asked.table}")
        recordings = read_table(asked.table, folder)
    else:
        parts = layout.parts(folder)
        chosen = asked.parts or parts[:1]
        if unknown := [part for part in chosen if part not in parts]:
            has = ", ".join(filter(None, parts)) or "no parts"
            raise CorpusError(f"{folder} ({layout.name}) has {has}, not {', '.join(unknown)}.")
        print(f"{folder}: {layout.name}" + (f", {', '.join(chosen)} of {', '.join(parts)}" if parts[0] else ""))
        recordings = (one for part in chosen for one in layout.read(folder, part))
    found = survey(recordings, corpus, asked.out.parent)
    print(found)
    if not found.rows:
        raise CorpusError(
            f"{folder} holds nothing to train on: put recordings there, and a table of file names and texts "
            "(metadata.csv), or a text file beside each."
        )
    if asked.valid is None:
        write_manifest(found.rows, asked.out)
        return
    training, validation, parted = hold_out(found.rows, asked.valid)
    print(f"held out {asked.valid:.0%} by {parted}")
    write_manifest(training, asked.out)
    write_manifest(validation, asked.out.with_name(f"{asked.out.stem}-valid{asked.out.suffix}"))


def get(asked: argparse.Namespace) -> None:
    """`fetch`: a public corpus -> its parts on this disk, and a manifest of each.

    Raises:
        DownloadError: it cannot be fetched.
    """
    archives = PUBLIC[asked.corpus]
    parts = asked.parts or list(archives)[:1]
    if unknown := [part for part in parts if part not in archives]:
        has = ", ".join(filter(None, archives)) or "no parts"
        raise CorpusError(f"{asked.corpus} has {has}, not {', '.join(unknown)}.")
    for part in parts:
        archive, name = archives[part], "-".join(filter(None, [asked.corpus, part]))
        print(f"{name}: {archive.url} ({archive.size / 1e9:.1f} GB)")
        folder = fetch(archive, asked.to)
        found = survey(layout_of(folder).read(folder, ""), name, asked.to)
        print(found)
        write_manifest(found.rows, asked.to / f"{name}.jsonl")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.corpora", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="{folder,fetch}")
    reading = commands.add_parser("folder", help="a folder on this disk -> a manifest")
    reading.add_argument("folder", type=Path, help="LJSpeech, LibriSpeech, Common Voice, or your recordings")
    reading.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    reading.add_argument("--name", help="of the corpus (default: of the folder)")
    reading.add_argument("--parts", nargs="+", help="such as dev-clean, or train (default: the first)")
    reading.add_argument("--table", type=Path, help="csv, tsv or txt with file names and texts")
    reading.add_argument("--valid", type=_share, metavar="SHARE", help="hold out so much in FILE-valid.jsonl")
    reading.set_defaults(do=read)
    fetching = commands.add_parser("fetch", help="a public corpus -> this disk, and a manifest of each part")
    fetching.add_argument("corpus", choices=list(PUBLIC))
    fetching.add_argument("--parts", nargs="+", help="of librispeech (default: dev-clean)")
    fetching.add_argument("--to", type=Path, default=Path("data"), metavar="FOLDER", help="default: data")
    fetching.set_defaults(do=get)
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    try:
        if 0 < float(text) < 1:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a share; give a number between 0 and 1, such as 0.1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    asked = parse(arguments)
    try:
        asked.do(asked)
    except (AsrError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Stopped; run it again to go on.", file=sys.stderr)
        return INTERRUPTED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
