"""Checkpoints in the format of transformers: from the Hub and from folders, in every layout, broken and hostile.

The whole ones below `tests/data/checkpoints` come from `tests/references/make_checkpoints.py`, with the logits that
transformers computes.
"""

import json
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import load_file, save_file

import asr_core
from asr_core.__main__ import main
from asr_core.bundle.hub import CONVERSION, CONVERTER
from asr_core.bundle.language_models import with_language_model
from asr_core.bundle.loading import DEFAULT_FOLDER, load_bundle
from asr_core.errors import BundleError, LanguageModelError
from tests.train.hub_server import Fault, Repository

CHECKPOINTS = Path(__file__).parents[2] / "data" / "checkpoints"
EXAMPLE = DEFAULT_FOLDER.parent / "examples" / "joy.opus"
FIRST, SECOND = "a" * 40, "b" * 40  # commits
MODEL, INDEX, PICKLE = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
DESCRIPTIONS = ["README.md", "config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"]
MALWARE = b"\x80\x04cos\nsystem\n(S'touch /tmp/stolen'\ntR."
CARD = "---\nlanguage: en\nlicense: apache-2.0\ndatasets:\n- librispeech_asr\n---\n# A checkpoint\n"


@pytest.fixture
def folder(tmp_path):
    """A copy of a checkpoint, to be changed."""
    copy = tmp_path / "tiny"
    shutil.copytree(CHECKPOINTS / "wav2vec2-base", copy)
    (copy / "README.md").write_text(CARD)
    (copy / "modeling_evil.py").write_text("raise SystemExit('executed')")
    return copy


@pytest.fixture
def hub(loopback_hub, folder):
    """A Hub whose repository has the files of `folder`."""
    loopback_hub.repositories["model", "name/tiny"] = Repository()
    repository(loopback_hub).add(folder, oid=FIRST)
    return loopback_hub


def repository(hub) -> Repository:
    return hub.repositories["model", "name/tiny"]


def change(folder, file, **values):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def difference(bundle, reference=CHECKPOINTS / "wav2vec2-base" / "reference.safetensors", rows=None) -> float:
    """The largest difference between the logits of a bundle and those of transformers, without special tokens."""
    stored = load_file(reference) if reference.suffix == ".safetensors" else np.load(reference)
    samples = stored["samples"] / np.float32(32768)
    features, frames = bundle.featurizer()(samples[None], np.array([len(samples)]))
    found = np.array(bundle.build()(features, frames))[0]
    return np.abs(found - stored["logits"][:, list(rows or bundle.checkpoint.rows)]).max()


@pytest.mark.parametrize("reference", sorted(CHECKPOINTS.glob("*/reference.*")), ids=lambda path: path.parent.name)
def test_every_family_has_the_logits_of_transformers(reference):
    language = reference.name.split(".")[1]  # of an adapter, as in reference.fra.safetensors
    bundle = load_bundle(reference.parent, language if language in ("eng", "fra") else None)
    assert bundle.notes == ()
    assert difference(bundle, reference) < 1e-4


def test_a_checkpoint_is_pulled_and_only_the_files_that_are_needed(hub):
    bundle = load_bundle("name/tiny")
    assert sorted(hub.served) == sorted([*DESCRIPTIONS, MODEL])
    assert bundle.name == f"name/tiny@{FIRST[:12]}"
    assert bundle.config["tokens"][:4] == ["", " ", "e", "t"]
    assert (bundle.language, bundle.licence, bundle.notes) == ("en", "apache-2.0", ())
    assert bundle.readme == CARD
    assert bundle.bytes == (CHECKPOINTS / "wav2vec2-base" / MODEL).stat().st_size
    assert difference(bundle) < 1e-4


def test_a_cached_checkpoint_needs_no_hub(hub, monkeypatch):
    load_bundle("name/tiny")
    hub.served.clear()
    assert load_bundle("name/tiny").name == load_bundle(f"name/tiny@{FIRST}").name
    assert hub.served == []
    hub.faults = [Fault("*", "", status=503)]
    assert load_bundle("name/tiny").readme == CARD
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_bundle(f"name/tiny@{FIRST}").name == f"name/tiny@{FIRST[:12]}"


