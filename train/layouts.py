"""What lies in a folder of speech: LJSpeech, LibriSpeech, Common Voice, or recordings with a table of texts.

A layout is read without opening a recording; whether they can be heard is `train.corpora`'s business.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asr_core.errors import AsrError
from asr_core.sound_files import AUDIO_SUFFIXES

COLUMNS = {  # what a column is for -> how tables call it, in the order of preference
    "audio": "audio file path file_name filename audio_file audio_path wav clip recording id".split(),
    "text": "text transcript transcription sentence normalized_text label utterance words".split(),
    "speaker": "speaker speaker_id client_id reader voice".split(),
    "accent": "accent accents".split(),
}
TABLES = "metadata transcripts transcript text manifest train".split()  # names that are looked for first
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")


class CorpusError(AsrError, ValueError):
    """A folder or a table from which no manifest can be made."""


@dataclass(frozen=True)
class Recording:
    """A recording as a layout names it.

    Attributes:
        name: what it is called there.
        path: where it lies, or None where there is no such recording, or more than one.
        text: what is said, as published.
        speaker, accent: as published, or empty.
        seconds: where the corpus says so, or None.
    """

    name: str
    path: Path | None
    text: str
    speaker: str = ""
    accent: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Layout:
    """A way in which corpora lie on a disk.

    Attributes:
        name: of the layout.
        fits: whether a folder is of this kind.
        parts: names of its parts, in the order of preference; most have one, "".
        read: (folder, part) -> its recordings.
    """

    name: str
    fits: Callable[[Path], bool]
    parts: Callable[[Path], list[str]]
    read: Callable[[Path, str], Iterable[Recording]]


def layout_of(folder: Path) -> Layout:
    """The layout of a folder.

    Raises:
        CorpusError: there is no such folder, or it holds no recording.
    """
    if not folder.is_dir():
        raise CorpusError(f"There is no folder {folder}.")
    return next(layout for layout in LAYOUTS if layout.fits(folder))


def _is_ljspeech(folder: Path) -> bool:
    table = folder / "metadata.csv"
    return table.is_file() and (folder / "wavs").is_dir() and "|" in _text(table).partition("\n")[0]


def _ljspeech(folder: Path, part: str) -> Iterator[Recording]:
    """`metadata.csv`: ID|text|text with figures spelled out; the last is what was read."""
    for row in _rows(folder / "metadata.csv", "|"):
        path = folder / "wavs" / f"{row[0]}.wav"
        herself = row[0].startswith("LJ")  # many corpora of others lie the same way
        speaker, accent = ("LJ", "US English") if herself else ("", "")
        yield Recording(row[0], path if path.is_file() else None, row[-1], speaker, accent)


def _librispeech(folder: Path, part: str) -> Iterator[Recording]:
    """`PART/SPEAKER/CHAPTER/*.trans.txt`: an ID, a space, its text; sound in flac files beside it."""
    inside = folder / part if part else folder
    for table in sorted(inside.rglob("*.trans.txt")):
        for line in _text(table).splitlines():
            name, _, text = line.partition(" ")
            path = table.parent / f"{name}.flac"
            yield Recording(name, path if path.is_file() else None, text, name.split("-")[0])


def _librispeech_parts(folder: Path) -> list[str]:
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.isdigit()]
    return [path.name for path in inside if any(path.glob("*/*/*.trans.txt"))] or [""]


def _commonvoice(folder: Path, part: str) -> Iterator[Recording]:
    """`PART.tsv` with client_id, path, sentence and accents; sound in `clips`."""
    seconds = _commonvoice_seconds(folder / "clip_durations.tsv")
    for row in _named_rows(folder / f"{part}.tsv", "\t"):
        name = row.get("path") or ""
        file = name if Path(name).suffix else f"{name}.mp3"
        path = folder / "clips" / file
        yield Recording(
            name,
            path if name and path.is_file() else None,
            row.get("sentence") or "",
            row.get("client_id") or "",
            row.get("accents") or row.get("accent") or "",
            seconds.get(file),
        )


def _commonvoice_parts(folder: Path) -> list[str]:
    named = [path.stem for path in sorted(folder.glob("*.tsv")) if _has_sentences(path)]
    known = [part for part in ("train", "dev", "test", "validated") if part in named]
    return known + [part for part in named if part not in known]


def _commonvoice_seconds(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    return {row["clip"]: float(row["duration[ms]"]) / 1000 for row in _named_rows(path, "\t")}


def _has_sentences(path: Path) -> bool:
    with open(path, encoding="utf-8", errors="replace") as file:
        return {"client_id", "path", "sentence"} <= set(file.readline().rstrip("\n").split("\t"))


def _folder(folder: Path, part: str) -> Iterator[Recording]:
    """A table if there is one, else a text beside every recording."""
    table = _table_in(folder)
    yield from read_table(table, folder) if table else _texts_beside(folder)


def read_table(table: Path, folder: Path) -> Iterator[Recording]:
    """The recordings that a csv, tsv or txt file lists.

    A first line with known names (file and text, perhaps speaker and accent) says what the columns are;
    without one the first column names the recording and the second its text. A recording is found by its path
    from the table or from the folder, by its name and folder, or by its name without the suffix.

    Raises:
        CorpusError: the table cannot be read, has one column only, or a row with more columns than the first.
    """
    delimiter = _delimiter(table)
    rows = list(_rows(table, delimiter))
    if not rows:
        raise CorpusError(f"{table} is empty.")
    places, width = _places(rows[0]), len(rows[0])
    if places:
        rows = rows[1:]
    elif len(rows[0]) < 2:
        raise CorpusError(
            f"{table} has one column; write the name of a recording and its text on every line, "
            "parted by a comma, a tab or |."
        )
    places = places or {"audio": 0, "text": 1}
    find = _Finder([table.parent, folder, folder.parent], folder)
    for number, row in enumerate(rows, 1):
        while len(row) > width and not row[-1]:
            row.pop()
        swallowed = delimiter and any(delimiter in line for cell in row for line in cell.split("\n")[1:])
        if len(row) > width or swallowed:
            raise CorpusError(
                f"{table}, row {number} ({row[0][:40]!r}) has more columns than the first row, or holds another row: "
                f"put a text with {delimiter!r} in it between quotation marks, and close them."
            )
        fields = {name: row[place].strip() if place < len(row) else "" for name, place in places.items()}
        name = fields.pop("audio")
        yield Recording(name, find(name), **fields)


def _places(heads: list[str]) -> dict[str, int] | None:
    """Column numbers by what they are for, or None if this is no line of names."""
    heads = [head.strip().lower().replace(" ", "_") for head in heads]
    found = {}
    for purpose, names in COLUMNS.items():
        if known := [name for name in names if name in heads]:
            found[purpose] = heads.index(known[0])
    return found if {"audio", "text"} <= found.keys() and found["audio"] != found["text"] else None


class _Finder:
    """Recordings by the names that tables give them."""

    def __init__(self, roots: list[Path], folder: Path):
        self.roots = roots
        self.by_name: dict[str, list[Path]] = {}
        for path in _recordings(folder):
            for name in {path.name, path.stem}:
                self.by_name.setdefault(name, []).append(path)

    def __call__(self, name: str) -> Path | None:
        if not name:
            return None
        for root in self.roots:
            if os.path.isfile(root / name):  # False for whatever cannot be a path, too
                return root / name
        found = self.by_name.get(Path(name).name) or self.by_name.get(Path(name).stem) or []
        if (parent := Path(name).parent.name) not in ("", ".."):  # another folder's recording is another recording
            found = [path for path in found if path.parent.name == parent]
        return found[0] if len(found) == 1 else None


def _recordings(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())


def _texts_beside(folder: Path) -> Iterator[Recording]:
    for path in _recordings(folder):
        text = path.with_suffix(".txt")
        yield Recording(path.name, path, _text(text) if text.is_file() else "")


def _table_in(folder: Path) -> Path | None:
    """The table of a folder: one with a telling name, or the only one; texts beside recordings are none."""
    named = {path.stem for path in _recordings(folder)}
    tables = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES and path.stem not in named
    )
    telling = [path for name in TABLES for path in tables if path.stem.lower() == name]
    if telling or len(tables) == 1:
        return (telling or tables)[0]
    likely = [path for path in tables if path.suffix.lower() != ".txt"]
    if len(likely) > 1:
        raise CorpusError(
            f"{folder} has several tables, {', '.join(path.name for path in likely)}: name one with --table."
        )
    return likely[0] if likely else None


def _delimiter(table: Path) -> str | None:
    """What parts columns; None for the first white space, as in Kaldi's `text`."""
    head = _text(table).partition("\n")[0]
    candidates = {".tsv": "\t", ".csv": ",;\t|"}.get(table.suffix.lower(), "\t|;")
    best = max(candidates, key=head.count)
    return best if head.count(best) or table.suffix.lower() != ".txt" else None


