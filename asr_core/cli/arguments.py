"""Parses the arguments of the command line, and reports a wrong one in one line.

Imports nothing heavy, so that the report comes at once.
"""

import argparse
import math
from collections.abc import Callable, Sequence

from asr_core.decoding.options import MAX_SCORE, MAX_WIDTH
from asr_core.errors import AsrError, printable
from asr_core.text.given import read_hot_words
from asr_core.transcript.subtitles import MAX_CHARACTERS, MAX_LINES, MAX_SECONDS
from asr_core.transcript.writers import SPOKEN, TEXTS, WRITERS

SUBTITLES = ("srt", "vtt")  # formats that cannot be concatenated in one stream
MAX_LIMIT = 1000  # largest value of --track and of the limits of subtitles
BEAM_FLAGS = ("hotwords", "beam_width", "language_model_weight", "language_model")
SUBTITLE_FLAGS = ("max_line_length", "max_lines", "max_cue_seconds")

EPILOG = """\
With --out the folders of the recordings are mirrored below their common parent: 1/talk.wav and 2/talk.wav become
DIR/1/talk.txt and DIR/2/talk.txt. Files that exist already are refused before anything is transcribed; to continue with
a job that was stopped, start it again with --skip-existing.

Exit code: 0 all done; 1 some recordings failed (one line each on standard error), 2 misuse, 130 Ctrl-C.
"""


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, even if it contains control characters."""

    def error(self, message: str):
        super().error(printable(message))


def make_parser() -> Parser:
    parser = Parser(
        prog="python -m asr_core",
        usage="%(prog)s [OPTION...] FILE...",  # the default lists all options above every error message
        description="Transcribe recordings.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a recording, a folder of them, or - for standard input"
    )
    parser.add_argument(
        "--model",
        default="default",
        metavar="PATH_OR_REPO[@REVISION]",
        help="a bundle, or a CTC checkpoint in the format of transformers: a folder, or a repository on the Hub "
        "(default: the one that comes with the program)",
    )
    parser.add_argument(
        "--language",
        metavar="CODE",
        help="which language of a model that has several, as its vocabulary names it, such as deu",
    )
    parser.add_argument(
        "--shard",
        type=_shard_of,
        default=(1, 1),
        metavar="I/N",
        help="only the I-th of N parts of the recordings",
    )
    parser.add_argument(
        "--track",
        type=_number(int, 1, MAX_LIMIT),
        metavar="N",
        help="which audio track of several, from 1 (default: the file's own choice, or one that is not silent)",
    )
    _add_output(parser.add_argument_group("output"))
    _add_decoding(parser.add_argument_group("decoding"))
    _add_subtitles(parser.add_argument_group("subtitles (srt and vtt)"))
    return parser


def _add_output(group) -> None:
    names = ", ".join(WRITERS)
    group.add_argument(
        "--format",
        action="append",
        type=_formats_of,
        metavar="FORMAT[,FORMAT...]",
        help=f"{names}, or all (default: txt); several need --out",
    )
    group.add_argument(
        "--out", metavar="DIR", help="write a file for each recording there instead of to standard output"
    )
    group.add_argument(
        "--text",
        choices=TEXTS,
        help="the words as spoken, or as written: with capitals, punctuation and figures (default: as written where "
        "the model has a tagger)",
    )
    group.add_argument(
        "--replacements",
        metavar="FILE",
        help="how names and terms are written: spoken -> written, one pair a line; # begins a comment line",
    )
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace files that exist already")
    existing.add_argument("--skip-existing", action="store_true", help="leave out recordings whose files exist already")


def _add_decoding(group) -> None:
    group.add_argument("--decoder", choices=["greedy", "beam"], help="default: what the model prefers")
    group.add_argument(
        "--beam-width",
        type=_number(int, 1, MAX_WIDTH),
        metavar="N",
        help="prefixes that the beam search keeps (default: the model's)",
    )
    group.add_argument(
        "--language-model",
        metavar="FILE",
        help="n-grams for the beam search: an ARPA file, a KenLM binary or a folder of pyctcdecode; repo for the "
        "model's own folder language_model, default for the English one that comes with the program",
    )
    group.add_argument(
        "--language-model-weight",
        type=_number(float, 0, MAX_SCORE),
        metavar="X",
        help="weight of the language model in the beam search, 0 for none (default: the model's)",
    )
    group.add_argument(
        "--hotwords",
        metavar="FILE",
        help="names and terms that the beam search favours: one a line or with commas between; # begins a comment line",
    )
    group.add_argument(
        "--align",
        metavar="TEXT_OR_DIR",
        help="find the times of a given text instead: a text file for one recording, or a folder with a text "
        "for each: sub/talk.txt for sub/talk.wav",
    )


def _add_subtitles(group) -> None:
    group.add_argument(
        "--max-line-length",
        type=_number(int, 1, MAX_LIMIT),
        metavar="N",
        help=f"most characters in a line (default: {MAX_CHARACTERS})",
    )
    group.add_argument(
        "--max-lines",
        type=_number(int, 1, MAX_LIMIT),
        metavar="N",
        help=f"most lines in a subtitle (default: {MAX_LINES})",
    )
    group.add_argument(
        "--max-cue-seconds",
        type=_number(float, 0.001, MAX_LIMIT),
        metavar="S",
        help=f"longest time that a subtitle is shown (default: {MAX_SECONDS:g})",
    )


def parse(parser: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments and checks that they fit each other; exits with code 2 if they do not.

    Returns:
        The options of the parser, and these:
            formats: tuple of the formats to write.
            decoding: dict of the fields of DecoderOptions that were set.
            hot_words: tuple of the hotwords.
            replacements: the Replacements of the file, or None.
            subtitles: dict of the limits that were set, as `asr_core.transcript.writers.SubtitleWriter.write` takes
                them.
    """
    options = parser.parse_args(arguments)
    options.formats = tuple(dict.fromkeys(name for names in options.format or [("txt",)] for name in names))
    options.subtitles = _without_none(
        max_characters=options.max_line_length, max_lines=options.max_lines, max_seconds=options.max_cue_seconds
    )
    if options.subtitles and not set(options.formats) & set(SUBTITLES):
        parser.error(f"{_first_set(options, SUBTITLE_FLAGS)} shapes subtitles: add --format srt or --format vtt")
    if len(options.formats) > 1 and not options.out:
        parser.error(f"--format {','.join(options.formats)} writes several files: add --out DIR")
    for flag in ("overwrite", "skip_existing"):
        if getattr(options, flag) and not options.out:
            parser.error(f"{_flag(flag)} is about files: add --out DIR")
    _check_decoding(parser, options)
    _read_replacements(parser, options)
    return options


