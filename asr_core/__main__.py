"""The command line: `python -m asr_core FILE... [--format FORMAT,...] [--out DIR]`; see `asr_core.cli.arguments`.

Arguments are parsed before anything heavy is imported, so that a wrong one is reported at once. One recogniser
transcribes all files. A file that fails is reported in one line on standard error, and the others are still
transcribed. Standard error also gets the notes on damaged recordings, and the number of files in a folder that are no
recordings.
"""

from asr_core import process

if __name__ == "__main__":
    process.catch_interrupts()  # before the other imports, which take longer

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from asr_core.cli.arguments import SUBTITLES, make_parser, parse
from asr_core.cli.outputs import STDIN, InputFile, obstacle, placed, write_whole
from asr_core.errors import AsrError, printable, reason
from asr_core.text.given import read_text
from asr_core.transcript.words import Transcript
from asr_core.transcript.writers import WRITERS, WRITTEN

DONE, SOME_FAILED, USAGE = 0, 1, 2


@dataclass(frozen=True)
class Job:
    """The work on one recording.

    Attributes:
        formats: extensions of the files to write.
        text: the text to align with the recording; None to transcribe it.
    """

    recording: InputFile
    formats: tuple[str, ...]
    text: str | None = None


def main(arguments: Sequence[str] | None = None, recognizer_factory: Callable | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        arguments: without the program's name; by default those of the process.
        recognizer_factory: makes a Recognizer from the name of a model, and a `language` if one was asked for.
    """
    process.open_closed_streams()
    parser = make_parser()
    options = parse(parser, arguments)
    if options.out == "":
        parser.error("--out is empty: name a folder, or leave it out")
    if hasattr(sys.stdout, "reconfigure"):  # transcripts have any letters, and names of files even invalid ones
        chosen = sys.stdout.isatty() or "PYTHONIOENCODING" in os.environ
        sys.stdout.reconfigure(encoding=None if chosen else "utf-8", errors="replace")
    paths, roots, problems, left_out = _find_recordings(options.files)
    recordings = placed(paths, roots, options.formats)
    if len(recordings) > 1 and not options.out and (subtitles := [f for f in options.formats if f in SUBTITLES]):
        parser.error(f"--format {subtitles[0]} writes one file for each recording: add --out DIR")
    if len(recordings) > 1 and options.align and not os.path.isdir(options.align):
        parser.error("--align with a text takes one recording: name a folder with a text for each")
    if not options.out and sys.stdout is None:
        parser.error("standard output is closed: add --out DIR")
    if options.out:
        try:
            os.makedirs(options.out, exist_ok=True)
        except (OSError, ValueError) as error:
            parser.error(f"--out {options.out} cannot be made: {reason(error)}")
    for line in problems + left_out:
        _print_error(line)
    try:
        with process.cleaning_up():
            jobs, failed = _jobs(recordings, options)
            failed += _run(jobs, options, len(recordings) == 1, recognizer_factory or _recognizer)
    except AsrError as error:  # from the model: those of recordings have been caught
        parser.exit(USAGE, f"{parser.prog}: error: {error}\n")
    except BrokenPipeError:  # a reader such as `head` has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except KeyboardInterrupt:
        return process.INTERRUPTED
    return SOME_FAILED if failed or problems else DONE


def _shard(recordings: list[InputFile], shard: tuple[int, int]) -> list[InputFile]:
    """Every N-th recording. The N shards are disjoint, nearly equal in size, and together hold all recordings."""
    index, count = shard
    return recordings[index - 1 :: count]


def _find_recordings(names: Sequence[str]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Finds the recordings that the arguments name.

    Returns:
        The paths of all recordings, each once, in an order that depends only on the names; the folders that
        `asr_core.cli.outputs.placed` takes as `roots`; one message for each name that is wrong; and one message for
        each folder that holds other files too.
    """
    found: dict[str, str] = {}
    roots, problems, left_out = [], [], []
    for name in names:
        if name == STDIN and sys.stdin is None:
            problems.append("standard input is closed: pipe a recording into it, or name a file.")
        elif name == STDIN:
            found.setdefault(STDIN, STDIN)
        elif os.path.isdir(name):
            others: Counter[str] = Counter()
            inside = list(_recordings_in(name, problems, others))
            if others:
                left_out.append(f"{printable(name)}: left out: {_counts(others)}")
            if not inside:
                problems.append(f"{printable(name)}: no recordings in this folder")
            roots.append(name)
            for path in inside:
                found.setdefault(os.path.realpath(path), path)
        elif os.path.lexists(name):
            roots.append(os.path.dirname(name))
            found.setdefault(os.path.realpath(name), name)
        else:
            from asr_core.audio.files import not_found

            problems.append(not_found(name, printable(name)))
    return list(found.values()), roots, problems, left_out


def _counts(kinds: Counter) -> str:
    """The counts as text, the most frequent first, such as "3 .txt, 1 .jpg"."""
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return printable(", ".join(f"{count} {kind}" for kind, count in ordered))


def _recordings_in(folder: str, problems: list[str], others: Counter) -> Iterator[str]:
    """Yields the recordings in a folder and its subfolders, recognised by suffix, without hidden files and pipes.

    Args:
        problems: a message is appended for each folder that cannot be opened.
        others: counts by suffix the files left out, except hidden ones.
    """
    from asr_core.audio.formats import AUDIO_SUFFIXES

    def note_problem(error: OSError) -> None:
        problems.append(f"{printable(error.filename)} cannot be opened ({error.strerror}): check its permissions.")

    visited = {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, onerror=note_problem, followlinks=True):
        inside = {name: os.path.realpath(os.path.join(parent, name)) for name in folders if not name.startswith(".")}
        folders[:] = [name for name in sorted(inside) if inside[name] not in visited]  # links may lead in a circle
        visited.update(inside.values())
        for name in sorted(files):
            if name.startswith("."):
                continue
            path, suffix = os.path.join(parent, name), os.path.splitext(name)[1].lower()
            if suffix not in AUDIO_SUFFIXES:
                others[suffix or "(no suffix)"] += 1
            elif os.path.isfile(path) or not os.path.exists(path):  # opening a broken link reports it
                yield path
            else:
                others["(no regular file)"] += 1


def _jobs(recordings: list[InputFile], options) -> tuple[list[Job], int]:
    """The jobs of this shard, and the number of recordings that cannot become one; each of these is reported."""
    inputs = {os.path.realpath(recording.path) for recording in recordings}
    jobs, failed = [], 0
    for recording in _shard(recordings, options.shard):
        try:
            formats = _unwritten(recording, inputs, options) if options.out else options.formats
            if formats:
                text = None if options.align is None else _text_of(recording, options.align)
                jobs.append(Job(recording, formats, text))
        except AsrError as error:
            failed += 1
            _print_error(f"{recording}: {error}")
    if kept := len(_shard(recordings, options.shard)) - len(jobs) - failed:
        _print_error(f"{kept} of the recordings left out: their files exist already")
    return jobs, failed


def _unwritten(recording: InputFile, inputs: set[str], options) -> tuple[str, ...]:
    """The formats to write, without existing files that are to be kept. Raises AsrError if one cannot be written."""
    formats = []
    for extension in options.formats:
        path = _target(recording, extension, options)
        if options.skip_existing and os.path.isfile(path):
            continue
        if problem := obstacle(path, inputs, options.overwrite):
            raise AsrError(problem)
        formats.append(extension)
    return tuple(formats)


def _target(recording: InputFile, extension: str, options) -> str:
    return os.path.join(options.out, f"{recording.place}.{extension}")


def _text_of(recording: InputFile, source: str) -> str:
    """The text to align, from a file or from the file in a folder that has the recording's name. Raises AsrError."""
    if not os.path.isdir(source):
        return read_text(source)
    names = (f"{recording.name}.txt", f"{os.path.splitext(recording.name)[0]}.txt")
    paths = [os.path.join(source, name) for name in names]
    path = next((path for path in paths if os.path.isfile(path)), None)
    if path is None:
        raise AsrError(f"there is no text for it, {printable(paths[-1])} was not found")
    return read_text(path)


def _recognizer(model: str, language: str | None = None, language_model: str | None = None):
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    from asr_core.bundle.loading import load_bundle
    from asr_core.inference.backend import quiet_libraries

    bundle = load_bundle(model, language)  # a download shows its progress
    for note in bundle.notes:
        _print_error(printable(note))
    if language_model is not None:
        from asr_core.bundle.language_models import with_language_model

        bundle = with_language_model(bundle, language_model)
    with quiet_libraries():
        from asr_core.recognizer import Recognizer

        return Recognizer(bundle)


def _run(jobs: list[Job], options, alone: bool, recognizer_factory: Callable) -> int:
    """Runs the jobs one after the other; returns the number of those that failed."""
    if not jobs:
        return 0
    from tqdm import tqdm

    failed = 0
    given = {name: value for name in ("language", "language_model") if (value := getattr(options, name))}
    recognizer = recognizer_factory(options.model, **given)
    decoding = _decoding(recognizer, options)
    with tqdm(total=len(jobs), unit="file", disable=not sys.stderr.isatty(), leave=False) as bar:
        for index, job in enumerate(jobs):
            bar.set_postfix_str(str(job.recording), refresh=False)

            def show(fraction: float, index=index):
                bar.n = round(index + fraction, 2)
                bar.refresh()

            try:
                transcript = _transcript(recognizer, job, decoding, options.track, show)
                if options.replacements:
                    transcript = _replaced(transcript, recognizer, options.replacements)
                with bar.external_write_mode():
                    _report(job.recording, transcript)
                    _write(job, transcript, options, alone)
            except BrokenPipeError:
                raise
            except Exception as error:
                failed += 1
                with bar.external_write_mode():
                    _print_error(_failure(job.recording, error))
            show(1.0)
    return failed


def _decoding(recognizer, options) -> dict:
    """The arguments for `Recognizer.transcribe`; reports options that have no effect with this model."""
    model = printable(options.model)
    if not recognizer.bundle.trained:
        _print_error(f"The model {model} is untrained: what it writes means nothing.")
    if options.language_model_weight and recognizer.language_model is None:
        _print_error(f"The model {model} has no language model: --language-model-weight changes nothing.")
    if options.text == WRITTEN and recognizer.tagger is None:
        _print_error(f"The model {model} has no tagger of punctuation: --text written changes nothing.")
    arguments = {}
    if options.decoding:
        arguments["options"] = replace(recognizer.bundle.decoder_options(), **options.decoding)
    if options.hot_words:
        from asr_core.decoding.hotwords import HotWords

        vocabulary = recognizer.vocabulary
        arguments["hot_words"] = hot_words = HotWords.build(options.hot_words, vocabulary)
        if unwritable := [word for word in options.hot_words if not HotWords.build([word], vocabulary).phrases]:
            _print_error(f"The model {model} cannot write these hotwords: {printable(', '.join(unwritable))[:200]}")
        if not hot_words.phrases:
            raise AsrError("no hotword is left: write them with the letters of the model")
    return arguments


def _transcript(
    recognizer, job: Job, decoding: dict, track: int | None, progress: Callable[[float], None]
) -> Transcript:
    """Transcribes a recording, or aligns the job's text with it."""
    source = sys.stdin.buffer if job.recording.path == STDIN else job.recording.path
    try:
        if job.text is None:
            return recognizer.transcribe(source, progress=progress, track=track, **decoding)
        audio = recognizer.load(source, track=track)
    except OSError as error:
        raise AsrError(f"it cannot be read ({reason(error)})") from error
    transcript = recognizer.align(recognizer.emissions(audio, progress), audio.seconds, job.text)
    return replace(transcript, notes=(*audio.notes, *transcript.notes))


def _replaced(transcript: Transcript, recognizer, replacements) -> Transcript:
    from asr_core.transcript.written import with_written_form

    return with_written_form(transcript, recognizer.tagger, replacements)


def _report(recording: InputFile, transcript: Transcript) -> None:
    """Prints the notes on a recording, a line each."""
    for note in transcript.notes:
        _print_error(_located(recording, printable(note)))
    if not transcript.words:
        _print_error(f"{recording}: no speech was found")


def _write(job: Job, transcript: Transcript, options, alone: bool) -> None:
    for extension in job.formats:
        details = options.subtitles if extension in SUBTITLES else {}
        if extension == "json":
            details = {"file": _for_json(job.recording.path)}
        content = WRITERS[extension]().write(transcript, text=options.text or WRITTEN, **details)
        if options.out:
            write_whole(_target(job.recording, extension, options), content)
            continue
        if extension == "txt" and not alone:  # a line each, without paragraphs
            content = f"{job.recording}: {content}".replace("\n\n", " ")
        sys.stdout.write(content)
        sys.stdout.flush()


def _for_json(path: str) -> str:
    """The path as Unicode, which JSON requires: a byte that cannot be decoded becomes an escape such as \\xff."""
    return os.fsencode(path).decode(sys.getfilesystemencoding(), "backslashreplace")


def _failure(recording: InputFile, error: Exception) -> str:
    """The message for a recording that failed: one line that begins with its path."""
    if isinstance(error, OSError):
        return f"{recording}: its transcript cannot be written ({reason(error)})"
    if not isinstance(error, AsrError):
        return f"{recording}: something broke here ({type(error).__name__}: {printable(str(error))[:200]})"
    return _located(recording, str(error))


def _located(recording: InputFile, message: str) -> str:
    """A line that begins with the path of the recording, made from a sentence that may begin with its name."""
    name = printable(os.path.basename(recording.path))
    return f"{recording}{message.removeprefix(name)}" if message.startswith(name) else f"{recording}: {message}"


def _print_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    process.leave_after(main)
