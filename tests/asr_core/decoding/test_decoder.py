"""Greedy decoding and the beam search, by hand, against all paths over a few steps, and against the plain search."""

import itertools
import math
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_core.ctc import collapse
from asr_core.decoding import beam_search as decoder
from asr_core.decoding import segments as segmentation
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.language_model import ROOT, SENTENCE_END, UNKNOWN
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.plain_beam_search import plain_beam_search
from asr_core.decoding.prefix_beam import PrefixBeam
from asr_core.decoding.segments import pauses, segments
from asr_core.emissions import Emissions
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import Vocabulary
from tests.asr_core.decoding.small import EXACT, emissions_along, random_emissions, small_arpa

VOCABULARY = Vocabulary()
SPACE_OF_ALL = VOCABULARY.encode(" ")[0]


def emissions_of(path, confident=0.97, vocabulary=VOCABULARY):
    """Emissions whose best path is given, written with - for blank."""
    tokens = [0 if character == "-" else vocabulary.encode(character)[0] for character in path]
    return emissions_along(tokens, len(vocabulary), confident, step_seconds=0.04)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hh-e-ll-l-oo", "hello"),
        ("-a--- --b-", "a b"),
        (" -- a- -- ", "a"),
        ("-", ""),
        ("-----", ""),
        ("   ", ""),
        ("a", "a"),
        ("", ""),
    ],
)
def test_greedy_decoding_collapses_the_best_path(path, text):
    assert greedy(emissions_of(path), VOCABULARY).text == text


def test_greedy_words_have_place_and_confidence():
    hypothesis = greedy(emissions_of("--a-b-  -c--", confident=0.9), VOCABULARY)
    first, second = hypothesis.words
    assert (first.text, second.text) == ("ab", "c")
    assert first.start == pytest.approx(2 * 0.04 - 0.04)
    assert first.end == pytest.approx(5 * 0.04 + 0.04)
    assert second.start == pytest.approx(9 * 0.04 - 0.04)
    assert first.confidence == pytest.approx(0.9, abs=1e-4)
    assert [span.start for span in hypothesis.spans] == [2, 4, 6, 9]
    assert hypothesis.score == pytest.approx(12 * np.log(0.9), abs=1e-3)


SMALL = Vocabulary("ab ")
ARPA = small_arpa("ab", "aab")


SPACE = 3


def without_idle_spaces(text):
    """A text with no space before its first letter or after another: the words are the same."""
    pairs = itertools.pairwise((SPACE, *text))
    return tuple(token for before, token in pairs if (before, token) != (SPACE, SPACE))


def scores_by_definition(emissions, options, model=None, phrases=()):
    """Token sequence -> (acoustic, language model, hotwords), from all paths, without any search."""
    acoustic = {}
    for path in itertools.product(range(emissions.log_probs.shape[1]), repeat=len(emissions)):
        log_prob = sum(float(row[token]) for row, token in zip(emissions.log_probs, path, strict=True))
        log_prob -= options.blank_penalty * path.count(0)
        text = without_idle_spaces(collapse(path))
        acoustic[text] = np.logaddexp(acoustic.get(text, -np.inf), log_prob)
    return {
        text: (score, language_model_score(text, options, model, phrases), hot_word_score(text, options, phrases))
        for text, score in acoustic.items()
    }


def language_model_score(text, options, model, phrases=()):
    if model is None:
        return 0.0
    words = SMALL.decode(text).split()
    total, state = score_of_words(words, options, model, phrases)
    return total + options.language_model_weight * model.score(state, SENTENCE_END)[0]


def score_of_words(words, options, model, phrases=()):
    total, state = 0.0, model.begin
    for place, word in enumerate(words):
        number = model.word_number(word)
        log_prob, state = model.score(state, number)
        if number == UNKNOWN:
            log_prob = unknown_score(word, words[:place], options, phrases, str.__eq__)
        total += options.language_model_weight * log_prob + options.word_bonus
    return total, state


def unknown_score(word, before, options, phrases, fits):
    """A word that the model does not have pays by its length, unless a phrase has it, or one that `fits`, there."""
    for phrase in map(str.split, phrases):
        for length, of_phrase in enumerate(phrase):
            if fits(of_phrase, word) and before[len(before) - length :] == phrase[:length]:
                return options.unknown_word_score
    return options.unknown_word_score + options.unknown_letter_score * len(word)