def _read_replacements(parser: Parser, options: argparse.Namespace) -> None:
    if options.align is not None and (flag := _first_set(options, ("text", "replacements"))):
        parser.error(f"--align writes the given text as it is: leave out {flag}")
    if options.replacements is None:
        return
    if options.text == SPOKEN:
        parser.error("--replacements is about the written form: leave out --text spoken")
    from asr_core.text.replacements import read_replacements

    try:
        options.replacements = read_replacements(options.replacements)
    except AsrError as error:
        parser.error(f"--replacements: {error}")


def _check_decoding(parser: Parser, options: argparse.Namespace) -> None:
    beam = _first_set(options, BEAM_FLAGS)
    if options.align is not None and (beam or options.decoder):
        parser.error(f"--align takes the words from a text: leave out {beam or '--decoder'}")
    if beam and options.decoder == "greedy":
        parser.error(f"{beam} needs the beam search: leave out --decoder greedy")
    options.decoding = _without_none(
        decoder="beam" if beam else options.decoder,
        beam_width=options.beam_width,
        language_model_weight=options.language_model_weight,
    )
    options.hot_words = ()
    if options.hotwords is not None:
        try:
            options.hot_words = read_hot_words(options.hotwords)
        except AsrError as error:
            parser.error(f"--hotwords: {error}")


def _without_none(**values) -> dict:
    return {name: value for name, value in values.items() if value is not None}


def _first_set(options: argparse.Namespace, names: Sequence[str]) -> str | None:
    """The first of these options that was set, as a flag; None if none was."""
    return next((_flag(name) for name in names if getattr(options, name) is not None), None)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _formats_of(text: str) -> tuple[str, ...]:
    if text == "all":
        return tuple(WRITERS)
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in WRITERS:
            raise argparse.ArgumentTypeError(f"invalid choice: '{name}' (choose from {', '.join(WRITERS)}, all)")
    return names


def _number(kind: type, least: float, most: float) -> Callable[[str], float]:
    """An argparse type: a number from `least` to `most`, an integer if `kind` is int."""

    def parse_number(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"'{text}' is not {what} from {least:g} to {most:g}")
        return value

    return parse_number


def _shard_of(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    decimal = index.isdecimal() and count.isdecimal() and len(text) < 30
    if not (slash and decimal and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"'{text}' is not I/N with I from 1 to N, such as 1/4")
    return int(index), int(count)
