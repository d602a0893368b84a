"""Texts that users supply: text files and lists of hotwords.

The module does not import NumPy, so that the command line reports mistakes without delay.
"""

import codecs
import os
import re

from asr_core.errors import GivenTextError, printable, reason

MAX_TEXT_BYTES = 10_000_000  # of a file; the text of an hour of speech has about 60 kB
MAX_HOT_WORD_CHARACTERS = 100  # of one hotword; a longer one is a sentence, or uses other separators than those below
MAX_HOT_WORDS = 200  # in a list; every further hotword adds false recognitions
SEPARATORS = re.compile(r"[\r\n\t;]|(?<!\d),|,(?!\d{3}\b)")  # of hotwords; not the comma of 1,000
ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_text(path: str | os.PathLike) -> str:
    """The contents of a text file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        GivenTextError: the file cannot be opened, is larger than MAX_TEXT_BYTES, or is not text.
    """
    shown = printable(os.fspath(path))
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise GivenTextError(f"{shown} cannot be read ({reason(error)}).") from None
    if len(content) > MAX_TEXT_BYTES:
        raise GivenTextError(f"{shown} has more than {MAX_TEXT_BYTES // 1_000_000} MB: name a file of text.")
    encoding = next((name for mark, name in ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise GivenTextError(f"{shown} is not text in UTF-8: save it in that encoding.") from None
    if "\0" in text:
        raise GivenTextError(f"{shown} is not a file of text: it holds null characters.")
    return text


def read_hot_words(path: str | os.PathLike) -> tuple[str, ...]:
    """The hotwords of a file, as `split_hot_words` returns them; lines that begin with # are comments.

    Raises:
        GivenTextError: the file cannot be read, or holds no hotwords or too many of them.
    """
    lines = read_text(path).splitlines()
    words = split_hot_words("\n".join(line for line in lines if not line.lstrip().startswith("#")))
    if not words:
        raise GivenTextError(f"{printable(os.fspath(path))} holds no hotwords: write one on each line.")
    return words


def split_hot_words(text: str) -> tuple[str, ...]:
    """The distinct hotwords in a text that has one on each line, or commas, semicolons or tabs between them.

    Raises:
        GivenTextError: there are more than MAX_HOT_WORDS, or one is longer than MAX_HOT_WORD_CHARACTERS.
    """
    pieces = (" ".join(piece.split()) for line in text.splitlines() for piece in SEPARATORS.split(line))
    words = tuple(dict.fromkeys(filter(None, pieces)))
    if len(words) > MAX_HOT_WORDS:
        raise GivenTextError(f"There are {len(words)} hotwords and at most {MAX_HOT_WORDS} can be used: drop some.")
    if long := next((word for word in words if len(word) > MAX_HOT_WORD_CHARACTERS), None):
        raise GivenTextError(
            f"The hotword {printable(long[:30])}... has {len(long)} characters and the limit is "
            f"{MAX_HOT_WORD_CHARACTERS}: write one on each line."
        )
    return words
