"""Makes the checkpoints below `tests/data/checkpoints` that networks of others are compared with.

Not part of the tests: it needs torch and transformers, which the project does not. The stored files were made with
transformers 5.24.0 and torch 2.13.0 on a CPU:

    python -m venv reference && reference/bin/pip install transformers==5.24.0 torch==2.13.0
    reference/bin/python tests/references/make_checkpoints.py [NAME ...]

Each folder is a repository as transformers saves it, with a tiny network of random weights, and
`reference.safetensors`: `samples`, int16 at 16 kHz, and `logits`, what transformers computes from them, alone and
without padding. Every weight is disturbed first, norms and biases too: a network as it is initialised hides errors
behind ones and zeros.

Another family adds a function that yields (name, model, preprocessor, keywords of `save`).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).parents[1] / "data" / "checkpoints"
SAMPLE_RATE = 16_000
LETTERS = "<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()
TINY = {
    "vocab_size": len(LETTERS), "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 40, "conv_dim": [12] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WAVEFORM = {
    "do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1,
    "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True, "sampling_rate": SAMPLE_RATE,
}  # fmt: skip


def wav2vec2() -> Iterator[tuple]:
    """wav2vec 2.0 in its two layouts and the mixtures of them, and MMS with an adapter for a second language."""
    config, network = transformers.Wav2Vec2Config, transformers.Wav2Vec2ForCTC
    real = {"hidden_size": 32, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16}
    yield "wav2vec2-base", network(config(**TINY | real)), WAVEFORM, {}
    yield "wav2vec2-large", network(config(**TINY | LARGE)), WAVEFORM, {}
    yield "wav2vec2-group-first", network(config(**TINY | LARGE | {"feat_extract_norm": "group"})), WAVEFORM, {}
    mixed = {"feat_extract_norm": "layer", "num_conv_pos_embeddings": 19, "layer_norm_eps": 1e-3}
    yield "wav2vec2-layer-last", network(config(**TINY | mixed)), WAVEFORM | {"do_normalize": False}, {}
    yield "mms", network(config(**TINY | LARGE | {"adapter_attn_dim": 8})), WAVEFORM, {"languages": ("eng", "fra")}


def hubert() -> Iterator[tuple]:
    """HuBERT in both layouts, one under the older names of weight norm, and with batch normalisation."""
    config, network = transformers.HubertConfig, transformers.HubertForCTC
    yield "hubert-base", network(config(**TINY)), WAVEFORM, {}
    yield "hubert-large", network(config(**TINY | LARGE)), WAVEFORM, {"older_names": True}
    batch_norm = {"conv_pos_batch_norm": True, "feat_proj_layer_norm": False}
    yield "hubert-batch-norm", network(config(**TINY | batch_norm)), WAVEFORM, {}


def wavlm() -> Iterator[tuple]:
    """WavLM in both layouts, with few buckets, so that a short clip fills all of them."""
    config, network = transformers.WavLMConfig, transformers.WavLMForCTC
    sizes = TINY | {"num_buckets": 16, "max_bucket_distance": 13}
    yield "wavlm-base", network(config(**sizes)), WAVEFORM, {}
    yield "wavlm-large", network(config(**sizes | LARGE)), WAVEFORM, {}


def data2vec() -> Iterator[tuple]:
    yield "data2vec-audio", transformers.Data2VecAudioForCTC(
        transformers.Data2VecAudioConfig(**TINY | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 19})
    ), WAVEFORM, {}  # fmt: skip


def unispeech() -> Iterator[tuple]:
    yield "unispeech", transformers.UniSpeechForCTC(transformers.UniSpeechConfig(**TINY | LARGE)), WAVEFORM, {}
    yield "unispeech-sat", transformers.UniSpeechSatForCTC(transformers.UniSpeechSatConfig(**TINY)), WAVEFORM, {}


FAMILIES = (wav2vec2, hubert, wavlm, data2vec, unispeech)


def disturb(model: torch.nn.Module) -> None:
    """Adds noise to every weight and statistic; what must be positive stays so."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if tensor.dtype != torch.float32:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        positive = name.endswith("running_var") or name.endswith("original0")
        tensor.copy_(tensor * (1 + 0.3 * noise).abs() + 0.1 if positive else tensor + 0.2 * noise)


def speech_like_samples() -> np.ndarray:
    """int16 [n]: tones under an envelope, with noise; an odd length, so that convolutions leave a rest."""
    time = np.arange(9_371) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * hertz * time * (1 + time)) for hertz in (130, 520, 1700, 3100))
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (3000 * (np.sin(7 * time) * tones + 0.3 * noise) + 200).astype("int16")


def logits_of(model: torch.nn.Module, preprocessor: dict, samples: np.ndarray) -> np.ndarray:
    """[steps, tokens] of one clip, normalised as its preprocessor says."""
    extractor = getattr(transformers, preprocessor["feature_extractor_type"])(**preprocessor)
    inputs = extractor(samples / np.float32(32768), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    with torch.no_grad():
        return model.eval()(**inputs).logits[0].numpy()


def save(name, model, preprocessor, *, languages=(), older_names=False, letters=LETTERS) -> None:
    """Writes one folder.

    Args:
        languages: of an MMS network: its vocabulary is nested by language, and the second has an adapter file.
        older_names: whether weight norm is stored as weight_g and weight_v.
        letters: the vocabulary.
    """
    disturb(model)
    folder, samples = FOLDER / name, speech_like_samples()
    model.save_pretrained(folder)
    write = {"samples": torch.from_numpy(samples), "logits": torch.from_numpy(logits_of(model, preprocessor, samples))}
    save_file(write, folder / "reference.safetensors")
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    if languages:
        _save_adapter(folder, model, preprocessor, samples, languages[1])
        vocabulary = dict.fromkeys(languages, vocabulary)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = special | {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": "|"}
    contents = {"preprocessor_config": preprocessor, "vocab": vocabulary, "tokenizer_config": tokenizer}
    for file, content in contents.items():
        (folder / f"{file}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if older_names:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        for number, old in enumerate(("weight_g", "weight_v")):
            new = f"parametrizations.weight.original{number}"
            tensors = {key.replace(new, old): value for key, value in tensors.items()}
        save_file(tensors, path, metadata={"format": "pt"})


def _save_adapter(folder, model, preprocessor, samples, language: str) -> None:
    """Writes the adapter of a second language with its head, and the logits that it leads to."""
    adapter = model._get_adapters()
    with torch.no_grad():
        for i, tensor in enumerate(adapter.values()):
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2 + i)))
    copies = {key: value.detach().clone() for key, value in adapter.items()}
    save_file(copies, folder / f"adapter.{language}.safetensors")
    logits = torch.from_numpy(logits_of(model, preprocessor, samples))
    save_file({"samples": torch.from_numpy(samples), "logits": logits}, folder / f"reference.{language}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for family in FAMILIES:
        for name, *rest, keywords in family():
            if not sys.argv[1:] or name in sys.argv[1:]:
                save(name, *rest, **keywords)
                print(name)
