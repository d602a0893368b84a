"""A checkpoint of others and a model of subword pieces, as the page and the API use them."""

import json
from pathlib import Path

import pytest

from asr_core.bundle.loading import load_bundle
from asr_core.recognizer import Recognizer
from asr_core.text.normaliser import normalise
from ui.api import Api
from ui.service.comparison import transcribe_again
from ui.service.engine import Engine
from ui.service.overrides import DecodingOverrides
from ui.service.requests import Limits, align_edit, decode_again, transcribe_file
from ui.widgets.timeline import timeline_value
from ui.widgets.words import transcript_card

DATA = Path(__file__).parents[1] / "data"
EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
MODELS = {"checkpoint": DATA / "checkpoints" / "tiny-trained", "pieces": DATA / "pieces"}
JOY = next(clip for clip in json.loads((EXAMPLES / "examples.json").read_text()) if clip["title"] == "Joy")
WORDS = normalise(JOY["text"])


@pytest.fixture(scope="module")
def engine():
    return Engine(str(MODELS["checkpoint"]), load=lambda name: Recognizer(load_bundle(name))).start()


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def clip(request, engine):
    path = str(EXAMPLES / JOY["file"])
    return transcribe_file(path, "joy.opus", DecodingOverrides(), engine, Limits(), str(request.param))


def test_the_page_shows_the_words_and_their_tokens(clip):
    assert clip.transcript.text == WORDS
    assert normalise(clip.shown_text) == WORDS and clip.shown_text in transcript_card(clip)
    shown = timeline_value(clip)
    assert " ".join(word[2] for word in shown["tile"]["words"]) == WORDS
    assert shown["tokens"] == list(clip.tokens) and shown["tile"]["emissions"]["count"] > 50


def test_a_corrected_text_is_aligned(clip, engine):
    edited = align_edit(clip, f"Well: {JOY['text']}", engine)
    starts = {word.text: word.start for word in clip.transcript.words}
    moved = {normalise(word.text): word.start for word in edited.transcript.words}
    assert list(moved)[0] == "well" and all(abs(moved[word] - start) < 0.3 for word, start in starts.items())


def test_hotwords_are_found(clip, engine):
    first = WORDS.split()[0]
    plain = decode_again(clip, DecodingOverrides.of("beam", 16), engine)
    favoured = decode_again(clip, DecodingOverrides.of("beam", 16, hot_words=first), engine)
    assert favoured.hypotheses[0].hot_word_score > plain.hypotheses[0].hot_word_score == 0
    assert favoured.transcript.text == WORDS


def test_two_of_them_are_compared(clip, engine):
    readings = [transcribe_again(clip, engine, str(model), Limits()) for model in MODELS.values()]
    assert [reading.clip.transcript.text for reading in readings] == [WORDS, WORDS]
    assert readings[0].clip.tokens != readings[1].clip.tokens


def test_the_api_answers_with_the_checkpoint(engine):
    answer = Api(engine, Limits()).transcribe(str(EXAMPLES / JOY["file"]))
    assert answer["text"] == WORDS
    assert normalise(answer["written"]["text"]) == WORDS  # plain English gets the tagger of the default model
