"""Running sound: final words stay, streams do not mix, and every second costs the same.

The recogniser is a stand-in that reads its tokens off the samples: step by step the loudness names a token. As a real
network it needs to hear what surrounds a step, and near the edges of its window it says nonsense.
"""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.incremental import MAX_UNSEGMENTED_SECONDS, PARTIAL_SECONDS, RIGHT_CONTEXT_SECONDS
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.options import DecoderOptions
from asr_core.emissions import Emissions
from asr_core.errors import AudioError
from asr_core.streaming import FINALIZE_SECONDS, HOP_SECONDS, WINDOW_SECONDS, Stream
from asr_core.text.vocabulary import Vocabulary
from asr_core.transcript.words import Word

RATE = 8000
STEP = 320  # samples: 40 ms
VOCABULARY = Vocabulary()
GREEDY, BEAM = DecoderOptions(decoder="greedy"), DecoderOptions(decoder="beam", beam_width=8)
SAID = "the cat sat on a mat and looked at the rain that fell on all the roofs of this old town "
SAID += "while nobody spoke and the clock went on"
SURE = np.log(np.eye(len(VOCABULARY)) * 0.9999 + 1e-6).astype("float32")  # one row a token
EDGE_STEPS = 20  # of a window, on either side, at which the network cannot know


