"""Vocabularies without spaces: every character is a word of its own, and no text has spaces between them."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_core.ctc import collapse
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.incremental import IncrementalDecoder
from asr_core.decoding.language_model import SENTENCE_END, UNKNOWN
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import PrefixBeam
from asr_core.decoding.rescoring import NO_RESCORING
from asr_core.decoding.text_alignment import align_text
from asr_core.emissions import Emissions
from asr_core.text.alphabet import normalised_words
from asr_core.text.spelling import spell
from asr_core.text.vocabulary import WILDCARD, Vocabulary
from asr_core.transcript.words import Transcript, Word
from asr_core.transcript.writers import JsonWriter, SrtWriter, TextWriter
from tests.asr_core.decoding.small import emissions_along, random_emissions

CHINESE = Vocabulary(["", *"你好世界二十我们的"], "zh")
SMALL = Vocabulary("你好世")
ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.5 <unk>
-99 <s> -0.2
-0.8 </s>
-0.6 你 -0.3
-1.1 好 -0.1

\\2-grams:
-0.2 你 好
-0.5 <s> 你

\\end\\
"""


def emissions_of(path, vocabulary=CHINESE, confident=0.9, step_seconds=0.1):
    """Emissions whose best path is given, written with - for blank."""
    tokens = [0 if character == "-" else vocabulary.encode(character)[0] for character in path]
    return emissions_along(tokens, len(vocabulary), confident, step_seconds)


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_every_character_has_its_own_time_and_confidence(decoder):
    emissions = emissions_of("--你你-好---世-界-")
    best = greedy(emissions, CHINESE) if decoder == "greedy" else beam_search(emissions, CHINESE)[0]
    assert best.text == "你好世界"
    assert [word.text for word in best.words] == ["你", "好", "世", "界"]
    assert [word.start for word in best.words] == pytest.approx([0.2, 0.5, 0.9, 1.1], abs=0.06)
    assert all(word.confidence == pytest.approx(0.9, abs=1e-4) for word in best.words)
    assert all((word.posterior is None) == (decoder == "greedy") for word in best.words)


@pytest.mark.parametrize("steps", [1, 2, 4, 6])
@pytest.mark.parametrize("phrases", [(), ("你好", "好世好"), ("世",)])
def test_a_wide_beam_equals_all_paths(steps, phrases, model):
    """With a language model of characters, and hotwords anywhere."""
    options = DecoderOptions(
        beam_width=1024, token_threshold=0.0, score_threshold=float("inf"), n_best=1024, word_bonus=0.4,
        unknown_word_score=-6.0, unknown_letter_score=-1.3, hot_word_boost=0.9,
    )  # fmt: skip
    emissions = random_emissions(steps, len(SMALL), steps)
    acoustic = {}
    for path in itertools.product(range(4), repeat=steps):
        log_prob = sum(float(row[token]) for row, token in zip(emissions.log_probs, path, strict=True))
        text = tuple(collapse(path))
        acoustic[text] = np.logaddexp(acoustic.get(text, -np.inf), log_prob)
    beam = PrefixBeam(SMALL, options, model, HotWords.build(phrases, SMALL))
    beam.advance(emissions.log_probs)
    found = {text.tokens: text for text in beam.hypotheses()}
    assert found.keys() == acoustic.keys()
    for tokens, score in acoustic.items():
        state, words = model.begin, 0.0
        for character in SMALL.decode(tokens):
            number = model.word_number(character)
            log_prob, state = model.score(state, number)
            words += 0.5 * (-7.3 if number == UNKNOWN else log_prob) + 0.4
        words += 0.5 * model.score(state, SENTENCE_END)[0]
        text = SMALL.decode(tokens)
        hot = sum(len(phrase) * text.startswith(phrase, at) for phrase in phrases for at in range(len(text)))
        expected = (score, words, 0.9 * hot)
        parts = (found[tokens].acoustic_score, found[tokens].language_model_score, found[tokens].hot_word_score)
        assert parts == pytest.approx(expected, abs=1e-4), text


