"""Decodes audio files of any format to blocks of samples, which `asr_core.audio.loading` converts.

libsndfile decodes the plain formats, FFmpeg's libraries (`asr_core.audio.ffmpeg`) the others. The content of a file
decides between them, not its name. No memory is allocated because of what a header claims.
"""

import contextlib
import io
import os
import re
import stat
from collections.abc import Generator, Iterator
from typing import BinaryIO

import numpy as np

from asr_core.audio.containers import FileSlice, share_present
from asr_core.audio.ffmpeg import DECODED_VALUES, decoded_by_ffmpeg
from asr_core.audio.flac import decoded_flac, stream_info
from asr_core.audio.integrity import Integrity
from asr_core.audio.ogg import ogg_layout
from asr_core.audio.tracks import Tracks
from asr_core.errors import AudioError, printable

MAX_PIPE_BYTES = 1 << 30  # 1 GiB, since a stream that cannot seek is held in memory
UNKNOWN_FRAMES = 1 << 40  # more than any file holds; libsndfile reports 2^63 - 1 for an unknown length
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
            yield from decoded_by_ffmpeg(file, shown, integrity, tracks)
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
            for block in decoded_by_ffmpeg(layout.part(file, start, end), shown, integrity, tracks):
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
    rest = decoded_flac(file, info, integrity) if info else decoded_by_ffmpeg(file, shown, integrity, tracks)
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
