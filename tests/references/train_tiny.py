"""Trains `tests/data/checkpoints/tiny-trained`: a small wav2vec 2.0, from the four clips of `assets/examples`.

Run by hand like `make_checkpoints.py`, in an environment with torch, transformers and soundfile; some minutes on one
core. With the number of a round it continues from what is stored. Made with transformers 5.24.0 and torch 2.13.0.

The repository is laid out as those of the usual tutorial for fine-tuning: blank and unknown are the last entries of
the vocabulary, <s> and </s> are added tokens without a row in the head. Weights are stored as float16.

Segments between any two words are trained as well as whole clips, and every letter is placed by hand first, so that
words are bound to their place in the signal. `words.json` beside this file holds their times in seconds, as our
default model aligns them: `python -m asr_core assets/examples --align TEXTS --format json`.
"""

import json
import math
import string
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers
from make_checkpoints import FOLDER, SAMPLE_RATE, WAVEFORM

ROOT = Path(__file__).parents[2]
LETTERS = [*string.ascii_lowercase, "'", "|", "[UNK]", "[PAD]"]
BLANK = len(LETTERS) - 1
BATCH, PEAK_RATE = 4, 2e-3
# Of each round: its training steps, the share of them before CTC, in which every letter has a place, the weight of
# these places beside CTC in the other steps, and the share of segments that are whole clips. The rate falls to zero in
# each.
ROUNDS = ((700, 0.6, 0.0, 0.2), (700, 0.0, 1.0, 0.2), (280, 0.0, 1.0, 0.6), (600, 0.0, 0.5, 0.6))
MARGIN_SECONDS = 0.12  # around a segment
MAX_WORDS = 5  # of a segment that is not a whole clip
SIZES = {
    "vocab_size": len(LETTERS), "pad_token_id": BLANK, "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 160, "conv_dim": [16, 24, 32, 32, 48, 64, 64],
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "mask_time_prob": 0.0,
    "ctc_loss_reduction": "mean", "ctc_zero_infinity": True,
}  # fmt: skip
NO_DROPOUT = dict.fromkeys(
    ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout", "layerdrop"),
    0.0,
)


def clips() -> list[tuple[np.ndarray, list]]:
    """Samples float32 [n] at 16 kHz and [[word, start, end]] of every clip."""
    times = json.loads((Path(__file__).parent / "words.json").read_text())
    read = {name: soundfile.read(ROOT / "assets" / "examples" / f"{name}.opus", dtype="float32") for name in times}
    assert all(rate == SAMPLE_RATE for _, rate in read.values())
    return [(read[name][0], words) for name, words in times.items()]


def segment(samples: np.ndarray, words: list, whole: float, rng: np.random.Generator) -> tuple:
    """A random run of words, or with probability `whole` the whole clip, with margins of random length.

    Returns:
        Samples float32 [n], the text, and a token for every output step, int64 [steps]: the letters of a word spread
        over its time, and blanks.
    """
    first, last = 0, len(words) - 1
    if rng.random() > whole:
        first = rng.integers(len(words))
        last = min(first + rng.integers(MAX_WORDS), last)
    # The cut lies between the words; before the first and after the last there may be any pause that the clip has.
    before = words[first - 1][2] if first else max(0, words[0][1] - 1)
    after = words[last + 1][1] if last + 1 < len(words) else words[last][2] + 1
    start = rng.uniform(max(before, words[first][1] - MARGIN_SECONDS * (1 + 5 * (first == 0))), words[first][1])
    end = rng.uniform(words[last][2], min(after, words[last][2] + MARGIN_SECONDS * (1 + 5 * (last + 1 == len(words)))))
    cut = samples[round(start * SAMPLE_RATE) : max(round(end * SAMPLE_RATE), round(start * SAMPLE_RATE) + 4000)]
    noisy = cut + rng.standard_normal(len(cut)) * cut.std() * rng.uniform(0, 0.03)
    chosen = words[first : last + 1]
    return noisy.astype("float32"), "|".join(word for word, _, _ in chosen), places(chosen, start, len(cut))


