"""The language model of a test module, which writes it as `ARPA`."""

import pytest

from asr_core.decoding.language_model import NGramModel


@pytest.fixture(scope="module")
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("arpa") / "small.arpa"
    path.write_text(request.module.ARPA, encoding="utf-8")
    return NGramModel.from_arpa(path)
