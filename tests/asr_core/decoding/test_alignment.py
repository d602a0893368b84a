"""Word times against signals whose words are known by construction; texts that fit, and texts that do not."""

import numpy as np
import pytest

from asr_core.audio.energy import signal_energy
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.confidence import UNCHECKED, Calibration, step_entropy
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.text_alignment import align_text
from asr_core.decoding.word_spans import WordSpan
from asr_core.emissions import Emissions
from asr_core.errors import AlignmentError
from asr_core.text.pasted import NOT_CHECKED, NOT_THIS_TEXT
from asr_core.text.spelling import spell
from asr_core.text.vocabulary import WILDCARD, Vocabulary

VOCABULARY = Vocabulary()
RATE = 16_000
STEP = 0.04
STEP_SAMPLES = round(STEP * RATE)
SILENCE, ROOM = 0.0, 0.003  # amplitudes of the background


def recording(words, pauses, background, seed=0, lag_steps=0):
    """Noise bursts for words, with pauses of known length between, and emissions that peak inside them.

    A letter lasts 80 ms; its emission peaks in the middle, or `lag_steps` later if the network lags.

    Returns:
        Emissions with energy, and the true (start, end) of every word.
    """
    generator = np.random.default_rng(seed)
    samples, times, peaks = [], [], []
    for word, pause in zip([*words, ""], pauses, strict=True):
        samples.append(np.zeros(round(pause * RATE)))
        start = sum(map(len, samples))
        for place, letter in enumerate(word):
            peaks.append((start / RATE + 0.08 * place + 0.04, letter))
            envelope = 0.6 + 0.4 * np.sin(np.linspace(0, np.pi, round(0.08 * RATE)))
            samples.append(0.2 * envelope * generator.normal(size=len(envelope)))
        if word:
            times.append((start / RATE, sum(map(len, samples)) / RATE))
            peaks.append((times[-1][1] + 0.02, " "))
    signal = np.concatenate(samples)
    signal += background * generator.normal(size=len(signal))
    path = ["-"] * (round(len(signal) / RATE / STEP) + 1)
    free = 0
    for time, letter in peaks:
        step = max(free, int(time / STEP) + lag_steps)
        if step < len(path):
            path[step] = letter
        free = step + 1 + (letter == " ")
    log_probs = emissions_of("".join(path)).log_probs
    energy = signal_energy(signal.astype(np.float32), STEP_SAMPLES, len(log_probs))
    return Emissions(log_probs, STEP, energy=energy), times


def emissions_of(path, confident=0.97):
    tokens = [0 if character == "-" else VOCABULARY.encode(character)[0] for character in path]
    probabilities = np.full((len(tokens), len(VOCABULARY)), (1 - confident) / (len(VOCABULARY) - 1), np.float32)
    probabilities[np.arange(len(tokens)), tokens] = confident
    return Emissions(np.log(probabilities), STEP)


WORDS = ["how", "many", "of", "them", "were", "singing"]


@pytest.mark.parametrize("background", [SILENCE, ROOM])
@pytest.mark.parametrize("lag_steps", [-1, 0, 1])
def test_words_between_pauses_begin_and_end_where_their_signal_does(background, lag_steps):
    emissions, times = recording(WORDS, [0.3, 0.2, 0.5, 0.12, 0.3, 0.9, 0.4], background, lag_steps=lag_steps)
    words = greedy(emissions, VOCABULARY).words
    assert [word.text for word in words] == WORDS
    found = np.array([(word.start, word.end) for word in words])
    errors = np.abs(found - np.array(times))
    assert np.median(errors) < 0.015
    assert errors.max() < 0.05


def test_a_pause_in_which_the_noise_grows_is_no_part_of_a_word():
    levels = [(40, -50.0), (40, -25.0), (30, -70.0), (230, -50.0), (40, -25.0), (20, -50.0)]  # 10 ms each, in dB
    energy = np.concatenate([np.full(frames, level, np.float32) for frames, level in levels])
    path = "-" * 11 + "h-----i " + "-" * 67 + "h-----i " + "-" * 6
    emissions = Emissions(emissions_of(path).log_probs, STEP, energy=energy)
    (_, first_end), (second_start, _) = ((word.start, word.end) for word in greedy(emissions, VOCABULARY).words)
    assert first_end == pytest.approx(0.8, abs=0.04)
    assert 2.9 < second_start < 3.44


