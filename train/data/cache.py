"""Audio files -> one memory-mapped file of samples, so that every clip is decoded once."""

import contextlib
import hashlib
import io
import json
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from asr_core.audio.levels import to_int16
from asr_core.audio.loading import load_audio
from asr_core.errors import AudioError
from asr_core.storage import replace_file, replacing
from train.data.manifest import ManifestClip, read_bytes
from train.options import UNFINISHED, in_words

UNREAD = -1  # in place of a checksum
UNFINISHED_SECONDS = 3600  # a partial file that nobody has written to for so long is of a run that was killed


def in_order(pool: Executor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """Yields `function(item)` for every item, in order; the pool computes up to `ahead` items in advance."""
    items = iter(items)
    with pool:
        waiting = deque(pool.submit(function, item) for item in islice(items, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(items, 1))
            yield result


def decode(audio: str, sample_rate: int) -> tuple[np.ndarray, int, str]:
    """Decodes a clip's `audio` (see `ManifestClip`).

    Returns:
        Samples, int16 [n]; the CRC-32 of the encoded file, UNREAD if it is there and could not be read; and "", or why
        there are no samples.
    """
    try:
        encoded = read_bytes(audio)
        samples = load_audio(io.BytesIO(encoded), sample_rate).samples
    except (AudioError, FileNotFoundError) as error:
        return np.zeros(0, np.int16), 0, in_words(error)
    except OSError as error:
        return np.zeros(0, np.int16), UNREAD, in_words(error) or "it cannot be read"
    return to_int16(samples), zlib.crc32(encoded), ""


def _size_and_time(file: str) -> tuple[int, int] | None:
    """Size in bytes and modification time in nanoseconds; None if there is no such file."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _remove_unfinished(folder: Path) -> None:
    """Removes what runs have left that were killed while they decoded."""
    for path in folder.glob(UNFINISHED):
        with contextlib.suppress(OSError):  # another run may be removing it
            if time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
                path.unlink()


def _read_index(base: Path, index: Path) -> dict | None:
    """The index of a cache; None if there is none, if it is of an earlier version, or if samples are missing.

    An index with files that could not be read does not count either: the cause may be gone.
    """
    try:
        content = json.loads(index.read_text())
        size = base.with_suffix(".pcm").stat().st_size
    except (OSError, ValueError):
        return None
    complete = (
        UNREAD not in content.get("checksums", [UNREAD]) and size == np.dtype(np.int16).itemsize * content["total"]
    )
    return content if complete else None


class AudioCache:
    """Samples of clips, int16 in one memory-mapped file.

    Args:
        clips: in the order of their numbers. A clip that cannot be decoded has no samples.
        folder: of the file, made if missing. The name of the file is a hash of the clips with the sizes and times of
            their audio files, so that changed files are decoded again.
        sample_rate: Hz.

    Attributes:
        failures: reason by number, for clips that could not be decoded.
        checksums: CRC-32 of the encoded file of every clip, which is the same wherever the file lies.
    """

    def __init__(self, clips: list[ManifestClip], folder, sample_rate: int):
        files = [clip.audio.partition("#")[0] for clip in clips]
        state_of = {file: _size_and_time(file) for file in set(files)}
        identity = "\n".join(
            f"{clip.audio} {clip.seconds} {state_of[file]}" for clip, file in zip(clips, files, strict=True)
        )
        digest = hashlib.sha256(f"{sample_rate}\n{identity}".encode()).hexdigest()[:16]
        base = Path(folder) / f"sound-{digest}"
        index = base.with_suffix(".json")
        content = _read_index(base, index)
        if content is None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._fill(clips, base, index, sample_rate)
            content = json.loads(index.read_text())
        self.failures: dict[int, str] = {int(number): reason for number, reason in content["failures"].items()}
        self.checksums: list[int] = content["checksums"]
        self._offsets, self._file = content["offsets"], base.with_suffix(".pcm") if content["total"] else None

    @cached_property
    def _samples(self):
        return np.memmap(self._file, np.int16, "r") if self._file else []

    def __getstate__(self):
        """Pickles without the samples: every process maps the file for itself."""
        return {key: value for key, value in self.__dict__.items() if key != "_samples"}

    @staticmethod
    def _fill(clips, base, index, sample_rate):
        _remove_unfinished(base.parent)
        offsets, checksums, failures, position = [], [], {}, 0
        threads = os.cpu_count() or 1  # decoders and resampler release the interpreter lock
        pool = ThreadPoolExecutor(threads)
        decoded = in_order(pool, lambda clip: decode(clip.audio, sample_rate), clips, ahead=4 * threads)
        with (
            replacing(base.with_suffix(".pcm")) as partial,
            open(partial, "wb") as file,
            tqdm(decoded, total=len(clips), desc="decoding", unit="clip") as bar,
        ):
            for number, (samples, checksum, failure) in enumerate(bar):
                if failure:
                    failures[number] = failure
                file.write(samples.tobytes())
                offsets.append((position, len(samples)))
                checksums.append(checksum)
                position += len(samples)
        content = {"offsets": offsets, "checksums": checksums, "failures": failures, "total": position}
        replace_file(index, json.dumps(content))

    def __getitem__(self, number: int) -> np.ndarray:
        """Samples of clip `number`: int16 [n]."""
        offset, length = self._offsets[number]
        return self._samples[offset : offset + length]

    def seconds(self, number: int, sample_rate: int) -> float:
        """Duration of clip `number`."""
        return self._offsets[number][1] / sample_rate
