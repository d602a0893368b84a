"""How long a visitor waits: `python -m tests.benchmarks.page [--model M] [--hours 3]`.

Prints the seconds from `python app.py` to the page and to the first transcript of 10 s; then, warm and in headless
Chromium, from choosing a file to its words and its timeline, and from moving a slider to the hypotheses, with and
without another decoding. With --hours also those of a lecture of that length, and the memory of the program after it.
The first start of a fresh clone is slower, because it compiles the beam search and Python's own files.
"""

import argparse
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.benchmarks.load import App
from tests.benchmarks.speed import CLIP_SECONDS, repeated, write
from tests.browser.chromium import chromium_path

RUNS = 5
PATIENCE_MILLISECONDS = 1_800_000
WORDS = "#words .word"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--hours", type=float, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        clips = [write(repeated(None, CLIP_SECONDS), folder / f"clip-{i}.ogg") for i in range(RUNS + 1)]
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        started = time.perf_counter()
        with App(options.model, folder) as app:
            while not answers(app.url):
                time.sleep(0.05)
            print(f"{'the page, cold':<34} {time.perf_counter() - started:.2f} s after the start")
            page = browser.new_page()
            page.set_default_timeout(PATIENCE_MILLISECONDS)
            page.goto(app.url)
            upload(page, clips.pop())
            print(f"{'the first transcript, cold':<34} {time.perf_counter() - started:.2f} s after the start")
            print(f"{'upload to words and timeline, warm':<34} {line([upload(page, clip) for clip in clips])}")
            page.get_by_role("button", name="Decoding").click()
            more = [moved(page, "Hypotheses shown") for _ in range(RUNS)]
            print(f"{'a slider to one more hypothesis':<34} {line(more)}")
            again = [moved(page, "Language-model weight") for _ in range(RUNS)]
            print(f"{'a slider to another decoding':<34} {line(again)}")
            if options.hours:
                page.reload()  # back to one hypothesis
                # not Opus, which would take minutes to write
                lecture = write(repeated(None, round(3600 * options.hours)), folder / "lecture.flac")
                before = app.megabytes
                seconds = upload(page, lecture)
                count = page.locator(WORDS).count()
                print(f"{f'{options.hours:g} hours':<34} {seconds:.1f} s to all {count} words and the timeline;")
                print(f"{'':<34} {before:.0f} MB before, {app.megabytes:.0f} MB after")
        browser.close()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def upload(page, clip: Path) -> float:
    """Seconds from the choice of a file until its words and its timeline are there."""
    clear = page.locator("#recording-file").get_by_label("Clear")
    if clear.count():
        clear.first.click()
    started = time.perf_counter()
    page.locator("#recording-file input[type=file]").set_input_files(str(clip))
    page.locator("#message", has_text=clip.name).wait_for()  # not yet so for the clip before
    page.wait_for_selector(WORDS)
    page.wait_for_selector("#timeline canvas")
    return time.perf_counter() - started


def moved(page, name: str) -> float:
    """Seconds from a press on a slider's key until the page shows other hypotheses, or other scores of them."""
    slider = page.get_by_role("slider", name=name)
    slider.focus()
    before = page.locator("#decoding tbody").all_inner_texts()
    started = time.perf_counter()
    slider.press("ArrowRight")
    changed = "before => [...document.querySelectorAll('#decoding tbody')].map(e => e.innerText).join() !== before"
    page.wait_for_function(changed, arg=",".join(before))
    return time.perf_counter() - started


def line(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s, median of {len(seconds)} ({min(seconds):.2f}-{max(seconds):.2f})"


if __name__ == "__main__":
    main()