def places(words: list, start: float, samples: int) -> np.ndarray:
    """A token for every output step of a segment that starts at this second."""
    tokens = np.full((samples - 400) // 320 + 1, BLANK)
    for i, (word, begin, end) in enumerate(words):
        timed = [(begin + (end - begin) * (k + 0.5) / len(word), letter) for k, letter in enumerate(word)]
        if i:
            timed.append(((words[i - 1][2] + begin) / 2, "|"))
        for seconds, letter in timed:
            tokens[min(max(round((seconds - start) * 50 - 0.6), 0), len(tokens) - 1)] = LETTERS.index(letter)
    return tokens


def decode(logits: torch.Tensor) -> str:
    best = torch.unique_consecutive(logits.argmax(-1)).tolist()
    return "".join(LETTERS[token] for token in best if token != BLANK)


def train(model, extractor, data, steps: int, placed_share: float, placed_weight: float, whole: float) -> None:
    """One of ROUNDS."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    rng, began = np.random.default_rng(0), time.time()
    weights = torch.ones(len(LETTERS))
    weights[BLANK] = 0.3
    for step in range(steps):
        share = step / steps
        optimiser.param_groups[0]["lr"] = PEAK_RATE * min(share / 0.05, 0.5 + 0.5 * math.cos(math.pi * share))
        optimiser.zero_grad()
        for _ in range(BATCH):  # one by one: padding would change the group normalisation of transformers
            cut, text, tokens = segment(*data[rng.integers(len(data))], whole, rng)
            inputs = extractor(cut, sampling_rate=SAMPLE_RATE, return_tensors="pt")
            output = model(**inputs, labels=torch.tensor([[LETTERS.index(letter) for letter in text]]))
            placed = torch.nn.functional.cross_entropy(output.logits[0], torch.from_numpy(tokens), weight=weights)
            loss = placed if share < placed_share else output.loss + placed_weight * placed
            (loss / BATCH).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 25 == 0:
            print(f"{step} {time.time() - began:.0f} s loss {loss.item():.3f}", flush=True)


def save(model, folder: Path) -> None:
    transformers.logging.set_verbosity_error()
    model.half().save_pretrained(folder)
    vocabulary = {letter: i for i, letter in enumerate(LETTERS)}
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    tokenizer = special | {
        "do_lower_case": False, "word_delimiter_token": "|", "replace_word_delimiter_char": " ",
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
    }  # fmt: skip
    contents = {
        "vocab": vocabulary, "tokenizer_config": tokenizer, "special_tokens_map": special,
        "added_tokens": {"<s>": len(LETTERS), "</s>": len(LETTERS) + 1}, "preprocessor_config": WAVEFORM,
    }  # fmt: skip
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    card = (
        "---\nlanguage: en\nlicense: cc0-1.0\n---\n\n# Tiny wav2vec 2.0\n\nTrained on the four clips of "
        "`assets/examples` with `tests/references/train_tiny.py`, for tests: it knows them by\n"
        "heart, and nothing else.\n"
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data, folder = clips(), FOLDER / "tiny-trained"
    extractor = transformers.Wav2Vec2FeatureExtractor(**WAVEFORM)
    model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**SIZES, **NO_DROPOUT))
    print(f"{sum(weight.numel() for weight in model.parameters())} weights", flush=True)
    for number, settings in enumerate(ROUNDS):
        if number >= int(sys.argv[1] if sys.argv[1:] else 0):  # a round to continue with, from what is stored
            train(model.train(), extractor, data, *settings)
            save(model, folder)
        model = transformers.Wav2Vec2ForCTC.from_pretrained(folder, dtype=torch.float32).eval()
    wrong = 0
    for samples, words in data:
        expected = "|".join(word for word, _, _ in words)
        for start in (0, 800, round(words[0][1] * SAMPLE_RATE * 0.9)):
            inputs = extractor(samples[start:], sampling_rate=SAMPLE_RATE, return_tensors="pt")
            with torch.no_grad():
                found = decode(model(**inputs).logits[0])
            wrong += found != expected
            print(start, found == expected, found)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
