"""Texts -> a pruned word n-gram language model for the beam search.

    python -m train.language_model --text prose.txt.xz:0.4 --text modern.txt.xz:0.6 \\
        --order 3 --vocabulary 60000 --prune 1e-8 --out language_model.safetensors --held-out valid.jsonl

For each source a model is estimated with interpolated, modified Kneser-Ney smoothing (Chen and Goodman, 1998). The
models are mixed by the weights of their sources. Then the n-grams that lower the perplexity least are pruned (Stolcke,
1998, "Entropy-based pruning of backoff language models"). All steps sort and sum arrays.
"""

import argparse
import sys
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_core.decoding.arpa import NGrams
from asr_core.decoding.language_model import (
    LEVELS,
    MIN_LOG_PROB,
    SENTENCE_END,
    SENTENCE_START,
    SPECIAL_WORDS,
    UNKNOWN,
    NGramModel,
)
from asr_core.errors import AsrError
from asr_core.text.normaliser import Normaliser
from train.data.sentences import TextSource, frequent_words, parse_source, read_sentences, read_sources
from train.options import DONE, FAILED, Help, in_words, make_room, real, stoppable, whole

MAX_VOCABULARY = 10_000_000  # words
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # for texts too small to estimate discounts; KenLM's values


@dataclass(frozen=True, eq=False)
class Table:
    """All n-grams of one order that occur in any source, sorted by their words.

    Attributes:
        context: int64 [count], index of the first n - 1 words in the table of the order below.
        word: int64 [count], the last word.
        suffix: int64 [count], index of the last n - 1 words in the table of the order below.
        counts: float64 [sources, count].
        starts_sentence: bool [count], whether the first word is the sentence start.
    """

    context: np.ndarray
    word: np.ndarray
    suffix: np.ndarray
    counts: np.ndarray
    starts_sentence: np.ndarray


def choose_vocabulary(sources: list[TextSource], size: int) -> list[str]:
    """The special words, and the most frequent words of the texts in alphabetical order, `size` in all at most."""
    return [*SPECIAL_WORDS, *frequent_words(sources, size - len(SPECIAL_WORDS))]


def encode(sentences: list[str], words: list[str]) -> np.ndarray:
    """Word numbers of all sentences, concatenated: int64 [n]. Each sentence has a start and an end mark."""
    number = {word: place for place, word in enumerate(words)}
    numbers = array("q")
    for sentence in sentences:
        numbers.append(SENTENCE_START)
        numbers.extend(number.get(word, UNKNOWN) for word in sentence.split())
        numbers.append(SENTENCE_END)
    return np.frombuffer(numbers, np.int64)


def count(texts: list[np.ndarray], order: int, words: int) -> list[Table]:
    """Counts n-grams: the tables of the orders 1 to `order` over several encoded texts."""
    numbers = np.concatenate(texts)
    source = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    positions = np.arange(len(numbers))
    depth = positions - np.maximum.accumulate(np.where(numbers == SENTENCE_START, positions, 0))

    def per_source(places: np.ndarray, at: np.ndarray, size: int) -> np.ndarray:
        return np.stack([np.bincount(places[source[at] == s], minlength=size) for s in range(len(texts))])

    start = np.arange(words) == SENTENCE_START
    root = np.zeros(words, np.int64)
    tables = [Table(root, np.arange(words), root, per_source(numbers, positions, words), start)]
    below = numbers  # index of the n-gram that ends at each position
    for n in range(2, order + 1):
        at = np.flatnonzero(depth >= n - 1)
        keys, first, places = np.unique(below[at - 1] * words + numbers[at], return_index=True, return_inverse=True)
        context = keys // words
        tables.append(
            Table(
                context,
                keys % words,
                below[at[first]],
                per_source(places, at, len(keys)),
                tables[-1].starts_sentence[context],
            )
        )
        below = np.full(len(numbers), -1)
        below[at] = places
    return tables


