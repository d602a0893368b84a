"""Reads text files in UTF-8, with errors that name the line; lines end at line feeds only."""

from pathlib import Path

from asr_core.errors import AsrError


class CorpusError(AsrError, ValueError):
    """A folder, table or text file from which no training data can be read."""


def text_of(path: Path) -> str:
    """The text of a UTF-8 file, with \\n as line ends and without byte-order marks.

    Raises:
        CorpusError: the file cannot be read, or has another encoding.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise _other_encoding(path, content, error.start) from error
    if (place := content.find(0)) >= 0:  # UTF-8 text has no zero bytes; UTF-16 has many
        raise _other_encoding(path, content, place)
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def _other_encoding(path: Path, content: bytes, place: int) -> CorpusError:
    line = content[:place].count(b"\n") + 1
    return CorpusError(f"{path} is not in UTF-8 (byte {place}) in line {line}: save it in UTF-8.")


def is_unicode(text: str) -> bool:
    """Whether a string can be encoded: JSON and file names may bring surrogates, which are not characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def lines_of(path: Path) -> list[str]:
    """The lines of a file that are not blank; other line separators, such as U+2028, belong to a line."""
    return [line for line in text_of(path).split("\n") if line.strip()]
