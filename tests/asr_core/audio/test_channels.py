"""Which channels of a recording are taken, and how many become one."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from asr_core.audio.channels import Mixer, folded
from asr_core.audio.loading import audio_from_array, load_audio
from asr_core.errors import AudioError

RATE = 16_000


def voice(seconds=8.0, seed=0):
    """Noise in syllables with pauses between them, as lively as speech."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    syllables = np.maximum(np.sin(2 * np.pi * 1.5 * time + seed), 0) ** 2
    return (0.1 * syllables * random.standard_normal(len(time))).astype(np.float32)


def stereo(left, right):
    return np.stack([left, right], axis=1).astype(np.float32)


def mixed(samples, rate=RATE, piece=10_000):
    mixer = Mixer(rate, samples.shape[1])
    parts = [mixer(samples[start : start + piece]) for start in range(0, len(samples), piece)]
    return np.concatenate([*parts, mixer.last()])


def likeness(a, b):
    """Correlation, whatever the level and the polarity."""
    return abs(np.corrcoef(a, b)[0, 1])


class TestWhatCancels:
    @pytest.mark.parametrize("gain", [1.0, 0.8, 0.6])
    def test_the_louder_of_two_opposite_channels_is_taken(self, gain):
        speech = voice()
        np.testing.assert_allclose(mixed(stereo(speech, -gain * speech)), speech, atol=1e-6)

    def test_polarity_that_flips_loses_nothing_and_makes_no_click(self):
        speech = voice(12)
        other = speech.copy()
        other[len(speech) // 2 :] *= -1
        result = mixed(stereo(speech, other))
        np.testing.assert_allclose(result, speech, atol=1e-6)

    def test_a_part_of_the_spectrum_that_cancels_counts(self):
        speech = voice()
        spectrum = np.fft.rfft(speech)
        spectrum[np.fft.rfftfreq(len(speech), 1 / RATE) > 1500] *= -1
        assert likeness(mixed(stereo(speech, np.fft.irfft(spectrum, len(speech)))), speech) > 0.99

    def test_one_pair_of_four_microphones_changes_nothing_of_the_sum(self):
        speech = voice()
        assert likeness(mixed(np.stack([speech, -speech, speech, -speech], axis=1)), speech) > 0.99

    @pytest.mark.parametrize("right", [
        lambda speech: speech, lambda speech: 0.3 * speech, lambda speech: 0 * speech, lambda speech: voice(seed=5),
        lambda speech: speech + 0.01 * voice(20, seed=7),
    ], ids=["twice", "panned", "dead", "another voice", "nearly twice"])  # fmt: skip
    def test_ordinary_stereo_is_its_mean_to_the_bit(self, right):
        samples = stereo(voice(20), np.resize(right(voice(20)), 20 * RATE))
        np.testing.assert_array_equal(mixed(samples), samples.mean(axis=1, dtype=np.float32))

    def test_pieces_give_what_the_whole_gives(self):
        speech = voice(40)
        flips = np.where(np.arange(len(speech)) // (7 * RATE) % 2, -1, 1)
        samples = stereo(speech, speech * flips)
        whole = mixed(samples, piece=len(samples))
        for piece in (997, 40_000):
            np.testing.assert_allclose(mixed(samples, piece=piece), whole, atol=1e-6)


class TestNoise:
    @pytest.mark.parametrize("level", [0.05, 0.3])
    def test_a_channel_of_nothing_but_noise_is_left_out(self, level):
        speech = voice()
        noise = level * np.random.default_rng(3).standard_normal(len(speech))
        np.testing.assert_allclose(mixed(stereo(noise, speech)), speech, atol=1e-6)


def music(seconds=8.0, seed=1):
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * np.sin(2 * np.pi * (200 + 40 * seed) * time) * (1 + np.sin(3 * time + seed))).astype(np.float32)


class TestSurround:
    @pytest.mark.parametrize("channels, bass", [(3, None), (5, None), (6, 3), (7, 3), (8, 3)])
    @pytest.mark.parametrize("level", [0.3, 1.0, 2.0])
    def test_dialogue_in_the_centre_is_taken_alone(self, channels, bass, level):
        speech = voice()
        parts = [level * music(seed=channel) for channel in range(channels)]
        parts[2] = speech
        result = audio_from_array(0.2 * np.stack(parts, axis=1), RATE, RATE).samples
        np.testing.assert_allclose(result, 0.2 * speech, atol=1e-6)

    def test_an_empty_centre_leaves_the_fronts_and_no_bass(self):
        speech, nothing = voice(), np.zeros(8 * RATE, np.float32)
        samples = np.stack([speech, speech, nothing, music(), nothing, nothing], axis=1)
        assert likeness(audio_from_array(samples, RATE, RATE).samples, speech) > 0.999

    def test_dialogue_that_leaves_the_centre_is_followed(self):
        speech = voice(40)
        early = np.arange(len(speech)) < len(speech) // 2
        parts = [speech * ~early, speech * ~early, speech * early]
        result = mixed(np.stack(parts, axis=1))
        np.testing.assert_allclose(result[: 15 * RATE], speech[: 15 * RATE], atol=1e-6)
        np.testing.assert_allclose(result[-14 * RATE :], speech[-14 * RATE :], atol=1e-6)

    def test_a_voice_on_the_left_is_kept_while_the_centre_pauses(self):
        first, second, nothing = voice(24), voice(24, seed=2), np.zeros(24 * RATE, np.float32)
        turn = np.arange(len(first)) // (3 * RATE) % 2  # whose turn it is to speak
        result = mixed(np.stack([second * (turn == 1), nothing, first * (turn == 0)], axis=1))
        for start, speech in (9, second), (12, first):
            middle = slice((start + 1) * RATE, (start + 2) * RATE)
            assert likeness(result[middle], speech[middle]) > 0.99

    def test_a_weak_centre_does_not_hide_speech_beside_it(self):
        speech, nothing = voice(), np.zeros(8 * RATE, np.float32)
        samples = np.stack([speech, speech, 0.05 * music(), nothing, nothing, nothing], axis=1)
        assert likeness(audio_from_array(samples, RATE, RATE).samples, speech) > 0.95

    def test_opposite_fronts_beside_an_empty_centre(self):
        speech = voice()
        assert likeness(mixed(np.stack([speech, -speech, 0 * speech], axis=1)), speech) > 0.99

    @pytest.mark.parametrize("names, expected", [
        ("FL FR LFE", [0.15, 0.15]),
        ("FL FR BL BR", [(0.1 + 0.0707 * 3) / 1.707, (0.2 + 0.0707 * 4) / 1.707]),
        ("FL FR FC BC", None),
        ("FL FC FR BL BR LFE", None),
    ])  # fmt: skip
    def test_named_speakers_are_folded_to_their_side(self, names, expected):
        names = names.split()
        samples = np.arange(1, len(names) + 1, dtype=np.float32)[None] / 10
        result = folded(samples, names)
        if "FC" in names:
            assert result.shape == (1, 3)
            assert result[0, 2] == pytest.approx(samples[0, names.index("FC")])
        else:
            assert result.shape == (1, 2)
            assert result[0] == pytest.approx(expected if "BL" in names else [0.1, 0.2], abs=1e-4)

    @pytest.mark.parametrize("container, codec, layout", [
        ("matroska", "ac3", "5.1(side)"), ("mp4", "aac", "5.1"), ("mp4", "aac", "7.1"), ("flac", "flac", "5.1"),
        ("matroska", "flac", "4.0"), ("wav", "pcm_s16le", "5.1"), ("ogg", "libopus", "5.1"),
    ])  # fmt: skip
    def test_the_layout_of_a_file_names_the_centre(self, container, codec, layout):
        content = tracks_file(container, codec, [voice()], layout=layout)
        assert likeness(load_audio(content, RATE).samples[: 7 * RATE], voice()[: 7 * RATE]) > 0.8

    def test_vorbis_has_an_order_of_its_own(self):
        speech = voice()
        music_parts = [music(seed=seed) for seed in range(1, 6)]
        parts = [music_parts[0], speech, *music_parts[1:]]  # FL FC FR BL BR LFE
        file = io.BytesIO()
        soundfile.write(file, 0.3 * np.stack(parts, axis=1), RATE, format="OGG", subtype="VORBIS")
        assert likeness(load_audio(file.getvalue(), RATE).samples, speech) > 0.8


SILENCE = np.zeros(3 * RATE, np.float32)


class TestTracks:
    def test_the_default_one_is_taken_and_the_others_are_noted(self):
        content = tracks_file("matroska", "flac", [voice(3), voice(3, seed=5), voice(3, seed=6)], default=2)
        result = load_audio(content, RATE, name="film.mkv")
        assert likeness(result.samples, voice(3, seed=5)) > 0.8
        assert (result.track, result.tracks) == (2, 3)
        (note,) = result.notes
        assert note.startswith("film.mkv has 3 audio tracks; track 2 was transcribed:") and "--track" in note

    @pytest.mark.parametrize("container, codec", [("matroska", "flac"), ("mp4", "aac"), ("mov", "pcm_s16le")])
    @pytest.mark.parametrize("default", [None, 1])
    def test_one_that_is_silent_leaves_its_place_to_one_that_is_not(self, container, codec, default):
        result = load_audio(tracks_file(container, codec, [SILENCE, voice(3)], default=default), RATE)
        assert likeness(result.samples[:40_000], voice(3)[:40_000]) > 0.6  # lossy
        assert (result.track, result.tracks) == (2, 2)

    def test_all_of_them_silent_is_silence(self):
        result = load_audio(tracks_file("matroska", "flac", [SILENCE, SILENCE]), RATE)
        assert not result.samples.any() and result.track == 1

    @pytest.mark.parametrize("track", [1, 2])
    def test_the_one_asked_for_is_taken_even_if_silent(self, track):
        tracks = [SILENCE, voice(3)]
        result = load_audio(tracks_file("matroska", "flac", tracks), RATE, track=track)
        assert result.samples.any() == tracks[track - 1].any() and result.track == track

    def test_one_that_does_not_exist_is_one_sentence(self):
        content = tracks_file("matroska", "flac", [voice(1), voice(1)])
        for track in (0, 3):
            with pytest.raises(AudioError, match=rf"^The recording has no track {track}, but 2 audio tracks: choose"):
                load_audio(content, RATE, track=track)
        file = io.BytesIO()
        soundfile.write(file, voice(1), RATE, format="WAV")
        with pytest.raises(AudioError, match="has no track 2, but one audio track: choose 1"):
            load_audio(file.getvalue(), RATE, track=2)
        assert load_audio(file.getvalue(), RATE, track=1).notes == ()


def tracks_file(container, codec, tracks, layout="mono", default=None):
    """A file with a track for each voice, which lies in the centre or the only channel; music lies in the others."""
    file, rate = io.BytesIO(), 48_000
    with av.open(file, "w", format=container) as output:
        streams = [output.add_stream(codec, rate=rate, layout=layout) for _ in tracks]
        packets = []
        for number, (stream, speech) in enumerate(zip(streams, tracks, strict=True), 1):
            stream.disposition = av.stream.Disposition.default if number == default else 0
            stream.open()
            names = [speaker.name for speaker in stream.layout.channels]
            parts = [
                speech if len(names) == 1 or name == "FC" else np.resize(music(seed=index), len(speech))
                for index, name in enumerate(names)
            ]
            samples = np.repeat(0.3 * np.stack(parts, axis=1), 3, axis=0).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(stream.format, layout, rate, frame_size=size)
            for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
                packets += stream.encode(piece)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return file.getvalue()
