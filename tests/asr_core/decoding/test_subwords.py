"""Vocabularies of subword pieces: their tokens, every decoder, alignment and hotwords, against definitions."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_core.ctc import collapse
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.language_model import ROOT, SENTENCE_END, UNKNOWN
from asr_core.decoding.options import MAX_STEP_TOKENS, DecoderOptions
from asr_core.decoding.plain_beam_search import plain_beam_search
from asr_core.decoding.prefix_beam import PrefixBeam
from asr_core.decoding.text_alignment import align_text
from asr_core.emissions import Emissions
from asr_core.text.spelling import spell
from asr_core.text.vocabulary import WILDCARD, WORD_MARK, Vocabulary
from tests.asr_core.decoding.small import EXACT, emissions_along, random_emissions, small_arpa

SMALL = Vocabulary(["", "▁a", "a", "▁b"])
ENGLISH = Vocabulary(["", *"▁abcdefghijklmnopqrstuvwxyz'", *"▁t he ▁the in ▁a er ▁s ▁w ▁c at ▁cat ▁h el".split()])
ARPA = small_arpa("ba", "aa")


def emissions_of(path, vocabulary, confident=0.97):
    """Emissions whose best path is given, as the texts of tokens; "" is the blank."""
    tokens = [vocabulary.tokens.index(text) for text in path]
    return emissions_along(tokens, len(vocabulary), confident, step_seconds=0.08)


class TestVocabulary:
    def test_a_word_begins_at_its_mark(self):
        tokens = ENGLISH.encode("the cats")
        assert [ENGLISH.tokens[token] for token in tokens] == ["▁the", "▁cat", "s"]
        assert ENGLISH.decode(tokens) == "the cats"
        assert (ENGLISH.split(tokens), ENGLISH.words(tokens)) == ([(0, 1), (1, 3)], ["the", "cats"])
        assert ENGLISH.separator == " "

    def test_a_text_may_go_on_with_a_word(self):
        tokens = [ENGLISH.tokens.index(text) for text in ("s", "▁", "▁the", "▁", "a", "t")]
        assert ENGLISH.words(tokens) == ["s", "the", "at"]

    def test_pieces_in_the_order_of_merges_are_merged_in_that_order(self):
        """As byte-pair encoding does, even where fewer pieces would spell the word."""
        merges = Vocabulary(["▁", "a", "b", "c", "d", "bc", "ab", "cd", "▁a"])
        assert [merges.tokens[token] for token in merges.encode("abcd")] == ["▁a", "bc", "d"]

    def test_pieces_in_another_order_are_as_few_as_possible_and_frequent(self):
        unigram = Vocabulary(["▁the", "ing", "▁s", "▁", "i", "n", "g", "s", "▁si", "ng", "si"])
        assert [unigram.tokens[token] for token in unigram.encode("sing the")] == ["▁s", "ing", "▁the"]

    @pytest.mark.parametrize("pieces", [["a▁"], ["▁a", "b c"], ["a", ""], ["▁a", "▁a"], [1, "a"]])
    def test_refuses_what_is_no_piece(self, pieces):
        with pytest.raises(ValueError):
            Vocabulary(pieces)

    def test_names_the_character_that_no_piece_writes(self):
        with pytest.raises(ValueError, match="'é' in 'café'"):
            ENGLISH.encode("café")

    @given(st.text("abcdefghijklmnopqrstuvwxyz' ", max_size=40))
    def test_decodes_what_it_encodes(self, text):
        assert ENGLISH.decode(ENGLISH.encode(text)).split() == text.split()

    def test_characters_of_several_letters_stand_between_spaces(self):
        digraphs = Vocabulary(["c", "h", "ch", "a", " "])
        assert [digraphs.tokens[token] for token in digraphs.encode("cha ac")] == ["ch", "a", " ", "a", "c"]
        assert digraphs.words(digraphs.encode("cha ac")) == ["cha", "ac"]


class TestGreedyDecoding:
    def test_words_have_their_times_and_confidence(self):
        path = ["", "▁the", "▁the", "", "▁cat", "", "", "s", "", "▁a"]
        hypothesis = greedy(emissions_of(path, ENGLISH, 0.9), ENGLISH)
        assert hypothesis.text == "the cats a"
        assert [(span.start, span.end) for span in hypothesis.spans] == [(1, 3), (4, 5), (7, 8), (9, 10)]
        words = hypothesis.words
        assert [word.text for word in words] == ["the", "cats", "a"]
        assert words[1].start == pytest.approx(0.28, abs=0.05) and words[1].end == pytest.approx(0.68, abs=0.05)
        assert words[1].confidence == pytest.approx(0.9, abs=1e-4)


def texts_by_definition(emissions):
    """Token sequence -> log-probability, from all paths, without any search."""
    acoustic = {}
    for path in itertools.product(range(emissions.log_probs.shape[1]), repeat=len(emissions)):
        text = tuple(collapse(path))
        log_prob = sum(float(row[token]) for row, token in zip(emissions.log_probs, path, strict=True))
        acoustic[text] = np.logaddexp(acoustic.get(text, -np.inf), log_prob)
    return acoustic


def unknown_score(word, before, options, phrases, fits):
    """A word that the model does not have pays by its length, unless a phrase has it, or one that `fits`, there."""
    for phrase in map(str.split, phrases):
        for length, of_phrase in enumerate(phrase):
            if fits(of_phrase, word) and before[len(before) - length :] == phrase[:length]:
                return options.unknown_word_score
    return options.unknown_word_score + options.unknown_letter_score * len(word)


def score_of_words(words, options, model, phrases):
    total, state = 0.0, model.begin
    for place, word in enumerate(words):
        number = model.word_number(word)
        log_prob, state = model.score(state, number)
        if number == UNKNOWN:
            log_prob = unknown_score(word, words[:place], options, phrases, str.__eq__)
        total += options.language_model_weight * log_prob + options.word_bonus
    return total, state


def language_model_score(tokens, options, model, phrases):
    total, state = score_of_words(SMALL.words(tokens), options, model, phrases)
    return total + options.language_model_weight * model.score(state, SENTENCE_END)[0]


def hot_word_score(words, options, phrases):
    return options.hot_word_boost * sum(
        len(phrase.replace(" ", ""))
        for phrase in phrases
        for start in range(len(words))
        if words[start : start + len(phrase.split())] == phrase.split()
    )


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 6])
@pytest.mark.parametrize("phrases", [(), ("ba",), ("a", "a b", "aa ba", "b")])
def test_a_wide_beam_equals_all_paths(steps, phrases, model):
    options = DecoderOptions(
        unknown_word_score=-6.0, unknown_letter_score=-1.3, word_bonus=0.7, hot_word_boost=0.9, **EXACT
    )
    emissions = random_emissions(steps, seed=steps)
    beam = PrefixBeam(SMALL, options, model, HotWords.build(phrases, SMALL))
    beam.advance(emissions.log_probs)
    found = {
        text.tokens: (text.acoustic_score, text.language_model_score, text.hot_word_score) for text in beam.hypotheses()
    }
    expected = texts_by_definition(emissions)
    assert found.keys() == expected.keys()
    for tokens, acoustic in expected.items():
        parts = (
            acoustic,
            language_model_score(tokens, options, model, phrases),
            hot_word_score(SMALL.words(tokens), options, phrases),
        )
        assert found[tokens] == pytest.approx(parts, abs=1e-4), SMALL.decode(tokens)


def fusion_score_of(tokens, options, model, phrases):
    """What language model and hotwords add to the rank of a prefix, by definition: a function of its text alone."""
    if not tokens:
        return options.hot_word_boost * 0.0
    *finished, unfinished = SMALL.words(tokens)
    score, _ = score_of_words(finished, options, model, phrases)
    could_be = [word for word in model.words[3:] if word.startswith(unfinished)]
    log_probs = [model.score(ROOT, model.word_number(word))[0] for word in could_be]
    unknown = unknown_score(unfinished, finished, options, phrases, str.startswith)
    score += options.language_model_weight * max(unknown, *log_probs, -99) + options.word_bonus
    score += hot_word_score(finished, options, phrases)
    read = " " + " ".join([*finished, unfinished])
    ends = [read[start:] for start in range(len(read))]
    started = [end for end in ends for phrase in phrases if f" {phrase} ".startswith(end) and end != f" {phrase} "]
    return score + options.hot_word_boost * max((len(end.replace(" ", "")) for end in started), default=0)


@pytest.mark.parametrize("width", [1, 2, 3, 8])
@pytest.mark.parametrize("phrases", [(), ("aa b", "a"), ("ba ba", "aaab")])
def test_the_compiled_search_keeps_what_the_plain_one_keeps(width, phrases, model):
    for seed in range(8):
        options = DecoderOptions(
            beam_width=width, score_threshold=4.0 + seed, token_threshold=0.02,
            unknown_word_score=-3.0 * (seed % 3), unknown_letter_score=-0.5 * (seed % 4),
        )  # fmt: skip
        emissions = random_emissions(25, seed=100 * width + seed, sharpness=2.0)
        fusion_score = cache(lambda prefix, options=options: fusion_score_of(prefix, options, model, phrases))
        expected = plain_beam_search(emissions.log_probs, options, fusion_score)
        search = PrefixBeam(SMALL, options, model, HotWords.build(phrases, SMALL))
        search.advance(emissions.log_probs)
        found = {text.tokens: text.acoustic_score for text in search.hypotheses()}
        assert found == pytest.approx(expected, abs=1e-3)


def test_at_most_so_many_tokens_extend_a_prefix():
    """In the plain search and in the compiled one, however many tokens a vocabulary has and however flat they are."""
    vocabulary = Vocabulary(["▁", *map(chr, range(0x4E00, 0x4E00 + 1500))])
    emissions = random_emissions(4, len(vocabulary), sharpness=0.5)
    options = DecoderOptions(beam_width=4, token_threshold=0.0)
    beam = PrefixBeam(vocabulary, options)
    beam.advance(emissions.log_probs)
    found = {text.tokens: text.acoustic_score for text in beam.hypotheses()}
    assert found == pytest.approx(plain_beam_search(emissions.log_probs, options), abs=1e-3)
    one_step = PrefixBeam(vocabulary, DecoderOptions(beam_width=1024, token_threshold=0.0, score_threshold=math.inf))
    one_step.advance(emissions.log_probs[:1])
    assert len(list(one_step.hypotheses())) in (MAX_STEP_TOKENS, MAX_STEP_TOKENS + 1)  # the blank may be among them


class TestHotWords:
    @pytest.mark.parametrize("pieces", [["▁cat", "er"], ["▁c", "at", "er"], ["▁", "c", "a", "t", "e", "r"]])
    def test_are_found_however_they_are_cut(self, pieces):
        hot_words = HotWords.build(["Cater"], ENGLISH)
        tokens = [ENGLISH.tokens.index(piece) for piece in pieces]
        assert hot_words.tables.provisional[hot_words.state_after(tokens)] == len("cater")
        emissions = emissions_of([*pieces, "", "▁s"], ENGLISH)
        score = beam_search(emissions, ENGLISH, DecoderOptions(), hot_words=hot_words)[0].hot_word_score
        assert score == pytest.approx(5 * DecoderOptions().hot_word_boost)

    def test_win_against_what_the_network_prefers_a_little(self):
        path = ["▁the", "", "▁cat", "", "er", "", "▁a"]
        log_probs = emissions_of(path, ENGLISH).log_probs.copy()
        at, other = ENGLISH.tokens.index("▁cat"), ENGLISH.tokens.index("▁h")
        log_probs[2, [at, other]] = np.log([0.3, 0.6])
        emissions = Emissions(log_probs, 0.08)
        assert beam_search(emissions, ENGLISH)[0].text == "the her a"
        assert beam_search(emissions, ENGLISH, hot_words=["cater"])[0].text == "the cater a"
        assert beam_search(emissions, ENGLISH, hot_words=["cat"])[0].text == "the her a"  # not a whole word


class TestAlignment:
    def test_a_written_text_gets_the_times_of_its_words(self):
        path = ["", "▁the", "", "", "▁cat", "", "s", "", "", "▁a", "t", ""]
        alignment = align_text(emissions_of(path, ENGLISH, 0.9), "The cat\u2019s, at!", ENGLISH)
        assert [word.text for word in alignment.words] == ["The", "cat\u2019s,", "at!"]
        plain = align_text(emissions_of(path, ENGLISH, 0.9), "the cats at", ENGLISH)
        starts = [word.start for word in plain.words]
        assert starts == pytest.approx([0.08 - 0.04, 4 * 0.08 - 0.04, 9 * 0.08 - 0.04], abs=0.05)
        assert all(word.confidence == pytest.approx(0.9, abs=1e-3) for word in plain.words)
        assert [(letter.text, letter.start) for letter in plain.characters][1] == ("cat", pytest.approx(4 * 0.08))

    def test_a_word_that_was_not_spoken_takes_no_time(self):
        path = ["", "▁the", "", "", "▁cat", "", ""]
        words = align_text(emissions_of(path, ENGLISH), "the other cat", ENGLISH).words
        assert [word.end > word.start for word in words] == [True, False, True]

    @pytest.mark.parametrize(
        ("written", "pieces"),
        [
            ("The", [["▁the"]]),
            ("cat's", [["▁cat", "'", "s"]]),
            ("cat日s", [["▁cat", WILDCARD, "s"]]),
            ("日本 cat", [[WILDCARD], ["▁cat"]]),
            ("in-the", [["▁", "in", "▁the"]]),
            ("2", [["▁t", "w", "o"]]),
        ],
    )
    def test_spelling(self, written, pieces):
        words = spell(written, ENGLISH)
        spelled = [[ENGLISH.tokens[t] if t != WILDCARD else t for t in word.tokens] for word in words]
        assert spelled == pieces
        for word in words:
            covered = [token for _, part in word.characters for token in word.tokens[part]]
            assert covered == list(word.tokens)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), seconds=st.integers(1, 60))
def test_words_times_and_posteriors_belong_together(seed, seconds):
    """However a long recording is cut, also where a segment continues the last word of the one before."""
    emissions = Emissions(random_emissions(seconds * 4, len(ENGLISH), seed, 4.0).log_probs, 0.25)
    for hypothesis in (*beam_search(emissions, ENGLISH, DecoderOptions(n_best=2)), greedy(emissions, ENGLISH)):
        assert [word.text for word in hypothesis.words] == hypothesis.text.split()
        assert not any(WORD_MARK in word.text for word in hypothesis.words)
        starts = [word.start for word in hypothesis.words]
        assert starts == sorted(starts)
