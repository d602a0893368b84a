"""Error rates, their intervals, what is chosen on half of the speakers, and the command line around them."""

import dataclasses
import json
import math
from types import SimpleNamespace

import jiwer
import keras
import numpy as np
import pytest

from asr_core import models
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.decoding.confidence import Calibration
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.rescoring import Rescoring
from asr_core.decoding.word_spans import WordSpan
from asr_core.emissions import Emissions
from asr_core.errors import AudioError
from asr_core.text.vocabulary import Vocabulary
from train.data.manifest import ManifestClip
from train.evaluate import tuning
from train.evaluate.__main__ import FAILED, main, parse
from train.evaluate.evaluation import OPTIONS, write
from train.evaluate.measure import MODEL_OPTIONS, Run, label_of, measure, sets_of
from train.evaluate.scores import ENGLISH, MIN_SPEAKERS, Edits, figures, interval, score

VOCABULARY = ["", *"abcdefgh "]


def spans(text, confidence=0.9):
    return [WordSpan(word, i, i + 1, confidence) for i, word in enumerate(text.split())]


def clip(text, speaker="s", corpus="c", accent="", name="clip"):
    return ManifestClip(name, "sound.wav", 1.0, speaker, text, corpus, accent)


def scored(reference, hypothesis, **facts):
    return score(clip(reference, **facts), spans(hypothesis))


def test_substitutions_deletions_and_insertions_are_distinguished():
    one = scored("the cat sat on the mat", "the bat sat the mat now")
    assert one.words == Edits(hits=4, substitutions=1, deletions=1, insertions=1)
    assert one.words.rate == 3 / 6
    assert [ok for _, ok in one.judged] == [True, False, True, True, True, False]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits"),
    [
        ("", "", Edits()),
        ("", "a b", Edits(insertions=2)),
        ("a b", "", Edits(deletions=2)),
    ],
)
def test_silence_and_missing_words(reference, hypothesis, edits):
    assert scored(reference, hypothesis).words == edits


def test_an_empty_reference_has_no_rate():
    assert math.isnan(Edits(insertions=2).rate)
    content = figures([scored("", "a b")]).as_json()
    assert (content["wer"], content["wer_low"], content["insertions"]) == (None, None, 2)


def test_raw_rates_count_case_punctuation_and_figures():
    one = scored("In 1999, Dr. Smith left.", "in nineteen ninety nine doctor smith left")
    assert one.words.count == one.characters.count == 0
    assert one.raw_words.count > 0 and one.raw_characters.count > 0


def test_rates_of_a_set_are_those_of_jiwer():
    reference = ["the cat sat on the mat", "a dog", "no word of it"]
    hypothesis = ["the cat sat on a mat", "a dog barked", ""]
    found = figures([scored(r, h) for r, h in zip(reference, hypothesis, strict=True)])
    assert found.words.rate == jiwer.wer(reference, hypothesis)
    assert found.characters.rate == jiwer.cer(reference, hypothesis)
    assert (found.clips, found.speakers, found.seconds) == (3, 1, 3.0)


def test_the_interval_is_that_of_resampled_speakers():
    rng = np.random.default_rng(1)
    lengths = rng.integers(20, 60, 30)
    counts = rng.binomial(lengths, rng.uniform(0.1, 0.5, 30))
    low, high = interval([Edits(n - k, k) for n, k in zip(lengths, counts, strict=True)])
    drawn = rng.integers(30, size=(20_000, 30))
    rates = counts[drawn].sum(1) / lengths[drawn].sum(1)
    assert (low, high) == pytest.approx(tuple(np.percentile(rates, [2.5, 97.5])), abs=0.005)


def test_few_speakers_are_marked():
    voices = [f"s{i}" for i in range(MIN_SPEAKERS)]
    many = figures([scored("a b c", "a b", speaker=voice) for voice in voices])
    few = figures([scored("a b c", "a b", speaker=voice) for voice in voices[1:]])
    assert (many.resampled, few.resampled) == ("speakers", "clips")


def test_clips_of_one_voice_do_not_narrow_the_interval():
    """Ten clips of a speaker with many errors are no more evidence than one clip."""
    scores = [scored("a b c d", "a b c d" if v % 2 else "x", speaker=f"s{v}") for v in range(8) for _ in range(10)]
    alone = [scored("a b c d", "a b c d" if v % 2 else "x", speaker=f"s{v}") for v in range(8)]
    assert figures(scores).interval == figures(alone).interval


