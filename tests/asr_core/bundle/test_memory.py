"""What a network needs of memory, and what is left of it."""

import pytest

from asr_core.bundle import memory
from asr_core.errors import BundleError

GIGABYTE = 1_000_000_000


@pytest.mark.parametrize(
    ("weights", "free", "fits"),
    [
        (0.022, 1, True),  # the model that comes with the program, on the smallest machine
        (0.378, 2, True),  # wav2vec2-base
        (1.26, 16, True),  # wav2vec2-large, on a free Space
        (1.26, 4, False),
        (3.9, 16, True),  # MMS
        (8.6, 12, False),
    ],
)
def test_a_network_fits_or_not(monkeypatch, weights, free, fits):
    monkeypatch.setattr(memory, "free_bytes", lambda: free * GIGABYTE)
    if fits:
        return memory.refuse_too_large("tiny", round(weights * GIGABYTE))
    with pytest.raises(BundleError, match=f"tiny needs about .* GB of memory and {free}.0 GB are free here"):
        memory.refuse_too_large("tiny", round(weights * GIGABYTE))


def group(folder, limit, used, statistics):
    files = [folder / name for name in ("limit", "used", "statistics")]
    for file, text in zip(files, (limit, used, statistics), strict=True):
        file.write_text(text)
    return tuple(map(str, files))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal:  16000000 kB\nMemAvailable:  8000000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CONTROL_GROUPS", ())


def test_the_limit_of_a_container_counts_less_what_it_uses_without_cached_files(machine, tmp_path, monkeypatch):
    assert memory.free_bytes() == 8000000 << 10
    statistics = "anon 1\ninactive_file 500\n"
    monkeypatch.setattr(memory, "CONTROL_GROUPS", (group(tmp_path, "2000\n", "900\n", statistics),))
    assert memory.free_bytes() == 1600
    monkeypatch.setattr(memory, "CONTROL_GROUPS", (group(tmp_path, "max\n", "900\n", statistics),))
    assert memory.free_bytes() == 8000000 << 10


def test_where_memory_cannot_be_measured_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "CONTROL_GROUPS", (("none", "none", "none"),))
    monkeypatch.setattr("os.sysconf_names", {})
    memory.refuse_too_large("tiny", 10**15)
