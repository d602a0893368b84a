"""First results of a visit on a slow device: each has to arrive whole, however few frames the browser draws.

BROWSER_VISITS sets how many visits are made in all; 60 is what a change of the page's events is checked with.
"""

import os

import pytest

from tests.browser.conftest import TWO_FRAMES, record, serve
from tests.ui.fake import FakeRecognizer
from ui.service.engine import Engine

TEXT = "the lazy dog"  # the fake recogniser needs a second of audio for it
WAYS = ("upload", "example", "microphone")
RATES = (4, 6)
VISITS = int(os.environ.get("BROWSER_VISITS", 12))
WHOLE = f"""() => {{
const seen = (what) => Boolean(document.querySelector(what)?.getClientRects().length);
return document.querySelector('#words .transcript')?.innerText.trim() === '{TEXT}'
  && document.querySelector('#timeline canvas')?.width > 100 && !seen('#stop')
  && ['txt', 'srt', 'vtt', 'json'].every((kind) => seen('#download-' + kind)); }}"""
BLOCK = "() => { const end = performance.now() + 1000; while (performance.now() < end); }"
TYPE_AT_ONCE = """(text) => new Promise((done) => {
const look = () => {
  const field = document.querySelector('#edit textarea');
  if (field?.value !== text) { setTimeout(look); return; }
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(field, 'my own words');
  field.dispatchEvent(new Event('input', {bubbles: true}));
  done();
};
look(); })"""


@pytest.fixture(scope="module")
def quick_server(own_upload_folder):
    engine = Engine(load=lambda name: FakeRecognizer(name, text=TEXT)).start()
    engine.recognizer()
    page, url = serve(engine)
    yield url
    page.close()


def open_recording(page, way: str, recording) -> None:
    if way == "upload":
        page.locator("#recording-file input[type=file]").set_input_files(str(recording))
    elif way == "example":
        page.locator(".example-row button").first.click()
    else:
        record(page, 2)


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("way", WAYS)
def test_every_first_result_of_a_visit_is_whole(visit, quick_server, recording, way, rate):
    for _ in range(max(1, VISITS // (len(WAYS) * len(RATES)))):
        page = visit(quick_server, rate)
        open_recording(page, way, recording)
        page.wait_for_function(WHOLE)
        page.context.close()


@pytest.mark.parametrize("way", ["upload", "example"])
def test_a_result_is_whole_when_all_updates_arrive_at_once(visit, quick_server, recording, way):
    page = visit(quick_server)
    with page.expect_response("**/queue/join*"):
        open_recording(page, way, recording)
    page.evaluate(BLOCK)  # the server is done before the page can look
    page.wait_for_function(WHOLE)


def test_another_result_takes_the_place_of_the_first_when_all_updates_arrive_at_once(visit, quick_server, recording):
    page = visit(quick_server)
    for way in ("example", "upload"):
        with page.expect_response("**/queue/join*"):
            open_recording(page, way, recording)
        page.evaluate(BLOCK)
        page.wait_for_function(WHOLE)
    page.wait_for_selector(f"#message .facts >> text={recording.name}")


def test_what_is_typed_the_moment_a_text_arrives_stays(visit, quick_server, recording):
    page = visit(quick_server)
    open_recording(page, "example", recording)
    page.wait_for_function(WHOLE)
    page.get_by_role("button", name="Correct the text").click()
    page.wait_for_function(f"document.querySelector('#edit textarea')?.value === '{TEXT}'")
    page.evaluate(TWO_FRAMES)
    page.locator("#edit textarea").fill("")
    open_recording(page, "upload", recording)
    page.evaluate(TYPE_AT_ONCE, TEXT)
    page.wait_for_function(WHOLE)
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-button").click()
    page.wait_for_selector("#comparison .notice.error")  # so the server's earlier messages have come, too
    assert page.locator("#edit textarea").input_value() == "my own words"
