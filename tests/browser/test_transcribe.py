"""Transcribe, as a visitor uses it."""

import contextlib
import json
import re

import av
import numpy as np
import pytest
import soundfile
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.conftest import TWO_FRAMES, record
from tests.ui.fake import DOUBTFUL_WORD, FAKE_TEXT

NOW = "window.asr.player.audio.currentTime"


def words_of(page) -> str:
    return " ".join(page.locator("#words .transcript .word").all_text_contents())


def correct(page, text: str) -> None:
    """Replaces the transcript by a text, once the page has brought it into the text field.

    Gradio brings what an accordion holds again in the frame after it opened: nobody types so soon but a test.
    """
    page.get_by_role("button", name="Correct the text").click()
    page.wait_for_function(f"document.querySelector('#edit textarea')?.value === {json.dumps(FAKE_TEXT)}")
    page.evaluate(TWO_FRAMES)
    page.locator("#edit textarea").fill(text)
    page.get_by_role("button", name="Apply and align again").click()


def canvas_box(page) -> dict:
    canvas = page.locator("#timeline canvas")
    canvas.scroll_into_view_if_needed()
    return canvas.bounding_box()


def test_an_upload_comes_back_as_words_and_a_picture(page, recording):
    page.locator("#recording-file input[type=file]").set_input_files(str(recording))
    page.wait_for_selector("#words .word")
    page.wait_for_function("document.querySelector('#timeline canvas')?.width > 300")
    assert words_of(page) == FAKE_TEXT
    facts = page.locator("#message .facts").inner_text()
    assert "tone.wav" in facts and "5.0 s" in facts and "Real-time factor" in facts
    colours = page.evaluate(
        """() => { const c = document.querySelector('#timeline canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set();
        for (let i = 0; i < d.length; i += 4000) seen.add(d[i] + ',' + d[i+1] + ',' + d[i+2]); return seen.size; }"""
    )
    assert colours > 10  # something is drawn
    assert page.locator("#timeline [role=status]").inner_text() == "Transcribed: 9 words"


def test_the_microphone_is_transcribed_and_cleared(page):
    clear = page.locator("#recording-microphone").get_by_role("button", name="Clear")
    assert clear.count() == 0  # nothing to clear yet
    record(page, 5)  # the fake recogniser finds no words in less than 3.5 s
    page.wait_for_selector("#words .word")
    assert words_of(page) == FAKE_TEXT
    assert "Microphone" in page.locator("#message .facts").inner_text()
    clear.click()
    page.wait_for_selector("#message >> text=Nothing opened yet")
    assert page.locator("#words .word").count() == 0


def test_a_clicked_word_is_played_where_it_is_and_lit(opened):
    word = opened.locator("#words .word", has_text="jumps")
    start, end = (float(part) for part in word.get_attribute("data-at").split(","))
    word.click()
    opened.wait_for_function(f"{NOW} >= {start} && !window.asr.player.audio.paused")
    opened.wait_for_selector("#words .word.playing:has-text('jumps')")
    opened.wait_for_function("window.asr.player.audio.paused")
    assert start <= opened.evaluate(NOW) <= end + 1  # it stops after the word


def play(page) -> None:
    page.locator("#timeline [data-part=play]").click()
    page.wait_for_function(f"!window.asr.player.audio.paused && {NOW} > 0")


def test_playback_ends_when_its_recording_is_closed_or_replaced(opened, recording):
    unloaded = "window.asr.player.audio.paused && window.asr.player.path === ''"
    play(opened)
    opened.locator("#recording-file").get_by_role("button", name="Clear").click()
    opened.wait_for_function(unloaded)
    opened.locator("#recording-file input[type=file]").set_input_files(str(recording))
    opened.wait_for_selector("#words .word")
    play(opened)
    opened.get_by_role("button", name="Example: Joy").click()
    opened.wait_for_function(unloaded)


def test_the_chosen_speed_is_that_of_every_recording(opened):
    speed = opened.locator("#timeline [data-part=rate]")
    speed.select_option("1.5")  # before anything is loaded
    play(opened)
    assert opened.evaluate("window.asr.player.audio.playbackRate") == 1.5
    opened.get_by_role("button", name="Example: Joy").click()
    opened.wait_for_selector("#message .facts >> text=Joy")
    play(opened)
    assert opened.evaluate("window.asr.player.audio.playbackRate") == 1.5 and speed.input_value() == "1.5"


