"""The other tabs, and the page while its model loads or fails."""

import threading
import zipfile

import pytest

from asr_core.errors import BundleError
from tests.browser.conftest import serve, settled
from tests.ui.fake import FAKE_TEXT, FakeRecognizer
from ui.service.engine import Engine

TABS = ["Transcribe", "Live", "Compare", "Align", "How it works", "Batch", "Model"]


def go(page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()


def test_compare_shows_rates_and_plays_an_error(opened):
    go(opened, "Compare")
    opened.locator("#reference textarea").fill("the quick brown socks jumps over lazy dog")
    opened.locator("#compare-button").click()
    card = opened.locator("#comparison .card")
    card.wait_for()
    assert "25.0 %" in card.inner_text()  # one substituted, one added, of eight
    opened.locator("#comparison .substitute").click()
    opened.wait_for_function("window.asr.player.audio.currentTime > 1")
    opened.locator("#comparison-reading").get_by_label("As written").check()
    opened.wait_for_selector("#comparison .card")


def test_compare_without_words_says_what_to_do(opened):
    go(opened, "Compare")
    opened.locator("#compare-button").click()
    opened.wait_for_selector("#comparison .notice.error")
    assert "paste the correct text" in opened.locator("#comparison").inner_text()


def test_compare_collects_corrected_recordings_for_training(opened, tmp_path):
    go(opened, "Compare")
    opened.locator("#reference textarea").fill(FAKE_TEXT)
    opened.locator("#add-recording").click()
    opened.wait_for_selector("#recordings .card")
    assert "1 clip, 0:0" in opened.locator("#recordings").inner_text()
    buttons = ["#compare-button", "#add-recording", "#recordings-zip"]
    assert len({opened.locator(button).bounding_box()["height"] for button in buttons}) == 1
    with opened.expect_download() as download:
        opened.locator("#recordings-zip").click()
    download.value.save_as(tmp_path / "mine.zip")
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        assert [name.rsplit(".")[-1] for name in archive.namelist()] == ["jsonl", "flac"]
    opened.locator("#reference textarea").fill("nobody knew whether it was winter")
    opened.locator("#add-recording").click()
    opened.wait_for_selector("#recordings .notice.error")


def test_examples_bring_their_reference_along(page):
    page.get_by_role("button", name="Example: Joy").click()
    page.wait_for_selector("#words .word")
    go(page, "Compare")
    assert "lot of joy" in page.locator("#reference textarea").input_value()


def test_align_marks_what_does_not_fit(opened):
    go(opened, "Align")
    opened.locator("#align-text textarea").fill("The quick brown fox jumps over the extremely lazy dog.")
    opened.locator("#align-button").click()
    opened.wait_for_selector("#alignment .card")
    assert "extremely" in " ".join(opened.locator("#alignment .unfit").all_inner_texts())
    assert opened.locator("#alignment button.pair").count() == 10


def test_align_takes_the_words_of_subtitles_and_says_what_it_cannot_check(opened):
    go(opened, "Align")
    pasted = "1\n00:00:01,000 --> 00:00:02,000\n<i>the quick</i> brown \u65e5\u672c\n[music]"
    opened.locator("#align-text textarea").fill(pasted)
    opened.locator("#align-button").click()
    opened.wait_for_selector("#alignment .card")
    assert opened.locator("#alignment button.pair").count() == 4
    assert opened.locator("#alignment .unchecked").get_attribute("title") == "cannot be checked"
    assert "1 of 4 words cannot be checked" in opened.locator("#alignment").inner_text()


def test_align_says_that_a_text_is_not_that_of_the_recording(opened):
    go(opened, "Align")
    opened.locator("#align-text textarea").fill("Nobody knew whether it would be 15 % by winter.")
    opened.locator("#align-button").click()
    opened.wait_for_selector("#alignment .notice")
    assert "not the text of this recording" in opened.locator("#alignment .notice").inner_text()
    assert "fits" not in opened.locator("#alignment").inner_text()


def test_the_walk_follows_its_slider(opened):
    go(opened, "How it works")
    number = opened.locator("#walk-step input[type=number]")
    number.wait_for()
    first = opened.locator("#walk").inner_text()
    assert "16,000 times a second" in first and opened.locator("#walk svg").count() == 2
    number.fill("20")
    number.press("Enter")
    opened.wait_for_function("document.querySelector('#walk').innerText.includes('At step 20')")
    assert opened.locator("#walk .path .here").count() == 1
    number.fill("99999")
    number.press("Tab")
    last = number.get_attribute("max")
    opened.wait_for_function(f"document.querySelector('#walk').innerText.includes('At step {last}')")


def test_a_batch_fills_its_table_past_a_bad_file(page, recording, folder):
    bad = folder / "bad.ogg"
    bad.write_bytes(b"no sound")
    second = folder / "second.wav"
    second.write_bytes(recording.read_bytes())
    go(page, "Batch")
    page.locator("#batch-files input[type=file]").set_input_files([str(recording), str(bad), str(second)])
    page.wait_for_selector("#batch-files >> text=second")
    page.locator("#batch-files").get_by_role("button", name="Add files").wait_for()
    page.locator("#batch-start").click()
    page.wait_for_selector("text=3 of 3 files finished, 1 of them failed")
    rows = page.locator("#batch-table tbody tr").all_inner_texts()
    assert FAKE_TEXT in rows[0] and "not a recording" in rows[1] and FAKE_TEXT in rows[2]
    with page.expect_download() as download:
        page.locator("#batch-zip").click()
    assert "srt/second.srt" in zipfile.ZipFile(download.value.path()).namelist()
    page.locator("#batch-form").get_by_label("As spoken").check()
    page.wait_for_selector("text=3 of 3 files finished, 1 of them failed")


def test_too_many_files_are_refused_before_any_work(page, folder, recording):
    paths = []
    for i in range(5):
        paths.append(folder / f"many-{i}.wav")
        paths[-1].write_bytes(recording.read_bytes())
    go(page, "Batch")
    page.locator("#batch-files input[type=file]").set_input_files([str(path) for path in paths])
    page.wait_for_selector("#batch-files >> text=many-4")
    page.locator("#batch-start").click()
    page.wait_for_selector("text=5 files were given and the limit is 4")


def test_the_model_tab_shows_the_model_and_loads_another_for_this_visitor_alone(visit, recording):
    first, second = visit(), visit()
    for page in (first, second):
        go(page, "Model")
        page.wait_for_selector("#model-card table")
    assert "25.0 %" in first.locator("#model-card").inner_text()
    first.locator("#model-name input, #model-name textarea").first.fill("../../etc")
    first.get_by_role("button", name="Load", exact=True).click()
    first.wait_for_selector("text=is not a Hub repository")
    first.locator("#model-name input, #model-name textarea").first.fill("name/other")
    first.get_by_role("button", name="Load", exact=True).click()
    first.wait_for_selector("#masthead >> text=name/other")
    second.get_by_role("button", name="Load", exact=True).click()
    second.wait_for_selector("text=The model was not loaded")  # the server has answered this visitor, too
    assert "name/other" not in second.locator("body").inner_text()
    go(first, "Transcribe")
    first.locator("#recording-file input[type=file]").set_input_files(str(recording))
    first.wait_for_selector("#message >> text=name/other")


def test_while_the_model_loads_visitors_are_informed_and_then_served(visit, recording):
    gate = threading.Event()
    server, url = serve(Engine(load=lambda name: gate.wait(30) and FakeRecognizer(name)).start())
    try:
        page = visit(url)
        page.wait_for_selector("#masthead >> text=The model is loading")
        page.locator("#recording-file input[type=file]").set_input_files(str(recording))
        page.wait_for_selector("#message >> text=The model is loading")
        gate.set()
        page.wait_for_selector("#words .word")
        page.wait_for_selector("#masthead >> text=Model: default")
    finally:
        gate.set()
        server.close()


def test_a_recording_that_is_removed_while_it_is_transcribed_was_not_refused(visit, recording, monkeypatch):
    gate, recognizer = threading.Event(), FakeRecognizer()
    monkeypatch.setattr(recognizer, "emissions", lambda *_, **__: gate.wait(30))
    server, url = serve(Engine(load=lambda name: recognizer).start())
    try:
        page = visit(url)
        for _ in range(3):  # Gradio reports a cancelled event from the second time on
            page.locator("#recording-file input[type=file]").set_input_files(str(recording))
            page.wait_for_selector("#message >> text=is being transcribed")
            page.locator("#recording-file").get_by_role("button", name="Clear").click()
            page.wait_for_selector("#message >> text=Nothing opened yet")
            page.wait_for_timeout(1000)
            assert "Nothing opened yet" in page.locator("#message").inner_text()
    finally:
        gate.set()
        server.close()


def test_a_model_that_is_missing_or_untrained_is_reported(visit, recording):
    def load(name):
        raise BundleError("No model comes with this copy.")

    for engine, said in (
        (Engine(load=load), "No model comes with this copy."),
        (Engine(load=lambda name: FakeRecognizer(name, trained=False)), "untrained"),
    ):
        server, url = serve(engine.start())
        try:
            page = visit(url)
            page.wait_for_selector(f"#masthead >> text={said}")
            page.context.close()  # a page that still fetches its scripts would report a closed server as an error
        finally:
            server.close()


def test_two_models_are_shown_on_one_time_axis(visit, recording):
    page = visit()
    page.locator("#recording-file input[type=file]").set_input_files(str(recording))
    page.wait_for_selector("#words .word")
    go(page, "Model")
    second = page.locator("#second-model input")
    second.fill("name/other")
    second.press("Enter")
    page.get_by_role("button", name="Transcribe with both", exact=True).click()
    page.wait_for_selector("#two-models >> text=name/other")
    one = page.locator("#timeline canvas").evaluate("(canvas) => parseFloat(canvas.style.height)")
    two = page.wait_for_function("parseFloat(document.querySelector('#two-models-timeline canvas').style.height) || 0")
    assert two.json_value() > one + 150  # emissions, blank and words of the second model


def test_a_comparison_is_not_shown_once_its_recording_has_been_closed(visit, recording):
    gate = threading.Event()
    server, url = serve(
        Engine(load=lambda name: (name != "name/other" or gate.wait(30)) and FakeRecognizer(name)).start()
    )
    try:
        page = visit(url)
        page.locator("#recording-file input[type=file]").set_input_files(str(recording))
        page.wait_for_selector("#words .word")
        go(page, "Model")
        page.locator("#second-model input").fill("name/other")
        page.locator("#second-model input").press("Enter")
        page.get_by_role("button", name="Transcribe with both", exact=True).click()
        page.wait_for_selector("#two-models >> text=The model is loading")
        go(page, "Transcribe")
        page.locator("#recording-file").get_by_role("button", name="Clear").click()
        page.wait_for_selector("#message >> text=Nothing opened yet")
        gate.set()
        page.wait_for_function("document.querySelector('#two-models').innerText.trim() === ''")
        page.wait_for_timeout(1000)
        assert page.locator("#two-models table").count() == 0
    finally:
        gate.set()
        server.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_tab_is_wider_than_the_screen(visit, recording, theme, width, server):
    page = visit(f"{server}?__theme={theme}", viewport={"width": width, "height": 844})
    page.locator("#recording-file input[type=file]").set_input_files(str(recording))
    page.wait_for_selector("#words .word")
    for tab in TABS:
        open_tab(page, tab)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab


LONG = "extremely" * 5
CUT = """() => [...document.querySelectorAll('.card, .timeline, .facts, p.small')].flatMap((box) =>
[...box.querySelectorAll('*')].filter((one) => {
  const { left, right } = one.getBoundingClientRect(), end = Math.max(right, left + one.scrollWidth);
  return one.checkVisibility() && !one.closest('.table-scroll, .unseen') && end > box.getBoundingClientRect().right + 1;
}).map((one) => one.outerHTML.slice(0, 80)))"""


@pytest.mark.parametrize("width", [1280, 640, 320])
def test_long_names_words_and_commands_stay_in_their_cards(visit, recording, folder, width):
    page = visit(viewport={"width": width, "height": 844})
    path = folder / f"{4 * LONG}.wav"
    path.write_bytes(recording.read_bytes())
    page.locator("#recording-file input[type=file]").set_input_files(str(path))
    page.wait_for_selector("#words .word")
    page.locator("#timeline canvas").wait_for()
    page.wait_for_function(f"({CUT})().length === 0")
    open_tab(page, "Compare")
    page.locator("#reference textarea").fill(FAKE_TEXT)
    page.locator("#add-recording").click()
    page.wait_for_selector("#recordings pre")
    page.locator("#reference textarea").fill(f"{FAKE_TEXT} {LONG}")
    page.locator("#compare-button").click()
    page.wait_for_selector("#comparison .card")
    page.wait_for_function(f"({CUT})().length === 0")
    open_tab(page, "Align")
    page.locator("#align-text textarea").fill(f"{FAKE_TEXT} {LONG}")
    page.locator("#align-button").click()
    page.wait_for_selector("#alignment .card")
    page.wait_for_function(f"({CUT})().length === 0")


def test_touch_targets_on_a_phone_are_at_least_40_pixels(visit, recording):
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator("#recording-file input[type=file]").set_input_files(str(recording))
    page.wait_for_selector("#words .word")
    page.locator("#timeline canvas").wait_for()
    for target in (
        "#recording-file button[aria-label=Clear]",
        "button[role=tab]",
        ".overflow-menu > button",
        ".record-button",
        ".example-row button",
        "#words .plain-button",
        ".tl-bar button",
        "#downloads button",
    ):
        boxes = [button.bounding_box() for button in page.locator(target).all() if button.is_visible()]
        assert boxes and min(min(box["width"], box["height"]) for box in boxes) >= 40, target


def open_tab(page, tab: str) -> None:
    """Also where the tab has gone into the menu of a narrow screen."""
    button = page.get_by_role("tab", name=tab, exact=True)
    if button.is_visible():
        button.click()
    else:
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown button", has_text=tab).first.click()


def serious(page) -> list[str]:
    """Violations that axe calls serious or critical, with the places where they are.

    Gradio names its own drop zone otherwise than it is labelled; that one is not ours to mend.
    """
    found = []
    for violation in page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]:
        places = [node["html"][:160] for node in violation["nodes"]]
        if violation["id"] == "label-content-name-mismatch":
            places = [place for place in places if "upload-container" not in place]
        if violation["impact"] in ("serious", "critical") and places:
            found.append(f"{violation['id']}: {places[:3]}")
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_tab(visit, axe, recording, theme, server):
    page = visit(f"{server}?__theme={theme}")
    page.evaluate(axe)
    assert serious(page) == [], "empty page"
    page.locator("#recording-file input[type=file]").set_input_files(str(recording))
    page.wait_for_selector("#words .word")
    for name in ("Correct the text", "Decoding", "Subtitles"):
        page.get_by_role("button", name=name).click()
    for tab in TABS:
        go(page, tab)
        if tab == "Compare":
            page.locator("#reference textarea").fill("the quick brown socks jumps over a lazy dog")
            page.locator("#compare-button").click()
            page.wait_for_selector("#comparison .card")
        settled(page)
        assert serious(page) == [], tab


README = """
```python
print("recording.wav")  # a comment
```

| a table | that is | wider than | the screen | of a phone | by far |
|---|---|---|---|---|---|
| contents | contents | contents | contents | contents | contents |
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_models_own_description(visit, axe, theme):
    def load(name):
        recognizer = FakeRecognizer(name)
        recognizer.bundle.readme = README
        return recognizer

    server, url = serve(Engine(load=load).start())
    try:
        page = visit(f"{url}?__theme={theme}", viewport={"width": 360, "height": 740})
        page.evaluate(axe)
        open_tab(page, "Model")
        page.get_by_role("button", name="The model's own description").click()
        page.wait_for_selector("#model-readme table[tabindex]")
        settled(page)
        assert serious(page) == []
    finally:
        server.close()
