"""Reads the headers of containers without decoding them: whether a file is shorter than they state, or lacks its index.

A few bytes are read at a time, whatever sizes a header states.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

SEARCH_BYTES = 1 << 16  # read at a time in search of a page or a header
MAX_CHUNKS = 100_000  # of one file; an hour of fragmented MP4 has about ten thousand
TOLERANCE_BYTES = 512  # between stated and actual size; headers that are a few bytes wrong are common and harmless
UNKNOWN = {4: 0x7FFF_0000, 8: 1 << 62}  # by bytes of a size field: larger sizes stand for an unknown length
W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")  # name of the chunk that holds the samples of Wave64
AUDIO_CHUNKS = (b"data", b"SSND", b"mdat", b"moof")  # names of the chunks that hold the audio of other containers


class FileSlice:
    """A range of bytes of a file, as a binary file that can only be read.

    Args:
        file: the whole file.
        start: first byte of the range.
        end: the byte after its last.
        patches: place in the range -> bytes that replace those of the file.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, patches: dict[int, bytes] | None = None):
        self._file, self._start, self._end, self._position = file, start, end, 0
        self._patches = patches or {}

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end - self._start}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._end - self._start - self._position)
        self._file.seek(self._start + self._position)
        content = self._file.read(left if count is None or count < 0 else min(count, left))
        for place, patch in self._patches.items():
            first = max(0, self._position - place)
            last = min(len(patch), self._position + len(content) - place)
            if first < last:
                at = place - self._position
                content = content[: at + first] + patch[first:last] + content[at + last :]
        self._position += len(content)
        return content


def without_false_sizes(file: BinaryIO) -> BinaryIO:
    """The file at its start, with the size "unknown" in a header that was never completed.

    Programs that write to a pipe leave such headers, with a size of 0 or a placeholder.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(SEARCH_BYTES)
    file.seek(0)
    if head.startswith(b"riff") and (place := head.find(W64_DATA)) >= 0:
        stated = struct.unpack_from("<Q", head.ljust(place + 24, b"\0"), place + 16)[0]
        return FileSlice(file, 0, size, {place + 16: struct.pack("<Q", size - place)}) if stated >= UNKNOWN[8] else file
    if head.startswith(b".snd") and len(head) > 12 and not 0 < struct.unpack_from(">I", head, 8)[0] < UNKNOWN[4]:
        return FileSlice(file, 0, size, {8: b"\xff" * 4})
    if head[:4] in (b"RF64", b"BW64") and head[12:16] == b"ds64" and len(head) >= 36:
        if not 0 < struct.unpack_from("<Q", head, 28)[0] < UNKNOWN[8]:
            return FileSlice(file, 0, size, {0: b"RIFF"})
    return file


def share_present(file: BinaryIO) -> float | None:
    """Share of the bytes stated by the container's header that are there; None if the header states none.

    The share is 0 for a fragmented MP4 file that is cut off, because it does not state how many fragments it had.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(SEARCH_BYTES)
    stated = _stated_bytes(file, head, size)
    file.seek(0)
    if stated is None or stated - size <= TOLERANCE_BYTES:
        return 1.0 if stated else None
    return 0.0 if b"mvex" in head else size / stated


def _stated_bytes(file: BinaryIO, head: bytes, size: int) -> int | None:
    """Size of the file in bytes according to its header, given the first bytes and the actual size."""
    magic = head[:4]
    if magic in (b"RIFF", b"RF64", b"BW64"):
        return _end_of_chunks(file, size, 12, "<4sI", 2)
    if magic in (b"RIFX", b"FORM"):
        return _end_of_chunks(file, size, 12, ">4sI", 2)
    if magic == b"caff":
        return _end_of_chunks(file, size, 8, ">4sQ", 1)
    if magic == b"riff":
        return _end_of_chunks(file, size, 40, "<4s12xQ", 8)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _end_of_boxes(file, size)
    if magic == b".snd" and len(head) >= 12:
        start, length = struct.unpack_from(">II", head, 4)
        return start + length if length < UNKNOWN[4] else None
    if magic == b"\x1a\x45\xdf\xa3":
        return _end_of_segment(head)
    return _asf_size(head) if magic == b"\x30\x26\xb2\x75" else None


