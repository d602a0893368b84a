"""Files of sound, whatever wrote them, to samples as they are decoded: what lies below `asr_core.audio`.

libsndfile reads the plain formats, FFmpeg's libraries (through PyAV, no program needed) the others; the
content decides which, not the file's name. Nothing is allocated on the word of a header.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from asr_core.channels import folded
from asr_core.errors import AudioError

MAX_PIPE_BYTES = 1 << 30  # a stream that cannot seek is held in memory, up to 1 GiB
MAX_SILENCE_SECONDS = 600  # filled in for gaps between time stamps, in all
ABSURD = 8.0  # a lossy codec exceeds full scale, 1, by a little; far beyond, its packet is damaged
SILENT_TRACK_PEAK = 3e-4  # -70 dBFS: a track that stays below is left for another that does not
MICROSECONDS = 1e6  # a second on the clock of FFmpeg's containers
GAP_SECONDS = 0.1  # smaller jumps between time stamps are rounding
OGG_PAGE_BYTES = 65_307  # at most
OGG_SERIAL = slice(14, 18)  # of a page: the number of the recording that it belongs to
DECODED_VALUES = 1 << 18  # samples x channels decoded at a time: 1 MiB of float32

AUDIO_SUFFIXES = frozenset(
    ".wav .flac .mp3 .ogg .oga .opus .m4a .m4b .aac .mp4 .m4v .mov .webm .mkv .mka .aif .aiff .caf .au .w64 "
    ".amr .3gp .wma .avi .weba .aifc .mpga .mpg .flv".split()
)
READABLE = "wav, flac, mp3, ogg, opus, m4a, aac, mp4 and webm can be read"
SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")
# Containers that hold their sound themselves; others, playlists above all, make FFmpeg open more files.
FFMPEG_FORMATS = "wav,mp3,flac,ogg,mov,mp4,m4a,matroska,webm,aac,amr,aiff,caf,asf,avi,mpegts,mpeg,au,w64,flv"


@contextlib.contextmanager
def opened(source, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
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


@dataclass
class Tracks:
    """Which of a file's audio tracks is decoded; `decoded` fills in what it finds.

    Attributes:
        wanted: the one asked for, from 1; None for the file's own choice.
        chosen: the one decoded.
        count: how many there are.
    """

    wanted: int | None = None
    chosen: int = 1
    count: int = 1

    def choose(self, count: int, default: int, shown: str) -> None:
        """Takes the track wanted, or the default one, out of so many.

        Raises:
            AudioError: there is no such track.
        """
        self.count, self.chosen = count, default if self.wanted is None else self.wanted
        if not 1 <= self.chosen <= count:
            have = f"{count} audio tracks: choose one from 1 to {count}" if count > 1 else "one audio track: choose 1"
            raise AudioError(f"{shown} has no track {self.chosen}, but {have}.")

    def notes(self, shown: str) -> tuple[str, ...]:
        """That there are more."""
        if self.count == 1:
            return ()
        more = "choose another by its number if its words are wanted (--track)"
        return (f"{shown} has {self.count} audio tracks; track {self.chosen} was transcribed: {more}.",)


def decoded(file: BinaryIO, shown: str, tracks: Tracks | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """(rate, samples [n, channels] of any type) as they are decoded, by the library that reads the file.

    Three channels are left, right and centre; where a file names more speakers, they are folded to those.
    """
    tracks = tracks or Tracks()
    try:
        magic = file.read(4)
        file.seek(0)
        if not magic:
            raise AudioError(f"{shown} is empty (0 bytes): record it again, or choose another file.")
        found = False
        if magic in SNDFILE_MAGIC and not _chained(file):
            for part in _decoded_by_sndfile(file):
                if not found:
                    tracks.choose(1, 1, shown)
                found = True
                yield part
        if not found:
            file.seek(0)
            yield from _decoded_by_ffmpeg(file, shown, tracks)
    except OSError as error:
        raise AudioError(f"{shown} cannot be read ({error.strerror or error}): check its disk.") from None


def _chained(file: BinaryIO) -> bool:
    """Whether it is one Ogg recording behind another, as of radio: libsndfile ends with the first one."""
    first = file.read(OGG_SERIAL.stop)
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OGG_PAGE_BYTES))
    latest = b"OggS" + file.read().rpartition(b"OggS")[2]
    file.seek(0)
    return first.startswith(b"OggS") and first[OGG_SERIAL] != latest[OGG_SERIAL]


def _decoded_by_sndfile(file: BinaryIO) -> Iterator[tuple[int, np.ndarray]]:
    """Yields nothing if libsndfile cannot read the file, and stops where it is damaged.

    It names no speakers, so that files of more than two channels are left to FFmpeg.
    """
    import soundfile

    with (
        contextlib.suppress(soundfile.SoundFileError),
        soundfile.SoundFile(_Forgiving(file)) as sound,
    ):
        if sound.channels > 2:
            return
        step = max(1, DECODED_VALUES // sound.channels)
        while len(block := sound.read(step, dtype="float32", always_2d=True)):
            yield sound.samplerate, block


class _Forgiving:
    """A file for libsndfile, which seeks wherever a damaged header sends it."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.tell = file.tell
        self.read = file.read
        self.readinto = file.readinto

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            self._file.seek(offset, whence)
        return self._file.tell()

    def write(self, data):
        raise io.UnsupportedOperation("write")


