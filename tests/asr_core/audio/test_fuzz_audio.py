"""Damaged and random files: every one is read or refused in words; nothing else may happen."""

import io
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr_core.audio.loading import MIN_SECONDS, audio_from_array, load_audio
from asr_core.errors import AudioError
from tests.asr_core.fuzzing import thoroughly

RATE = 16_000
MAX_SECONDS = 20


def noise(seconds, rate):
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)


def by_sndfile(format, subtype):
    file = io.BytesIO()
    soundfile.write(file, noise(0.6, RATE), RATE, format=format, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(container, codec, rate):
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        stream.open()
        size = stream.codec_context.frame_size or 1024
        frame = av.AudioFrame.from_ndarray(noise(0.6, rate)[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=size)
        for ready in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(ready))
    return file.getvalue()


@pytest.fixture(scope="module")
def sound_files():
    plain = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
             ("OGG", "OPUS"), ("AIFF", "PCM_16"), ("CAF", "PCM_16"), ("AU", "PCM_16"), ("W64", "PCM_16")]  # fmt: skip
    coded = [("mp3", "libmp3lame", 44_100), ("ipod", "aac", 44_100), ("adts", "aac", 22_050), ("flv", "aac", 44_100),
             ("webm", "libopus", 48_000), ("matroska", "flac", RATE), ("mpegts", "mp2", 44_100)]  # fmt: skip
    return [by_sndfile(*form) for form in plain] + [by_ffmpeg(*form) for form in coded]


PATCHES = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80"]),
)
DAMAGE = st.tuples(
    st.sampled_from(["overwrite", "insert", "delete"]),
    st.one_of(st.integers(0, 200), st.integers(0, 100_000)),  # headers most of all
    PATCHES,
)


def damaged(content, damages, end):
    content = bytearray(content)
    for kind, place, patch in damages:
        place %= max(len(content), 1)
        if kind == "overwrite":
            content[place : place + len(patch)] = patch
        elif kind == "insert":
            content[place:place] = patch
        else:
            del content[place : place + len(patch)]
    return bytes(content[: round(end * len(content))])


def assert_is_read_or_refused(content):
    try:
        audio = load_audio(content, RATE, max_seconds=MAX_SECONDS)
    except AudioError as error:
        message = str(error)
        assert message.startswith("The recording ") and message.endswith(".") and message.isprintable()
    else:
        assert audio.samples.dtype == np.float32
        assert MIN_SECONDS <= audio.seconds + 1e-3 and audio.seconds <= MAX_SECONDS + 1e-3
        assert np.abs(audio.samples).max() <= 1  # NaN would fail, too


@thoroughly(300)
@given(
    index=st.integers(0, 16),
    damages=st.lists(DAMAGE, max_size=12),
    end=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_a_damaged_file_is_read_or_refused(sound_files, index, damages, end):
    assert_is_read_or_refused(damaged(sound_files[index], damages, end))


@thoroughly(200)
@given(
    magic=st.sampled_from([b"", b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3", b"\xff\xfb", b"\x1aE\xdf\xa3",
                           b"\0\0\0\x18ftyp", b"#!AMR", b"caff", b"riff", b"#EXTM3U\n", b"FLV"]),
    content=st.binary(max_size=300),
)  # fmt: skip
def test_random_bytes_are_refused(magic, content):
    assert_is_read_or_refused(magic + content)


@thoroughly(60)
@given(index=st.integers(0, 9), damages=st.lists(DAMAGE, max_size=3))
def test_a_damaged_header_does_not_allocate(sound_files, index, damages):
    content = damaged(sound_files[index], damages, 1)
    tracemalloc.start()
    try:
        assert_is_read_or_refused(content)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@thoroughly(100)
@given(
    dtype=st.sampled_from(["int8", "uint8", "int16", "int32", "float16", "float32", "float64"]),
    shape=st.one_of(st.tuples(st.integers(0, 3000)), st.tuples(st.integers(0, 2000), st.integers(1, 4))),
    odd=st.sampled_from([0.0, -1.0, 1.0, 5.0, 1e4, np.nan, np.inf]),
    rate=st.one_of(st.sampled_from([8_000, 16_000, 44_100]), st.integers(-5, 10**7)),
)
def test_any_array_is_taken_or_refused(dtype, shape, odd, rate):
    bits = np.random.default_rng(0).bytes(np.dtype(dtype).itemsize * int(np.prod(shape)))
    samples = np.frombuffer(bits, dtype).reshape(shape).copy()
    if dtype.startswith("float"):
        samples = np.where(np.abs(samples) < 1, samples, odd).astype(dtype)
    try:
        audio = audio_from_array(samples, rate, RATE)
    except AudioError as error:
        assert str(error).startswith("The recording ")
    else:
        assert abs(len(audio.samples) - len(samples) * RATE / rate) <= 2
        assert np.abs(audio.samples).max() <= 1
