"""What the timeline draws is what is in the audio, at every zoom, for any length."""

import base64
import json
import time

import numpy as np
import pytest

from asr_core.emissions import Emissions
from asr_core.transcript.words import Transcript, Word
from ui.service.clip import Clip, ClipAudio, ClipRegistry
from ui.service.overrides import DecodingOverrides
from ui.widgets.tiles import (
    LEVEL_RANGE_DB,
    MAX_COLUMNS,
    MAX_STEPS,
    MAX_WORDS,
    SPECTROGRAM_BANDS,
    TOP_TOKENS,
    band_hz,
    tile,
)
from ui.widgets.timeline import requested_tile, timeline_value

RATE = 16000


def array(text: str, dtype, columns: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype).reshape(-1, columns)


def clip_of(samples: np.ndarray, words=(), step: float = 0.04) -> Clip:
    seconds = len(samples) / RATE
    steps = max(1, int(seconds / step))
    log_probs = np.full((steps, 6), np.log(0.02), np.float32)
    log_probs[np.arange(steps), np.arange(steps) % 6] = np.log(0.9)
    transcript = Transcript(tuple(words), seconds, "m")
    return Clip(
        "x",
        ClipAudio(samples, RATE),
        Emissions(log_probs, step, 0.0),
        transcript,
        DecodingOverrides(),
        "m",
        tuple("_abcde"),
        1,
    )


def test_peaks_find_one_loud_sample_wherever_it_is_and_at_every_zoom():
    samples = np.zeros(RATE * 60, np.float32)
    samples[RATE * 37 + 5] = 0.5
    clip = clip_of(samples)
    for start, end in ((0, 60), (30, 40), (37, 37.1)):
        peaks = array(tile(clip, start, end, 800)["peaks"], np.int8, 2)
        at = int((37 + 5 / RATE - start) / (end - start) * 800)
        assert len(peaks) == 800
        assert peaks[:, 1].max() == 64  # half of full scale
        assert abs(int(peaks[:, 1].argmax()) - at) <= 1


def test_spectrogram_shows_a_tone_at_its_frequency_and_level():
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE * 2) / RATE)
    drawn = tile(clip_of(tone.astype(np.float32)), 0, 2, 300)
    levels = array(drawn["spectrogram"], np.uint8, SPECTROGRAM_BANDS)
    middle = levels[len(levels) // 2]
    low, high = LEVEL_RANGE_DB
    assert len(levels) == drawn["spectrogram_columns"]
    assert abs(band_hz(RATE)[middle.argmax()] - 1000) < 40
    assert low + middle.max() / 255 * (high - low) == pytest.approx(-20, abs=3)


def test_emissions_give_the_strongest_tokens_of_each_step_with_blank_apart():
    drawn = tile(clip_of(np.zeros(RATE * 2, np.float32)), 0.4, 0.8, 300)["emissions"]
    assert drawn["start"] == pytest.approx(0.4) and drawn["step_seconds"] == 0.04
    tokens = array(drawn["tokens"], "<u2", drawn["kept"])
    blank = array(drawn["blank"], np.uint8, 1)[:, 0]
    assert drawn["count"] == len(tokens) == 10 and drawn["kept"] == TOP_TOKENS
    assert 0 not in tokens
    strongest = [0 if blank[i] == round(0.9 * 255) else int(tokens[i, 0]) for i in range(10)]
    assert strongest == [4, 5, 0, 1, 2, 3, 4, 5, 0, 1]  # steps 10 to 19 of a cycle of six


def test_an_hour_costs_no_more_than_ten_seconds():
    """Times are bounded loosely: what is held is that the work does not grow with the audio."""
    rng = np.random.default_rng(0)
    short = clip_of(rng.normal(0, 0.1, RATE * 10).astype(np.float32))
    words = [Word(f"w{i}", i * 0.4, i * 0.4 + 0.3, 0.9) for i in range(9000)]
    long = clip_of(np.resize(rng.normal(0, 0.1, RATE * 100).astype(np.float32), RATE * 3600), words)
    sizes, times = [], []
    for clip in (short, long):
        tile(clip, 0, clip.seconds, 1200)
        started = time.perf_counter()
        drawn = tile(clip, 0, clip.seconds, 1200)
        times.append(time.perf_counter() - started)
        sizes.append(len(str(drawn)))
    assert sizes[1] < 1.3 * sizes[0] + 10_000
    assert times[1] < 5 * times[0] + 0.5
    assert drawn["word_count"] == 9000 and drawn["words"] == []
    assert drawn["emissions"]["count"] <= MAX_STEPS


def test_a_window_at_the_edges_or_beyond_is_moved_inside():
    clip = clip_of(np.zeros(RATE, np.float32), [Word("a", 0.1, 0.2, 1.0)])
    for start, end, columns in ((-5, 0.5, 100), (0.9, 50, 100), (3, 2, 1), (0, 1, 10**9)):
        drawn = tile(clip, start, end, columns)
        assert 0 <= drawn["start"] <= 1 and drawn["columns"] <= MAX_COLUMNS
    assert tile(clip, 0, 1, 100)["words"] == [[0.1, 0.2, "a", 1.0]]
    assert len(tile(clip, 0, 1, 100)["words"]) <= MAX_WORDS


def test_a_token_opens_its_clip_and_nothing_else():
    registry, clip = ClipRegistry(), clip_of(np.zeros(RATE, np.float32))
    registry.put(clip)
    request = {"token": clip.token, "start": 0, "end": 1, "columns": 50}
    assert requested_tile(registry, request)["columns"] == 50
    odd = [{"token": "guess"}, {"token": {"a": 1}}, {"start": "x"}, {"end": float("nan")}, {"columns": 1e300}]
    for bad in (None, [], {}, *({**request, **change} for change in odd)):
        assert requested_tile(registry, bad) is None


def test_a_clip_and_its_sound_file_go_when_their_visitor_does():
    registry, clip = ClipRegistry(), clip_of(np.zeros(RATE, np.float32))
    registry.put(clip)
    token, folder = clip.token, clip.audio.folder
    assert folder.is_dir()
    del clip
    assert registry.get(token) is None
    assert not folder.exists()


def test_the_value_of_the_timeline_is_json_and_holds_no_more_than_is_drawn():
    value = timeline_value(clip_of(np.zeros(RATE * 3, np.float32)))
    assert json.loads(json.dumps(value))["seconds"] == 3
    assert timeline_value(None) is None
