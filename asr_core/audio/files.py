"""Files of sound, whatever wrote them, to samples as they are decoded: what lies below `asr_core.audio.loading`.

libsndfile reads the plain formats, FFmpeg's libraries (through PyAV, no program needed) the others; the
content decides which, not the file's name. Nothing is allocated on the word of a header.
"""

import contextlib
import io
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from asr_core.audio.channels import folded
from asr_core.audio.containers import ogg_layout, share_present, without_false_sizes
from asr_core.audio.flac import decoded_flac, stream_info
from asr_core.audio.integrity import Integrity, Watch, header_seconds
from asr_core.audio.tracks import Tracks
from asr_core.errors import AudioError

MAX_PIPE_BYTES = 1 << 30  # a stream that cannot seek is held in memory, up to 1 GiB
MAX_SILENCE_SECONDS = 600  # filled in for gaps between time stamps, in all
ABSURD = 8.0  # a lossy codec exceeds full scale, 1, by a little; far beyond, its packet is damaged
SILENT_TRACK_PEAK = 3e-4  # -70 dBFS: a track that stays below is left for another that does not
MICROSECONDS = 1e6  # a second on the clock of FFmpeg's containers
GAP_SECONDS = 0.1  # smaller jumps between time stamps are rounding
UNKNOWN_FRAMES = 1 << 40  # more than any file holds: libsndfile states 2^63 - 1
MAX_DEMUX_FAILURES = 20  # of one recording, until the rest of its container is given up
CHECKED_CODECS = ("flac", "tta", "wavpack", "alac", "ape", "tak")  # lossless, most of them with checksums
DECODED_VALUES = 1 << 18  # samples x channels decoded at a time: 1 MiB of float32

# What is read, everywhere: FFmpeg's name of a container -> suffixes of its files. Containers hold their audio
# themselves; others, playlists above all, make FFmpeg open more files, and are never opened.
FORMATS = {
    "wav": ".wav .wave .bwf .rf64",
    "w64": ".w64",
    "aiff": ".aif .aiff .aifc",
    "au": ".au .snd",
    "caf": ".caf",
    "voc": ".voc",
    "nistsphere": ".sph .nist",
    "flac": ".flac",
    "wv": ".wv",
    "tta": ".tta",
    "ape": ".ape",
    "tak": ".tak",
    "mp3": ".mp3 .mp2 .mpga .m2a",
    "mpc": ".mpc",
    "mpc8": ".mpc",
    "aac": ".aac .adts",
    "loas": ".loas .latm",
    "ac3": ".ac3",
    "eac3": ".eac3 .ec3",
    "dts": ".dts",
    "dtshd": ".dtshd",
    "truehd": ".thd",
    "mlp": ".mlp",
    "amr": ".amr .awb",
    "qcp": ".qcp",
    "dsf": ".dsf",
    "oma": ".oma",
    "ogg": ".ogg .oga .ogv .ogx .opus .spx",
    "mov": ".mov .mp4 .m4a .m4b .m4r .m4v .3gp .3g2 .f4v .f4a .qt",
    "matroska": ".mkv .mka .webm .weba",
    "asf": ".asf .wma .wmv",
    "avi": ".avi .divx",
    "flv": ".flv",
    "rm": ".rm .ra .rmvb",
    "mpegts": ".ts .mts .m2ts",
    "mpeg": ".mpg .mpeg .vob",
    "mxf": ".mxf",
}
AUDIO_SUFFIXES = frozenset(" ".join(FORMATS.values()).split())
COMMON = ".wav .flac .mp3 .ogg .opus .m4a .aac .mp4 .webm".split()
READABLE = (
    f"{', '.join(suffix[1:] for suffix in COMMON)} and {len(AUDIO_SUFFIXES) - len(COMMON)} more kinds can be read"
)
SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")


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


