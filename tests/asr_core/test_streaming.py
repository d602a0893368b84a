"""Live recognition: final words stay, streams do not mix, and every second costs the same.

The recogniser is a stand-in that takes its tokens from the samples: the level of each step encodes a token. Like a
real network it needs the context of a step, and near the edges of its window it predicts nonsense.
"""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from asr_core.decoding import incremental
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.incremental import (
    MAX_UNSEGMENTED_SECONDS,
    PARTIAL_SECONDS,
    RIGHT_CONTEXT_SECONDS,
    IncrementalDecoder,
)
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import PrefixBeam
from asr_core.decoding.rescoring import NO_RESCORING, rescore
from asr_core.emissions import Emissions
from asr_core.errors import AudioError
from asr_core.streaming import FINALIZE_SECONDS, HOP_SECONDS, WINDOW_SECONDS, Stream
from asr_core.text.vocabulary import Vocabulary
from asr_core.transcript.words import Word

RATE = 8000
STEP = 320  # samples: 40 ms
VOCABULARY = Vocabulary()
GREEDY, BEAM = DecoderOptions(decoder="greedy"), DecoderOptions(decoder="beam", beam_width=8)
TEXT = "the cat sat on a mat and looked at the rain that fell on all the roofs of this old town "
TEXT += "while nobody spoke and the clock went on"
ONE_HOT_LOG_PROBS = np.log(np.eye(len(VOCABULARY)) * 0.9999 + 1e-6).astype("float32")  # one row a token
EDGE_STEPS = 20  # at either side of a window, whose tokens are wrong for lack of context


