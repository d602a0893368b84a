"""Decoding time per second of audio: our beam with the language model, and keras.ops.ctc_decode beside it.

    python -m tests.benchmarks.decoding [--language-model FILE] [--emissions FILE.npz] [--width 16]

Without emissions of a real network it makes some: sentences spelled out in peaks, with blanks between them, and
letters confused by a network that is unsure of many. Times are CPU time, best of three, so that what else the
machine does matters little.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from asr_core.decoding.beam_search import DecoderOptions, beam_search
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import greedy
from asr_core.decoding.language_model import NGramModel
from asr_core.emissions import Emissions
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import Vocabulary

STEP_SECONDS = 0.04
TEXT = (
    "the kettle had been singing for some time before anybody thought of taking it off the fire and "
    "when at last somebody did there was very little water left in it so we went without our tea and "
    "talked about the journey that we were going to make as soon as the roads were dry enough again"
)


def synthetic_emissions(text: str, vocabulary: Vocabulary, seed: int = 0) -> Emissions:
    """Emissions at 25 steps a second of a text spoken at some 14 characters a second, unsure of many letters."""
    generator = np.random.default_rng(seed)
    rows = []
    for token in vocabulary.encode(text):
        for _ in range(generator.integers(0, 2)):
            rows.append(peak(0, 9.0, vocabulary, generator))
        rows.append(peak(token, generator.gamma(4.0, 1.6), vocabulary, generator))
    log_probs = np.stack(rows)
    return Emissions(log_probs.astype(np.float32), STEP_SECONDS)


def peak(token: int, height: float, vocabulary: Vocabulary, generator: np.random.Generator) -> np.ndarray:
    logits = generator.normal(0, 1.3, len(vocabulary))
    logits[0] += 2.0
    logits[token] += height
    return logits - np.logaddexp.reduce(logits)


def best_seconds(function, repeats: int = 3) -> float:
    function()  # warm
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def keras_beam(emissions: Emissions, width: int):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from keras import ops

    inputs = emissions.log_probs[None]
    lengths = np.array([len(emissions)], np.int32)

    def decode():
        ops.ctc_decode(inputs, lengths, strategy="beam_search", beam_width=width, top_paths=1, mask_index=0)

    return decode


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--language-model", type=Path, default=Path("assets/default/language_model.safetensors"))
    parser.add_argument("--emissions", type=Path, help="npz of [steps, tokens] log-probabilities, one a clip")
    parser.add_argument("--width", type=int, default=16)
    options = parser.parse_args()
    vocabulary = Vocabulary()
    if options.emissions:
        clips = [Emissions(array, STEP_SECONDS) for array in np.load(options.emissions).values()]
    else:
        clips = [synthetic_emissions(TEXT[:140], vocabulary, seed) for seed in range(10)]
    model = NGramModel.load(options.language_model) if options.language_model.is_file() else None
    if model:
        _ = model.tables  # built once
    seconds = sum(clip.seconds for clip in clips)
    print(f"{len(clips)} clips, {seconds:.0f} s of audio, beam {options.width}")

    beam = DecoderOptions(beam_width=options.width)
    names = ["-".join(chr(97 + (i // 26**k) % 26) for k in range(4)) * 2 for i in range(1000)]
    few, many = (HotWords.build([n.replace("-", "") for n in names[:count]], vocabulary) for count in (10, 1000))
    cases = {
        "greedy": lambda clip: greedy(clip, vocabulary),
        "beam": lambda clip: beam_search(clip, vocabulary, beam),
        "beam + language model": lambda clip: beam_search(clip, vocabulary, beam, model),
        "beam + language model + 10 hotwords": lambda clip: beam_search(clip, vocabulary, beam, model, few),
        "beam + language model + 1,000 hotwords": lambda clip: beam_search(clip, vocabulary, beam, model, many),
        "keras.ops.ctc_decode": lambda clip: keras_beam(clip, options.width)(),
    }
    for name, decode in cases.items():
        if model is None and "language" in name:
            continue
        taken = best_seconds(lambda decode=decode: [decode(clip) for clip in clips])
        print(f"{name:40} {1000 * taken / seconds:8.2f} ms per second of audio, real-time factor {taken / seconds:.4f}")

    ten_minutes = Emissions(np.concatenate([clips[i % len(clips)].log_probs for i in range(60)])[:15000], STEP_SECONDS)
    tokens = greedy(ten_minutes, vocabulary).tokens
    taken = best_seconds(lambda: forced_align(ten_minutes.log_probs, tokens), repeats=1)
    print(f"forced alignment of {ten_minutes.seconds:.0f} s and {len(tokens)} tokens: {taken:.2f} s")


if __name__ == "__main__":
    main()
