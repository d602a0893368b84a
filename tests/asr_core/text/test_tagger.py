"""The tagger of punctuation and capitals: what it reads, the context of a tag, streams, damaged files."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from asr_core.errors import BundleError
from asr_core.text.tagger import (
    LAYER_OFFSETS,
    LEFT_CONTEXT_WORDS,
    PUNCTUATION,
    RIGHT_CONTEXT_WORDS,
    STOPS,
    Tag,
    Tagger,
    weight_shapes,
)
from asr_core.text.word_features import TIMING_FEATURES, WordNumbers, columns_of, timing_features, word_hash

WORDS = "the a of mr smith mcdonald nasa i so then we went home and came back again tomorrow".split()
METADATA = {"format": "tagger", "version": "1", "language": "en", "spellings": json.dumps({"mcdonald": "McDonald"})}


@dataclass(frozen=True)
class Spoken:
    text: str
    start: float | None = None
    end: float | None = None
    confidence: float | None = None


def numbers() -> WordNumbers:
    rare = sorted({word_hash("walthamstow"): 7, word_hash("zymurgy"): 2}.items())
    return WordNumbers(WORDS, np.array([h for h, _ in rare], np.uint32), np.array([c for _, c in rare], np.uint8))


def random_weights(scale=1.0, seed=0):
    generator = np.random.default_rng(seed)
    shapes = weight_shapes(len(numbers()), width=6, letter_width=4, buckets=32, channels=8)
    return {name: (scale * generator.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def tagger(**changes) -> Tagger:
    return Tagger(numbers(), random_weights() | changes, "en", {"mcdonald": "McDonald"})


def tensors_of(weights) -> dict:
    known = numbers()
    return {
        "vocabulary": np.frombuffer("\n".join(known.vocabulary).encode(), np.uint8),
        "rare/hashes": known.rare_hashes,
        "rare/classes": known.rare_classes,
        **weights,
    }


def text(count: int, seed=0) -> list[Spoken]:
    """Words in a row, some of them unknown, some without times."""
    generator = np.random.default_rng(seed)
    words, at = [], 0.0
    for number in range(count):
        word = str(generator.choice([*WORDS, "walthamstow", "xyzzy", "smith's"]))
        length, pause = generator.uniform(0.1, 0.6), generator.exponential(0.2)
        timed = (round(at, 3), round(at + length, 3), 0.5 + 0.5 * generator.random()) if number % 11 else (None,) * 3
        words.append(Spoken(word, *timed))
        at += length + pause
    return words


class TestTags:
    def test_every_word_has_one_and_the_marks_vary(self):
        words = text(300)
        tags = tagger()(words)
        assert len(tags) == 300 and {tag.punctuation for tag in tags} == set(PUNCTUATION)

    def test_no_words_have_no_tags(self):
        assert tagger()([]) == [] == tagger()([], finished=False)

    def test_a_sentence_begins_with_a_capital_and_a_finished_text_ends_with_a_stop(self):
        for seed in range(5):
            tags = tagger()(text(100, seed))
            assert tags[-1].punctuation in STOPS
            pairs = zip(tags, tags[1:], strict=False)
            begins = [tags[0]] + [tag for before, tag in pairs if before.punctuation in STOPS]
            assert all(tag.capital != "lower" for tag in begins)

    def test_after_the_last_word_of_an_unfinished_text_nothing_is_known(self):
        assert tagger()(text(40), finished=False)[-1].punctuation == ""

    def test_pauses_confidence_and_words_all_matter(self):
        words = text(60)
        whole = tagger().log_probabilities(words)
        bare = tagger().log_probabilities([Spoken(word.text) for word in words])
        unsure = tagger().log_probabilities([Spoken(w.text, w.start, w.end, 0.1) for w in words])
        assert not np.allclose(whole, bare) and not np.allclose(whole, unsure) and not np.allclose(bare, unsure)

    def test_log_probabilities_are_those_of_two_distributions(self):
        log_probs = tagger().log_probabilities(text(50))
        marks = len(PUNCTUATION)
        assert np.allclose(np.exp(log_probs[:, :marks]).sum(axis=1), 1, atol=1e-5)
        assert np.allclose(np.exp(log_probs[:, marks:]).sum(axis=1), 1, atol=1e-5)


class TestContext:
    def test_is_that_of_the_layers_and_the_pauses_of_the_outermost_words(self):
        assert LEFT_CONTEXT_WORDS == -sum(map(min, LAYER_OFFSETS)) + 1
        assert RIGHT_CONTEXT_WORDS == sum(map(max, LAYER_OFFSETS)) + 1

    def test_words_beyond_it_change_nothing_and_words_inside_do(self):
        words, at = text(120), 60
        base = tagger().log_probabilities(words)[at]

        def with_another(place):
            changed = [*words]
            old = changed[place]
            changed[place] = Spoken("qqqq" if old.text != "qqqq" else "the", old.start, old.end, 0.0)
            return tagger().log_probabilities(changed)[at]

        for place in (0, at - LEFT_CONTEXT_WORDS - 1, at + RIGHT_CONTEXT_WORDS + 1, 119):
            assert np.allclose(with_another(place), base, atol=1e-5)
        for place in (at - LEFT_CONTEXT_WORDS + 1, at - 1, at, at + 1, at + RIGHT_CONTEXT_WORDS - 1):
            assert not np.allclose(with_another(place), base, atol=1e-5)

    def test_long_texts_are_tagged_in_chunks_as_in_one_run(self, monkeypatch):
        words = text(500)
        whole = tagger().log_probabilities(words)
        monkeypatch.setattr("asr_core.text.tagger.CHUNK_WORDS", 7)
        assert np.allclose(tagger().log_probabilities(words), whole, atol=1e-4)


class TestStream:
    @pytest.mark.parametrize("step", [1, 3, 50])
    def test_gives_the_tags_of_the_whole_text(self, step):
        words, model = text(200), tagger()
        stream, tags = model.stream(), []
        for first in range(0, len(words), step):
            tags += stream.add(words[first : first + step])
            assert len(tags) == max(0, min(first + step, len(words)) - RIGHT_CONTEXT_WORDS)
        assert tags + stream.finish() == model(words)

    def test_keeps_a_bounded_number_of_words(self):
        stream = tagger().stream()
        for word in text(300):
            stream.add([word])
            assert len(stream._words) <= LEFT_CONTEXT_WORDS + RIGHT_CONTEXT_WORDS

    def test_a_preview_covers_all_words_to_come_and_changes_nothing(self):
        words, model = text(60), tagger()
        stream = model.stream()
        final = stream.add(words[:40])
        preview = stream.preview(words[40:])
        assert [*final, *preview] == model(words, finished=False)
        assert stream.preview() == model(words[:40], finished=False)[len(final) :]
        assert final + stream.add(words[40:]) + stream.finish() == model(words)

    def test_starts_anew_after_the_end_of_a_text(self):
        words, model = text(30), tagger()
        stream = model.stream()
        assert stream.add(words) + stream.finish() == model(words)
        assert stream.finish() == [] == stream.preview()
        assert stream.add(words) + stream.finish() == model(words)


@pytest.mark.parametrize(
    ("word", "capital", "written"),
    [
        ("home", "lower", "home"),
        ("home", "first", "Home"),
        ("'tis", "first", "'Tis"),
        ("nasa", "upper", "NASA"),
        ("nasa's", "upper", "NASA's"),
        ("mcdonald", "first", "McDonald"),
        ("mcdonald's", "first", "McDonald's"),
        ("mcdonald", "lower", "mcdonald"),
    ],
)
def test_words_are_written_with_their_capitals(word, capital, written):
    assert tagger().write(word, Tag("", capital)) == written


class TestWordNumbers:
    def test_are_those_of_frequent_words_then_of_classes(self):
        known = numbers()
        assert known("the") == 0 and known("tomorrow") == len(WORDS) - 1
        assert known("walthamstow") == len(WORDS) + 7 and known("zymurgy") == len(WORDS) + 2
        assert known("xyzzy") == len(WORDS) and len(known) == len(WORDS) + 8

    def test_a_possessive_has_the_number_of_its_noun(self):
        known = numbers()
        assert known("smith's") == known("smith") and known("walthamstow's") == known("walthamstow")
        assert known("xyzzy's") == known("xyzzy")


class TestTimingFeatures:
    def test_of_words_without_times_are_zero(self):
        assert not timing_features(*columns_of([Spoken("a"), Spoken("b")])).any()

    def test_grow_with_the_pause_and_name_both_sides_of_it(self):
        def features(pause):
            return timing_features(*columns_of([Spoken("so", 0.0, 0.3, 1.0), Spoken("then", 0.3 + pause, 1.5, 1.0)]))

        short, long = features(0.05), features(0.6)
        assert short.shape == (2, TIMING_FEATURES)
        before, after = slice(0, 5), slice(5, 10)
        assert (long[0, after][1:] > short[0, after][1:]).all() and not long[0, before].any()
        assert np.allclose(long[1, before], long[0, after]) and not long[1, after].any()


class TestFile:
    def test_is_read_with_floats_and_with_quantised_matrices(self, tmp_path):
        weights = random_weights()
        save_file(tensors_of(weights), tmp_path / "float.safetensors", METADATA)
        quantised = tensors_of(weights)
        for name, weight in weights.items():
            if weight.ndim == 2:
                scale = np.abs(weight).max(axis=0) / 127
                quantised[name] = np.round(weight / scale).astype(np.int8)
                quantised[name + ".scale"] = scale
        save_file(quantised, tmp_path / "int8.safetensors", METADATA)
        words = text(50)
        exact = tagger().log_probabilities(words)
        loaded = Tagger.load(tmp_path / "float.safetensors")
        assert loaded.language == "en" and loaded.write("mcdonald", Tag("", "first")) == "McDonald"
        assert np.allclose(loaded.log_probabilities(words), exact, atol=1e-5)
        near = Tagger.load(tmp_path / "int8.safetensors").log_probabilities(words)
        assert 0 < np.abs(np.exp(near) - np.exp(exact)).mean() < 0.05

    def test_that_is_missing_cut_off_or_something_else_is_named_in_one_sentence(self, tmp_path):
        path = tmp_path / "tagger.safetensors"
        with pytest.raises(BundleError, match=r"^tagger.safetensors holds no tagger \(No such file"):
            Tagger.load(path)
        save_file(tensors_of(random_weights()), path, METADATA)
        whole = path.read_bytes()
        for length in (0, 7, 100, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(BundleError, match=r"^tagger.safetensors holds no tagger \([^\n]+\)\.$"):
                Tagger.load(path)
        save_file(tensors_of(random_weights()), path, {"format": "pronunciations", "version": "1"})
        with pytest.raises(BundleError, match="its metadata describes something else"):
            Tagger.load(path)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"layer1/kernel": None}, "not those of a tagger, layer1/kernel for one"),
            ({"more": np.zeros(3, np.float32)}, "not those of a tagger, more for one"),
            ({"words": None}, "words is missing"),
            ({"vocabulary": None}, "vocabulary is missing"),
            ({"words": np.zeros((3, 6), np.float32)}, "its weight words has shape"),
            ({"output/bias": np.full(7, np.nan, np.float32)}, "output/bias is not finite"),
            ({"output/bias": np.zeros(7, np.float64)}, "output/bias is stored in an unknown way"),
            ({"layer0/kernel": np.zeros((40, 16), np.int8)}, "layer0/kernel is stored in an unknown way"),
            ({"rare/hashes": np.array([5, 5], np.uint32)}, "rare words are not in order"),
            ({"rare/classes": np.array([1, 8], np.uint8)}, "classes of its rare words"),
            ({"vocabulary": np.frombuffer(b"\xff\xfe", np.uint8)}, "not text in UTF-8"),
        ],
    )
    def test_whose_parts_do_not_fit_is_refused(self, tmp_path, change, words):
        tensors = tensors_of(random_weights()) | change
        path = tmp_path / "tagger.safetensors"
        save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path, METADATA)
        with pytest.raises(BundleError, match=words):
            Tagger.load(path)

    @pytest.mark.parametrize("spellings", ["[]", "{", '{"mcdonald": "MacDonald"}', '{"a": 1}', "[" * 100_000])
    def test_with_spellings_of_other_words_is_refused(self, tmp_path, spellings):
        path = tmp_path / "tagger.safetensors"
        save_file(tensors_of(random_weights()), path, METADATA | {"spellings": spellings})
        with pytest.raises(BundleError, match="holds no tagger"):
            Tagger.load(path)

    def test_has_the_tensors_that_were_written(self, tmp_path):
        save_file(tensors_of(random_weights()), tmp_path / "t.safetensors", METADATA)
        assert load_file(tmp_path / "t.safetensors").keys() >= weight_shapes(1, 1, 1, 1, 1).keys()
