"""A checkpoint that transformers trained writes the words of clips that it knows, at their times.

It comes from `tests/references/train_tiny.py`, which also states the times of the words.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from asr_core.audio.loading import Audio, load_audio
from asr_core.bundle.language_models import with_language_model
from asr_core.bundle.loading import DEFAULT_FOLDER, load_bundle
from asr_core.decoding.options import DecoderOptions
from asr_core.recognizer import Recognizer

TESTS = Path(__file__).parents[2]
CLIPS = ("joy", "library", "letters", "milton")
TIMES = {clip: json.loads((TESTS / "references" / "words.json").read_text())[clip] for clip in CLIPS}
EXAMPLES = DEFAULT_FOLDER.parent / "examples"
NEAR_SECONDS = 0.25  # between the start of a word and that of the default model's alignment


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer(load_bundle(TESTS / "data" / "checkpoints" / "tiny-trained"))


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
@pytest.mark.parametrize("clip", TIMES)
def test_the_words_of_a_clip_come_out_at_their_times(recognizer, clip, decoder):
    words = recognizer.transcribe(EXAMPLES / f"{clip}.opus", DecoderOptions(decoder=decoder)).words
    assert [word.text for word in words] == [text for text, _, _ in TIMES[clip]]
    late = [abs(word.start - start) for word, (_, start, _) in zip(words, TIMES[clip], strict=True)]
    assert max(late) < NEAR_SECONDS, late


def test_a_clip_inside_silence_and_beside_others_has_the_same_words(recognizer):
    clips = [load_audio(EXAMPLES / f"{clip}.opus", recognizer.sample_rate).samples for clip in TIMES]
    pause = np.zeros(2 * recognizer.sample_rate, "float32")
    recording = np.concatenate([part for clip in clips for part in (pause, clip)])
    words = recognizer.transcribe(Audio(recording, recognizer.sample_rate)).words
    assert [word.text for word in words] == [text for clip in TIMES for text, _, _ in TIMES[clip]]


def test_plain_english_gets_its_sentences_from_the_tagger_of_the_default_model(recognizer):
    transcript = recognizer.transcribe(EXAMPLES / "library.opus")
    assert transcript.written_text == "Willard is served by the Willard Memorial Library."


def test_a_given_text_is_aligned(recognizer):
    audio = recognizer.load(EXAMPLES / "library.opus")
    text = "Willard is served by the Willard Memorial Library."
    words = recognizer.align(recognizer.emissions(audio), audio.seconds, text).words
    late = [abs(word.start - start) for word, (_, start, _) in zip(words, TIMES["library"], strict=True)]
    assert max(late) < NEAR_SECONDS


def test_a_language_model_selects_the_beam_search():
    bundle = load_bundle(TESTS / "data" / "checkpoints" / "tiny-trained")
    assert bundle.decoder_options().decoder == "greedy"
    for name in "default", TESTS / "data" / "language_models" / "trigram.arpa":
        assert with_language_model(bundle, name).decoder_options().decoder == "beam"
