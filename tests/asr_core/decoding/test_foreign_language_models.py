"""Language models of others: KenLM's binaries against KenLM's own scores, pyctcdecode's folders, what is refused."""

import json
import math
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from asr_core import models
from asr_core.__main__ import main
from asr_core.bundle.language_models import open_language_model, with_language_model
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.kenlm import KenlmModel
from asr_core.decoding.language_model import SENTENCE_END
from asr_core.decoding.options import DecoderOptions
from asr_core.emissions import Emissions
from asr_core.errors import BundleError, LanguageModelError
from asr_core.text.vocabulary import Vocabulary
from tests.asr_core.cli.test_cli import FakeRecognizer, sound
from tests.asr_core.decoding.small import random_emissions
from tests.train.hub_server import Repository

FOLDER = Path(__file__).parents[2] / "data" / "language_models"
SCORES = json.loads((FOLDER / "scores.json").read_text(encoding="utf-8"))
LN_10 = math.log(10)
CASED = Vocabulary(" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'ïü你好")
LOWER = Vocabulary(" abcdefghijklmnopqrstuvwxyz'ïü你好")
UPPER = Vocabulary(" ABCDEFGHIJKLMNOPQRSTUVWXYZ'ÏÜ你好")


def log10_scores(model, words):
    """log10 p of each word of a sentence, and of its end."""
    state, scores = model.begin, []
    for word in words:
        score, state = model.score(state, model.word_number(word))
        scores.append(score / LN_10)
    return [*scores, model.score(state, SENTENCE_END)[0] / LN_10]


@pytest.mark.parametrize("file", ["trigram.bin", "trigram.arpa", "trigram.arpa.gz"])
def test_every_word_has_the_score_that_kenlm_gives(file):
    model, _ = open_language_model(FOLDER / file, CASED)
    for words, expected in SCORES:
        assert log10_scores(model, words) == pytest.approx(expected, abs=1e-6 if file == "trigram.bin" else 2e-6), words


def test_states_are_kept_between_searches():
    model = KenlmModel.load(FOLDER / "trigram.bin")
    for words, expected in SCORES:
        for cut in range(len(words) + 1):
            state = model.state_after(words[cut:], model.state_after(words[:cut]))
            assert model.score(state, SENTENCE_END)[0] / LN_10 == pytest.approx(expected[-1], abs=1e-6)


def emissions_for(seed, vocabulary, steps=60):
    logits = np.random.default_rng(seed).normal(0, 1.5, (steps, len(vocabulary)))
    logits[:, [1, *vocabulary.encode("thecaton")]] += 3
    return Emissions((logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32), 0.04)


@pytest.mark.parametrize("vocabulary", [LOWER, Vocabulary("▁ t he ▁the ▁c at c a o n h e".split())])
def test_a_search_with_the_binary_is_that_with_the_arpa_file(vocabulary):
    options = DecoderOptions(n_best=4, token_threshold=1e-2, unknown_word_score=-8.0)
    models = [open_language_model(FOLDER / file, vocabulary).model for file in ("trigram.bin", "trigram.arpa")]
    texts = set()
    for seed in range(4):
        emissions = random_emissions(60, len(vocabulary), seed, 2.5)
        found = [beam_search(emissions, vocabulary, options, model, ["cat on"]) for model in models]
        assert [text.text for text in found[0]] == [text.text for text in found[1]]
        for one, other in zip(*found, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-3)
            assert one.language_model_score == pytest.approx(other.language_model_score, abs=1e-3)
        texts.add(found[0][0].text)
    assert len(texts) == 4


def test_a_search_goes_on_when_there_is_no_place_for_another_context(monkeypatch):
    monkeypatch.setattr("asr_core.decoding.kenlm.MAX_CONTEXTS", 3)
    model = KenlmModel.load(FOLDER / "trigram.bin")
    state = model.state_after("the cat sat on a mat".split())
    assert state in ((), model.state_after(["mat"]))
    assert beam_search(emissions_for(1, LOWER), LOWER, DecoderOptions(), model)[0].text