def test_an_incomplete_cache_is_no_checkpoint(hub):
    hub.faults = [Fault("GET", MODEL, status=500)]
    with pytest.raises(BundleError, match="could not be downloaded"):
        load_bundle("name/tiny")
    hub.faults = [Fault("*", "", status=503)]
    with pytest.raises(BundleError, match="not complete in the cache and the Hub does not answer"):
        load_bundle("name/tiny")


def test_a_connection_that_breaks_makes_no_file_optional(hub):
    hub.faults = [Fault("HEAD", "added_tokens.json", status=503)]
    with pytest.raises(BundleError, match="tiny (could not be downloaded|is not complete)"):
        load_bundle("name/tiny")


def test_a_revision_stays_when_the_branch_moves_on(hub, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "next")
    (tmp_path / "next" / "README.md").write_text(CARD.replace("apache-2.0", "mit"))
    repository(hub).add(tmp_path / "next", oid=SECOND)
    assert load_bundle("name/tiny").licence == "mit"
    assert load_bundle(f"name/tiny@{FIRST}").licence == "apache-2.0"


def test_progress_is_reported_in_bytes(hub, folder):
    split(folder)
    seen = []
    load_bundle("name/tiny", progress=lambda done, total: seen.append((done, total)))
    total = sum(path.stat().st_size for path in folder.glob("model-*"))
    assert seen[-1] == (total, total) and len(seen) >= 2
    assert seen == sorted(seen) and {whole for _, whole in seen} == {total}


def split(folder):
    """Spreads the weights over two files, as transformers does with large ones."""
    tensors = load_file(folder / MODEL)
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: tensors[name] for name in own}, folder / file)
    places = {name: file for file, own in parts.items() for name in own}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / MODEL).unlink()


