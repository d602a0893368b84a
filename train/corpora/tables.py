"""Tables of texts -> recordings: which text belongs to which file, and which rows cannot be trusted.

A delimiter or a line break within a text cuts or shifts a row. The remains of such a row never become a transcript:
either the table is refused, or the row is marked and `train.corpora.survey` leaves it out. No recording is opened here.
"""

import csv
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from asr_core.audio.formats import AUDIO_SUFFIXES
from train.data.text_files import CorpusError, lines_of, text_of

COLUMNS = {  # purpose of a column -> names that tables give it, in order of preference
    "audio": "audio file path file_name filename audio_file audio_path wav clip recording id".split(),
    "text": "text transcript transcription sentence normalized_text label utterance words".split(),
    "speaker": "speaker speaker_id client_id reader voice".split(),
    "accent": "accent accents".split(),
}

# Faults of a row. They complete the printed line "left out: 3 with ...".
OTHER_WIDTH = "another number of columns than the rest of the table"
CUT = "a text that a line break has cut"


@dataclass(frozen=True)
class CorpusRecording:
    """A recording that a table lists.

    Attributes:
        name: its name in the table.
        path: its file; None if there is no such file, or more than one.
        text: its transcript, as published.
        speaker, accent: as published, or empty.
        seconds: its length as published, or None.
        fault: why its row cannot be trusted, or empty.
    """

    name: str
    path: Path | None
    text: str
    speaker: str = ""
    accent: str = ""
    seconds: float | None = None
    fault: str = ""


