"""A run's best model takes the place of the one in a bundle, with that bundle's language model and decoder.

    python -m train.embed runs/x/best --into assets/default --bits 8 --description "A small English recogniser."

Of several bundles whose networks are alike, such as those of a run and of one that went on from it, the weights are
averaged: the mean is often surer than each of them (Wortsman et al., 2022, arXiv 2203.05482). What is said of the
training is that of the last one. A network that names phones gets to know how the language model's most frequent words
sound, from the same dictionary that it was trained with. What the bundle said of its old weights, measured rates and
confidence, goes with them: `python -m train.evaluate --write` and `python -m train.card` say it of the new ones.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.bundle import load_bundle, save_bundle
from asr_core.description import LANGUAGE_MODEL
from asr_core.errors import AsrError
from asr_core.phones import Pronunciations
from train.pronunciations import Dictionary

DONE, FAILED = 0, 1
MOST_WORDS = 20_000  # whose sound is stored: 96 of a hundred words that are said; in 180 kB
OF_THE_OLD = ("name", "licence", "description", "decoder")
OF_THE_WEIGHTS = ("trained", "recipe", "featurizer", "sample_rate", "tokens", "language", "training_data")


def embed(
    runs: Sequence[Path], folder: Path, bits: int, description: str | None, dictionary: Path | None = None
) -> Path:
    """Replaces the network of the bundle in `folder`, all at once or not at all; returns the folder.

    Raises:
        AsrError: one of them is no bundle.
        ValueError: networks to average are not alike; or they name phones, and there is no dictionary (see
            `train.pronunciations`).
    """
    *others, new = map(load_bundle, runs)
    old = load_bundle(folder)
    if any(other.config["architecture"] != new.config["architecture"] for other in others):
        raise ValueError("Only networks of the same architecture and sizes can be averaged.")
    network, weights = new.build(), [bundle.build().weights for bundle in others]
    for variable, *values in zip(network.weights, *weights, strict=True):
        variable.assign(sum(values, variable) / (len(values) + 1))
    config = {key: old.config[key] for key in OF_THE_OLD if key in old.config}
    config |= {key: new.config[key] for key in OF_THE_WEIGHTS if key in new.config}
    if description:
        config["description"] = description
    path, words, sounds = old.path / LANGUAGE_MODEL, old.language_model(), None
    if words and new.config["architecture"]["sizes"].get("phones"):
        sounds = Pronunciations.build(words.words, Dictionary(dictionary).words, set(words.most_frequent(MOST_WORDS)))
    return save_bundle(
        folder, network, config, language_model=path if words else None, pronunciations=sounds, bits=bits
    )


def main(arguments: Sequence[str] | None = None) -> int:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m train.embed", description=summary, epilog=usage, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path, nargs="+", help="that a run has written: RUN/best")
    parser.add_argument("--into", type=Path, required=True, help="the bundle whose network it replaces")
    parser.add_argument("--bits", type=int, choices=[7, 8, 16, 32], default=16, help="of each number of a matrix")
    parser.add_argument("--description", help="one sentence; by default the old one stays")
    parser.add_argument("--pronunciations", type=Path, help="dictionary of a network that names phones (see train)")
    asked = parser.parse_args(arguments)
    try:
        print(embed(asked.bundle, asked.into, asked.bits, asked.description, asked.pronunciations))
    except (AsrError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
