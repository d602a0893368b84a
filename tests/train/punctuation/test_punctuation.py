"""Training the tagger of punctuation and capitals: labels, pauses, windows, runs, figures."""

import json
import lzma
import os
from types import SimpleNamespace

import numpy as np
import pytest

from asr_core.process import INTERRUPTED
from asr_core.text.normaliser import normalise
from asr_core.text.tagger import CAPITALS, PUNCTUATION, RIGHT_CONTEXT_WORDS, Tag, Tagger, choose_marks
from asr_core.text.word_features import LETTER_FEATURES, TIMING_FEATURES, WordNumbers
from tests.train.conftest import stop_at
from train.numpy_training import Adam
from train.punctuation.__main__ import main
from train.punctuation.evaluation import Passage, SpokenWord, _passage, one_sentence, stops_at_pauses
from train.punctuation.fit import best_biases
from train.punctuation.labels import NOT_SCORED, label, label_text
from train.punctuation.lexicon import choose_spellings, encode_words, number_words
from train.punctuation.measures import Measure, score
from train.punctuation.network import initial_weights, loss_and_gradients
from train.punctuation.pauses import MEASURED, Pauses
from train.punctuation.texts import WordCounts, count_words, read_text, running_order
from train.punctuation.windows import Batch, Source, Windows

SENTENCES = [
    "Mr. Smith went home, and Anna came back.",
    "Did he see London?",
    "The river runs to London, but the road does not.",
    "I think Anna is right.",
    "Where did Mr. Smith go?",
    "He saw the river, the road and the bridge.",
    "When did Anna come back?",
    "In the evening, the river was calm.",
]


