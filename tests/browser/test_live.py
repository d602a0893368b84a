"""Live, as a visitor uses it: a fake microphone plays tones, which the recogniser of the page transcribes as words."""

import numpy as np
import pytest
import soundfile

from tests.browser.chromium import chromium_path
from tests.browser.conftest import FLAGS, needed, serve, throttle
from tests.processes import comes_true
from tests.ui.tones import RATE, ToneRecognizer, tones
from ui.service.engine import Engine

SAID = "red green blue black white brown red blue green"
LEAD_SECONDS = 4.0  # of silence, while the microphone opens


@pytest.fixture(scope="module")
def live_server(own_upload_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.5")
        patch.setattr("ui.tabs.live.RETURN_SECONDS", 1.0)
        engine = Engine(load=ToneRecognizer).start()
        engine.recognizer()
        page, url = serve(engine)
        yield page, url
        page.close()


def browser_with(chromium, recording):
    """A browser whose microphone plays a recording once."""
    fake = f"--use-file-for-fake-audio-capture={recording}%noloop"
    return chromium.launch(executable_path=needed(chromium_path(), "Chromium"), args=[*FLAGS, fake])


@pytest.fixture(scope="module")
def spoken(folder):
    path = folder / "spoken.wav"
    silence = np.zeros(round(LEAD_SECONDS * RATE), np.float32)
    soundfile.write(path, np.concatenate([silence, tones(SAID), np.zeros(60 * RATE, np.float32)]), RATE)
    return path


@pytest.fixture
def speaking(chromium, spoken, live_server):
    """The Live tab in a browser whose microphone plays SAID once it is opened."""
    browser = browser_with(chromium, spoken)
    yield from opened(browser, live_server[1], permissions=["microphone"])


@pytest.fixture(scope="module")
def chromium(browser):
    """The one that runs: a second cannot be started beside it."""
    return browser.browser_type


def opened(browser, url, script="", **options):
    context = browser.new_context(accept_downloads=True, **options)
    context.set_default_timeout(60_000)
    context.add_init_script(script)
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    throttle(page)
    page.goto(url)
    page.get_by_role("tab", name="Live").click()
    page.wait_for_selector("#live [data-part=start]")
    # The microphone of the browser plays from when it is first opened: the recorder's encoder must be there by then.
    loaded = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/module-')).length >= 3"
    page.wait_for_function(loaded)
    page.wait_for_timeout(2000)
    yield page
    browser.close()
    assert complaints == []


def words(page, kind=""):
    return " ".join(page.locator(f"#live .live-words .word{kind}").all_inner_texts())


def press(page, name):
    page.locator("#live").get_by_role("button", name=name, exact=True).click()


def wait_for_words(page, text):
    said = "[...document.querySelectorAll('#live .live-words .word')].map((word) => word.textContent).join(' ')"
    page.wait_for_function(f"text => {said}.includes(text)", arg=text)


def test_words_appear_while_a_visitor_speaks_and_the_text_is_right_in_the_end(speaking):
    press(speaking, "Start")
    wait_for_words(speaking, "red green")
    assert not speaking.locator("#live [data-part=hint]").is_visible()
    assert words(speaking, ".tail")  # may still change, and looks it
    assert "green blue black white brown red blue green" not in words(speaking)
    assert "italic" == speaking.evaluate("getComputedStyle(document.querySelector('#live .tail')).fontStyle")
    wait_for_words(speaking, SAID)
    assert float(speaking.locator("#live [data-part=delay]").inner_text().split()[0]) < 3
    press(speaking, "Stop")
    speaking.wait_for_selector("#live-open")
    assert (words(speaking), words(speaking, ".tail")) == (SAID, "")
    with speaking.expect_download() as download:
        speaking.locator("#live-download-txt").click()
    assert download.value.path().read_text("utf-8").strip() == SAID
    speaking.locator("#live-open").click()
    speaking.wait_for_selector("#words .word")
    assert " ".join(speaking.locator("#words .transcript .word").all_inner_texts()) == SAID
    assert "Live recording" in speaking.locator("#message .facts").inner_text()


@pytest.fixture
def stalling(chromium, spoken, live_server):
    """As `speaking`, over a network that sends what the page has recorded only every two seconds."""
    script = """
        const send = window.fetch, held = [];
        setInterval(() => held.splice(0).forEach((go) => go()), 2000);
        window.fetch = (...request) => /[/]stream[/][0-9a-f]+$/.test(request[0].url || request[0])
            ? new Promise((resolve) => held.push(() => resolve(send(...request)))) : send(...request);
    """
    yield from opened(browser_with(chromium, spoken), live_server[1], script, permissions=["microphone"])


def test_a_network_that_stalls_costs_no_words(stalling):
    press(stalling, "Start")
    wait_for_words(stalling, SAID)
    press(stalling, "Stop")
    stalling.wait_for_selector("#live-open")
    assert words(stalling) == SAID


def test_pause_go_on_and_clear(speaking):
    press(speaking, "Start")
    wait_for_words(speaking, "red green")
    assert speaking.evaluate("document.querySelector('#live [data-part=level]').style.transform") != ""
    press(speaking, "Pause")
    speaking.wait_for_selector("#live [data-part=state]:has-text('Paused')")
    before = words(speaking)
    assert before and not words(speaking, ".tail")
    press(speaking, "Go on")
    count = "(count) => document.querySelectorAll('#live .live-words .word').length >= count"
    speaking.wait_for_function(count, arg=len(before.split()) + 3)
    assert words(speaking).startswith(before + " ")
    press(speaking, "Pause")
    speaking.wait_for_selector("#live [data-part=state]:has-text('Paused')")
    press(speaking, "Clear")
    speaking.wait_for_selector("#live [data-part=state]:has-text('Ready')")
    assert words(speaking) == ""
    assert speaking.locator("#live [data-part=hint]").is_visible()


def test_a_paused_recording_that_the_server_has_forgotten_keeps_its_words_on_the_page(speaking, live_server):
    press(speaking, "Start")
    wait_for_words(speaking, "red green")
    press(speaking, "Pause")
    speaking.wait_for_selector("#live [data-part=state]:has-text('Paused')")
    live_server[0].state_holder.session_data.clear()  # as an hour after the connection was lost
    press(speaking, "Go on")
    speaking.wait_for_selector("#live .notice.warning:has-text('The recording has ended')")
    speaking.wait_for_selector("#live [data-part=state]:has-text('Stopped')")
    assert "red green" in words(speaking)
    press(speaking, "Start")
    speaking.wait_for_selector("#live [data-part=state]:has-text('Listening')")
    assert "red green" not in words(speaking)


def test_leaving_the_page_frees_the_session(speaking, live_server):
    assert comes_true(lambda: not live_sessions(live_server[0]), seconds=30), "those of earlier tests remain"
    press(speaking, "Start")
    wait_for_words(speaking, "red")
    sessions = live_sessions(live_server[0])
    assert [session.phase for session in sessions] == ["listening"]
    folder = sessions[0]._recording.path.parent
    assert folder.is_dir()
    speaking.goto("about:blank")
    assert comes_true(lambda: sessions[0].phase == "closed" and not folder.exists(), seconds=30)


def test_a_recording_that_the_server_has_closed_keeps_its_words_on_the_page(speaking, live_server):
    press(speaking, "Start")
    wait_for_words(speaking, "red green")
    for session in live_sessions(live_server[0]):
        session.close()
    speaking.wait_for_selector("#live .notice.warning:has-text('The recording has ended')")
    speaking.wait_for_selector("#live [data-part=state]:has-text('Stopped')")
    assert "red green" in words(speaking)


def live_sessions(page):
    """Those of visitors who are there."""
    leave = next(fn.fn for fn in page.fns.values() if fn.name == "leave")
    return [session for session in leave.__self__._sessions.values() if session.phase != "closed"]


@pytest.mark.parametrize(
    "error,expected", [("NotAllowedError", "refused"), ("NotFoundError", "No microphone was found")]
)
def test_a_microphone_that_is_not_to_be_had_is_reported_in_words(speaking, error, expected):
    speaking.evaluate(
        """(error) => { navigator.mediaDevices.getUserMedia =
        () => Promise.reject(new DOMException('none', error)); }""",
        error,
    )
    press(speaking, "Start")
    speaking.wait_for_selector("#live .notice.error")
    shown = speaking.locator("#live .notice.error").inner_text()
    assert expected in shown and "Start again" in shown
    assert speaking.locator("#live [data-part=start]").is_enabled()


def test_a_silent_microphone_is_reported_in_words(speaking):
    speaking.evaluate(
        """() => { const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => { const stream = await get(wanted);
        stream.getAudioTracks().forEach((track) => { track.enabled = false; }); return stream; }; }"""
    )
    press(speaking, "Start")
    speaking.wait_for_selector("#live .notice.warning:has-text('No signal')")
