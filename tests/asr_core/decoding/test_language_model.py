"""The n-gram model against a plain implementation on dictionaries, and against damaged files."""

import gzip
import itertools
import json
import math
import re
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from asr_core.decoding.language_model import FORMAT, FORMAT_VERSION, ROOT, SENTENCE_END, UNKNOWN, NGramModel
from asr_core.decoding.prefix_tree import NO_WORD, NOWHERE, PrefixTree
from asr_core.errors import LanguageModelError

WORDS = ("a", "cat", "it's", "sat", "the")
# A trigram model with normalised probabilities; the weights are worked out in `normalised_arpa`.
TRIGRAM_PROBABILITIES = {
    ("<unk>",): 0.1, ("<s>",): 0, ("</s>",): 0.2, ("a",): 0.2, ("cat",): 0.15, ("it's",): 0.05, ("sat",): 0.1,
    ("the",): 0.2,
    ("<s>", "the"): 0.5, ("<s>", "a"): 0.3, ("the", "cat"): 0.6, ("a", "cat"): 0.4, ("cat", "sat"): 0.7,
    ("sat", "</s>"): 0.6, ("cat", "it's"): 0.05, ("it's", "<unk>"): 0.3,
    ("<s>", "the", "cat"): 0.7, ("the", "cat", "sat"): 0.8, ("cat", "sat", "</s>"): 0.9,
    ("the", "cat", "</s>"): 0.1, ("<s>", "a", "cat"): 0.25,
}  # fmt: skip


class PlainBackoff:
    """The definition: p(w | h) if listed, else weight(h) * p(w | h without its first word)."""

    def __init__(self, probabilities, weights):
        self.probabilities, self.weights = probabilities, weights
        self.order = max(map(len, probabilities))

    def probability(self, word, history):
        history = tuple(history)[-(self.order - 1) :] if self.order > 1 else ()
        if (*history, word) in self.probabilities:
            return self.probabilities[(*history, word)]
        return self.weights.get(history, 1.0) * self.probability(word, history[1:])

    def arpa(self):
        lines = ["\\data\\"]
        orders = [[gram for gram in self.probabilities if len(gram) == n] for n in range(1, self.order + 1)]
        lines += [f"ngram {n}={len(grams)}" for n, grams in enumerate(orders, 1)]
        for n, grams in enumerate(orders, 1):
            lines += ["", f"\\{n}-grams:"]
            for gram in grams:
                probability = self.probabilities[gram]
                line = f"{math.log10(probability) if probability else -99:.9f}\t{' '.join(gram)}"
                lines.append(line + (f"\t{math.log10(self.weights[gram]):.9f}" if gram in self.weights else ""))
        return "\n".join([*lines, "", "\\end\\", ""])


def normalised(probabilities):
    """A plain model whose back-off weights make all its distributions sum to one."""
    model = PlainBackoff(probabilities, {})
    vocabulary = [gram[0] for gram in probabilities if len(gram) == 1]
    contexts = sorted({gram[:-1] for gram in probabilities if len(gram) > 1}, key=len)
    for context in contexts:
        listed = [word for word in vocabulary if (*context, word) in probabilities]
        left = 1 - sum(probabilities[(*context, word)] for word in listed)
        below = 1 - sum(model.probability(word, context[1:]) for word in listed)
        model.weights[context] = left / below
    return model


def random_model(order, seed):
    """A random model over a few words with gaps: contexts whose suffixes are not contexts."""
    generator = np.random.default_rng(seed)
    vocabulary = ["<unk>", "<s>", "</s>", "b", "c", "d"]
    masses = generator.random(len(vocabulary))
    probabilities = {(word,): p for word, p in zip(vocabulary, masses / masses.sum(), strict=True)}
    for n in range(2, order + 1):
        for context in [gram for gram in probabilities if len(gram) == n - 1]:
            for word in vocabulary:
                if generator.random() < 0.3:
                    probabilities[(*context, word)] = generator.random() / len(vocabulary)
    return normalised(probabilities)


