"""The page in another language, in a Chromium: every word of it, and nothing that people wrote or made."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import PATIENCE, choose, download, fill, open_on_a_phone, open_tab, upload
from helpers import Spectra

from speechssl.app import languages
from speechssl.app.state import State
from speechssl.receipts import signing
from speechssl.voices import consent as consents

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
pytestmark = pytest.mark.timeout(900)
Speech = dict[str, Path]
Opens = Callable[..., Any]
TABS = ("Umwandeln", "Live", "Vorlesen", "Prüfen", "Einheiten", "Stapel", "Stimmen", "Verlauf")
INNER = ("Eintragen und erkennen", "Kalibrieren", "Vergleichen")
# what a person reads, but what a person wrote
READ = """() => { const found = [], kept = '[translate=no], textarea, code, script, style';
    const shown = (element) => element?.checkVisibility() && !element.closest(kept);
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) if (shown(texts.currentNode.parentElement)) found.push(texts.currentNode.data.trim());
    for (const element of document.querySelectorAll('*'))
        for (const name of ['placeholder', 'aria-label', 'title', 'alt'])
            if (element.checkVisibility() && element.hasAttribute(name)) found.push(element.getAttribute(name));
    for (const input of document.querySelectorAll('input[readonly]')) found.push(input.value);
    return found; }"""
SERIOUS = ("serious", "critical")


@pytest.fixture
def opens(browser: Any, address: str) -> Iterator[Opens]:
    """``opens(locale, ...)``: the page in a window of its own."""
    contexts = []

    def opened(locale: str = "de-DE", path: str = "", script: str = "", **options: Any) -> Any:
        contexts.append(browser.new_context(**{"locale": locale, "viewport": {"width": 1280, "height": 900}} | options))
        window = contexts[-1].new_page()
        window.set_default_timeout(PATIENCE)
        window.add_init_script(f"window.untranslated = new Set(); {script}")
        window.goto(address + path)
        window.locator("#convert-go").wait_for(state="attached")
        return window

    yield opened
    for one in contexts:
        one.close()
