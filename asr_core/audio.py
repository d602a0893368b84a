"""The first step of the path: any recording, in a file or in memory, to mono float32 at a model's rate.

Decoding is streamed: a few seconds at a time are decoded, mixed to one channel, checked, resampled and passed
on, so that memory follows the sound that is really there, never what a header claims. libsndfile reads the
plain formats, FFmpeg's libraries (through PyAV, no program needed) the others; the content decides which, not
the file's name.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from asr_core.errors import AudioError

MIN_SECONDS = 0.1  # shorter than any word, and than what the networks need for a handful of steps
RATES = (2_000, 768_000)  # Hz; outside, the header is wrong, or a second would blow up to minutes of samples
FULL_SCALE_LIMIT = 16.0  # float samples beyond this are integers in disguise; full scale is 1.0
MAX_CHANNELS = 64
MAX_PIPE_BYTES = 1 << 30  # a stream that cannot seek is held in memory, up to 1 GiB
MAX_SILENCE_SECONDS = 600  # filled in for gaps between time stamps, in all
GAP_SECONDS = 0.1  # smaller jumps between time stamps are rounding
DECODED_VALUES = 1 << 18  # samples x channels decoded at a time: 1 MiB of float32
BLOCK_SECONDS = 30.0

AUDIO_SUFFIXES = frozenset(
    ".wav .flac .mp3 .ogg .oga .opus .m4a .m4b .aac .mp4 .m4v .mov .webm .mkv .mka .aif .aiff .caf .au .w64 "
    ".amr .3gp .wma .avi".split()
)
READABLE = "wav, flac, mp3, ogg, opus, m4a, aac, mp4 and webm can be read"
SNDFILE_MAGIC = (b"RIFF", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")
# Containers that hold their sound themselves; others, playlists above all, make FFmpeg open more files.
FFMPEG_FORMATS = "wav,mp3,flac,ogg,mov,mp4,m4a,matroska,webm,aac,amr,aiff,caf,asf,avi,mpegts,mpeg,au,w64,flv"


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording as the recogniser takes it.

    Attributes:
        samples: float32 [n], mono, in [-1, 1].
        sample_rate: Hz.
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self):
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise TypeError(f"Expected float32 [n], got {self.samples.dtype} {list(self.samples.shape)}.")
        if self.sample_rate <= 0:
            raise ValueError(f"Expected a positive sample rate, got {self.sample_rate}.")

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


def load_audio(
    source: str | os.PathLike | bytes | BinaryIO,
    sample_rate: int,
    *,
    max_seconds: float | None = None,
    name: str | None = None,
) -> Audio:
    """Decode a whole recording.

    A damaged or truncated recording gives the part that can be decoded, as long as that lasts MIN_SECONDS.

    Args:
        source: a path, the bytes of a file, or a binary file (read from its start; it may be a pipe).
        sample_rate: Hz wanted.
        max_seconds: longer recordings are refused, while decoding; None for no limit.
        name: what messages call the recording; by default the file's own name.

    Raises:
        AudioError: nothing readable, no sound in it, too short, too long, or not numbers.
    """
    recording = _Recording(sample_rate)
    for block in audio_blocks(source, sample_rate, max_seconds=max_seconds, name=name):
        recording.append(block)
    return recording.finish()


def audio_from_array(
    samples: np.ndarray, source_rate: int, sample_rate: int, *, name: str | None = None
) -> Audio:
    """Convert samples in memory, as Gradio hands them over.

    Args:
        samples: [n] or [n, channels]; int8, uint8, int16, int32 over their full range, or floats in [-1, 1].
        source_rate: Hz of `samples`.
        sample_rate: Hz wanted.
        name: what messages call the recording.

    Raises:
        AudioError: as for load_audio.
        TypeError, ValueError: samples of another type or shape.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
        raise ValueError(f"Expected samples [n] or [n, channels], got shape {list(samples.shape)}.")
    step = DECODED_VALUES // (samples.shape[1] if samples.ndim == 2 else 1)
    decoded = ((source_rate, samples[start : start + step]) for start in range(0, len(samples), step))
    recording = _Recording(sample_rate)
    for block in _finished(decoded, sample_rate, None, name or "The recording"):
        recording.append(block)
    return recording.finish()


def audio_blocks(
    source: str | os.PathLike | bytes | BinaryIO,
    sample_rate: int,
    *,
    block_seconds: float = BLOCK_SECONDS,
    max_seconds: float | None = None,
    name: str | None = None,
) -> Iterator[np.ndarray]:
    """Decode a recording of any length piece by piece.

    Yields:
        float32 [block_seconds * sample_rate], mono, in [-1, 1]; the last block may be shorter.

    Raises:
        AudioError: as for load_audio; what concerns the length is only known at the end.
    """
    with _opened(source, name) as (file, shown):
        size = max(1, round(block_seconds * sample_rate))
        yield from _regrouped(_finished(_decoded(file, shown), sample_rate, max_seconds, shown), size)