def test_weights_in_several_files(hub, folder):
    split(folder)
    bundle = load_bundle("name/tiny")
    assert {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", INDEX} < set(hub.served)
    assert difference(bundle) < 1e-4


def test_weights_of_sixteen_bits(folder):
    halves = {name: tensor.astype("float16") for name, tensor in load_file(folder / MODEL).items()}
    save_file(halves, folder / MODEL)
    assert 0 < difference(load_bundle(folder)) < 0.02


def test_weights_in_bfloat16(folder):
    """Which the NumPy interface of safetensors neither writes nor reads: the upper halves of float32."""
    table, numbers = {}, b""
    for name, tensor in load_file(folder / MODEL).items():
        half = (tensor.view("uint32") >> 16).astype("uint16").tobytes()
        place = [len(numbers), len(numbers) + len(half)]
        table[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": place}
        numbers += half
    text = json.dumps(table).encode()
    (folder / MODEL).write_bytes(struct.pack("<Q", len(text)) + text + numbers)
    assert 0 < difference(load_bundle(folder)) < 0.2


def test_a_bundle_of_a_checkpoint_goes_to_another_process(folder):
    assert difference(pickle.loads(pickle.dumps(load_bundle(folder)))) < 1e-4


def test_a_processor_of_transformers_5_is_read(folder):
    extractor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "processor_config.json").write_text(
        json.dumps({"feature_extractor": extractor | {"do_normalize": False}})
    )
    (folder / "preprocessor_config.json").unlink()
    assert load_bundle(folder).config["featurizer"]["normalise"] is False


def test_code_of_a_repository_is_left_alone_and_that_is_reported(hub, folder):
    change(folder, "config.json", auto_map={"AutoModelForCTC": "modeling_evil.Evil"})
    bundle = load_bundle("name/tiny")
    assert bundle.notes == (f"{bundle.name} names code of its own (auto_map), which is not run.",)
    assert "modeling_evil.py" not in hub.served


def test_tensors_without_a_place_are_reported(folder):
    save_file(load_file(folder / MODEL) | {"wav2vec2.extra.weight": np.zeros(3, "float32")}, folder / MODEL)
    (note,) = load_bundle(folder).notes
    assert note == "1 tensors of tiny have no place in the network, wav2vec2.extra.weight for one."


@pytest.fixture
def language_model(folder):
    """pyctcdecode's folder beside the checkpoint, with a file that is not needed."""
    inside = folder / "language_model"
    inside.mkdir()
    (inside / "5gram.arpa").write_text("\\data\\\nngram 1=4\n\\1-grams:\n-1 <s>\n-1 </s>\n-1 abba\n-1 cab\n\\end\\\n")
    (inside / "attrs.json").write_text(json.dumps({"alpha": 0.7, "beta": 2.0}))
    (inside / "training.log").write_text("long")
    return inside


def test_the_language_model_of_a_repository_is_downloaded_when_it_is_asked_for(hub, language_model):
    bundle = load_bundle("name/tiny")
    assert not [file for file in hub.served if "language_model" in file]
    hub.served.clear()
    for _ in range(2):
        with_words = with_language_model(bundle, "repo")
        assert "abba" in with_words.language_model().words
        assert with_words.decoder_options().language_model_weight == 0.7
    assert hub.served == ["language_model/5gram.arpa", "language_model/attrs.json"]
    hub.faults = [Fault("*", "", status=503)]
    assert "cab" in with_language_model(load_bundle("name/tiny"), "repo").language_model().words


def test_a_repository_without_a_language_model_says_so(hub):
    with pytest.raises(LanguageModelError, match="tiny.* has no folder language_model: name a file"):
        with_language_model(load_bundle("name/tiny"), "repo")


def test_a_language_model_beside_a_checkpoint_in_a_folder(folder, language_model):
    assert "cab" in with_language_model(load_bundle(folder), "repo").language_model().words


def test_the_command_line_writes_what_python_does(hub, folder, capsys):
    change(folder, "config.json", auto_map={"AutoModelForCTC": "modeling_evil.Evil"})
    assert main([str(EXAMPLE), "--model", "name/tiny"]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == asr_core.load("name/tiny").transcribe(EXAMPLE).written_text != ""
    assert printed.err.count("names code of its own (auto_map), which is not run.") == 1


def test_the_command_line_refuses_in_one_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([str(EXAMPLE), "--model", str(CHECKPOINTS / "mms"), "--language", "deu"])
    assert capsys.readouterr().err.endswith(
        "error: mms has 2 languages and 'deu' is none of them; near it: eng, fra.\n"
    )


def test_the_files_that_a_space_downloads_before_it_starts(hub):
    assert load_bundle("name/tiny").file_names == sorted([*DESCRIPTIONS, MODEL])


# Several languages.


@pytest.mark.parametrize(("asked", "checked"), [(None, "eng"), ("fra", "fra")])
def test_a_language_has_its_adapter(loopback_hub, asked, checked):
    loopback_hub.repositories["model", "name/mms"] = Repository()
    loopback_hub.repositories["model", "name/mms"].add(CHECKPOINTS / "mms", oid=FIRST)
    bundle = load_bundle("name/mms", language=asked)
    assert bundle.language == checked
    assert ("adapter.fra.safetensors" in loopback_hub.served) == (asked == "fra")


def test_languages_that_a_model_lacks(folder, tmp_path):
    with pytest.raises(BundleError, match="mms has 2 languages and 'frr' is none of them; near it: fra"):
        load_bundle(CHECKPOINTS / "mms", language="frr")
    with pytest.raises(BundleError, match="tiny has no choice of languages: leave out the language 'deu'"):
        load_bundle(folder, language="deu")
    shutil.copytree(CHECKPOINTS / "mms", tmp_path / "mms")
    (tmp_path / "mms" / "adapter.fra.safetensors").unlink()
    with pytest.raises(BundleError, match="mms has no adapter.fra.safetensors, which its language fra needs"):
        load_bundle(tmp_path / "mms", language="fra")


# Weights as a pickle.


@pytest.fixture
def pickled(hub, folder, tmp_path):
    """The repository has its weights as a pickle only; returns the files with them as safetensors beside it."""
    (folder / PICKLE).write_bytes(MALWARE)
    converted = tmp_path / "converted"
    shutil.copytree(folder, converted)
    (folder / MODEL).unlink()
    return converted


def test_a_pickle_alone_is_not_opened(hub, pickled, folder):
    for source in ("name/tiny", folder):
        with pytest.raises(
            BundleError, match=f"tiny.* has its weights only as {PICKLE}, .* convert it at https://hugg"
        ):
            load_bundle(source)
    assert PICKLE not in hub.served


def test_the_conversion_of_the_hubs_bot_is_taken_and_reported(hub, pickled, monkeypatch):
    commit = repository(hub).propose(pickled, CONVERSION, CONVERTER)
    bundle = load_bundle("name/tiny")
    assert PICKLE not in hub.served
    assert bundle.name == f"name/tiny@{FIRST[:12]}"
    (note,) = bundle.notes
    assert note.endswith(f"are those of name/tiny@refs/pr/1, {commit[:12]}, which the Hub's bot converted.")
    assert difference(bundle) < 1e-4
    hub.faults = [Fault("*", "", status=503)]
    assert load_bundle("name/tiny").notes == (note,)
    hub.faults = []


REFUSED_PROPOSALS = {
    "by somebody else": {"author": "somebody"},
    "with another title": {"title": "Adding `safetensors` and a surprise"},
    "that was closed": {"status": "closed"},
}


@pytest.mark.parametrize("case", REFUSED_PROPOSALS)
def test_a_conversion_is_not_taken(case, hub, pickled):
    about = {"title": CONVERSION, "author": CONVERTER} | REFUSED_PROPOSALS[case]
    repository(hub).propose(pickled, **about)
    with pytest.raises(BundleError, match="has its weights only as"):
        load_bundle("name/tiny")
    assert MODEL not in hub.served


def test_a_conversion_of_older_weights_is_not_taken(hub, pickled):
    (pickled / PICKLE).write_bytes(MALWARE + b"older")
    repository(hub).propose(pickled, CONVERSION, CONVERTER)
    with pytest.raises(BundleError, match="has its weights only as"):
        load_bundle("name/tiny")
    assert MODEL not in hub.served


# What is refused.


def kind(model_type, architecture):
    return lambda folder: change(folder, "config.json", model_type=model_type, architectures=[architecture])


def write(file, text):
    return lambda folder: (folder / file).write_text(text)


def vocabulary(edit):
    def apply(folder):
        path = folder / "vocab.json"
        path.write_text(json.dumps(edit(json.loads(path.read_text()))))

    return apply


def index_of(*files):
    def apply(folder):
        (folder / MODEL).unlink()
        (folder / INDEX).write_text(json.dumps({"weight_map": {str(i): file for i, file in enumerate(files)}}))

    return apply


REFUSED_DESCRIPTIONS = {
    "an encoder-decoder": (
        kind("whisper", "WhisperForConditionalGeneration"),
        r"is an encoder with a decoder of words \(WhisperForConditionalGeneration\); CTC models of these kinds run: .*"
        "hubert, .*wav2vec2",
    ),
    "speech2text": (kind("speech_to_text", "Speech2TextForConditionalGeneration"), "an encoder with a decoder of"),
    "a transducer": (kind("parakeet_tdt", "ParakeetForTDT"), r"is a transducer \(ParakeetForTDT\)"),
    "a network without a head": (kind("wav2vec2", "Wav2Vec2ForPreTraining"), "before its training on text, without a"),
    "a base network": (kind("hubert", "HubertModel"), "before its training on text, without a CTC head"),
    "a classifier": (kind("wav2vec2", "Wav2Vec2ForSequenceClassification"), "is a classifier of sounds"),
    "an unknown family": (kind("sew", "SEWForCTC"), "is a CTC model of a kind that is not known here, 'sew'"),
    "a language model": (kind("bert", "BertForMaskedLM"), r"is .*\(BertForMaskedLM\); CTC models of these kinds run"),
    "an architecture that is not a string": (kind("wav2vec2", {"a": 1}), "is not a CTC model"),
    "a model type that is not a string": (kind(["wav2vec2"], "Wav2Vec2ForCTC"), "of a kind that is not known here"),
    "an activation that is not known": (
        lambda folder: change(folder, "config.json", hidden_act="relu"),
        "tiny.*: Its hidden_act is 'relu'",
    ),
    "words for numbers": (lambda folder: change(folder, "config.json", hidden_size="16"), "size 'width' is '16'"),
    "a million layers": (
        lambda folder: change(folder, "config.json", num_hidden_layers=10**6),
        "size 'blocks' is 1000000; it must lie between 0 and 128",
    ),
    "a sample rate of nothing": (
        lambda folder: change(folder, "preprocessor_config.json", sampling_rate=0),
        "its sample rate of 0 Hz is not from 4000 to 96000",
    ),
    "nested depth": (write("config.json", "[" * 100_000), "its config.json cannot be read .*nested too deeply"),
    "nested depth in the vocabulary": (write("vocab.json", "[" * 100_000), "its vocab.json cannot be read"),
    "a huge description": (write("config.json", " " * (2 << 20)), "config.json has 2,097,152 bytes|more than 1 MB"),
    "no vocabulary": (lambda folder: (folder / "vocab.json").unlink(), "has neither vocab.json nor tokenizer.json"),
    "a vocabulary that is a list": (write("vocab.json", "[]"), "its vocab.json is not a JSON object"),
    "no weights": (lambda folder: (folder / MODEL).unlink(), "has no weights: model.safetensors, or"),
    "files elsewhere": (index_of("../../secret.safetensors"), "does not name files of weights beside it"),
    "absolute files": (index_of("/etc/passwd"), "does not name files of weights beside it"),
    "no file at all": (index_of(), "does not name files of weights beside it"),
    "a file that is missing": (index_of("model-1.safetensors"), "is incomplete: model-1.safetensors is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_DESCRIPTIONS)
def test_a_checkpoint_is_refused_before_its_weights_are_downloaded(case, hub, folder):
    tamper, message = REFUSED_DESCRIPTIONS[case]
    tamper(folder)
    for source in ("name/tiny", folder):
        with pytest.raises(BundleError, match=message) as refusal:
            load_bundle(source)
        assert "tiny" in str(refusal.value) and len(str(refusal.value)) < 400
    assert not {MODEL, "modeling_evil.py"} & set(hub.served)


def test_a_vocabulary_file_is_not_downloaded_if_it_is_huge(hub, folder, monkeypatch):
    monkeypatch.setattr("asr_core.bundle.checkpoints.opening.MAX_JSON_BYTES", 400)
    change(folder, "vocab.json", **{str(i): 32 + i for i in range(1000)})
    with pytest.raises(BundleError, match="its vocab.json has .* bytes, at most 400 were expected"):
        load_bundle("name/tiny")
    assert "vocab.json" not in hub.served


def test_a_model_that_memory_cannot_hold_is_not_downloaded(hub, monkeypatch):
    monkeypatch.setattr("asr_core.bundle.memory.free_bytes", lambda: 600_000_000)
    with pytest.raises(BundleError, match="needs about 0.7 GB of memory and 0.6 GB are free here: close other"):
        load_bundle("name/tiny")
    assert MODEL not in hub.served


def test_links_out_of_the_folder_are_refused(folder, tmp_path):
    (folder / "vocab.json").rename(tmp_path / "vocab.json")
    (folder / "vocab.json").symlink_to(tmp_path / "vocab.json")
    with pytest.raises(BundleError, match="vocab.json is a link out of the folder"):
        load_bundle(folder)


def header(edit, rest=b""):
    """Changes the header of the weights and leaves the numbers as they are."""

    def apply(folder):
        content = (folder / MODEL).read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        text = edit(json.loads(content[8 : 8 + length]))
        text = text if isinstance(text, bytes) else json.dumps(text).encode()
        (folder / MODEL).write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :] + rest)

    return apply


def entry(**values):
    return header(lambda table: table | {"lm_head.bias": table["lm_head.bias"] | values})


def tensors(edit):
    def apply(folder):
        table = load_file(folder / MODEL)
        edit(table)
        save_file(table, folder / MODEL)

    return apply


HEAD = "lm_head.weight"
REFUSED_WEIGHTS = {
    "a pickle": (lambda folder: (folder / MODEL).write_bytes(MALWARE), "model.safetensors is not a safetensors file"),
    "a pointer of Git LFS": (
        write(MODEL, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 377607901\n"),
        "a clone without Git LFS: run git lfs pull",
    ),
    "an empty file": (write(MODEL, ""), "model.safetensors is not a safetensors file"),
    "a header longer than the file": (
        lambda folder: (folder / MODEL).write_bytes(struct.pack("<Q", 10_000_000) + b"{}"),
        "not a safetensors file .its header would have 10,000,000 bytes",
    ),
    "a huge header": (header(lambda table: b" " * (17 << 20)), "its header would have 17,825,792 bytes"),
    "a deep header": (header(lambda table: b"[" * 100_000), "not a safetensors file .*nested too deeply"),
    "a header that is a list": (header(lambda table: [1]), "its header is not a table"),
    "an entry without a shape": (header(lambda table: {HEAD: {}}), "not a safetensors file .*is missing"),
    "a shape below zero": (entry(shape=[-32]), "'lm_head.bias' has no proper shape"),
    "a shape larger than its bytes": (entry(shape=[10**12]), "the size of 'lm_head.bias' is not what its shape"),
    "bytes beyond the file": (entry(data_offsets=[10**9, 10**9 + 128]), "the size of 'lm_head.bias' is not"),
    "whole numbers": (entry(dtype="I32"), "lm_head.bias is stored as 'I32'; F32, F16, BF16 would be read"),
    "a missing tensor": (tensors(lambda t: t.pop(HEAD)), "the tensor lm_head.weight is missing from its weights"),
    "a vocabulary of another size": (
        vocabulary(lambda ids: {text: row for text, row in ids.items() if row < 20}),
        "its vocabulary has 20 tokens and its head 32 outputs",
    ),
    "a vocabulary that is larger": (
        vocabulary(lambda ids: ids | {"é": 32}),
        "its vocabulary has 33 tokens and its head 32 outputs",
    ),
    "two letters in one place": (vocabulary(lambda ids: ids | {"é": 9}), "the entry 'é' of its vocabulary is not"),
    "letters in no place": (vocabulary(lambda ids: ids | {"é": None}), "the entry 'é' of its vocabulary is not"),
    "no blank": (
        lambda folder: [
            change(folder, "config.json", pad_token_id=99),
            change(folder, "tokenizer_config.json", pad_token="x"),
        ],
        "does not say which of its 32 outputs is the blank",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_WEIGHTS)
def test_a_checkpoint_is_refused_for(case, hub, folder):
    tamper, message = REFUSED_WEIGHTS[case]
    tamper(folder)
    for source in ("name/tiny", folder):
        with pytest.raises(BundleError, match=message) as refusal:
            load_bundle(source)
        assert "tiny" in str(refusal.value) and len(str(refusal.value)) < 400
    assert "modeling_evil.py" not in hub.served


def poison(value):
    def edit(table):
        table["wav2vec2.encoder.layer_norm.bias"][0] = value

    return tensors(edit)


REFUSED_NETWORKS = {
    "not a number": (poison(np.nan), "its weight normalise/beta is not finite"),
    "infinity": (poison(np.inf), "its weight normalise/beta is not finite"),
    "a shape of other sizes": (
        tensors(lambda t: t.update({"wav2vec2.encoder.layer_norm.bias": np.zeros(17, "float32")})),
        r"its tensor wav2vec2.encoder.layer_norm.bias has shape \(17,\), which is not what its config.json makes it",
    ),
    "sizes that would take all memory": (
        lambda folder: change(folder, "config.json", hidden_size=8192, intermediate_size=16_384),
        "has shape .*, which is not what its config.json makes it",
    ),
    "sizes that do not go together": (
        lambda folder: change(folder, "config.json", num_attention_heads=7),
        "tiny: no wav2vec2 has these sizes",
    ),
}


@pytest.mark.parametrize("case", REFUSED_NETWORKS)
def test_a_network_is_refused_for(case, folder):
    tamper, message = REFUSED_NETWORKS[case]
    tamper(folder)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder).build()
