"""A Hub on loopback, which the real client talks to, with a cache of its own."""

import pytest
from huggingface_hub import constants

from tests.train.hub_server import serving


@pytest.fixture
def loopback_hub(tmp_path, monkeypatch):
    """An empty Hub (see `tests.train.hub_server.Hub`)."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits before it tries again
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
