"""The command line: `python -m asr_core FILE... [--format txt|srt|vtt|json] [--out DIR]`.

Arguments are understood before anything heavy is imported, so that a slip is answered at once. One recogniser
serves all files; a file that fails costs one line on standard error, and the others go on. So do notes on a recording
that is damaged, and the number of files that a folder holds beside recordings.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from asr_core.errors import AsrError
from asr_core.transcript import WRITERS

STDIN = "-"
DONE, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
SUBTITLES = ("srt", "vtt")  # two of them in one stream are no subtitles any more
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}  # read when they are imported


@dataclass(frozen=True)
class Recording:
    """One input.

    Attributes:
        path: as the user named it, or found in a folder that the user named; "-" is standard input.
        place: where its transcript belongs under --out, without the suffix of the format.
    """

    path: str
    place: str

    def __str__(self) -> str:
        return "standard input" if self.path == STDIN else _printable(self.path)


def main(arguments: Sequence[str] | None = None, recognizer_factory: Callable | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; by default those of the process.
        recognizer_factory: model name -> Recognizer.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a file's name may hold what the terminal cannot show
    found, problems, left_out = _found(options.files)
    recordings = _placed(found, f".{options.format}")
    if len(recordings) > 1 and options.format in SUBTITLES and not options.out:
        parser.error(f"--format {options.format} writes one file for each recording: add --out DIR")
    if options.out:
        try:
            os.makedirs(options.out, exist_ok=True)
        except OSError as error:
            parser.error(f"--out {_printable(options.out)} cannot be made: {error.strerror}")
    for line in problems + left_out:
        _complain(line)
    try:
        failed = _transcribe(recordings, options, recognizer_factory or _recognizer)
    except AsrError as error:  # the model, since the recordings' own are caught
        parser.exit(USAGE, f"{parser.prog}: error: {error}\n")
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return SOME_FAILED if failed or problems else DONE


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, whatever the arguments hold."""

    def error(self, message: str):
        super().error(_printable(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m asr_core",
        description="Write down what is said in recordings.",
        epilog="Exit code: 0 all done; 1 some recordings failed (one line each on standard error), 2 misuse.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a recording, a folder of them, or - for standard input"
    )
    parser.add_argument(
        "--model",
        default="default",
        metavar="PATH_OR_REPO[@REVISION]",
        help="a bundle: a folder, or a repository on the Hub (default: the one that comes with the program)",
    )
    parser.add_argument("--format", choices=list(WRITERS), default="txt", help="default: txt")
    parser.add_argument(
        "--out", metavar="DIR", help="write a file for each recording there instead of to standard output"
    )
    parser.add_argument(
        "--track",
        type=_track_of,
        metavar="N",
        help="which audio track of a file that has several, from 1 (default: the file's own choice, or one with sound)",
    )
    parser.add_argument("--decoder", choices=["greedy", "beam"], help="default: what the model prefers")
    parser.add_argument(
        "--shard",
        type=_shard_of,
        default=(1, 1),
        metavar="I/N",
        help="only the I-th of N parts of the recordings",
    )
    return parser


def _track_of(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a track: 1, 2, 3 ...")
    return int(text)


def _shard_of(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N, such as 1/4")
    return int(index), int(count)


def _shard(recordings: list[Recording], shard: tuple[int, int]) -> list[Recording]:
    """Every N-th recording: the parts are disjoint, nearly equal, and together the whole."""
    index, count = shard
    return recordings[index - 1 :: count]


def _found(names: Sequence[str]) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """(path, place under --out) of every recording, each once, in an order that depends on the names alone;
    what is wrong with the names; and what folders hold beside recordings, a line for each folder named."""
    found: dict[str, tuple[str, str]] = {}
    problems, left_out = [], []
    for name in names:
        if name == STDIN:
            found.setdefault(STDIN, (STDIN, "stdin"))
        elif os.path.isdir(name):
            others: Counter[str] = Counter()
            inside = list(_inside(name, problems, others))
            if others:
                left_out.append(f"{_printable(name)}: left out: {_counts(others)}")
            if not inside:
                problems.append(f"{_printable(name)}: no recordings in this folder")
            for path in inside:
                found.setdefault(os.path.realpath(path), (path, os.path.relpath(path, name)))
        elif os.path.lexists(name):
            found.setdefault(os.path.realpath(name), (name, os.path.basename(name)))
        else:
            problems.append(f"{_printable(name)} was not found: check the name.")
    return list(found.values()), problems, left_out


def _counts(kinds: Counter) -> str:
    """Such as "3 .txt, 1 .jpg": the most frequent first."""
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return _printable(", ".join(f"{count} {kind}" for kind, count in ordered))


def _inside(folder: str, problems: list[str], others: Counter) -> Iterator[str]:
    """The recordings in a folder and the folders in it, by their suffixes; hidden ones and pipes are left out.

    Args:
        problems: gets what cannot be opened.
        others: counts the files left out by suffix; hidden ones are not counted.
    """
    from asr_core.sound_files import AUDIO_SUFFIXES

    def told(error: OSError) -> None:
        problems.append(f"{_printable(error.filename)} cannot be opened ({error.strerror}): check its permissions.")

    for parent, folders, files in os.walk(folder, onerror=told):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.startswith("."):
                continue
            path, suffix = os.path.join(parent, name), os.path.splitext(name)[1].lower()
            if suffix not in AUDIO_SUFFIXES:
                others[suffix or "(no suffix)"] += 1
            elif os.path.isfile(path) or not os.path.exists(path):  # what leads nowhere is told
                yield path
            else:
                others["(no regular file)"] += 1


def _placed(found: list[tuple[str, str]], suffix: str) -> list[Recording]:
    """Give every recording a place of its own: a.txt; a.wav.txt if there is an a.mp3, too; or a.wav-2.txt.

    The places depend on all recordings, not on the shard, so that shards never write over each other.
    """
    stems = Counter(os.path.splitext(place)[0].casefold() for _, place in found)
    taken: set[str] = set()
    recordings = []
    for path, place in found:
        stem = os.path.splitext(place)[0]
        alike = stems[stem.casefold()] > 1 or place.endswith(suffix)  # never over the recording itself
        stem = free = place if alike else stem
        number = 1
        while free.casefold() in taken:
            number += 1
            free = f"{stem}-{number}"
        taken.add(free.casefold())
        recordings.append(Recording(path, free + suffix))
    return recordings


def _recognizer(model: str):
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from asr_core.bundle import load_bundle

    bundle = load_bundle(model)  # a download shows its progress
    with _unheard_greetings():
        from asr_core.recognizer import Recognizer

        return Recognizer(bundle)


@contextlib.contextmanager
def _unheard_greetings() -> Iterator[None]:
    """Keep standard error clear of what TensorFlow 2.21 says when it starts, whatever its log level.

    Its libraries write to the file descriptor itself. What they wrote is shown after all if they fail.
    """
    with tempfile.TemporaryFile() as said:
        sys.stderr.flush()
        screen = os.dup(2)
        os.dup2(said.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        except AsrError:
            failed = False
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            if failed:
                said.seek(0)
                sys.stderr.write(said.read().decode(errors="replace"))


def _transcribe(recordings: list[Recording], options, recognizer_factory: Callable) -> int:
    """Transcribe and write this shard's recordings one after the other; returns how many failed."""
    alone = len(recordings) == 1
    recordings = _shard(recordings, options.shard)
    if not recordings:
        return 0
    from tqdm import tqdm

    failed = 0
    recognizer = recognizer_factory(options.model)
    if not recognizer.bundle.trained:
        _complain(f"The model {_printable(options.model)} is untrained: what it writes means nothing.")
    decoding = None
    if options.decoder:
        decoding = replace(recognizer.bundle.decoder_options(), decoder=options.decoder)
    with tqdm(total=len(recordings), unit="file", disable=not sys.stderr.isatty(), leave=False) as bar:
        for index, recording in enumerate(recordings):
            bar.set_postfix_str(str(recording), refresh=False)

            def show(fraction: float, index=index):
                bar.n = round(index + fraction, 2)
                bar.refresh()

            source = sys.stdin.buffer if recording.path == STDIN else recording.path
            try:
                transcript = recognizer.transcribe(source, options=decoding, progress=show, track=options.track)
                with bar.external_write_mode():
                    _write(recording, transcript, options, alone)
                    for note in transcript.notes:
                        _complain(_located(recording, note))
            except BrokenPipeError:
                raise
            except Exception as error:
                failed += 1
                with bar.external_write_mode():
                    _complain(_failure(recording, error))
            show(1.0)
    return failed


def _write(recording: Recording, transcript, options, alone: bool) -> None:
    writer = WRITERS[options.format]()
    details = {"file": recording.path} if options.format == "json" else {}
    content = writer.write(transcript, **details)
    if options.out:
        _replace(os.path.join(options.out, recording.place), content)
        return
    if options.format == "txt" and not alone:
        content = f"{recording}: {content}"
    sys.stdout.write(content)
    sys.stdout.flush()


def _replace(path: str, content: str) -> None:
    """Write a file whole or not at all."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    part = os.path.join(folder, f".{uuid.uuid4().hex}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise


def _failure(recording: Recording, error: Exception) -> str:
    """One line that begins with the path."""
    if isinstance(error, OSError):
        return f"{recording}: its transcript cannot be written ({error.strerror or error})"
    if not isinstance(error, AsrError):
        return f"{recording}: something broke here ({type(error).__name__}: {_printable(str(error))[:200]})"
    return _located(recording, str(error))


def _located(recording: Recording, message: str) -> str:
    """A sentence about a recording, which it may name, as a line that begins with the path."""
    name = _printable(os.path.basename(recording.path))
    return f"{recording}{message.removeprefix(name)}" if message.startswith(name) else f"{recording}: {message}"


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """In one line, and in characters that every terminal takes."""
    return "".join(character if character.isprintable() else "?" for character in text)


if __name__ == "__main__":
    sys.exit(main())