def test_next_doubtful_word_goes_there_and_plays_it(opened):
    opened.get_by_role("button", name=re.compile("Next unsure word")).click()
    opened.wait_for_selector(f"#words .word.visited:has-text('{DOUBTFUL_WORD}')")
    start = float(opened.locator(".word.visited").get_attribute("data-at").split(",")[0])
    opened.wait_for_function(f"Math.abs({NOW} - {start}) < 0.6")


def test_hovering_reads_the_picture_off(opened):
    box = canvas_box(opened)
    opened.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 170)  # in the spectrogram
    readout = opened.locator("#timeline [data-part=readout]")
    opened.wait_for_function("document.querySelector('#timeline [data-part=readout]').innerText.includes('Time')")
    said = readout.inner_text()
    assert re.search(r"2\.\d\d s", said) and "Hz" in said and "dB" in said and "Blank" in said
    opened.mouse.move(0, 0)
    opened.wait_for_function("document.querySelector('#timeline [data-part=readout]').innerText.includes('Drag')")


def test_the_picture_zooms_and_pans_by_keys_and_wheel_and_asks_for_detail(opened):
    frame = opened.locator("#timeline [data-part=frame]")
    box = canvas_box(opened)

    def reading() -> float:
        opened.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60)
        opened.mouse.move(box["x"] + box["width"] * 0.75 + 1, box["y"] + 60)
        text = opened.locator("#timeline [data-part=readout]").inner_text()
        return float(re.search(r"Time\s*([\d.]+) s", text)[1])

    whole = reading()
    frame.focus()
    with opened.expect_response(lambda answer: "component_server" in answer.url) as answer:
        opened.keyboard.press("+")
        opened.keyboard.press("+")
    assert answer.value.ok and answer.value.json()["columns"] > 100
    zoomed = reading()
    assert zoomed < whole  # zoomed around the start, where the playhead is
    opened.keyboard.press("Shift+ArrowRight")
    assert reading() > zoomed
    opened.keyboard.press("0")
    assert reading() == pytest.approx(whole, abs=0.05)
    opened.keyboard.down("Control")
    opened.mouse.wheel(0, -300)
    opened.keyboard.up("Control")
    opened.wait_for_timeout(300)
    middle = reading()
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=4)
    opened.mouse.up()
    assert reading() > middle


def test_keys_move_the_playhead_and_report_where_it_is(opened):
    frame = opened.locator("#timeline [data-part=frame]")
    frame.focus()
    opened.keyboard.press("End")
    opened.wait_for_function(f"{NOW} > 4.5")
    assert float(frame.get_attribute("aria-valuenow")) > 4.5
    opened.keyboard.press("Home")
    opened.keyboard.press(" ")
    opened.wait_for_function(f"{NOW} > 0.1 && {NOW} < 3")
    assert opened.get_by_role("button", name="Pause").is_visible()


def test_an_edit_is_aligned_and_reaches_the_downloads(opened):
    correct(opened, FAKE_TEXT.replace("lazy", "very lazy"))
    opened.wait_for_selector("#words .word:has-text('very')")
    assert "edited" in opened.locator("#message .facts").inner_text()
    for kind, check in (
        ("srt", "very lazy"),
        ("vtt", "WEBVTT"),
        ("txt", "very lazy"),
        ("json", '"word": "very"'),
    ):
        with opened.expect_download() as download:
            opened.locator(f"#download-{kind}").click()
        content = download.value.path().read_text("utf-8")
        assert check in content.replace("\n", " "), kind
        assert download.value.suggested_filename == f"tone.{kind}"
    assert json.loads(content)["words"][-1]["word"] == "dog"


def test_an_impossible_edit_says_why_and_changes_nothing(opened):
    correct(opened, "word " * 400)
    opened.wait_for_selector("#message .notice.error")
    assert "Nothing was changed" in opened.locator("#message").inner_text()
    assert words_of(opened) == FAKE_TEXT


def test_another_decoder_decodes_again_at_once_and_shows_its_n_best(opened):
    opened.get_by_role("button", name="Decoding").click()
    assert opened.get_by_label("Greedy", exact=True).is_checked()  # as the model recommends
    opened.get_by_label("Beam", exact=True).check()
    opened.wait_for_selector("#decoding tbody tr:nth-child(3)")
    shown = opened.get_by_role("slider", name="Hypotheses shown")
    shown.focus()
    shown.press("ArrowRight")  # keys move a slider as the pointer does
    opened.wait_for_selector("#decoding tbody tr:nth-child(4)")
    assert opened.locator("#decoding tbody tr").count() == 4
    assert "Hotwords" in opened.locator("#decoding thead").inner_text()


