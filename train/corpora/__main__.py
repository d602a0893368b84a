"""Corpora -> manifests: public corpora are downloaded, folders on this disk are read.

    python -m train.corpora folder recordings --out data/mine.jsonl --valid 0.1
    python -m train.corpora folder takes --prompts assets/prompts.txt --out data/me.jsonl
    python -m train.corpora fetch librispeech --parts dev-clean train-clean-100 --to data

A manifest has one JSON object a line: id, audio (relative to the manifest), seconds, speaker, text as
published, corpus, and accent where it is known. Clips that cannot be trained on are left out, and the reasons printed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.errors import AsrError
from asr_core.process import INTERRUPTED
from train.corpora.downloads import Archive, fetch
from train.corpora.layouts import layout_of
from train.corpora.survey import hold_out, survey, write_manifest
from train.corpora.tables import read_prompts, read_table
from train.data.text_files import CorpusError
from train.options import DONE, FAILED, OutputError, in_words, make_folder, make_room

_LIBRISPEECH = {  # part -> SHA-256, bytes
    "dev-clean": ("76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3", 337_926_286),
    "dev-other": ("12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365", 314_305_928),
    "test-clean": ("39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23", 346_663_984),
    "test-other": ("d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29", 328_757_843),
    "train-clean-100": ("d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2", 6_387_309_499),
    "train-clean-360": ("146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf", 23_049_477_885),
    "train-other-500": ("ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2", 30_593_501_606),
}
PUBLIC = {  # corpus -> part -> archive
    "ljspeech": {
        "": Archive(
            "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
            2_748_572_632,
            "LJSpeech-1.1",
        )
    },
    "librispeech": {
        part: Archive(f"https://www.openslr.org/resources/12/{part}.tar.gz", sha256, size, f"LibriSpeech/{part}")
        for part, (sha256, size) in _LIBRISPEECH.items()
    },
}


def make_manifest(args: argparse.Namespace) -> None:
    """`folder`: makes a manifest of a folder on this disk.

    Raises:
        CorpusError: the folder holds nothing to train on.
        OutputError: the manifest cannot be written, or only in place of a file of another kind.
    """
    make_room(args.out)
    texts = [path.resolve() for path in (args.table, args.prompts) if path]
    if args.out.resolve() in texts or (args.out.exists() and args.out.suffix != ".jsonl"):
        raise OutputError(f"The manifest would overwrite {args.out}: name another file, *.jsonl, with --out.")
    folder = args.folder
    corpus = args.name or folder.resolve().name
    layout = layout_of(folder)
    if args.prompts:
        print(f"{folder}: recordings of the sentences in {args.prompts}")
        recordings, folders = read_prompts(args.prompts, folder), [folder]
    elif args.table:
        print(f"{folder}: recordings listed in {args.table}")
        recordings, folders = read_table(args.table, folder), [folder]
    else:
        parts = layout.parts(folder)
        chosen = args.parts or parts[:1]
        if unknown := [part for part in chosen if part not in parts]:
            has = ", ".join(filter(None, parts)) or "no parts"
            raise CorpusError(f"{folder} ({layout.name}) has {has}, not {', '.join(unknown)}.")
        print(f"{folder}: {layout.name}" + (f", {', '.join(chosen)} of {', '.join(parts)}" if parts[0] else ""))
        recordings = [recording for part in chosen for recording in layout.read(folder, part)]
        folders = [layout.where(folder, part) for part in chosen]
    found = survey(recordings, corpus, args.out.parent, folders)
    print(found)
    if not found.rows:
        raise CorpusError(
            f"{folder} holds nothing to train on: put recordings there, and a table of file names and texts "
            "(metadata.csv), or a text file beside each."
        )
    if args.valid is None:
        write_manifest(found.rows, args.out)
        return
    training, validation, unit = hold_out(found.rows, args.valid)
    print(f"held out {args.valid:.0%} by {unit}")
    write_manifest(training, args.out)
    write_manifest(validation, args.out.with_name(f"{args.out.stem}-valid{args.out.suffix}"))


def fetch_corpus(args: argparse.Namespace) -> None:
    """`fetch`: downloads parts of a public corpus and makes a manifest of each.

    Raises:
        CorpusError: the corpus has no such part.
        DownloadError: a part cannot be downloaded.
    """
    make_folder(args.to, "--to")
    archives = PUBLIC[args.corpus]
    parts = args.parts or list(archives)[:1]
    if unknown := [part for part in parts if part not in archives]:
        has = ", ".join(filter(None, archives)) or "no parts"
        raise CorpusError(f"{args.corpus} has {has}, not {', '.join(unknown)}.")
    for part in parts:
        archive, name = archives[part], "-".join(filter(None, [args.corpus, part]))
        print(f"{name}: {archive.url} ({archive.size / 1e9:.1f} GB)")
        folder = fetch(archive, args.to)
        layout = layout_of(folder)
        found = survey(layout.read(folder, ""), name, args.to, [layout.where(folder, "")])
        print(found)
        write_manifest(found.rows, args.to / f"{name}.jsonl")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.corpora", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="{folder,fetch}")
    folder_parser = commands.add_parser("folder", help="a folder on this disk -> a manifest")
    folder_parser.add_argument("folder", type=Path, help="LJSpeech, LibriSpeech, Common Voice, or your recordings")
    folder_parser.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    folder_parser.add_argument("--name", help="of the corpus (default: of the folder)")
    folder_parser.add_argument("--parts", nargs="+", help="such as dev-clean, or train (default: the first)")
    texts = folder_parser.add_mutually_exclusive_group()
    texts.add_argument("--table", type=Path, help="csv, tsv or txt with file names and texts")
    texts.add_argument(
        "--prompts", type=Path, help="txt whose line n was read in the recording number n, such as assets/prompts.txt"
    )
    folder_parser.add_argument("--valid", type=_share, metavar="SHARE", help="hold out this share in FILE-valid.jsonl")
    folder_parser.set_defaults(run=make_manifest)
    fetch_parser = commands.add_parser("fetch", help="a public corpus -> this disk, and a manifest of each part")
    fetch_parser.add_argument("corpus", choices=list(PUBLIC))
    fetch_parser.add_argument("--parts", nargs="+", help="of librispeech (default: dev-clean)")
    fetch_parser.add_argument("--to", type=Path, default=Path("data"), metavar="FOLDER", help="default: data")
    fetch_parser.set_defaults(run=fetch_corpus)
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    try:
        if 0 < float(text) < 1:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a share; give a number between 0 and 1, such as 0.1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    args = parse(arguments)
    try:
        args.run(args)
    except (AsrError, OSError) as error:
        print(in_words(error, getattr(args, "out", None) or args.to), file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Stopped; run it again to continue.", file=sys.stderr)
        return INTERRUPTED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
