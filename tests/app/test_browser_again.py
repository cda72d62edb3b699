"""A page that is loaded again, or closed and opened again, in a Chromium. Skipped where no Chromium is installed."""

from __future__ import annotations

import math
import re
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from browsing import (
    PATIENCE,
    choose,
    clear_button,
    convert_example,
    download,
    fill,
    fill_number,
    open_tab,
    player_of,
    plays,
    press_surely,
    reads,
    says,
    upload,
    wait_until,
)

from speechssl.app.handlers import speaking
from speechssl.app.state import State
from speechssl.conversion import converters
from speechssl.receipts import signing

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
expect = sync_api.expect
# a busy machine takes minutes for what takes seconds
pytestmark = pytest.mark.timeout(900)


def load_again(page: Any) -> None:
    page.reload()
    page.wait_for_selector("#convert-go")


def another_window(context: Any, address: str) -> Any:
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.goto(address)
    opened.wait_for_selector("#convert-go")
    return opened


def test_settings_recordings_result_and_history_are_there_after_a_reload(
    page: Any, speech: dict[str, Path], tmp_path: Path
) -> None:
    upload(page, "#convert-source", speech["source"])
    choose(page, "#convert-voice", "bundled: beth")
    page.get_by_text("Options").first.click()
    choose(page, "#convert-pitch", "A number")
    fill_number(page, "#convert-pitch-number", "4")
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")
    card, made = page.locator("#convert-status").inner_text(), player_of(page)["file"]
    load_again(page)
    page.wait_for_selector("#convert-status .finished")
    reads(page.locator("#convert-status"), card)
    page.wait_for_function("document.querySelector('#convert-player audio')?.duration > 0")
    plays(page, made)
    assert player_of(page)["paused"]  # nobody asked for it yet
    page.locator("#convert-source .timestamps, #convert-source audio").first.wait_for(state="attached")
    expect(page.locator("#convert-voice input")).to_have_value("bundled: beth")
    open_tab(page, "History")
    page.locator("#history-table").get_by_text(made).first.wait_for(state="attached")
    open_tab(page, "Convert")
    page.get_by_text("Options").first.click()
    expect(page.locator("#convert-pitch-number input[type=number]")).to_have_value("4")
    page.locator("#convert-go").click()
    # the result before is compared with the new one
    page.locator(".tracks").get_by_role("button", name="B: ").wait_for()
    receipt = signing.show(download(page, "#convert-save", tmp_path))
    assert receipt["settings"]["pitch"] == 4
    assert [one["name"] for one in receipt["voices"]] == ["beth"]


@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_a_text_is_there_after_a_reload(page: Any, address: str) -> None:
    open_tab(page, "Speak")
    fill(page, "#speak-text", "A text that took an hour.")
    kept = "localStorage.getItem('speechssl-settings')"
    page.wait_for_function(f"{kept}?.includes('took an hour')")
    page.goto(address)  # at the first tab: that of the text is shown later
    page.wait_for_selector("#convert-go")
    page.wait_for_timeout(1000)
    open_tab(page, "Speak")
    expect(page.locator("#speak-text textarea")).to_have_value("A text that took an hour.")
    assert "took an hour" in page.evaluate(kept)
    page.reload()  # at this tab
    expect(page.locator("#speak-text textarea")).to_have_value("A text that took an hour.")


def test_a_form_that_was_begun_is_there_in_another_language(page: Any, address: str, speech: dict[str, Path]) -> None:
    open_tab(page, "Voices")
    fill(page, "#voices-name", "My note: this is a test")
    upload(page, "#voices-files", speech["reference"])
    page.locator("#voices-report .card").wait_for()
    page.goto(f"{address}/?lang=de")
    page.wait_for_selector("#convert-go")
    open_tab(page, "Stimmen")
    shown = page.locator("#voices-files .file-preview")
    shown.wait_for()
    says(shown, speech["reference"].stem)
    expect(page.locator("#voices-name input, #voices-name textarea").first).to_have_value("My note: this is a test")


def test_a_voice_that_is_chosen_may_be_renamed_and_deleted(page: Any, speech: dict[str, Path], state: State) -> None:
    voice = page.locator("#convert-voice input")
    open_tab(page, "Voices")
    fill(page, "#voices-name", "Oma")
    upload(page, "#voices-files", speech["reference"])
    page.locator("#voices-agree input").check()
    fill(page, "#voices-who", "Ada")
    fill(page, "#voices-purpose", "a test")
    page.locator("#voices-add").click()
    page.get_by_text("Oma is stored").wait_for()
    page.get_by_role("button", name="Convert Oma").click()
    expect(voice).to_have_value("Oma")
    open_tab(page, "Voices")
    choose(page, "#voices-chosen", "Oma")
    fill(page, "#voices-new", "Omi")
    page.locator("#voices-rename").click()
    page.locator("#voices-cards").get_by_text("Omi").first.wait_for(state="attached")
    open_tab(page, "Convert")
    expect(voice).to_have_value("Omi")
    upload(page, "#convert-source", speech["source"])
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")
    open_tab(page, "Voices")
    press_surely(page, "#voices-delete")
    page.get_by_text("Omi is deleted").wait_for()
    open_tab(page, "Convert")
    expect(voice).to_have_value("bundled: eric")
    page.locator("#convert-go").click()
    page.locator("#convert-status").get_by_text("Eric's voice").wait_for()
    assert state.store.library("").list() == []


