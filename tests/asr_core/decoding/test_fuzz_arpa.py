"""Damaged and invented ARPA files: either a model whose every score is finite, or an error of one sentence."""

import gzip
import itertools
import math
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from asr_core.decoding.language_model import ROOT, NGramModel
from asr_core.errors import LanguageModelError
from tests.asr_core.fuzzing import thoroughly

WHOLE = """\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-1.0\t<s>\t-0.3
-0.7\t</s>
-2.0\t<unk>
-0.5\tthe\t-0.2
-0.9\tcat\t-0.1

\\2-grams:
-0.3\t<s> the\t-0.1
-0.4\tthe cat\t-0.2
-0.2\tcat </s>

\\3-grams:
-0.1\t<s> the cat

\\end\\
"""
PATCHES = st.one_of(
    st.sampled_from(
        ["-99", "nan", "inf", "1e999", "-1e38", "0", "\t", "\n", " ", "\\end\\", "\\data\\", "\\2-grams:", "ngram 4=1",
         "ngram 1=199999999", "<s>", "<unk>", "cat", "\x00", "\u2028", "\u00e9", "\\", "=", "-"]
    ),
    st.text(max_size=6),
)  # fmt: skip
DAMAGE = st.tuples(
    st.sampled_from(["overwrite", "insert", "delete", "drop line", "double line"]), st.integers(0, 400), PATCHES
)


def damaged(text: str, damages) -> str:
    for kind, place, patch in damages:
        if kind.endswith("line"):
            lines = text.split("\n")
            number = place % len(lines)
            lines[number : number + 1] = [] if kind == "drop line" else 2 * [lines[number]]
            text = "\n".join(lines)
            continue
        place %= len(text) + 1
        end = place if kind == "insert" else place + len(patch)
        text = text[:place] + ("" if kind == "delete" else patch) + text[end:]
    return text


def assert_is_read_or_refused(content: bytes, name: str = "model.arpa") -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            model = NGramModel.from_arpa(path)
        except LanguageModelError as error:
            assert str(error).startswith(f"{name} ") and len(str(error)) < 300
            return
    for words in itertools.product(range(min(len(model.words), 8)), repeat=2):
        state = ROOT
        for word in words:
            log_prob, state = model.score(state, word)
            assert math.isfinite(log_prob)


def test_the_whole_file_is_read():
    """Otherwise the tests below might only see refusals."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.arpa")
        path.write_text(WHOLE)
        assert {"the", "cat"} < set(NGramModel.from_arpa(path).words)


@thoroughly(200)
@given(st.lists(DAMAGE, max_size=6))
def test_a_damaged_file_is_read_or_refused(damages):
    assert_is_read_or_refused(damaged(WHOLE, damages).encode("utf-8", "surrogatepass"))


@thoroughly(100)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(content):
    assert_is_read_or_refused(content)


@thoroughly(60)
@given(place=st.integers(0, 400), patch=st.binary(min_size=1, max_size=4), end=st.floats(0, 1))
def test_a_damaged_archive_is_read_or_refused(place, patch, end):
    content = bytearray(gzip.compress(WHOLE.encode(), mtime=0))
    content[place % len(content) : place % len(content) + len(patch)] = patch
    assert_is_read_or_refused(bytes(content[: round(end * len(content))]), "model.arpa.gz")