@pytest.fixture
def reference():
    return normalised(TRIGRAM_PROBABILITIES)


@pytest.fixture
def model(reference, tmp_path):
    return from_text(reference.arpa(), tmp_path)


def from_text(text, folder, name="model.arpa"):
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return NGramModel.from_arpa(path)


def log_prob(model, word, history):
    """log p(word | history), word by word from the state without context."""
    state = ROOT
    for earlier in history:
        _, state = model.score(state, number(model, earlier))
    return model.score(state, number(model, word))[0]


def number(model, word):
    return model.words.index(word)


def node_of(tree, prefix):
    """The node of a prefix in a prefix tree, or NOWHERE: character by character, among the children of each node."""
    node = 0
    for character in prefix:
        first, last = tree.first_child[node : node + 2]
        matching = np.flatnonzero(tree.character[first:last] == ord(character))
        if not len(matching):
            return NOWHERE
        node = first + matching[0]
    return node


def test_every_probability_equals_the_definition(model, reference):
    vocabulary = [gram[0] for gram in TRIGRAM_PROBABILITIES if len(gram) == 1]
    for history in itertools.chain.from_iterable(itertools.product(vocabulary, repeat=n) for n in range(4)):
        for word in vocabulary:
            if word != "<s>":
                expected = math.log(reference.probability(word, history))
                assert log_prob(model, word, history) == pytest.approx(expected, abs=1e-5), (history, word)


@pytest.mark.parametrize(("order", "seed"), [(1, 0), (2, 1), (3, 2), (4, 3), (4, 4), (5, 5)])
def test_models_of_any_order_equal_the_definition(order, seed, tmp_path):
    reference = random_model(order, seed)
    model = from_text(reference.arpa(), tmp_path)
    generator = np.random.default_rng(seed)
    for _ in range(300):
        history = generator.choice(model.words, size=generator.integers(0, order + 2))
        word = generator.choice(model.words)
        expected = math.log(reference.probability(str(word), map(str, history)))
        assert log_prob(model, word, history) == pytest.approx(expected, abs=1e-4)


def test_probabilities_after_any_history_sum_to_one(model):
    for history in [(), ("<s>",), ("the", "cat"), ("cat", "the"), ("it's",), ("<s>", "a"), ("sat", "sat")]:
        total = sum(math.exp(log_prob(model, word, history)) for word in model.words if word != "<s>")
        assert total == pytest.approx(1, abs=1e-5), history


def test_a_sentence_by_hand(model):
    # <s> the cat sat </s>: 0.5 * 0.7 * 0.8 * 0.9
    total, state = 0.0, model.begin
    for word in ("the", "cat", "sat", "</s>"):
        score, state = model.score(state, number(model, word))
        total += score
    assert total == pytest.approx(math.log(0.5 * 0.7 * 0.8 * 0.9))


def test_words_have_numbers_and_others_are_unknown(model):
    assert [model.words[model.word_number(word)] for word in WORDS] == list(WORDS)
    assert [model.word_number(word) for word in ("dog", "", "zzz", "<s>")] == [UNKNOWN] * 4


