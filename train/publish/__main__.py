"""A finished run -> a repository on the Hub, with its card; the app -> a Space.

    python -m train.publish runs/x --repo name/repo [--private] [--pr] [--dry-run]
    python -m train.publish --space name/space [--model name/repo] [--private] [--dry-run]

All files are uploaded in one commit, so that nobody ever downloads half a model. After an upload that broke off, files
that have arrived are not sent again. Needs HF_TOKEN, or `hf auth login`; HF_ENDPOINT names another Hub.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.errors import AsrError
from asr_core.process import INTERRUPTED
from train.options import DONE, FAILED, in_words
from train.publish.upload import push


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.publish", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", nargs="?", type=Path, help="a run's folder, or a bundle's")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--repo", metavar="NAME/REPO", help="publish a model there")
    where.add_argument("--space", metavar="NAME/SPACE", help="publish the app there")
    parser.add_argument("--model", metavar="NAME/REPO", help="model that the Space runs (default: the embedded one)")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--pr", action="store_true", help="open a pull request instead of committing")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    args = parser.parse_args(arguments)
    if args.repo and not args.source:
        parser.error("name the run to publish: python -m train.publish runs/x --repo name/repo")
    if args.space and args.source:
        parser.error("a Space takes the app as it is here: leave out the run, and name its model with --model")
    if args.space and args.pr:
        parser.error("--pr is for --repo")
    if args.model and not args.space:
        parser.error("--model is for --space")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    args = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = {"private": args.private, "dry_run": args.dry_run}
    try:
        if args.space:
            from train.publish.space import push_space

            address = push_space(args.space, args.model, **options)
        else:
            address = push(args.source, args.repo, pull_request=args.pr, **options)
    except (AsrError, OSError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Stopped; run it again to continue.", file=sys.stderr)
        return INTERRUPTED
    if address:
        print(f"published: {address}")
        if args.repo and not args.pr:
            print(f"python app.py --model {args.repo}@{address.rsplit('/', 1)[1]}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
