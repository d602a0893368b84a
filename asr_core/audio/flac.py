"""Decodes FLAC files that libsndfile cannot decode to the end: those of unknown length, damaged, or cut off.

The frames of RFC 9639 are independent. Each begins with a synchronisation code and a header with a checksum, which
gives the frame's position, and ends with a checksum. Every intact frame is therefore decoded to its place in time.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from asr_core.audio.ffmpeg import Interleaver
from asr_core.audio.integrity import Integrity

READ_BYTES = 1 << 20  # of a file at a time
MAX_FRAME_BYTES = 1 << 21  # 65,535 samples of 8 channels of 32 bits
MAX_ENDS = 6  # ends tried for a frame, since bytes within it may look like the next header
SILENCE_SAMPLES = 1 << 15  # per channel in one block of silence
MAX_GAP_SECONDS = 600  # of missing frames that silence replaces; longer gaps are left out


@dataclass(frozen=True)
class StreamInfo:
    """The metadata block STREAMINFO of a FLAC file.

    Attributes:
        content: its 34 bytes.
        block_samples: samples per frame, if all frames but the last have the same number.
        rate: Hz.
        channels: number of channels.
        samples: samples per channel in the file; 0 if unknown.
        first_byte: where the first frame begins.
    """

    content: bytes
    block_samples: int
    rate: int
    channels: int
    samples: int
    first_byte: int


def stream_info(file: BinaryIO) -> StreamInfo | None:
    """The metadata of a FLAC file; None if its metadata blocks are damaged."""
    file.seek(4)
    content, last = b"", False
    while not last:
        header = file.read(4)
        if len(header) < 4 or header[0] & 0x7F == 0x7F:
            return None
        last, length = bool(header[0] & 0x80), int.from_bytes(header[1:], "big")
        if header[0] & 0x7F == 0:
            content = file.read(min(length, 34))
            length -= len(content)
        file.seek(length, os.SEEK_CUR)
    if len(content) < 34:
        return None
    (numbers,) = struct.unpack_from(">Q", content, 10)  # 20 bits rate, 3 channels, 5 bits a sample, 36 samples
    rate, channels, samples = numbers >> 44, (numbers >> 41 & 7) + 1, numbers & ((1 << 36) - 1)
    return StreamInfo(content, struct.unpack_from(">H", content, 2)[0], rate, channels, samples, file.tell())


def _crc8_table() -> bytes:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
        table.append(value)
    return bytes(table)


CRC8 = _crc8_table()


def frame_start(data: bytes, at: int, info: StreamInfo) -> int | None:
    """Number of the first sample of the frame whose header begins at `at`; None if no header does."""
    header = data[at : at + 16]
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xFE != 0xF8:
        return None
    block, rate, assignment, depth = header[2] >> 4, header[2] & 15, header[3] >> 4, header[3] >> 1 & 7
    channels = assignment + 1 if assignment < 8 else 2
    if block == 0 or rate == 15 or assignment > 10 or depth == 3 or header[3] & 1 or channels != info.channels:
        return None
    ones = 8 - (header[4] ^ 0xFF).bit_length()  # the frame number is encoded like a character in UTF-8
    if ones in (1, 8):
        return None
    length = 4 + max(1, ones)
    number = header[4] & (0x7F >> ones)
    for byte in header[5:length]:
        number = number << 6 | byte & 0x3F
    length += {6: 1, 7: 2}.get(block, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    crc = 0
    for byte in header[: length + 1]:
        crc = CRC8[crc ^ byte]
    if length >= len(header) or crc:
        return None
    return number if header[1] & 1 else number * info.block_samples


class _Frames:
    """Finds the frame headers of a file, and reads the bytes between two of them."""

    def __init__(self, file: BinaryIO, info: StreamInfo):
        self._file, self._info = file, info
        self._data, self._offset = b"", info.first_byte
        self._ended = False

    def _read(self, keep_from: int) -> None:
        self._data = self._data[keep_from - self._offset :]
        self._offset = keep_from
        self._file.seek(self._offset + len(self._data))
        part = self._file.read(READ_BYTES)
        self._ended = not part
        self._data += part

    def next(self, place: int, keep_from: int) -> tuple[int, int | None]:
        """(place, first sample) of the first header at or after `place`; (end of the file, None) if there is none.

        Bytes before `keep_from` are no longer needed by `between`.
        """
        while True:
            at = self._data.find(b"\xff", place - self._offset) if place >= self._offset else -1
            if at < 0 or at + 16 > len(self._data):
                if not self._ended:
                    self._read(keep_from)
                    continue
                if at < 0:
                    return self._offset + len(self._data), None
            sample = frame_start(self._data, at, self._info)
            if sample is not None:
                return self._offset + at, sample
            place = self._offset + at + 1

    def between(self, start: int, end: int) -> bytes:
        return self._data[start - self._offset : end - self._offset]


def decoded_flac(file: BinaryIO, info: StreamInfo, integrity: Integrity) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes all intact frames, with silence in place of the others.

    Args:
        file: the whole file.
        info: its metadata.
        integrity: receives what is damaged or missing.

    Yields:
        (sample rate, samples float32 [n, channels]).
    """
    frames, decoder, interleave = _Frames(file, info), _decoder(info), Interleaver()
    place, sample = frames.next(info.first_byte, info.first_byte)
    # An excerpt of a longer stream keeps its numbers.
    begun = expected = sample if sample and place == info.first_byte else 0
    failed = False
    while sample is not None:
        frame, after = _decode(decoder, frames, place)
        if frame is None:
            failed = True
            place, sample = frames.next(place + 1, place + 1)
            continue
        missing = sample - expected
        integrity.damaged |= failed or missing > 0
        if 0 < missing <= MAX_GAP_SECONDS * info.rate:
            yield from _silence(missing, info)
        for samples in interleave(frame):
            yield frame.sample_rate, samples
        expected, failed = sample + frame.samples, False
        place, sample = after
    if info.samples and begun < info.samples:
        integrity.present = min(1.0, (expected - begun) / info.samples)
    else:
        integrity.cut |= failed


def _silence(count: int, info: StreamInfo) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, count, SILENCE_SAMPLES):
        yield info.rate, np.zeros((min(SILENCE_SAMPLES, count - start), info.channels), np.float32)


def _decoder(info: StreamInfo):
    import av

    decoder = av.CodecContext.create("flac", "r")
    decoder.extradata = info.content
    decoder.thread_count = 1
    decoder.options = {"err_detect": "crccheck+explode"}
    return decoder


def _decode(decoder, frames: _Frames, place: int) -> tuple[object | None, tuple[int, int | None]]:
    """(decoded frame that begins at `place`, the next header as `_Frames.next` returns it); a damaged frame is None."""
    import av

    end, sample = place, 0
    for _ in range(MAX_ENDS):
        if sample is None or end - place > MAX_FRAME_BYTES:
            break
        end, sample = frames.next(end + 1, place)
        try:
            decoded = decoder.decode(av.Packet(frames.between(place, end)))
        except (av.FFmpegError, ValueError):
            continue
        if len(decoded) == 1:
            return decoded[0], (end, sample)
    return None, (end, sample)
