"""Recordings that are damaged, cut off, chained or of unknown length: what is decoded of them, and what is noted."""

import io
import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from asr_core.audio.formats import AUDIO_SUFFIXES, FORMATS, READABLE
from asr_core.audio.loading import load_audio
from asr_core.audio.ogg import OGG_PAGE, ogg_crc, ogg_layout
from asr_core.errors import AudioError
from tests.asr_core.audio.test_audio import RATE, assert_is_the_tone, encoded, tone, wav

DAMAGED = ("The recording is damaged: parts of it cannot be decoded.",)
SECONDS = 4


def noisy(seconds=SECONDS, rate=RATE):
    """A tone in noise, which no codec packs into next to nothing."""
    noise = 0.02 * np.random.default_rng(0).standard_normal(round(seconds * rate)).astype(np.float32)
    return tone(seconds, rate) + noise


class Pipe:
    """What cannot be sought by those who write to it, so that their headers never learn the length."""

    def __init__(self):
        self.content = bytearray()

    def write(self, data):
        self.content += bytes(data)
        return len(data)


def written(file, container, codec, rate, **options):
    """Bytes that FFmpeg writes to a pipe or to a path."""
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        stream.open()
        frame = av.AudioFrame.from_ndarray(noisy(rate=rate)[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(part))
    return bytes(file.content) if isinstance(file, Pipe) else open(file, "rb").read()


def flac():
    return wav(noisy(), format="FLAC")


def of_unknown_length(content):
    """A FLAC file whose STREAMINFO does not state the number of samples."""
    content = bytearray(content)
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


def overwritten(content, share, count=300):
    content, place = bytearray(content), round(share * len(content))
    content[place : place + count] = np.random.default_rng(1).bytes(count)
    return bytes(content)


def id3v1():
    return b"TAG" + b"title".ljust(125, b"\0")


def ape_tag():
    item = struct.pack("<II", 5, 0) + b"Title\0hello"

    def edge(flags):
        return struct.pack("<8sIIIQ", b"APETAGEX", 2000, len(item) + 32, 1, flags)

    return edge(0xA0000000) + item + edge(0x80000000)


class TestFlac:
    def test_behind_a_tag_that_is_larger_than_ffmpeg_searches(self):
        size = 2_000_000
        tag = b"ID3\4\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)
        audio = load_audio(tag + flac(), RATE)
        np.testing.assert_array_equal(audio.samples, load_audio(flac(), RATE).samples)
        assert not audio.notes

    def test_of_unknown_length_is_decoded_to_its_end(self):
        whole = load_audio(flac(), RATE)
        result = load_audio(of_unknown_length(flac()), RATE)
        np.testing.assert_array_equal(result.samples, whole.samples)
        assert result.notes == whole.notes == ()

    @pytest.mark.parametrize("make", [flac, lambda: of_unknown_length(flac())], ids=["stated", "unknown"])
    def test_damaged_in_the_middle_keeps_the_rest_and_its_times(self, make):
        whole = load_audio(flac(), RATE).samples
        result = load_audio(overwritten(overwritten(make(), 0.3), 0.7), RATE)
        same = result.samples == whole
        assert len(result.samples) == len(whole)
        assert same[: RATE // 2].all() and same[-RATE // 2 :].all() and same.mean() > 0.8
        assert not result.samples[~same].any()  # silence where nothing can be decoded
        assert result.notes == DAMAGED

    def test_cut_off_gives_what_is_there(self):
        content = flac()
        whole, cut = load_audio(content, RATE).samples, content[: round(0.7 * len(content))]
        for part, rest in [(cut, "about 64 % of what its header states is there"), (of_unknown_length(cut), "its end")]:
            result = load_audio(part, RATE)
            assert result.seconds > 0.6 * SECONDS
            np.testing.assert_array_equal(result.samples, whole[: len(result.samples)])
            (note,) = result.notes
            assert note.startswith(f"The recording is cut off: {rest}") and note.endswith(".")

    def test_damaged_and_cut_off_is_one_sentence(self):
        content = overwritten(flac(), 0.3)
        (note,) = load_audio(content[: round(0.7 * len(content))], RATE).notes
        assert note.startswith("The recording is damaged and cut off: about 64 %")

    @pytest.mark.parametrize("make", [flac, lambda: of_unknown_length(flac())], ids=["stated", "unknown"])
    def test_a_single_wrong_byte_anywhere_costs_its_frame_alone_and_is_noted(self, make):
        content, random = make(), np.random.default_rng(3)
        whole = load_audio(content, RATE).samples
        for place in random.integers(100, len(content), 20):
            wrong = bytearray(content)
            wrong[place] ^= random.integers(1, 256)
            result = load_audio(bytes(wrong), RATE)
            same = result.samples == whole[: len(result.samples)]
            assert len(result.notes) == 1
            assert len(whole) - same.sum() <= 4096  # samples a frame
            assert not result.samples[~same].any()

    @pytest.mark.parametrize("channels, subtype", [(2, "PCM_24"), (6, "PCM_16"), (1, "PCM_S8")])
    def test_of_other_forms(self, channels, subtype):
        samples = np.stack([noisy(2, 44_100)] * channels, 1)
        content = of_unknown_length(wav(samples, 44_100, format="FLAC", subtype=subtype))
        assert_is_the_tone(load_audio(content, RATE), 2)
        assert load_audio(overwritten(content, 0.5, 20), RATE).notes == DAMAGED

    def test_behind_another_one_of_another_form(self):
        first = of_unknown_length(wav(tone(1), format="FLAC"))
        for subtype, rate in [("PCM_16", RATE), ("PCM_16", 22_050)]:
            result = load_audio(first + wav(tone(1, rate), rate, format="FLAC", subtype=subtype), RATE)
            assert_is_the_tone(result, 2, tolerance=0.3)

    def test_without_a_frame_is_refused(self):
        with pytest.raises(AudioError, match=r"holds no audio that can be decoded \(0 s\)"):
            load_audio(flac()[:86], RATE)

    def test_is_named_in_the_note(self, tmp_path):
        path = tmp_path / "talk.flac"
        path.write_bytes(overwritten(flac(), 0.5))
        assert load_audio(path, RATE).notes == ("talk.flac is damaged: parts of it cannot be decoded.",)


@pytest.mark.parametrize("container, codec, rate, options", [
    ("wav", "pcm_s16le", RATE, {}),
    ("wav", "adpcm_ima_wav", RATE, {}),
    ("wav", "pcm_s16le", RATE, {"rf64": "always"}),
    ("w64", "pcm_s16le", RATE, {}),
    ("au", "pcm_s16be", RATE, {}),
    ("aiff", "pcm_s16be", RATE, {}),
    ("caf", "pcm_s16be", RATE, {}),
    ("voc", "pcm_s16le", RATE, {}),
    ("flac", "flac", RATE, {}),
    ("wv", "wavpack", RATE, {}),
    ("tta", "tta", RATE, {}),
    ("mp3", "libmp3lame", RATE, {}),
    ("ogg", "libopus", 48_000, {}),
    ("matroska", "pcm_s16le", RATE, {}),
    ("webm", "libopus", 48_000, {"live": "1"}),
    ("flv", "aac", 44_100, {}),
    ("mp4", "aac", 44_100, {"movflags": "frag_keyframe+empty_moov"}),
    ("avi", "libmp3lame", 44_100, {}),
    ("mpegts", "aac", 44_100, {}),
])  # fmt: skip
def test_what_was_written_to_a_pipe_is_whole(container, codec, rate, options):
    result = load_audio(written(Pipe(), container, codec, rate, **options), RATE)
    assert_is_the_tone(result, SECONDS, tolerance=0.15)


def sized(content, chunk, size):
    content, place = bytearray(content), content.index(chunk) + 4
    content[4:8] = content[place : place + 4] = size
    return bytes(content)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0xFFFFFFF0, 0x7FFFF000, 0x80000000])
