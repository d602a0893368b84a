"""Decodes audio files of any format to blocks of samples, which `asr_core.audio.loading` converts.

libsndfile decodes the plain formats, FFmpeg's libraries (through PyAV, without a program) the others. The content of a
file decides between them, not its name. No memory is allocated because of what a header claims.
"""

import contextlib
import io
import os
import re
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from asr_core.audio.channels import folded
from asr_core.audio.containers import FileSlice, lacks_index, ogg_layout, share_present, without_false_sizes
from asr_core.audio.flac import decoded_flac, stream_info
from asr_core.audio.integrity import Integrity, IntegrityMonitor, header_seconds
from asr_core.audio.tracks import Tracks
from asr_core.errors import AudioError, printable

MAX_PIPE_BYTES = 1 << 30  # 1 GiB, since a stream that cannot seek is held in memory
MAX_SILENCE_SECONDS = 4 * 3600  # of silence in all that fills gaps between time stamps
MAX_GAP_SECONDS = 600  # a longer jump beyond the stated end of the container is a clock that was set anew
MAX_LOSSY_PEAK = 8.0  # of full scale; lossy codecs exceed full scale by a little, damaged packets by far
SILENT_TRACK_PEAK = 3e-4  # -70 dBFS; another track is chosen in place of one that stays below
MICROSECONDS = 1e6  # per second; the unit of FFmpeg's container clock
MIN_GAP_SECONDS = 0.1  # by which the audio may lag behind its time stamps, which are rounded and vary
MAX_LEAD_SECONDS = 1.0  # by which it may be ahead of them; time stamps further back are those of a new clock
UNKNOWN_FRAMES = 1 << 40  # more than any file holds; libsndfile reports 2^63 - 1 for an unknown length
MAX_DEMUX_FAILURES = 20  # of one recording, after which the rest of its container is left out
CHECKED_CODECS = ("flac", "tta", "wavpack", "alac", "ape", "tak")  # lossless, most of them with checksums
DECODED_VALUES = 1 << 18  # samples x channels decoded at a time: 1 MiB of float32

# The formats that the product reads: FFmpeg's name of a container -> suffixes of its files. Formats that make FFmpeg
# open further files, playlists above all, are missing on purpose.
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
    "mov": ".mov .mp4 .m4a .m4b .m4r .m4v .3gp .3gpp .3ga .3g2 .f4v .f4a .qt",
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
ADDRESS = re.compile(r"(https?|ftp):/", re.IGNORECASE)  # with one slash: pathlib.Path drops the other
ADTS = (b"\xff\xf1", b"\xff\xf9")  # the beginnings of an AAC stream
SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")


