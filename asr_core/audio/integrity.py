"""Whether a recording is whole: what decoding it shows, in one sentence for people.

`asr_core.audio.files` reports packets, frames and failures while it decodes. What does not prove a fault is
no fault: files of unknown length, tags behind the audio, and streams that were joined while they ran are whole.
"""

import os
import struct
from dataclasses import dataclass

MIN_GAP_SECONDS = 0.015  # the shortest frames last 20 ms; smaller jumps between time stamps are rounding
TOLERANCE_SECONDS = 0.25  # the padding of encoders is counted by some and not by others
LOOSE_TOLERANCE_SECONDS = 1.0  # where the last picture may count, whose duration is not stored
GAP_BYTES = 512  # between packets; headers of clusters are smaller
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # texts between or behind the frames of an MP3 file
END_STATED = ("wav", "w64", "aiff", "au", "caf", "mp3", "wv", "tta")  # their headers show a cut; tags may follow them
JOINABLE = ("mp3", "aac", "loas", "ac3", "eac3", "dts", "mpegts", "mpeg")  # may begin in the middle of a frame
SEQUENTIAL = ("matroska,webm", "flv")  # packets follow each other, with little between them
HEAD_BYTES = 4096


@dataclass
class Integrity:
    """What is known of a recording's damage so far.

    Attributes:
        damaged: some of it could not be decoded, and what follows could.
        complete: the file has all bytes that its header states, so that nothing can be cut off.
        cut: its end is missing.
        present: share of what its header states that is there, where it is known.
    """

    damaged: bool = False
    complete: bool = False
    cut: bool = False
    present: float = 1.0

    def note(self, shown: str) -> str | None:
        """One sentence about it; None if nothing is known to be wrong."""
        share = f"{max(1, round(100 * self.present))} %" if round(self.present, 3) < 1 else None
        if self.cut or share:
            what = "damaged and cut off" if self.damaged else "cut off"
            rest = f"about {share} of what its header states is there" if share else "its end is missing"
            return f"{shown} is {what}: {rest}."
        return f"{shown} is damaged: parts of it cannot be decoded." if self.damaged else None


class Watch:
    """Follows the demuxing and decoding of one track.

    Args:
        integrity: is told what is found.
        form: name of the container's format in FFmpeg.
        stated_seconds: length of the recording according to its header, or None.
        start_seconds: first time on the container's clock.
    """

    def __init__(self, integrity: Integrity, form: str, stated_seconds: float | None, start_seconds: float):
        self._integrity = integrity
        self._form = form
        self._stated = stated_seconds
        self._start = self._end = start_seconds
        self._track_end: float | None = None
        self._byte = 0  # behind the latest packet
        self._incomplete = False  # the latest packet
        self._failed = False
        self._decoded = False

    def packet(self, packet, of_track: bool) -> None:
        """A packet was demuxed; those of other tracks count towards the length."""
        if of_track and packet.size:
            self._incomplete = packet.is_corrupt and self._form not in END_STATED
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
        lost_bytes = byte is not None and byte - self._byte > GAP_BYTES
        return gap > MIN_GAP_SECONDS and (self._form == "flac" or (self._form in SEQUENTIAL and lost_bytes))

    def frame(self, is_corrupt: bool) -> None:
        """A frame was decoded, with or without complaints."""
        if is_corrupt or self._incomplete:
            self._failed = True
            return
        if self._failed and (self._decoded or self._form not in JOINABLE):
            self._integrity.damaged = True
        self._failed, self._decoded = False, True

    def failure(self, packet=None) -> None:
        """A packet could not be decoded, or not be demuxed."""
        if packet is None or (packet.size and not bytes(packet)[:8].startswith(TAGS)):
            self._failed = True

    def end(self) -> None:
        """Everything has been demuxed."""
        found, length = self._integrity, self._end - self._start
        tolerance = LOOSE_TOLERANCE_SECONDS if self._form in SEQUENTIAL else TOLERANCE_SECONDS
        is_short = self._stated is not None and length < self._stated - tolerance
        ends_badly = self._failed and self._decoded and self._form not in END_STATED
        if found.complete or (found.damaged and self._form == "mp3"):  # frames of mp3 have no time stamps
            found.damaged |= ends_badly or is_short
            return
        found.cut |= ends_badly
        if is_short:
            found.present = min(found.present, max(0.0, length) / self._stated)


def header_seconds(file, form: str, duration: float | None, complete: bool) -> float | None:
    """Length that a file's header states; None if FFmpeg estimated it.

    Args:
        file: the binary file; its position is kept.
        form: name of the container's format in FFmpeg.
        duration: FFmpeg's, in seconds.
        complete: the header states a number of bytes, and they are there.
    """
    if form == "matroska,webm" and complete:
        return duration
    if form in ("flac", "wv", "tta", "nistsphere"):
        return duration
    if form not in ("mp3", "flv"):
        return None
    position = file.tell()
    file_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head.startswith(b"ID3") and len(head) >= 10:
        file.seek(10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)))
        head = file.read(HEAD_BYTES)
    file.seek(position)
    if form == "mp3":
        return duration if _counts_frames(head, file_bytes) else None
    at = head.find(b"duration\0")
    if at < 0 or len(head) < at + 17:
        return None
    return struct.unpack_from(">d", head, at + 9)[0] or None


def _counts_frames(head: bytes, file_bytes: int) -> bool:
    """Whether an MP3 file's first frame states the length: not in files of constant bit rate, nor for what was
    appended later. FFmpeg, too, goes by the bit rate where the file is larger than stated by a sixteenth."""
    for name, flags_at, bytes_at in ((b"Xing", 4, 12), (b"Info", 4, 12), (b"VBRI", None, 10)):
        at = head.find(name)
        if at < 0 or len(head) < at + 16:
            continue
        flags = 3 if flags_at is None else struct.unpack_from(">I", head, at + flags_at)[0]
        stated_bytes = struct.unpack_from(">I", head, at + bytes_at)[0] if flags & 3 == 3 else file_bytes
        return bool(flags & 1) and file_bytes - stated_bytes <= stated_bytes // 20
    return False
