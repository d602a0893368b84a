"""A visitor who speaks: chunks in, words out, takes and stops, and nothing left behind."""

import gc
import threading
import time
import wave
from types import SimpleNamespace

import numpy as np
import pytest

from asr_core.audio.loading import Audio
from asr_core.emissions import Emissions
from asr_core.errors import BundleError
from tests.processes import comes_true
from tests.ui.tones import RATE, ToneRecognizer, tones
from ui.service.engine import Engine
from ui.service.live_session import LATE_CHUNK_SECONDS, SILENT_SECONDS, LiveSession
from ui.service.requests import FirstWords, Limits
from ui.tabs.live import Live, shown
from ui.tabs.transcribe import Transcribe
from ui.widgets.words import first_words_card

SAID = "red green blue black white brown red blue"


@pytest.fixture
def engine():
    engine = Engine(load=ToneRecognizer).start()
    engine.recognizer()
    return engine


@pytest.fixture
def session(engine):
    session = LiveSession(engine, None, Limits())
    yield session
    session.close()


def speak(session, text=SAID, chunk_seconds=0.5):
    """Pushes the tones of a text as a browser does: int16, half a second at a time."""
    samples = (tones(text) * 32767).astype(np.int16)
    for start in range(0, len(samples), int(chunk_seconds * RATE)):
        session.push(samples[start : start + int(chunk_seconds * RATE)], RATE)
        if session._engine.state() == "ready":
            wait_until_transcribed(session)


def wait_until_transcribed(session):
    """Waits until all that was pushed has been transcribed."""
    with session._lock:
        assert session._idle.wait_for(lambda: not session._working, 30)


def text_of(words) -> str:
    return " ".join(word.text for word in words)


def wait_out_stragglers():
    time.sleep(LATE_CHUNK_SECONDS + 0.05)


def test_words_appear_while_a_visitor_speaks_and_all_are_final_after_a_stop(session):
    speak(session)
    view = session.view()
    assert view.phase == "listening" and view.final and view.partial
    assert text_of([*view.final, *view.partial]) == SAID
    assert view.delay_seconds < 3
    assert {path.suffix for path in session.stop()} == {".txt", ".srt", ".vtt", ".json"}
    view = session.view()
    assert (text_of(view.final), view.partial, view.phase) == (SAID, (), "stopped")


def test_the_recording_holds_all_that_was_spoken(session):
    speak(session)
    session.stop()
    with wave.open(session.recording_path) as file:
        assert file.getframerate() == RATE
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    np.testing.assert_allclose(samples / 32767, tones(SAID), atol=1e-3)
    files = {path.suffix: path.read_text("utf-8") for path in session.stop()}
    assert files[".txt"].strip() == SAID
    assert files[".vtt"].startswith("WEBVTT")


def test_after_a_pause_the_same_recording_goes_on(session):
    speak(session, "red green")
    session.pause()
    assert session.view().phase == "paused"
    first = session.view().final
    assert text_of(first) == "red green"
    session.push(np.ones(800, np.int16), RATE)  # was on its way
    assert session.view().phase == "paused"
    wait_out_stragglers()
    offset = session.seconds
    speak(session, "blue black")
    session.stop()
    words = session.view().final
    assert text_of(words) == "red green blue black"
    assert words[:2] == first
    assert words[2].start == pytest.approx(offset + 0.4, abs=0.15)
    assert session.seconds == pytest.approx(offset * 2, abs=0.01)


def test_a_stop_before_any_sound_leaves_nothing(session):
    assert session.stop() == []
    assert session.view().phase == "stopped" and session.recording_path is None