def decoded(
    file: BinaryIO, shown: str, notes: list[str], tracks: Tracks | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """(rate, samples [n, channels] of any type) as they are decoded, by the library that reads the file.

    Three channels are left, right and centre; where a file names more speakers, they are folded to those.

    Args:
        notes: gets a sentence at the end if the recording is damaged or cut off, or has further tracks.
        tracks: which audio track is wanted; what there is is filled in.
    """
    tracks = tracks or Tracks()
    try:
        magic = file.read(4)
        if not magic:
            raise AudioError(f"{shown} is empty (0 bytes): record it again, or choose another file.")
        share = share_present(file)
        integrity = Integrity(complete=share == 1, cut=share == 0, present=share or 1.0)
        if magic == b"OggS":
            yield from _decoded_ogg(file, shown, integrity, tracks)
        elif magic in SNDFILE_MAGIC:
            yield from _decoded_by_either(file, shown, integrity, tracks)
        else:
            yield from _decoded_by_ffmpeg(file, shown, integrity, tracks)
        notes += tracks.notes(shown)
        if note := integrity.note(shown):
            notes.append(note)
    except OSError as error:
        raise AudioError(f"{shown} cannot be read ({error.strerror or error}): check its disk.") from None


def _decoded_ogg(
    file: BinaryIO, shown: str, integrity: Integrity, tracks: Tracks
) -> Iterator[tuple[int, np.ndarray]]:
    """All links of a chained Ogg file, one behind the other; libsndfile ends with the first one."""
    layout = ogg_layout(file)
    integrity.damaged, integrity.cut = layout.damaged, layout.cut
    if layout.is_simple:
        yield from _decoded_by_either(file, shown, integrity, tracks)
        return
    decoded, errors = False, []
    for start, end in layout.links:
        try:
            for part in _decoded_by_ffmpeg(layout.part(file, start, end), shown, integrity, tracks):
                decoded = True
                yield part
        except AudioError as error:
            errors.append(error)
            integrity.damaged |= not (layout.cut and end == layout.links[-1][1])
    if errors and not decoded:
        raise errors[0]


def _decoded_by_either(
    file: BinaryIO, shown: str, integrity: Integrity, tracks: Tracks
) -> Iterator[tuple[int, np.ndarray]]:
    """By libsndfile, which is faster, and what comes behind its first complaint by FFmpeg, which goes on.

    FLAC frames are found here: FFmpeg's parser mixes them up where they are damaged.
    """
    done, whole = 0, False
    if tracks.wanted in (None, 1):
        done, whole = yield from _decoded_by_sndfile(file)
    if whole:
        return
    is_begun = done > 0
    file.seek(0)
    info = stream_info(file) if file.read(4) == b"fLaC" and tracks.wanted in (None, 1) else None
    rest = decoded_flac(file, info, integrity) if info else _decoded_by_ffmpeg(file, shown, integrity, tracks)
    try:
        for rate, samples in rest:
            if len(samples) > done:
                yield rate, samples[done:]
            done = max(0, done - len(samples))
    except AudioError:
        if not is_begun:
            raise
        integrity.damaged = True


def _decoded_by_sndfile(file: BinaryIO) -> Generator[tuple[int, np.ndarray], None, tuple[int, bool]]:
    """Yields nothing if libsndfile cannot read the file, and stops at its first complaint.

    It names no speakers, so that files of more than two channels are left to FFmpeg; but those of FLAC stand in the
    standard order.

    Returns:
        number of samples per channel, and whether these are all that the file states.
    """
    import soundfile

    done = 0
    file.seek(0)
    try:
        with soundfile.SoundFile(_Forgiving(file)) as sound:
            if sound.channels > 2 and sound.format != "FLAC":
                return 0, False
            step = max(1, DECODED_VALUES // sound.channels)
            while len(block := sound.read(step, dtype="float32", always_2d=True)):
                done += len(block)
                yield sound.samplerate, block
            return done, done == sound.frames > 0
    except soundfile.SoundFileError:
        return done, False


def stated_seconds(path: str | os.PathLike) -> float | None:
    """Length of a file according to its header; None where only decoding shows it.

    A header is believed if the last sample that it states can be decoded: not that of a file which is cut off,
    was written to a pipe (its length is unknown), or is a chain of Ogg files (libsndfile sees the first).
    """
    import soundfile

    try:
        with open(path, "rb") as file, soundfile.SoundFile(_Forgiving(file)) as sound:
            if 0 < sound.frames < UNKNOWN_FRAMES:
                sound.seek(sound.frames - 1)
                last = sound.read(1)
                if len(last) == 1 and (sound.format != "OGG" or ogg_layout(file).is_simple):
                    return sound.frames / sound.samplerate
    except (soundfile.SoundFileError, OSError):
        return None
    return None


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


def _decoded_by_ffmpeg(
    file: BinaryIO, shown: str, integrity: Integrity, tracks: Tracks
) -> Iterator[tuple[int, np.ndarray]]:
    """The track wanted, else the file's own choice, or, where that is silent, the first that is not."""
    with _container(file, shown) as container:
        readable = _choose_track(container, tracks, shown)
        if tracks.wanted is not None or len(readable) == 1:
            yield from _decoded_track(container, file, integrity, tracks)
            return
    order = [tracks.chosen, *(number for number in readable if number != tracks.chosen)]
    tracks.chosen = next((number for number in order if _audible(file, shown, number)), tracks.chosen)
    with _container(file, shown) as container:
        yield from _decoded_track(container, file, integrity, tracks)


def _decoded_track(
    container, file: BinaryIO, integrity: Integrity, tracks: Tracks
) -> Iterator[tuple[int, np.ndarray]]:
    """The track chosen, with silence where its time stamps leave a gap."""
    stream = container.streams.audio[tracks.chosen - 1]
    if stream.codec_context.name in CHECKED_CODECS:
        stream.codec_context.options = {"err_detect": "crccheck+explode"}  # else noise takes a frame's place
    start = (container.start_time or 0) / MICROSECONDS
    form = container.format.name
    duration = (container.duration or 0) / MICROSECONDS or None
    stated = header_seconds(file, form, duration, integrity.complete)
    watch = Watch(integrity, form, stated, start)
    yield from _gathered(_parts(container, stream, watch), start)


def _choose_track(container, tracks: Tracks, shown: str) -> list[int]:
    """Chooses the track wanted or the file's default one; returns the numbers of those that can be decoded."""
    from av.stream import Disposition

    streams = container.streams.audio
    if not streams:
        raise AudioError(f"{shown} has no sound track: choose a recording with sound.")
    readable = [number for number, stream in enumerate(streams, 1) if stream.codec_context]
    marked = [number for number in readable if streams[number - 1].disposition & Disposition.default]
    tracks.choose(len(streams), (marked or readable or [1])[0], shown)
    if tracks.chosen not in readable:
        raise AudioError(f"{shown} holds sound in a form that cannot be decoded: {READABLE}.")
    return readable


def _audible(file: BinaryIO, shown: str, track: int) -> bool:
    """Whether a track has a sample that can be heard, decoded no farther than to the first."""
    with _container(file, shown) as container:
        watch = Watch(Integrity(), container.format.name, None, 0.0)
        parts = _parts(container, container.streams.audio[track - 1], watch)
        return any(np.abs(part.samples).max() > SILENT_TRACK_PEAK for part in parts)


def _container(file: BinaryIO, shown: str):
    """The file as FFmpeg opens it, from its start."""
    import av

    file.seek(0)
    try:
        return av.open(
            without_false_sizes(file),
            options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": ""},
            io_open=_refuse_more_files,
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError, IndexError, OverflowError):
        raise AudioError(f"{shown} is not a recording, or its start is damaged: {READABLE}.") from None


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


def _parts(container, stream, watch: Watch) -> Iterator[_Part]:
    """What can be decoded: damaged packets are left out, and a container that breaks off ends there."""
    import av

    damage = (av.FFmpegError, ValueError, IndexError, OverflowError)
    plain = stream.codec_context.name.startswith(("pcm_", "wavpack"))  # what such a track holds was written so
    form, packed = None, None
    for packet in _packets(container, stream, watch):
        try:
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
                    if not len(samples) or not frame.sample_rate:
                        continue
                    if plain or np.abs(samples).max() < ABSURD:
                        watch.frame(frame.is_corrupt)
                        yield _Part(frame.sample_rate, frame.time, samples)
                    else:
                        watch.failure(packet)
        except damage:
            watch.failure(packet)
    watch.end()


def _packets(container, stream, watch: Watch) -> Iterator:
    """Packets of one track; those of the others are counted only."""
    import av

    failures = 0
    packets = container.demux()
    while failures < MAX_DEMUX_FAILURES:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, ValueError, IndexError, OverflowError):
            watch.failure()
            failures += 1
            packets = container.demux()  # the container may go on behind what it could not read
            continue
        watch.packet(packet, packet.stream.index == stream.index)
        if packet.stream.index == stream.index:
            yield packet


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
            for start in range(0, missing := round(fill * rate), DECODED_VALUES):
                yield rate, np.zeros((min(DECODED_VALUES, missing - start), 1), np.float32)
        held.append(part.samples)
        size += part.samples.size
        clock = (clock if part.time is None else part.time) + len(part.samples) / rate
    if held:
        yield rate, np.concatenate(held)