class TestFolderOfPyctcdecode:
    def test_its_weights_go_with_it(self):
        for folder in (FOLDER / "pyctcdecode", FOLDER / "pyctcdecode" / "language_model"):
            model, options = open_language_model(folder, CASED)
            assert isinstance(model, KenlmModel)
            unknown = model.score((), 0)[0]
            assert options == {
                "language_model_weight": 0.6, "word_bonus": 1.2,
                "unknown_word_score": pytest.approx(unknown - 8 * LN_10), "unknown_letter_score": 0.0,
            }  # fmt: skip
            DecoderOptions(**options)

    def test_only_its_unigrams_are_known(self):
        model, _ = open_language_model(FOLDER / "pyctcdecode", CASED)
        assert model.word_number("saw") == 0 != model.word_number("cat")

    def test_the_score_of_a_text_is_that_of_pyctcdecode(self):
        """alpha * log10 p * ln 10 + beta for every word, with 8 less than the log10 p of an unknown one."""
        model, options = open_language_model(FOLDER / "pyctcdecode", CASED)
        path = [token for letter in "the zat on" for token in (*CASED.encode(letter), 0)]
        log_probs = np.full((len(path), len(CASED)), -40.0, np.float32)
        log_probs[np.arange(len(path)), path] = 0.0
        best = beam_search(Emissions(log_probs, 0.04), CASED, DecoderOptions(**options), model)[0]
        assert best.text == "the zat on"
        the, _, on, end = log10_scores(model, ["the", "zat", "on"])
        unknown = model.score((), 0)[0] / LN_10 - 8
        expected = 0.6 * LN_10 * (the + unknown + on + end) + 3 * 1.2
        assert best.language_model_score == pytest.approx(expected, abs=1e-4)

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [('{"alpha": -1}', "below 0"), ('{"alpha": NaN}', "between"), ("[" * 5000, "read"), ('{"beta": "x"}', "read")],
    )
    def test_refuses_attributes_that_are_no_numbers(self, attributes, message, tmp_path):
        shutil.copytree(FOLDER / "pyctcdecode", tmp_path / "copy")
        (tmp_path / "copy" / "language_model" / "attrs.json").write_text(attributes)
        with pytest.raises(LanguageModelError, match=message):
            open_language_model(tmp_path / "copy", CASED)


class TestSpelling:
    def test_words_are_in_the_case_of_the_model(self):
        for vocabulary, words in (LOWER, "the cat naïve"), (UPPER, "THE CAT NAÏVE"), (CASED, "the Cat naïve"):
            for file in ("trigram.bin", "trigram.arpa"):
                model, _ = open_language_model(FOLDER / file, vocabulary)
                assert all(model.word_number(word) for word in words.split())

    def test_our_english_model_works_with_every_english_alphabet(self):
        lower, options = open_language_model("default", Vocabulary(" abcdefghijklmnopqrstuvwxyz"))
        upper, _ = open_language_model("default", Vocabulary(" ABCDEFGHIJKLMNOPQRSTUVWXYZ'"))
        assert options == {} and lower.words[1000].upper() == upper.words[1000]
        assert log10_scores(lower, ["the", "cat"]) == log10_scores(upper, ["THE", "CAT"])

    def test_a_model_of_another_script_is_refused(self):
        with pytest.raises(LanguageModelError, match="other letters"):
            open_language_model(FOLDER / "trigram.arpa", Vocabulary(" абвгд"))


def changed(path, target, at, form, value):
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, value)
    target.write_bytes(content)
    return target


