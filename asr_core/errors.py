"""What can go wrong in a way that a user can mend. Every message is one sentence to act on.

Programming mistakes stay ordinary exceptions; only these reach a visitor word for word.
"""

import re

UNKNOWN_ARGUMENT = re.compile(r".*unexpected keyword argument '(\w+)'.*", re.S)
MISSING_ARGUMENTS = re.compile(r".* missing \d+ required [\w -]*arguments?: (.*)", re.S)
ERROR_NUMBER = re.compile(r"\[(Errno|WinError) -?\d+\] ")
MAX_REASON_CHARACTERS = 160


class AsrError(Exception):
    """Base of every error whose message is meant for the person at the other end."""


class AudioError(AsrError, ValueError):
    """A recording that cannot be read, or that holds nothing to recognise."""


class BundleError(AsrError, ValueError):
    """A model that is missing, incomplete, of an unknown format, or not what its description says."""


class LanguageModelError(AsrError, ValueError):
    """A language model that cannot be read."""


class AlignmentError(AsrError, ValueError):
    """A text that cannot be laid along a recording."""


class TranscriptError(AsrError, ValueError):
    """A file that was to hold a transcript and does not."""


class GivenTextError(AsrError, ValueError):
    """A text, a list of hot-words, or another argument that cannot be used as it was given."""


class ProcessEnded(AsrError):
    """The process that runs the network was ended; the next request finds another."""


class Cancelled(AsrError):
    """The work was stopped on request before it was done."""

    def __init__(self, message: str = "The transcription was cancelled."):
        super().__init__(message)


def printable(text: str) -> str:
    """A name in one line, and in characters that every terminal takes."""
    return "".join(character if character.isprintable() else "?" for character in text)


def reason(error: BaseException) -> str:
    """The cause inside a sentence for people, on one line: what libraries say, without the words of Python."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    elif isinstance(error, KeyError) and error.args:
        text = f"{error.args[0]} is missing"
    elif isinstance(error, UnicodeDecodeError):
        text = "it is not text in UTF-8"
    elif isinstance(error, RecursionError):
        text = "it is nested too deeply"
    elif isinstance(error, TypeError):
        text = UNKNOWN_ARGUMENT.sub(r"\1 is not known", text)
        text = MISSING_ARGUMENTS.sub(lambda found: f"it lacks {found[1]}".replace("'", ""), text)
    text = " ".join(ERROR_NUMBER.sub("", text).split())[:MAX_REASON_CHARACTERS].rstrip(".")
    return text or "the reason is not known"