def hot_word_score(text, options, phrases):
    words = SMALL.decode(text).split()
    return options.hot_word_boost * sum(
        len(phrase.replace(" ", ""))
        for phrase in phrases
        for start in range(len(words))
        if words[start : start + len(phrase.split())] == phrase.split()
    )


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 6])
@pytest.mark.parametrize("with_model", [False, True])
@pytest.mark.parametrize("phrases", [(), ("ab",), ("a", "a b", "ba a", "b")])
def test_a_wide_beam_equals_all_paths(steps, with_model, phrases, model):
    options = DecoderOptions(
        unknown_word_score=-6.0, unknown_letter_score=-1.3, word_bonus=0.7, blank_penalty=0.4, hot_word_boost=0.9,
        **EXACT,
    )  # fmt: skip
    model = model if with_model else None
    emissions = random_emissions(steps, seed=steps)
    expected = scores_by_definition(emissions, options, model, phrases)
    beam = PrefixBeam(SMALL, options, model, HotWords.build(phrases, SMALL))
    beam.advance(emissions.log_probs)
    found = {
        text.tokens: (text.acoustic_score, text.language_model_score, text.hot_word_score) for text in beam.hypotheses()
    }
    assert found.keys() == expected.keys()
    for tokens, parts in expected.items():
        assert found[tokens] == pytest.approx(parts, abs=1e-4), SMALL.decode(tokens)


def test_hypotheses_differ_in_their_words_and_come_best_first(model):
    emissions = random_emissions(6, seed=3)
    hypotheses = beam_search(emissions, SMALL, DecoderOptions(**EXACT), model)
    texts = [hypothesis.text for hypothesis in hypotheses]
    assert len(set(texts)) == len(texts)
    scores = [hypothesis.score for hypothesis in hypotheses]
    assert scores == sorted(scores, reverse=True)
    for hypothesis in hypotheses:
        parts = (hypothesis.acoustic_score, hypothesis.language_model_score, hypothesis.hot_word_score)
        assert hypothesis.score == pytest.approx(sum(parts))
    assert len(beam_search(emissions, SMALL, DecoderOptions(n_best=2), model)) == 2


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(1, 40),
    width=st.integers(1, 4),
    sharpness=st.floats(0.1, 6),
    threshold=st.sampled_from([0.0, 1e-3, 0.2, 0.9]),
)
def test_a_narrow_beam_is_never_worse_than_the_greedy_path(seed, steps, width, sharpness, threshold, model):
    emissions = random_emissions(steps, seed=seed, sharpness=sharpness)
    options = DecoderOptions(beam_width=width, token_threshold=threshold)
    path = greedy(emissions, SMALL)
    for language_model in (None, model):
        beam = PrefixBeam(SMALL, options, language_model)
        beam.advance(emissions.log_probs)
        at_least = path.score + language_model_score(path.tokens, options, language_model)
        assert next(beam.hypotheses()).score >= at_least - 1e-4


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_advancing_in_chunks_is_advancing_at_once(seed, cuts, model):
    emissions = random_emissions(60, seed=seed, sharpness=3)
    hot_words = HotWords.build(["ab b"], SMALL)
    whole = PrefixBeam(SMALL, DecoderOptions(), model, hot_words)
    whole.advance(emissions.log_probs)
    pieces = PrefixBeam(SMALL, DecoderOptions(), model, hot_words)
    for piece in np.split(emissions.log_probs, sorted(cuts)):
        pieces.advance(piece)
    assert list(pieces.hypotheses()) == list(whole.hypotheses())


def fusion_score_of(tokens, options, model, phrases):
    """What language model and hotwords add to the rank of a prefix, by definition: a function of its text alone."""
    *finished, unfinished = SMALL.decode(tokens).split(" ")
    finished = [word for word in finished if word]
    score, _ = score_of_words(finished, options, model, phrases)
    if unfinished:
        could_be = [word for word in model.words[3:] if word.startswith(unfinished)]
        log_probs = [model.score(ROOT, model.word_number(word))[0] for word in could_be]
        unknown = unknown_score(unfinished, finished, options, phrases, str.startswith)
        score += options.language_model_weight * max(unknown, *log_probs, -99)
        score += options.word_bonus
    read = " " + " ".join([*finished, unfinished])
    score += hot_word_score(SMALL.encode(" ".join(finished)), options, phrases)
    ends = [read[start:] for start in range(len(read))]
    started = [end for end in ends for phrase in phrases if f" {phrase} ".startswith(end) and end != f" {phrase} "]
    return score + options.hot_word_boost * max((len(end.replace(" ", "")) for end in started), default=0)


