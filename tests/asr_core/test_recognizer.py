"""The whole path with a small random network: the same emissions alone, in a batch and in windows."""

import ctypes
import gc
import io
import pickle
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import soundfile

from asr_core import models
from asr_core.audio.dereverberation import dereverberated
from asr_core.audio.loading import Audio, audio_from_array, load_audio
from asr_core.audio.speech_activity import WINDOW_SECONDS
from asr_core.bundle.loading import DEFAULT_FOLDER, load_bundle, save_bundle
from asr_core.decoding.beam_search import DecoderOptions
from asr_core.decoding.confidence import Calibration
from asr_core.decoding.text_alignment import align_text
from asr_core.decoding.word_spans import WordSpan
from asr_core.errors import AudioError, Cancelled
from asr_core.forced_alignment import BLOCK_STEPS
from asr_core.inference.windows import OVERLAP_SECONDS
from asr_core.inference.worker import InferenceWorker
from asr_core.recognizer import BATCH_SECONDS, Recognizer, _wait
from asr_core.text.vocabulary import Vocabulary
from asr_core.transcript.isolated_words import ISOLATION_SECONDS, MIN_CONFIDENCE, without_isolated_words
from asr_core.transcript.words import Word
from asr_core.transcript.writers import SrtWriter
from tests.asr_core.audio.test_dereverberation import in_a_room
from tests.asr_core.decoding.test_decoder import emissions_of
from tests.benchmarks.conditions import no_speech