def test_another_page_that_is_slow_to_come_is_not_overtaken_by_this_one(page: Any, address: str) -> None:
    other = f"{address}/?lang=de"

    def slowly(route: Any) -> None:
        time.sleep(5)
        route.continue_()

    page.route(other, slowly)
    page.goto(other)
    page.wait_for_selector("#convert-go")
    assert page.url == other


def test_what_a_browser_kept_and_the_page_does_not_offer_is_passed_over(page: Any, tmp_path: Path) -> None:
    page.evaluate("""localStorage.setItem("speechssl-settings", JSON.stringify(
        {"convert-voice": "gone", "convert-pitch": ["x"], "convert-k": 1e9, "convert-form": "flac", "unknown": 1}))""")
    load_again(page)
    page.get_by_text("Options").first.click()
    expect(page.get_by_role("radio", name="flac").first).to_be_checked()
    expect(page.locator("#convert-voice input")).to_have_value("bundled: eric")
    convert_example(page)
    settings = signing.show(download(page, "#convert-save", tmp_path))["settings"]
    assert settings["k"] == converters.TABLE[settings["converter"]].neighbours(None)
    assert settings["pitch"] == "target"


def test_a_job_survives_its_tab_and_is_found_by_its_browser_alone(
    page: Any, browser: Any, address: str, held: threading.Event, state: State
) -> None:
    page.get_by_role("button", name="Ada as Eric").click()
    wait_until(lambda: state.jobs.running == 1)
    tab = page.evaluate("sessionStorage.getItem('speechssl-tab')")
    page.close()
    # the service knows it once the connection is gone
    wait_until(lambda: any(one.closed < math.inf and one.busy for one in state.sessions._found.values()))
    stranger = browser.new_context()
    stranger.add_init_script(f"sessionStorage.setItem('speechssl-tab', '{tab}')")
    theirs = another_window(stranger, address)
    again = another_window(page.context, address)
    again.wait_for_selector("#convert-status .running")
    again.reload(wait_until="domcontentloaded")
    again.wait_for_selector("#convert-status .running")
    held.set()
    again.wait_for_selector("#convert-status .finished")
    plays(again, "ada_sentence-as-eric.wav")
    # as long as it took to make it, and the other browser still has nothing, also not after a reload
    load_again(theirs)
    theirs.wait_for_timeout(2000)
    says(theirs.locator("#convert-status"), "Say it in another voice")
    expect(theirs.get_by_text("ada_sentence-as-eric")).to_have_count(0)
    stranger.close()


def test_a_job_that_was_found_again_can_be_cancelled(page: Any, held: threading.Event, state: State) -> None:
    page.get_by_role("button", name="Ada as Eric").click()
    wait_until(lambda: state.jobs.running == 1)
    load_again(page)
    page.wait_for_selector("#convert-status .running")
    page.locator("#convert-cancel").click()
    page.locator("#convert-status .problem").wait_for()
    wait_until(lambda: state.jobs.running == 0)
    # it stays cancelled
    load_again(page)
    page.wait_for_timeout(1500)
    says(page.locator("#convert-status"), "Say it in another voice")


def test_leaving_asks_first_while_a_job_runs(page: Any, held: threading.Event) -> None:
    asks = """() => { const leaving = new Event("beforeunload", {cancelable: true});
                      window.dispatchEvent(leaving); return leaving.defaultPrevented; }"""
    page.get_by_role("button", name="Ada as Eric").click()
    page.wait_for_selector("#convert-status .running")
    assert page.evaluate(asks) is True
    # and who stays has the page that was left, with its connection
    page.evaluate("window.stayed = true")
    page.wait_for_timeout(3000)
    held.set()
    page.wait_for_selector("#convert-status .finished")
    assert page.evaluate("window.stayed") is True


def test_an_answer_that_was_lost_on_the_way_is_asked_for_again(page: Any, speech: dict[str, Path]) -> None:
    lost, end = [], time.monotonic() + 8

    def closes(route: Any) -> None:
        """What Gradio's service says when the last answer before went out as the next press came in."""
        if time.monotonic() > end:
            route.continue_()
        else:
            lost.append(route.request.url)
            route.fulfill(body='data: {"msg": "close_stream"}\n\n', content_type="text/event-stream")

    page.route(re.compile("/queue/data"), closes)
    load_again(page)
    upload(page, "#convert-source", speech["source"])
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")
    assert lost


def test_an_example_whose_answer_was_lost_fills_its_fields_all_the_same(page: Any) -> None:
    lost = []

    def loses(route: Any) -> None:
        """What was sent into a connection that the page had closed a moment before."""
        if lost:
            route.continue_()
            return
        lost.append(route.request.url)
        asked = urllib.request.Request(route.request.url, headers=route.request.all_headers())
        with urllib.request.urlopen(asked, timeout=60) as answers:
            while b"process_generating" not in answers.readline():
                pass
        route.fulfill(body='data: {"msg": "close_stream"}\n\n', content_type="text/event-stream")

    streams: set[Any] = set()
    page.on("request", lambda one: streams.add(one) if "/queue/data" in one.url else None)
    for over in ("requestfinished", "requestfailed"):
        page.on(over, lambda one: streams.discard(one))
    load_again(page)
    page.wait_for_timeout(500)
    while streams:  # the page has not heard all that it asked at its start
        page.wait_for_timeout(500)
    page.route(re.compile("/queue/data"), loses)
    convert_example(page)
    assert lost
    clear_button(page, "#convert-source")
    expect(page.locator("#convert-voice input")).to_have_value(re.compile("eric$"))