@pytest.mark.parametrize("width", [1, 2, 3, 8])
@pytest.mark.parametrize("phrases", [(), ("ab b", "a"), ("bba ba", "baab")])
def test_the_compiled_search_keeps_what_the_plain_one_keeps(width, phrases, model):
    for seed in range(8):
        options = DecoderOptions(
            beam_width=width, score_threshold=4.0 + seed, token_threshold=0.02, blank_penalty=0.3 * (seed % 2),
            unknown_word_score=-3.0 * (seed % 3), unknown_letter_score=-0.5 * (seed % 4),
        )  # fmt: skip
        emissions = random_emissions(25, seed=100 * width + seed, sharpness=2.0)
        fusion_score = cache(lambda prefix, options=options: fusion_score_of(prefix, options, model, phrases))
        expected = plain_beam_search(emissions.log_probs, options, fusion_score, SPACE)
        search = PrefixBeam(SMALL, options, model, HotWords.build(phrases, SMALL))
        search.advance(emissions.log_probs)
        found = {text.tokens: text.acoustic_score for text in search.hypotheses()}
        assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("path", ["", "-", "----", "a", "   ", "aa-a", "hh-e-ll-l-oo  w"])
def test_beam_search_agrees_with_greedy_decoding_on_clear_emissions(path):
    emissions = emissions_of(path)
    best = beam_search(emissions, VOCABULARY)[0]
    assert best.text == greedy(emissions, VOCABULARY).text
    assert [word.text for word in best.words] == best.text.split()


def test_a_long_recording_is_searched_from_pause_to_pause(model):
    """The best combinations of the hypotheses of each segment; every pause ends a sentence."""
    log_probs = emissions_of("aaaa-bbbb--bbbb-aaaa-aaaabbbb--", 0.6, SMALL).log_probs
    emissions = Emissions(log_probs, step_seconds=0.5)  # a blank alone is too short for a pause
    assert [(p.start, p.end) for p in pauses(emissions, SMALL.encode(" ")[0])] == [(9, 11), (29, 31)]
    options = DecoderOptions(n_best=3, beam_width=64)
    alone = [beam_search(Emissions(part, 0.04), SMALL, options, model) for part in np.split(log_probs, [10])]
    combined = sorted(itertools.product(*alone), key=lambda pair: -sum(part.score for part in pair))[:3]
    found = beam_search(emissions, SMALL, options, model)
    assert [text.text for text in found] == [" ".join(part.text for part in pair if part.text) for pair in combined]
    for text, pair in zip(found, combined, strict=True):
        assert text.language_model_score == pytest.approx(sum(part.language_model_score for part in pair))
        assert text.acoustic_score == pytest.approx(sum(part.acoustic_score for part in pair))
    words = found[0].words
    assert [word.text for word in words] == found[0].text.split()
    assert [word.start for word in words] == sorted(word.start for word in words)


def test_texts_of_a_long_recording_differ_wherever_their_words_are(model):
    """A faint "a" before a pause, or after it, makes the same text."""
    log_probs = emissions_of("bb-a--------a-bb", 0.6, SMALL).log_probs
    found = beam_search(Emissions(log_probs, step_seconds=1.0), SMALL, DecoderOptions(n_best=12, beam_width=64), model)
    texts = [text.text for text in found]
    assert len(set(texts)) == len(texts) > 4
    assert not any("  " in SMALL.decode(text.tokens) for text in found)


def test_a_short_recording_is_one_sentence_whatever_its_pauses(model):
    emissions = Emissions(emissions_of("aa-bb----bb-aa", 0.9, SMALL).log_probs, step_seconds=0.2)
    assert len(pauses(emissions, SMALL.encode(" ")[0])) == 1
    options = DecoderOptions(beam_width=64)
    beam = PrefixBeam(SMALL, options, model)
    beam.advance(emissions.log_probs)
    assert beam_search(emissions, SMALL, options, model)[0].tokens == next(beam.hypotheses()).tokens


