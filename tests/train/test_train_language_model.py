"""Counting, smoothing and pruning against the definitions, written out on dictionaries."""

import gzip
import json
import lzma
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from asr_core.decoding.language_model import ROOT, SENTENCE_START, SPECIAL_WORDS, NGramModel
from asr_core.text.normaliser import Normaliser
from train import language_model as trainer
from train.data.sentences import TextSource, parse_source, read_sentences
from train.language_model import choose_vocabulary, encode, fit, main, perplexity

TEXT = """the cat sat on the mat
the dog sat on the cat
a dog saw the cat and the dog ran
the cat ran and a dog sat
on the mat the cat saw a dog
the end of it
it is the end of the dog and the cat
a cat is a cat and a dog is a dog
the mat is on the mat
is it the cat""".split("\n")
OTHER = ["a mat sat on a mat", "a mat saw a mat", "it ran and ran and ran"]


def source(sentences, weight=1.0):
    return TextSource(Path("text.txt"), weight, sentences)


def grams(sentences, n):
    """Counts of n-grams of a text by the book."""
    counts = Counter()
    for sentence in sentences:
        words = ["<s>", *sentence.split(), "</s>"]
        counts.update(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    return counts


def by_the_book(sentences, order, words, discounts):
    """Interpolated modified Kneser-Ney as a function p(word, context), straight from the formulas."""
    adjusted = {}
    for n in range(1, order + 1):
        counts = grams(sentences, n)
        if n < order:
            before = defaultdict(set)
            for gram in grams(sentences, n + 1):
                before[gram[1:]].add(gram[0])
            counts = {g: count if g[0] == "<s>" else len(before[g]) for g, count in counts.items()}
        adjusted[n] = counts
    adjusted[1].pop(("<s>",), None)

    def probability(word, context):
        n = len(context) + 1
        below = probability(word, context[1:]) if context else (word != "<s>") / (len(words) - 1)
        after = {gram: count for gram, count in adjusted[n].items() if gram[:-1] == context}
        total = sum(after.values())
        if not total:
            return below
        discount = lambda count: 0 if count == 0 else discounts[n][min(count, 3) - 1]  # noqa: E731
        count = after.get((*context, word), 0)
        left = sum(map(discount, after.values()))
        return (count - discount(count)) / total + left / total * below

    return probability


def log_prob(model, word, history):
    state = ROOT
    for earlier in history:
        _, state = model.score(state, model.words.index(earlier))
    return model.score(state, model.words.index(word))[0]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_an_unpruned_model_is_kneser_ney_by_the_book(order, monkeypatch):
    discounts = {n: (0.4 + 0.05 * n, 0.9, 1.2) for n in range(1, order + 1)}
    given = iter(discounts.values())
    monkeypatch.setattr(trainer, "_discounts", lambda counts: np.array(next(given)))
    model = fit([source(TEXT)], order, 100, 0.0, report=str)
    expected = by_the_book(TEXT, order, model.words, discounts)
    for n in range(1, order + 1):
        for gram in grams(TEXT, n):
            if gram != ("<s>",):
                found = np.exp(log_prob(model, gram[-1], gram[:-1]))
                assert found == pytest.approx(expected(gram[-1], gram[:-1]), rel=1e-4), gram


def test_discounts_follow_from_the_counts_of_counts():
    counts = np.repeat([1, 2, 3, 4, 9], [40, 20, 10, 5, 3])
    y = 40 / 80
    expected = [1 - 2 * y * 20 / 40, 2 - 3 * y * 10 / 20, 3 - 4 * y * 5 / 10]
    assert trainer._discounts(counts) == pytest.approx(expected)
    assert trainer._discounts(np.array([1, 1, 2])) == pytest.approx(trainer.FALLBACK_DISCOUNTS)


@pytest.mark.parametrize("threshold", [0.0, 1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_probabilities_sum_to_one_however_much_is_pruned(order, threshold):
    model = fit([source(TEXT, 0.7), source(OTHER, 0.3)], order, 100, threshold, report=str)
    histories = [(), ("<s>",), ("the",), ("on", "the"), ("<s>", "the", "cat"), ("mat", "a", "cat"), ("ran",)]
    for history in histories:
        total = sum(np.exp(log_prob(model, word, history)) for word in model.words if word != "<s>")
        assert total == pytest.approx(1, abs=1e-4), history


def test_more_pruning_keeps_fewer_ngrams_and_costs_perplexity():
    models = [fit([source(TEXT)], 3, 100, threshold, report=str) for threshold in (0.0, 3e-3, 3e-2, 10.0)]
    sizes = [sum(model.counts) for model in models]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    assert models[-1].counts == (len(models[-1].words),)
    perplexities = [perplexity(model, TEXT)[0] for model in models]
    assert perplexities == sorted(perplexities)


def test_pruning_one_ngram_costs_what_it_was_reported_to_cost():
    """The definition: relative rise of the perplexity, of the model itself weighed by context frequencies."""
    words = choose_vocabulary([source(TEXT)], 100)
    tables = trainer.count([encode(TEXT, words)], 2, len(words))
    p = trainer.kneser_ney(tables, 0)
    frequency = tables[0].counts[0] / tables[0].counts[0].sum()
    everything = [np.ones(len(table.word), bool) for table in tables]

    def cross_entropy(keep):
        model = trainer.assemble(words, tables, p, keep, trainer.back_off(tables, p, keep))
        full = trainer.assemble(words, tables, p, everything, trainer.back_off(tables, p, everything))
        return -sum(
            frequency[words.index(context)] * np.exp(log_prob(full, word, [context])) * log_prob(model, word, [context])
            for context in words
            for word in words
            if word != "<s>"
        )

    at = 5
    without = [everything[0], np.arange(len(tables[1].word)) != at]
    rise = np.expm1(cross_entropy(without) - cross_entropy(everything))
    assert trainer.prune(tables, p, [frequency, None], rise * 0.99)[1][at]
    assert not trainer.prune(tables, p, [frequency, None], rise * 1.01)[1][at]


def test_two_sources_mix_by_their_weights():
    words = ["the", "cat", "sat", "mat"]
    alone = [fit([source(text * 2)], 1, 100, 0.0, report=str) for text in (["the cat"], ["cat sat mat"])]
    both = fit([source(["the cat"] * 2, 3.0), source(["cat sat mat"] * 2, 1.0)], 1, 100, 0.0, report=str)
    assert set(words) < set(both.words)
    p_the = np.exp(log_prob(both, "the", []))
    assert p_the > np.exp(log_prob(both, "sat", []))
    assert np.exp(log_prob(alone[1], "sat", [])) > np.exp(log_prob(both, "sat", []))


def test_the_vocabulary_holds_the_most_frequent_words_in_order():
    sentences = ["b b b b a a a c c d"]
    assert choose_vocabulary([source(sentences)], 5) == [*SPECIAL_WORDS, "a", "b"]
    assert choose_vocabulary([source(sentences)], 50) == [*SPECIAL_WORDS, "a", "b", "c"]  # d occurs once
    rare, common = source(["x x y y y y y y"], weight=9.0), source(["z z z"], weight=1.0)
    assert choose_vocabulary([rare, common], 5) == [*SPECIAL_WORDS, "x", "y"]


def test_unknown_words_and_sentence_marks_are_encoded():
    assert encode(["a b", "c"], [*SPECIAL_WORDS, "a", "c"]).tolist() == [1, 3, 0, 2, 1, 4, 2]


def test_perplexity_by_hand():
    model = fit([source(["a a b b"])], 1, 100, 0.0, report=str)
    p = [np.exp(log_prob(model, word, [])) for word in ("a", "b", "</s>")]
    value, unknown = perplexity(model, ["a b", "a zebra"])
    product = p[0] * p[1] * p[2] * p[0] * p[2]
    assert value == pytest.approx(product ** (-1 / 5), rel=1e-4)
    assert unknown == 1 / 4


def test_the_command_writes_a_model_and_says_what_it_is_worth(tmp_path, capsys):
    with lzma.open(tmp_path / "a.txt.xz", "wt") as file:
        file.write("\n".join(line.capitalize() + "." for line in TEXT * 2))
    (tmp_path / "b.txt").write_text("\n".join(OTHER))
    rows = [{"text": "The cat sat on a mat!"}, {"text": "A zebra ran"}]
    (tmp_path / "valid.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "lm.safetensors"
    texts = ["--text", f"{tmp_path}/a.txt.xz:0.8", "--text", f"{tmp_path}/b.txt:0.2"]
    code = main([*texts, "--prune", "1e-4", "--out", str(out), "--held-out", f"{tmp_path}/valid.jsonl"])
    printed = capsys.readouterr().out
    assert code == 0
    assert f"a.txt.xz: {len(TEXT)} sentences" in printed  # every sentence counts once
    assert "weight 0.80" in printed
    assert "loads in" in printed
    assert "11.11% of the words unknown" in printed
    model = NGramModel.load(out)
    assert model.order == 3
    assert model.words[SENTENCE_START] == "<s>"
    assert model.log_prob.dtype == np.uint8


@pytest.mark.parametrize("name", ["missing.txt", "broken.xz", "broken.jsonl"])
def test_a_text_that_cannot_be_read_is_one_line(name, tmp_path, capsys):
    if name.startswith("broken"):
        (tmp_path / name).write_bytes(b"not what the suffix promises\n")
    assert main(["--text", f"{tmp_path}/{name}", "--out", f"{tmp_path}/lm.safetensors"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("A text cannot be read") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "one"}\n\n{"id": 1}\n', "a.jsonl, line 3, is not a JSON object with a text."),
        ("a.jsonl", b"[1]", "a.jsonl, line 1, is not a JSON object with a text."),
        ("a.jsonl", b'{"text": null}', "a.jsonl, line 1, is not a JSON object with a text."),
        ("a.txt", b"one\ncaf\xe9\n", "a.txt, line 2, is not in UTF-8."),
        ("a.txt.gz", b"no archive", "a.txt.gz: Not a gzipped file"),
        ("a.txt.gz", gzip.compress(b"one two " * 99, mtime=0)[:-30], "a.txt.gz: Compressed file ended before"),
        ("a.txt.gz", bytes.fromhex("1f8b0800000000000003") + b"\xff" * 40, "a.txt.gz: Error -3 while decompressing"),
        ("folder", None, "folder: Is a directory."),
    ],
)
def test_what_is_wrong_with_a_text_is_reported_with_its_line(name, content, message, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for flag in ("--text", "--held-out"):
        (tmp_path / "good.txt").write_text("one two\none two three\n")
        others = [] if flag == "--text" else ["--text", f"{tmp_path}/good.txt"]
        assert main([flag, f"{tmp_path}/{name}", *others, "--out", f"{tmp_path}/lm.safetensors"]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_packed_manifests_and_marks_are_read(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'\xef\xbb\xbf{"text": "One."}\r\n{"text": "Two"}\r\n'))
    (tmp_path / "a.txt").write_text("\ufeffOne.\r\nTwo\rThree", newline="")
    assert list(read_sentences(tmp_path / "a.jsonl.gz", Normaliser())) == ["one", "two"]
    assert list(read_sentences(tmp_path / "a.txt", Normaliser())) == ["one", "two", "three"]


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "-1", "0", "-0", "1e400", "1e-320"])
def test_a_weight_is_a_number_above_0(weight, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--text", f"{tmp_path}/a.txt:{weight}", "--out", f"{tmp_path}/lm.safetensors"])
    assert stop.value.code == 2 and f"'{weight}' is not a number of" in capsys.readouterr().err


def test_a_weight_of_a_file_that_is_no_number_is_called_so(tmp_path, capsys):
    (tmp_path / "lm.txt").write_text("a")
    with pytest.raises(SystemExit):
        main(["--text", f"{tmp_path}/lm.txt:x", "--out", str(tmp_path / "lm.safetensors")])
    assert f"the weight 'x' of {tmp_path}/lm.txt is not a number" in capsys.readouterr().err


def test_a_file_may_have_a_colon_and_a_figure_in_its_name(tmp_path):
    (tmp_path / "part:2").write_text("one")
    assert parse_source(f"{tmp_path}/part:2") == (tmp_path / "part:2", 1.0)
    assert parse_source(f"{tmp_path}/part:2:0.5") == (tmp_path / "part:2", 0.5)
    assert parse_source("C:\\texts\\a.txt") == (Path("C:\\texts\\a.txt"), 1.0)


@pytest.mark.parametrize(
    "flags",
    ["--prune nan", "--prune -1", "--prune inf", "--order 0", "--order 6", "--order x", "--vocabulary 3",
     "--vocabulary -5", "--levels 3", "--levels 1000"],
)  # fmt: skip
def test_numbers_out_of_range_are_refused_before_the_work(flags, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--text", "a.txt", "--out", f"{tmp_path}/lm.safetensors", *flags.split()])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and f"argument {flags.split()[0]}: '{flags.split()[1]}' is not a" in error


def test_the_folder_of_the_model_is_made_before_the_work(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.txt").write_text("\n".join(TEXT))
    out = tmp_path / "new" / "folder" / "lm.safetensors"
    assert main(["--text", f"{tmp_path}/a.txt", "--out", str(out)]) == 0 and out.is_file()
    monkeypatch.setattr(trainer, "fit", None)  # work that must not begin
    assert main(["--text", f"{tmp_path}/a.txt", "--out", f"{out}/lm.safetensors"]) == 1
    assert "lm.safetensors cannot be made (" in capsys.readouterr().err
    assert main(["--text", f"{tmp_path}/a.txt", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{tmp_path} is a folder: name a file with --out.\n"


def test_nothing_to_count_is_one_line(tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("\n...\n")
    assert main(["--text", f"{tmp_path}/empty.txt", "--out", f"{tmp_path}/lm.safetensors"]) == 1
    assert "no sentence" in capsys.readouterr().err
