"""Every clip decoded once, into one memory-mapped file."""

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from asr_core.audio.loading import load_audio
from asr_core.errors import AudioError
from train.data.manifest import ManifestClip, read_bytes


def in_order(pool: Executor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """`function` of every item, in their order; the pool works up to so many items ahead of the reader."""
    items = iter(items)
    with pool:
        waiting = deque(pool.submit(function, item) for item in islice(items, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(items, 1))
            yield result


def decode(audio: str, sample_rate: int) -> tuple[np.ndarray, str]:
    """int16 samples [n] of a clip's `audio`, and why there are none where there are none."""
    try:
        samples = load_audio(io.BytesIO(read_bytes(audio)), sample_rate).samples
    except (AudioError, OSError) as error:
        return np.zeros(0, np.int16), str(error) or "it cannot be read"
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16), ""


def _state_of(file: str) -> tuple[int, int] | None:
    """Size and time of change; None where there is no file."""
    try:
        facts = os.stat(file)
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


def _index_of(base: Path, index: Path) -> dict | None:
    """What a cache says that it holds; None where there is none, or where a part of it is missing."""
    try:
        content = json.loads(index.read_text())
        size = base.with_suffix(".pcm").stat().st_size
    except (OSError, ValueError):
        return None
    return content if size == np.dtype(np.int16).itemsize * content["total"] else None


class SoundCache:
    """Every clip decoded once, as int16 in one memory-mapped file.

    Args:
        clips: what to hold; a clip that cannot be decoded is left out and named in `failures`.
        folder: where the file lies; it is made when missing, and named after its content: files that have changed
            are decoded anew.
        sample_rate: Hz.
    """

    def __init__(self, clips: list[ManifestClip], folder, sample_rate: int):
        files = [clip.audio.partition("#")[0] for clip in clips]
        states = {file: _state_of(file) for file in set(files)}
        identity = "\n".join(
            f"{clip.audio} {clip.seconds} {states[file]}" for clip, file in zip(clips, files, strict=True)
        )
        digest = hashlib.sha256(f"{sample_rate}\n{identity}".encode()).hexdigest()[:16]
        base = Path(folder) / f"sound-{digest}"
        index = base.with_suffix(".json")
        content = _index_of(base, index)
        if content is None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._fill(clips, base, index, sample_rate)
            content = json.loads(index.read_text())
        self.failures: dict[str, str] = content["failures"]
        self._offsets, self._file = content["offsets"], base.with_suffix(".pcm") if content["total"] else None

    @cached_property
    def _samples(self):
        return np.memmap(self._file, np.int16, "r") if self._file else []

    def __getstate__(self):
        """Without the samples: another process maps the file itself."""
        return {key: value for key, value in self.__dict__.items() if key != "_samples"}

    @staticmethod
    def _fill(clips, base, index, sample_rate):
        offsets, failures, position = [], {}, 0
        partial = base.with_suffix(f".partial-{os.getpid()}")
        threads = os.cpu_count() or 1  # decoders and resampler let go of the interpreter while they work
        pool = ThreadPoolExecutor(threads)
        decoded = in_order(pool, lambda clip: decode(clip.audio, sample_rate), clips, ahead=4 * threads)
        try:
            with open(partial, "wb") as file:
                for clip, (samples, failure) in zip(
                    tqdm(clips, desc="decoding", unit="clip"), decoded, strict=True
                ):
                    if failure:
                        failures[clip.id] = failure
                    file.write(samples.tobytes())
                    offsets.append((position, len(samples)))
                    position += len(samples)
            os.replace(partial, base.with_suffix(".pcm"))
            content = {"offsets": offsets, "failures": failures, "total": position}
            partial.write_text(json.dumps(content))
            os.replace(partial, index)
        finally:
            partial.unlink(missing_ok=True)

    def __getitem__(self, number: int) -> np.ndarray:
        """int16 samples of clip `number`, in the order of the clips given."""
        offset, length = self._offsets[number]
        return self._samples[offset : offset + length]

    def seconds(self, number: int, sample_rate: int) -> float:
        return self._offsets[number][1] / sample_rate