def test_a_text_is_aligned_segment_by_segment_at_the_times_of_the_whole(monkeypatch):
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcde"), generator.integers(1, 8))) for _ in range(70)]
    emissions = emissions_of(" ".join("-".join(word) + "-" * generator.integers(1, 6) for word in words), 0.9)
    monkeypatch.setattr(segmentation, "MIN_SEGMENT_SECONDS", 1.4)
    monkeypatch.setattr(segmentation, "MAX_SEGMENT_SECONDS", 4.0)
    found = beam_search(emissions, VOCABULARY)[0]
    assert found.text == " ".join(words)
    whole = forced_align(emissions.log_probs, found.tokens)
    assert [span.token for span in found.spans] == list(found.tokens)
    assert np.abs([a.start - b.start for a, b in zip(found.spans, whole, strict=True)]).max() <= 1


SENTENCE = "-".join("the cat sat on a mat and looked at the dog that sat there too ")


def test_a_recording_without_a_pause_is_searched_and_aligned_in_short_segments(monkeypatch):
    """Every part of the work has a bound, so that all of it grows with the length of the recording."""
    emissions = emissions_of(40 * SENTENCE, 0.8)
    assert emissions.seconds > 180 and not pauses(emissions, SPACE_OF_ALL)
    aligned, rescored = [], []
    monkeypatch.setattr(decoder, "forced_align", lambda *given: aligned.append(len(given[0])) or forced_align(*given))
    rescore = decoder.rescore
    monkeypatch.setattr(
        decoder, "rescore", lambda found, part, *rest: rescored.append(len(part)) or rescore(found, part, *rest)
    )
    found = beam_search(emissions, VOCABULARY, DecoderOptions(beam_width=4))[0]
    assert found.text == greedy(emissions, VOCABULARY).text
    assert [word.text for word in found.words] == found.text.split()
    longest = segmentation.MAX_SEGMENT_SECONDS / emissions.step_seconds
    assert max(aligned) <= max(rescored) <= longest and min(rescored) >= longest / 3 - 1
    assert sum(rescored) + len(rescored) - 1 == len(emissions)


def test_twice_the_length_without_a_pause_takes_twice_the_time():
    short, long = (emissions_of(count * SENTENCE, 0.8) for count in (12, 48))
    seconds = {}
    for _ in range(3):  # by turns: a machine that is slow for a while is so for both
        for emissions in (short, long):
            start = time.thread_time()
            assert beam_search(emissions, VOCABULARY, DecoderOptions(beam_width=4))[0].words
            seconds.setdefault(len(emissions), []).append(time.thread_time() - start)
    least, most = (min(times) for times in seconds.values())
    assert most < 6 * least  # 4, and 16 if it grew with the square


@pytest.mark.parametrize("path", ["ab", "a b ", "-", " ", "aaab"])
def test_every_recording_without_a_pause_can_be_cut(path):
    """Letters in every step, which leave no gap to cut in, and silence, which is one."""
    emissions = emissions_of((path * 2000)[:2000], 0.9)
    for vocabulary in (VOCABULARY, Vocabulary(VOCABULARY.characters.replace(" ", "_"))):
        parts = list(segments(emissions, vocabulary.space))
        assert parts[0].start == 0 and parts[-1].end == len(emissions) and len(parts) > 2
        assert all(after.start - before.end in (0, 1) for before, after in itertools.pairwise(parts))
        found = beam_search(emissions, vocabulary, DecoderOptions(beam_width=4))[0]
        assert len(found.words) == len(vocabulary.words(found.tokens))
        times = [time for word in found.words for time in (word.start, word.end)]
        assert times == sorted(times)


def test_a_sentence_goes_on_behind_a_cut(monkeypatch, model):
    """The language model scores the words of all segments as one sentence."""
    emissions = emissions_of(12 * "-a- -b- -a-b- -a-a-b- ", 0.99, SMALL)
    options = DecoderOptions(beam_width=32)
    whole = beam_search(emissions, SMALL, options, model)[0]
    monkeypatch.setattr(segmentation, "MIN_SEGMENT_SECONDS", 0.7)
    monkeypatch.setattr(segmentation, "MAX_SEGMENT_SECONDS", 2.0)
    parts = list(segments(emissions, SPACE))
    assert len(parts) > 4 and [part.goes_on for part in parts] == [True] * (len(parts) - 1) + [False]
    cut = beam_search(emissions, SMALL, options, model)[0]
    assert cut.text == whole.text == " ".join(12 * ["a b ab aab"])
    assert cut.language_model_score == pytest.approx(language_model_score(cut.tokens, options, model))