@contextlib.contextmanager
def opened(source, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """The source as a seekable binary file, and its name for messages."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source), _shown(name or "The recording")
    elif isinstance(source, str | os.PathLike):
        shown = _shown(name or os.path.basename(os.fspath(source)) or str(source))
        with _open_path(source, shown) as file:
            yield _seekable(file, shown), shown
    elif hasattr(source, "read") and not isinstance(source, io.TextIOBase):
        yield _seekable(source, _shown(name or "The recording")), _shown(name or "The recording")
    else:
        arrays = "convert an array of samples with asr_core.audio.loading.audio_from_array"
        raise TypeError(f"Expected a path, bytes or a binary file, got {type(source).__name__}: {arrays}.")


def _shown(name: str | bytes) -> str:
    """A file name on one line, shortened for a message."""
    name = printable(os.fsdecode(name))
    return name if len(name) <= 100 else f"{name[:60]}...{name[-30:]}"


def _open_path(path, shown: str) -> BinaryIO:
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISREG(kind) or stat.S_ISFIFO(kind):
            return open(path, "rb")
    except FileNotFoundError:
        raise AudioError(not_found(path, shown)) from None
    except (OSError, ValueError) as error:  # ValueError: a path that holds a NUL
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{shown} cannot be opened ({reason}): check its permissions.") from None
    what = "folder: choose a recording in it" if stat.S_ISDIR(kind) else "device: choose a file"
    raise AudioError(f"{shown} is a {what}.")


def not_found(path: str | os.PathLike, shown: str) -> str:
    """A sentence about a recording that does not exist; `shown` is its name."""
    advice = "addresses are not fetched, download it first" if ADDRESS.match(os.fsdecode(path)) else "check the name"
    return f"{shown} was not found: {advice}."


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
    """Decodes a file block by block.

    Args:
        file: seekable, at its start.
        shown: its name for messages.
        notes: at the end, receives a sentence if the recording is damaged or cut off, or has further tracks.
        tracks: which audio track is wanted; receives the number of tracks and the chosen one.

    Yields:
        (sample rate, samples [n, channels] of any type). Three channels are left, right and centre; the channels of
        larger layouts are folded to those.

    Raises:
        AudioError: nothing can be decoded.
    """
    tracks = tracks or Tracks()
    try:
        magic = file.read(4)
        if not magic:
            raise AudioError(f"{shown} is empty (0 bytes): record it again, or choose another file.")
        if magic.startswith(b"ID3") and (after := _behind_tag(file)):
            file = after
            magic = file.read(4)
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


def _behind_tag(file: BinaryIO) -> FileSlice | None:
    """What stands behind an ID3v2 tag, if tags do not belong there: FFmpeg gives up searching it after a large tag."""
    file.seek(0)
    head = file.read(10)
    if len(head) < 10 or any(byte & 0x80 for byte in head[6:]):
        return None
    start = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    start += 10 * bool(head[5] & 0x10)  # a footer
    file.seek(start)
    magic = file.read(4)
    if magic in SNDFILE_MAGIC or magic.startswith(ADTS):
        return FileSlice(file, start, file.seek(0, os.SEEK_END))
    return None


def _decoded_ogg(file: BinaryIO, shown: str, integrity: Integrity, tracks: Tracks) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes all links of a chained Ogg file in turn; libsndfile would end with the first one."""
    layout = ogg_layout(file)
    integrity.damaged, integrity.cut = layout.damaged, layout.cut
    if layout.is_simple:
        yield from _decoded_by_either(file, shown, integrity, tracks)
        return
    decoded, errors = False, []
    for start, end in layout.links:
        try:
            for block in _decoded_by_ffmpeg(layout.part(file, start, end), shown, integrity, tracks):
                decoded = True
                yield block
        except AudioError as error:
            errors.append(error)
            integrity.damaged |= not (layout.cut and end == layout.links[-1][1])
    if errors and not decoded:
        raise errors[0]


def _decoded_by_either(
    file: BinaryIO, shown: str, integrity: Integrity, tracks: Tracks
) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes by libsndfile, which is faster, and from its first error on by FFmpeg, which continues after errors.

    Damaged FLAC files are decoded by `asr_core.audio.flac`, because FFmpeg's parser confuses their frames.
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
    """Decodes by libsndfile up to its first error; yields nothing if libsndfile cannot read the file.

    libsndfile does not name the speakers of channels. Files of more than two channels are therefore left to FFmpeg,
    but for FLAC, whose channels have the standard order.

    Returns:
        Number of samples per channel, and whether these are all that the header states.
    """
    import soundfile

    done = 0
    file.seek(0)
    try:
        with soundfile.SoundFile(_SeekAnywhere(file)) as recording:
            if recording.channels > 2 and recording.format != "FLAC":
                return 0, False
            count = max(1, DECODED_VALUES // recording.channels)
            while len(block := recording.read(count, dtype="float32", always_2d=True)):
                done += len(block)
                yield recording.samplerate, block
            return done, done == recording.frames > 0
    except soundfile.SoundFileError:
        return done, False


def stated_seconds(path: str | os.PathLike) -> float | None:
    """Length of a file according to its header; None where only decoding can show it.

    A header is trusted if the last sample that it states can be decoded. That fails for files that are cut off or were
    written to a pipe; chained Ogg files are never trusted, because libsndfile sees only their first link.
    """
    import soundfile

    try:
        with open(path, "rb") as file, soundfile.SoundFile(_SeekAnywhere(file)) as recording:
            if 0 < recording.frames < UNKNOWN_FRAMES:
                recording.seek(recording.frames - 1)
                last = recording.read(1)
                if len(last) == 1 and (recording.format != "OGG" or ogg_layout(file).is_simple):
                    return recording.frames / recording.samplerate
    except (soundfile.SoundFileError, OSError):
        return None
    return None


class _SeekAnywhere:
    """A file for libsndfile in which seeking never fails, wherever a damaged header makes libsndfile seek."""

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
    """Decodes the track wanted, or else the file's default track, or, if that is silent, the first audible one."""
    with _container(file, shown) as container:
        readable = _choose_track(container, tracks, shown)
        if tracks.wanted is not None or len(readable) == 1:
            yield from _decoded_track(container, file, integrity, tracks)
            return
    order = [tracks.chosen, *(number for number in readable if number != tracks.chosen)]
    tracks.chosen = next((number for number in order if _audible(file, shown, number)), tracks.chosen)
    with _container(file, shown) as container:
        yield from _decoded_track(container, file, integrity, tracks)


def _decoded_track(container, file: BinaryIO, integrity: Integrity, tracks: Tracks) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes the chosen track, with silence where its time stamps leave a gap."""
    stream = container.streams.audio[tracks.chosen - 1]
    if stream.codec_context.name in CHECKED_CODECS:
        # Without it, a damaged frame is decoded to noise.
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    start = (container.start_time or 0) / MICROSECONDS
    container_format = container.format.name
    duration = (container.duration or 0) / MICROSECONDS or None
    stated = header_seconds(file, container_format, duration, integrity.complete)
    monitor = IntegrityMonitor(integrity, container_format, stated, start)
    yield from _gathered(_frames(container, stream, monitor), start, start + (duration or 0.0))


def _choose_track(container, tracks: Tracks, shown: str) -> list[int]:
    """Chooses the track wanted or the file's default one; returns the numbers of the tracks that can be decoded."""
    from av.stream import Disposition

    streams = container.streams.audio
    if not streams:
        raise AudioError(f"{shown} has no audio track: choose a recording with audio.")
    readable = [number for number, stream in enumerate(streams, 1) if stream.codec_context]
    marked = [number for number in readable if streams[number - 1].disposition & Disposition.default]
    tracks.choose(len(streams), (marked or readable or [1])[0], shown)
    if tracks.chosen not in readable:
        raise AudioError(f"{shown} holds audio in a format that cannot be decoded: {READABLE}.")
    return readable


def _audible(file: BinaryIO, shown: str, track: int) -> bool:
    """Whether a track has an audible sample; decodes no further than to the first one."""
    with _container(file, shown) as container:
        monitor = IntegrityMonitor(Integrity(), container.format.name, None, 0.0)
        frames = _frames(container, container.streams.audio[track - 1], monitor)
        return any(np.abs(frame.samples).max() > SILENT_TRACK_PEAK for frame in frames)


def _container(file: BinaryIO, shown: str):
    """Opens a file with FFmpeg, from its start."""
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
        if lacks_index(file):
            lost = "its index, which stands at the end, is missing"
            raise AudioError(f"{shown} is cut off and {lost}: copy or record it again.") from None
        raise AudioError(f"{shown} is not a recording, or its start is damaged: {READABLE}.") from None


def _refuse_more_files(url, flags, options):
    raise PermissionError(f"a recording may not open other files ({url!r})")


@dataclass(frozen=True)
class _Frame:
    """A decoded frame.

    Attributes:
        rate: Hz.
        time: seconds on the container's clock; None without a time stamp.
        samples: float32 [n, channels], as `decoded` yields them.
    """

    rate: int
    time: float | None
    samples: np.ndarray


def _frames(container, stream, monitor: IntegrityMonitor) -> Iterator[_Frame]:
    """Decodes all intact packets of a track; damaged ones are left out."""
    import av

    damage = (av.FFmpegError, ValueError, IndexError, OverflowError)
    plain = stream.codec_context.name.startswith(("pcm_", "wavpack"))  # lossless: its peaks are as they were recorded
    layout, resampler = None, None
    for packet in _packets(container, stream, monitor):
        try:
            for frame in packet.decode():
                if layout != (frame.format.name, frame.layout.name, frame.sample_rate):
                    layout = (frame.format.name, frame.layout.name, frame.sample_rate)
                    resampler = av.AudioResampler(format="flt")  # PyAV misreads the planes of 8 channels and more
                for whole in resampler.resample(frame):
                    samples = whole.to_ndarray().reshape(-1, whole.layout.nb_channels)
                    if samples.shape[1] > 2:
                        samples = folded(samples, [speaker.name for speaker in frame.layout.channels])
                    if not len(samples) or not frame.sample_rate:
                        continue
                    if plain or np.abs(samples).max() < MAX_LOSSY_PEAK:
                        monitor.frame(frame.is_corrupt)
                        yield _Frame(frame.sample_rate, frame.time, samples)
                    else:
                        monitor.failure(packet)
        except damage:
            monitor.failure(packet)
    monitor.end()


def _packets(container, stream, monitor: IntegrityMonitor) -> Iterator:
    """Demuxes the packets of one track; those of other tracks are only reported to the monitor."""
    import av

    failures = 0
    packets = container.demux()
    while failures < MAX_DEMUX_FAILURES:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, ValueError, IndexError, OverflowError):
            monitor.failure()
            failures += 1
            packets = container.demux()  # continues after the bytes that could not be read
            continue
        monitor.packet(packet, packet.stream.index == stream.index)
        if packet.stream.index == stream.index:
            yield packet


def _gathered(frames: Iterator[_Frame], start: float, end: float) -> Iterator[tuple[int, np.ndarray]]:
    """Joins frames, of about a thousand samples each, to larger blocks, and fills gaps between time stamps.

    Lost packets leave many gaps that are shorter than MIN_GAP_SECONDS. They add up, and are filled together.

    Args:
        frames: in order.
        start, end: of the container, in seconds on its clock; `end` is no more than `start` where it is unknown.
    """
    held: list[np.ndarray] = []
    size, rate, filled = 0, 0, 0.0
    clock = start  # where the audio so far ends
    for frame in frames:
        gap = frame.time - clock if frame.time is not None else 0.0
        longest = MAX_SILENCE_SECONDS - filled
        if clock + gap > end:
            longest = min(longest, MAX_GAP_SECONDS)
        fill = gap if MIN_GAP_SECONDS < gap <= longest else 0.0
        changed = held and (rate != frame.rate or held[0].shape[1] != frame.samples.shape[1])
        if held and (changed or fill or size >= DECODED_VALUES):
            yield rate, np.concatenate(held)
            held, size = [], 0
        rate = frame.rate
        if fill:
            filled += fill
            for start in range(0, missing := round(fill * rate), DECODED_VALUES):
                yield rate, np.zeros((min(DECODED_VALUES, missing - start), 1), np.float32)
        held.append(frame.samples)
        size += frame.samples.size
        if gap > longest or gap < -MAX_LEAD_SECONDS:
            clock = frame.time
        clock += fill + len(frame.samples) / rate
    if held:
        yield rate, np.concatenate(held)
