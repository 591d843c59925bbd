"""What the tests of the site share: the built site, a static server of it, and a page that counts every fault."""

import functools
import http.server
import pathlib
import threading
from collections.abc import Iterator

import chromium
import pytest
from playwright import sync_api

SITE = pathlib.Path(__file__).parent.parent.parent / "build" / "site"


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


@pytest.fixture(scope="session")
def site() -> pathlib.Path:
    """The folder of the built site."""
    if not (SITE / "index.html").exists():
        pytest.fail("The site is not built. Run 'make site' first.", pytrace=False)
    return SITE


@pytest.fixture(scope="session")
def server(site: pathlib.Path) -> Iterator[str]:
    """The base address of a static server of the site, without a slash at its end."""
    handler = functools.partial(_Handler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        running = chromium.launch(playwright)
        yield running
        running.close()


@pytest.fixture
def page(browser: sync_api.Browser, server: str) -> Iterator[sync_api.Page]:
    """A page of 1280×720 pixels. Its `faults` must be empty in the end: errors, failed requests, other hosts.

    A test that provokes a fault takes it out: `page.faults.clear()`.
    """
    with browser.new_context(viewport={"width": 1280, "height": 720}) as context:
        opened = context.new_page()
        opened.faults = watch(opened, server)
        yield opened
        faults = list(opened.faults)
    assert not faults, "\n".join(faults)


def watch(page: sync_api.Page, server: str) -> list[str]:
    """A list that grows with each fault of the page from now on."""
    faults: list[str] = []

    def asked(request: sync_api.Request) -> None:
        if not request.url.startswith((server + "/", "data:", "blob:")):
            faults.append(f"asks another host: {request.url}")

    def answered(response: sync_api.Response) -> None:
        if response.status >= 400:
            faults.append(f"{response.status}: {response.url}")

    def failed(request: sync_api.Request) -> None:
        # What a page no longer waits for when one leaves it did not fail.
        if request.failure != "net::ERR_ABORTED":
            faults.append(f"failed ({request.failure}): {request.url}")

    def said(message: sync_api.ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(f"console: {message.text}")

    page.on("request", asked)
    page.on("response", answered)
    page.on("requestfailed", failed)
    page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
    page.on("console", said)
    return faults
