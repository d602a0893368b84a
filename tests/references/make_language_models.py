"""Makes the language models in tests/data/language_models with KenLM, and the scores that KenLM gives.

    python tests/references/make_language_models.py BUILD_BINARY

Run it where `kenlm` is installed (pip install kenlm); BUILD_BINARY is KenLM's program of that name. The model is a
trigram of a few words with arbitrary probabilities. One bigram that a trigram ends with is left out, as SRILM's pruning
does, so that KenLM fills in a blank entry.
"""

import gzip
import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import kenlm

FOLDER = Path(__file__).parents[1] / "data" / "language_models"
WORDS = "the cat Cat sat on a mat don't naïve über 你好 and saw dog".split()
ALPHA, BETA = 0.6, 1.2


def arpa(generator: random.Random) -> str:
    words = ["<s>", *WORDS, "</s>"]
    bigrams = [pair for pair in itertools.product(words[:-1], words[1:]) if generator.random() < 0.3]
    trigrams = [
        (a, b, c) for a, b in bigrams for (d, c) in bigrams if b == d and b != "</s>" and generator.random() < 0.4
    ]
    bigrams.remove(trigrams[-1][1:])
    trigrams = [gram for gram in trigrams if gram[:2] in bigrams]

    def line(gram, backoff):
        weight = f"\t{-generator.random():.4f}" if backoff else ""
        return f"{-0.2 - 2 * generator.random():.4f}\t{' '.join(gram)}{weight}"

    unigrams = [line([word], word != "</s>") for word in ("<unk>", *words)]
    with_backoff = [line(gram, gram[-1] != "</s>") for gram in bigrams]
    sections = [unigrams, with_backoff, [line(gram, False) for gram in trigrams]]
    counts = "".join(f"ngram {n}={len(lines)}\n" for n, lines in enumerate(sections, 1))
    body = "".join(f"\\{n}-grams:\n" + "\n".join(lines) + "\n\n" for n, lines in enumerate(sections, 1))
    return f"\\data\\\n{counts}\n{body}\\end\\\n"


def main() -> None:
    generator = random.Random(5)
    folder = FOLDER / "pyctcdecode" / "language_model"
    folder.mkdir(parents=True, exist_ok=True)
    text = arpa(generator)
    (FOLDER / "trigram.arpa").write_text(text, encoding="utf-8")
    (FOLDER / "trigram.arpa.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    for kind, name in ("probing", "trigram.bin"), ("trie", "trie.bin"):
        subprocess.run([sys.argv[1], kind, FOLDER / "trigram.arpa", FOLDER / name], check=True)
    (folder / "5gram.bin").write_bytes((FOLDER / "trigram.bin").read_bytes())
    (folder / "attrs.json").write_text(
        json.dumps({"alpha": ALPHA, "beta": BETA, "unk_score_offset": -8.0, "score_boundary": True}) + "\n"
    )
    (folder / "unigrams.txt").write_text("\n".join(word for word in WORDS if word != "saw") + "\n", encoding="utf-8")
    labels = [" ", "a", "c", "t", ""]
    (folder.parent / "alphabet.json").write_text(json.dumps({"labels": labels, "is_bpe": False}) + "\n")

    model = kenlm.Model(str(FOLDER / "trigram.arpa"))
    scores = []
    for _ in range(60):
        words = [generator.choice([*WORDS, "unheard"]) for _ in range(generator.randrange(9))]
        scores.append([words, [score for score, _, _ in model.full_scores(" ".join(words))]])
    (FOLDER / "scores.json").write_text(json.dumps(scores, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