def test_a_long_silence_is_cut_and_ends_the_sentence():
    emissions = emissions_of("-a-b- " + 3000 * "-" + "-b-a-", 0.99)
    assert all(not part.goes_on for part in segments(emissions, SPACE_OF_ALL))
    assert beam_search(emissions, VOCABULARY)[0].text == "ab ba"


def test_the_search_and_the_alignment_can_be_cancelled_within_a_segment():
    emissions = emissions_of(10 * SENTENCE, 0.9)
    (first, *_) = segments(emissions, SPACE_OF_ALL)
    fractions = []

    def stop_at_the_second(done):
        fractions.append(done)
        if len(fractions) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        beam_search(emissions, VOCABULARY, DecoderOptions(beam_width=4), progress=stop_at_the_second)
    assert fractions[-1] < first.end / len(emissions)
    found = beam_search(emissions, VOCABULARY, DecoderOptions(beam_width=4), progress=fractions.append)[0]
    steps = np.diff(fractions[2:]) * len(emissions)
    assert (steps >= 0).all() and steps.max() <= decoder.CHECK_STEPS + 1
    checks = iter([None, None])
    with pytest.raises(StopIteration):
        found.locate(lambda: next(checks))
    assert len(found.words) == len(found.text.split())


def test_a_hypothesis_is_aligned_at_the_first_access(monkeypatch):
    aligned = []
    monkeypatch.setattr(decoder, "forced_align", lambda *given: aligned.append(given) or forced_align(*given))
    best, *others = beam_search(emissions_of("-a-b- -c-", 0.7), VOCABULARY, DecoderOptions(n_best=5))
    assert (best.text, len(others), aligned) == ("ab c", 4, [])
    assert best.words is best.words and len(best.words) == 2 and len(aligned) == 1


def test_a_blank_penalty_prefers_a_letter_that_is_nearly_as_probable():
    log_probs = np.log(np.array([[0.02, 0.97, 0.005, 0.005], [0.58, 0.005, 0.41, 0.005]], np.float32))
    emissions = Emissions(log_probs, 0.04)
    assert beam_search(emissions, SMALL)[0].text == "a"
    best = beam_search(emissions, SMALL, DecoderOptions(blank_penalty=0.5))[0]
    assert best.text == "ab" and best.acoustic_score == pytest.approx(np.log(0.97 * 0.41), abs=0.02)


def test_many_weak_paths_win_over_one_strong_path():
    """Greedy decoding gives no letter (0.6 * 0.6 = 0.36); but "a" has 0.4 * 0.4 + 2 * 0.4 * 0.6 = 0.64."""
    emissions = Emissions(np.log(np.array([[0.6, 0.4], [0.6, 0.4]], np.float32)), 0.04)
    vocabulary = Vocabulary("a")
    assert greedy(emissions, vocabulary).text == ""
    best = beam_search(emissions, vocabulary)[0]
    assert best.text == "a"
    assert best.score == pytest.approx(math.log(0.64), abs=1e-5)


def test_the_language_model_flips_a_tie(model):
    """ "a b" and "b a" have the same acoustic score; the model knows p(b | a) = 10 ** -0.5 and nothing of a after b."""
    probabilities = np.full((3, 4), 1e-6, np.float32)
    probabilities[0, 1:3] = probabilities[2, 1:3] = 0.5
    probabilities[1, 3] = 1
    emissions = Emissions(np.log(probabilities), 0.04)
    options = DecoderOptions(language_model_weight=1.0, word_bonus=0.0, unknown_word_score=-20.0, n_best=9)
    scores = {hypothesis.text: hypothesis for hypothesis in beam_search(emissions, SMALL, options, model)}
    assert scores["a b"].acoustic_score == pytest.approx(scores["b a"].acoustic_score, abs=1e-5)
    best = next(iter(scores.values()))
    assert best.text == "a b"
    # backed off from <s> to a, then a b, then b </s>
    by_hand = math.log(10) * ((-0.2 - 0.6) - 0.5 - 0.2)
    assert best.language_model_score == pytest.approx(by_hand, abs=1e-5)