def test_a_model_comes_back_from_its_file(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    again = NGramModel.load(tmp_path / "model.safetensors")
    assert again.words == model.words
    for history, word in itertools.product([("the", "cat"), ("<s>",), ("a", "a")], model.words):
        assert log_prob(again, word, history) == log_prob(model, word, history)


def test_a_loaded_model_is_the_mapped_file_not_a_copy(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    again = NGramModel.load(tmp_path / "model.safetensors")
    base = again.log_prob
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_a_quantised_model_is_close_and_keeps_weights_of_zero(model, tmp_path):
    model.quantised().save(tmp_path / "small.safetensors")
    small = NGramModel.load(tmp_path / "small.safetensors")
    assert small.log_prob.dtype == small.backoff.dtype == np.uint8
    assert small.quantised() is small
    for history, word in itertools.product([("the", "cat"), ("<s>",), ("a", "a")], model.words):
        if word != "<s>":
            assert log_prob(small, word, history) == pytest.approx(log_prob(model, word, history), abs=0.3)
    node = 1 + number(small, "</s>")
    assert small.backoff_values[small.backoff[node]] == 0


def test_a_gzipped_file_reads_the_same(model, reference, tmp_path):
    assert from_text(reference.arpa(), tmp_path, "m.arpa.gz").words == model.words


def test_a_model_in_capitals_is_taken_in_lower_case(model, reference, tmp_path):
    text = reference.arpa()
    for word in WORDS:
        text = re.sub(rf"(?<=[\t ]){word}(?=[\t \n])", word.upper(), text)
    assert "\tTHE CAT\t" in text
    assert from_text(text, tmp_path).words == model.words


def test_unknown_words_may_be_written_in_capitals(tmp_path):
    text = "\\data\\\nngram 1=4\n\\1-grams:\n-1 Polish\n-1 polish\n-1 </s>\n-0.5 <UNK>\n\\end\\\n"
    model = from_text(text, tmp_path)
    assert model.words == from_text(text.replace("<UNK>", "<unk>"), tmp_path).words and "<UNK>" not in model.words


def test_only_spaces_and_tabs_separate_words(tmp_path):
    text = "\\data\\\nngram 1=3\nngram 2=1\n\\1-grams:\n-1\tl\xa0homme\t-0.5\n-1 \u3000\n-1 </s>\n"
    model = from_text(f"{text}\\2-grams:\n-1\tl\xa0homme </s>\n\\end\\\n", tmp_path)
    assert "l\xa0homme" in model.words and "\u3000" in model.words


def test_capitals_stay_where_they_distinguish_words(tmp_path):
    text = "\\data\\\nngram 1=3\n\\1-grams:\n-1 Polish\n-1 polish\n-1 </s>\n\\end\\\n"
    assert from_text(text, tmp_path).words[3:] == ["Polish", "polish"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "ends before"),
        ("\\data\\\nngram 1=1\n\\1-grams:\n-1 a\n", "ends before"),
        ("\\data\\\n\\end\\\n", "announces 0 n-grams"),
        ("\\data\\\nngram 1=999999999\n\\1-grams:\n\\end\\\n", "announces 999999999"),
        ("\\data\\\nngram 2=1\n", "out of turn"),
        ("\\data\\\nngram 1=2\n\\1-grams:\n-1 a\n\\end\\\n", "announces 2 1-grams and has 1"),
        ("\\data\\\nngram 1=1\n\\1-grams:\nx a\n\\end\\\n", "no 1-gram in 'x a'"),
        ("\\data\\\nngram 1=1\n\\1-grams:\nnan a\n\\end\\\n", "not a number"),
        ("\\data\\\nngram 1=2\n\\1-grams:\n-1 a\n-1 a\n\\end\\\n", "a word twice"),
        ("\\data\\\nngram 1=1\nngram 2=1\n\\1-grams:\n-1 a\n\\2-grams:\n-1 a b\n\\end\\\n", "no 2-gram"),
        ("\\data\\\nngram 1=1\n\\2-grams:\n", "where .1-grams: belongs"),
        ("x" * 20_000, "a line of 10000"),
    ],
)
def test_a_broken_arpa_file_is_refused_in_words(text, complaint, tmp_path):
    with pytest.raises(LanguageModelError, match=complaint):
        from_text(text, tmp_path)