def test_sets_are_all_groups_corpora_and_named_accents():
    scores = [
        scored("a", "a", corpus="one", accent="Scots"),
        scored("a", "b", corpus="two"),
        scored("a", "", corpus="three"),
    ]
    sets = sets_of(scores, {"both": ["one", "two"]})
    assert {key: len(value) for key, value in sets.items()} == {
        ("all", "all"): 3, ("group", "both"): 2, ("corpus", "one"): 1, ("corpus", "two"): 1,
        ("corpus", "three"): 1, ("accent", "Scots"): 1,
    }  # fmt: skip


def test_speakers_are_halved_once_and_for_all():
    voices = [clip("a", speaker=f"s{i}", name=f"{i}-{j}") for i in range(40) for j in range(3)]
    choosing, judging = tuning.split_by_speaker(voices, lambda one: one)
    assert {c.speaker for c in choosing}.isdisjoint({c.speaker for c in judging})
    assert 10 < len({c.speaker for c in choosing}) < 30
    assert (choosing, judging) == tuning.split_by_speaker(voices, lambda one: one)
    on_every_machine = [True, True, False, False, False, False]
    assert [tuning.in_tuning_half(f"s{i}") for i in range(6)] == on_every_machine


def test_clips_without_a_speaker_are_parted_one_by_one():
    nobody = [clip("a", speaker="", name=f"clip-{i}") for i in range(40)]
    assert all(10 < len(half) < 30 for half in tuning.split_by_speaker(nobody, lambda one: one))


def test_calibration_finds_how_often_words_are_right():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.05, 0.99, 20_000)
    posterior, doubt = rng.uniform(0.05, 0.99, 20_000), rng.uniform(0, 1.5, 20_000)
    true = Calibration(scale=0.6, offset=-0.8, agreement=0.9, doubt=-1.2)
    words = [WordSpan("a", 0, 1, *known) for known in zip(confidence, doubt, posterior, strict=True)]
    right = rng.uniform(size=len(words)) < [true(word) for word in words]
    found = tuning.fit(list(zip(words, right, strict=True)))
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(true), abs=0.1)


def test_calibration_without_other_texts_does_without_agreement():
    words = [WordSpan("a", 0, 1, confidence) for confidence in np.linspace(0.1, 0.9, 200)]
    found = tuning.fit([(word, word.confidence > 0.5) for word in words])
    assert found.agreement == found.doubt == 0
    assert found.scale > 1


def test_calibration_of_words_that_are_all_right_stays_finite():
    found = tuning.fit([(word, True) for word in spans("a a", 0.5) + spans("a a", 0.9)] * 25)
    assert 0 < found.scale <= 10 and -10 <= found.offset <= 10


def test_calibration_error_by_hand():
    # Four words of 0.9, three of them right: off by 0.15; one of 0.2, wrong: off by 0.2.
    judged = [(0.9, True)] * 3 + [(0.9, False), (0.2, False)]
    assert tuning.calibration_error(judged) == pytest.approx((4 * 0.15 + 0.2) / 5)


def test_calibration_is_judged_on_speakers_that_it_was_not_fitted_on():
    scores = [
        score(clip("a b c d e", speaker=f"s{i}"), spans("a b x y z", 0.9)) for i in range(30)
    ]  # confidence 0.9, but only two words in five are correct
    found = tuning.calibrate(scores)
    assert found.words == 5 * sum(not tuning.in_tuning_half(f"s{i}") for i in range(30))
    assert found.error_before == pytest.approx(0.5)
    assert found.error_after < 0.01
    assert list(found.calibrations) == ["greedy"]


def test_words_of_a_search_are_calibrated_with_agreement_and_without():
    posterior = [dataclasses.replace(word, posterior=0.3 if word.text == "x" else 0.9) for word in spans("a b x", 0.9)]
    scores = [score(clip("a b c", speaker=f"s{i}"), posterior) for i in range(30)]
    found = tuning.calibrate(scores).calibrations
    assert list(found) == ["beam", "aligned"]
    assert found["aligned"].agreement == 0 and found["aligned"](posterior[0]) == pytest.approx(2 / 3, abs=0.01)
    assert found["beam"](posterior[0]) > 0.9 > 0.1 > found["beam"](posterior[2])


def test_too_few_words_are_not_calibrated():
    assert tuning.calibrate([scored("a", "a")]) is None


def test_words_that_the_transcript_leaves_out_are_judged_but_no_errors():
    found = score(clip("a b"), spans("a b but"), ENGLISH, spans("a b"))
    assert found.words.count == 0 and found.hypothesis == "a b"
    assert [right for _, right in found.judged] == [True, True, False]