def test_a_word_survives_an_unlikely_beginning(model):
    """In a beam of two, "aab" begins as two letters that no other word has; its end is what it can become."""
    emissions = emissions_of("aa-a-b", confident=0.9, vocabulary=SMALL)
    options = DecoderOptions(beam_width=2, unknown_word_score=-40.0)
    assert beam_search(emissions, SMALL, options, model)[0].text == "aab"


def test_a_word_that_the_model_does_not_know_can_win(model):
    emissions = emissions_of("b-bb-a-b", confident=0.999, vocabulary=SMALL)
    best = beam_search(emissions, SMALL, DecoderOptions(), model)[0]
    assert best.text == "bbab"
    assert best.language_model_score < 0.5 * -16 + 1.0  # the word and its bonus, then the end


def test_the_length_of_a_hot_word_does_not_speak_against_it(model):
    emissions = emissions_of("a-bb-b-a-a-b-a-b- -a", confident=0.8, vocabulary=SMALL)
    options = DecoderOptions(language_model_weight=1.0, unknown_letter_score=-4.0, beam_width=64)
    assert "abbaabab" not in beam_search(emissions, SMALL, options, model)[0].text
    assert beam_search(emissions, SMALL, options, model, ["abbaabab"])[0].text == "abbaabab a"
    phrase = beam_search(emissions, SMALL, options, model, ["abbaabab a"])[0]
    assert phrase.text == "abbaabab a" and phrase.hot_word_score == pytest.approx(1.5 * 9)


def confusable(truth, error, confident=0.75):
    """Emissions in which `error` is more probable than `truth`; both are paths of the same length."""
    wrong, right = emissions_of(error, 0.995), emissions_of(truth, 0.995)
    mixed = confident * np.exp(wrong.log_probs) + (1 - confident) * np.exp(right.log_probs)
    return Emissions(np.log(mixed), 0.04)


def test_an_unknown_word_does_not_swallow_the_words_behind_it(model):
    """Where only the first word of a sentence is paid for, one long unknown word is cheaper than many known ones."""
    path = "-k-i-n-" + 7 * " -a-b- -a-a-b-"
    emissions = confusable(path.replace(" ", "-"), path, confident=0.3)
    options = DecoderOptions(
        language_model_weight=1.0, word_bonus=-1.0, unknown_word_score=-6.0, unknown_letter_score=-3.0
    )
    glued = beam_search(emissions, VOCABULARY, replace(options, unknown_letter_score=0.0), model)[0]
    assert max(map(len, glued.text.split())) > 20
    assert beam_search(emissions, VOCABULARY, options, model)[0].text == "kin" + 7 * " ab aab"


def test_a_hot_word_is_found_where_it_was_missed_and_only_there():
    emissions = confusable("-m-a-y-a-h- -l-e-f-t-", "-m-y-a---r- -l-e-f-t-")
    assert beam_search(emissions, VOCABULARY)[0].text == "myar left"
    options = DecoderOptions(hot_word_boost=2.0)
    best = beam_search(emissions, VOCABULARY, options, hot_words=["Mayah"])[0]
    assert best.text == "mayah left"
    assert best.hot_word_score == pytest.approx(2.0 * 5)
    for other in ("-h-e--l-e-f-t-", "-m-a-y-", "-m-a-y-a-h-s-"):  # a beginning, and a longer word
        clear = emissions_of(other, confident=0.9999)
        assert beam_search(clear, VOCABULARY, options, hot_words=["Mayah"]) == beam_search(clear, VOCABULARY, options)