def test_without_the_signal_times_come_from_the_peaks():
    emissions, times = recording(WORDS, [0.3, 0.2, 0.5, 0.12, 0.3, 0.9, 0.4], ROOM)
    words = greedy(Emissions(emissions.log_probs, STEP), VOCABULARY).words
    errors = np.abs(np.array([(word.start, word.end) for word in words]) - np.array(times))
    assert errors.max() < 0.1


def test_words_that_run_into_each_other_share_an_edge():
    emissions, times = recording(["ab", "cd"], [0.2, 0.0, 0.2], ROOM)
    first, second = greedy(emissions, VOCABULARY).words
    assert first.end == second.start
    assert first.end == pytest.approx(times[0][1], abs=0.1)


@pytest.mark.parametrize("with_energy", [True, False])
def test_times_rise_and_stay_inside_the_recording(with_energy):
    generator = np.random.default_rng(0)
    for trial in range(50):
        steps = int(generator.integers(1, 60))
        log_probs = emissions_of("".join(generator.choice(list("-ab  "), steps))).log_probs
        energy = generator.normal(-40, 15, 4 * steps).astype(np.float32) if with_energy else None
        emissions = Emissions(log_probs, STEP, start=float(trial), energy=energy)
        for words in (greedy(emissions, VOCABULARY).words, beam_search(emissions, VOCABULARY)[0].words):
            edges = [edge for word in words for edge in (word.start, word.end)]
            assert edges == sorted(edges)
            assert all(trial <= edge <= trial + steps * STEP + 1e-9 for edge in edges)


def test_times_do_not_depend_on_the_gain():
    emissions, _ = recording(WORDS[:3], [0.3, 0.2, 0.5, 0.2], ROOM)
    quiet = Emissions(emissions.log_probs, STEP, energy=emissions.energy - 30)
    for loud, soft in zip(greedy(emissions, VOCABULARY).words, greedy(quiet, VOCABULARY).words, strict=True):
        assert (loud.start, loud.end) == pytest.approx((soft.start, soft.end))


def test_long_recordings_have_the_word_times_of_their_parts():
    parts = [recording(WORDS, [0.3, 0.2, 0.5, 0.12, 0.3, 0.9, 0.4], ROOM, seed) for seed in range(5)]
    joined = Emissions(
        np.concatenate([part.log_probs for part, _ in parts]),
        STEP,
        energy=np.concatenate([part.energy for part, _ in parts]),
    )
    whole = iter(align_text(joined, " ".join(WORDS * 5), VOCABULARY).words)
    offset = 0.0
    for part, _ in parts:
        for word in align_text(part, " ".join(WORDS), VOCABULARY).words:
            same = next(whole)
            assert abs(same.start - offset - word.start) <= STEP
            assert abs(same.end - offset - word.end) <= STEP
        offset += part.seconds


def test_signal_energy_is_in_decibels_of_full_scale():
    samples = 0.3 + np.sin(np.arange(RATE) * np.pi / 2).astype(np.float32)  # 4 kHz at -3 dB, and an offset
    energy = signal_energy(samples, STEP_SAMPLES, 30)
    assert energy.shape == (120,) and energy.dtype == np.float32
    assert energy[50] == pytest.approx(-3.0, abs=0.1)
    assert (energy[100:] == energy[99]).all()  # the signal is shorter than the steps
    assert signal_energy(samples, STEP_SAMPLES, 10).shape == (40,)  # or longer
    assert signal_energy(samples[:0], STEP_SAMPLES, 2).shape == (8,)
    assert signal_energy(samples, STEP_SAMPLES, 0).shape == (0,)