def test_hot_words_are_phrases_anywhere():
    log_probs = emissions_of("我-们-你-世-").log_probs.copy()
    log_probs[6, CHINESE.encode("世好")] = np.log([0.5, 0.4])
    emissions = Emissions(log_probs, 0.1)
    assert beam_search(emissions, CHINESE)[0].text == "我们你世"
    assert beam_search(emissions, CHINESE, hot_words=["你好"])[0].text == "我们你好"


class TestAlignment:
    def test_a_text_is_aligned_by_character_and_keeps_its_punctuation(self):
        emissions = emissions_of("--你-好---世-界-")
        words = align_text(emissions, "「你好，世界！」", CHINESE).words
        assert [word.text for word in words] == ["「你", "好，", "世", "界！」"]
        assert [word.start for word in words] == pytest.approx([0.2, 0.4, 0.8, 1.0], abs=0.06)

    def test_a_character_that_was_not_spoken_takes_no_time(self):
        words = align_text(emissions_of("--你---世-界-", confident=0.999), "你好世界", CHINESE).words
        assert [word.end > word.start for word in words] == [True, False, True, True]

    def test_other_letters_stay_whole_and_numbers_are_spoken(self):
        japanese = Vocabulary(CHINESE.pieces, "ja")
        tokens = {word.text: word.tokens for word in spell("我ABC们 20", japanese)}
        assert tokens == {
            "我": tuple(japanese.encode("我")),
            "ABC": (WILDCARD,),
            "们": tuple(japanese.encode("们")),
            "20": tuple(japanese.encode("二十")),
        }


def test_texts_are_compared_by_character():
    assert normalised_words("我们的，世界！ABC 你", CHINESE) == ["我", "们", "的", "世", "界", "abc", "你"]


class TestTranscript:
    TRANSCRIPT = Transcript(
        tuple(Word(character, i, i + 1, 0.9) for i, character in enumerate("你好世界")), 9.0, separator=""
    )

    def test_its_text_has_no_spaces(self):
        assert self.TRANSCRIPT.text == "你好世界"
        assert TextWriter().write(self.TRANSCRIPT).strip() == "你好世界"
        written = json.loads(JsonWriter().write(self.TRANSCRIPT))
        assert written["text"] == "你好世界" and [word["word"] for word in written["words"]] == list("你好世界")

    def test_nor_have_subtitles(self):
        lines = SrtWriter().write(self.TRANSCRIPT, max_characters=4).splitlines()
        assert [line for line in lines if set(line) & set("你好世界")] == ["你好", "世界"]


class OfARecognizer:
    """What the incremental decoder takes of a recogniser."""

    vocabulary, language_model, rescoring, step_seconds = CHINESE, None, NO_RESCORING, 0.1


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), decoder=st.sampled_from(["greedy", "beam"]))
def test_words_become_final_once_and_in_order(seed, decoder):
    """Where nobody pauses, they are cut between characters."""
    characters = np.random.default_rng(seed).choice(list("你好世界二十我们"), 150)
    whole = emissions_of("".join(f"{character}--" for character in characters), confident=0.99)
    hot_words = HotWords.build(["世界"], CHINESE)
    incremental = IncrementalDecoder(OfARecognizer, DecoderOptions(decoder=decoder), hot_words)
    rest, final, end = whole.slice(0, 0), [], 0
    for end in range(20, len(whole) + 1, 20):
        rest = whole.slice(end - 20 - len(rest), end)
        words, rest = incremental.finalize(rest)
        final += words
    words, _ = incremental.finalize(whole.slice(end - len(rest), len(whole)), ended=True)
    final += words
    assert "".join(word.text for word in final) == "".join(characters)
    assert all(len(word.text) == 1 for word in final)
    assert all(one.end <= following.start + 1e-9 for one, following in itertools.pairwise(final))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), seconds=st.integers(1, 60))
def test_words_times_and_posteriors_belong_together(seed, seconds):
    emissions = random_emissions(seconds * 4, len(CHINESE), seed, 4.0, 0.25)
    for hypothesis in (*beam_search(emissions, CHINESE, DecoderOptions(n_best=2)), greedy(emissions, CHINESE)):
        assert [word.text for word in hypothesis.words] == list(hypothesis.text)
        assert " " not in hypothesis.text
