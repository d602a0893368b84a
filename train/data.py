"""Manifests -> examples: every clip decoded once into a cache, its text in tokens, what cannot be learned left out."""

import copy
import hashlib
import io
import json
import math
import os
import tarfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from asr_core.audio import load_audio
from asr_core.ctc import steps_needed
from asr_core.errors import AsrError, AudioError
from asr_core.vocabulary import Normaliser, Vocabulary
from train.tables import is_unicode, text_of

# Of a clip to learn from; train.corpora tells what lies outside before hours are spent on decoding.
MIN_SECONDS, MAX_SECONDS, MAX_CHARACTERS_SECOND = 0.3, 16.0, 24.0
MAX_RECORDING_SECONDS = 24 * 3600  # a longer one is a header that does not tell the length
FIELDS = ("id", "audio", "seconds", "speaker", "text")  # that every line of a manifest has


class ManifestError(AsrError, ValueError):
    """A manifest with a line that is no clip."""


@dataclass(frozen=True)
class Clip:
    """One line of a manifest. `audio` is a path, or `archive.tar#member`; `seconds` as the manifest says."""

    id: str
    audio: str
    seconds: float
    speaker: str
    text: str
    corpus: str = ""
    accent: str = ""


def read_manifest(path) -> list[Clip]:
    """The clips of a JSONL manifest, with `audio` resolved against the manifest's folder.

    Raises:
        CorpusError: the file cannot be read, or is not in UTF-8.
        ManifestError: a line that is not a JSON object with the fields of a clip, by its number.
    """
    path = Path(path)
    clips = []
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if fault := _fault_of(row):
            raise ManifestError(
                f"{path}, line {number}: not a clip ({fault}): a line is a JSON object with id, audio, seconds, "
                "speaker and text, as python -m train.corpora writes it."
            )
        clips.append(
            Clip(
                id=str(row["id"]),
                audio=str((path.parent / row["audio"]).resolve()),
                seconds=float(row["seconds"]),
                speaker=_string(row["speaker"]),
                text=str(row["text"]),
                corpus=_string(row.get("corpus")) or path.stem,
                accent=_string(row.get("accent")),
            )
        )
    return clips


def _fault_of(row) -> str:
    """Why a row of a manifest is no clip, in words, or nothing."""
    if not isinstance(row, dict):
        return "it is no JSON object"
    if missing := [name for name in FIELDS if name not in row]:
        return f"it has no {', '.join(missing)}"
    if not isinstance(row["audio"], str) or not row["audio"].strip() or "\0" in row["audio"]:
        return "its audio is no path"
    if row["text"] is None:
        return "its text is null"
    for name in ("id", "audio", "text"):
        value = row[name]
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not is_unicode(str(value)):
            return f"its {name} is no text"
    try:
        seconds = float("nan" if isinstance(row["seconds"], bool) else row["seconds"])
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= MAX_RECORDING_SECONDS:
        limit = f"{MAX_RECORDING_SECONDS:,} ({MAX_RECORDING_SECONDS / 3600:g} hours)"
        return f"its seconds are {str(row['seconds'])[:40]}, and not from 0 to {limit}"
    return ""


def _string(value) -> str:
    return "" if value is None else str(value)


def read_bytes(audio: str) -> bytes:
    """The encoded recording behind a clip's `audio`.

    Raises:
        AudioError: the archive has no such member, or is no archive.
        OSError: the file cannot be read.
    """
    archive, _, member = audio.partition("#")
    if not member:
        return Path(archive).read_bytes()
    try:
        offset, size = _members(archive)[member]
    except KeyError:
        raise AudioError(f"{archive} holds no {member}.") from None
    except tarfile.TarError as error:
        raise AudioError(f"{archive} cannot be read as a tar archive ({error}).") from error
    with open(archive, "rb") as file:
        file.seek(offset)
        return file.read(size)


_ARCHIVES: dict[str, dict[str, tuple[int, int]]] = {}
_ARCHIVES_LOCK = threading.Lock()


def _members(archive: str) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) of an uncompressed tar archive, read once a process."""
    with _ARCHIVES_LOCK:
        if archive not in _ARCHIVES:
            with tarfile.open(archive) as tar:
                _ARCHIVES[archive] = {m.name: (m.offset_data, m.size) for m in tar if m.isfile()}
        return _ARCHIVES[archive]


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

    def __init__(self, clips: list[Clip], folder, sample_rate: int):
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


@dataclass(frozen=True)
class Example:
    """A clip made ready: its number in the cache, its tokens, its duration."""

    number: int
    labels: np.ndarray  # int32 [characters]
    seconds: float
    # int32 [phones], none where a word is not in the dictionary
    phones: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    @cached_property
    def steps_needed(self) -> int:
        """The fewest steps of a network that its labels take."""
        return steps_needed(self.labels.tolist())


class SpeechData:
    """Clips with their sound and labels, less those that cannot be trained on.

    Attributes:
        clips, sound: all clips of the manifests, and their samples.
        examples: those that remain.
        dropped: how many were left out, by reason.
        changes: what the normaliser changed, by kind.
    """

    def __init__(
        self, clips: list[Clip], cache_folder, vocabulary: Vocabulary, sample_rate: int,
        min_seconds=MIN_SECONDS, max_seconds=MAX_SECONDS, max_characters_second=MAX_CHARACTERS_SECOND,
        pronunciations=None,
    ):  # fmt: skip
        self.clips, self.vocabulary, self.sample_rate = clips, vocabulary, sample_rate
        self.sound = SoundCache(clips, cache_folder, sample_rate)
        self.dropped: Counter[str] = Counter()
        normalise = Normaliser()
        self.examples: list[Example] = []
        for number, clip in enumerate(clips):
            text = normalise(clip.text)
            seconds = self.sound.seconds(number, sample_rate)
            reason = (
                "not decodable" if clip.id in self.sound.failures
                else "no text" if not text
                else "too short" if seconds < min_seconds
                else f"longer than {max_seconds:g} s" if seconds > max_seconds
                else "more text than its sound can hold" if len(text) > max_characters_second * seconds
                else ""
            )  # fmt: skip
            if reason:
                self.dropped[reason] += 1
            else:
                labels = np.array(vocabulary.encode(text), np.int32)
                phones = np.array((pronunciations and pronunciations(text)) or (), np.int32)
                self.examples.append(Example(number, labels, seconds, phones))
        self.changes = normalise.changes

    def part(self, wanted: Callable[[Example], bool]) -> "SpeechData":
        """The same data with some of its examples only."""
        other = copy.copy(self)
        other.examples = [example for example in self.examples if wanted(example)]
        return other

    @property
    def hours(self) -> float:
        return sum(example.seconds for example in self.examples) / 3600
