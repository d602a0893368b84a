"""Decodes one audio track of a file by FFmpeg's libraries, through PyAV and without a program.

Damaged packets are left out, and gaps between time stamps are filled with silence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from asr_core.audio.channels import folded
from asr_core.audio.containers import lacks_index, without_false_sizes
from asr_core.audio.formats import FORMATS, READABLE
from asr_core.audio.integrity import Integrity, IntegrityMonitor, header_seconds
from asr_core.audio.tracks import Tracks
from asr_core.errors import AudioError

DECODED_VALUES = 1 << 18  # samples x channels decoded at a time: 1 MiB of float32
MAX_SILENCE_SECONDS = 4 * 3600  # of silence in all that fills gaps between time stamps
MAX_GAP_SECONDS = 600  # a longer jump beyond the stated end of the container is a clock that was set anew
MAX_LOSSY_PEAK = 8.0  # of full scale; lossy codecs exceed full scale by a little, damaged packets by far
SILENT_TRACK_PEAK = 3e-4  # -70 dBFS; another track is chosen in place of one that stays below
MICROSECONDS = 1e6  # per second; the unit of FFmpeg's container clock
MIN_GAP_SECONDS = 0.1  # by which the audio may lag behind its time stamps, which are rounded and vary
MAX_LEAD_SECONDS = 1.0  # by which it may be ahead of them; time stamps further back are those of a new clock
MAX_DEMUX_FAILURES = 20  # of one recording, after which the rest of its container is left out
CHECKED_CODECS = ("flac", "tta", "wavpack", "alac", "ape", "tak")  # lossless, most of them with checksums


def decoded_by_ffmpeg(
    file: BinaryIO, shown: str, integrity: Integrity, tracks: Tracks
) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes the track wanted, or else the file's default track, or, if that is silent, the first audible one.

    Arguments and blocks as for `asr_core.audio.files.decoded`; `integrity` receives what is damaged or missing.
    """
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
    except _damage():
        if lacks_index(file):
            lost = "its index, which stands at the end, is missing"
            raise AudioError(f"{shown} is cut off and {lost}: copy or record it again.") from None
        raise AudioError(f"{shown} is not a recording, or its start is damaged: {READABLE}.") from None


def _damage() -> tuple[type[Exception], ...]:
    """What PyAV raises for damaged files."""
    import av

    return av.FFmpegError, ValueError, IndexError, OverflowError


def _refuse_more_files(url, flags, options):
    raise PermissionError(f"a recording may not open other files ({url!r})")


class Interleaver:
    """Yields the samples of PyAV's frames as float32 [n, channels]; PyAV misreads the planes of 8 channels and more."""

    def __init__(self):
        self._layout = self._resampler = None

    def __call__(self, frame) -> Iterator[np.ndarray]:
        import av

        layout = (frame.format.name, frame.layout.name, frame.sample_rate)
        if layout != self._layout:
            self._layout, self._resampler = layout, av.AudioResampler(format="flt")
        for whole in self._resampler.resample(frame):
            yield whole.to_ndarray().reshape(-1, whole.layout.nb_channels)


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
    plain = stream.codec_context.name.startswith(("pcm_", "wavpack"))  # lossless: its peaks are as they were recorded
    interleave = Interleaver()
    for packet in _packets(container, stream, monitor):
        try:
            for frame in packet.decode():
                for samples in interleave(frame):
                    if samples.shape[1] > 2:
                        samples = folded(samples, [speaker.name for speaker in frame.layout.channels])
                    if not len(samples) or not frame.sample_rate:
                        continue
                    if plain or np.abs(samples).max() < MAX_LOSSY_PEAK:
                        monitor.frame(frame.is_corrupt)
                        yield _Frame(frame.sample_rate, frame.time, samples)
                    else:
                        monitor.failure(packet)
        except _damage():
            monitor.failure(packet)
    monitor.end()


def _packets(container, stream, monitor: IntegrityMonitor) -> Iterator:
    """Demuxes the packets of one track; those of other tracks are only reported to the monitor."""
    failures = 0
    packets = container.demux()
    while failures < MAX_DEMUX_FAILURES:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except _damage():
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