def test_a_trigram_without_its_bigram_is_refused(reference, tmp_path):
    text = reference.arpa().replace("ngram 2=8", "ngram 2=7")
    text = "\n".join(line for line in text.split("\n") if line.split("\t")[1:2] != ["the cat"])
    with pytest.raises(LanguageModelError, match="begin with 'the cat'"):
        from_text(text, tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    for name, content in [
        ("a.arpa", b"\xff\xfe\x00"),
        ("b.arpa.gz", b"\x1f\x8b\x08garbage"),
        ("c.gz", b"text"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LanguageModelError, match="cannot be read"):
            NGramModel.from_arpa(tmp_path / name)
    with pytest.raises(LanguageModelError, match="cannot be read"):
        NGramModel.from_arpa(tmp_path / "missing.arpa")


@pytest.mark.parametrize("quantised", [False, True])
def test_no_damage_to_a_file_gets_through_to_a_crash(model, quantised, tmp_path):
    path = tmp_path / "model.safetensors"
    (model.quantised() if quantised else model).save(path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for trial in range(200):
        damaged = bytearray(whole)
        if trial % 4 == 0:
            damaged = damaged[: generator.integers(0, len(damaged))]
        else:
            for _ in range(trial % 4):
                damaged[generator.integers(0, len(damaged))] = generator.integers(0, 256)
        path.write_bytes(damaged)
        try:
            broken = NGramModel.load(path)
        except LanguageModelError:
            continue
        for history in itertools.product(range(len(broken.words)), repeat=2):
            state = ROOT
            for word in history:
                log_prob, state = broken.score(state, word)
                assert math.isfinite(log_prob)
        node_of(broken.prefixes, "cat")


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("children"),
        lambda arrays: arrays.update(extra=np.zeros(3, np.uint8)),
        lambda arrays: arrays.update(word=arrays["word"][:-1]),
        lambda arrays: arrays.update(word=arrays["word"].astype(np.int64)),
        lambda arrays: arrays.update(word=arrays["word"].astype(np.float32)),
        lambda arrays: arrays.update(children=arrays["children"][::-1].copy()),
        lambda arrays: arrays.update(log_prob=arrays["log_prob"] * np.nan),
        lambda arrays: arrays.update(words=np.frombuffer(b"\xff\xff", np.uint8)),
        lambda arrays: arrays.update(word=arrays["word"][None]),
        lambda arrays: arrays.update(log_prob=arrays["log_prob"].astype(np.uint8)),
    ],
)
def test_a_well_formed_file_with_wrong_contents_is_refused(model, change, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    arrays = {name: array.copy() for name, array in load_file(path).items()}
    metadata = {"format": "word-ngrams", "version": "1", "counts": " ".join(map(str, model.counts))}
    change(arrays)
    save_file(arrays, path, metadata)
    with pytest.raises(LanguageModelError, match="is not a language model"):
        NGramModel.load(path)


def test_another_kind_of_file_and_an_unknown_version_are_refused(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"version":"1"', b'"version":"2"'))
    with pytest.raises(LanguageModelError, match="something else"):
        NGramModel.load(path)
    path.write_bytes(whole.replace(b"word-ngrams", b"weird-stuff"))
    with pytest.raises(LanguageModelError, match="something else"):
        NGramModel.load(path)
    path.write_text(json.dumps({}))
    with pytest.raises(LanguageModelError, match="is not a language model"):
        NGramModel.load(path)


def test_a_prefix_has_the_score_of_the_best_word_that_it_begins(model):
    tree = model.prefixes
    for word in WORDS:
        for end in range(len(word) + 1):
            node = node_of(tree, word[:end])
            likely = [other for other in WORDS if other.startswith(word[:end])]
            best = max(math.log(TRIGRAM_PROBABILITIES[(other,)]) for other in likely)
            assert tree.best[node] == pytest.approx(best, abs=1e-5)
        assert model.words[tree.word[node_of(tree, word)]] == word
    assert tree.word[node_of(tree, "ca")] == NO_WORD
    assert node_of(tree, "dog") == node_of(tree, "cats") == node_of(tree, "cat s") == NOWHERE


def test_a_prefix_tree_holds_every_word_and_nothing_else():
    generator = np.random.default_rng(0)
    words = sorted({"".join(generator.choice(list("ab'é"), generator.integers(1, 7))) for _ in range(300)})
    scores = generator.normal(size=len(words)).astype(np.float32)
    tree = PrefixTree.build(words, scores)
    for place, word in enumerate(words):
        assert tree.word[node_of(tree, word)] == place
    beginnings = {word[:end] for word in words for end in range(len(word) + 1)}
    assert len(tree.word) == len(beginnings)
    for beginning in beginnings:
        best = max(score for word, score in zip(words, scores, strict=True) if word.startswith(beginning))
        assert tree.best[node_of(tree, beginning)] == pytest.approx(best)
        assert (tree.word[node_of(tree, beginning)] != NO_WORD) == (beginning in words)


def test_an_empty_vocabulary_and_endless_words_have_a_prefix_tree():
    assert node_of(PrefixTree.build([], np.zeros(0, np.float32)), "a") == NOWHERE
    tree = PrefixTree.build(["a", "a" * 1000, "b"], np.zeros(3, np.float32))
    assert tree.word[node_of(tree, "b")] == 2
    assert node_of(tree, "aa") == NOWHERE


def test_sixty_thousand_words_load_in_well_under_a_second(tmp_path):
    generator = np.random.default_rng(0)
    letters = generator.integers(97, 123, (60_000, 9)).astype(np.uint8)
    words = sorted({bytes(row).decode() for row in letters})
    lines = [
        "\\data\\",
        f"ngram 1={len(words)}",
        "\\1-grams:",
        *(f"-4.5 {word}" for word in words),
        "\\end\\",
    ]
    from_text("\n".join(lines), tmp_path).quantised().save(tmp_path / "big.safetensors")
    start = time.perf_counter()
    model = NGramModel.load(tmp_path / "big.safetensors")
    assert node_of(model.prefixes, words[7]) != NOWHERE
    assert time.perf_counter() - start < 1.0
    assert model.score(ROOT, SENTENCE_END)[0] < -20


@pytest.mark.parametrize("name", ["m.arpa", "m.arpa.gz"])
def test_a_byte_order_mark_makes_no_difference(model, reference, tmp_path, name):
    assert from_text("\ufeff" + reference.arpa(), tmp_path, name).words == model.words


def test_errors_of_a_file_are_not_in_the_words_of_python(model, tmp_path):
    (tmp_path / "m.arpa").write_bytes("\\data\\".encode("utf-16"))
    with pytest.raises(LanguageModelError, match=r"cannot be read as an ARPA file \(it is not text in UTF-8\)\.$"):
        NGramModel.from_arpa(tmp_path / "m.arpa")
    save_file({"words": np.frombuffer(b"a", np.uint8)}, tmp_path / "m", {"format": FORMAT, "version": FORMAT_VERSION})
    with pytest.raises(LanguageModelError, match=r"m is not a language model of this program \(counts is missing\)\.$"):
        NGramModel.load(tmp_path / "m")


def test_a_large_model_is_divided_into_files_and_read_back(model, tmp_path, monkeypatch):
    model = model.quantised()
    whole, divided = tmp_path / "whole.safetensors", tmp_path / "divided.safetensors"
    assert model.save(whole) == [whole]
    monkeypatch.setattr("asr_core.decoding.language_model.FILE_BYTES", 40)
    paths = model.save(divided)
    assert len(paths) > 2 and paths[1].name == "divided-2.safetensors"
    read = NGramModel.load(divided)
    assert read.words == model.words and read.counts == model.counts
    for name in ("word", "log_prob", "backoff", "children", "log_prob_values", "backoff_values"):
        np.testing.assert_array_equal(getattr(read, name), getattr(model, name))
    paths[-1].unlink()
    with pytest.raises(LanguageModelError, match="divided.safetensors is not a language model"):
        NGramModel.load(divided)
    monkeypatch.undo()
    assert model.save(divided) == [divided] and sorted(tmp_path.glob("divided*")) == [divided], "no file of the old one"
    assert NGramModel.load(divided).words == model.words
