"""Error rates of the network in training on the validation clips, after a pass."""

import jiwer
import numpy as np
from tqdm import tqdm

from asr_core.ctc import best_path, collapse
from asr_core.text.vocabulary import Vocabulary
from train.data.batches import Batching, evaluation_batches
from train.data.examples import SpeechData
from train.fit.objective import TrainingModel

BATCHING = Batching(bucket_seconds=(4.0, 8.0, 16.0), batch_seconds=96.0)


def error_rates(training: TrainingModel, data: SpeechData, vocabulary: Vocabulary, seed: int) -> dict[str, float]:
    """Greedy error rates in percent; prints two references and hypotheses, chosen by `seed`.

    Returns:
        `wer` and `cer`, `wer_CORPUS` for every corpus, and `phone_error_rate` where the network has a phone head.
    """
    references, hypotheses, corpora = [], [], []
    phone_references, phone_hypotheses = [], []
    for inputs, examples in evaluation_batches(data, BATCHING):
        outputs = training.predict_on_batch(inputs)
        for row, example in enumerate(examples):
            tokens = _greedy(outputs["logits"][row], outputs["lengths"][row])
            hypotheses.append(" ".join(vocabulary.decode(tokens).split()))
            references.append(vocabulary.decode(example.labels))
            corpora.append(data.clips[example.number].corpus)
            if "phones" in outputs and len(example.phones):
                phones = _greedy(outputs["phones"][row], outputs["phone_steps"][row])
                phone_references.append(" ".join(map(str, example.phones)))
                phone_hypotheses.append(" ".join(map(str, phones)))
    rates = {"wer": jiwer.wer(references, hypotheses), "cer": jiwer.cer(references, hypotheses)}
    if phone_references:
        rates["phone_error_rate"] = jiwer.wer(phone_references, phone_hypotheses)
    for corpus in sorted(set(corpora)):
        chosen = [i for i, name in enumerate(corpora) if name == corpus]
        rates[f"wer_{corpus}"] = jiwer.wer([references[i] for i in chosen], [hypotheses[i] for i in chosen])
    for i in np.random.default_rng(seed).choice(len(references), 2):
        tqdm.write(f"  reference:  {references[i]}\n  hypothesis: {hypotheses[i]}")
    return {name: round(100 * rate, 2) for name, rate in rates.items()}


def _greedy(logits, steps) -> list[int]:
    """Greedy decoding of the first `steps` steps of logits [steps, tokens]: tokens, without blanks and repeats."""
    return collapse(best_path(np.asarray(logits[: int(steps)], np.float32)))
