"""What all tests share: a folder of their own for what Gradio keeps of visitors; no time limits of Hypothesis."""

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no fault
settings.load_profile("unhurried")


@pytest.fixture(autouse=True, scope="session")
def own_upload_folder(tmp_path_factory):
    """One for the whole run: a server keeps the folder it began with, its checks read the variable every time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield
