"""As people use it: a Chromium drives the page. Skipped where no Chromium or no Playwright is installed."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from speechssl import audio, bundles, receipts
from speechssl.app.workshop import Workshop
from speechssl.signals import Waveform

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
# for a closed network; the microphone is a tone of Chromium's own
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip
Speech = dict[str, Path]
PATIENCE = 60_000  # milliseconds


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as tool:
        found = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A window of its own; what it showed at the end is kept where $SPEECHSSL_SCREENSHOTS says."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["microphone"])
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.goto(address)
    opened.wait_for_selector("#convert-go")
    yield opened
    if folder := os.environ.get("SPEECHSSL_SCREENSHOTS"):
        opened.screenshot(path=str(Path(folder) / f"{request.node.name}.png"), full_page=True)
    context.close()


def _upload(page: Any, selector: str, path: Path) -> None:
    """Choose a file and wait until it is there."""
    with page.expect_response("**/upload?*"):
        page.locator(selector).set_input_files(path)
    page.wait_for_timeout(500)


def _convert_example(page: Any) -> None:
    page.get_by_role("button", name="Ada as Eric").click()
    page.wait_for_selector("#convert-verdict .card")


def _download(page: Any, button: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator(button).click()
    place = folder / waiting.value.suggested_filename
    waiting.value.save_as(place)
    return place


def test_an_example_in_one_click_then_compare(page: Any, tmp_path: Path) -> None:
    _convert_example(page)
    assert page.locator("#convert-pictures svg").count() == 3
    assert page.locator("#convert-timeline svg").count() == 1
    assert receipts.check(_download(page, "#convert-save", tmp_path)).genuine
    page.get_by_text("Options").first.click()
    page.locator("#convert-k input[type=number]").fill("12")
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-b")
    page.get_by_text("B: eric, uniform, k 12").wait_for()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="streams are coded by ffmpeg")
def test_a_long_recording_is_heard_while_it_is_made(page: Any, tmp_path: Path) -> None:
    ada = audio.read_mono(bundles.clip("ada").path, 16_000).samples
    audio.write(tmp_path / "long.wav", Waveform(torch.cat([ada, ada])[: 16_000 * 45].clone(), 16_000))
    _upload(page, "#convert-source input[type=file]", tmp_path / "long.wav")
    with page.expect_response("**/stream/**"):
        page.locator("#convert-go").click()
    page.wait_for_selector("#convert-verdict .card")
    receipt = receipts.show(_download(page, "#convert-save", tmp_path))
    assert receipt["settings"]["streamed"] is True


def test_upload_report_refusal_consent_clone(page: Any, speech: Speech) -> None:
    _upload(page, "#convert-source input[type=file]", speech["source"])
    page.locator("#convert-kind label", has_text="Recordings").click()
    _upload(page, "#convert-files input[type=file]", speech["reference"])
    page.locator("#convert-report .card").wait_for()
    assert "30 s or more would help" in page.locator("#convert-report").inner_text()
    page.locator("#convert-go").click()
    page.locator("#convert-consent-problem .problem").wait_for()
    assert "Attest first" in page.locator("#convert-consent-problem").inner_text()
    page.locator("#convert-agree input").check()
    page.locator("#convert-who").locator("input, textarea").first.fill("Eric")
    page.locator("#convert-purpose").locator("input, textarea").first.fill("a test")
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-verdict .card")
    assert page.locator("#convert-consent-problem .problem").count() == 0


def test_a_corrupt_file_is_a_sentence_beside_its_field(page: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVEfmt broken")
    _upload(page, "#convert-source input[type=file]", tmp_path / "broken.wav")
    page.locator("#convert-go").click()
    page.locator("#convert-source-problem .problem").wait_for()
    text = page.locator("#convert-source-problem").inner_text()
    assert "roken.wav is not audio" in text
    assert "/" not in text


def test_two_windows_do_not_see_each_other(page: Any, browser: Any, address: str) -> None:
    _convert_example(page)
    other = browser.new_context().new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(address)
    other.wait_for_selector("#convert-go")
    for window, count in ((page, 1), (other, 0)):
        window.get_by_role("tab", name="History").click()
        window.wait_for_timeout(500)
        assert window.locator("#history-table").get_by_text("conversion", exact=True).count() // 2 == count
    other.context.close()


def test_the_microphone(page: Any) -> None:
    page.locator("#convert-source button[aria-label='Record audio']").click()
    page.locator("#convert-source button", has_text="Record").first.click()
    page.wait_for_timeout(1500)
    page.locator("#convert-source button", has_text="Stop").first.click()
    # the player comes once the recording has been sent
    page.locator("#convert-source").get_by_text("0:00").first.wait_for()
    page.wait_for_timeout(2000)
    page.locator("#convert-go").click()
    # Chromium's microphone beeps: the sound is converted, the words are none
    page.wait_for_selector("#convert-verdict .card")


def test_cancel(page: Any, shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from speechssl.app import converting

    real = converting._source

    def slow(*arguments: Any) -> Any:
        time.sleep(2)
        return real(*arguments)

    monkeypatch.setattr(converting, "_source", slow)
    page.get_by_role("button", name="Dan as Cleo").click()
    page.wait_for_timeout(1000)
    page.locator("#convert-cancel").click()
    page.locator("#convert-status .problem").wait_for()
    assert "Cancelled" in page.locator("#convert-status").inner_text()
    page.wait_for_timeout(2500)
    assert shop.running == 0
    assert page.locator("#convert-verdict .card").count() == 0


def test_verify_and_identify(page: Any, speech: Speech, shop: Workshop) -> None:
    page.get_by_role("tab", name="Verify").click()
    page.get_by_role("button", name="Example: one speaker").click()
    page.wait_for_selector("#verify-answer .card.good")
    page.get_by_role("button", name="Example: two speakers").click()
    page.wait_for_selector("#verify-answer .card.bad")
    page.get_by_role("tab", name="Enrol and identify").click()
    page.locator("#enrol-name").locator("input, textarea").first.fill("Eric")
    _upload(page, "#enrol-files input[type=file]", speech["reference"])
    page.locator("#enrol-go").click()
    page.locator("#enrol-table").get_by_text("Eric").first.wait_for(state="attached")
    _upload(page, "#identify-test input[type=file]", speech["reference"])
    page.locator("#identify-go").click()
    page.get_by_text("This is Eric").wait_for()
    page.locator("#enrol-remove").click()
    page.wait_for_timeout(1000)
    with shop.speakers() as store:
        assert store.speakers() == []


def test_units_are_shown_and_spoken(page: Any) -> None:
    page.get_by_role("tab", name="Units").click()
    page.get_by_role("button", name="Example: Cleo").click()
    page.wait_for_selector("#units-picture svg")
    # the picture may be there a moment before the text
    sync_api.expect(page.locator("#units-text textarea")).to_have_value(re.compile("^<unit_"), timeout=PATIENCE)
    page.locator("#units-say").click()
    page.locator("#units-spoken .timestamps").first.wait_for()


def test_batch(page: Any, speech: Speech, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as zipped:
        zipped.write(speech["source"], "one.wav")
        zipped.writestr("two.wav", b"no audio")
    page.get_by_role("tab", name="Batch").click()
    _upload(page, "#batch-zip input[type=file]", tmp_path / "in.zip")
    page.locator("#batch-go").click()
    page.get_by_text("1 of 2 converted.").wait_for()
    made = _download(page, "#batch-save", tmp_path)
    assert "results.csv" in zipfile.ZipFile(made).namelist()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Any, address: str) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, color_scheme="dark").new_page()
    phone.set_default_timeout(PATIENCE)
    phone.goto(address)
    phone.wait_for_selector("#convert-go")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    if folder := os.environ.get("SPEECHSSL_SCREENSHOTS"):
        phone.screenshot(path=str(Path(folder) / "phone.png"), full_page=True)
    phone.context.close()


def test_every_field_and_button_has_a_name(page: Any) -> None:
    """Of those that are shown; what a screen reader would read."""
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input:not([type=file]), textarea, select')]
        .filter(e => e.offsetParent !== null)
        .filter(e => !(e.innerText || e.ariaLabel || e.title || e.placeholder || (e.labels && e.labels.length)
                       || e.getAttribute('aria-labelledby')))
        .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