class _Recording:
    """Samples that grow in place, so that an hour needs little more than its own 230 MB (at 16 kHz)."""

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate
        self.length = 0
        self.samples = np.empty(0, np.float32)

    def append(self, block: np.ndarray) -> None:
        needed = self.length + len(block)
        if needed > len(self.samples):
            spare = max(self.length // 8, self.sample_rate)
            self.samples.resize(needed + spare, refcheck=False)  # realloc: large ones move without a copy
        self.samples[self.length : needed] = block
        self.length = needed

    def finish(self) -> Audio:
        self.samples.resize(self.length, refcheck=False)
        return Audio(self.samples, self.sample_rate)


@contextlib.contextmanager
def _opened(source, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """The source as a seekable binary file, and what to call it."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source), _shown(name or "The recording")
    elif isinstance(source, str | os.PathLike):
        shown = _shown(name or os.path.basename(os.fspath(source)) or str(source))
        with _open_path(source, shown) as file:
            yield _seekable(file, shown), shown
    elif hasattr(source, "read") and not isinstance(source, io.TextIOBase):
        yield _seekable(source, _shown(name or "The recording")), _shown(name or "The recording")
    else:
        raise TypeError(f"Expected a path, bytes or a binary file, got {type(source).__name__}.")


def _shown(name: str | bytes) -> str:
    """A file name fit for one line of a message."""
    name = os.fsdecode(name)
    name = "".join(character if character.isprintable() else "?" for character in name)
    return name if len(name) <= 100 else f"{name[:60]}...{name[-30:]}"


def _open_path(path, shown: str) -> BinaryIO:
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISREG(kind) or stat.S_ISFIFO(kind):
            return open(path, "rb")
    except FileNotFoundError:
        raise AudioError(f"{shown} was not found: check the name.") from None
    except (OSError, ValueError) as error:  # ValueError: a path that holds a NUL
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{shown} cannot be opened ({reason}): check its permissions.") from None
    what = "folder: choose a recording in it" if stat.S_ISDIR(kind) else "device: choose a file"
    raise AudioError(f"{shown} is a {what}.")


def _seekable(file: BinaryIO, shown: str) -> BinaryIO:
    """The file itself, at its start, or the content of a pipe."""
    if file.seekable():
        file.seek(0)
        return file
    content = io.BytesIO()
    while part := file.read(1 << 20):
        content.write(part)
        if content.tell() > MAX_PIPE_BYTES:
            limit = f"{MAX_PIPE_BYTES >> 30} GiB"
            raise AudioError(f"{shown} brings more than {limit} through a pipe: pass it as a file.")
    content.seek(0)
    return content


def _decoded(file: BinaryIO, shown: str) -> Iterator[tuple[int, np.ndarray]]:
    """(rate, samples [n, channels] of any type) as they are decoded, by the library that reads the file."""
    try:
        magic = file.read(4)
        file.seek(0)
        if not magic:
            raise AudioError(f"{shown} is empty (0 bytes): record it again, or choose another file.")
        found = False
        if magic in SNDFILE_MAGIC:
            for part in _decoded_by_sndfile(file):
                found = True
                yield part
        if not found:
            file.seek(0)
            yield from _decoded_by_ffmpeg(file, shown)
    except OSError as error:
        raise AudioError(f"{shown} cannot be read ({error.strerror or error}): check its disk.") from None


def _decoded_by_sndfile(file: BinaryIO) -> Iterator[tuple[int, np.ndarray]]:
    """Yields nothing if libsndfile cannot read the file, and stops where it is damaged."""
    import soundfile

    with contextlib.suppress(soundfile.SoundFileError), soundfile.SoundFile(file) as sound:
        step = max(1, DECODED_VALUES // sound.channels)
        while len(block := sound.read(step, dtype="float32", always_2d=True)):
            yield sound.samplerate, block


def _decoded_by_ffmpeg(file: BinaryIO, shown: str) -> Iterator[tuple[int, np.ndarray]]:
    """The first audio track, with silence where its time stamps leave a gap."""
    import av

    try:
        container = av.open(
            file,
            options={"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": ""},
            io_open=_refuse_more_files,
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError):
        raise AudioError(f"{shown} is not a recording, or its start is damaged: {READABLE}.") from None
    with container:
        if not container.streams.audio:
            raise AudioError(f"{shown} has no sound track: choose a recording with sound.")
        stream = container.streams.audio[0]
        yield from _gathered(_frames(container, stream), (container.start_time or 0) / av.time_base)


def _refuse_more_files(url, flags, options):
    raise PermissionError(f"a recording may not open other files ({url!r})")


def _frames(container, stream) -> Iterator:
    """Decoded frames; damaged packets are left out, and a container that breaks off ends there."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        with contextlib.suppress(av.FFmpegError):
            yield from packet.decode()


def _gathered(frames: Iterator, start_seconds: float) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of a thousand samples or so joined to larger arrays [n, channels], gaps filled."""
    parts: list[np.ndarray] = []
    size, rate, clock, filled = 0, 0, start_seconds, 0.0
    for frame in frames:
        if not frame.samples or not frame.sample_rate:
            continue
        samples = frame.to_ndarray()
        channels = frame.layout.nb_channels
        samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
        gap = frame.time - clock if frame.time is not None else 0.0
        fill = gap if GAP_SECONDS < gap <= MAX_SILENCE_SECONDS - filled else 0.0
        changed = parts and (rate != frame.sample_rate or parts[0].shape[1:] != samples.shape[1:])
        if parts and (changed or fill or size >= DECODED_VALUES):
            yield rate, np.concatenate(parts)
            parts, size = [], 0
        rate = frame.sample_rate
        if fill:
            filled += fill
            yield rate, np.zeros((round(fill * rate), 1), np.float32)
        parts.append(samples)
        size += samples.size
        clock = (frame.time if frame.time is not None else clock) + len(samples) / rate
    if parts:
        yield rate, np.concatenate(parts)


def _finished(
    decoded: Iterator[tuple[int, np.ndarray]], sample_rate: int, max_seconds: float | None, shown: str
) -> Iterator[np.ndarray]:
    """Mono float32 at the rate wanted; everything that is wrong with the sound itself is found here."""
    resampler, seconds = None, 0.0
    for rate, samples in decoded:
        if not RATES[0] <= rate <= RATES[1]:
            limits = f"{RATES[0]:,} to {RATES[1]:,} can be read: convert it first"
            raise AudioError(f"{shown} claims {rate:,} samples a second; {limits}.")
        seconds += len(samples) / rate
        if max_seconds is not None and seconds > max_seconds:
            limit = f"{max_seconds / 60:g} minutes" if max_seconds >= 120 else f"{max_seconds:g} s"
            raise AudioError(f"{shown} is longer than the limit of {limit}: cut it into shorter parts.")
        if resampler is not None and resampler.rate != rate:
            yield resampler.last()
            resampler = None
        resampler = resampler or _Resampler(rate, sample_rate)
        yield resampler(_mono(samples, shown))
    if seconds < MIN_SECONDS:
        held = f"lasts only {seconds:.3g} s" if seconds else "holds no sound that can be decoded (0 s)"
        raise AudioError(f"{shown} {held}; at least {MIN_SECONDS} s are needed: record it again.")
    yield resampler.last()


INTEGER_SCALE = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "int32": 2**31}


def _mono(samples: np.ndarray, shown: str) -> np.ndarray:
    """[n] or [n, channels] of any sample type -> float32 [n], channels averaged."""
    kind = samples.dtype.name
    if kind not in INTEGER_SCALE and samples.dtype.kind != "f":
        raise TypeError(f"Expected samples of {', '.join(INTEGER_SCALE)} or float, got {kind}.")
    with np.errstate(over="ignore", invalid="ignore"):
        mono = samples.astype(np.float32)
        if mono.ndim == 2:
            mono = mono[:, 0] if mono.shape[1] == 1 else mono.mean(axis=1, dtype=np.float32)
    if kind in INTEGER_SCALE:
        return (mono - 128 if kind == "uint8" else mono) / np.float32(INTEGER_SCALE[kind])
    peak = np.abs(mono).max(initial=0)
    if not np.isfinite(peak):
        raise AudioError(f"{shown} holds samples that are not numbers (NaN or infinity): export it again.")
    if peak > FULL_SCALE_LIMIT:
        raise AudioError(f"{shown} holds samples up to {peak:.4g}; full scale is 1: scale it to -1 ... 1.")
    return mono


class _Resampler:
    """A stretch of one rate to the rate wanted, in [-1, 1]."""

    def __init__(self, rate: int, sample_rate: int):
        import soxr

        self.rate = rate
        self._stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32")

    def __call__(self, mono: np.ndarray, last: bool = False) -> np.ndarray:
        if self._stream is not None:
            mono = self._stream.resample_chunk(np.ascontiguousarray(mono), last=last)
        return np.clip(mono, -1.0, 1.0)

    def last(self) -> np.ndarray:
        return self(np.empty(0, np.float32), last=True)


def _regrouped(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of one size; the last one as long as it is."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        while count + len(block) >= size:
            held.append(block[: size - count])
            block = block[size - count :]
            yield np.concatenate(held)
            held, count = [], 0
        if len(block):
            held.append(block)
            count += len(block)
    if held:
        yield np.concatenate(held)