def kneser_ney(tables: list[Table], source: int) -> list[np.ndarray]:
    """p(word | context) of every n-gram in the tables, estimated from one source.

    Below the highest order, the count of an n-gram is the number of different words that precede it (its continuation
    count). No words precede n-grams at the start of a sentence, so these keep their plain counts.
    """
    probabilities = []
    for n, table in enumerate(tables, 1):
        counts = table.counts[source].astype(float)
        if n < len(tables):
            longer = tables[n]
            followed = longer.suffix[longer.counts[source] > 0]
            different = np.bincount(followed, minlength=len(counts)).astype(float)
            counts = np.where(table.starts_sentence, counts, different)
        if n == 1:
            counts[SENTENCE_START] = 0
        contexts = len(tables[n - 2].word) if n > 1 else 1
        discounts = np.concatenate([[0.0], _discounts(counts)])[np.minimum(counts, 3).astype(int)]
        total = np.bincount(table.context, counts, contexts)
        left = np.bincount(table.context, discounts, contexts)
        weight = np.where(total > 0, left / np.maximum(total, 1), 1.0)
        if n > 1:
            below = probabilities[-1][table.suffix]
        else:
            below = (np.arange(len(counts)) != SENTENCE_START) / (len(counts) - 1)
        seen = (counts - discounts) / np.maximum(total, 1)[table.context]
        probabilities.append(seen + weight[table.context] * below)
    return probabilities


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Discounts of the counts one, two, and three or more (Chen and Goodman, 1998, equation 26)."""
    n1, n2, n3, n4 = (float((counts == times).sum()) for times in (1, 2, 3, 4))
    if not min(n1, n2, n3, n4):
        return np.array(FALLBACK_DISCOUNTS)
    y = n1 / (n1 + 2 * n2)
    return np.clip([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3], 0.0, (1, 2, 3))


def prune(
    tables: list[Table], probabilities: list[np.ndarray], frequencies: list[np.ndarray], threshold: float
) -> list[np.ndarray]:
    """Chooses the n-grams to keep: those whose removal raises the perplexity by at least the share `threshold`.

    As in SRILM, the effect of each removal is computed for the full model. Unlike there, the probability of a context
    is its relative frequency, since the lower orders of a Kneser-Ney model are not marginal distributions (Chelba et
    al., 2010). If a longer n-gram is kept, so is its context.

    Returns:
        bool [count] for each order.
    """
    keep = [np.ones(len(table.word), bool) for table in tables]
    for n in range(len(tables), 1, -1):
        table, p = tables[n - 1], probabilities[n - 1]
        q = probabilities[n - 2][table.suffix]
        contexts = len(tables[n - 2].word)
        left = np.maximum(1 - np.bincount(table.context, p, contexts), 1e-12)
        left_below = np.maximum(1 - np.bincount(table.context, q, contexts), 1e-12)
        left, left_below = left[table.context], left_below[table.context]
        weight_without = (left + p) / (left_below + q)
        change = p * np.log(weight_without * q / p) + left * np.log(weight_without * left_below / left)
        entropy = -frequencies[n - 2][table.context] * change
        keep[n - 1] = np.expm1(entropy) >= threshold
        if n < len(tables):
            keep[n - 1][tables[n].context[keep[n]]] = True
    return keep


def back_off(tables: list[Table], probabilities: list[np.ndarray], keep: list[np.ndarray]) -> list[np.ndarray]:
    """Back-off weights: for every order, the weight of each context that makes its distribution sum to one."""
    weights = []
    effective = probabilities[0]  # of the n-grams of the order below, in the pruned model
    for n in range(2, len(tables) + 1):
        table, kept = tables[n - 1], keep[n - 1]
        contexts = len(tables[n - 2].word)
        below = effective[table.suffix]
        left = 1 - np.bincount(table.context[kept], probabilities[n - 1][kept], contexts)
        left_below = 1 - np.bincount(table.context[kept], below[kept], contexts)
        weights.append(np.maximum(left, 1e-12) / np.maximum(left_below, 1e-12))
        effective = np.where(kept, probabilities[n - 1], weights[-1][table.context] * below)
    weights.append(np.ones(len(tables[-1].word)))
    return weights


def assemble(
    words: list[str],
    tables: list[Table],
    probabilities: list[np.ndarray],
    keep: list[np.ndarray],
    weights: list[np.ndarray],
) -> NGramModel:
    """Builds the model from the n-grams that are kept."""
    orders = []
    spelled = tables[0].word[:, None]
    for n, (table, p, kept, weight) in enumerate(zip(tables, probabilities, keep, weights, strict=True), 1):
        if n > 1:
            spelled = np.column_stack([spelled[table.context], table.word])
        log_probs = np.log(np.maximum(p[kept], np.exp(MIN_LOG_PROB)))
        orders.append(NGrams(spelled[kept], log_probs.astype(np.float32), np.log(weight[kept]).astype(np.float32)))
    return NGramModel.from_ngrams(words, orders)


def fit(sources: list[TextSource], order: int, vocabulary: int, threshold: float, report=print) -> NGramModel:
    """Estimates a model: counts n-grams, smooths, mixes the sources and prunes.

    Args:
        sources: their weights are scaled to sum to one.
        order: of the longest n-grams.
        vocabulary: number of words, special ones included.
        threshold: see `prune`.
        report: called with each line of progress.
    """
    words = choose_vocabulary(sources, vocabulary)
    texts = [encode(source.sentences, words) for source in sources]
    shares = np.array([source.weight for source in sources])
    shares = shares / shares.sum()
    for source, text, share in zip(sources, texts, shares, strict=True):
        tokens = int((text > SENTENCE_END).sum() + (text == UNKNOWN).sum())
        report(
            f"{source.path.name}: {len(source.sentences):,} sentences, {tokens:,} words, "
            f"{(text == UNKNOWN).sum() / max(1, tokens):.2%} unknown, weight {share:.2f}"
        )
    tables = count(texts, order, len(words))
    mixed = [np.zeros(len(table.word)) for table in tables]
    for source, share in enumerate(shares):
        for total, alone in zip(mixed, kneser_ney(tables, source), strict=True):
            total += share * alone
    sizes = np.array([len(text) for text in texts])
    frequencies = [(shares / sizes) @ table.counts for table in tables]
    keep = prune(tables, mixed, frequencies, threshold)
    report(
        "n-grams counted: "
        + " ".join(f"{len(table.word):,}" for table in tables)
        + "; kept: "
        + " ".join(f"{kept.sum():,}" for kept in keep)
    )
    return assemble(words, tables, mixed, keep, back_off(tables, mixed, keep))


def perplexity(model: NGramModel, sentences: list[str]) -> tuple[float, float]:
    """(perplexity per known word, ends of sentences included; share of unknown words)."""
    total, known, unknown = 0.0, 0, 0
    for sentence in sentences:
        state = model.begin
        for number in [*map(model.word_number, sentence.split()), SENTENCE_END]:
            log_prob, state = model.score(state, number)
            if number == UNKNOWN:
                unknown += 1
            else:
                total += log_prob
                known += 1
    words = known + unknown - len(sentences)
    return float(np.exp(-total / max(1, known))), unknown / max(1, words)


@stoppable
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m train.language_model", description=__doc__, formatter_class=Help)
    parser.add_argument(
        "--text", action="append", required=True, type=parse_source, metavar="FILE[:WEIGHT]",
        help="a text, one sentence a line (plain, .xz, .gz), or a manifest (.jsonl); may be repeated",
    )  # fmt: skip
    parser.add_argument("--order", type=whole(1, 5), default=3, help="longest n-grams, 1 to 5")
    vocabulary = whole(len(SPECIAL_WORDS) + 1, MAX_VOCABULARY)
    parser.add_argument("--vocabulary", type=vocabulary, default=60_000, help="number of words")
    parser.add_argument(
        "--prune", type=real(0), default=1e-8,
        help="drop n-grams without which the perplexity rises by less than this share (0 keeps all)",
    )  # fmt: skip
    parser.add_argument(
        "--levels", type=whole(4, LEVELS), default=LEVELS,
        help="of quantised probabilities and weights",
    )  # fmt: skip
    parser.add_argument("--held-out", type=Path, help="text or manifest to measure the perplexity on")
    parser.add_argument("--out", type=Path, required=True, help="the model, *.safetensors")
    options = parser.parse_args(arguments)
    try:
        make_room(options.out)
        normalise = Normaliser()
        sources = read_sources(options.text, normalise)
        held_out = list(read_sentences(options.held_out, normalise)) if options.held_out else []
    except AsrError as error:
        print(error, file=sys.stderr)
        return FAILED
    model = fit(sources, options.order, options.vocabulary, options.prune).quantised(options.levels)
    try:
        files = model.save(options.out)
        start = time.perf_counter()
        model = NGramModel.load(options.out)
    except (OSError, AsrError) as error:
        print(f"The model cannot be written: {in_words(error, options.out)}", file=sys.stderr)
        return FAILED
    _ = model.prefixes  # made at the first use, and counted as loading
    print(
        f"{options.out}: {sum(file.stat().st_size for file in files) / 1e6:.2f} MB, order {model.order}, "
        f"{len(model.words):,} words, loads in {time.perf_counter() - start:.2f} s"
    )
    if held_out:
        value, unknown = perplexity(model, held_out)
        print(f"{options.held_out.name}: perplexity {value:.1f}, {unknown:.2%} of the words unknown")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