class TestRefusals:
    def test_tries_are_refused_in_one_sentence_that_says_to_convert(self):
        with pytest.raises(LanguageModelError, match="convert it with KenLM's `build_binary probing") as refusal:
            open_language_model(FOLDER / "trie.bin", CASED)
        assert "\n" not in str(refusal.value)

    @pytest.mark.parametrize(
        ("at", "form", "value", "message"),
        [
            (49, "B", ord("4"), "another version"),
            (88, "B", 200, "order 200"),
            (92, "<f", float("nan"), "damaged"),
            (92, "<f", 900.0, "cut off"),
            (96, "<I", 1, "another type"),
            (100, "B", 0, "no words"),
            (108, "<Q", 1 << 60, "cut off"),
            (108, "<Q", 2, "damaged|cut off"),
            (116, "<Q", 10_000, "cut off"),
            (140, "<I", 3, "damaged"),
        ],
    )
    def test_a_damaged_header_is_refused(self, at, form, value, message, tmp_path):
        with pytest.raises(LanguageModelError, match=message):
            open_language_model(changed(FOLDER / "trigram.bin", tmp_path / "a.bin", at, form, value), CASED)

    def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(self, tmp_path):
        content = (FOLDER / "trigram.bin").read_bytes()
        for end in range(0, len(content), 97):
            (tmp_path / "cut.bin").write_bytes(content[:end])
            with pytest.raises(LanguageModelError):
                open_language_model(tmp_path / "cut.bin", CASED)

    def test_no_damage_of_a_table_breaks_a_search(self, tmp_path):
        """A hash table without a free place, or words of numbers that are not numbers: still a text, in finite time."""
        content = bytearray((FOLDER / "trigram.bin").read_bytes())
        end = content.rindex(b"<unk>")
        for value in (0, 255):
            damaged = content.copy()
            damaged[600:end] = bytes([value]) * (end - 600)
            (tmp_path / "a.bin").write_bytes(damaged)
            model, _ = open_language_model(tmp_path / "a.bin", LOWER)
            beam_search(emissions_for(0, LOWER), LOWER, DecoderOptions(), model)

    @pytest.mark.parametrize("name", ["nothing.arpa", "empty"])
    def test_what_is_not_there_is_named(self, name, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(LanguageModelError, match=name):
            open_language_model(tmp_path / name, CASED)


class TestUse:
    def test_it_takes_the_place_of_the_model_of_the_bundle(self):
        """With its weights; pronunciations are those of the bundle's own words and go with them."""
        bundle = load_bundle()
        other = with_language_model(bundle, FOLDER / "pyctcdecode")
        assert bundle.phones and not other.phones and other.pronunciations(other.language_model()) is None
        assert isinstance(other.language_model(), KenlmModel)
        assert other.decoder_options().language_model_weight == 0.6
        assert other.decoder_options().beam_width == bundle.decoder_options().beam_width

    def test_a_model_without_such_a_folder_says_so(self):
        with pytest.raises(LanguageModelError, match="default has no folder language_model"):
            with_language_model(load_bundle(), "repo")

    def test_the_command_line_passes_it_on(self, tmp_path):
        recording, given = sound(tmp_path / "a.wav", 0.2), []

        def factory(model, **options):
            given.append(options)
            return FakeRecognizer()

        assert main([recording, "--language-model", "some.arpa"], factory) == 0
        assert given == [{"language_model": "some.arpa"}]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--language-model", "no.arpa"], "The language model no.arpa was not found"),
            (["--language-model", str(FOLDER / "trie.bin")], "convert it with KenLM's `build_binary probing"),
            (["--language-model", "x", "--decoder", "greedy"], "--language-model needs the beam search"),
            (["--language-model", "x", "--align", "a.txt"], "--align takes the words from a text"),
        ],
    )
    def test_what_is_wrong_is_one_line_on_standard_error(self, arguments, message, tmp_path, capsys):
        with pytest.raises(SystemExit) as stopped:
            main([sound(tmp_path / "a.wav", 0.2), *arguments])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and message in error
        assert len([line for line in error.splitlines() if "error:" in line]) == 1


class TestOnTheHub:
    @pytest.fixture
    def hub(self, loopback_hub, tmp_path):
        network = models.build("conformer", 12, len(CASED), width=16, blocks=1, heads=2, channels=4, kernel=5)
        featurizer = {"name": "log-mel", "sample_rate": 8000, "bins": 12}
        configuration = {"featurizer": featurizer, "sample_rate": 8000, "tokens": CASED.tokens}
        folder = save_bundle(tmp_path / "repository", network, configuration)
        shutil.copytree(FOLDER / "pyctcdecode" / "language_model", folder / "language_model")
        loopback_hub.repositories["model", "name/repo"] = Repository()
        loopback_hub.repositories["model", "name/repo"].add(folder, oid="a" * 40)
        return loopback_hub

    def test_the_folder_of_a_repository_is_downloaded_only_when_asked_for(self, hub):
        bundle = load_bundle("name/repo")
        assert not any("language_model" in file for file in hub.served)
        assert bundle.language_model() is None
        bundle = with_language_model(bundle, "repo")
        names = [f"language_model/{name}" for name in ("5gram.bin", "attrs.json", "unigrams.txt")]
        assert sorted(file for file in hub.served if "language_model" in file) == names
        assert isinstance(bundle.language_model(), KenlmModel)
        assert bundle.decoder_options().language_model_weight == 0.6

    def test_one_that_does_not_fit_into_memory_is_not_downloaded(self, hub, monkeypatch):
        def refuse(name, size):
            raise BundleError(f"{name} is too large ({size} bytes).")

        monkeypatch.setattr("asr_core.bundle.hub.refuse_too_large", refuse)
        with pytest.raises(BundleError, match="The language model of name/repo@aaaaaaaaaaaa is too large"):
            with_language_model(load_bundle("name/repo"), "repo")
        assert not any("language_model" in file for file in hub.served)

    def test_a_repository_without_one_says_so(self, hub, tmp_path):
        shutil.rmtree(tmp_path / "repository" / "language_model")
        with pytest.raises(LanguageModelError, match="name/repo@a* has no folder language_model"):
            with_language_model(load_bundle("name/repo"), "repo")