def test_sizes_that_mean_unknown_in_plain_files(size):
    little, big = struct.pack("<I", size), struct.pack(">I", size)
    au = bytearray(wav(tone(SECONDS), format="AU"))
    au[8:12] = big
    for content in [
        sized(wav(tone(SECONDS)), b"data", little),
        sized(wav(tone(SECONDS), subtype="FLOAT"), b"data", little),
        sized(wav(tone(SECONDS), format="AIFF"), b"SSND", big),
        bytes(au),
    ]:
        assert_is_the_tone(load_audio(content, RATE), SECONDS)


INFO = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf62.12.102\0"
MP3 = encoded("mp3", "libmp3lame", noisy(), RATE)
MP3_WITHOUT_XING = written(Pipe(), "mp3", "libmp3lame", RATE, write_xing="0")
HEALTHY = {
    "mp3 with a tag": MP3 + id3v1(),
    "mp3 with two tags": MP3 + ape_tag() + id3v1(),
    "mp3 with zeros after it": MP3 + bytes(4000),
    "mp3 without a Xing header": MP3_WITHOUT_XING,
    "mp3 that starts in a frame": MP3[500:],
    "mp3 after an mp3": MP3 + MP3,
    "wav with texts after the samples": wav(noisy()) + INFO,
    "wav with junk after the samples": wav(noisy()) + os.urandom(3000),
    "flac with tags": b"ID3\x04\0\0\0\0\x02\0" + bytes(256) + flac() + id3v1(),
    "aac with a tag": encoded("adts", "aac", noisy(), RATE) + id3v1(),
    "wv with a tag": encoded("wv", "wavpack", noisy(), RATE) + ape_tag(),
    "tta with a tag": encoded("tta", "tta", noisy(), RATE) + id3v1(),
    "ogg with a tag": wav(noisy(), format="OGG") + id3v1(),
    "a broadcast joined late": encoded("mpegts", "aac", noisy(6, 44_100), 44_100)[20_000:],
}


