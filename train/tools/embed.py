"""A run's best model takes the place of the one in a bundle, with that bundle's language model and decoder.

    python -m train.tools.embed runs/x/best --into assets/default --bits 5 --compressed --description "A small
    recogniser."

Of several bundles whose networks are alike, such as those of a run and of one that went on from it, the weights are
averaged: the mean is often surer than each of them (Wortsman et al., 2022, arXiv 2203.05482). What is said of the
training is that of the last one. A network that names phones gets to know how the language model's most frequent words
sound, from the same dictionary that it was trained with. What the bundle said of its old weights, measured rates and
confidence, goes with them: `python -m train.evaluate --write` and `python -m train.publish.card` say it of the new
ones.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asr_core.bundle.description import LANGUAGE_MODEL
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.lexicon import Pronunciations
from asr_core.errors import AsrError
from train.data.pronunciations import Dictionary
from train.options import in_words

DONE, FAILED = 0, 1
MAX_WORDS = 20_000  # whose sound is stored: 96 of a hundred words that are said; in 180 kB
OF_THE_OLD = ("name", "licence", "description", "decoder")
OF_THE_WEIGHTS = ("trained", "recipe", "featurizer", "sample_rate", "tokens", "language", "training_data")


def embed(
    runs: Sequence[Path], folder: Path, bits: int, description: str | None = None, dictionary: Path | None = None,
    language_model: Path | None = None, compressed: bool = False,
) -> Path:  # fmt: skip
    """Replaces the network of the bundle in `folder`, all at once or not at all; returns the folder.

    A language model is replaced where another one is given.

    Raises:
        AsrError: one of them is no bundle.
        ValueError: networks to average are not alike; or they name phones, and there is no dictionary (see
            `train.data.pronunciations`).
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
    path, sounds = language_model or old.file(LANGUAGE_MODEL), None
    words = NGramModel.load(path) if path else None
    if words and new.config["architecture"]["sizes"].get("phones"):
        sounds = Pronunciations.build(words.words, Dictionary(dictionary).words, set(words.most_frequent(MAX_WORDS)))
    return save_bundle(
        folder, network, config, language_model=path, pronunciations=sounds, bits=bits, compressed=compressed
    )


def main(arguments: Sequence[str] | None = None) -> int:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m train.tools.embed",
        description=summary,
        epilog=usage,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, nargs="+", help="that a run has written: RUN/best")
    parser.add_argument("--into", type=Path, required=True, help="the bundle whose network it replaces")
    bits = [4, 5, 6, 7, 8, 16, 32]
    parser.add_argument("--bits", type=int, choices=bits, default=16, help="of each number of a matrix")
    parser.add_argument("--compressed", action="store_true", help="smaller files, where there are 8 bits or fewer")
    parser.add_argument("--language-model", type=Path, help="to go with it; by default the bundle's own stays")
    parser.add_argument("--description", help="one sentence; by default the old one stays")
    parser.add_argument("--pronunciations", type=Path, help="dictionary of a network that names phones (see train)")
    asked = parser.parse_args(arguments)
    try:
        print(
            embed(
                asked.bundle, asked.into, asked.bits, asked.description, asked.pronunciations, asked.language_model,
                asked.compressed,
            )
        )  # fmt: skip
    except (AsrError, OSError, ValueError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
