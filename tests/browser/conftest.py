"""A real browser on a real server; the recogniser behind it is a fake one, so that what is tested is the page.

Needs Chromium (CHROMIUM names it, else it is looked for) and, for accessibility, axe-core (AXE names axe.min.js,
else node_modules is looked into). Where CI is set, missing them is a failure, elsewhere a skip. BROWSER_THROTTLE=4
gives every page a quarter of the processor's speed, as a phone has.

Browser, server and tests share the processor with whatever else runs, so a test that fails is run once more, and the
summary lists it as RERUN. A second failure is one. Tests that count how often something fails are not run again.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser.chromium import chromium_path
from tests.ui.fake import FakeRecognizer
from ui import build, launch_options
from ui.service.engine import Engine
from ui.service.requests import Limits

sync_api = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else None
if sync_api is None:
    from playwright import sync_api

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=user-gesture-required",
]
PATIENCE_MILLISECONDS = 45_000  # everything takes milliseconds on an idle machine; a busy one is not a fault
THROTTLE = float(os.environ.get("BROWSER_THROTTLE", 1))
TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
STILL = """document.getAnimations().every((one) => one.playState !== 'running'
|| one.effect.getComputedTiming().endTime === Infinity)"""
RECORDED = """(seconds) => { const shown = document.querySelector('#recording-microphone time.duration');
return shown && shown.innerText.split(':').reduce((all, part) => 60 * all + Number(part), 0) >= seconds; }"""
ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name != "test_slow_device.py":
            item.add_marker(pytest.mark.flaky(reruns=1))


def needed(found, what: str):
    """What was found; where it is None, the test is skipped, or fails if CI is set."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not installed")
    return found


def serve(engine: Engine):
    limits = Limits(file_megabytes=8, audio_seconds=120, batch_files=4)
    page = build(engine, limits)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options(engine, limits))
    return page, url


def throttle(page, rate: float = THROTTLE) -> None:
    """Slows the page's processor down by a factor."""
    if rate != 1:
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})


def settled(page) -> None:
    """Waits until what was opened is drawn and no transition runs any more."""
    page.evaluate(TWO_FRAMES)
    page.wait_for_function(STILL)


def record(page, seconds: int) -> None:
    """Speaks into the microphone for at least so many seconds, as the recorder counts them, and stops."""
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_function(RECORDED, arg=seconds)
    page.get_by_role("button", name="Stop", exact=True).click()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="session")
def server(own_upload_folder):
    page, url = serve(Engine(load=FakeRecognizer).start())
    yield url
    page.close()


@pytest.fixture(scope="session")
def recording(folder):
    """A WAV of five seconds of tone, with silence at its end."""
    times = np.arange(5 * 16000) / 16000
    path = folder / "tone.wav"
    soundfile.write(path, (0.3 * np.sin(2 * np.pi * 440 * times) * (times < 4.5)).astype(np.float32), 16000)
    return path


@pytest.fixture(scope="session")
def browser(recording):
    program = needed(chromium_path(), "Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, f"--use-file-for-fake-audio-capture={recording}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    """A function that opens the page as a new visitor; fails the test on any script error or foreign request."""
    contexts, complaints = [], []

    def open_page(url: str = server, rate: float = THROTTLE, **options):
        context = browser.new_context(permissions=["microphone"], accept_downloads=True, **options)
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: complaints.append(request.url) if _foreign(request.url) else None)
        throttle(page, rate)
        page.goto(url)
        page.wait_for_selector("#recording-file")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "http://localhost", "data:", "blob:"))


@pytest.fixture
def page(visit):
    return visit()


@pytest.fixture
def opened(page, recording):
    """The page with the recording open in Transcribe."""
    page.locator("#recording-file input[type=file]").set_input_files(str(recording))
    page.wait_for_selector("#words .word")
    return page


@pytest.fixture(scope="session")
def axe() -> str:
    named = os.environ.get("AXE")
    path = Path(named) if named else ROOT / "node_modules" / "axe-core" / "axe.min.js"
    return needed(path.is_file() and path, "axe-core").read_text("utf-8")