@pytest.mark.parametrize("content", HEALTHY.values(), ids=HEALTHY.keys())
def test_what_is_whole_has_no_note(content):
    result = load_audio(content, RATE)
    assert result.notes == ()
    assert result.seconds > 0.9 * SECONDS


CUT = {
    "wav": wav(noisy()),
    "wav of a big-endian machine": wav(noisy(), endian="BIG"),
    "rf64": wav(noisy(), format="RF64"),
    "w64": wav(noisy(), format="W64"),
    "aiff": wav(noisy(), format="AIFF"),
    "caf": wav(noisy(), format="CAF"),
    "au": wav(noisy(), format="AU"),
    "mp3": MP3,
    "ogg vorbis": wav(noisy(), format="OGG", subtype="VORBIS"),
    "ogg opus": wav(noisy(), format="OGG", subtype="OPUS"),
    "ogg flac": encoded("ogg", "flac", noisy(), RATE),
    "webm": encoded("webm", "libopus", noisy(), RATE),
    "mkv": encoded("matroska", "aac", noisy(), RATE, video="mpeg4"),
    "mp4 in fragments": written(
        Pipe(), "mp4", "aac", 44_100, movflags="frag_keyframe+empty_moov", frag_duration="300000"
    ),
    "avi": encoded("avi", "libmp3lame", noisy(), RATE, video="mpeg4"),
    "flv": encoded("flv", "aac", noisy(rate=44_100), 44_100),
    "aac": encoded("adts", "aac", noisy(), RATE),
    "amr": encoded("amr", "libopencore_amrnb", noisy(rate=8000), 8000),
    "ac3": encoded("ac3", "ac3", noisy(rate=48_000), 48_000),
    "wv": encoded("wv", "wavpack", noisy(12), RATE),
    "tta": encoded("tta", "tta", noisy(), RATE),
}  # fmt: skip


@pytest.mark.parametrize("content", CUT.values(), ids=CUT.keys())
def test_a_recording_that_is_cut_off_is_noted(content):
    whole = load_audio(content, RATE)
    assert whole.notes == ()
    (note,) = (result := load_audio(content[: round(0.71 * len(content))], RATE)).notes
    assert note.startswith("The recording is cut off: ")
    assert 0.4 * SECONDS < result.seconds < 0.85 * whole.seconds