class Reader:
    """A recogniser that hears what `sound_of` writes."""

    def __init__(self, options=GREEDY, language_model=None, doubt=0.0, edges=EDGE_STEPS):
        self.sample_rate, self.step_seconds = RATE, STEP / RATE
        self.vocabulary, self.language_model, self.pronunciations = VOCABULARY, language_model, None
        self.bundle = SimpleNamespace(decoder_options=lambda: options)
        self.doubt, self.edges = doubt, edges
        self.heard_seconds, self.longest = 0.0, 0

    def emissions(self, audio):
        self.heard_seconds += audio.seconds
        self.longest = max(self.longest, len(audio.samples))
        steps = -(-len(audio.samples) // STEP)
        padded = np.zeros(steps * STEP, "float32")
        padded[: len(audio.samples)] = audio.samples
        levels = padded.reshape(steps, STEP)[:, STEP // 2]
        tokens = np.rint(levels * 64).astype(int).clip(0, len(VOCABULARY) - 1)
        beyond = np.arange(steps)
        confused = np.minimum(beyond, beyond[::-1]) < self.edges if steps > 2 * self.edges else beyond < 0
        tokens = np.where(confused & (tokens > 0), (tokens * 7 + beyond[::-1]) % len(VOCABULARY), tokens)
        return Emissions(self._log_probs(tokens, levels), self.step_seconds)

    def _log_probs(self, tokens, levels):
        """Sure of each token but for `doubt`, spread over others as the fine part of the level has it."""
        if not self.doubt:
            return SURE[tokens]
        fine = np.abs(levels * 64 - np.rint(levels * 64)) * 2e3
        weights = np.maximum(np.sin(fine[:, None] + np.arange(len(VOCABULARY)) ** 2) - 0.9, 1e-6)
        weights *= self.doubt / weights.sum(axis=1, keepdims=True)
        weights[np.arange(len(tokens)), tokens] += 1 - self.doubt
        return np.log(weights).astype("float32")

    def calibrated(self, spans, seconds):
        return tuple(Word(s.text, min(s.start, seconds), min(s.end, seconds), s.confidence) for s in spans)


def sound_of(text, seed=None, spacing=2):
    """Samples that say a text: every token one step, with blanks around it; "_" is a second of silence, as is on
    both sides of the text."""
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


def heard(stream, chunks):
    """All final words, and every update on the way."""
    updates = [stream.feed(chunk, RATE) for chunk in chunks]
    updates.append(stream.finish())
    return list(itertools.chain.from_iterable(update.final for update in updates)), updates


def text_of(words):
    return " ".join(word.text for word in words)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    words = sorted(set(SAID.split()))
    lines = ["\\data\\", f"ngram 1={len(words) + 3}", f"ngram 2={len(SAID.split()) - 1}", "", "\\1-grams:"]
    lines += ["-99 <s> -0.5", "-1.5 </s>", "-3 <unk>"] + [f"-1.7 {word} -0.4" for word in words]
    lines += ["", "\\2-grams:"]
    pairs = sorted(set(itertools.pairwise(SAID.split())))
    lines[2] = f"ngram 2={len(pairs)}"
    lines += [f"-0.6 {a} {b}" for a, b in pairs] + ["", "\\end\\", ""]
    path = tmp_path_factory.mktemp("model") / "words.arpa"
    path.write_text("\n".join(lines))
    return NGramModel.from_arpa(path)


def test_the_whole_text_comes_out_word_for_word():
    words, _ = heard(Stream(Reader()), [sound_of(SAID)])
    assert text_of(words) == SAID


@pytest.mark.parametrize("part", range(4))
def test_final_words_are_the_same_in_thousands_of_random_chunkings(part):
    """Each chunking gives the same words at the same times, in the end and on the way."""
    samples = sound_of("the cat sat on a mat_ and looked", seed=part)
    expected, _ = heard(Stream(Reader()), [samples])
    assert text_of(expected) == "the cat sat on a mat and looked"
    reader = Reader()
    rng = np.random.default_rng(part)
    for _ in range(500):
        stream, words = Stream(reader), []
        for chunk in chunks_of(samples, rng, longest=5):
            words += stream.feed(chunk, RATE).final
            assert words == expected[: len(words)]
        assert words + list(stream.finish().final) == expected


def test_final_words_of_a_doubting_beam_never_change_either(language_model):
    samples = sound_of(SAID[:40], seed=3)
    reader = Reader(BEAM, language_model, doubt=0.45, edges=0)
    expected, _ = heard(Stream(reader), [samples])
    rng = np.random.default_rng(5)
    for _ in range(12):
        words, _ = heard(Stream(reader), chunks_of(samples, rng, longest=4))
        assert words == expected


@pytest.mark.parametrize("seed", range(3))
def test_the_beam_says_as_much_as_over_the_whole_recording(language_model, seed):
    """The language model goes on where the last final word left it."""
    samples = sound_of(SAID, seed=seed)
    reader = Reader(BEAM, language_model, doubt=0.45, edges=0)
    whole = np.concatenate([samples, np.zeros(-len(samples) % STEP, "float32")])
    offline = beam_search(
        reader.emissions(SimpleNamespace(samples=whole, seconds=1.0)), VOCABULARY, BEAM, language_model
    )[0]
    words, _ = heard(Stream(reader), np.array_split(samples, 50))
    assert text_of(words) == offline.text


def test_partial_words_go_on_from_the_final_ones():
    stream, final = Stream(Reader(edges=0)), []
    samples = sound_of(SAID)
    for end in range(RATE // 2, len(samples), RATE // 2):
        update = stream.feed(samples[end - RATE // 2 : end], RATE)
        final += update.final
        shown = text_of([*final, *update.partial])
        spoken = greedy(Reader(edges=0).emissions(audio(samples[:end])), VOCABULARY).text
        assert shown == spoken


def audio(samples):
    return SimpleNamespace(samples=samples, seconds=len(samples) / RATE)


def test_a_word_appears_within_a_second_of_its_end():
    stream, final, seen = Stream(Reader(edges=0)), [], {}
    samples = sound_of("the cat sat on a mat while nobody spoke")
    for start in range(0, len(samples), 800):
        update = stream.feed(samples[start : start + 800], RATE)
        final += update.final
        for place, word in enumerate([*final, *update.partial]):
            seen.setdefault((place, word.text), update.seconds)
    for place, word in enumerate([*final, *stream.finish().final]):
        assert seen[place, word.text] - word.end <= 1.0


def test_where_nobody_pauses_a_word_is_final_some_seconds_later():
    stream, final = Stream(Reader()), []
    samples = sound_of(SAID)
    for start in range(0, len(samples), 800):
        update = stream.feed(samples[start : start + 800], RATE)
        final += [(word.end, update.seconds) for word in update.final]
    assert len(final) > 4
    for end, at in final:
        assert PARTIAL_SECONDS <= at - end <= PARTIAL_SECONDS + FINALIZE_SECONDS + 2


def test_the_last_word_before_a_pause_is_final_without_a_next_one():
    stream, words = Stream(Reader()), []
    for chunk in np.array_split(sound_of("good morning" + 10 * "_"), 50):
        update = stream.feed(chunk, RATE)
        words += update.final
        if words:
            break
    assert text_of(words) == "good morning"
    assert RIGHT_CONTEXT_SECONDS < update.seconds - words[-1].end < RIGHT_CONTEXT_SECONDS + FINALIZE_SECONDS + 0.5


def test_a_quiet_voice_after_a_loud_one_is_heard_by_itself():
    """Normalised together with the loud one it would be next to silence."""
    reader, rng = Windows(), np.random.default_rng(0)
    voice = rng.normal(0, 0.1, 7 * RATE).astype("float32")
    stream = Stream(reader)
    for part in voice, np.zeros(RATE, "float32"), 0.1 * voice:
        for chunk in np.array_split(part, 14):
            stream.feed(chunk, RATE)
    loud = [window.max() > 0.2 for window in reader.windows]
    quiet = [np.abs(window[: 4 * RATE]).mean() < 0.02 for window in reader.windows]
    assert sum(loud) > 10 and loud == sorted(loud, reverse=True)
    assert not loud[-1] and quiet[-1] and len(reader.windows[-1]) > 6.5 * RATE


class Windows(Reader):
    """Keeps what it is given to hear."""

    def __init__(self):
        super().__init__()
        self.windows = []

    def emissions(self, audio):
        self.windows.append(audio.samples)
        return super().emissions(audio)


def test_times_count_from_the_beginning_of_the_recording():
    samples = sound_of("cat " * 60)
    words, _ = heard(Stream(Reader()), np.array_split(samples, 77))
    offline = greedy(Reader(edges=0).emissions(audio(samples)), VOCABULARY).words
    assert len(words) == len(offline) == 60
    np.testing.assert_allclose([w.start for w in words], [w.start for w in offline], atol=0.05)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))


def test_words_without_end_are_given_up_in_time():
    """Nothing that sounds like one endless word may fill the memory."""
    stream = Stream(Reader())
    words = []
    for chunk in np.array_split(sound_of("a" * 800), 96):
        words += stream.feed(chunk, RATE).final
    assert stream.seconds > 90 and len(words) > 5
    longest = MAX_UNSEGMENTED_SECONDS + FINALIZE_SECONDS + 2 * STEP / RATE
    assert all(word.end - word.start <= longest for word in words[:-1])
    assert words[-1].end - words[-1].start <= WINDOW_SECONDS  # it ended in a pause


def test_every_second_costs_the_same_and_memory_stays():
    reader = Reader()
    stream = Stream(reader)
    minute = sound_of((SAID + " ") * 4)[: 60 * RATE]
    work, held = [], []
    for _ in range(6):
        before = reader.heard_seconds
        for chunk in np.array_split(minute, 120):
            stream.feed(chunk, RATE)
        work.append(reader.heard_seconds - before)
        held.append(bytes_of(stream, set()))
    assert max(work[1:]) - min(work[1:]) < 0.02 * work[1]
    assert work[1] <= 60 * WINDOW_SECONDS / HOP_SECONDS
    assert reader.longest <= WINDOW_SECONDS * RATE
    assert max(held[1:]) < 1.3 * min(held[1:])
    assert max(held) < 8 * RATE * (WINDOW_SECONDS + FINALIZE_SECONDS)


def bytes_of(thing, seen):
    """Of all arrays that hang on an object of ours."""
    if id(thing) in seen or isinstance(thing, Reader):
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    parts = thing if isinstance(thing, (list, tuple)) else vars(thing).values() if hasattr(thing, "__dict__") else ()
    return sum(bytes_of(part, seen) for part in parts)


def test_long_chunks_cost_less_than_short_ones():
    """A stream that has fallen behind catches up: only the windows that settle words are heard."""
    samples = sound_of(SAID)
    short, long = Reader(), Reader()
    heard(Stream(short), np.array_split(samples, len(samples) // (RATE // 2)))
    heard(Stream(long), np.array_split(samples, 4))
    assert long.heard_seconds < 0.5 * short.heard_seconds


def test_two_streams_never_mix():
    reader = Reader()
    texts = [SAID, "nobody spoke while " * 5]
    streams = [Stream(reader), Stream(reader)]
    words = [[], []]
    cut = [np.array_split(sound_of(text), 60) for text in texts]
    for pair in zip(*cut, strict=True):
        for i, chunk in enumerate(pair):
            words[i] += streams[i].feed(chunk, RATE).final
    for i, text in enumerate(texts):
        assert text_of([*words[i], *streams[i].finish().final]) == text.strip()


def test_reset_makes_it_as_new():
    stream = Stream(Reader())
    stream.feed(sound_of("this will be forgotten soon and nobody asks"), RATE)
    stream.reset()
    words, updates = heard(stream, [sound_of("the cat")])
    assert text_of(words) == "the cat"
    assert words == heard(Stream(Reader()), [sound_of("the cat")])[0]
    assert updates[0].seconds == len(sound_of("the cat")) / RATE
    with pytest.raises(ValueError, match="finished"):
        stream.feed(sound_of("more"), RATE)
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
def test_samples_of_any_type_are_heard_alike(convert):
    words, _ = heard(Stream(Reader()), [convert(chunk) for chunk in np.array_split(sound_of(SAID), 40)])
    assert text_of(words) == SAID


@pytest.mark.parametrize("rates", [[16000], [48000], [44100], [4000], [16000, 48000, 8000]])
def test_any_rate_is_heard_and_may_change_on_the_way(rates):
    import soxr

    samples = sound_of("the cat sat on a mat", spacing=4)
    parts = np.split(samples, [len(samples) // len(rates) // STEP * STEP * (i + 1) for i in range(len(rates) - 1)])
    stream, words = Stream(Reader()), []
    for part, rate in zip(parts, rates, strict=True):
        for chunk in np.array_split(soxr.resample(part, RATE, rate), 30):
            words += stream.feed(chunk, rate).final
    words += stream.finish().final
    assert text_of(words) == "the cat sat on a mat"
    assert abs(stream.seconds - len(samples) / RATE) < 0.01


def test_a_chunk_that_is_no_sound_is_left_out_and_said():
    stream = Stream(Reader())
    first, second = np.split(sound_of("the cat sat"), [RATE])
    stream.feed(first, RATE)
    with pytest.raises(AudioError, match="not numbers"):
        stream.feed(np.full(800, np.nan, "float32"), RATE)
    with pytest.raises(AudioError, match="claims"):
        stream.feed(first, 12)
    with pytest.raises(ValueError, match="shape"):
        stream.feed(np.zeros((2, 2, 2), "float32"), RATE)
    words = list(stream.feed(second, RATE).final + stream.finish().final)
    assert text_of(words) == "the cat sat"


def test_nothing_heard_is_nothing_said():
    assert heard(Stream(Reader()), [])[0] == []
    assert heard(Stream(Reader()), [np.zeros(0, "float32"), np.zeros(30 * RATE, "int16")])[0] == []
    assert heard(Stream(Reader()), [np.zeros(10, "float32")])[0] == []


def test_chunks_of_single_samples_are_heard():
    samples = sound_of("a cat")
    words, _ = heard(Stream(Reader()), samples.reshape(-1, 4)[:, :1].repeat(4, 1).reshape(-1, 1))
    assert text_of(words) == "a cat"
