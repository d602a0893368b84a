"""The vocabulary files of checkpoints -> tokens and rows of the head; and what a model card states."""

import pytest

from asr_core.bundle.checkpoints.alphabet import arrange, read_pieces
from asr_core.bundle.checkpoints.card import facts_of_card
from asr_core.errors import BundleError

ROLES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "[UNK]", "pad_token": "[PAD]"}
LETTERS = {"|": 0, "a": 1, "b": 2, "[UNK]": 3, "[PAD]": 4}  # as the tutorial of transformers makes it


def tokens_and_rows(files, blank, rows):
    return arrange(read_pieces(files, None, "tiny"), blank, rows, "tiny")


def tokenizer(kind, vocab, **further):
    mark = {"type": "Metaspace", "replacement": "▁"}
    return {"tokenizer.json": {"model": {"type": kind, "vocab": vocab}, "decoder": mark, **further}}


def test_special_tokens_are_left_out_and_the_blank_comes_first():
    found = tokens_and_rows({"vocab.json": LETTERS, "special_tokens_map.json": ROLES}, 4, 5)
    assert found == (["", " ", "a", "b"], (4, 0, 1, 2))


@pytest.mark.parametrize("rows", [5, 7])
def test_a_head_is_with_or_without_the_added_tokens(rows):
    """Fine-tunes in the manner of the tutorial have them in a file of their own; either width of head occurs."""
    files = {"vocab.json": LETTERS, "added_tokens.json": {"<s>": 5, "</s>": 6}, "tokenizer_config.json": ROLES}
    assert tokens_and_rows(files, 4, rows) == (["", " ", "a", "b"], (4, 0, 1, 2))


def test_entries_of_the_vocabulary_may_be_listed_again_as_added_tokens():
    """As transformers 5.24 saves tokenizers of wav2vec 2.0: the word delimiter, and entries of several characters."""
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5, "ch": 6}
    rows = {str(row): {"content": text, "special": True} for text, row in vocabulary.items() if row != 5}
    settings = {"word_delimiter_token": "|", "pad_token": "<pad>", "unk_token": "<unk>", "added_tokens_decoder": rows}
    found = tokens_and_rows({"vocab.json": vocabulary, "tokenizer_config.json": settings}, 0, 7)
    assert found == (["", " ", "a", "ch"], (0, 4, 5, 6))


def test_a_head_may_have_rows_for_the_usual_special_tokens_without_names():
    assert tokens_and_rows({"vocab.json": LETTERS}, 4, 7)[1] == (4, 0, 1, 2)
    with pytest.raises(BundleError, match="tiny: its vocabulary has 5 tokens and its head 12 outputs"):
        tokens_and_rows({"vocab.json": LETTERS}, 4, 12)


def test_a_head_is_not_narrower_than_the_letters():
    with pytest.raises(BundleError, match="its vocabulary has 5 tokens and its head 2 outputs"):
        tokens_and_rows({"vocab.json": LETTERS}, 1, 2)


def test_the_tokenizer_names_the_blank_if_the_network_does_not():
    assert tokens_and_rows({"vocab.json": LETTERS, "tokenizer_config.json": ROLES}, None, 5)[1][0] == 4
    with pytest.raises(BundleError, match="does not say which of its 5 outputs is the blank"):
        tokens_and_rows({"vocab.json": LETTERS}, None, 5)


def test_special_tokens_are_written_as_tables_too():
    table = {"content": "~", "lstrip": False}
    files = {"vocab.json": {"~": 0, "a": 1, "b": 2}, "special_tokens_map.json": {"bos_token": table}}
    assert tokens_and_rows(files, 2, 3) == (["", "a"], (2, 1))


def test_another_word_delimiter():
    files = {"vocab.json": {"_": 0, "|": 1, "a": 2, "b": 3}, "tokenizer_config.json": {"word_delimiter_token": "_"}}
    assert tokens_and_rows(files, 3, 4)[0] == ["", " ", "|", "a"]


@pytest.mark.parametrize(
    "letters, spaced", [("\u4eca\u5929\u6c14", False), ("\u306f\u3044a", False), ("\ud55c\uad6d", True)]
)
def test_chinese_and_japanese_are_written_without_spaces_though_every_tokenizer_has_a_delimiter(letters, spaced):
    listed = {text: row for row, text in enumerate(["[PAD]", "|", *letters])}
    tokens, rows = tokens_and_rows({"vocab.json": listed}, 0, len(listed))
    assert (" " in tokens) == (1 in rows) == spaced and "|" not in tokens


def test_a_space_beside_the_delimiter_is_not_written_twice():
    assert tokens_and_rows({"vocab.json": {"|": 0, " ": 1, "a": 2, "b": 3}}, 3, 4) == (["", " ", "a"], (3, 0, 2))