class FakeRecognizer:
    """Returns every clip's own text, with a wrong first word unless the language model has the best weight."""

    language_model = object()
    rescoring = Rescoring(pronunciations=object())
    vocabulary = Vocabulary()

    def __init__(self):
        self.passes = 0

    def warm_up(self):
        pass

    def load(self, file):
        return json.loads(file.read())

    def emissions(self, text):
        self.passes += 1
        return dataclasses.replace(Emissions(np.zeros((25, 3), np.float32), 0.04, energy=np.zeros(50)), start=text)

    def decode(self, emissions, seconds, options):
        sum(range(10_000))  # so that there is something to count
        text = emissions.start
        if options.decoder == "greedy" or options.language_model_weight != 0.8:
            text = "wrong " + text.split(maxsplit=1)[1]
        words = tuple(spans(text))
        return SimpleNamespace(hypotheses=(SimpleNamespace(words=words),), transcript=SimpleNamespace(words=words))


@pytest.fixture
def clips(tmp_path):
    made = []
    for i in range(12):
        path = tmp_path / f"{i}.json"
        path.write_text(json.dumps("a b c d"))
        made.append(ManifestClip(f"clip-{i}", str(path), 1.0, f"s{i}", "a b c d", "even" if i % 2 == 0 else "odd"))
    return made


def test_every_decoder_is_measured_on_one_pass_of_the_network(clips):
    recognizer = FakeRecognizer()
    runs = [Run(DecoderOptions("greedy")), Run(DecoderOptions("beam", language_model_weight=0.8))]
    content = measure(recognizer, clips, runs, {"pair": ["even", "odd"]})
    assert recognizer.passes == 12
    assert [d["decoder"] for d in content["decoders"]] == ["greedy", "beam + language model"]
    rates = [{row["name"]: row["wer"] for row in d["figures"]} for d in content["decoders"]]
    assert rates == [dict.fromkeys(("all", "pair", "even", "odd"), r) for r in (0.25, 0.0)]
    assert content["decoders"][0]["worst"][0] == {
        "id": "clip-0", "errors": 1, "reference": "a b c d", "hypothesis": "wrong b c d",
    }  # fmt: skip


def test_the_cost_is_counted_by_second_of_sound(clips):
    content = measure(FakeRecognizer(), clips, [Run(DecoderOptions("greedy"))], {})
    (decoder,) = content["decoders"]
    assert content["hours"] == round(12 / 3600, 4)
    assert 0 < decoder["cpu_seconds_a_second_of_decoder"] <= decoder["cpu_seconds_a_second"] < 1
    assert 0 < decoder["real_time_factor"]


def test_tuning_finds_the_best_options_without_another_pass(clips):
    recognizer = FakeRecognizer()
    run = Run(DecoderOptions("beam", language_model_weight=0.1))
    content = measure(recognizer, clips, [run], {}, {"language_model_weight": (0.5, 0.8), "word_bonus": (0.0, 1.0)})
    assert recognizer.passes == 12
    found = content["tuning"]
    assert [point["wer"] for point in found["tried"]] == [0.25, 0.25, 0.0, 0.0]
    assert (found["before"]["wer"], found["after"]["wer"]) == (0.25, 0.0)
    assert found["after"]["clips"] == found["clips"][1]
    assert sum(found["clips"]) == 12
    (decoder,) = content["decoders"]
    assert decoder["options"]["language_model_weight"] == 0.8 and decoder["options"]["word_bonus"] == 0.0


def test_tuning_needs_speakers_in_both_halves(clips):
    with pytest.raises(ValueError, match="speakers in both halves"):
        measure(FakeRecognizer(), clips[:1], [Run(DecoderOptions())], {}, tuning.GRID)


def test_a_clip_that_cannot_be_read_is_left_out_and_named(clips):
    gone = dataclasses.replace(clips[0], id="gone", audio="no/such/file")
    content = measure(FakeRecognizer(), [gone, *clips], [Run(DecoderOptions("greedy"))], {})
    assert content["clips"] == 12
    assert content["left_out"]["gone"] == "no/such/file: No such file or directory."
    with pytest.raises(AudioError, match=r"None of the 1 clips can be read \(gone: no/such/file: No such file"):
        measure(FakeRecognizer(), [gone], [Run(DecoderOptions("greedy"))], {})


@pytest.mark.parametrize(
    ("options", "has_model", "label"),
    [
        (DecoderOptions("greedy"), True, "greedy"),
        (DecoderOptions("beam"), False, "beam"),
        (DecoderOptions("beam", language_model_weight=0.0), True, "beam"),
        (DecoderOptions("beam"), True, "beam + language model"),
    ],
)
def test_decoders_are_named_by_what_they_use(options, has_model, label):
    assert label_of(options, has_model) == label
    assert label_of(options, has_model, has_phones=True) == label  # their weight is 0
    weighted = dataclasses.replace(options, phone_weight=0.5)
    assert label_of(weighted, has_model, has_phones=True) == label + (" + phones" if weighted.decoder == "beam" else "")


