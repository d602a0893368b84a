"""Makes the fixtures of the Conformer families: tiny checkpoints of transformers, random weights, with their outputs.

    REFERENCE_PYTHON -m tests.references.conformers tests/data/checkpoints

runs in an environment with torch and transformers, which the tests need not have. Each folder is what `save_pretrained`
writes, with `reference.npz` beside it: `samples` int16 [n] at 16 kHz, `features` [frames, bins] of transformers' own
feature extractor and `logits` [steps, tokens].
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
)

SAMPLE_RATE = 16_000  # Hz
SENTENCES = ("the cat sat on the mat", "the dog sat on the log", "a cat and a dog at the door")
PIECES = 40  # of the tokenizer, besides <unk>


def signal(seconds: float, seed: int = 7) -> np.ndarray:
    """Two glides in noise, int16: something in every mel band."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(seed).standard_normal(len(times))
    glides = np.sin(2 * np.pi * (300 * times + 900 * times**2)) + np.sin(2 * np.pi * (2500 * times - 600 * times**2))
    return np.round(3000 * (glides * np.sin(9 * times) ** 2 + noise)).astype("int16")


def perturb(model) -> None:
    """Random values for whatever a new model has as 0 or 1: norms, biases and the statistics of batch norms."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim == 1:
                tensor.add_(0.2 * noise)
            else:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)


def save(folder: Path, model, extractor, seconds: float) -> None:
    model.eval()
    perturb(model)
    samples = signal(seconds)
    inputs = extractor(samples / np.float32(32768), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    frames = int(inputs.attention_mask.sum())
    np.savez_compressed(
        folder / "reference.npz", samples=samples, features=inputs.input_features[0, :frames], logits=logits
    )


def tokenizer() -> Tokenizer:
    """Subword pieces learnt from `SENTENCES`, in the format of Parakeet: BPE, the word boundary written "▁"."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    bpe.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=PIECES + 1, special_tokens=["<unk>"], show_progress=False)
    bpe.train_from_iterator(SENTENCES, trainer)
    return bpe


def parakeet(folder: Path, **switches) -> None:
    """A FastConformer; its pieces and its blank, the last token as in Parakeet."""
    torch.manual_seed(0)
    pieces = tokenizer()
    blank = pieces.get_vocab_size()
    encoder = ParakeetEncoderConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, conv_kernel_size=5,
        subsampling_conv_channels=6, **switches,
    )  # fmt: skip
    model = ParakeetForCTC(ParakeetCTCConfig(vocab_size=blank + 1, pad_token_id=blank, encoder_config=encoder))
    save(folder, model, ParakeetFeatureExtractor(feature_size=switches.get("num_mel_bins", 80)), seconds=0.9)
    pieces.add_special_tokens(["<pad>"])
    pieces.save(str(folder / "tokenizer.json"))
    tokenizer_config = {"tokenizer_class": "ParakeetTokenizer", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n")


def wav2vec2_bert(folder: Path, **switches) -> None:
    """Wav2Vec2-BERT with the characters of `SENTENCES`; its blank is the last token, as in most fine-tunes."""
    torch.manual_seed(0)
    characters = ["|", *sorted(set("".join(SENTENCES)) - {" "}), "[UNK]", "[PAD]"]
    config = Wav2Vec2BertConfig(
        vocab_size=len(characters), pad_token_id=len(characters) - 1, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=24, output_hidden_size=16, left_max_position_embeddings=8,
        right_max_position_embeddings=3, conv_depthwise_kernel_size=5, **switches,
    )  # fmt: skip
    save(folder, Wav2Vec2BertForCTC(config), SeamlessM4TFeatureExtractor(), seconds=0.7)
    vocabulary = {character: number for number, character in enumerate(characters)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary) + "\n")
    tokenizer_config = {
        "tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "[PAD]", "unk_token": "[UNK]",
        "word_delimiter_token": "|", "bos_token": None, "eos_token": None,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n")


def make(folder: Path) -> None:
    """Writes every fixture of these families below `folder`."""
    parakeet(folder / "parakeet")
    parakeet(
        folder / "parakeet-no-biases", attention_bias=False, convolution_bias=False, scale_input=False, num_mel_bins=128
    )
    wav2vec2_bert(folder / "wav2vec2-bert")
    wav2vec2_bert(folder / "wav2vec2-bert-adapter", add_adapter=True, num_adapter_layers=2)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