def _rows(table: Path, delimiter: str | None) -> Iterator[list[str]]:
    lines = io.StringIO(_text(table), newline="")
    if delimiter is None:
        yield from (line.split(maxsplit=1) for line in lines if line.strip())
        return
    quoting = csv.QUOTE_MINIMAL if delimiter in ",;" else csv.QUOTE_NONE
    try:
        yield from (row for row in csv.reader(lines, delimiter=delimiter, quoting=quoting) if any(row))
    except csv.Error as error:
        raise CorpusError(f"{table} cannot be read as a table ({error}).") from error


def _named_rows(table: Path, delimiter: str) -> Iterator[dict[str, str]]:
    rows = _rows(table, delimiter)
    heads = next(rows, [])
    yield from (dict(zip(heads, row, strict=False)) for row in rows)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not in UTF-8 (byte {error.start}): convert it.") from error


def _one_part(folder: Path) -> list[str]:
    return [""]


LAYOUTS = (
    Layout(
        "LJSpeech",
        _is_ljspeech,
        _one_part,
        _ljspeech,
    ),
    Layout(
        "LibriSpeech",
        lambda folder: any(folder.glob("*/*/*.trans.txt")) or any(folder.glob("*/*/*/*.trans.txt")),
        _librispeech_parts,
        _librispeech,
    ),
    Layout(
        "Common Voice",
        lambda folder: (folder / "clips").is_dir() and bool(_commonvoice_parts(folder)),
        _commonvoice_parts,
        _commonvoice,
    ),
    Layout("folder", lambda folder: True, _one_part, _folder),
)