def test_an_mp4_that_starts_with_its_index_is_noted(tmp_path):
    first = written(tmp_path / "a.mp4", "mp4", "aac", 44_100, movflags="+faststart")
    assert load_audio(first, RATE).notes == ()
    (note,) = load_audio(first[: round(0.71 * len(first))], RATE).notes
    assert note == "The recording is cut off: about 71 % of what its header states is there."


def test_an_mp4_that_lost_the_index_at_its_end_is_refused_with_the_reason(tmp_path):
    content = written(tmp_path / "a.mp4", "mp4", "aac", 44_100)
    audio, index = content.index(b"mdat") - 4, content.index(b"moov") - 4
    stopped = content[:audio] + bytes(4) + content[audio + 4 : index]  # a recorder was killed: length 0 is "to the end"
    for part in [content[: round(0.6 * len(content))], content[:index], content[: index + 700], stopped]:
        with pytest.raises(AudioError) as caught:
            load_audio(part, RATE)
        lost = "its index, which stands at the end, is missing"
        assert str(caught.value) == f"The recording is cut off and {lost}: copy or record it again."


def test_an_mp4_without_its_audio_is_not_called_cut_off(tmp_path):
    content = written(tmp_path / "a.mp4", "mp4", "aac", 44_100)
    start = content[: content.index(b"mdat") - 4]
    for wrong in [start, start.ljust(5000, b"?")]:
        with pytest.raises(AudioError, match="is not a recording, or its start is damaged"):
            load_audio(wrong, RATE)


@pytest.mark.parametrize("name", ["mp3", "ogg vorbis", "ogg opus", "ogg flac", "mkv", "webm", "flv", "aac", "ac3"])
def test_damage_in_the_middle_is_noted_and_the_rest_is_decoded(name):
    result = load_audio(overwritten(CUT[name], 0.4, 1000), RATE)
    assert result.notes == DAMAGED
    if name not in ("mkv", "webm"):  # FFmpeg continues with the next cluster, and five seconds are one
        assert result.seconds > 0.85 * SECONDS
        assert np.sqrt(np.mean(result.samples[-RATE:] ** 2)) > 0.2


def ogg(seconds, subtype="OPUS", rate=RATE, channels=1):
    return wav(np.stack([tone(seconds, rate)] * channels, 1), rate, format="OGG", subtype=subtype)


def pages(content):
    """(first byte, byte after the last) of every page of an intact Ogg file."""
    start = 0
    while start < len(content):
        segments = content[start + 26]
        body = start + OGG_PAGE.size + segments
        end = body + sum(content[start + OGG_PAGE.size : body])
        yield start, end
        start = end


def numbered(content, serial):
    """An Ogg file whose logical stream has another serial number."""
    content = bytearray(content)
    for start, end in pages(content):
        content[start + 14 : start + 18] = struct.pack("<I", serial)
        content[start + 22 : start + 26] = bytes(4)
        content[start + 22 : start + 26] = struct.pack("<I", ogg_crc(bytes(content[start:end])))
    return bytes(content)


