"""Tabs stand alone: what two of them share lies in widgets or service."""

import re
from pathlib import Path

import pytest

from ui import tabs


@pytest.mark.parametrize("path", sorted(Path(tabs.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_a_tab_imports_no_other_tab(path):
    assert not re.search(r"^\s*(from|import)\s+ui\.tabs", path.read_text("utf-8"), re.M)