EXAMPLES = DEFAULT_FOLDER.parent / "examples"
RATE = 8000
TOKENS = Vocabulary().tokens
CONFIGURATION = {
    "featurizer": {"name": "log-mel", "sample_rate": RATE, "bins": 12},
    "sample_rate": RATE,
    "tokens": TOKENS,
    "confidence": {"greedy": {"scale": 0.5, "offset": 0.1}, "beam": {"agreement": 0.5}, "aligned": {"doubt": -1.0}},
    "decoder": {"decoder": "greedy"},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    keras.utils.set_random_seed(2)
    network = models.build("conformer", 12, len(TOKENS), width=16, blocks=2, heads=2, channels=4, kernel=5)
    for weight in network.weights:
        if weight.path.endswith("head/kernel"):
            weight.assign(8 * weight)  # an opinion at every step, so that there are words
    return load_bundle(save_bundle(tmp_path_factory.mktemp("bundles") / "tiny", network, CONFIGURATION))


@pytest.fixture(scope="module")
def recognizer(bundle):
    return Recognizer(bundle)


def babble(seconds, seed=0):
    """Babble: noise of changing colour and loudness, audible from the first sample to the last."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.1, round(seconds * RATE))
    samples = np.convolve(samples, rng.normal(size=8))[: len(samples)]
    samples *= 0.6 + 0.4 * np.sin(np.arange(len(samples)) / RATE * 9)
    samples += np.copysign(0.001, samples)
    return Audio(samples.clip(-1, 1).astype("float32"), RATE)


def logits_of(network, bundle, audio):
    """The logits of a whole recording, in one pass and without compilation: [steps, tokens]."""
    samples = np.pad(audio.samples, (0, RATE))[None]
    features, frames = bundle.featurizer()(samples, np.array([len(audio.samples)], "int32"))
    return np.array(network(features, frames))[0, : int(network.output_lengths(frames)[0])]


def log_probs(recognizer, audio):
    return recognizer.emissions(audio).log_probs


def test_emissions_are_the_log_probabilities_of_the_network(recognizer, bundle):
    audio = babble(3)
    expected = keras.ops.log_softmax(logits_of(bundle.build(), bundle, audio), axis=-1)
    emissions = recognizer.emissions(audio)
    np.testing.assert_allclose(emissions.log_probs, expected, atol=1e-4)
    np.testing.assert_allclose(np.exp(emissions.log_probs).sum(axis=1), 1, atol=1e-5)
    assert emissions.step_seconds == 0.04
    assert emissions.log_probs.dtype == np.float32
    assert len(emissions.energy) % len(emissions) == 0


def test_a_model_that_dereverberates_sees_recordings_without_their_rooms(bundle, recognizer, tmp_path):
    configuration = CONFIGURATION | {"dereverberation": True}
    model = Recognizer(load_bundle(save_bundle(tmp_path / "dry", bundle.build(), configuration)))
    audio = Audio(in_a_room(babble(3).samples, RATE), RATE)
    dry = Audio(dereverberated(audio.samples, RATE), RATE)
    assert not np.array_equal(audio.samples, dry.samples)
    np.testing.assert_allclose(log_probs(model, audio), log_probs(recognizer, dry), atol=1e-4)
    assert np.abs(log_probs(model, audio) - log_probs(recognizer, audio)).max() > 0.1


def test_a_clip_gives_the_same_alone_and_among_longer_ones(recognizer):
    clips = [babble(seconds, seed) for seed, seconds in enumerate([1.7, 3, 2.2, 3.1, 2.9, 2.4, 3.3, 2.8])]
    alone = [log_probs(recognizer, clip) for clip in clips]
    with ThreadPoolExecutor(8) as visitors:
        together = list(visitors.map(lambda clip: log_probs(recognizer, clip), clips))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


def test_a_clip_gives_the_same_inside_ten_minutes_of_silence(recognizer):
    clip = babble(3).samples
    long = np.zeros(600 * RATE, "float32")
    start = 300 * RATE + 123  # on no step's beginning
    long[start : start + len(clip)] = clip
    emissions = recognizer.emissions(Audio(long, RATE))
    alone = log_probs(recognizer, Audio(clip, RATE))
    first = round(start / RATE / emissions.step_seconds)
    np.testing.assert_allclose(emissions.log_probs[first:][: len(alone)], alone, atol=1e-4)
    words = recognizer.decode(emissions, 600).transcript.words
    assert words
    assert all(299 < word.start < word.end < 304 for word in words)


@pytest.mark.parametrize("seconds", [0.1, 0.13, 12.05, 47.3])
def test_there_is_a_step_for_every_sample(recognizer, seconds):
    emissions = recognizer.emissions(babble(seconds))
    assert emissions.seconds == pytest.approx(seconds, abs=2 * emissions.step_seconds)
    assert np.isfinite(emissions.log_probs).all()


def test_a_long_recording_gives_the_same_as_one_pass(bundle, tmp_path):
    """Without attention the network sees less than windows overlap; only their levels differ a little."""
    network = bundle.build()
    for weight in network.weights:
        if weight.path.endswith("attention/merge/kernel"):
            weight.assign(0 * weight)
    local = load_bundle(save_bundle(tmp_path / "local", network, CONFIGURATION, bits=32))
    audio = babble(50)
    expected = logits_of(network, bundle, audio).argmax(axis=1)
    tokens = log_probs(Recognizer(local), audio).argmax(axis=1)
    assert len(tokens) == len(expected)
    assert (tokens == expected).mean() > 0.9


@pytest.mark.parametrize("samples", [np.zeros(2 * RATE), np.full(2 * RATE, 1e-5), np.zeros(60 * RATE)])
def test_silence_is_an_empty_transcript(recognizer, samples):
    transcript = recognizer.transcribe(Audio(samples.astype("float32"), RATE))
    assert transcript.words == ()
    assert transcript.seconds == len(samples) / RATE


def test_every_kind_of_source_gives_the_same_words(recognizer, tmp_path):
    samples = (babble(2).samples * 32767).astype("int16")
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, RATE)
    sources = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())]
    texts = {recognizer.transcribe(source).text for source in sources}
    texts.add(recognizer.transcribe(Audio(samples.astype("float32") / 32768, RATE)).text)
    assert len(texts) == 1 and texts != {""}


def test_other_rates_are_resampled(recognizer):
    audio = recognizer.load(Audio(np.zeros(48_000, "float32"), 48_000, track=2, tracks=3))
    assert (audio.track, audio.tracks) == (2, 3)
    assert (audio.sample_rate, audio.seconds) == (RATE, 1)
    with pytest.raises(ValueError, match="expects 8000 Hz, not 48000"):
        recognizer.emissions(Audio(np.zeros(48_000, "float32"), 48_000))


def test_what_cannot_be_read_and_what_is_too_long_is_an_error(recognizer, tmp_path):
    with pytest.raises(AudioError):
        recognizer.transcribe(b"not a recording")
    soundfile.write(tmp_path / "long.wav", babble(3).samples, RATE)
    with pytest.raises(AudioError, match="longer than the limit of 2 s"):
        recognizer.transcribe(tmp_path / "long.wav", max_seconds=2)


def test_arguments_of_another_type_are_a_type_error_that_names_the_right_one(recognizer, monkeypatch):
    samples = (babble(2).samples * 32767).astype("int16")
    with pytest.raises(TypeError, match=r"got ndarray: convert an array .* with asr_core.audio.loading.audio_from_arr"):
        recognizer.transcribe(samples)
    audio = audio_from_array(samples, RATE, recognizer.sample_rate)
    assert recognizer.transcribe(audio).words
    monkeypatch.setattr(recognizer, "emissions", lambda *_: pytest.fail("the network ran"))
    for options in [{"decoder": "greedy"}, {}, "greedy"]:
        with pytest.raises(TypeError, match=f"DecoderOptions or None as options, got {type(options).__name__}"):
            recognizer.transcribe(audio, options=options)


def test_words_lie_in_the_recording_with_calibrated_confidence(recognizer):
    audio = babble(5)
    emissions = recognizer.emissions(audio)
    found = recognizer.decode(emissions, audio.seconds)
    transcript, (hypothesis,) = found.transcript, found.hypotheses
    assert transcript.model == "tiny"
    assert transcript.words and transcript.text == hypothesis.text
    assert all(0 <= word.start < word.end <= audio.seconds for word in transcript.words)
    raw = hypothesis.words[0].confidence
    odds = np.exp(0.1) * (raw / (1 - raw)) ** 0.5
    assert transcript.words[0].confidence == pytest.approx(odds / (1 + odds))
    beam = DecoderOptions(decoder="beam")
    searched = recognizer.decode(emissions, audio.seconds, beam)
    expected = Calibration(agreement=0.5)(searched.hypotheses[0].words[0])
    assert searched.transcript.words[0].confidence == expected


def test_another_decoder_costs_no_network_pass(recognizer, monkeypatch):
    emissions = recognizer.emissions(babble(2))
    monkeypatch.setattr(recognizer._worker, "submit", None)
    beam = DecoderOptions(decoder="beam", n_best=3)
    assert recognizer.decode(emissions, 2).transcript.words
    assert recognizer.decode(emissions, 2, beam, hot_words=["word"]).transcript.words
    assert len(recognizer.decode(emissions, 2, beam).hypotheses) == 3


def test_a_recording_gives_its_transcript_with_the_alternatives_and_the_emissions(recognizer):
    audio, beam = babble(3), DecoderOptions(decoder="beam", n_best=3)
    found = recognizer.recognize(audio, beam)
    assert found.transcript == recognizer.transcribe(audio, beam)
    assert len(found.hypotheses) == 3 and found.hypotheses[0].text == found.transcript.text
    again = recognizer.decode(found.emissions, audio.seconds, beam)
    assert (again.transcript, again.hypotheses) == (found.transcript, found.hypotheses)


def test_a_given_text_is_laid_along_the_recording(recognizer):
    emissions = recognizer.emissions(babble(3))
    transcript = recognizer.align(emissions, 3, "Hello there!")
    assert transcript.text == "Hello there!"
    words = align_text(emissions, "Hello there!", recognizer.vocabulary).words
    assert [word.confidence for word in transcript.words] == [Calibration(doubt=-1.0)(word) for word in words]


@pytest.mark.parametrize("more", [176, 192, 480, 496])
def test_a_click_at_the_end_of_a_recording_is_among_the_final_emissions(recognizer, more):
    """What follows digital silence is a window of its own; it may begin after the last whole step."""
    samples = np.concatenate([babble(2).samples, np.zeros(2 * RATE + more, np.float32), [np.float32(0.1)]])
    parts = []
    whole = recognizer.emissions(Audio(samples, RATE), on_emissions=parts.append)
    assert sum(len(part) for part in parts) == len(whole)


def test_progress_grows_to_one(recognizer):
    fractions = []
    recognizer.emissions(babble(80), progress=fractions.append)
    assert len(fractions) > 3
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_decoding_reports_progress_and_can_be_cancelled_too(recognizer):
    whole, beam = babble(80), DecoderOptions(beam_width=8)
    fractions = []
    recognizer.transcribe(whole, beam, fractions.append)
    assert fractions == sorted(fractions) and fractions[-1] == 1
    emissions = recognizer.emissions(whole)
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        recognizer.decode(emissions, whole.seconds, beam, progress=lambda _: cancel.set() or None, cancel=cancel)


class SetAfter:
    """A flag that is set once it has been looked at so many times."""

    def __init__(self, looks):
        self.looks = looks

    def is_set(self):
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_decoding_can_be_cancelled_where_nobody_pauses_and_while_words_are_located(recognizer, decoder):
    words = "-".join("the cat sat on a mat and looked at the dog that sat there too ")
    emissions = emissions_of(40 * words)
    emissions = replace(emissions, energy=np.zeros(4 * len(emissions), np.float32))
    options = DecoderOptions(decoder=decoder, beam_width=4)
    counted = SetAfter(10**9)
    recognizer.decode(emissions, emissions.seconds, options, cancel=counted)
    looks = 10**9 - counted.looks
    assert looks > (len(emissions) / 100 if decoder == "beam" else 0)
    for look in {0, looks // 2, looks - 1}:  # in the search, and last while words are located
        with pytest.raises(Cancelled):
            recognizer.decode(emissions, emissions.seconds, options, cancel=SetAfter(look))


def test_alignment_can_be_cancelled_from_the_first_block_to_the_last_word(recognizer):
    text = 100 * "the cat sat on a mat "
    emissions = emissions_of("-".join(text))
    counted = SetAfter(10**9)
    recognizer.align(emissions, emissions.seconds, text, counted)
    looks = 10**9 - counted.looks
    assert looks > 2 * len(emissions) / BLOCK_STEPS
    for look in {0, looks // 2, looks - 1}:
        with pytest.raises(Cancelled):
            recognizer.align(emissions, emissions.seconds, text, SetAfter(look))


def word(text, start, confidence):
    return Word(text, start, start + 0.3, confidence)


def test_words_of_very_low_confidence_are_left_out_where_nothing_else_stands():
    the, cat = word("the", 1.0, MIN_CONFIDENCE / 2), word("cat", 1.4, MIN_CONFIDENCE / 3)
    assert without_isolated_words([]) == without_isolated_words([the]) == without_isolated_words([the, cat]) == ()
    assert without_isolated_words([word("the", 1.0, MIN_CONFIDENCE)]) == (word("the", 1.0, MIN_CONFIDENCE),)
    words = (the, word("cat", 1.4, 0.9), word("sat", 1.8, 0.02))
    assert without_isolated_words(words) == words  # next to certain words they are speech
    apart = word("the", words[-1].end + ISOLATION_SECONDS + 0.1, 0.02)
    near = word("the", words[-1].end + ISOLATION_SECONDS - 0.1, 0.02)
    assert without_isolated_words([*words, apart]) == words
    assert without_isolated_words([*words, near]) == (*words, near)
    for neighbours, kept in [((0.9, None), (the,)), ((-0.1, None), ()), ((None, 1.5), (the,)), ((None, 2.4), ())]:
        assert without_isolated_words([the], neighbours) == kept, neighbours  # words that are not among these


def test_noise_is_an_empty_transcript_but_for_greedy_decoding_and_given_texts(recognizer):
    sure, unsure = (WordSpan("the", 0.1, 0.3, value, posterior=value) for value in (1, 0))
    assert [word.text for word in recognizer.transcript([sure], 1).words] == ["the"]
    transcript = recognizer.transcript([unsure], 1)
    assert transcript.words == () and transcript.text == ""
    assert [word.text for word in recognizer.transcript([unsure], 1, given=True).words] == ["the"]
    greedy = WordSpan("the", 0.1, 0.3, 1e-9)
    assert [word.text for word in recognizer.transcript([greedy], 1).words] == ["the"]


def test_an_uncalibrated_confidence_leaves_nothing_out(recognizer, monkeypatch):
    monkeypatch.setattr(recognizer, "_calibrations", {})
    unsure = WordSpan("the", 0.1, 0.3, 0.01, posterior=0.01)
    assert [word.text for word in recognizer.transcript([unsure], 1).words] == ["the"]


def test_final_emissions_are_reported_on_the_way(recognizer):
    parts = []
    whole = recognizer.emissions(babble(80), on_emissions=parts.append)
    assert len(parts) > 3
    np.testing.assert_array_equal(np.concatenate([part.log_probs for part in parts]), whole.log_probs)
    steps = np.cumsum([0, *(len(part) for part in parts[:-1])])
    np.testing.assert_allclose([part.start for part in parts], steps * whole.step_seconds)
    assert sum(len(part.energy) for part in parts) == len(whole.energy)


def test_cancelling_stops_between_windows(recognizer):
    cancel = threading.Event()
    fractions = []

    def stop_at_once(fraction):
        fractions.append(fraction)
        cancel.set()

    with pytest.raises(Cancelled, match="The transcription was cancelled"):
        recognizer.transcribe(babble(600), progress=stop_at_once, cancel=cancel)
    assert len(fractions) == 1
    assert recognizer.transcribe(babble(2)).words  # the next request is answered


def test_an_hour_cancelled_at_a_tenth_runs_no_further_window(bundle):
    """Counts windows, not seconds: those in the network when the flag is set are the last."""
    recognizer = Recognizer(bundle)
    run, cancel, gone = [], threading.Event(), threading.Event()
    step = recognizer._worker._model
    windows = 3600 / (WINDOW_SECONDS - OVERLAP_SECONDS)

    def watched(samples, lengths):
        run.append(len(samples))
        if sum(run) >= windows / 10 and not cancel.is_set():
            cancel.set()
            gone.wait(60)  # the network is busy until the request has given up
        return step(samples, lengths)

    recognizer._worker._model = watched
    with pytest.raises(Cancelled):
        recognizer.transcribe(Audio(np.resize(babble(60).samples, 3600 * RATE), RATE), cancel=cancel)
    begun = sum(run)
    gone.set()
    assert windows / 10 <= begun < windows / 10 + 8
    assert recognizer.transcribe(babble(2)).words
    assert sum(run) == begun + 1


def test_warming_up_compiles_what_requests_will_run(bundle):
    recognizer = Recognizer(bundle)
    assert recognizer._worker._model.compiled.experimental_get_tracing_count() == 0
    recognizer.warm_up()
    recognizer.transcribe(babble(1.5))
    recognizer.transcribe(babble(45))
    assert recognizer._worker._model.compiled.experimental_get_tracing_count() == 1


def test_a_dropped_recogniser_takes_its_thread_with_it(bundle):
    before = set(threading.enumerate())
    recognizer = Recognizer(bundle)
    (thread,) = set(threading.enumerate()) - before
    del recognizer
    gc.collect()
    thread.join(timeout=5)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def default_recognizer():
    if not DEFAULT_FOLDER.is_dir():
        pytest.skip("no model is embedded")
    return Recognizer(load_bundle())


def test_the_default_model_finds_no_words_in_noise_and_music(default_recognizer):
    for name, samples in no_speech(np.random.default_rng(0)).items():
        transcript = default_recognizer.transcribe(Audio(np.clip(samples, -1, 1).astype(np.float32), 16_000))
        assert not transcript.words, name
        assert SrtWriter().write(transcript) == "", name


def equally_loud(audio):
    return replace(audio, samples=audio.samples * np.float32(0.5 / np.abs(audio.samples).max()))


def test_real_speech_is_the_same_words_alone_among_longer_clips_and_in_ten_minutes(default_recognizer):
    rate = default_recognizer.sample_rate
    # Equally loud: silence is what lies so many dB below the loudest sound of a recording, and ends a window.
    clips = [equally_loud(load_audio(path, rate)) for path in sorted(EXAMPLES.glob("*.opus"))]
    greedy = DecoderOptions(decoder="greedy")

    def words(audio):
        return default_recognizer.transcribe(audio, greedy).text

    alone = [words(clip) for clip in clips]
    longer = Audio(np.resize(clips[0].samples, 12 * rate), rate)
    for clip, expected in zip(clips, alone, strict=True):
        with ThreadPoolExecutor(8) as visitors:
            together = list(visitors.map(words, [clip] + 7 * [longer]))
        assert together[0] == expected

    silence = np.zeros(round(2.345 * rate), "float32")
    parts = [part for clip in clips for part in (silence, clip.samples)]
    ten_minutes = np.concatenate(parts + [silence])
    ten_minutes = np.resize(ten_minutes, 600 * rate)
    rounds = 600 * rate // sum(map(len, parts + [silence]))
    assert words(Audio(ten_minutes, rate)).startswith(" ".join(" ".join(alone).split() * rounds))


class Oracle:
    """A model whose tokens are written in the samples: the middle one of each step encodes a token, and all others
    are equally loud.

    As a network does, it misses tokens at the edges of a window, and finds the same token a step later in one window
    than in the next.
    """

    def __init__(self, step_samples, tokens):
        self.step_samples, self.tokens, self.windows = step_samples, tokens, 0

    def encode(self, tokens):
        """Tokens [steps] -> the samples of which the model makes them."""
        samples = np.full((len(tokens), self.step_samples), 0.5, np.float32)
        samples[:, self.step_samples // 2] = 0.1 + 0.02 * np.asarray(tokens)
        return samples.ravel()

    def __call__(self, samples, lengths):
        encoded = np.round((samples[:, self.step_samples // 2 :: self.step_samples] - 0.1) / 0.02).astype(int).clip(0)
        steps = lengths // self.step_samples
        log_probs = np.full((*encoded.shape, self.tokens), np.log(0.001), "float32")
        for row, tokens, count in zip(log_probs, encoded, steps, strict=True):
            late = self.windows % 2
            self.windows += 1
            tokens = np.pad(tokens[: count - late], (late, 0))
            tokens[:EDGE_STEPS] = tokens[-EDGE_STEPS:] = 0
            row[np.arange(count), tokens] = np.log(0.97)
        return log_probs, steps


EDGE_STEPS = 20  # of the 25 between a window's edge and where the nearest seam may lie


def test_an_hour_gives_its_words_none_doubled_and_none_lost_at_a_seam(recognizer, monkeypatch):
    rng = np.random.default_rng(5)
    steps = round(3600 / recognizer.step_seconds)
    spoken, starts, tokens = [], [], [0] * EDGE_STEPS
    while len(tokens) < steps - 200:
        spoken.append("".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(1, 9))))
        starts.append(len(tokens))
        for token in recognizer.vocabulary.encode(spoken[-1] + " "):
            tokens += [token] + [0] * rng.integers(2, 5)
        if rng.random() < 0.05:
            tokens += [0] * rng.integers(10, 100)  # a pause; minutes pass without one
    tokens += [0] * (steps - len(tokens))
    oracle = Oracle(round(recognizer.step_seconds * RATE), len(TOKENS))
    monkeypatch.setattr(recognizer, "_worker", InferenceWorker(oracle, round(BATCH_SECONDS * RATE)))
    words = recognizer.transcribe(Audio(oracle.encode(tokens), RATE), DecoderOptions(decoder="greedy")).words
    assert oracle.windows > 3600 / WINDOW_SECONDS
    assert [word.text for word in words] == spoken
    late = [word.start - start * recognizer.step_seconds for word, start in zip(words, starts, strict=True)]
    assert max(np.abs(late)) < 0.3


def test_a_thread_killed_while_transcribing_answers_the_next(recognizer, monkeypatch):
    """As the interpreter kills one: an exception out of nowhere, here in the middle of the compiled step."""
    step, killed = recognizer._worker._model, []

    def deadly(samples, lengths):
        if not killed:
            killed.append(ctypes.c_ulong(threading.get_ident()))
            ctypes.pythonapi.PyThreadState_SetAsyncExc(killed[0], ctypes.py_object(SystemExit))
        return step(samples, lengths)

    expected = recognizer.transcribe(babble(2)).text
    monkeypatch.setattr(recognizer._worker, "_model", deadly)
    with pytest.raises(RuntimeError, match="ended by SystemExit"):
        recognizer.transcribe(babble(2))
    with ThreadPoolExecutor(4) as visitors:
        assert set(visitors.map(lambda _: recognizer.transcribe(babble(2)).text, range(4))) == {expected}


class Shouting:
    """A tagger that writes every word in capitals, with a question mark."""

    def __call__(self, words):
        return [SimpleNamespace(punctuation="?", capital="upper") for _ in words]

    def write(self, text, tag):
        return text.upper()


def test_a_tagger_adds_the_written_form_and_changes_nothing_else(recognizer, monkeypatch):
    audio = babble(4)
    spoken = recognizer.transcribe(audio)
    assert spoken.words and recognizer.tagger is None and spoken.written == ()
    monkeypatch.setattr(recognizer, "tagger", Shouting())
    transcript = recognizer.transcribe(audio)
    assert replace(transcript, written=()) == spoken
    assert transcript.written_text.endswith("?") and transcript.written_text.isupper()
    aligned = recognizer.align(recognizer.emissions(audio), audio.seconds, "As given, stays.")
    assert aligned.written == () and aligned.text == "As given, stays."


def test_hot_words_select_the_beam_search_unless_options_are_given(recognizer):
    audio = babble(2)
    assert recognizer.recognize(audio).hypotheses[0].posterior == ()
    assert recognizer.recognize(audio, hot_words="joy").hypotheses[0].posterior
    assert recognizer.recognize(audio, hot_words=np.array(["joy", "pig"])).hypotheses[0].posterior
    assert recognizer.recognize(audio, hot_words=[]).hypotheses[0].posterior == ()


def test_hot_words_are_checked_before_the_network_runs(recognizer, monkeypatch):
    monkeypatch.setattr(recognizer, "emissions", pytest.fail)
    with pytest.raises(TypeError, match="each of them a text, got 5"):
        recognizer.recognize(babble(2), hot_words=[5])


def test_a_result_that_comes_at_the_very_end_of_a_wait_counts():
    class Late(Future):
        def result(self, timeout=None):
            if not self.done():
                self.set_result("in time")
                raise FutureTimeout
            return super().result(timeout)

    assert _wait(Late(), None) == "in time"


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_a_recognition_can_be_sent_to_another_process(recognizer, decoder):
    found = recognizer.recognize(babble(2), DecoderOptions(decoder=decoder))
    copy = pickle.loads(pickle.dumps(found))
    assert copy.transcript == found.transcript
    assert copy.hypotheses[0].words == found.hypotheses[0].words


def test_samples_that_are_not_numbers_are_no_audio():
    samples = babble(1).samples.copy()
    samples[500] = np.nan
    with pytest.raises(ValueError, match="not numbers"):
        Audio(samples, RATE)