def test_punctuation_and_case_stay_with_their_word():
    emissions = emissions_of("--h-e-y--  -y-o-u-r-s--")
    alignment = align_text(emissions, "\u201cHey!\u201d \u2014 Yours...", VOCABULARY)
    assert [word.text for word in alignment.words] == ["\u201cHey!\u201d \u2014", "Yours..."]
    assert [character.text for character in alignment.characters] == list("HeyYours")
    assert alignment.score > 0.9 and alignment.matches


def test_a_hyphen_parts_words_without_a_space():
    emissions = emissions_of("-t-w-o- -w-a-y-")
    assert align_text(emissions, "two-way", VOCABULARY).score > 0.9


@pytest.mark.parametrize("text", ["'well' you know", "\u2018well\u2019 you know", "well--you know", "well -- you know"])
def test_quotation_marks_and_dashes_have_no_pronunciation(text):
    emissions = emissions_of("-w-e-l-l- -y-o-u- -k-n-o-w-")
    plain, quoted = (align_text(emissions, one, VOCABULARY) for one in ("well you know", text))
    assert quoted.score == pytest.approx(plain.score)
    assert min(word.confidence for word in quoted.words) > 0.9


def test_accents_and_apostrophes_are_read_as_the_alphabet_has_them():
    emissions = emissions_of("-c-a-f-e- -i-t-'-s-")
    assert align_text(emissions, "Café it\u2019s", VOCABULARY).score > 0.9


def test_digits_and_symbols_get_a_wildcard_and_their_place():
    path = "-i-n- -n-i-n-e-t-e-e-n- -t-e-n- -i-t- -c-o-s-t- -f-i-v-e- -d-o-l-l-a-r-s-"
    emissions = emissions_of(path)
    alignment = align_text(emissions, "In 1910, it cost $5", VOCABULARY)
    assert [word.text for word in alignment.words] == ["In", "1910,", "it", "cost", "$5"]
    year, price = alignment.words[1], alignment.words[4]
    assert year.start == pytest.approx(path.index("n-i-n") * STEP, abs=STEP + 1e-6)
    assert year.end == pytest.approx(path.index("- -i-t") * STEP, abs=STEP + 1e-6)
    assert price.start == pytest.approx(path.index("f-i-v") * STEP, abs=STEP + 1e-6)
    assert [character.text for character in alignment.characters][2] == "1910"
    assert alignment.matches


@pytest.mark.parametrize("text", ["", "   ", "?!", "\u2014 ..."])
def test_a_text_without_a_letter_is_refused(text):
    with pytest.raises(AlignmentError, match="holds no letter"):
        align_text(emissions_of("-a-"), text, VOCABULARY)


def test_a_text_longer_than_the_recording_is_refused():
    with pytest.raises(AlignmentError, match="at least 12 output steps .* has 3"):
        align_text(emissions_of("-a-"), "hello there", VOCABULARY)


def test_a_text_with_a_silent_recording_has_words_without_duration():
    steps = np.log(np.full((60, len(VOCABULARY)), 1e-4 / len(VOCABULARY), np.float32))
    steps[:, 0] = np.log(1 - 1e-4)
    words = align_text(Emissions(steps, STEP), "hello there", VOCABULARY).words
    assert [word.text for word in words] == ["hello", "there"]
    assert all(word.start == word.end and word.confidence < 0.1 for word in words)


def noisy(text, generator):
    """Emissions of a text by a network that gets about every fifth letter wrong."""
    path = []
    for letter in text:
        wrong = letter != " " and generator.random() < 0.2
        path += [generator.choice(list("abcdefghijklmnopqrstuvwxyz")) if wrong else letter]
        path += ["-"] * int(generator.integers(1, 3))
    return emissions_of("".join(path), confident=0.9)


def test_the_score_tells_texts_that_do_not_belong_apart():
    generator = np.random.default_rng(0)
    texts = [
        "the cat sat on the mat and looked at the dog",
        "nobody had ever seen such a thing before",
        "what time is it in the city of new york",
        "she sells sea shells by the shore",
    ]
    recordings = [noisy(text, generator) for text in texts]
    for i, emissions in enumerate(recordings):
        for j, text in enumerate(texts):
            alignment = align_text(emissions, text, VOCABULARY)
            assert alignment.matches == (i == j), (i, j, alignment.score)
    assert align_text(recordings[0], "looked at the dog", VOCABULARY).matches  # an excerpt
    assert not align_text(recordings[0], "the theory of numbers", VOCABULARY).matches


