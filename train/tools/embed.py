"""Replaces the network of a bundle by that of a run's best model; language model and decoder options stay.

    python -m train.tools.embed runs/x/best --into assets/default --bits 8 --description "A small recogniser."

The weights of several bundles with the same architecture, such as those of a run and of its continuation, are averaged:
the mean often has a lower error rate than each of them (Wortsman et al., 2022, arXiv 2203.05482). The description of
the training is that of the last bundle. For a network with phones, the bundle gets a lexicon: the pronunciations of the
language model's most frequent words, from the dictionary that the network was trained with. Error rates and calibration
of the old weights are removed: run `python -m train.evaluate --write` and `python -m train.publish.card` afterwards.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.bundle.description import LANGUAGE_MODEL, NEURAL_LANGUAGE_MODEL, TAGGER
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.lexicon import Pronunciations
from asr_core.errors import AsrError
from train.data.pronunciations import Dictionary
from train.options import DONE, FAILED, in_words, stoppable

MAX_WORDS = 65_000  # of the lexicon, which then covers 98 % of running words in 370 kB
OLD_FIELDS = ("name", "licence", "description", "decoder", "dereverberation")  # of the config, kept
NEW_FIELDS = ("trained", "recipe", "featurizer", "sample_rate", "tokens", "language", "training_data")


def embed(
    runs: Sequence[Path], folder: Path, bits: int, description: str | None = None, dictionary: Path | None = None,
    language_model: Path | None = None, shares: Sequence[float] | None = None, tagger: Path | None = None,
    neural_language_model: Path | None = None,
) -> Path:  # fmt: skip
    """Replaces the network of a bundle atomically.

    Args:
        runs: bundles whose weights are averaged.
        folder: of the bundle to change.
        bits: of each number of a weight matrix.
        description: one sentence about the model; None keeps the old one.
        dictionary: of pronunciations, needed for a network with phones (see `train.data.pronunciations`).
        language_model: None keeps the old one.
        tagger: of punctuation and capitals; None keeps the old one.
        neural_language_model: None keeps the old one.
        shares: of the bundles in the mean of their weights, brought to a sum of 1; None gives all the same.

    Returns:
        `folder`.

    Raises:
        AsrError: one of the folders holds no bundle.
        ValueError: the networks have different architectures; or they have phones, and there is no dictionary.
    """
    *others, new = map(load_bundle, runs)
    old = load_bundle(folder)
    if any(_inference_sizes(other) != _inference_sizes(new) for other in others):
        raise ValueError("Only networks of the same architecture and sizes can be averaged.")
    shares = shares or [1.0] * len(runs)
    if len(shares) != len(runs) or min(shares) < 0 or not sum(shares) > 0:
        raise ValueError(f"The shares must be {len(runs)} numbers from 0 on, one for each bundle, and not all 0.")
    network, weights = new.build(), [bundle.build().weights for bundle in others]
    for variable, *values in zip(network.weights, *weights, strict=True):
        mean = sum(share * value for share, value in zip(shares, [*values, variable], strict=True)) / sum(shares)
        variable.assign(mean)
    config = {key: old.config[key] for key in OLD_FIELDS if key in old.config}
    config |= {key: new.config[key] for key in NEW_FIELDS if key in new.config}
    if description:
        config["description"] = description
    path, lexicon = language_model or old.file(LANGUAGE_MODEL), None
    words = NGramModel.load(path) if path else None
    if words and new.config["architecture"]["sizes"].get("phones"):
        lexicon = Pronunciations.build(words.words, Dictionary(dictionary).words, set(words.most_frequent(MAX_WORDS)))
    return save_bundle(
        folder, network, config,
        language_model=path,
        neural_language_model=neural_language_model or old.file(NEURAL_LANGUAGE_MODEL),
        pronunciations=lexicon,
        tagger=tagger or old.file(TAGGER),
        bits=bits,
    )  # fmt: skip


def _inference_sizes(bundle) -> dict:
    """Architecture and sizes but for the dropout, which has no weights."""
    architecture = bundle.config["architecture"]
    unused = ("dropout", "intermediate")
    sizes = {name: value for name, value in architecture["sizes"].items() if name not in unused}
    return {"name": architecture["name"], **sizes}


@stoppable
def main(arguments: Sequence[str] | None = None) -> int:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m train.tools.embed",
        description=summary,
        epilog=usage,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, nargs="+", help="written by a run: RUN/best")
    parser.add_argument("--into", type=Path, required=True, help="the bundle whose network it replaces")
    bits = [4, 5, 6, 7, 8, 16, 32]
    parser.add_argument("--bits", type=int, choices=bits, default=16, help="of each number of a weight matrix")
    parser.add_argument("--shares", type=float, nargs="+", help="of the bundles in the mean; by default all the same")
    parser.add_argument("--language-model", type=Path, help="new language model; by default the old one stays")
    parser.add_argument("--neural-language-model", type=Path, help="a new one; by default the old one stays")
    parser.add_argument("--tagger", type=Path, help="new tagger of punctuation; by default the old one stays")
    parser.add_argument("--description", help="one sentence; by default the old one stays")
    parser.add_argument("--pronunciations", type=Path, help="dictionary for a network with phones (see train)")
    args = parser.parse_args(arguments)
    try:
        print(
            embed(
                args.bundle, args.into, args.bits, args.description, args.pronunciations, args.language_model,
                args.shares, args.tagger, args.neural_language_model,
            )
        )  # fmt: skip
    except (AsrError, OSError, ValueError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