@pytest.mark.parametrize(
    ("letters", "written"),
    [("ABÉ'", "abé'"), ("ABc", "ABc"), ("ÀΩЖ", "àωж"), ("Aİ", "Aİ"), ("日本", "日本"), ("AßB", "AßB")],
)
def test_upper_case_is_written_small_where_no_letter_is_lost(letters, written):
    ids = {letter: row for row, letter in enumerate(letters)} | {"<pad>": len(letters)}
    assert tokens_and_rows({"vocab.json": ids}, len(letters), len(ids))[0] == ["", *written]


def test_pieces_of_all_kinds_of_tokenizers():
    ids = {"<unk>": 0, "▁a": 1, "b": 2, "▁": 3}
    pieces = (["", "▁a", "b", "▁"], (4, 1, 2, 3))
    added = {"added_tokens": [{"id": 4, "content": "<pad>", "special": True}]}
    for kind in ("BPE", "WordLevel"):
        assert tokens_and_rows(tokenizer(kind, ids, **added), 4, 5) == pieces
    unigram = [[piece, -1.5] for piece in ids]
    assert tokens_and_rows(tokenizer("Unigram", unigram, **added), 4, 5) == pieces


def test_another_mark_of_words():
    files = tokenizer("BPE", {"_a": 0, "b": 1, "<pad>": 2}, **{"decoder": {"type": "Metaspace", "replacement": "_"}})
    assert tokens_and_rows(files, 2, 3)[0] == ["", "▁a", "b"]


def test_a_stroke_among_pieces_is_a_stroke():
    assert tokens_and_rows(tokenizer("BPE", {"▁a": 0, "|": 1, "<pad>": 2}), 2, 3)[0] == ["", "▁a", "|"]


def test_bytes_are_refused():
    with pytest.raises(BundleError, match="tiny writes bytes in place of characters"):
        tokens_and_rows(tokenizer("BPE", {"a": 0}, **{"decoder": {"type": "ByteLevel"}}), 0, 1)


def test_a_vocabulary_of_thousands():
    ids = {chr(0x4E00 + i): i for i in range(10_000)} | {"<pad>": 10_000}
    tokens, rows = tokens_and_rows({"vocab.json": ids}, 10_000, 10_001)
    assert (len(tokens), len(rows), tokens[1]) == (10_001, 10_001, "一")


def test_the_language_of_the_settings_comes_before_english():
    nested = {"vocab.json": {"eng": LETTERS, "deu": LETTERS | {"ß": 5}}}
    assert read_pieces(nested, None, "tiny").language == "eng"
    settings = {"tokenizer_config.json": {"target_lang": "deu"}}
    assert read_pieces(nested | settings, None, "tiny").language == "deu"
    asked = read_pieces(nested | settings, "eng", "tiny")
    assert (asked.language, asked.default) == ("eng", False)


CARD = """\
---
language:
- de
license: other
license_name: research-only
datasets: [common_voice, {evil: 1}]
model-index:
- name: tiny
  results:
  - task: {type: automatic-speech-recognition}
    dataset: {name: Common Voice de, type: common_voice, args: de, split: test}
    metrics:
    - {name: Test WER, type: wer, value: 12.06}
    - {name: Test CER, type: cer, value: "2.92"}
    - {name: Test WER (+LM), type: wer, value: 8.74}
  - task: {type: text-classification}
    metrics: [{type: wer, value: 1}]
---
# Tiny
"""


def test_a_card_tells_language_licence_data_and_error_rates():
    rates = {"dataset": "Common Voice de", "split": "test", "decoder": "published"}
    assert facts_of_card(CARD) == {
        "language": "de",
        "licence": "research-only",
        "training_data": [{"name": "common_voice", "hub": "common_voice"}],
        "evaluation": [rates | {"wer": pytest.approx(0.1206), "cer": pytest.approx(0.0292)}],
    }


@pytest.mark.parametrize(
    "text",
    [
        "", "# Tiny", "---\n", "---\n---\n", "---\n- 1\n---\n", "---\na: [\n---\n",
        "---\na: !!python/name:os.system\n---\n",
        "---\nlanguage: {a: 1}\nlicense: [1]\nmodel-index: {a: 1}\ndatasets: 5\n---\n",
        "---\na: " + "[" * 5000 + "\n---\n",
        "---\nmodel-index: [{results: [{metrics: [{type: wer, value: .nan}, {type: wer, value: {}}]}]}]\n---\n",
    ],
)  # fmt: skip
def test_a_card_of_another_form_tells_nothing(text):
    assert facts_of_card(text) == {}


def test_several_languages_are_not_one():
    assert facts_of_card("---\nlanguage: [en, de]\n---\n") == {}


def test_error_rates_in_a_card_are_fractions_or_percent():
    index = "---\nmodel-index:\n- results:\n  - metrics:\n    - {{type: wer, value: {}}}\n---\n"
    for written, rate in (("0.3421", 0.3421), ("34.21", 0.3421), ("1.9", 0.019)):
        (entry,) = facts_of_card(index.format(written))["evaluation"]
        assert entry["wer"] == pytest.approx(rate)


def test_norwegian_is_a_language_though_yaml_reads_no_as_false():
    assert facts_of_card("---\nlanguage: no\n---\n") == {"language": "no"}
