"""Rescoring by phones: the lexicon, the network's head for phones, and the hypotheses that they decide between."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from asr_core import models
from asr_core.bundle.description import PRONUNCIATIONS
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.lexicon import UNKNOWN_PHONE, Pronunciations
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.rescoring import Rescoring
from asr_core.emissions import Emissions, PhoneEmissions
from asr_core.errors import BundleError
from asr_core.recognizer import Recognizer
from asr_core.streaming import Stream
from asr_core.text.vocabulary import Vocabulary
from tests.asr_core.test_recognizer import CONFIGURATION, RATE, TOKENS, babble, logits_of

WORDS = ["<unk>", "<s>", "</s>", "cat", "cut", "kit"]
PHONES_OF = {"cat": [3, 1, 4], "cut": [3, 2, 4], "dog": [5, 5, 5], "kit": [3, 6, 4]}
ARPA = "\\data\\\nngram 1=5\n\\1-grams:\n-99 <s>\n-1 </s>\n-0.7 cat\n-0.7 cut\n-0.7 kit\n\\end\\\n"
VOCABULARY = Vocabulary()


@pytest.fixture
def pronunciations():
    return Pronunciations.build(WORDS, PHONES_OF, known={"cat", "cut"})


def log_probs_of(path, size, probability=0.9):
    """Log-probabilities [steps, size] that give each step's token most of the probability."""
    rows = np.full((len(path), size), (1 - probability) / (size - 1))
    rows[np.arange(len(path)), path] = probability
    return np.log(rows).astype(np.float32)


def test_a_text_is_spelled_by_the_dictionary_and_unknown_words_by_their_length(pronunciations):
    assert pronunciations.spell("cat cut", 9) == [3, 1, 4, 3, 2, 4]
    assert pronunciations.spell("kit's a", 9) == [9, 9, 9, 9]  # no word of 4 and of 1 letters is known
    assert pronunciations.spell("", 9) == []


def test_the_text_with_the_predicted_phones_is_the_more_probable_one(pronunciations):
    phones = log_probs_of([0, 3, 0, 2, 2, 4, 0], 7)
    cat, cut, kit, nothing = pronunciations.log_probabilities(phones, ["cat", "cut", "kit", ""])
    assert cut > max(cat, kit) and min(cat, kit) > nothing  # "kit" may have any phones, at a lower probability
    assert nothing == pytest.approx(float(phones[:, 0].sum()))


def test_unknown_phones_follow_each_other_without_a_blank(pronunciations):
    """Three unknown phones fit in three steps: a blank only separates two equal labels."""
    kit, cat = pronunciations.log_probabilities(log_probs_of([3, 2, 4], 7), ["kit", "cat"])
    assert kit == pytest.approx(3 * np.log(UNKNOWN_PHONE * 0.9), abs=0.2) and kit > cat - 5


@pytest.mark.parametrize(("middle", "text"), [(1, "cat"), (2, "cut")])
def test_phones_decide_between_texts_whose_letters_are_as_likely(pronunciations, middle, text):
    c, a, u, t = VOCABULARY.encode("caut")
    letters = log_probs_of([c, 0, a, 0, t, 0], len(VOCABULARY))
    letters[2, [a, u]] = np.log([0.46, 0.45])
    log_probs = log_probs_of([3, middle, 4], 7).astype(np.float16)
    phones = PhoneEmissions(log_probs, np.array([0, 0, 1, 1, 2, 2]), 2)
    options = DecoderOptions(beam_width=32, phone_weight=0.5, blank_penalty=0.25)
    best = beam_search(
        Emissions(letters, 0.02, phones=phones), VOCABULARY, options, rescoring=Rescoring(pronunciations)
    )[0]
    by_letters = beam_search(Emissions(letters, 0.02), VOCABULARY, options, rescoring=Rescoring(pronunciations))[0]
    penalised = log_probs.astype(np.float32) - [0.25, *[0.0] * 6]
    assert (best.text, by_letters.text) == (text, "cat")
    assert best.score == pytest.approx(best.acoustic_score + best.phone_score)
    score = pronunciations.log_probabilities(penalised, [text])[0]
    assert best.phone_score == pytest.approx(0.5 * score) and by_letters.phone_score == 0
    if text == "cat":
        assert best.acoustic_score == pytest.approx(0.5 * by_letters.acoustic_score)


def test_what_is_saved_is_what_is_loaded(pronunciations, tmp_path):
    pronunciations.save(tmp_path / PRONUNCIATIONS)
    found = Pronunciations.load(tmp_path / PRONUNCIATIONS, WORDS, 7)
    assert found.spell("cat cut kit", 0) == pronunciations.spell("cat cut kit", 0)


