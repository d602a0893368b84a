"""Texts -> a recurrent neural language model, which rescores the hypotheses of the beam search.

    python -m train.neural_language_model --text prose.txt.xz:0.15 --text modern.txt.xz:0.5 \\
        --minutes 80 --out neural_language_model.safetensors --held-out valid.jsonl

A run that was killed continues when it is started again. `python -m train.tools.embed --neural-language-model` puts the
model into a bundle, and `python -m train.evaluate --tune neural-weight=0.3,0.5,0.7` chooses its weight.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from asr_core.decoding.neural_language_model import GROUP, SENTENCE_END, SPECIAL_WORDS, UNKNOWN, NeuralLanguageModel
from asr_core.errors import AsrError
from asr_core.text.normaliser import Normaliser
from train.data.sentences import TextSource, frequent_words, parse_source, read_sentences, read_sources
from train.neural_language_model.fit import LanguageModelRun, Recipe
from train.options import DONE, FAILED, MAX_SEED, Help, in_words, make_folder, make_room, real, stoppable, whole


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        "python -m train.neural_language_model", description=summary, epilog=usage, formatter_class=Help,
    )  # fmt: skip
    parser.add_argument(
        "--text", action="append", required=True, type=parse_source, metavar="FILE[:WEIGHT]",
        help="a text, one sentence a line (plain, .xz, .gz), or a manifest (.jsonl); may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="the model, *.safetensors")
    parser.add_argument("--work", type=Path, help="folder of the state of the run; OUT.work if not given")
    parser.add_argument("--held-out", type=Path, help="text or manifest to measure the perplexity on")
    parser.add_argument("--vocabulary", type=whole(len(SPECIAL_WORDS) + 1), default=20_000, help="number of words")
    parser.add_argument("--minutes", type=real(0, above=True), help="time limit, of all resumptions together")
    parser.add_argument("--steps", type=whole(1), default=Recipe.steps, help="training steps")
    parser.add_argument("--rows", type=whole(1), default=Recipe.rows, help="of text in a step")
    parser.add_argument("--words", type=whole(2), default=Recipe.words, help="of each row in a step")
    parser.add_argument("--width", type=_multiple_of_group, default=Recipe.width, help="of an embedding")
    parser.add_argument("--cells", type=whole(1, 8192), default=Recipe.cells, help="of the LSTM")
    parser.add_argument("--dropout", type=real(0, most=0.9), default=Recipe.dropout, help="share of values")
    parser.add_argument("--rate", type=real(0, above=True), default=Recipe.rate, help="peak learning rate")
    parser.add_argument("--seed", type=whole(0, MAX_SEED), default=Recipe.seed, help="of everything random")
    parser.add_argument("--save-every", type=whole(1), default=250, help="steps between two states")
    return parser.parse_args(arguments)


def _multiple_of_group(text: str) -> int:
    width = whole(GROUP, 8192)(text)
    if width % GROUP:
        raise argparse.ArgumentTypeError(f"{text!r} is not a multiple of {GROUP}")
    return width


@stoppable
def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    folder = options.work or options.out.with_name(options.out.name + ".work")
    try:
        make_room(options.out)
        make_folder(folder, "--work")
        normalise = Normaliser()
        sources = read_sources(options.text, normalise)
        held_out = list(read_sentences(options.held_out, normalise)) if options.held_out else []
        model = _train(options, sources, folder)
        model.save(options.out)
        model = NeuralLanguageModel.load(options.out)
    except (AsrError, ValueError, OSError) as error:
        print(in_words(error, folder), file=sys.stderr)
        return FAILED
    _print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, {len(model.words):,} words")
    if held_out:
        value, unknown, deviation = perplexity(model, held_out)
        _print(
            f"{options.held_out.name}: perplexity {value:.1f}, {unknown:.2%} of the words unknown; "
            f"logarithm of the sum of all words: {deviation:.2f} from 0 on average"
        )
    return DONE


def _print(line: str) -> None:
    print(line, flush=True)


def _train(options: argparse.Namespace, sources: list[TextSource], folder: Path) -> NeuralLanguageModel:
    words = [*SPECIAL_WORDS, *frequent_words(sources, options.vocabulary - len(SPECIAL_WORDS))]
    recipe = Recipe(**{field.name: getattr(options, field.name) for field in fields(Recipe) if field.name in options})
    run = LanguageModelRun(sources, words, recipe, folder, options.minutes, _print)
    run.train(every=options.save_every)
    return run.model()


def perplexity(model: NeuralLanguageModel, sentences: Sequence[str]) -> tuple[float, float, float]:
    """Measures a model on a text.

    Sums leave out the share of unknown words, which `model` has lowered to that of one such word: 1 to 2 % less
    perplexity than with it, as `train.language_model.perplexity` has it.

    Returns:
        (perplexity per known word, ends of sentences included, with exact sums; share of unknown words; mean absolute
        logarithm of the sum of all words, which `NeuralLanguageModel.score` takes for 0).
    """
    number = {word: place for place, word in enumerate(model.words)}
    log_probs, log_sums, unknown = [], [], 0
    for sentence in sentences:
        state = model.begin
        for word in [*(number.get(word, UNKNOWN) for word in sentence.split()), SENTENCE_END]:
            logits = model.logits(state)[0]
            log_sum = np.logaddexp.reduce(logits)
            log_sums.append(abs(log_sum))
            if word == UNKNOWN:
                unknown += 1
            else:
                log_probs.append(logits[word] - log_sum)
            state = model.advance(state, np.array([word]))
    words = len(log_sums) - len(sentences)
    return float(np.exp(-np.mean(log_probs))), unknown / max(1, words), float(np.mean(log_sums))


if __name__ == "__main__":
    sys.exit(main())
