"""The built site as a Chromium shows it: nothing from the net, usable without a mouse and on a phone, searched offline.

Skipped where ``make docs`` has not built it, or where no Chromium is installed. With ``SPEECHSSL_EVERY_PAGE=1`` every
page is tried instead of one of each kind, which takes minutes.
"""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import violations
from docs_pages import ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
SITE = ROOT / "build" / "site"
pytestmark = [
    pytest.mark.timeout(900),  # a busy machine takes minutes for what takes seconds
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the site is not built; make docs"),
]
# one of each kind: players, pictures, wide tables, code of every language, signatures, generated pages, long tables
KINDS = (
    "index", "questions", "how-to/choose-a-converter", "how-to/good-reference", "how-to/server", "reference/http",
    "reference/commands/convert", "reference/python/receipts", "reference/endpoints", "explanation/last-block",
    "results/voice_conversion", "project/changelog",
)  # fmt: skip
# the page for what is not found takes its scripts from the published address
EVERY = sorted({path.relative_to(SITE).with_suffix("").as_posix() for path in SITE.rglob("*.html")} - {"404"})
FRAME = (".md-header", ".md-sidebar--primary", ".md-footer")  # the same around every page
WIDTH = 390  # of a phone


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The site, served on this machine."""
    handler = functools.partial(_Quiet, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    with sync_api.sync_playwright() as tool:
        found = tool.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        yield found
        found.close()


def test_everybody_can_read_it_in_the_light_and_in_the_dark(browser: Any, address: str) -> None:
    page = browser.new_page(color_scheme="light", reduced_motion="reduce")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    every = bool(os.environ.get("SPEECHSSL_EVERY_PAGE"))
    for number, name in enumerate(EVERY if every else KINDS):
        page.set_viewport_size({"width": 1280, "height": 900})
        answered = page.goto(f"{address}/{name}.html")
        assert answered is not None
        assert answered.ok, name
        for scheme in ("light", "dark"):
            if scheme == "dark":
                page.get_by_title("Dark colours").click()
                page.locator("body[data-md-color-scheme=slate]").wait_for(timeout=60_000)
                page.wait_for_timeout(500)  # until the colours have faded
            serious = violations(axe.Axe(), page, scheme, FRAME if number > 1 and not every else ())
            assert serious == [], (name, [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious])
        page.set_viewport_size({"width": WIDTH, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH, name
        page.evaluate("localStorage.clear()")
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    page.close()


def test_the_search_answers_from_the_keyboard_when_the_site_is_opened_from_the_disk(browser: Any) -> None:
    page = browser.new_page()
    page.goto((SITE / "index.html").as_uri())
    page.wait_for_function("typeof document$ !== 'undefined'")
    page.keyboard.press("/")
    page.keyboard.type("telephone", delay=50)
    first = page.locator(".md-search-result__link").first
    first.wait_for(timeout=120_000)
    assert "telephone" in first.get_attribute("href")
    page.close()
