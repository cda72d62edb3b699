"""Clicks and seconds from a page that is open to sound, printed; clicks are checked, seconds depend on the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import HEARD, fill, upload

from speechssl.app.state import State
from speechssl.app.tabs import parts

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
# a busy machine takes minutes for what takes seconds
pytestmark = pytest.mark.timeout(900)
SOUND = "window.heard.length || document.querySelector('#convert-player audio')?.currentTime > 0"


class Hand:
    """Presses, counts the presses, and prints them."""

    def __init__(self, page: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.page, self.capsys, self.clicks = page, capsys, 0

    def press(self, element: Any) -> None:
        self.clicks += 1
        element.click()

    def choose_file(self, field: str, path: Path) -> None:
        self.clicks += 1  # the system's own list of files is not counted
        upload(self.page, field, path)

    def hear(self, what: str, press: Callable[[], None]) -> None:
        self.page.evaluate(HEARD)
        begun = time.perf_counter()
        press()
        self.page.wait_for_function(SOUND)
        seconds = time.perf_counter() - begun
        with self.capsys.disabled():
            print(f"\n{what}: {self.clicks} click{'s' * (self.clicks > 1)}, sound {seconds:.1f} s after the last")


@pytest.fixture
def hand(page: Any, state: State, capsys: pytest.CaptureFixture[str]) -> Hand:
    # a service loads them while a person reads the page
    state.models.system("tiny")
    state.models.embedder()
    return Hand(page, capsys)


def attest(hand: Hand) -> None:
    """Not counted: consent takes a tick and two names, which the browser keeps."""
    hand.page.locator("#convert-agree input").check()
    fill(hand.page, "#convert-who", "Ada")
    fill(hand.page, "#convert-purpose", "a test")


def test_an_example_takes_one_click(page: Any, hand: Hand) -> None:
    hand.hear("example", lambda: hand.press(page.get_by_role("button", name="Ada as Eric")))
    assert hand.clicks == 1


def test_two_files_of_ones_own_take_four_clicks_and_consent(page: Any, hand: Hand, speech: dict[str, Path]) -> None:
    hand.choose_file("#convert-source", speech["source"])
    hand.press(page.get_by_role("radio", name=parts.FILES).first)
    hand.choose_file("#convert-files", speech["reference"])
    attest(hand)
    hand.hear("own two files", lambda: hand.press(page.locator("#convert-go")))
    assert hand.clicks <= 6


def test_ones_own_voice_takes_a_text_to_read_and_five_clicks(page: Any, hand: Hand, speech: dict[str, Path]) -> None:
    hand.choose_file("#convert-source", speech["source"])
    hand.press(page.get_by_role("radio", name=parts.MICROPHONE).first)
    page.get_by_text("The North Wind and the Sun").locator("visible=true").wait_for()
    hand.press(page.locator("#convert-microphone button", has_text="Record").first)
    page.wait_for_timeout(4000)
    hand.press(page.locator("#convert-microphone button", has_text="Stop").first)
    page.locator("#convert-microphone .timestamps").first.wait_for()
    attest(hand)
    page.locator("#convert-go").wait_for()
    assert hand.clicks + 1 <= 8
    # what Chromium's microphone beeps is no voice, and the page says so
    hand.press(page.locator("#convert-go"))
    page.locator("#convert-status").locator(".failed, .finished").first.wait_for()
    with hand.capsys.disabled():
        print(f"\nmicrophone: {hand.clicks} clicks")
