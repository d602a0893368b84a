"""Reads the pages of an Ogg file without decoding them: where its links are, and which pages are damaged (RFC 3533)."""

import os
import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from asr_core.audio.containers import SEARCH_BYTES, TOLERANCE_BYTES, FileSlice

OGG_PAGE = struct.Struct("<4sBBqIIIB")  # capture, version, flags, position, serial, number, CRC, segments
OGG_FIRST = 2  # flag of the page that begins a logical stream
OGG_NO_POSITION = -1  # granule position of a page on which no packet ends
MAX_OGG_PAGE_SAMPLES = 1 << 20  # between the positions of two pages: 22 s at 48 kHz
MAX_CHECKSUMS = 1000  # corrected checksums of one file
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_crc(page: bytes) -> int:
    """Checksum of an Ogg page (RFC 3533): zlib's CRC with the bits reversed, without its initial and final values."""
    crc = zlib.crc32(page.translate(REVERSED_BITS), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{crc:032b}"[::-1], 2)


@dataclass
class OggLayout:
    """The links of an Ogg file, and its damage.

    Attributes:
        links: (first byte, byte after the last) of each link, a group of logical streams that begin together.
        damaged: whether pages are missing or their checksums are wrong.
        cut: whether the last page is incomplete.
        checksums: place in the file -> correct checksum of a damaged page whose header is plausible. With it, a
            decoder loses only the damaged packets of a page, which may last a second. Opus pages have none, because
            an Opus packet states its own duration, and a damaged one would shift the times of all others.
    """

    links: list[tuple[int, int]]
    damaged: bool = False
    cut: bool = False
    checksums: dict[int, bytes] = field(default_factory=dict)

    @property
    def is_simple(self) -> bool:
        """One link, and nothing wrong with it."""
        return len(self.links) == 1 and not self.damaged and not self.cut

    def part(self, file: BinaryIO, start: int, end: int) -> FileSlice:
        """The bytes of a link, with corrected checksums."""
        inside = {place - start: crc for place, crc in self.checksums.items() if start <= place < end}
        return FileSlice(file, start, end, inside)


@dataclass
class _LogicalStream:
    """The state of a logical stream after its latest page.

    Attributes:
        number: sequence number of the next page; None if any may follow.
        granule: position at the end of the latest packet, in samples or in the codec's own unit.
        is_opus: whether the codec is Opus.
    """

    number: int | None
    granule: int
    is_opus: bool

    def may_continue_with(self, number: int, granule: int) -> bool:
        """Whether a page with this number and position, although damaged, plausibly comes next."""
        is_near = granule == OGG_NO_POSITION or 0 <= granule - self.granule <= MAX_OGG_PAGE_SAMPLES
        return self.number in (None, number) and is_near and not self.is_opus


def ogg_layout(file: BinaryIO) -> OggLayout:
    """Reads the headers of all pages of an Ogg file. A link begins with the first pages of its streams (RFC 3533)."""
    size = file.seek(0, os.SEEK_END)
    layout, starts, position = OggLayout([]), [0], 0
    streams: dict[int, _LogicalStream] = {}
    in_headers = True
    while (found := _next_page(file, position)) is not None:
        start, (_, _, flags, granule, serial, number, crc, _), page = found
        if not _complete(page):
            layout.cut = True
            break
        stream = streams.get(serial)
        if (right := ogg_crc(page[:22] + bytes(4) + page[26:])) != crc:
            layout.damaged = True
            is_likely = stream is not None and stream.may_continue_with(number, granule)
            if not is_likely or len(layout.checksums) >= MAX_CHECKSUMS:
                position = start + 1
                continue
            layout.checksums[start + 22] = struct.pack("<I", right)
        layout.damaged |= start != position
        position = start + len(page)
        if flags & OGG_FIRST:
            if not in_headers:
                starts.append(start)
                streams.clear()
            stream = streams[serial] = _LogicalStream(None, 0, b"OpusHead" in page[OGG_PAGE.size : 300])
        elif stream is not None:
            layout.damaged |= stream.number not in (None, number)
            # Behind the headers, whose position is 0, a stream that was recorded from its middle has any number.
            stream.number = None if granule == 0 else (number + 1) % 2**32
            stream.granule = stream.granule if granule == OGG_NO_POSITION else granule
        in_headers = bool(flags & OGG_FIRST)
    layout.damaged |= not layout.cut and size - position > TOLERANCE_BYTES
    layout.links = list(zip(starts, [*starts[1:], size], strict=True))
    file.seek(0)
    return layout


def _complete(page: bytes) -> bool:
    """Whether a page has all bytes that its header states."""
    if len(page) < OGG_PAGE.size or len(page) < OGG_PAGE.size + page[26]:
        return False
    return len(page) == OGG_PAGE.size + page[26] + sum(page[OGG_PAGE.size : OGG_PAGE.size + page[26]])


def _next_page(file: BinaryIO, position: int) -> tuple[int, tuple, bytes] | None:
    """(first byte, fields of the header, content) of the first page from `position` on.

    The content is shorter than the header states where the file ends.
    """
    while True:
        file.seek(position)
        part = file.read(SEARCH_BYTES)
        at = part.find(b"OggS\0")  # the version is 0
        if at < 0:
            if len(part) < SEARCH_BYTES:
                return None
            position += len(part) - 4
            continue
        position += at
        file.seek(position)
        head = file.read(OGG_PAGE.size + 255)
        if len(head) < OGG_PAGE.size:
            return position, OGG_PAGE.unpack(head.ljust(OGG_PAGE.size, b"\0")), head
        segments = head[26]
        body = sum(head[OGG_PAGE.size : OGG_PAGE.size + segments])
        file.seek(position)
        return position, OGG_PAGE.unpack_from(head), file.read(OGG_PAGE.size + segments + body)
