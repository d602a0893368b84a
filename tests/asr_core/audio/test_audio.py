"""Every format a visitor brings, every way in which a recording can be broken, and the bounds on memory."""

import io
import os
import struct
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from asr_core.audio import ffmpeg
from asr_core.audio import files as audio_files
from asr_core.audio import loading as audio
from asr_core.audio.loading import Audio, audio_from_array, load_audio
from asr_core.errors import AudioError

RATE = 16_000
TONE = 440.0  # Hz
PEAK_MEMORY = """
import resource, sys
from asr_core.audio.loading import load_audio
path, rate = sys.argv[1], int(sys.argv[2])
load_audio(open(path, "rb").read(100_000), rate)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
samples = load_audio(path, rate).samples
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), samples.nbytes)
"""


def tone(seconds, rate=RATE, frequency=TONE, level=0.5):
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def wav(samples, rate=RATE, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=options.pop("format", "WAV"), **options)
    return file.getvalue()


def encoded(container, codec, samples, rate, channels=1, video=None, offset_seconds=0.0):
    """A file made by FFmpeg's encoders: samples float32 [n], the same in every channel."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams = []
        if video:
            streams.append((output.add_stream(video, rate=10), pictures()))
            streams[-1][0].width, streams[-1][0].height, streams[-1][0].pix_fmt = 64, 48, "yuv420p"
        if codec:
            layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[channels]
            stream = output.add_stream(codec, rate=rate, layout=layout)
            stream.open()
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(stream.format, layout, rate, frame_size=size)
            frame = av.AudioFrame.from_ndarray(np.repeat(samples, channels)[None], format="flt", layout=layout)
            frame.sample_rate, frame.pts = rate, round(offset_seconds * rate)
            frame.time_base = Fraction(1, rate)
            streams.append((stream, [*resampler.resample(frame), *resampler.resample(None)]))
        packets = [packet for stream, frames in streams for frame in [*frames, None] for packet in stream.encode(frame)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return file.getvalue()


def pictures():
    for index in range(10):
        yield av.VideoFrame.from_ndarray(np.full((48, 64, 3), 25 * index, np.uint8), format="rgb24")


def assert_is_the_tone(result, seconds, level=0.5, tolerance=0.06):
    assert result.samples.dtype == np.float32 and result.samples.ndim == 1
    assert result.sample_rate == RATE
    assert result.notes == ()
    assert result.seconds == pytest.approx(seconds, abs=tolerance)
    middle = result.samples[len(result.samples) // 4 : -len(result.samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * RATE / len(middle) == pytest.approx(TONE, abs=5)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(level / np.sqrt(2), rel=0.1)


class TestFormats:
    @pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
    def test_any_rate(self, rate):
        assert_is_the_tone(load_audio(wav(tone(1, rate), rate), RATE), 1, tolerance=1e-3)

    @pytest.mark.parametrize("channels", [1, 2, 6])
    def test_any_number_of_channels(self, channels):
        assert_is_the_tone(load_audio(wav(np.stack([tone(1)] * channels, 1)), RATE), 1)

    @pytest.mark.parametrize(
        "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"]
    )
    def test_any_sample_type_in_a_wav(self, subtype):
        assert_is_the_tone(load_audio(wav(tone(1), subtype=subtype), RATE), 1)

    def test_a_wav_of_a_big_endian_machine(self):
        content = wav(tone(1), endian="BIG")
        assert content.startswith(b"RIFX")
        assert_is_the_tone(load_audio(content, RATE), 1)

    @pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
    def test_one_ogg_behind_another(self, subtype):
        parts = [wav(tone(seconds), format="OGG", subtype=subtype) for seconds in (1.5, 1)]
        assert_is_the_tone(load_audio(b"".join(parts), RATE), 2.5)

    @pytest.mark.parametrize(
        "format, subtype",
        [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
        + [(format, "PCM_16") for format in ("AIFF", "CAF", "W64", "RF64", "AU")],
    )
    def test_what_libsndfile_writes(self, format, subtype):
        assert_is_the_tone(load_audio(wav(tone(1.5), format=format, subtype=subtype), RATE), 1.5)

    @pytest.mark.parametrize("container, codec, rate, channels, video", [
        ("mp3", "libmp3lame", 44_100, 2, None),
        ("ipod", "aac", 44_100, 1, None),  # m4a: a phone's voice memo
        ("adts", "aac", 22_050, 1, None),  # aac without a container
        ("mp4", "aac", 48_000, 2, "mpeg4"),  # a phone's video
        ("mov", "pcm_s16le", 48_000, 2, "mpeg4"),
        ("webm", "libopus", 48_000, 1, None),  # a browser's recording
        ("webm", "libopus", 48_000, 2, "vp8"),
        ("matroska", "flac", 16_000, 1, "mpeg4"),
        ("ogg", "libopus", 48_000, 1, None),
        ("ogg", "flac", 16_000, 2, None),
        ("wav", "pcm_f32le", 16_000, 1, None),
        ("3gp", "aac", 32_000, 1, None),
        ("mpegts", "mp2", 44_100, 2, None),
    ])  # fmt: skip
    def test_what_phones_and_browsers_write(self, container, codec, rate, channels, video):
        content = encoded(container, codec, tone(1.5, rate), rate, channels, video)
        assert_is_the_tone(load_audio(content, RATE), 1.5, tolerance=0.12)

    @pytest.mark.parametrize("channels", [6, 8])
    def test_cinema_channels(self, channels):
        content = encoded("mp4", "aac", tone(1.5, 48_000), 48_000, channels)
        assert_is_the_tone(load_audio(content, RATE), 1.5, tolerance=0.12)  # the bass channel holds no 440 Hz

    def test_content_decides_and_not_the_file_name(self, tmp_path):
        path = tmp_path / "flac really.mp3"
        path.write_bytes(wav(tone(1), format="FLAC"))
        assert_is_the_tone(load_audio(path, RATE), 1)

    def test_a_file_a_path_and_bytes_give_the_same(self, tmp_path):
        content = wav(tone(1, 22_050), 22_050)
        path = tmp_path / "a.wav"
        path.write_bytes(content)
        expected = load_audio(content, RATE).samples
        with open(path, "rb") as file:
            file.seek(10)
            for source in [path, str(path), bytearray(content), file, io.BytesIO(content), Pipe(content)]:
                np.testing.assert_array_equal(load_audio(source, RATE).samples, expected)

    def test_audio_that_starts_later_than_the_pictures_keeps_its_time(self):
        content = encoded("matroska", "pcm_s16le", tone(1), RATE, video="mpeg4", offset_seconds=0.5)
        result = load_audio(content, RATE)
        assert result.seconds == pytest.approx(1.5, abs=0.01)
        assert not result.samples[: RATE // 3].any()

    def test_samples_are_the_ones_written(self):
        samples = tone(0.5)
        np.testing.assert_allclose(load_audio(wav(samples, subtype="FLOAT"), RATE).samples, samples, atol=1e-7)
        np.testing.assert_allclose(load_audio(wav(samples, subtype="PCM_16"), RATE).samples, samples, atol=4e-5)


class Pipe(io.RawIOBase):
    """Bytes that arrive in small pieces and cannot be sought."""

    def __init__(self, content):
        self._content = io.BytesIO(content)

    def readable(self):
        return True

    def seekable(self):
        return False

    def readinto(self, buffer):
        return self._content.readinto(memoryview(buffer)[:1000])


NOISE = np.random.default_rng(1).bytes(5000)
BROKEN = {
    "empty": (b"", "recording is empty (0 bytes): record it again, or choose another file."),
    "one byte": (b"R", "is not a recording, or its start is damaged: wav, flac, mp3, ogg, opus,"),
    "text": (b"These are words, not sound.\n" * 50, "is not a recording"),
    "noise": (NOISE, "is not a recording"),
    "noise after a wav's first bytes": (b"RIFF" + NOISE, "is not a recording"),
    "noise after a flac's first bytes": (b"fLaC" + NOISE, "is not a recording"),
    "noise behind an ogg's first bytes": (b"OggS" + NOISE, "is not a recording"),
    "a header and nothing else": (wav(tone(1))[:44], "no audio that can be decoded (0 s); at least 0.1 s"),
    "half a header": (wav(tone(1))[:20], "is not a recording"),
    "no samples": (wav(tone(0)), "holds no audio that can be decoded (0 s)"),
    "one sample": (wav(tone(1 / RATE)), "lasts less than 0.001 s; at least 0.1 s are needed: record it again."),
    "0.05 s": (wav(tone(0.05)), "lasts only 0.05 s; at least 0.1 s are needed: record it again."),
    "NaN": (wav(np.r_[tone(0.9), np.full(RATE, np.nan)], subtype="FLOAT"), "not numbers (NaN or infinity): export"),
    "infinity": (wav(np.full(RATE, np.inf), subtype="FLOAT"), "not numbers (NaN or infinity)"),
    "one sample a second": (wav(tone(1), 1), "claims 1 samples a second; 2,000 to 768,000 can be read"),
    "pictures alone": (encoded("mp4", None, None, None, video="mpeg4"), "has no audio track: choose a"),
    "an unknown codec": (wav(tone(1)).replace(b"\x10\0\0\0\x01\0", b"\x10\0\0\0\x77\x77"), "in a format that"),
    "a playlist": (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hosts\n", "is not a recording"),
}  # fmt: skip


class TestWhatIsBroken:
    @pytest.mark.parametrize("content, message", BROKEN.values(), ids=BROKEN.keys())
    def test_is_an_error_of_one_sentence(self, content, message):
        with pytest.raises(AudioError) as caught:
            load_audio(content, RATE)
        text = str(caught.value)
        assert message in text
        assert text.startswith("The recording ") and text.endswith(".") and "\n" not in text

    def test_is_named_by_its_file(self, tmp_path):
        path = tmp_path / "memo.m4a"
        path.write_bytes(b"")
        with pytest.raises(AudioError, match=r"^memo\.m4a is empty"):
            load_audio(path, RATE)
        with pytest.raises(AudioError, match=r"^my upload is empty"):
            load_audio(path, RATE, name="my upload")

    def test_a_name_cannot_forge_lines(self):
        with pytest.raises(AudioError) as caught:
            load_audio(b"", RATE, name="a\nb\x1b[31m.wav" + "x" * 500)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 200

    def test_a_missing_file_and_a_folder_and_a_device(self, tmp_path):
        with pytest.raises(AudioError, match=r"^gone\.wav was not found: check the name\.$"):
            load_audio(tmp_path / "gone.wav", RATE)
        with pytest.raises(AudioError, match="is a folder: choose a recording in it"):
            load_audio(tmp_path, RATE)
        with pytest.raises(AudioError, match="zero is a device"):
            load_audio("/dev/zero", RATE)
        with pytest.raises(AudioError, match="cannot be opened"):
            load_audio("a\0b.wav", RATE)

    def test_a_list_of_files_opens_none_of_them(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "secret.wav").write_bytes(wav(tone(1)))
        (tmp_path / "list.wav").write_bytes(b"ffconcat version 1.0\nfile 'secret.wav'\n")
        for source in ["list.wav", (tmp_path / "list.wav").read_bytes()]:
            with pytest.raises(AudioError, match="is not a recording"):
                load_audio(source, RATE)

    @pytest.mark.parametrize("address", ["https://127.0.0.1:9/a.wav", Path("HTTP://127.0.0.1:9/a.wav")])
    def test_an_address_is_not_fetched(self, address):
        with pytest.raises(AudioError) as caught:
            load_audio(address, RATE)
        assert str(caught.value) == "a.wav was not found: addresses are not fetched, download it first."

    def test_something_else_is_a_programming_mistake(self):
        for source in [None, 3, io.StringIO("text")]:
            with pytest.raises(TypeError, match="Expected a path, bytes or a binary file, got "):
                load_audio(source, RATE)

    @pytest.mark.parametrize("track", ["1", 1.0])
    def test_a_track_is_a_number(self, track):
        with pytest.raises(TypeError, match=f"Expected the number of a track, such as 1, got {track!r}"):
            load_audio(wav(tone(1)), RATE, track=track)
        assert load_audio(wav(tone(1)), RATE, track=np.int64(1)).track == 1

    @pytest.mark.parametrize("make", [
        lambda samples: wav(samples, format="WAV"),
        lambda samples: wav(samples, format="FLAC"),
        lambda samples: wav(samples, format="OGG"),
        lambda samples: encoded("mp3", "libmp3lame", samples, RATE),
        lambda samples: encoded("webm", "libopus", samples, RATE),
        lambda samples: encoded("adts", "aac", samples, RATE),
    ], ids=["wav", "flac", "ogg", "mp3", "webm", "aac"])  # fmt: skip
    def test_a_truncated_recording_gives_what_is_there(self, make):
        content = make(tone(4) + 0.1 * np.random.default_rng(0).standard_normal(4 * RATE, np.float32))
        result = load_audio(content[: len(content) // 2], RATE)
        assert 0.5 < result.seconds < 3.9

    def test_damage_in_the_middle_leaves_the_rest(self):
        content = bytearray(encoded("mp3", "libmp3lame", tone(4), RATE))
        content[len(content) // 2 : len(content) // 2 + 300] = NOISE[:300]
        assert load_audio(bytes(content), RATE).seconds > 3


class TestBounds:
    def test_a_header_that_claims_ten_gigabytes_allocates_nothing(self):
        content = bytearray(wav(tone(1)))
        content[4:8] = content[40:44] = struct.pack("<I", 0xFFFFFFF0)
        flac = bytearray(wav(tone(1), format="FLAC"))
        flac[21] |= 0x0F  # the length in STREAMINFO: 36 bits
        flac[22:26] = b"\xff\xff\xff\xff"
        load_audio(bytes(flac), RATE)  # load the libraries before measuring
        for lying in (content, flac):
            tracemalloc.start()
            result = load_audio(bytes(lying), RATE)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert result.seconds == pytest.approx(1, abs=0.01)
            assert peak < 8 << 20

    def test_the_limit_on_length_is_held_while_decoding(self):
        content = encoded("ogg", "libopus", np.zeros(600 * 8000, np.float32), 8000)
        assert len(content) < 200_000
        decoded = 0

        def counted(parts):
            nonlocal decoded
            for rate, samples in parts:
                decoded += len(samples) / rate
                yield rate, samples

        with pytest.MonkeyPatch.context() as patch:
            original = audio.decoded
            patch.setattr(audio, "decoded", lambda *args: counted(original(*args)))
            with pytest.raises(AudioError, match=r"longer than the limit of 30 s: cut it into shorter parts\.$"):
                load_audio(content, RATE, max_seconds=30)
        assert 30 < decoded < 60

    def test_a_recording_as_long_as_the_limit_is_read(self):
        assert load_audio(wav(tone(2)), RATE, max_seconds=2).seconds == 2
        with pytest.raises(AudioError, match="limit of 2 minutes"):
            load_audio(wav(np.zeros(121 * 2000), 2000), RATE, max_seconds=120)

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory in units of Linux")
    def test_half_an_hour_needs_little_more_memory_than_its_samples(self, tmp_path):
        """Resident memory: tracemalloc counts an array twice that grows in place, with some versions of NumPy."""
        path = tmp_path / "half an hour.wav"
        path.write_bytes(wav(np.zeros(1800 * 8000, np.int16), 8000))
        program = [sys.executable, "-c", PEAK_MEMORY, str(path), str(RATE)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        done = subprocess.run(program, capture_output=True, text=True, env=environment, check=True)
        peak, samples = map(int, done.stdout.split())
        assert samples == 1800 * RATE * 4 and peak < 1.25 * samples + (16 << 20)

    def test_time_stamps_cannot_ask_for_endless_silence(self):
        limit = ffmpeg.MAX_SILENCE_SECONDS
        assert limit - 500 < gathered_seconds([500.0 * index for index in range(50)], end=1e6) < limit + 10

    @pytest.mark.parametrize(
        ("times", "end", "seconds"),
        [
            ([0, 0.1, 0.2], 0.3, 0.3),
            ([0.1 * i for i in range(100) if i % 3], 10, 9.8),  # one packet in three is lost
            ([0.1 * i + 0.04 * (i % 2) for i in range(100)], 10, 10.0),  # time stamps vary
            ([0, 900], 900.1, 900.1),
            ([0, 900], 0, 0.2),  # the container states no length: a clock that was set anew
            ([1000, 1000.1, 0, 0.1, 0.5], 1000.2, 0.8),  # and back
        ],
    )
    def test_silence_takes_the_place_of_what_is_missing_between_time_stamps(self, times, end, seconds):
        assert gathered_seconds(times, end) == pytest.approx(seconds, abs=0.11)

    def test_an_endless_pipe_is_refused(self, monkeypatch):
        monkeypatch.setattr(audio_files, "MAX_PIPE_BYTES", 10_000)
        with pytest.raises(AudioError, match="through a pipe"):
            load_audio(Pipe(wav(tone(1))), RATE)


def gathered_seconds(times, end):
    """What is made of frames of 0.1 s with these time stamps, in a container up to `end`, in seconds."""
    frames = (ffmpeg._Frame(RATE, time, np.zeros((RATE // 10, 1), np.float32)) for time in times)
    return sum(len(samples) for _, samples in ffmpeg._gathered(frames, times[0], end)) / RATE


class TestArrays:
    @pytest.mark.parametrize("dtype, scale, offset", [
        ("int8", 127, 0), ("uint8", 127, 128), ("int16", 32767, 0), ("int32", 2**31 - 1, 0),
        ("float32", 1, 0), ("float64", 1, 0), ("float16", 1, 0),
    ])  # fmt: skip
    def test_any_sample_type(self, dtype, scale, offset):
        samples = (tone(1, 48_000).astype(np.float64) * scale + offset).astype(dtype)
        assert_is_the_tone(audio_from_array(samples, 48_000, RATE), 1)

    def test_channels_are_averaged(self):
        samples = np.stack([np.resize([1000, -1000], RATE), np.resize([3000, -3000], RATE)], axis=1).astype(np.int16)
        expected = np.resize([2000 / 32768, -2000 / 32768], RATE)
        np.testing.assert_allclose(audio_from_array(samples, RATE, RATE).samples, expected, atol=1e-6)

    def test_loud_floats_are_scaled(self):
        result = audio_from_array(tone(1, level=3.0), RATE, RATE)
        np.testing.assert_allclose(result.samples, tone(1, level=1.0), atol=1e-5)

    def test_resampling_keeps_the_range_and_the_length(self):
        square = np.sign(tone(1, 44_100))
        result = audio_from_array(square, 44_100, RATE)
        assert len(result.samples) == RATE
        assert np.abs(result.samples).max() <= 1

    def test_resampling_removes_what_the_new_rate_cannot_hold(self):
        result = audio_from_array(tone(1, 48_000, frequency=12_000), 48_000, RATE)
        assert np.abs(result.samples[1000:-1000]).max() < 1e-3

    @pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros((0, 2)), np.zeros(1), np.zeros(800)])
    def test_too_few_samples_are_an_audio_error(self, samples):
        with pytest.raises(AudioError, match=r"at least 0\.1 s are needed"):
            audio_from_array(samples, RATE, RATE)

    def test_not_a_number_is_an_audio_error(self):
        with pytest.raises(AudioError, match="NaN"):
            audio_from_array(np.full(RATE, np.nan), RATE, RATE)

    @pytest.mark.parametrize("samples", [np.zeros((2, 3, 4)), np.zeros((2, RATE)), np.float32(1)])
    def test_another_shape_is_a_programming_mistake(self, samples):
        with pytest.raises(ValueError, match=r"\[n, channels\]"):
            audio_from_array(samples, RATE, RATE)

    def test_another_type_is_a_programming_mistake(self):
        with pytest.raises(TypeError, match="int64"):
            audio_from_array(np.zeros(RATE, np.int64), RATE, RATE)


class TestAudio:
    def test_knows_its_length(self):
        assert Audio(np.zeros(8000, np.float32), RATE).seconds == 0.5

    def test_holds_nothing_but_mono_float32(self):
        for samples in [np.zeros(5), np.zeros((5, 1), np.float32)]:
            with pytest.raises(TypeError):
                Audio(samples, RATE)
        with pytest.raises(ValueError):
            Audio(np.zeros(5, np.float32), 0)