def test_every_flag_is_an_option_that_a_bundle_keeps():
    assert list(OPTIONS.values()) == MODEL_OPTIONS
    assert set(MODEL_OPTIONS) <= {field.name for field in dataclasses.fields(DecoderOptions)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    keras.utils.set_random_seed(3)
    network = models.build("conformer", 20, len(VOCABULARY), width=16, blocks=1, heads=2, channels=4, kernel=5)
    config = {
        "featurizer": {"name": "log-mel", "sample_rate": 16_000, "bins": 20},
        "sample_rate": 16_000,
        "tokens": VOCABULARY,
    }
    return save_bundle(tmp_path_factory.mktemp("evaluated") / "tiny", network, config)


def test_what_was_measured_is_written_into_the_bundle(bundle, corpus, capsys):
    command = f"--manifest {corpus} --model {bundle} --decoder greedy beam --lm-weight 0.25 --json --write"
    assert main(command.split()) == 0
    content = json.loads(capsys.readouterr().out)
    loaded = load_bundle(bundle)
    assert loaded.decoder_options() == DecoderOptions("beam", language_model_weight=0.25)
    evaluation = loaded.config["evaluation"]
    assert [(e["dataset"], e["split"], e["decoder"]) for e in evaluation] == [
        ("all", "manifest", "greedy"),
        ("manifest", "manifest", "greedy"),
        ("all", "manifest", "beam"),
        ("manifest", "manifest", "beam"),
    ]
    assert evaluation[0]["wer"] == content["decoders"][0]["figures"][0]["wer"] > 0.5
    assert [path.name for path in bundle.parent.iterdir()] == ["tiny"]
    assert not list(bundle.glob(".config*"))


def test_a_second_evaluation_replaces_the_first_and_nothing_else(bundle):
    def rates(wer):
        row = {"kind": "corpus", "name": "books", "words": 9, "wer": wer, "cer": 0.1}
        accent = row | {"kind": "accent", "name": "Scots"}
        return [
            {
                "decoder": "greedy",
                "figures": [row, accent],
                "options": {"decoder": "greedy"},
                "confidence": None,
            }
        ]

    before = load_bundle(bundle).config
    write(bundle, rates(0.3), "test", {})
    write(bundle, rates(0.2), "test", {})
    after = load_bundle(bundle).config
    entry = {"dataset": "books", "split": "test", "decoder": "greedy", "words": 9, "wer": 0.2, "cer": 0.1}
    assert after["evaluation"] == [*before.get("evaluation", []), entry]
    assert after["files"] == before["files"]


def test_the_table_names_corpora_and_worst_clips(bundle, corpus, capsys):
    assert main(f"--manifest {corpus} --model {bundle} --decoder greedy --limit 4 --worst 1".split()) == 0
    out = capsys.readouterr().out
    assert out.startswith("tiny on 4 clips, ")
    assert "figures and abbreviations spelled out" in out
    assert "corpus manifest" in out and out.count("    reference ") == out.count("    hypothesis ") == 1
    assert "resamples clips and is too narrow" in out  # three speakers


def test_a_limit_takes_clips_from_everywhere(corpus):
    from train.evaluate.evaluation import _clips

    taken = _clips(parse(["--manifest", str(corpus), "--limit", "5"]))
    assert [one.id for one in taken] == ["clip-0", "clip-2", "clip-4", "clip-6", "clip-8"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--manifest no.jsonl", "no.jsonl cannot be read (No such file or directory)"),
        ("--manifest {corpus} --model no-such-model", "There is no model no-such-model"),
        ("--manifest {corpus} --model {bundle} --group x=nobody", "There is no corpus nobody"),
        ("--manifest {corpus} --model tests/data/checkpoints/wav2vec2-base --write", "--write needs a bundle, not a"),
        ("--manifest {empty}", "There is no clip in"),
        ("--manifest {broken}", "line 2: not a clip"),
    ],
)
def test_what_cannot_be_evaluated_gives_one_line(arguments, message, bundle, corpus, tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "broken.jsonl").write_text(corpus.read_text().splitlines()[0] + "\n{}\n")
    places = {"corpus": corpus, "bundle": bundle}
    places |= {name: tmp_path / f"{name}.jsonl" for name in ("empty", "broken")}
    assert main(arguments.format(**places).split()) == FAILED
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--tune lm-weight=x", "'lm-weight=x' cannot be tried; write beam-width,"),
        ("--tune speed=1", "'speed=1' cannot be tried"),
        ("--tune --decoder greedy", "--tune is for the beam"),
        ("--group native", "'native' is not a group; write NAME=CORPUS,CORPUS"),
        ("--limit 0", "'0' is not a whole number of 1 or more"),
    ],
)
def test_slips_on_the_command_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["--manifest", "x.jsonl", *arguments.split()])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
