"""A finished run -> a repository on the Hub, with its card; the app -> a Space.

    python -m train.publish runs/x --repo name/repo [--private] [--pr] [--dry-run]
    python -m train.publish --space name/space [--model name/repo] [--private] [--dry-run]

Everything goes up in one commit, so that nobody ever pulls half a model. What arrived before an upload broke is not
sent again. Needs HF_TOKEN, or `hf auth login`; HF_ENDPOINT names another Hub.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.errors import AsrError
from train.options import in_words
from train.publish.upload import push

DONE, FAILED, INTERRUPTED = 0, 1, 130


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.publish", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", nargs="?", type=Path, help="a run's folder, or a bundle's")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--repo", metavar="NAME/REPO", help="publish a model there")
    where.add_argument("--space", metavar="NAME/SPACE", help="publish the app there")
    parser.add_argument("--model", metavar="NAME/REPO", help="that the Space runs (default: the embedded one)")
    parser.add_argument("--private", action="store_true", help="for your eyes only")
    parser.add_argument("--pr", action="store_true", help="propose it as a pull request")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    asked = parser.parse_args(arguments)
    if asked.repo and not asked.source:
        parser.error("name the run to publish: python -m train.publish runs/x --repo name/repo")
    if asked.space and asked.source:
        parser.error("a Space takes the app as it is here: leave the run away, and name its model with --model")
    if asked.space and asked.pr:
        parser.error("--pr is for --repo")
    if asked.model and not asked.space:
        parser.error("--model is for --space")
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    asked = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    how = {"private": asked.private, "dry_run": asked.dry_run}
    try:
        if asked.space:
            from train.publish.space import push_space

            address = push_space(asked.space, asked.model, **how)
        else:
            address = push(asked.source, asked.repo, pull_request=asked.pr, **how)
    except (AsrError, OSError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Stopped; run it again to go on.", file=sys.stderr)
        return INTERRUPTED
    if address:
        print(f"published: {address}")
        if asked.repo and not asked.pr:
            print(f"python app.py --model {asked.repo}@{address.rsplit('/', 1)[1]}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
