"""Finds out while a file is decoded whether it is damaged or cut off, and puts that into a sentence for the user.

`asr_core.audio.ffmpeg` reports packets, frames and failures. Only proof counts as a fault: files of unknown length,
tags after the audio, and recordings that begin in the middle of a stream are whole.
"""

import os
import struct
from dataclasses import dataclass

MIN_GAP_SECONDS = 0.015  # smaller jumps between time stamps are rounding; the shortest frames last 20 ms
TOLERANCE_SECONDS = 0.25  # of a stated length, which may or may not include the padding of the encoder
LOOSE_TOLERANCE_SECONDS = 1.0  # of a stated length that may include the last picture, whose duration is not stored
MIN_GAP_BYTES = 512  # between two packets where data are missing; the headers of clusters are smaller
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # starts of texts between or after the frames of an MP3 file
END_STATED = ("wav", "w64", "aiff", "au", "caf", "mp3", "wv", "tta")  # containers whose header states their length
JOINABLE = ("mp3", "aac", "loas", "ac3", "eac3", "dts", "mpegts", "mpeg")  # streams that may begin within a frame
SEQUENTIAL = ("matroska,webm", "flv")  # containers whose packets follow each other closely
HEAD_BYTES = 4096  # of a file that are searched for a stated length


@dataclass
class Integrity:
    """The damage to a recording that is known so far.

    Attributes:
        damaged: a segment could not be decoded, while what follows it could.
        complete: the file has all bytes that its header states, so that nothing is cut off.
        cut: the end of the recording is missing.
        present: share of the stated length that is there; 1 if it is unknown.
    """

    damaged: bool = False
    complete: bool = False
    cut: bool = False
    present: float = 1.0

    def note(self, shown: str) -> str | None:
        """A sentence about the damage; None if none is known."""
        share = f"{max(1, round(100 * self.present))} %" if round(self.present, 3) < 1 else None
        if self.cut or share:
            what = "damaged and cut off" if self.damaged else "cut off"
            rest = f"about {share} of what its header states is there" if share else "its end is missing"
            return f"{shown} is {what}: {rest}."
        return f"{shown} is damaged: parts of it cannot be decoded." if self.damaged else None


class IntegrityMonitor:
    """Finds faults of one track from events of its demuxing and decoding.

    Args:
        integrity: receives the faults.
        container_format: FFmpeg's name of the container.
        stated_seconds: length of the recording according to its header, or None.
        start_seconds: first time on the container's clock.
    """

    def __init__(self, integrity: Integrity, container_format: str, stated_seconds: float | None, start_seconds: float):
        self._integrity = integrity
        self._format = container_format
        self._stated = stated_seconds
        self._start = self._end = start_seconds
        self._track_end: float | None = None
        self._byte = 0  # end of the latest packet in the file
        self._incomplete = False  # whether the latest packet is
        self._failed = False
        self._decoded = False

    def packet(self, packet, of_track: bool) -> None:
        """Reports a demuxed packet; those of other tracks count towards the length, too."""
        if of_track and packet.size:
            self._incomplete = packet.is_corrupt and self._format not in END_STATED
            self._failed |= self._incomplete
        if packet.pts is not None and packet.time_base is not None:
            time = float(packet.pts * packet.time_base)
            end = time + float((packet.duration or 0) * packet.time_base)
            if of_track:
                if self._gap(time, packet.pos):
                    self._integrity.damaged = True
                self._track_end = end
            self._end = max(self._end, end)
        if packet.pos is not None and packet.pos >= 0:
            self._byte = max(self._byte, packet.pos + packet.size)

    def _gap(self, time: float, byte: int | None) -> bool:
        gap = 0.0 if self._track_end is None else time - self._track_end
        lost_bytes = byte is not None and byte - self._byte > MIN_GAP_BYTES
        return gap > MIN_GAP_SECONDS and (self._format == "flac" or (self._format in SEQUENTIAL and lost_bytes))

    def frame(self, is_corrupt: bool) -> None:
        """Reports a decoded frame, and whether the decoder marked it as corrupt."""
        if is_corrupt or self._incomplete:
            self._failed = True
            return
        if self._failed and (self._decoded or self._format not in JOINABLE):
            self._integrity.damaged = True
        self._failed, self._decoded = False, True

    def failure(self, packet=None) -> None:
        """Reports a packet that could not be decoded or, without one, a failure of the demuxer."""
        if packet is None or (packet.size and not bytes(packet)[:8].startswith(TAGS)):
            self._failed = True

    def end(self) -> None:
        """Reports the end of the container."""
        found, length = self._integrity, self._end - self._start
        tolerance = LOOSE_TOLERANCE_SECONDS if self._format in SEQUENTIAL else TOLERANCE_SECONDS
        is_short = self._stated is not None and length < self._stated - tolerance
        ends_badly = self._failed and self._decoded and self._format not in END_STATED
        if found.complete or (found.damaged and self._format == "mp3"):  # frames of mp3 have no time stamps
            found.damaged |= ends_badly or is_short
            return
        found.cut |= ends_badly
        if is_short:
            found.present = min(found.present, max(0.0, length) / self._stated)


def header_seconds(file, container_format: str, duration: float | None, complete: bool) -> float | None:
    """Length in seconds that a file's header states; None if FFmpeg only estimated it.

    Args:
        file: the binary file; its position is kept.
        container_format: FFmpeg's name of the container.
        duration: FFmpeg's, in seconds.
        complete: whether all bytes that the header states are there.
    """
    if container_format == "matroska,webm" and complete:
        return duration
    if container_format in ("flac", "wv", "tta", "nistsphere"):
        return duration
    if container_format not in ("mp3", "flv"):
        return None
    position = file.tell()
    file_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head.startswith(b"ID3") and len(head) >= 10:
        file.seek(10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)))
        head = file.read(HEAD_BYTES)
    file.seek(position)
    if container_format == "mp3":
        return duration if _counts_frames(head, file_bytes) else None
    at = head.find(b"duration\0")
    if at < 0 or len(head) < at + 17:
        return None
    return struct.unpack_from(">d", head, at + 9)[0] or None


def _counts_frames(head: bytes, file_bytes: int) -> bool:
    """Whether the first frame of an MP3 file states the length of the whole file.

    Files of constant bit rate state none, and what was appended later is not counted. FFmpeg, too, estimates the
    length from the bit rate where a file is a sixteenth larger than stated.
    """
    for name, flags_at, bytes_at in ((b"Xing", 4, 12), (b"Info", 4, 12), (b"VBRI", None, 10)):
        at = head.find(name)
        if at < 0 or len(head) < at + 16:
            continue
        flags = 3 if flags_at is None else struct.unpack_from(">I", head, at + flags_at)[0]
        stated_bytes = struct.unpack_from(">I", head, at + bytes_at)[0] if flags & 3 == 3 else file_bytes
        return bool(flags & 1) and file_bytes - stated_bytes <= stated_bytes // 20
    return False
