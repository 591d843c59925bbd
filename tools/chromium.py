"""The browser in which the site and the slides are tried: the machine's own Chromium or Chrome; none is downloaded."""

import shutil

from playwright import sync_api

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-sandbox"]


def launch(playwright: sync_api.Playwright) -> sync_api.Browser:
    """Starts it, without a window.

    Raises:
        FileNotFoundError: there is none.
    """
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise FileNotFoundError(f"These tests need one of {', '.join(NAMES)}: 'apt-get install chromium'.")
    return playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
