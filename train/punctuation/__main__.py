"""Trains the tagger of punctuation and capitals on cased, punctuated text, or evaluates one.

    python -m train.punctuation --text prose.txt.xz:0.3 --text modern.txt.xz:0.5 --out tagger.safetensors
    python -m train.punctuation --evaluate tagger.safetensors --text prose.txt.xz --manifest valid.jsonl

A run that was killed continues where it was. The figures are precision/recall/F1 on the parts of the texts that
training leaves out.
"""

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path

from asr_core.errors import AsrError
from asr_core.text.tagger import Tagger
from train.data.sentences import parse_source
from train.options import DONE, FAILED, MAX_SEED, Help, in_words, make_folder, make_room, real, stoppable, whole
from train.punctuation.evaluation import evaluate, held_out, recognised, speech_sets
from train.punctuation.texts import read_text


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m train.punctuation", description=__doc__, formatter_class=Help)
    parser.add_argument(
        "--text", action="append", default=[], type=parse_source, metavar="FILE[:WEIGHT]",
        help="a cased, punctuated text (plain, .xz, .gz), its sentences in order; may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="the tagger to write, *.safetensors")
    parser.add_argument("--work", type=Path, help="folder of the state of the run; OUT.work if not given")
    parser.add_argument("--language", default="en", help="of the texts; the spoken forms are English")
    parser.add_argument("--steps", type=whole(1), default=10_000, help="training steps")
    parser.add_argument("--minutes", type=real(0, above=True), help="time limit, of all resumptions together")
    parser.add_argument("--windows", type=whole(1), default=12, help="windows of each step")
    parser.add_argument("--words", type=whole(48), default=160, help="words of each window")
    parser.add_argument("--vocabulary", type=whole(100), default=24_000, help="words with an embedding")
    parser.add_argument("--rare", type=whole(0), default=60_000, help="further words whose capitals are known")
    parser.add_argument("--width", type=whole(1, 512), default=64, help="of an embedding")
    parser.add_argument("--channels", type=whole(1, 512), default=64, help="of the layers")
    parser.add_argument("--rate", type=real(0, above=True), default=3e-3, help="peak learning rate")
    parser.add_argument("--seed", type=whole(0, MAX_SEED), default=0, help="of everything random")
    parser.add_argument("--save-every", type=whole(1), default=250, help="steps between two states")
    parser.add_argument("--evaluate", type=Path, metavar="TAGGER", help="measure a tagger instead of training one")
    parser.add_argument("--manifest", type=Path, help="clips with published punctuation, for --evaluate")
    parser.add_argument("--model", default="default", help="that transcribes the clips")
    options = parser.parse_args(arguments)
    if options.evaluate is None and (options.out is None or not options.text):
        parser.error("training needs --text and --out; --evaluate needs a tagger")
    return options


@stoppable
def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    target = options.evaluate or options.out
    folder = options.work or target.with_name(target.name + ".work")
    try:
        make_room(target)
        make_folder(folder, "--work")
        texts = [read_text(path, weight, folder, _print) for path, weight in options.text]
        if options.evaluate is None:
            _train(options, texts, folder)
        _print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")
        measure(Tagger.load(target), texts, options, folder)
    except (AsrError, ValueError, OSError) as error:
        print(in_words(error, folder), file=sys.stderr)
        return FAILED
    return DONE


def _print(line: str) -> None:
    print(line, flush=True)


def _train(options: argparse.Namespace, texts: list, folder: Path) -> None:
    from train.punctuation.fit import Recipe, TaggerRun, save_tagger

    chosen = {field.name: getattr(options, field.name) for field in fields(Recipe) if hasattr(options, field.name)}
    recipe = Recipe(**chosen)
    run = TaggerRun(texts, recipe, folder, options.minutes, _print)

    def save(run: TaggerRun) -> None:
        save_tagger(options.out, run.numbers, run.balanced_weights(), options.language, run.spellings)

    run.train(every=options.save_every, on_report=save)
    save(run)


def measure(tagger: Tagger, texts: list, options: argparse.Namespace, folder: Path) -> None:
    """Reports the figures of a tagger on held-out parts and, with a manifest, on recognised speech."""
    for text in texts:
        for name, chosen in (("last part", text.end), ("blocks", text.blocks)):
            if chosen.any():
                _print(f"{text.path.name}, {name}")
                passages = held_out(text, chosen)
                evaluate(tagger, passages, _print)
                _print(
                    f"  {_microseconds(tagger, [word for p in passages for word in p.words]):.1f} microseconds a word"
                )
    if options.manifest is not None:
        words_of = recognised(options.manifest, options.model, folder)
        for name, passages in speech_sets(options.manifest, words_of):
            if passages:
                _print(name)
                evaluate(tagger, passages, _print)


def _microseconds(tagger: Tagger, words: list) -> float:
    """Processor time of tagging one long text, for each word."""
    began = time.process_time()
    tagger(words)
    return 1e6 * (time.process_time() - began) / len(words)


if __name__ == "__main__":
    sys.exit(main())
