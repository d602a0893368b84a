"""Small searches whose results can be computed by hand or over all paths: options, language models, emissions."""

import math

import numpy as np

from asr_core.decoding.neural_language_model import GROUP, NeuralLanguageModel, weight_shapes
from asr_core.emissions import Emissions

EXACT = {"beam_width": 1024, "token_threshold": 0.0, "score_threshold": math.inf, "n_best": 1024}


def small_arpa(pair: str, longest: str) -> str:
    """A bigram model as ARPA text, of the words "a", "b", `pair` and `longest`."""
    return f"""\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.5 <unk>
-99 <s> -0.2
-0.8 </s>
-0.6 a -0.3
-1.1 {pair} -0.1
-0.9 b -0.2
-1.3 {longest}

\\2-grams:
-0.3 <s> {pair}
-0.5 a b
-0.2 b </s>
-0.7 {pair} a

\\end\\
"""


def random_emissions(
    steps: int, tokens: int = 4, seed: int = 0, sharpness: float = 1.5, step_seconds: float = 0.04
) -> Emissions:
    logits = np.random.default_rng(seed).normal(0, sharpness, (steps, tokens))
    return Emissions((logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32), step_seconds)


def emissions_along(path: list[int], tokens: int, confident: float, step_seconds: float) -> Emissions:
    """Emissions whose best path is given; the other tokens share the rest of the probability."""
    probabilities = np.full((len(path), tokens), (1 - confident) / (tokens - 1), np.float32)
    probabilities[np.arange(len(path)), path] = confident
    return Emissions(np.log(probabilities), step_seconds)


def random_recurrent_model(words: list[str], cells: int = 5) -> NeuralLanguageModel:
    """A recurrent language model with random weights. `words` begin with the special ones."""
    generator = np.random.default_rng(0)
    shapes = weight_shapes(len(words), GROUP, cells)
    return NeuralLanguageModel(
        words, {name: generator.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    )
