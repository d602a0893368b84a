"""The errors that a user can correct. The message of each is one sentence that names what to do.

Only these messages are shown to users; programming errors remain ordinary exceptions.
"""

import re
from unicodedata import category

UNPRINTABLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")  # Unicode categories; other kinds of spaces are printed
JOINERS = "\u200c\u200d"  # format characters that belong to words
UNKNOWN_ARGUMENT = re.compile(r".*unexpected keyword argument '(\w+)'.*", re.S)
MISSING_ARGUMENTS = re.compile(r".* missing \d+ required [\w -]*arguments?: (.*)", re.S)
ERROR_NUMBER = re.compile(r"\[(Errno|WinError) -?\d+\] ")
MAX_REASON_CHARACTERS = 160  # of the message of another library inside a sentence of ours


class AsrError(Exception):
    """Base of all errors whose message is meant for the user."""


class AudioError(AsrError, ValueError):
    """A recording that cannot be read, or that holds nothing to recognise."""


class BundleError(AsrError, ValueError):
    """A model that is missing, incomplete, of an unknown format, or in conflict with its configuration."""


class LanguageModelError(AsrError, ValueError):
    """A language model that cannot be read."""


class AlignmentError(AsrError, ValueError):
    """A text that cannot be aligned with a recording."""


class GivenTextError(AsrError, ValueError):
    """A text, a list of hotwords, or another argument that cannot be used as given."""


class ProcessEnded(AsrError):
    """The process that runs the network was ended; the next request starts another one."""


class Cancelled(AsrError):
    """The request was cancelled before it was done."""

    def __init__(self, message: str = "The transcription was cancelled."):
        super().__init__(message)


def printable(text: str) -> str:
    """A name with every character that would move the cursor, or the text around it, replaced by a question mark."""
    return "".join("?" if category(one) in UNPRINTABLE and one not in JOINERS else one for one in text)


def reason(error: BaseException) -> str:
    """The cause of an error for use inside a sentence: one line, without the jargon of Python exceptions."""
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