class TestChainedOgg:
    @pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
    @pytest.mark.parametrize("serials", [(1, 2, 1), (7, 7, 7), (1, 2, 3), (5, 5, 6)])
    def test_all_links_are_decoded_whatever_their_serial_numbers(self, subtype, serials):
        parts = zip((1.5, 1, 0.5), serials, strict=True)
        links = [numbered(ogg(seconds, subtype), serial) for seconds, serial in parts]
        assert_is_the_tone(load_audio(b"".join(links), RATE), 3)

    def test_links_of_other_rates_channels_and_codecs(self):
        links = [ogg(1), ogg(1, "VORBIS", 44_100, 2), ogg(1, "OPUS", 48_000, 2), ogg(0.5, "VORBIS", 22_050)]
        links.append(encoded("ogg", "flac", tone(1.5), RATE))
        for order in (links, links[::-1]):
            assert_is_the_tone(load_audio(b"".join(order), RATE), 5, tolerance=0.1)

    def test_order_is_kept(self):
        quiet, loud = (wav(tone(1, level=level), format="OGG", subtype="OPUS") for level in (0.1, 0.6))
        seconds = load_audio(numbered(quiet, 1) + numbered(loud, 2) + numbered(quiet, 1), RATE).samples
        levels = [np.abs(seconds[start : start + RATE // 2]).max() for start in range(RATE // 4, 3 * RATE, RATE)]
        np.testing.assert_allclose(levels, [0.1, 0.6, 0.1], rtol=0.15)

    def test_a_damaged_link_costs_no_other(self):
        first, broken, last = ogg(1), bytearray(ogg(1)), ogg(1)
        broken[60:80] = bytes(20)
        result = load_audio(first + bytes(broken) + last, RATE)
        assert result.notes and result.seconds > 1.9

    def test_checksums_are_those_of_the_writers(self):
        content = wav(noisy(), format="OGG")
        assert ogg_layout(io.BytesIO(content)).is_simple
        assert len(list(pages(content))) > 4
        assert ogg_layout(io.BytesIO(overwritten(content, 0.5, 1))).damaged

    def test_a_damaged_page_without_the_end_of_a_packet_is_decoded_but_for_its_damage(self):
        content = bytearray(wav(noisy(), format="OGG"))
        start, end = list(pages(content))[4]
        content[start + 6 : start + 14] = b"\xff" * 8  # its position is -1
        content[end - 1] ^= 1
        assert list(ogg_layout(io.BytesIO(content)).checksums) == [start + 22]

    def test_links_are_found_without_holding_the_file(self):
        links = [ogg(0.5), ogg(0.5, "VORBIS"), ogg(0.5)]
        ends = np.cumsum([len(link) for link in links]).tolist()
        assert ogg_layout(io.BytesIO(b"".join(links))).links == list(zip([0, *ends], ends, strict=False))


class TestFormats:
    NAMED = (
        ".ac3 .eac3 .dts .wv .tta .voc .loas .mxf .wmv .mp2 .ts .mts .m2ts .ogv .mpeg .vob .spx .bwf .wave .3g2 .rf64 "
        ".snd .f4v .asf .wav .flac .mp3 .ogg .opus .m4a .aac .mp4 .webm .mkv .wma .amr .aiff .caf .au .w64"
    ).split()

    @pytest.mark.parametrize("container, codec, rate, video", [
        ("ac3", "ac3", 48_000, None),
        ("eac3", "eac3", 48_000, None),
        ("wv", "wavpack", RATE, None),
        ("tta", "tta", RATE, None),
        ("voc", "pcm_s16le", RATE, None),
        ("latm", "aac", 44_100, None),
        ("vob", "ac3", 48_000, None),
        ("mp2", "mp2", 44_100, None),
        ("3g2", "aac", 32_000, None),
        ("f4v", "aac", 44_100, None),
        ("rm", "ac3", 44_100, None),
        ("asf", "libmp3lame", 44_100, None),
        ("ogv", "flac", RATE, None),
    ])  # fmt: skip
    def test_what_was_called_damaged_is_read(self, container, codec, rate, video):
        content = encoded(container, codec, tone(1.5, rate), rate, 1, video)
        assert_is_the_tone(load_audio(content, RATE), 1.5, tolerance=0.12)

    def test_mxf(self):
        file = io.BytesIO()
        with av.open(file, "w", format="mxf") as output:
            video = output.add_stream("mpeg2video", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            audio = output.add_stream("pcm_s16le", rate=48_000, layout="mono")
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            packets = [packet for frame in [picture] * 50 + [None] for packet in video.encode(frame)]
            samples = (tone(2, 48_000) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
            packets += [*audio.encode(frame), *audio.encode(None)]
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                output.mux(packet)
        assert_is_the_tone(load_audio(file.getvalue(), RATE), 2)

    def test_the_list_names_containers_of_ffmpeg_and_no_playlist(self):
        known = {name for names in av.formats_available for name in names.split(",")}
        assert set(FORMATS) <= known
        openers = {"hls", "concat", "dash", "image2", "sdp", "rtsp", "smoothstreaming", "webm_dash_manifest", "imf"}
        assert not set(FORMATS) & openers
        assert set(self.NAMED) <= AUDIO_SUFFIXES
        assert {f".{name}" for name in READABLE.split(" and ")[0].split(", ")} <= AUDIO_SUFFIXES
