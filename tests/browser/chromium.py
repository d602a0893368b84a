"""Finds Chromium for the browser tests, the picture of the README and the benchmark of the page."""

import os
import shutil


def chromium_path() -> str | None:
    """The program that the environment variable CHROMIUM names, or else one on the path; None if there is none."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
