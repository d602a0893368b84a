"""Makes the checkpoints below `tests/data/checkpoints` that networks of others are compared with.

Not part of the tests: it needs torch and transformers, which the project does not. The stored files were made with
transformers 5.24.0 and torch 2.13.0 on a CPU:

    python -m venv reference && reference/bin/pip install transformers==5.24.0 torch==2.13.0
    reference/bin/python tests/references/make_checkpoints.py [NAME ...]

Each folder is a repository as transformers saves it, with a tiny network of random weights, and
`reference.safetensors`: `samples`, int16 at 16 kHz, and `logits`, what transformers computes from them, alone and
without padding; where the network does not take the waveform itself, `features` as well, [frames, bins]. Every weight
is disturbed first, norms and biases too: a network as it is initialised hides errors behind ones and zeros.

Another family adds a function that yields (name, model, preprocessor, keywords of `save`).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

FOLDER = Path(__file__).parents[1] / "data" / "checkpoints"
SAMPLE_RATE = 16_000
LETTERS = "<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()
TINY = {
    "vocab_size": len(LETTERS), "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 40, "conv_dim": [12] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
LOG_MEL = {
    "feature_size": 80, "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True,
    "sampling_rate": SAMPLE_RATE,
}  # fmt: skip
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


def parakeet() -> Iterator[tuple]:
    """FastConformers, with every bias and the scale of the input, and without."""
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
        "conv_kernel_size": 5, "subsampling_conv_channels": 6,
    }  # fmt: skip
    without = {"attention_bias": False, "convolution_bias": False, "scale_input": False, "num_mel_bins": 128}
    for name, switches in (("parakeet", {}), ("parakeet-without-biases", without)):
        encoder = transformers.ParakeetEncoderConfig(**sizes | switches)
        blank = pieces().get_vocab_size()
        config = transformers.ParakeetCTCConfig(encoder_config=encoder, vocab_size=blank + 1, pad_token_id=blank)
        front_end = LOG_MEL | {"feature_extractor_type": "ParakeetFeatureExtractor"}
        front_end["feature_size"] = encoder.num_mel_bins
        yield name, transformers.ParakeetForCTC(config), front_end, {"pieces": pieces()}


def wav2vec2_bert() -> Iterator[tuple]:
    """Wav2Vec2-BERT, whose blank is the last token as in most fine-tuned ones, and with two adapter layers."""
    letters = [*LETTERS[4:], "[UNK]", "[PAD]"]
    sizes = {
        "vocab_size": len(letters), "pad_token_id": len(letters) - 1, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 24, "left_max_position_embeddings": 8,
        "right_max_position_embeddings": 3, "conv_depthwise_kernel_size": 5, "output_hidden_size": 16,
    }  # fmt: skip
    front_end = LOG_MEL | {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "num_mel_bins": 80, "stride": 2}
    adapters = {"add_adapter": True, "num_adapter_layers": 2}
    for name, switches in (("wav2vec2-bert", {}), ("wav2vec2-bert-adapters", adapters)):
        model = transformers.Wav2Vec2BertForCTC(transformers.Wav2Vec2BertConfig(**sizes | switches))
        yield name, model, front_end, {"letters": letters}


def omniasr() -> Iterator[tuple]:
    """OmniASR, whose padding is not its blank."""
    audio = {key: value for key, value in TINY.items() if key != "vocab_size"}
    audio = transformers.AutoConfig.for_model("omniasr_audio", **audio)
    letters = ["<s>", "<pad>", "</s>", "<unk>", " ", *LETTERS[5:]]
    config = transformers.AutoConfig.for_model("omniasr_ctc", audio_config=audio, vocab_size=len(letters))
    front_end = WAVEFORM | {"feature_extractor_type": "OmniASRFeatureExtractor"}
    yield "omniasr", transformers.AutoModelForCTC.from_config(config), front_end, {"letters": letters}


def pieces() -> Tokenizer:
    """Subword pieces learnt from a few sentences, as Parakeet's are: byte-pair encoding, "▁" before each word."""
    sentences = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog at the door"]
    tokenizer = Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=40, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