def _end_of_chunks(file: BinaryIO, size: int, position: int, form: str, alignment: int) -> int | None:
    """End of the chunk that holds the audio in a list of chunks: RIFF, AIFF, CAF and Wave64 files."""
    header, width = struct.Struct(form), 4 if form.endswith("I") else 8
    in_header = header.size if alignment == 8 else 0  # Wave64 includes the header in the length of a chunk
    length_64 = None
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        content = file.read(header.size + 16)
        if len(content) < header.size:
            return None
        name, length = header.unpack_from(content)
        if name == b"ds64" and len(content) >= header.size + 16:  # RF64 keeps its 64-bit lengths here
            length_64 = struct.unpack_from("<Q", content, header.size + 8)[0] or UNKNOWN[8]
        if name == b"data" and length_64 is not None and length == 0xFFFF_FFFF:
            length, width = length_64, 8
        end = position + header.size + length - in_header
        if name in AUDIO_CHUNKS or (name == b"LIST" and content[header.size :].startswith(b"movi")):
            return end if in_header <= length < UNKNOWN[width] else None
        position = -(-end // alignment) * alignment
        if length < in_header or position >= size:
            return None
    return None


def lacks_index(file: BinaryIO) -> bool:
    """Whether an MP4 file ends after or within its audio, before the index ("moov"), without which nothing is decoded.

    Such a file was copied in part, or its recorder was stopped before it wrote the index.
    """
    size, has_audio = file.seek(0, os.SEEK_END), False
    for name, end in _boxes(file):
        has_audio |= name == b"mdat"
        if name == b"moov" and end <= size:
            return False
        if end >= size:
            return has_audio
    return False


def _end_of_boxes(file: BinaryIO, size: int) -> int | None:
    """End of the last box of an MP4 file, if it holds audio."""
    for name, end in _boxes(file):
        if end >= size:
            return end if end < UNKNOWN[8] and (name in AUDIO_CHUNKS or end == size) else None
    return None


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(name, end) of the boxes of an MP4 file; a box of unknown length ends beyond any file."""
    position = 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        content = file.read(16)
        if len(content) < 8:
            return
        length, name = struct.unpack_from(">I4s", content)
        if length == 1 and len(content) == 16:
            length = struct.unpack_from(">Q", content, 8)[0]
        length = length or UNKNOWN[8]
        if not 8 <= length <= UNKNOWN[8]:
            return
        position += length
        yield name, position


def _end_of_segment(head: bytes) -> int | None:
    """End of the only segment of a Matroska file; browsers do not state it in their recordings."""
    header_end = _variable_length(head, 4)
    if header_end is None or not head[sum(header_end) :].startswith(b"\x18\x53\x80\x67"):
        return None
    segment = _variable_length(head, sum(header_end) + 4)
    return segment and sum(segment)


def _variable_length(head: bytes, position: int) -> tuple[int, int] | None:
    """(place after the number, value) of an EBML number, whose first byte encodes how many bytes it has.

    If the number is a length, the sum of both is the end of the element.
    """
    if position >= len(head) or head[position] == 0:
        return None
    count = 9 - head[position].bit_length()
    value = int.from_bytes(head[position : position + count], "big") & ((1 << 7 * count) - 1)
    return None if value == (1 << 7 * count) - 1 else (position + count, value)


def _asf_size(head: bytes) -> int | None:
    """Size of a Windows Media file according to its file properties; None for a broadcast."""
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0 or len(head) < at + 92 or head[at + 88] & 1:
        return None
    return struct.unpack_from("<Q", head, at + 40)[0]