def test_a_silent_microphone_is_called_silent_until_it_is_not(session):
    for _ in range(int(2 * SILENT_SECONDS) + 1):
        session.push(np.zeros(RATE // 2, np.int16), RATE)
    wait_until_transcribed(session)
    assert "muted" in session.view().notice[1]
    speak(session, "red")
    assert session.view().notice is None


def test_what_is_spoken_while_the_model_loads_is_transcribed_later():
    ready = threading.Event()

    def load(name):
        ready.wait(10)
        return ToneRecognizer(name)

    session = LiveSession(Engine(load=load), None, Limits())
    started = time.monotonic()
    speak(session, "red green blue")
    assert time.monotonic() - started < 1 and session.view().phase == "loading"
    ready.set()
    session.stop()
    assert text_of(session.view().final) == "red green blue"


def test_a_model_that_cannot_be_loaded_is_reported_in_words():
    def load(name):
        raise BundleError("There is no model here: choose another.")

    session = LiveSession(Engine(load=load), None, Limits())
    speak(session, "red")
    wait_until_transcribed(session)
    assert session.view().notice[1] == "There is no model here: choose another."
    assert session.stop() == []


def test_a_broken_chunk_costs_itself_and_no_more(session):
    speak(session, "red green")
    session.push(np.full(800, np.nan, np.float32), RATE)
    wait_until_transcribed(session)
    assert "not numbers" in session.view().notice[1]
    speak(session, "blue")
    session.stop()
    assert text_of(session.view().final) == "red green blue"


def test_the_limit_of_a_recording_is_reported_and_kept(engine):
    session = LiveSession(engine, None, Limits(audio_seconds=3))
    speak(session)
    assert "limit" in session.view().notice[1]
    session.stop()
    assert session.seconds < 4
    assert SAID.startswith(text_of(session.view().final))


def test_two_visitors_learn_nothing_of_each_other(engine):
    sessions = [LiveSession(engine, None, Limits()) for _ in range(2)]
    texts = ["red green blue black", "white brown white brown"]
    threads = [threading.Thread(target=speak, args=pair) for pair in zip(sessions, texts, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session, text in zip(sessions, texts, strict=True):
        session.stop()
        assert text_of(session.view().final) == text


def test_leaving_frees_thread_sound_and_folder(engine):
    session = LiveSession(engine, None, Limits())
    speak(session)
    folder = session._recording.path.parent
    assert folder.is_dir()
    session.close()
    assert not folder.exists()
    session.push(np.ones(RATE, np.int16), RATE)  # comes too late
    wait_until_transcribed(session)
    assert session.view().phase == "closed"
    assert not any(thread.name == "live" for thread in threading.enumerate())


def test_a_session_that_is_dropped_leaves_no_folder(engine):
    session = LiveSession(engine, None, Limits())
    speak(session, "red")
    folder = session._recording.path.parent
    del session
    gc.collect()
    assert not folder.exists()


def test_every_update_is_small_however_long_the_recording(session, monkeypatch):
    monkeypatch.setattr("ui.tabs.live.SENT_WORDS", 4)
    speak(session, "red " * 14, chunk_seconds=5)
    value = shown(session)
    assert len(value["final"]) == 4
    assert value["first"] + 4 == len(session.view().final)
    session.pause()
    assert len(shown(session)["final"]) == 14


# ---- the tab around it


@pytest.fixture
def live(engine):
    import gradio as gr

    from ui.service.clip import ClipRegistry

    with gr.Blocks():
        model = gr.State(None)
        with gr.Tabs() as tabs, gr.Tab("Live"):
            transcribe = Transcribe(engine, ClipRegistry(), Limits(), model)
            yield Live(engine, Limits(), model, transcribe, tabs)


VISITOR = SimpleNamespace(session_hash="one")


def chunks(text):
    samples = (tones(text) * 32767).astype(np.int16)
    return [(RATE, part) for part in np.array_split(samples, len(samples) // 8000 + 1)]


def say(live, text, session=None, visitor=VISITOR):
    for chunk in chunks(text):
        value, session = live._receive(chunk, session, None, "written", visitor)
        wait_until_transcribed(session)
    return value, session


def act(live, session, what):
    return live._act(session, SimpleNamespace(do=what))


def test_the_tab_shows_words_then_files_then_the_clip_in_transcribe(live):
    _, session = say(live, SAID)
    panel, session, after, *downloads = act(live, session, "stop")
    assert " ".join(word[0] for word in panel["final"]) == SAID and panel["phase"] == "stopped"
    assert after["visible"] and len(downloads) == 4
    values = [None, live.transcribe.running.value]
    values += [component.value for component in live.transcribe.inputs[2:]]
    *_, opened = live._open(session, *values)
    assert opened[0].transcript.text == SAID and opened[0].name == "Live recording"
    outcome = dict(zip(live.transcribe.outputs, live.transcribe.outcome(values[1]), strict=True))
    assert outcome[live.transcribe.text]["value"] == SAID


def test_a_recording_that_was_begun_with_another_model_says_so(live):
    _, session = say(live, "red")
    (chunk, *_) = chunks("green")
    same, _ = live._receive(chunk, session, None, "written", VISITOR)
    other, _ = live._receive(chunk, session, "another", "written", VISITOR)
    assert not same["notice"] and "another model" in other["notice"][0]


def test_start_after_a_stop_is_a_new_recording(live):
    _, session = say(live, "red green")
    _, session, *_ = act(live, session, "stop")
    value, other = say(live, "blue black", session)
    assert other is not session and value["id"] != session.id
    assert "red" not in [word[0] for word in value["final"] + value["partial"]]


def test_clear_takes_everything_away(live):
    _, session = say(live, "red green")
    folder = session._recording.path.parent
    panel, session, after, *downloads = act(live, session, "clear")
    assert panel["phase"] == "idle" and panel["final"] == [] and session is None
    assert not after["visible"] and downloads == [None] * 4 and not folder.exists()


def test_a_visitor_who_leaves_is_forgotten_and_no_other(live, monkeypatch):
    monkeypatch.setattr("ui.tabs.live.RETURN_SECONDS", 0.05)
    other = SimpleNamespace(session_hash="two")
    _, first = say(live, "red")
    _, second = say(live, "blue", visitor=other)
    live.leave(VISITOR)
    live.leave(VISITOR)  # twice does no harm
    assert comes_true(lambda: first.phase == "closed", seconds=10)
    assert second.phase == "listening"
    second.close()


def test_a_visitor_whose_connection_broke_may_go_on(live, monkeypatch):
    monkeypatch.setattr("ui.tabs.live.RETURN_SECONDS", 0.3)
    _, session = say(live, "red")
    live.leave(VISITOR)
    value, again = say(live, "green", session)
    time.sleep(0.5)
    assert again is session and session.phase == "listening" and value["id"] == shown(session)["id"]
    session.close()


@pytest.mark.parametrize("what", ["pause", "stop"])
@pytest.mark.parametrize("known", [True, False])
def test_the_page_is_told_that_its_recording_was_closed_meanwhile(live, what, known):
    _, session = say(live, "red")
    session.close()
    panel, *_ = act(live, session if known else None, what)
    assert panel == {"phase": "lost"}


def test_sound_that_comes_after_a_recording_was_closed_begins_no_other(live):
    _, session = say(live, "red")
    session.close()
    value, same = live._receive(chunks("green")[0], session, None, "written", VISITOR)
    assert value["phase"] == "lost" and same is session


# ---- long files: the first words while the rest is transcribed


def test_the_words_of_a_long_file_come_before_the_file_is_done(engine):
    recognizer, texts = engine.recognizer(), []
    audio = Audio(tones(SAID), RATE)
    whole = recognizer.emissions(audio)
    first = FirstWords()
    for part in np.array_split(np.arange(len(whole)), 3):
        first.add(recognizer, audio.seconds, Emissions(whole.log_probs[part], 0.04, part[0] * 0.04))
        texts.append(text_of(first.words))
    assert texts[0] and texts[0] != texts[1] and all(SAID.startswith(text) for text in texts)
    assert texts[2] == SAID
    card = first_words_card(first.words, first.separator)
    assert "words so far" in card and texts[2] in card