@pytest.mark.parametrize("gap", ["before the phrase", "inside the phrase"])
def test_a_hot_phrase_is_found_across_a_cut_between_segments(gap):
    """A long sentence without pauses is cut in its widest gap."""
    before, phrase = 3 * "we went up to the old mill and then we came to ", "quilliam brogstead"
    text = before + phrase + " in the end of the day when all was done and we had to go home again for the night"
    tokens = VOCABULARY.encode(text)
    log_probs = np.full((2 * len(tokens), len(VOCABULARY)), -14.0, np.float32)  # each character, then a blank
    log_probs[1::2, 0] = -0.01
    log_probs[2 * np.arange(len(tokens)), tokens] = -0.01
    for place, letter in ((1, "l"), (2, "a")):  # "blagstead" for "brogstead"
        step = 2 * (text.index("brog") + place)
        log_probs[step, tokens[step // 2]], log_probs[step, VOCABULARY.encode(letter)] = np.log(0.3), np.log(0.69)
    space = len(before) - 1 if gap == "before the phrase" else text.index(" brog")
    wide = np.insert(log_probs, [2 * space + 1] * 11, log_probs[1], axis=0)
    emissions = Emissions(wide, 0.04)
    assert len(list(segments(emissions, SPACE_OF_ALL))) > 1
    best = beam_search(emissions, VOCABULARY, DecoderOptions(beam_width=32), hot_words=[phrase])[0]
    assert best.text == text


def test_a_partial_match_is_refunded():
    options = DecoderOptions(hot_word_boost=1.0, n_best=5)
    emissions = emissions_of("-m-a-y- -b-e-", confident=0.9)
    for hypothesis in beam_search(emissions, VOCABULARY, options, hot_words=["mayah", "may beatrice"]):
        assert hypothesis.hot_word_score == 0


def test_words_that_all_hypotheses_have_in_common_have_a_high_posterior():
    emissions = confusable(f"-c-a-t-{40 * '-'} -l-e-f-t-", f"-c-u-t-{40 * '-'} -l-e-f-t-", confident=0.6)
    unsure, sure = beam_search(emissions, VOCABULARY, DecoderOptions(token_threshold=0.01))[0].words
    assert sure.posterior > 0.99
    assert 0.3 < unsure.posterior < 0.9
    assert sure.entropy < unsure.entropy
    assert all(word.posterior is None for word in greedy(emissions, VOCABULARY).words)


def test_the_posterior_is_the_share_of_the_hypotheses_that_have_a_word():
    log_probs = np.full((3, len(SMALL)), -30.0, np.float32)
    log_probs[0, [1, 2]] = np.log([0.7, 0.3])
    log_probs[1, 0] = 0.0
    log_probs[2, 2] = 0.0
    first, second = beam_search(Emissions(log_probs, 0.04), SMALL, DecoderOptions(n_best=2, token_threshold=0))[:2]
    assert (first.text, second.text) == ("ab", "bb")
    assert first.posterior == pytest.approx([0.7], abs=1e-3)
    assert second.posterior == pytest.approx([0.3], abs=1e-3)


def undecided(path, between):
    """Emissions that give every letter of a path about the same probability as so many others."""
    emissions = emissions_of(path, 0.995)
    letters = [character not in "- " for character in path]
    probabilities = np.exp(emissions.log_probs)
    probabilities[letters, 1 : between + 1] += 2 * np.exp(-np.arange(between) / 50)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Emissions(np.log(probabilities), 0.04)


def test_letters_that_the_network_cannot_decide_on_are_noise():
    unfiltered = DecoderOptions(doubt_threshold=0.0)
    filtered = DecoderOptions(doubt_threshold=0.9)
    bark = undecided(30 * "-" + "w-o-o-f" + 30 * "-", between=5)
    assert beam_search(bark, VOCABULARY, unfiltered)[0].text
    (silent,) = beam_search(bark, VOCABULARY, filtered)
    assert silent.text == "" and silent.words == () and np.isfinite(silent.score)
    assert greedy(bark, VOCABULARY).text  # which shows the output of the network as it is
    speech = emissions_of("-w-o-o-f-", 0.95)
    assert beam_search(speech, VOCABULARY, filtered) == beam_search(speech, VOCABULARY, unfiltered)


def test_the_more_words_a_second_the_more_entropy_counts_as_speech():
    quick = undecided(5 * "a-b- -", between=4)
    slow = undecided(("a-b- -" + 60 * "-") * 3, between=4)
    options = DecoderOptions(doubt_threshold=0.9, beam_width=64)
    assert beam_search(quick, VOCABULARY, options)[0].text
    assert not beam_search(slow, VOCABULARY, options)[0].text
    assert beam_search(slow, VOCABULARY, DecoderOptions(beam_width=64))[0].text


def test_noise_between_sentences_leaves_them_alone():
    pause = 20 * "-"
    speech, bark = emissions_of("-s-i-t-" + pause), undecided(pause + "w-o-o-f" + pause, between=5)
    long = speech.concat(bark).concat(speech)
    long = long.concat(emissions_of(300 * "-"))
    assert beam_search(long, VOCABULARY, DecoderOptions(doubt_threshold=0.9))[0].text == "sit sit"


def test_noise_long_before_a_word_does_not_take_the_word_with_it():
    noise, word = undecided("-w-o-o-f- -", between=6), emissions_of("-s-i-t-")
    options = DecoderOptions(doubt_threshold=0.9, beam_width=64)
    for pause, kept in (30, False), (100, True):
        both = noise.concat(emissions_of(pause * "-")).concat(word)
        assert beam_search(both, VOCABULARY, options)[0].text.endswith("sit") == kept


def test_hot_words_off_change_nothing():
    emissions = confusable("-m-a-y-a-h- -l-e-f-t-", "-m-y-a---r- -l-e-f-t-")
    plain = beam_search(emissions, VOCABULARY, DecoderOptions(n_best=8))
    for off in ([], ["", "?!", "  "], HotWords.build([], VOCABULARY)):
        assert beam_search(emissions, VOCABULARY, DecoderOptions(n_best=8), hot_words=off) == plain
    no_boost = DecoderOptions(n_best=8, hot_word_boost=0.0)
    assert beam_search(emissions, VOCABULARY, no_boost, hot_words=["mayah"]) == plain


def test_hot_words_are_normalised():
    assert HotWords.build(["Zoë  O\u2019Hara", "zoe o'hara", "3"], VOCABULARY).phrases == (
        "zoe o'hara",
        "three",
    )


def test_a_thousand_hot_words_cost_what_ten_do():
    generator = np.random.default_rng(0)
    phrases = ["".join(generator.choice(list("abcdefgh"), 8)) for _ in range(1000)]
    text = "".join(generator.choice(list("abcdefgh "), 120))
    emissions = emissions_of("-".join(text), confident=0.6)
    hot_words = {count: HotWords.build(phrases[:count], VOCABULARY) for count in (10, 1000)}
    seconds = {count: [] for count in hot_words}
    for _ in range(20):  # by turns: a machine that is slow for a while is so for both
        for count, phrases_of in hot_words.items():
            start = time.thread_time()
            beam_search(emissions, VOCABULARY, hot_words=phrases_of)
            seconds[count].append(time.thread_time() - start)
    assert min(seconds[1000]) < 1.5 * min(seconds[10])


def test_a_long_recording_leaves_no_tree_behind():
    """Prefixes that nothing continues are let go, or an hour of speech would fill the memory."""
    text = "the cat sat on the mat " * 60
    emissions = emissions_of("-".join(text), confident=0.5)
    beam = PrefixBeam(VOCABULARY, DecoderOptions(beam_width=8))
    beam.advance(emissions.log_probs)
    assert len(text) < len(beam.tree) < 6 * len(text)  # 18 new ones a letter would be kept otherwise


def test_a_network_gone_wrong_does_no_harm(model):
    generator = np.random.default_rng(0)
    for value in (np.nan, np.inf, -np.inf):
        for share in (0.1, 1.0):
            log_probs = random_emissions(30, seed=1).log_probs.copy()
            log_probs[generator.random(log_probs.shape) < share] = value
            for decode in (greedy, beam_search):
                decode(Emissions(log_probs, 0.04), SMALL)
            beam_search(Emissions(log_probs, 0.04), SMALL, DecoderOptions(), model, ["ab"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"decoder": "best"},
        {"beam_width": 0},
        {"beam_width": 16.5},
        {"n_best": 0},
        {"token_threshold": 1.0},
        {"score_threshold": -1.0},
        {"score_threshold": math.nan},
        {"language_model_weight": math.nan},
        {"word_bonus": math.inf},
        {"unknown_word_score": 1.0},
        {"language_model_weight": -0.5},
        {"unknown_letter_score": 0.5},
        {"blank_penalty": -0.5},
        {"doubt_threshold": -0.5},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="not"):
        DecoderOptions(**wrong)