FAMILIES = (wav2vec2, hubert, wavlm, data2vec, unispeech, parakeet, wav2vec2_bert, omniasr)


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


def outputs_of(model: torch.nn.Module, preprocessor: dict, samples: np.ndarray) -> dict[str, torch.Tensor]:
    """`samples`, the `logits` [steps, tokens] of the clip, and its `features` unless they are the samples."""
    extractor = getattr(transformers, preprocessor["feature_extractor_type"])(**preprocessor)
    inputs = extractor(samples / np.float32(32768), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    if "input_features" in inputs:  # front ends leave a masked frame at the end
        valid = int(inputs["attention_mask"].sum())
        inputs = {name: tensor[:, :valid] for name, tensor in inputs.items()}
    with torch.no_grad():
        outputs = {"samples": torch.from_numpy(samples), "logits": model.eval()(**inputs).logits[0].contiguous()}
    if "input_features" in inputs:
        outputs["features"] = inputs["input_features"][0].contiguous()
    return outputs


def save(name, model, preprocessor, *, languages=(), older_names=False, letters=LETTERS, pieces=None) -> None:
    """Writes one folder.

    Args:
        languages: of an MMS network: its vocabulary is nested by language, and the second has an adapter file.
        older_names: whether weight norm is stored as weight_g and weight_v.
        letters: the vocabulary, blank included.
        pieces: a tokenizer of subword pieces instead.
    """
    disturb(model)
    folder, samples = FOLDER / name, speech_like_samples()
    model.save_pretrained(folder)
    save_file(outputs_of(model, preprocessor, samples), folder / "reference.safetensors")
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    if languages:
        others = [*letters[:-4], "É", "È"]
        _save_adapter(folder, model, preprocessor, samples, languages[1], len(others))
        vocabulary = {languages[0]: vocabulary, languages[1]: {letter: i for i, letter in enumerate(others)}}
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    if "[PAD]" in letters:
        special = {"bos_token": None, "eos_token": None, "pad_token": "[PAD]", "unk_token": "[UNK]"}
    delimiter = "|" if "|" in letters else " "
    tokenizer = special | {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": delimiter}
    contents = {"preprocessor_config": preprocessor, "vocab": vocabulary, "tokenizer_config": tokenizer}
    if pieces:
        del contents["vocab"]
        tokenizer |= {"tokenizer_class": "ParakeetTokenizer", "bos_token": None, "eos_token": None}
        del tokenizer["word_delimiter_token"]
        pieces.add_special_tokens(["<pad>"])
        pieces.save(str(folder / "tokenizer.json"))
    for file, content in contents.items():
        (folder / f"{file}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if older_names:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        for number, old in enumerate(("weight_g", "weight_v")):
            new = f"parametrizations.weight.original{number}"
            tensors = {key.replace(new, old): value for key, value in tensors.items()}
        save_file(tensors, path, metadata={"format": "pt"})


def _save_adapter(folder, model, preprocessor, samples, language: str, tokens: int) -> None:
    """Writes the adapter of a second language with its head of another size, and the logits that it leads to."""
    model.lm_head = torch.nn.Linear(model.config.hidden_size, tokens)
    adapter = model._get_adapters()
    with torch.no_grad():
        for i, tensor in enumerate(adapter.values()):
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2 + i)))
    copies = {key: value.detach().clone() for key, value in adapter.items()}
    save_file(copies, folder / f"adapter.{language}.safetensors")
    save_file(outputs_of(model, preprocessor, samples), folder / f"reference.{language}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for family in FAMILIES:
        for name, *rest, keywords in family():
            if not sys.argv[1:] or name in sys.argv[1:]:
                save(name, *rest, **keywords)
                print(name)