def book(count: int, seed=0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [SENTENCES[place] for place in generator.integers(len(SENTENCES), size=count)]


def written(text) -> str:
    """A labelled text as it is written, with _ before words whose capital is not scored."""
    forms = []
    for number, mark, capital in zip(text.numbers, text.marks, text.capitals, strict=True):
        word = text.words[number]
        form = {0: word, 1: word.capitalize(), 2: word.upper(), NOT_SCORED: f"_{word}"}[int(capital)]
        forms.append(form + PUNCTUATION[mark])
    return " ".join(forms)


class TestLabels:
    @pytest.mark.parametrize(
        ("published", "labelled"),
        [
            ("Yes, of course.", "Yes, of course."),
            ('"How\'s the leg?" asked Mr. Sutch.', "How's the leg? asked Mister Sutch."),
            ("He came -- late! -- and left.", "He came, late, and left."),
            ("Stop! We are there.", "Stop. We are there."),
            ("It was late; the moon had set.", "It was late. the moon had set."),
            ("It was late; and the moon had set.", "It was late, and the moon had set."),
            ("Two things: bread and wine.", "Two things, bread and wine."),
            ("The BBC (a broadcaster) said so.", "The BBC, a broadcaster, said so."),
            ("He lives in the U.S. now.", "He lives in the U S now."),
            ("She said, \u201cCome here.\u201d", "She said, _come here."),
            ("A well-known man, born in 1950, left...", "A well known man, born in nineteen fifty, left."),
            ("Well... perhaps not.", "Well, perhaps not."),
            ("I've met J. R. McDonald's aunt.", "I've met J R Mcdonald's aunt."),
        ],
    )
    def test_of_a_sentence(self, published, labelled):
        text = label([published])
        assert written(text) == labelled
        assert [text.words[number] for number in text.numbers] == normalise(published).split()

    def test_a_sentence_that_is_split_after_an_abbreviation_is_joined(self):
        text = label(["It was Mr.", "Mark who came.", "It rained."])
        assert written(text) == "It was Mister Mark who came. It rained."
        assert text.lines.tolist() == [0] * 3 + [1] * 3 + [2] * 2

    @pytest.mark.parametrize("line", ["Chapter the First", "set an alarm for seven", "HE WAS THERE.", "", "* * *"])
    def test_headings_and_lines_without_case_are_left_out(self, line):
        assert written(label(["It rained.", line, "It was dark."])) == "It rained. It was dark."

    def test_capitals_inside_a_word_are_counted(self):
        assert label(["McDonald met McDonald's aunt and eBay."]).forms == {
            ("mcdonald", "McDonald"): 2, ("ebay", "eBay"): 1,
        }  # fmt: skip

    def test_of_a_running_text_do_not_need_a_beginning_or_an_end(self):
        assert written(label_text("in being modern. It is")) == "in being modern. It is"


def counts_of(words: list[str], table: list) -> WordCounts:
    """Counts from a row for each word: share, occurrences, and those in lower case, with a capital, in capitals."""
    table = np.array(table, float)
    return WordCounts(words, table[:, 0], table[:, 1], table[:, 2:])


class TestLexicon:
    def test_numbers_frequent_words_and_the_habit_of_rare_ones(self):
        words = ["the", "of", "london", "nasa", "table", "odd"]
        table = [
            [9, 90, 90, 0, 0], [8, 80, 80, 0, 0], [1, 10, 0, 9, 0], [1, 9, 0, 0, 9], [1, 8, 8, 0, 0], [1, 3, 3, 0, 0],
        ]  # fmt: skip
        known = number_words(counts_of(words, table), 2, 10)
        assert known.vocabulary == ["the", "of"]
        assert known("london") == 2 + 7 and known("nasa") == 2 + 1 and known("table") == 2 + 2 and known("odd") == 2
        numbers, hashes, letters = encode_words(words, known, 16)
        assert numbers.tolist() == [0, 1, 9, 3, 4, 2] and hashes.max() < 16 and letters.tolist()[:2] == [3, 2]

    def test_keeps_the_spelling_that_most_capitals_have(self):
        words, table = ["mcdonald", "leroy", "delay"], [[1, 9, 0, 8, 0], [1, 20, 0, 20, 0], [1, 30, 20, 9, 0]]
        forms = {("mcdonald", "McDonald"): 7, ("mcdonald", "MCDonald"): 1, ("leroy", "LeRoy"): 6, ("delay", "DeLay"): 9}
        assert choose_spellings(forms, counts_of(words, table)) == {"mcdonald": "McDonald"}


class TestPauses:
    def test_are_longer_at_stops_than_at_commas_than_inside(self):
        marks, letters = np.tile([0, 0, 1, 0, 2, 3], 20), np.full(120, 5)
        generator, source, means = np.random.default_rng(0), Pauses.load(), []
        for _ in range(60):
            start, end = source.draw(marks, letters, generator)
            assert (end > start).all() and (np.diff(start) > 0).all()
            pauses = np.append(start[1:] - end[:-1], np.nan)
            means.append([np.nanmean(pauses[marks == mark]) for mark in (0, 1, 2)])
        inside, comma, stop = np.mean(means, axis=0)
        assert inside < comma < stop
        assert 3 < sum(comma > stop for _, comma, stop in means) < 40  # readers differ

    def test_measured_ones_are_those_of_several_corpora(self):
        measured = json.loads(MEASURED.read_text(encoding="utf-8"))
        assert len(measured) > 5 and all(0 <= row[0] < 5 for corpus in measured.values() for row in corpus["1"])


def windows(count=8, words=48, text=None) -> Windows:
    text = text or label(book(400))
    source = Source(1.0, text.numbers, text.marks, text.capitals)
    known = number_words(counts_of(text.words, [[1, 9, 9, 0, 0]] * len(text.words)), 100, 10)
    unknown = len(known.vocabulary)
    return Windows([source], encode_words(text.words, known, 16), unknown, words, count, 0, Pauses.load())


class TestWindows:
    def test_depend_on_the_step_only(self):
        one, other, next_step = windows().batch(5), windows().batch(5), windows().batch(6)
        assert all(np.array_equal(a, b) for a, b in zip(one.inputs, other.inputs, strict=True))
        assert np.array_equal(one.marks, other.marks) and not np.array_equal(one.marks, next_step.marks)

    def test_learn_nothing_where_the_text_is_cut_or_over(self):
        batch = windows(64).batch(0)
        mask = batch.inputs[3]
        lengths = mask.sum(axis=1).astype(int)
        assert (batch.mark_weights <= mask).all() and (batch.capital_weights <= batch.mark_weights).all()
        assert len(set(lengths.tolist())) > 5
        for row, length in enumerate(lengths):
            learned = int(batch.mark_weights[row].sum())
            assert learned in (length, length - RIGHT_CONTEXT_WORDS)
            if learned == length:
                assert batch.marks[row, length - 1] >= 2

    def test_some_have_times_and_some_have_none(self):
        timed = windows(64).batch(0).inputs[2].any(axis=(1, 2))
        assert 20 < timed.sum() < 60

    def test_of_texts_that_are_too_short_are_refused(self):
        with pytest.raises(ValueError, match="more than 72 words"):
            windows(text=label(book(5)))


def test_biases_raise_the_f1_of_marks_that_are_written_too_rarely():
    generator = np.random.default_rng(0)
    marks = generator.choice(4, 4000, p=[0.8, 0.1, 0.08, 0.02])
    scores = generator.normal(0, 1, (4000, 4)) + [4, 0, 0, 0]
    scores[np.arange(4000), marks] += 3
    biases = best_biases(scores, marks)

    def f1(scores, mark):
        return Measure.of(marks == mark, choose_marks(scores) == mark).f1

    assert biases[0] == 0 and (biases[1:] > 0).all()
    assert all(f1(scores + biases, mark) > f1(scores, mark) + 0.05 for mark in (1, 2, 3))


def test_two_stops_that_share_the_probability_end_a_sentence():
    shares = [[0.4, 0.1, 0.26, 0.24], [0.4, 0.1, 0.24, 0.26], [0.6, 0.1, 0.2, 0.1]]
    assert choose_marks(np.log(shares)).tolist() == [2, 3, 0]


MARKED = list(zip(["", ",", ",", ".", "", "."], ["first"] * 3 + ["lower"] * 3, strict=True))


class TestScores:
    def test_of_tags_by_hand(self):
        marks, capitals = np.array([0, 1, 0, 2, 0, 3]), np.array([1, 0, 1, NOT_SCORED, 1, 0])
        tags = [Tag(mark, case) for mark, case in MARKED]
        found = score(marks, capitals, tags)
        comma, stop, question = (found.marks[name] for name in ("comma", "stop", "question"))
        assert (comma.precision, comma.recall) == (0.5, 1.0) and comma.f1 == pytest.approx(2 / 3)
        assert (stop.precision, stop.recall) == (0.5, 1.0) and (question.f1, question.count) == (0.0, 1)
        assert found.marks["end"].f1 == 1.0
        assert found.capitals_right == pytest.approx(3 / 5)
        assert (found.inside.precision, found.inside.recall) == (0.5, 1.0)

    def test_of_recognised_words_use_the_marks_of_the_words_they_stand_for(self):
        rows = [[word, i, i + 0.5, 0.9] for i, word in enumerate("he went hum and uh anna came".split())]
        passage = _passage("He went home, and Anna came back.", rows)
        assert [PUNCTUATION[mark] for mark in passage.marks] == ["", "", ",", "", "", "", "."]
        assert passage.capitals.tolist() == [1, 0, NOT_SCORED, 0, NOT_SCORED, 1, 0]
        assert isinstance(passage, Passage) and len(passage.words) == 7

    def test_of_the_rules_beside_the_tagger(self):
        words = [SpokenWord("so", 0, 0.2), SpokenWord("i", 0.9, 1), SpokenWord("went", 1.1, 1.3)]
        assert stops_at_pauses(words) == [Tag(".", "first"), Tag("", "first"), Tag(".", "lower")]
        assert one_sentence(words) == [Tag("", "first"), Tag("", "first"), Tag(".", "lower")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a toy book, and the arguments of a run on it."""
    folder = tmp_path_factory.mktemp("run")
    with lzma.open(folder / "book.txt.xz", "wt", encoding="utf-8") as file:
        file.write("\n".join(book(3000)))
    arguments = (
        f"--text {folder / 'book.txt.xz'} --words 48 --windows 8 --vocabulary 100 --width 8 --channels 16 "
        "--rate 0.02 --save-every 30"
    ).split()
    return SimpleNamespace(folder=folder, arguments=arguments)


def run(trained, name: str, *more: str) -> int:
    return main([*trained.arguments, "--out", str(trained.folder / name), *more])


class TestNetwork:
    SIZES = dict(numbers=20, width=6, letter_width=4, buckets=10, channels=8)

    def batch(self, generator) -> Batch:
        mask = np.ones((3, 40), np.float32)
        mask[1, 30:] = 0
        inputs = [
            generator.integers(0, 20, mask.shape), generator.integers(0, 10, (*mask.shape, LETTER_FEATURES)),
            generator.normal(size=(*mask.shape, TIMING_FEATURES)).astype(np.float32), mask,
        ]  # fmt: skip
        marks, capitals = generator.integers(0, 4, mask.shape), generator.integers(0, 3, mask.shape)
        return Batch(inputs, marks, capitals, mask, mask * (generator.random(mask.shape) < 0.7))

    def test_gradients_are_those_of_finite_differences(self):
        generator = np.random.default_rng(0)
        batch, weights = self.batch(generator), initial_weights(self.SIZES, 0)
        _, gradients = loss_and_gradients(weights, batch, 0.0, generator)
        rows = {"words": batch.inputs[0].reshape(-1, 1), "letters": batch.inputs[1].reshape(-1, LETTER_FEATURES)}
        for name, used in rows.items():
            whole = np.zeros_like(weights[name])
            np.add.at(whole, used, gradients[name][:, None])
            gradients[name] = whole
        for name, weight in weights.items():
            direction = np.random.default_rng(1).normal(size=weight.shape).astype(np.float32)
            step = np.float32(1e-2 / np.linalg.norm(direction))
            losses = [
                loss_and_gradients(weights | {name: weight + sign * step * direction}, batch, 0.0, generator)[0]
                for sign in (1, -1)
            ]
            slope = (losses[0] - losses[1]) / (2 * step)
            assert slope == pytest.approx((gradients[name] * direction).sum(), rel=0.03, abs=2e-3), name

    def test_gives_what_the_tagger_gives(self):
        generator = np.random.default_rng(0)
        batch, weights = self.batch(generator), initial_weights(self.SIZES, 0)
        known = WordNumbers([f"w{n}" for n in range(12)], np.zeros(0, np.uint32), np.zeros(0, np.uint8))
        tagger = Tagger(known, weights, "en", {})
        loss, _ = loss_and_gradients(weights, batch, 0.0, generator)
        entropies = []
        for row, length in enumerate((40, 30, 40)):
            numbers, letters, timing = (part[row, :length] for part in batch.inputs[:3])
            logits = tagger.logits(numbers, letters, timing)
            logits = np.split(logits - logits.max(), [len(PUNCTUATION)], axis=1)
            probabilities = [np.exp(part) / np.exp(part).sum(axis=1, keepdims=True) for part in logits]
            for place in range(length):
                entropies.append(
                    [
                        -np.log(probabilities[0][place, batch.marks[row, place]]),
                        -np.log(probabilities[1][place, batch.capitals[row, place]])
                        * batch.capital_weights[row, place],
                    ]
                )
        marks, capitals = np.array(entropies).sum(axis=0)
        expected = marks / len(entropies) + capitals / batch.capital_weights.sum()
        assert loss == pytest.approx(expected, rel=1e-4)

    def test_the_optimiser_changes_the_rows_of_a_table_that_are_used(self):
        generator = np.random.default_rng(0)
        weights = initial_weights(self.SIZES, 0)
        before = {name: weight.copy() for name, weight in weights.items()}
        gradients = {name: generator.normal(size=w.shape).astype(np.float32) for name, w in weights.items()}
        gradients["words"], gradients["letters"] = np.ones((2, 6), np.float32), np.ones((2, 4), np.float32)
        rows = {"words": np.array([[3], [5]]), "letters": np.array([[1, 1], [2, 2]])}
        Adam(weights).update(gradients, rows, 0.01)
        changed = (weights["words"] != before["words"]).any(axis=1)
        assert np.flatnonzero(changed).tolist() == [3, 5]
        assert np.allclose(before["words"][3] - weights["words"][3], 0.01, atol=1e-4)  # Adam's first step is the rate
        assert (weights["output/kernel"] != before["output/kernel"]).all()


class TestRun:
    def test_learns_a_toy_book_and_continues_as_if_unbroken(self, trained, capsys, monkeypatch):
        from train.punctuation.fit import TaggerRun

        assert run(trained, "unbroken.safetensors", "--steps", "90") == 0
        lines = capsys.readouterr().out
        assert "book.txt.xz, last part" in lines and "comma" in lines and "tagger, words alone" in lines
        for last in (30, 60):
            stop_at(last, TaggerRun, monkeypatch)
            assert run(trained, "resumed.safetensors", "--steps", "90") == INTERRUPTED
            assert capsys.readouterr().err == "Stopped.\n"
            monkeypatch.undo()
        assert run(trained, "resumed.safetensors", "--steps", "90") == 0
        assert "continues at step 60" in capsys.readouterr().out
        unbroken, resumed = (Tagger.load(trained.folder / f"{n}.safetensors") for n in ("unbroken", "resumed"))
        words = [SpokenWord(word) for word in normalise(" ".join(SENTENCES)).split()]
        assert np.array_equal(unbroken.log_probabilities(words), resumed.log_probabilities(words))
        tags = unbroken(words)
        truth = label(SENTENCES)
        right = np.mean([PUNCTUATION[mark] == tag.punctuation for mark, tag in zip(truth.marks, tags, strict=True)])
        case = np.mean([CAPITALS[c] == tag.capital for c, tag in zip(truth.capitals, tags, strict=True)])
        assert right > 0.9 and case > 0.9

    def test_a_work_folder_of_another_run_is_refused(self, trained, capsys):
        assert run(trained, "other.safetensors", "--steps", "2") == 0
        assert run(trained, "other.safetensors", "--steps", "3") == 1
        assert "belongs to another run: name another folder with --work" in capsys.readouterr().err

    def test_evaluates_a_tagger_that_is_there(self, trained, capsys):
        assert run(trained, "short.safetensors", "--steps", "2") == 0
        capsys.readouterr()
        tagger, book_file = str(trained.folder / "short.safetensors"), str(trained.folder / "book.txt.xz")
        assert main(["--evaluate", tagger, "--text", book_file]) == 0
        out = capsys.readouterr().out
        assert "last part" in out and "stop at pauses" in out and "loss" not in out

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("It rained.\n", "must have more than"),
            ("no case here\n", "must have more than"),
            (None, "No such file"),
            ("", "must have more than"),
            (os.devnull, "must have more than"),
        ],
    )
    def test_a_text_that_cannot_be_used_is_named(self, tmp_path, capsys, content, words):
        path = tmp_path / "short.txt"
        if content == os.devnull:  # no regular file
            path = content
        elif content is not None:
            path.write_text(content, encoding="utf-8")
        assert main(["--text", str(path), "--out", str(tmp_path / "t.safetensors"), "--steps", "1"]) == 1
        assert words in capsys.readouterr().err


def test_alphabetical_lists_are_shuffled_and_running_text_is_not():
    names = sorted(f"{first}{vowel}{last}" for first in "BDFGKLMN" for vowel in "aeiou" for last in "bdgkm")
    listed = label([f"{name} came back." for name in names])
    at = np.arange(len(listed.numbers))
    order = running_order(listed, at)
    assert sorted(order) == at.tolist() and (order != at).mean() > 0.8
    assert (listed.marks[order] >= 2).tolist() == (listed.marks >= 2).tolist()  # whole sentences of the same length
    running = label(book(200))
    at = np.arange(len(running.numbers))
    assert running_order(running, at) is at


def test_counts_of_words_leave_out_what_is_held_out(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("\n".join(["It rained in London."] * 99 + ["Then Walthamstow was dark."]), encoding="utf-8")
    text = read_text(path, 1.0, tmp_path, lambda line: None)
    again = read_text(path, 1.0, tmp_path, lambda line: None)
    assert np.array_equal(text.train, again.train) and text.end.sum() == 8
    counts, _ = count_words([again])
    london, walthamstow = map(counts.words.index, ("london", "walthamstow"))
    assert counts.occurrences[london] == 98 and counts.inside[london].tolist() == [0, 98, 0]
    assert counts.occurrences[walthamstow] == 0