def _decoded_by_ffmpeg(file: BinaryIO, shown: str, tracks: Tracks) -> Iterator[tuple[int, np.ndarray]]:
    """One audio track, with silence where its time stamps leave a gap."""
    with _container(file, shown) as container:
        streams = container.streams.audio
        if not streams:
            raise AudioError(f"{shown} has no sound track: choose a recording with sound.")
        readable = [stream for stream in streams if stream.codec_context]
        default = next((stream for stream in readable if stream.disposition.default), (readable or streams)[0])
        tracks.choose(len(streams), streams.index(default) + 1, shown)
        others = [streams.index(stream) + 1 for stream in readable if stream is not default]
    if tracks.wanted is None and others:
        tracks.chosen = next(
            (number for number in [tracks.chosen, *others] if _audible(file, shown, number)), tracks.chosen
        )
    with _container(file, shown) as container:
        stream = container.streams.audio[tracks.chosen - 1]
        if stream.codec_context is None:
            raise AudioError(f"{shown} holds sound in a form that cannot be decoded: {READABLE}.")
        yield from _gathered(_parts(container, stream), (container.start_time or 0) / MICROSECONDS)


def _container(file: BinaryIO, shown: str):
    """The file as FFmpeg opens it, from its start."""
    import av

    file.seek(0)
    try:
        return av.open(
            file,
            options={"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": ""},
            io_open=_refuse_more_files,
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError, IndexError, OverflowError):
        raise AudioError(f"{shown} is not a recording, or its start is damaged: {READABLE}.") from None


def _audible(file: BinaryIO, shown: str, track: int) -> bool:
    """Whether a track has a sample that can be heard, as far as it has to be decoded for that."""
    with _container(file, shown) as container:
        parts = _parts(container, container.streams.audio[track - 1])
        return any(np.abs(part.samples).max() > SILENT_TRACK_PEAK for part in parts)


def _refuse_more_files(url, flags, options):
    raise PermissionError(f"a recording may not open other files ({url!r})")


@dataclass(frozen=True)
class _Part:
    """A decoded frame.

    Attributes:
        rate: Hz.
        time: seconds on the container's clock, or None if it does not say.
        samples: float32 [n, channels], as `decoded` yields them.
    """

    rate: int
    time: float | None
    samples: np.ndarray


def _parts(container, stream) -> Iterator[_Part]:
    """What can be decoded: damaged packets are left out, and a container that breaks off ends there."""
    import av

    damage = (av.FFmpegError, ValueError, IndexError, OverflowError)
    plain = stream.codec_context.name.startswith(("pcm_", "wavpack"))  # what such a track holds was written so
    packets = container.demux(stream)
    form, packed = None, None
    while True:
        try:
            packet = next(packets)
        except (StopIteration, *damage):
            return
        with contextlib.suppress(*damage):
            for frame in packet.decode():
                if form != (frame.format.name, frame.layout.name, frame.sample_rate):
                    form = (frame.format.name, frame.layout.name, frame.sample_rate)
                    packed = av.AudioResampler(
                        format="flt"
                    )  # PyAV misreads the planes of 8 channels and more
                for whole in packed.resample(frame):
                    samples = whole.to_ndarray().reshape(-1, whole.layout.nb_channels)
                    if samples.shape[1] > 2:
                        samples = folded(samples, [speaker.name for speaker in frame.layout.channels])
                    if len(samples) and frame.sample_rate and (plain or np.abs(samples).max() < ABSURD):
                        yield _Part(frame.sample_rate, frame.time, samples)


def _gathered(parts: Iterator[_Part], start_seconds: float) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of a thousand samples or so joined to larger arrays [n, channels], gaps filled."""
    held: list[np.ndarray] = []
    size, rate, clock, filled = 0, 0, start_seconds, 0.0
    for part in parts:
        gap = part.time - clock if part.time is not None else 0.0
        fill = gap if GAP_SECONDS < gap <= MAX_SILENCE_SECONDS - filled else 0.0
        changed = held and (rate != part.rate or held[0].shape[1] != part.samples.shape[1])
        if held and (changed or fill or size >= DECODED_VALUES):
            yield rate, np.concatenate(held)
            held, size = [], 0
        rate = part.rate
        if fill:
            filled += fill
            yield rate, np.zeros((round(fill * rate), 1), np.float32)
        held.append(part.samples)
        size += part.samples.size
        clock = (clock if part.time is None else part.time) + len(part.samples) / rate
    if held:
        yield rate, np.concatenate(held)