def rows_of(table: Path, delimiter: str | None) -> list[list[str]]:
    """Reads the rows of a table, blank ones excluded.

    Args:
        table: its file.
        delimiter: between columns; None if the first white space separates name and text.

    Raises:
        CorpusError: the table cannot be read.
    """
    if delimiter is None:
        return [line.split(maxsplit=1) for line in lines_of(table)]
    text = _text_of_table(table)
    quoted = delimiter in ",;" or text.startswith('"')
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
        return [row for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise CorpusError(f"{table} cannot be read as a table ({error}).") from error


def delimiter_of(table: Path) -> str | None:
    """The delimiter between the columns of a table; None for the first white space, as in Kaldi's `text`."""
    head = re.sub(r'"[^"]*"', "", _text_of_table(table).partition("\n")[0])  # without what is quoted
    candidates = {".tsv": "\t", ".csv": ",;\t|"}.get(table.suffix.lower(), "\t|;")
    best = max(candidates, key=head.count)
    return best if head.count(best) or table.suffix.lower() in (".csv", ".tsv") else None


def _text_of_table(table: Path) -> str:
    """The text of a table without the line, such as `sep=;`, that states the delimiter for Excel."""
    return re.sub(r"\Asep=.\r?\n", "", text_of(table))


def columns_of(heads: list[str]) -> dict[str, int] | None:
    """Purpose -> number of the column, or None if this line does not hold names of columns."""
    heads = [head.strip().lower().replace(" ", "_") for head in heads]
    found = {}
    for purpose, names in COLUMNS.items():
        if known := [name for name in names if name in heads]:
            found[purpose] = heads.index(known[0])
    return found if {"audio", "text"} <= found.keys() and found["audio"] != found["text"] else None


def recordings_in(folder: Path) -> list[Path]:
    """The recordings in a folder and its subfolders, recognised by their suffixes.

    Without hidden files: macOS writes files such as `._1.wav` beside others.
    """
    files = (p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in files if p.is_file())


class Finder:
    """Finds recordings by the names that tables give them.

    Args:
        roots: folders to which a name may be a relative path.
        folder: searched, with its subfolders, for a file of that name otherwise.
    """

    def __init__(self, roots: list[Path], folder: Path):
        self.roots = roots
        self.by_name: dict[str, list[Path]] = {}
        for path in recordings_in(folder):
            for name in {path.name, path.stem}:
                self.by_name.setdefault(name, []).append(path)

    def __call__(self, name: str) -> Path | None:
        """The recording of a name: a path (also of Windows), a file name, or a file name without its suffix."""
        return self._find(name) or (self._find(name.replace("\\", "/")) if "\\" in name else None)

    def _find(self, name: str) -> Path | None:
        if not name:
            return None
        for root in self.roots:
            if os.path.isfile(root / name):  # also False if the name cannot be a path
                return root / name
        found = self.by_name.get(Path(name).name, [])
        if not found and _is_audio(name):  # the same recording in another format
            found = self.by_name.get(Path(name).stem, [])
        if (parent := Path(name).parent.name) not in ("", ".."):  # a name with a folder means this folder
            found = [path for path in found if path.parent.name == parent]
        return found[0] if len(found) == 1 else None


def _is_audio(name: str) -> bool:
    return Path(name.strip()).suffix.lower() in AUDIO_SUFFIXES


def _shape(name: str) -> str:
    """The pattern of a name: runs of letters become "a", runs of digits "0"."""
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", name))


def mark_cut(recordings: Iterable[CorpusRecording], text_first: bool = False) -> list[CorpusRecording]:
    """Marks the recordings of a table whose text a line break has cut.

    After a line break in a text, the rest of the text becomes a row of its own. Such a row has no recording, and it has
    too few columns or a name of another pattern than those of recordings. The text belongs to the row before it or, in
    tables with texts before names, to the row after it.

    Args:
        recordings: of a table, in its order.
        text_first: whether the column of texts comes before that of names.
    """
    marked = list(recordings)
    if text_first:
        marked.reverse()
    shapes = {_shape(recording.name) for recording in marked if recording.path}
    owner = None  # number of the last row that is not the rest of another row
    for number, recording in enumerate(marked):
        rest = recording.path is None and not _is_audio(recording.name) and (
            recording.fault == OTHER_WIDTH or _shape(recording.name) not in shapes
        )  # fmt: skip
        if not rest:
            owner = number
        elif owner is not None and not marked[owner].fault:
            marked[owner] = replace(marked[owner], fault=CUT)
    return marked[::-1] if text_first else marked


def read_table(table: Path, folder: Path) -> list[CorpusRecording]:
    """Reads the recordings that a csv, tsv or txt file lists.

    If the first line names the columns (file and text, perhaps speaker and accent), the columns have these meanings.
    Otherwise there must be two columns, the name of a recording and its text. A recording is found by its path
    relative to the table or the folder, by its name and folder, or by its name without the suffix.

    Args:
        table: the file.
        folder: searched for the recordings.

    Raises:
        CorpusError: the table cannot be read, its columns are not known, or a row has more columns than the first.
    """
    delimiter = delimiter_of(table)
    rows = rows_of(table, delimiter)
    if not rows:
        raise CorpusError(f"{table} is empty.")
    places = columns_of(rows[0])
    width = len(rows[0]) if places else _width_without_heads(table, rows[0])
    rows = rows[1:] if places else rows
    places = places or {"audio": 0, "text": 1}
    find = Finder([table.parent, folder, folder.parent], folder)
    names = {_shape(row[places["audio"]].strip()) for row in rows if len(row) > places["audio"]}
    found = []
    for number, row in enumerate(rows, 1):
        more = len(row) > width and any(row[places["text"] + 1 :])  # empty cells after a text shift nothing
        if more or (delimiter and _holds_another_row(row, delimiter, find, names)):
            raise CorpusError(
                f"{table}, row {number} ({row[0][:40]!r}) has more columns than the first row, or holds another row: "
                f"put a text with {delimiter!r} in it between quotation marks, and close them."
            )
        fields = {name: row[place].strip() if place < len(row) else "" for name, place in places.items()}
        name = fields.pop("audio")
        fault = "" if len(row) > max(places["audio"], places["text"]) else OTHER_WIDTH
        found.append(CorpusRecording(name or row[0], find(name), **fields, fault=fault))
    return mark_cut(found, text_first=places["text"] < places["audio"])


def read_prompts(prompts: Path, folder: Path) -> list[CorpusRecording]:
    """Reads the recordings of sentences that were read aloud: the one with the number n in its name is of sentence n.

    Args:
        prompts: a text with one sentence a line; blank lines do not count.
        folder: with the recordings, such as `12.wav` or `take 12.m4a`; not all sentences need to have one.

    Raises:
        CorpusError: the text cannot be read, or a recording has no number, several numbers, that of another
            recording, or one beyond the text.
    """
    sentences = [line.strip() for line in lines_of(prompts) if line.strip()]
    found: dict[int, CorpusRecording] = {}
    for path in recordings_in(folder):
        numbers = {int(digits) for digits in re.findall(r"\d+", path.stem)}
        if len(numbers) > 1:
            raise CorpusError(f"{path} has several numbers in its name: leave that of its sentence, as in 12.wav.")
        number = min(numbers, default=0)
        if not 1 <= number <= len(sentences):
            raise CorpusError(
                f"{path} belongs to no sentence: its name needs a number from 1 to {len(sentences)}, which counts the "
                f"sentences of {prompts}."
            )
        if number in found:
            raise CorpusError(f"{found[number].path} and {path} have the same number: remove one of them.")
        found[number] = CorpusRecording(path.name, path, sentences[number - 1])
    return [found[number] for number in sorted(found)]


def _width_without_heads(table: Path, row: list[str]) -> int:
    width = max((number for number, cell in enumerate(row, 1) if cell.strip()), default=0)
    if width < 2:
        raise CorpusError(
            f"{table} has one column; write the name of a recording and its text on every line, "
            "parted by a tab or |, or in a .csv by a comma or semicolon."
        )
    if width > 2:
        raise CorpusError(
            f"{table} has {width} columns, or a text with a delimiter in it, in its first line: name the columns there "
            "(file and text, perhaps speaker and accent), and put such a text between quotation marks."
        )
    return width


def _holds_another_row(row: list[str], delimiter: str, find: Finder, shapes: set[str]) -> bool:
    """Whether a cell holds a line that looks like a row, because a quotation mark before it was not closed."""
    lines = [line for cell in row for line in cell.split("\n")[1:] if delimiter in line]
    names = [line.partition(delimiter)[0].strip() for line in lines]
    return any(_is_audio(name) or _shape(name) in shapes or find(name) for name in names)
