"""Takes the README's picture from the running app: `python -m tests.browser.picture assets/screenshot.webp`.

The first example is opened with the model that ships; Chromium is found as in the browser tests.
"""

import os
import sys
from io import BytesIO

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.chromium import chromium_path
from ui import build, launch_options
from ui.service.engine import Engine

SIZE = {"width": 1280, "height": 1240}  # down to the end of the timeline
WIDTH, QUALITY = 800, 30  # of the file, which stays small
PATIENCE_SECONDS = 900  # on a busy machine the model takes long to compile


def take(path: str, theme: str = "light") -> None:
    engine = Engine(os.environ.get("ASR_MODEL", "default")).start()
    engine.recognizer(timeout=PATIENCE_SECONDS)
    page = build(engine)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options(engine))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        view = browser.new_page(viewport=SIZE)
        view.goto(f"{url}?__theme={theme}")
        view.locator(".example-row button").first.click()
        view.wait_for_selector("#words .word", timeout=1000 * PATIENCE_SECONDS)
        view.wait_for_timeout(1500)
        picture = Image.open(BytesIO(view.screenshot())).convert("RGB")
        picture.thumbnail((WIDTH, SIZE["height"]), Image.Resampling.LANCZOS)
        picture.save(path, quality=QUALITY, method=6)
        browser.close()
    page.close()


if __name__ == "__main__":
    take(*sys.argv[1:3])