def test_words_that_the_emissions_contradict_have_low_confidence():
    emissions = emissions_of("-t-h-e- -c-a-b-", confident=0.9)
    right, wrong = align_text(emissions, "the cat", VOCABULARY).words
    assert right.confidence == pytest.approx(0.9, abs=0.01)
    assert wrong.confidence < 0.3


def test_calibration_bends_the_confidence_and_keeps_its_order():
    assert Calibration()(WordSpan("a", 0, 1, 0.3)) == pytest.approx(0.3)
    bent = Calibration(scale=0.5, offset=-1.0)
    values = [bent(WordSpan("a", 0, 1, confidence)) for confidence in np.linspace(0, 1, 11)]
    assert values == sorted(values)
    assert 0 < values[0] and values[-1] < 1
    assert bent(WordSpan("a", 0, 1, 0.5)) == pytest.approx(1 / (1 + np.e))


def test_the_posterior_raises_the_confidence_of_a_word_and_entropy_lowers_it():
    word = WordSpan("a", 0, 1, confidence=0.5, entropy=1.5, posterior=0.9)
    odds = 0.9 / 0.1
    assert Calibration(agreement=1.0)(word) == pytest.approx(0.9)
    assert Calibration(agreement=0.5, doubt=-1.0)(word) == pytest.approx(1 / (1 + np.exp(1.5) / odds**0.5))
    unknown = WordSpan("a", 0, 1, confidence=0.5)
    assert Calibration(agreement=1.0)(unknown) == pytest.approx(0.5)


def test_step_entropy_counts_steps_in_which_the_network_emits_letters():
    steps = round(10 / STEP)
    probabilities = np.full((steps, len(VOCABULARY)), 1e-9)
    probabilities[:, 0] = 1.0  # sure of blanks ...
    first, second = round(2 / STEP), round(8 / STEP)
    probabilities[first, [0, 1, 2]] = [0.5, 0.25, 0.25]  # ... undecided once between two letters
    probabilities[second, [0, 3]] = [1e-9, 1.0]  # and once sure of one
    emissions = Emissions(np.log(probabilities).astype(np.float32), STEP)
    places = [(first, first + 1), (second - 3, second - 2), (round(5 / STEP),) * 2]
    near, sure, nothing = step_entropy(emissions, places)
    assert near == pytest.approx(1.5 * np.log(2), abs=1e-4)
    assert sure == pytest.approx(0, abs=1e-4)
    assert nothing < 0.1
    # it lies too far off
    assert step_entropy(emissions, [(first - round(1 / STEP), first - round(0.6 / STEP))])[0] < 0.1
    assert len(step_entropy(emissions, [])) == 0


def spoken(text, blanks=2):
    """Emissions of a text: every letter one step, with blanks around it."""
    return emissions_of("-" * blanks + "".join(f"{letter}{'-' * blanks}" for letter in text))


SENTENCE = "the cat sat on the mat and looked at the dog beside the door".split()


@pytest.mark.parametrize("left_out", [range(3, 8), range(0, 5), range(8, 14), [2, 3, 7, 8, 9]])
def test_words_beside_speech_that_the_text_lacks_keep_their_place(left_out):
    emissions = spoken(" ".join(SENTENCE))
    whole = align_text(emissions, " ".join(SENTENCE), VOCABULARY).words
    kept = [word for place, word in enumerate(whole) if place not in left_out]
    part = align_text(emissions, " ".join(word.text for word in kept), VOCABULARY)
    assert [word.text for word in part.words] == [word.text for word in kept]
    for found, expected in zip(part.words, kept, strict=True):
        assert (found.start, found.end) == pytest.approx((expected.start, expected.end), abs=2 * STEP)
        assert found.confidence == pytest.approx(expected.confidence, abs=0.01)
    assert part.matches