def test_corrections_outlive_another_decoder_until_they_are_undone(opened):
    correct(opened, FAKE_TEXT.replace("lazy", "very lazy"))
    opened.wait_for_selector("#words .word:has-text('very')")
    opened.get_by_role("button", name="Decoding").click()
    opened.get_by_label("Beam", exact=True).check()
    opened.wait_for_selector("#message >> text=Your corrections are kept")
    assert "very" in words_of(opened)
    opened.get_by_role("button", name="Undo corrections").click()
    opened.wait_for_function("!document.querySelector('#words .transcript').textContent.includes('very')")
    assert words_of(opened) == FAKE_TEXT and "edited" not in opened.locator("#message").inner_text()


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"this is not sound", "broken.wav", "broken.wav is not a recording"),
        (b"", "empty.mp3", "empty"),
    ],
)
def test_a_bad_file_gets_a_sentence_and_the_next_one_an_answer(page, folder, recording, content, name, said):
    path = folder / name
    path.write_bytes(content)
    page.locator("#recording-file input[type=file]").set_input_files(str(path))
    page.wait_for_selector(".notice.error, .toast-body")
    assert said in page.locator("body").inner_text()
    assert "Traceback" not in page.content()
    page.get_by_role("button", name="Example: Joy").click()
    page.wait_for_selector("#words .word")


def test_silence_is_reported_to_hold_no_speech(page, folder):
    path = folder / "silence.wav"
    soundfile.write(path, np.zeros(32000, np.float32), 16000)
    page.locator("#recording-file input[type=file]").set_input_files(str(path))
    page.wait_for_selector("text=No speech was found")
    assert page.locator("#timeline canvas").is_visible()


def test_hostile_names_and_words_stay_text(page, folder, recording):
    path = folder / "<img src=x onerror=alert(1)>${alert(2)}{{value}}.wav"
    path.write_bytes(recording.read_bytes())
    page.locator("#recording-file input[type=file]").set_input_files(str(path))
    page.wait_for_selector("#words .word")
    evil = "<script>alert(3)</script> ${alert(4)} {{this}}"
    correct(page, f"the {evil} dog")
    page.wait_for_function("document.querySelector('#words .transcript')?.innerText.includes('alert(4)')")
    assert page.locator("#words img, #words script, #message img").count() == 0


def test_two_visitors_see_nothing_of_each_other(visit, recording):
    first, second = visit(), visit()
    first.locator("#recording-file input[type=file]").set_input_files(str(recording))
    first.wait_for_selector("#words .word")
    second.get_by_role("tab", name="Compare").click()
    second.locator("#compare-button").click()
    second.wait_for_selector("#comparison .notice")  # the server has answered this visitor, too
    assert second.locator(".word").count() == 0
    assert "No recording is open" in second.locator("body").inner_text()
    second.get_by_role("button", name="Example: Joy").or_(second.get_by_role("tab", name="Transcribe")).first.click()
    second.get_by_role("button", name="Example: Joy").click()
    second.wait_for_selector("#words .word")
    assert "Joy" in second.locator("#message").inner_text()
    assert "tone.wav" in first.locator("#message").inner_text()


def film(path, seconds: list[float]) -> str:
    """A file with an audio track of each of these lengths."""
    with av.open(str(path), "w", format="matroska") as output:
        streams = [output.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in seconds]
        for stream, length in zip(streams, seconds, strict=True):
            samples = np.random.default_rng(1).integers(-9000, 9000, round(16_000 * length))
            frame = av.AudioFrame.from_ndarray(samples.astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
    return str(path)


def test_another_audio_track_is_chosen_below_the_picture(page, recording, folder):
    upload = page.locator("#recording-file input[type=file]")
    upload.set_input_files(film(folder / "film.mkv", [5, 7]))
    choice = page.locator("#track input")
    choice.wait_for(state="visible")
    assert choice.input_value() == "1"
    page.get_by_text("track 1 was transcribed").wait_for()
    page.wait_for_selector("#words .word")
    for _ in range(5):  # Gradio closes a list that is opened while its choices are still being updated
        with contextlib.suppress(PlaywrightTimeout):
            choice.click(timeout=9000)
            page.get_by_role("option", name="2", exact=True).click(timeout=9000)
            page.get_by_text("track 2 was transcribed").wait_for(timeout=9000)
            break
    page.get_by_text("track 2 was transcribed").wait_for()
    page.wait_for_selector("#words .word")
    choice.wait_for(state="visible")
    assert choice.input_value() == "2" and "7.0 s" in page.locator("#message .facts").inner_text()


def test_a_recording_of_one_track_has_no_choice(opened):
    assert opened.locator("#track").count() == 0 or not opened.locator("#track").is_visible()