def test_whatever_is_wrong_with_the_file_is_one_sentence(pronunciations, tmp_path):
    path = tmp_path / PRONUNCIATIONS
    pronunciations.save(path)
    for words, phones, message in (
        (WORDS[:-1], 7, "made for another language model"),
        (WORDS, 4, "not from 1 to 3"),
    ):
        with pytest.raises(BundleError, match=message):
            Pronunciations.load(path, words, phones)
    Pronunciations(WORDS, pronunciations.lengths, pronunciations.phones[:-1]).save(path)
    with pytest.raises(BundleError, match="lengths that they announce"):
        Pronunciations.load(path, WORDS, 7)
    for lengths in (np.append(pronunciations.lengths, 1), pronunciations.lengths[None], np.uint8(3)):
        content = save({"lengths": np.asarray(lengths), "phones": pronunciations.phones}, metadata_of(path))
        (tmp_path / "damaged").write_bytes(content)
        with pytest.raises(BundleError, match="holds no pronunciations"):
            Pronunciations.load(tmp_path / "damaged", WORDS, 7)
    path.write_bytes(b"no safetensors")
    with pytest.raises(BundleError, match="holds no pronunciations"):
        Pronunciations.load(path, WORDS, 7)
    with pytest.raises(BundleError, match="holds no pronunciations"):
        Pronunciations.load(tmp_path / "nothing", WORDS, 7)


def metadata_of(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


@pytest.fixture(scope="module", params=[1, 2])
def recognizer(request, tmp_path_factory):
    """A random network with seven phones, a language model of three words, and the pronunciations of two.

    The parameter is the number of steps of the tokens for each step of the phones.
    """
    keras.utils.set_random_seed(4)
    network = models.build(
        "conformer", 12, len(TOKENS), width=16, blocks=3, heads=2, channels=4, kernel=5, parts=request.param,
        phones=7, phones_block=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("phones")
    (folder / "words.arpa").write_text(ARPA)
    words = NGramModel.from_arpa(folder / "words.arpa")
    lexicon = Pronunciations.build(words.words, PHONES_OF, {"cat", "cut"})
    config = CONFIGURATION | {"decoder": {"beam_width": 8, "phone_weight": 0.5}}
    saved = save_bundle(folder / "tiny", network, config, language_model=words, pronunciations=lexicon)
    return Recognizer(load_bundle(saved))


def test_the_emissions_hold_every_step_of_the_inner_head(recognizer):
    audio = babble(3)
    emissions = recognizer.emissions(audio)
    network, bundle = recognizer.bundle.build(), recognizer.bundle
    phones = emissions.phones.at_own_rate()
    assert emissions.phones.ratio == network.upsample and emissions.phones.log_probs.dtype == np.float16
    assert phones.shape == (-(-len(emissions) // network.upsample), 7) and len(phones) >= 73  # 25 a second
    features, frames = bundle.featurizer()(np.pad(audio.samples, (0, RATE))[None], np.array([len(audio.samples)]))
    expected = keras.ops.log_softmax(network.logits(features, frames)[1], axis=-1)[0]
    np.testing.assert_allclose(phones, expected[: len(phones)], atol=1e-2)
    np.testing.assert_allclose(emissions.log_probs, keras.ops.log_softmax(logits_of(network, bundle, audio)), atol=1e-4)


def test_phones_of_long_recordings_are_joined_beside_the_letters(recognizer):
    audio = babble(30)
    whole = recognizer.emissions(audio)
    phones, ratio = whole.phones.at_own_rate(), whole.phones.ratio
    assert len(phones) == -(-len(whole) // ratio)
    np.testing.assert_allclose(np.exp(phones.astype(float)).sum(axis=1), 1, atol=1e-2)
    part, rest = whole.slice(100, 141), whole.slice(141, 200)
    np.testing.assert_array_equal(part.phones.at_own_rate(), phones[100 // ratio :][: -(-41 // ratio)])
    both, expected = part.concat(rest).phones, whole.slice(100, 200).phones
    np.testing.assert_array_equal(both.at_own_rate(), expected.at_own_rate())
    with pytest.raises(ValueError, match="99 steps of phones stand beside 100 of tokens"):
        replace(whole.slice(0, 100), phones=whole.slice(0, 99).phones)


def test_a_stream_and_a_recording_are_decoded_with_phones(recognizer):
    audio = babble(4)
    assert recognizer.recognize(audio).hypotheses[0].phone_score < 0
    stream = Stream(recognizer)
    words = [*stream.feed(audio.samples, RATE).final, *stream.finish().final]
    assert " ".join(word.text for word in words) == recognizer.transcribe(audio).text


def test_a_network_without_phones_does_without_them(tmp_path):
    network = models.build("conformer", 12, len(TOKENS), width=16, blocks=1, heads=2, channels=4, kernel=5)
    recognizer = Recognizer(load_bundle(save_bundle(tmp_path / "tiny", network, CONFIGURATION)))
    assert recognizer.rescoring.pronunciations is None and recognizer.emissions(babble(1)).phones is None