@pytest.mark.parametrize("before, after", [(0, 150), (150, 0), (120, 120)])
def test_much_of_a_text_may_be_missing_in_the_recording(before, after):
    emissions = spoken(" ".join(SENTENCE * 8), blanks=3)
    text = " ".join(["word"] * before + SENTENCE * 8 + ["word"] * after)
    words = align_text(emissions, text, VOCABULARY).words
    whole = align_text(emissions, " ".join(SENTENCE * 8), VOCABULARY).words
    assert [word.text for word in words] == text.split()
    for found, expected in zip(words[before : len(words) - after], whole, strict=True):
        assert (found.start, found.end) == pytest.approx((expected.start, expected.end), abs=STEP)


def test_a_word_beside_a_hole_is_not_stretched_to_a_pause_inside_it():
    emissions, times = recording(WORDS, [0.3, 0.05, 0.05, 0.6, 0.05, 0.05, 0.4], ROOM)
    first, last = align_text(emissions, f"{WORDS[0]} {WORDS[5]}", VOCABULARY).words
    assert first.end == pytest.approx(times[0][1], abs=0.15)
    assert last.start == pytest.approx(times[5][0], abs=0.15)


def test_a_word_that_was_not_spoken_takes_no_time_from_its_neighbours():
    emissions = spoken("jumps over the lazy dog")
    plain = align_text(emissions, "jumps over the lazy dog", VOCABULARY).words
    words = align_text(emissions, "jumps over the extremely lazy dog", VOCABULARY).words
    assert words[3].text == "extremely" and words[3].confidence < 0.01
    for found, expected in zip([*words[:3], *words[4:]], plain, strict=True):
        assert (found.start, found.end) == pytest.approx((expected.start, expected.end), abs=STEP)
        assert found.confidence > 0.9
    assert [word.text for word in align_text(emissions, "quite jumps over it", VOCABULARY).words][0] == "quite"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("the 15. century", "the fifteen century"),
        ("in 1234 it was", "in twelve thirty four it was"),
        ("about $5 million went", "about five million dollars went"),
        ("at 3 pm today", "at three p m today"),
        ("costs 5€ or 50%", "costs five euros or fifty percent"),
        ("Dr. Smith & the 2nd", "doctor smith and the second"),
        ("at 10:30 on Jan. 5th", "at ten thirty on january fifth"),
    ],
)
def test_figures_are_spelled_and_keep_their_written_form(written, read):
    emissions = spoken(read)
    words = align_text(emissions, written, VOCABULARY).words
    assert [word.text for word in words] == written.split()
    assert all(word.confidence > 0.9 and word.end - word.start > 2 * STEP for word in words)
    assert words[-1].end > emissions.seconds - 4 * STEP
    wrong = align_text(spoken("nobody had ever seen such a thing before"), written, VOCABULARY)
    assert not wrong.matches and wrong.notes == (NOT_THIS_TEXT,)


def test_what_cannot_be_spelled_has_no_confidence():
    words = align_text(spoken("hello my friend"), "hello \u65e5\u672c friend", VOCABULARY).words
    assert [word.confidence > 0.9 for word in words] == [True, False, True]
    assert words[1].confidence == UNCHECKED and words[1].end > words[1].start
    assert all(word.confidence != UNCHECKED for word in align_text(spoken("abc"), "zzz", VOCABULARY).words)
    absent = align_text(spoken("hello friend"), "hello \u65e5\u672c friend", VOCABULARY).words
    assert [word.confidence == UNCHECKED for word in absent] == [False, True, False]
    foreign = align_text(spoken("hello my friend"), "\u4f60\u597d \u4e16\u754c", VOCABULARY)
    assert foreign.notes == (NOT_CHECKED,)


def test_figures_stay_wildcards_in_an_alphabet_that_is_not_english():
    german = Vocabulary("abcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00fc\u00df ")
    assert [word.tokens for word in spell("15 T\u00fcren", german)][0] == (WILDCARD,)
