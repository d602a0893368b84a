"""Text files that people made: UTF-8 or an error by line number, lines parted at line feeds alone."""

from pathlib import Path

from asr_core.errors import AsrError


class CorpusError(AsrError, ValueError):
    """A folder or a table from which no manifest can be made."""


def text_of(path: Path) -> str:
    """The text of a file in UTF-8, with \\n at the ends of lines and without byte-order marks.

    Raises:
        CorpusError: it cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise _other_encoding(path, content, error.start) from error
    if (place := content.find(0)) >= 0:  # no text has it, and UTF-16 without a mark is full of it
        raise _other_encoding(path, content, place)
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def _other_encoding(path: Path, content: bytes, place: int) -> CorpusError:
    line = content[:place].count(b"\n") + 1
    return CorpusError(f"{path} is not in UTF-8 (byte {place}) in line {line}: save it in UTF-8.")


def is_unicode(text: str) -> bool:
    """Whether a text can be written; JSON may hold halves of characters, and names of files bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def lines_of(path: Path) -> list[str]:
    """The lines of a text that are not blank; line separators of Unicode, such as U+2028, are part of a line."""
    return [line for line in text_of(path).split("\n") if line.strip()]
