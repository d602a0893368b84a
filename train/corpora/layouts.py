"""A folder of speech -> its recordings and texts: LJSpeech, LibriSpeech, Common Voice, or any folder with texts.

No recording is opened here; `train.corpora.survey` checks afterwards whether recordings can be decoded.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from train.corpora.tables import (
    OTHER_WIDTH,
    CorpusRecording,
    Finder,
    columns_of,
    mark_cut,
    read_table,
    recordings_in,
    rows_of,
)
from train.data.manifest import MAX_RECORDING_SECONDS
from train.data.text_files import CorpusError, lines_of, text_of

TABLES = "metadata transcripts transcript text manifest train".split()  # usual names of tables, the likeliest first
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
MIN_NORMALISED_SHARE = 0.5  # of a text's characters: spelling figures out makes a text longer, so less means a cut row
SHORTENED = "a normalised text much shorter than its text"


@dataclass(frozen=True)
class Layout:
    """The way a corpus is arranged in folders and tables.

    Attributes:
        name: of the layout.
        fits: whether a folder has this layout.
        parts: the names of a folder's parts, in order of preference; [""] if it has none.
        read: (folder, part) -> the recordings that its tables list.
        where: (folder, part) -> the folder whose recordings should all be listed.
    """

    name: str
    fits: Callable[[Path], bool]
    parts: Callable[[Path], list[str]]
    read: Callable[[Path, str], Iterable[CorpusRecording]]
    where: Callable[[Path, str], Path]


def layout_of(folder: Path) -> Layout:
    """Finds the layout of a folder.

    Raises:
        CorpusError: there is no such folder.
    """
    if not folder.is_dir():
        raise CorpusError(f"There is no folder {folder}.")
    return next(layout for layout in LAYOUTS if layout.fits(folder))


def _is_ljspeech(folder: Path) -> bool:
    table = folder / "metadata.csv"
    if not (table.is_file() and (folder / "wavs").is_dir()):
        return False
    head = text_of(table).partition("\n")[0]
    return "|" in head and not columns_of(head.split("|"))


def _ljspeech(folder: Path, part: str) -> list[CorpusRecording]:
    """Reads `metadata.csv`: ID|text|normalised text. The normalised text, where there is one, is the transcript.

    Raises:
        CorpusError: most rows have neither two nor three columns.
    """
    rows = rows_of(folder / "metadata.csv", "|")
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 2
    if width not in (2, 3):
        raise CorpusError(
            f"{folder / 'metadata.csv'} has {width} columns, and LJSpeech has ID|text or ID|text|normalised text: "
            "name the columns in its first line (file|text, perhaps speaker and accent)."
        )
    wavs = folder / "wavs"
    find = Finder([wavs, folder], wavs)
    return mark_cut(_ljspeech_row(row, width, wavs, find) for row in rows)


def _ljspeech_row(row: list[str], width: int, wavs: Path, find: Finder) -> CorpusRecording:
    name, *texts = row
    path = wavs / f"{name}.wav"
    text = next((text for text in reversed(texts) if text.strip()), "")
    fault = "" if len(row) == width else OTHER_WIDTH
    if not fault and len(text) < MIN_NORMALISED_SHARE * len(texts[0]):
        fault = SHORTENED
    is_original = name.startswith("LJ")  # many corpora of other speakers have the same layout
    speaker, accent = ("LJ", "US English") if is_original else ("", "")
    return CorpusRecording(name, path if path.is_file() else find(name), text, speaker, accent, fault=fault)


def _librispeech(folder: Path, part: str) -> list[CorpusRecording]:
    """Reads `PART/SPEAKER/CHAPTER/*.trans.txt`: an ID, white space, a text. Recordings are flac files beside it."""
    inside = folder / part if part else folder
    return [row for table in sorted(inside.rglob("*.trans.txt")) for row in mark_cut(_chapter(table))]


def _chapter(table: Path) -> list[CorpusRecording]:
    recordings = []
    for line in lines_of(table):
        name, *text = line.split(maxsplit=1)
        path = table.parent / f"{name}.flac"
        there = path if path.is_file() else None
        recordings.append(CorpusRecording(name, there, text[0] if text else "", name.split("-")[0]))
    return recordings


def _librispeech_parts(folder: Path) -> list[str]:
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.isdigit()]
    return [path.name for path in inside if any(path.glob("*/*/*.trans.txt"))] or [""]


def _commonvoice(folder: Path, part: str) -> list[CorpusRecording]:
    """Reads `PART.tsv` with client_id, path, sentence and accents. Recordings are in `clips`."""
    seconds = _commonvoice_seconds(folder / "clip_durations.tsv")
    heads, *rows = rows_of(folder / f"{part}.tsv", "\t")
    return mark_cut(_commonvoice_row(heads, row, folder / "clips", seconds) for row in rows)


def _commonvoice_row(heads: list[str], row: list[str], clips: Path, seconds: dict[str, float]) -> CorpusRecording:
    cells = dict(zip(heads, row, strict=False))
    name = cells.get("path", "").replace("\\", "/").removeprefix("clips/")
    file = name if Path(name).suffix else f"{name}.mp3"
    path = clips / file
    return CorpusRecording(
        name,
        path if name and path.is_file() else None,
        cells.get("sentence", ""),
        cells.get("client_id", ""),
        cells.get("accents") or cells.get("accent", ""),
        seconds.get(file),
        "" if len(row) == len(heads) else OTHER_WIDTH,
    )


def _commonvoice_parts(folder: Path) -> list[str]:
    named = [path.stem for path in sorted(folder.glob("*.tsv")) if _has_sentences(path)]
    known = [part for part in ("train", "dev", "test", "validated") if part in named]
    return known + [part for part in named if part not in known]


def _commonvoice_seconds(path: Path) -> dict[str, float]:
    """File -> duration in seconds; implausible durations are left out, so that they are measured instead."""
    if not path.is_file():
        return {}
    heads, *rows = rows_of(path, "\t") or [[]]
    if not {"clip", "duration[ms]"} <= set(heads):
        return {}
    cells = (dict(zip(heads, row, strict=False)) for row in rows if len(row) == len(heads))
    durations = {cell["clip"]: _milliseconds(cell["duration[ms]"]) / 1000 for cell in cells}
    return {clip: seconds for clip, seconds in durations.items() if 0 < seconds <= MAX_RECORDING_SECONDS}


def _milliseconds(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _has_sentences(path: Path) -> bool:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return {"client_id", "path", "sentence"} <= set(file.readline().rstrip("\n").split("\t"))


def _folder(folder: Path, part: str) -> list[CorpusRecording]:
    """Reads the table of a folder, or, if there is none, a text file beside each recording."""
    table = _table_in(folder)
    return read_table(table, folder) if table else _texts_beside(folder)


def _texts_beside(folder: Path) -> list[CorpusRecording]:
    recordings = recordings_in(folder)
    texts = {path: path.with_suffix(".txt") for path in recordings}
    unmatched = sorted(set(folder.rglob("*.txt")) - set(texts.values())) if recordings else []
    with_texts = [CorpusRecording(p.name, p, text_of(text) if text.is_file() else "") for p, text in texts.items()]
    return with_texts + [CorpusRecording(text.name, None, "") for text in unmatched]


def _table_in(folder: Path) -> Path | None:
    """The table of a folder: one with a usual name, or else the only one. Not a text named like a recording."""
    recordings = recordings_in(folder)
    named = {path.stem for path in recordings}
    tables = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES and path.stem not in named
    )
    usual = [path for name in TABLES for path in tables if path.stem.lower() == name]
    likely = [path for path in tables if path.suffix.lower() != ".txt"]
    if not usual and not likely and any(path.with_suffix(".txt").is_file() for path in recordings):
        return None  # each recording has its text; others are notes, such as a README.txt
    if usual or len(tables) == 1:
        return (usual or tables)[0]
    if len(likely) > 1:
        raise CorpusError(
            f"{folder} has several tables, {', '.join(path.name for path in likely)}: name one with --table."
        )
    return likely[0] if likely else None


def _one_part(folder: Path) -> list[str]:
    return [""]


LAYOUTS = (
    Layout(
        "LJSpeech",
        _is_ljspeech,
        _one_part,
        _ljspeech,
        lambda folder, part: folder / "wavs",
    ),
    Layout(
        "LibriSpeech",
        lambda folder: any(folder.glob("*/*/*.trans.txt")) or any(folder.glob("*/*/*/*.trans.txt")),
        _librispeech_parts,
        _librispeech,
        lambda folder, part: folder / part,
    ),
    Layout(
        "Common Voice",
        lambda folder: (folder / "clips").is_dir() and bool(_commonvoice_parts(folder)),
        _commonvoice_parts,
        _commonvoice,
        lambda folder, part: folder / "clips",
    ),
    Layout("folder", lambda folder: True, _one_part, _folder, lambda folder, part: folder),
)