class FakeRecognizer:
    """A recogniser that recognises what `samples_of` encodes."""

    def __init__(self, options=GREEDY, language_model=None, doubt=0.0, edges=EDGE_STEPS):
        self.sample_rate, self.step_seconds = RATE, STEP / RATE
        self.vocabulary, self.language_model, self.rescoring = VOCABULARY, language_model, NO_RESCORING
        self.bundle = SimpleNamespace(decoder_options=lambda: options)
        self.doubt, self.edges = doubt, edges
        self.audio_seconds, self.longest = 0.0, 0

    def emissions(self, audio):
        self.audio_seconds += audio.seconds
        self.longest = max(self.longest, len(audio.samples))
        steps = -(-len(audio.samples) // STEP)
        padded = np.zeros(steps * STEP, "float32")
        padded[: len(audio.samples)] = audio.samples
        levels = padded.reshape(steps, STEP)[:, STEP // 2]
        tokens = np.rint(levels * 64).astype(int).clip(0, len(VOCABULARY) - 1)
        step = np.arange(steps)
        confused = np.minimum(step, step[::-1]) < self.edges if steps > 2 * self.edges else step < 0
        tokens = np.where(confused & (tokens > 0), (tokens * 7 + step[::-1]) % len(VOCABULARY), tokens)
        return Emissions(self._log_probs(tokens, levels), self.step_seconds)

    def _log_probs(self, tokens, levels):
        """Probability 1 - `doubt` for each token; the fine part of the level determines how others share the rest."""
        if not self.doubt:
            return ONE_HOT_LOG_PROBS[tokens]
        fine = np.abs(levels * 64 - np.rint(levels * 64)) * 2e3
        weights = np.maximum(np.sin(fine[:, None] + np.arange(len(VOCABULARY)) ** 2) - 0.9, 1e-6)
        weights *= self.doubt / weights.sum(axis=1, keepdims=True)
        weights[np.arange(len(tokens)), tokens] += 1 - self.doubt
        return np.log(weights).astype("float32")

    def calibrated(self, spans, seconds, neighbours=(None, None)):
        return tuple(Word(s.text, min(s.start, seconds), min(s.end, seconds), s.confidence) for s in spans)


def samples_of(text, seed=None, spacing=2):
    """Samples that encode a text: every token is one step, followed by blanks; "_" is a second of silence, which also
    surrounds the text."""
    rng = np.random.default_rng(seed)
    tokens = []
    for character in f"_{text}_":
        if character == "_":
            tokens += [0] * round(RATE / STEP)
        else:
            blanks = spacing if seed is None else int(rng.integers(1, 4))
            tokens += [*VOCABULARY.encode(character), *[0] * blanks]
    levels = np.array(tokens) / 64
    if seed is not None:
        levels = np.where(levels > 0, levels + rng.uniform(-0.3, 0.3, len(levels)) / 64, 0)
    return np.repeat(levels, STEP).astype("float32")


def chunks_of(samples, rng, longest):
    """The samples in pieces of random lengths up to `longest` seconds, some of them empty."""
    while len(samples):
        size = int(longest * RATE * rng.random() ** 2)
        yield samples[:size]
        samples = samples[size:]


def transcribed(stream, chunks):
    """All final words, and every update on the way."""
    updates = [stream.feed(chunk, RATE) for chunk in chunks]
    updates.append(stream.finish())
    return list(itertools.chain.from_iterable(update.final for update in updates)), updates


def text_of(words):
    return " ".join(word.text for word in words)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    words = sorted(set(TEXT.split()))
    lines = ["\\data\\", f"ngram 1={len(words) + 3}", f"ngram 2={len(TEXT.split()) - 1}", "", "\\1-grams:"]
    lines += ["-99 <s> -0.5", "-1.5 </s>", "-3 <unk>"] + [f"-1.7 {word} -0.4" for word in words]
    lines += ["", "\\2-grams:"]
    pairs = sorted(set(itertools.pairwise(TEXT.split())))
    lines[2] = f"ngram 2={len(pairs)}"
    lines += [f"-0.6 {a} {b}" for a, b in pairs] + ["", "\\end\\", ""]
    path = tmp_path_factory.mktemp("model") / "words.arpa"
    path.write_text("\n".join(lines))
    return NGramModel.from_arpa(path)


def test_the_whole_text_comes_out_word_for_word():
    words, _ = transcribed(Stream(FakeRecognizer()), [samples_of(TEXT)])
    assert text_of(words) == TEXT


@pytest.mark.parametrize("part", range(4))
def test_final_words_are_the_same_in_thousands_of_random_chunkings(part):
    """Each chunking gives the same words at the same times, in the end and on the way."""
    samples = samples_of("the cat sat on a mat_ and looked", seed=part)
    expected, _ = transcribed(Stream(FakeRecognizer()), [samples])
    assert text_of(expected) == "the cat sat on a mat and looked"
    recognizer = FakeRecognizer()
    rng = np.random.default_rng(part)
    for _ in range(500):
        stream, words = Stream(recognizer), []
        for chunk in chunks_of(samples, rng, longest=5):
            words += stream.feed(chunk, RATE).final
            assert words == expected[: len(words)]
        assert words + list(stream.finish().final) == expected


def test_final_words_of_an_uncertain_beam_never_change_either(language_model):
    samples = samples_of(TEXT[:40], seed=3)
    recognizer = FakeRecognizer(BEAM, language_model, doubt=0.45, edges=0)
    expected, _ = transcribed(Stream(recognizer), [samples])
    rng = np.random.default_rng(5)
    for _ in range(12):
        words, _ = transcribed(Stream(recognizer), chunks_of(samples, rng, longest=4))
        assert words == expected


def test_a_hot_word_may_begin_among_the_final_words(language_model):
    """A phrase of several words earns its bonus even if its first words were final before the others arrived."""
    hot_words = HotWords.build(["town while nobody"], VOCABULARY)
    tokens = VOCABULARY.encode("old town ")
    state = hot_words.state_after(tokens)
    assert state == hot_words.state_after(tokens[4:], hot_words.state_after(tokens[:4]))
    assert hot_words.tables.provisional[state] == len("town")
    rest, options = (
        ONE_HOT_LOG_PROBS[VOCABULARY.encode("while nobody")],
        DecoderOptions(beam_width=8, hot_word_boost=1.5),
    )
    scores = []
    for hot_state in (state, None):
        beam = PrefixBeam(VOCABULARY, options, language_model, hot_words, None, hot_state)
        beam.advance(rest)
        scores.append(next(beam.hypotheses()).hot_word_score)
    assert scores == pytest.approx([1.5 * len("townwhilenobody"), 0.0])


@pytest.mark.parametrize("seed", range(3))
def test_the_beam_gives_the_same_text_as_over_the_whole_recording(language_model, seed):
    """The language model continues from its state after the last final word."""
    samples = samples_of(TEXT, seed=seed)
    recognizer = FakeRecognizer(BEAM, language_model, doubt=0.45, edges=0)
    whole = np.concatenate([samples, np.zeros(-len(samples) % STEP, "float32")])
    offline = beam_search(
        recognizer.emissions(SimpleNamespace(samples=whole, seconds=1.0)), VOCABULARY, BEAM, language_model
    )[0]
    words, _ = transcribed(Stream(recognizer), np.array_split(samples, 50))
    assert text_of(words) == offline.text


def test_partial_words_go_on_from_the_final_ones():
    stream, final = Stream(FakeRecognizer(edges=0)), []
    samples = samples_of(TEXT)
    for end in range(RATE // 2, len(samples), RATE // 2):
        update = stream.feed(samples[end - RATE // 2 : end], RATE)
        final += update.final
        shown = text_of([*final, *update.partial])
        spoken = greedy(FakeRecognizer(edges=0).emissions(audio(samples[:end])), VOCABULARY).text
        assert shown == spoken


def test_similar_words_are_searched_for_final_words_only(monkeypatch):
    searched = []

    def spy(beam, emissions, vocabulary, options, *further):
        searched.append(options.similar_words)
        return rescore(beam, emissions, vocabulary, options, *further)

    monkeypatch.setattr(incremental, "rescore", spy)
    stream = Stream(FakeRecognizer(replace(BEAM, similar_words=5)))
    stream.feed(samples_of("the cat sat on a mat")[RATE:-RATE], RATE)  # no pause before or after
    assert set(searched) == {0}
    stream.finish()
    assert searched[-1] == 5


def audio(samples):
    return SimpleNamespace(samples=samples, seconds=len(samples) / RATE)


def test_a_word_appears_within_a_second_of_its_end():
    stream, final, seen = Stream(FakeRecognizer(edges=0)), [], {}
    samples = samples_of("the cat sat on a mat while nobody spoke")
    for start in range(0, len(samples), 800):
        update = stream.feed(samples[start : start + 800], RATE)
        final += update.final
        for place, word in enumerate([*final, *update.partial]):
            seen.setdefault((place, word.text), update.seconds)
    for place, word in enumerate([*final, *stream.finish().final]):
        assert seen[place, word.text] - word.end <= 1.0


def test_where_nobody_pauses_a_word_is_final_some_seconds_later():
    stream, final = Stream(FakeRecognizer()), []
    samples = samples_of(TEXT)
    for start in range(0, len(samples), 800):
        update = stream.feed(samples[start : start + 800], RATE)
        final += [(word.end, update.seconds) for word in update.final]
    assert len(final) > 4
    for end, at in final:
        assert PARTIAL_SECONDS <= at - end <= PARTIAL_SECONDS + FINALIZE_SECONDS + 2


def test_the_last_word_before_a_pause_is_final_without_a_next_one():
    stream, words = Stream(FakeRecognizer()), []
    for chunk in np.array_split(samples_of("good morning" + 10 * "_"), 50):
        update = stream.feed(chunk, RATE)
        words += update.final
        if words:
            break
    assert text_of(words) == "good morning"
    assert RIGHT_CONTEXT_SECONDS < update.seconds - words[-1].end < RIGHT_CONTEXT_SECONDS + FINALIZE_SECONDS + 0.5


def test_a_quiet_voice_after_a_loud_one_is_recognised_by_itself():
    """Normalised together with the loud voice, it would be close to silence."""
    recognizer, rng = Windows(), np.random.default_rng(0)
    voice = rng.normal(0, 0.1, 7 * RATE).astype("float32")
    stream = Stream(recognizer)
    for part in voice, np.zeros(RATE, "float32"), 0.1 * voice:
        for chunk in np.array_split(part, 14):
            stream.feed(chunk, RATE)
    loud = [window.max() > 0.2 for window in recognizer.windows]
    quiet = [np.abs(window[: 4 * RATE]).mean() < 0.02 for window in recognizer.windows]
    assert sum(loud) > 10 and loud == sorted(loud, reverse=True)
    assert not loud[-1] and quiet[-1] and len(recognizer.windows[-1]) > 6.5 * RATE


@pytest.mark.parametrize("late", [1.0, 3.0, 5.0])
def test_a_change_of_level_that_is_found_late_loses_no_words(late, monkeypatch):
    """A window of the audio before it would begin before the buffer does."""
    stream = Stream(FakeRecognizer(edges=0))
    found = []

    def changes(samples, rate):
        if stream.seconds < 16 or found:
            return []
        found.append(stream.seconds - late)
        return [len(samples) - round(late * rate)]

    monkeypatch.setattr("asr_core.streaming.level_changes", changes)
    words, _ = transcribed(stream, np.array_split(samples_of(TEXT), 99))
    assert found and "".join(word.text for word in words) == TEXT.replace(" ", "")


def test_final_words_end_where_they_do_in_the_whole_recording():
    """Also the last of those that become final together, which another word follows."""
    step, words, at = 0.02, [], 5
    for text, length, gap in [("hold", 14, 0), ("a", 5, 14), ("moment", 22, 4), ("and", 10, 3), ("then", 12, 4)] * 12:
        words.append((text, at, at + length))
        at += length + gap
    tokens, energy = np.zeros(at + 10, int), np.full(at + 10, -60, np.float32)
    for text, start, end in words:
        energy[start:end] = -20
        for i, token in enumerate(VOCABULARY.encode(text)):
            tokens[start + 1 + i * (end - start - 3) // len(text)] = token
        tokens[end - 1] = VOCABULARY.space
    emissions = Emissions(ONE_HOT_LOG_PROBS[tokens], step, energy=energy)
    recognizer = FakeRecognizer()
    recognizer.step_seconds = step
    decoder, found, rest = IncrementalDecoder(recognizer, GREEDY, None), [], emissions.slice(0, 0)
    for start in range(0, len(emissions), 100):
        part = emissions.slice(start, min(start + 100, len(emissions)))
        final, rest = decoder.finalize(rest.concat(part), ended=start + 100 >= len(emissions))
        found += final
    expected = greedy(emissions, VOCABULARY).words
    assert [word.text for word in found] == [word.text for word in expected]
    np.testing.assert_allclose(*([(w.start, w.end) for w in some] for some in (found, expected)), atol=0.05)


class Windows(FakeRecognizer):
    """Keeps the samples of every window."""

    def __init__(self):
        super().__init__()
        self.windows = []

    def emissions(self, audio):
        self.windows.append(audio.samples)
        return super().emissions(audio)


def test_times_count_from_the_beginning_of_the_recording():
    samples = samples_of("cat " * 60)
    words, _ = transcribed(Stream(FakeRecognizer()), np.array_split(samples, 77))
    offline = greedy(FakeRecognizer(edges=0).emissions(audio(samples)), VOCABULARY).words
    assert len(words) == len(offline) == 60
    np.testing.assert_allclose([w.start for w in words], [w.start for w in offline], atol=0.05)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))


def test_words_without_end_are_given_up_in_time():
    """Audio that resembles one endless word must not fill the memory."""
    stream = Stream(FakeRecognizer())
    words = []
    for chunk in np.array_split(samples_of("a" * 800), 96):
        words += stream.feed(chunk, RATE).final
    assert stream.seconds > 90 and len(words) > 5
    longest = MAX_UNSEGMENTED_SECONDS + FINALIZE_SECONDS + 2 * STEP / RATE
    assert all(word.end - word.start <= longest for word in words[:-1])
    assert words[-1].end - words[-1].start <= WINDOW_SECONDS  # it ended in a pause


def test_every_second_costs_the_same_and_memory_stays():
    recognizer = FakeRecognizer()
    stream = Stream(recognizer)
    minute = samples_of((TEXT + " ") * 4)[: 60 * RATE]
    work, held = [], []
    for _ in range(6):
        before = recognizer.audio_seconds
        for chunk in np.array_split(minute, 120):
            stream.feed(chunk, RATE)
        work.append(recognizer.audio_seconds - before)
        held.append(bytes_of(stream, set()))
    assert max(work[1:]) - min(work[1:]) < 0.02 * work[1]
    assert work[1] <= 60 * WINDOW_SECONDS / HOP_SECONDS
    assert recognizer.longest <= WINDOW_SECONDS * RATE
    assert max(held[1:]) < 1.3 * min(held[1:])
    assert max(held) < 8 * RATE * (WINDOW_SECONDS + FINALIZE_SECONDS)


def bytes_of(thing, seen):
    """Bytes of all arrays that an object holds, directly or through others."""
    if id(thing) in seen or isinstance(thing, FakeRecognizer):
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    parts = thing if isinstance(thing, (list, tuple)) else vars(thing).values() if hasattr(thing, "__dict__") else ()
    return sum(bytes_of(part, seen) for part in parts)


def test_long_chunks_cost_less_than_short_ones():
    """A stream that lags behind catches up: the network only runs on the windows that make words final."""
    samples = samples_of(TEXT)
    short, long = FakeRecognizer(), FakeRecognizer()
    transcribed(Stream(short), np.array_split(samples, len(samples) // (RATE // 2)))
    transcribed(Stream(long), np.array_split(samples, 4))
    assert long.audio_seconds < 0.5 * short.audio_seconds


def test_two_streams_never_mix():
    recognizer = FakeRecognizer()
    texts = [TEXT, "nobody spoke while " * 5]
    streams = [Stream(recognizer), Stream(recognizer)]
    words = [[], []]
    cut = [np.array_split(samples_of(text), 60) for text in texts]
    for pair in zip(*cut, strict=True):
        for i, chunk in enumerate(pair):
            words[i] += streams[i].feed(chunk, RATE).final
    for i, text in enumerate(texts):
        assert text_of([*words[i], *streams[i].finish().final]) == text.strip()


def test_reset_makes_it_as_new():
    stream = Stream(FakeRecognizer())
    stream.feed(samples_of("this will be forgotten soon and nobody asks"), RATE)
    stream.reset()
    words, updates = transcribed(stream, [samples_of("the cat")])
    assert text_of(words) == "the cat"
    assert words == transcribed(Stream(FakeRecognizer()), [samples_of("the cat")])[0]
    assert updates[0].seconds == len(samples_of("the cat")) / RATE
    with pytest.raises(ValueError, match="finished"):
        stream.feed(samples_of("more"), RATE)
    assert stream.finish().final == ()


@pytest.mark.parametrize(
    "convert",
    [
        lambda s: (s * 32767).astype("int16"),
        lambda s: (s * 2147483000).astype("int32"),
        lambda s: s.astype("float64"),
        lambda s: np.stack([s, s], axis=1),
        lambda s: (s * 32767).astype("int16")[:, None],
    ],
)
def test_samples_of_any_type_give_the_same_words(convert):
    words, _ = transcribed(Stream(FakeRecognizer()), [convert(chunk) for chunk in np.array_split(samples_of(TEXT), 40)])
    assert text_of(words) == TEXT


@pytest.mark.parametrize("rates", [[16000], [48000], [44100], [4000], [16000, 48000, 8000]])
def test_any_rate_is_accepted_and_may_change_on_the_way(rates):
    import soxr

    samples = samples_of("the cat sat on a mat", spacing=4)
    parts = np.split(samples, [len(samples) // len(rates) // STEP * STEP * (i + 1) for i in range(len(rates) - 1)])
    stream, words = Stream(FakeRecognizer()), []
    for part, rate in zip(parts, rates, strict=True):
        for chunk in np.array_split(soxr.resample(part, RATE, rate), 30):
            words += stream.feed(chunk, rate).final
    words += stream.finish().final
    assert text_of(words) == "the cat sat on a mat"
    assert abs(stream.seconds - len(samples) / RATE) < 0.01


def test_a_chunk_that_is_not_audio_is_left_out_and_reported():
    stream = Stream(FakeRecognizer())
    first, second = np.split(samples_of("the cat sat"), [RATE])
    stream.feed(first, RATE)
    with pytest.raises(AudioError, match="not numbers"):
        stream.feed(np.full(800, np.nan, "float32"), RATE)
    with pytest.raises(AudioError, match="claims"):
        stream.feed(first, 12)
    with pytest.raises(ValueError, match="shape"):
        stream.feed(np.zeros((2, 2, 2), "float32"), RATE)
    words = list(stream.feed(second, RATE).final + stream.finish().final)
    assert text_of(words) == "the cat sat"


def test_silence_has_no_words():
    assert transcribed(Stream(FakeRecognizer()), [])[0] == []
    assert transcribed(Stream(FakeRecognizer()), [np.zeros(0, "float32"), np.zeros(30 * RATE, "int16")])[0] == []
    assert transcribed(Stream(FakeRecognizer()), [np.zeros(10, "float32")])[0] == []


def test_chunks_of_single_samples_are_accepted():
    samples = samples_of("a cat")
    words, _ = transcribed(Stream(FakeRecognizer()), samples.reshape(-1, 4)[:, :1].repeat(4, 1).reshape(-1, 1))
    assert text_of(words) == "a cat"


def test_arguments_of_another_type_are_refused():
    recognizer = FakeRecognizer()
    with pytest.raises(TypeError, match="DecoderOptions or None"):
        Stream(recognizer, {})
    stream = Stream(recognizer)
    with pytest.raises(ValueError, match="shape"):
        stream.feed(np.zeros((2, RATE), np.float32), RATE)  # [channels, n]
    assert stream.seconds == 0
