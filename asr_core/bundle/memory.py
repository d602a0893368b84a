"""How much memory a network takes, and how much this machine has left for it."""

import os
from pathlib import Path

from asr_core.errors import AudioError, BundleError

PROGRAM_BYTES = 700_000_000  # Python and TensorFlow
PER_WEIGHT_BYTE = 1.25  # while a network is built, for every byte of its weights as float32
BATCH_BYTES = 2_000_000_000  # what a large network computes in between, for a batch of windows; a small one takes less
BATCH_PER_WEIGHT_BYTE = 1.5
SMALL_OUTPUT_BYTES = 100_000_000  # for which the free memory is not asked
MEMINFO = Path("/proc/meminfo")
CONTROL_GROUPS = (  # files of a container: its limit and its use, of versions 2 and 1 of Linux' control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def refuse_too_large(name: str, float32_bytes: int) -> None:
    """Raises BundleError if a network with weights of this size would not fit into the memory that is free.

    Args:
        name: of the bundle, for the message.
        float32_bytes: of all weights as float32, in which networks run.
    """
    batch = min(BATCH_PER_WEIGHT_BYTE * float32_bytes, BATCH_BYTES)
    needed = PROGRAM_BYTES + PER_WEIGHT_BYTE * float32_bytes + batch
    free = free_bytes()
    if free is not None and needed > free:
        raise BundleError(
            f"{name} needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free here: close other "
            "programs, or take a smaller model."
        )


def refuse_too_long(seconds: float, output_bytes: int) -> None:
    """Raises AudioError if a network's output for a recording would take more than half of the memory that is free."""
    if output_bytes < SMALL_OUTPUT_BYTES:
        return
    free = free_bytes()
    if free is not None and output_bytes > free / 2:
        fits = seconds * free / 2 / output_bytes / 60
        raise AudioError(
            f"The network's output for {seconds / 60:.0f} minutes takes {output_bytes / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free here: cut the recording into parts of at most {fits:.0f} minutes."
        )


def free_bytes() -> int | None:
    """Memory that this process may still use, within the limit of its container; None where it is not known."""
    known = [free for free in (_free_of_machine(), *map(_free_of_group, CONTROL_GROUPS)) if free is not None]
    return min(known, default=None)


def _free_of_machine() -> int | None:
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except OSError:  # no Linux
        names = getattr(os, "sysconf_names", {})
        if "SC_PHYS_PAGES" in names:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _free_of_group(files: tuple[str, str, str]) -> int | None:
    """The limit of a control group less its use, without the part of its use that is a cache of files."""
    try:
        limit, used, statistics = (Path(file).read_text() for file in files)
    except OSError:
        return None
    if not limit.strip().isdecimal():  # "max"
        return None
    cached = dict(line.split() for line in statistics.splitlines()).get("inactive_file", 0)
    return max(int(limit) - int(used) + int(cached), 0)
