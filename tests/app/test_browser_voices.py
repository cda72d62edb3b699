"""The library of voices, settings that are kept with a voice, and presets, in a Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import (
    PATIENCE,
    WIDER,
    choose,
    convert_example,
    download,
    fill,
    fill_number,
    is_in_view,
    open_tab,
    reads,
    says,
    upload,
    wait_until,
)

from speechssl import audio
from speechssl.app.state import State
from speechssl.app.tabs.options import presets_in
from speechssl.receipts import signing
from speechssl.voices import consent as consents
from speechssl.voices.clips import clip
from speechssl.voices.notes import Notes

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
expect = sync_api.expect
# a busy machine takes minutes for what takes seconds
pytestmark = pytest.mark.timeout(900)
HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module", autouse=True)
def mine(state: State) -> Iterator[None]:
    """A stored voice that is described by somebody who knows HTML."""
    system, library = state.models.system("tiny"), state.store.library()
    notes = Notes(speech_seconds=23.0).described(f"Warm {HOSTILE}", ["audiobook", HOSTILE[:32]])
    library.add("mine", clip("ada").path, system.encoder, system.value_encoder, notes=notes,
                consent=consents.attest("Ada", "a test"))  # fmt: skip
    yield
    library.remove("mine")


@pytest.mark.same_page
def test_the_library_says_what_a_voice_is_and_finds_it(page: Any) -> None:
    open_tab(page, "Voices")
    card = page.locator(".voice", has_text="mine")
    card.wait_for()
    says(card, "24 s · 1 recording · ", "consent of Ada · Fair: 23 s of speech; 30 s or more would help")
    says(card, f"Warm {HOSTILE}")  # it is a text, and runs nothing
    expect(page.locator("img[src=x]")).to_have_count(0)
    assert page.title() != "owned"
    names = page.locator(".voice:visible h3")
    reads(names, ["mine", "ada", "beth", "cleo", "dan", "eric", "finn"])
    fill(page, "#voices-search", "WARM audio")
    reads(names, ["mine"])
    fill(page, "#voices-search", "nobody's")
    expect(names).to_have_count(0)
    expect(page.get_by_text("No voice has these words.")).to_be_visible()
    fill(page, "#voices-search", "bundled er")
    reads(names, ["eric"])
    fill(page, "#voices-search", "")


@pytest.mark.same_page
@pytest.mark.parametrize(("name", "seconds"), [("mine", 6.0), ("beth", audio.info(clip("beth").path).seconds)])
def test_a_voice_of_the_library_is_heard(page: Any, name: str, seconds: float) -> None:
    open_tab(page, "Voices")
    page.get_by_role("button", name=f"Play {name}", exact=True).click()
    page.locator(".heard").get_by_text(name, exact=True).wait_for()
    page.wait_for_function("document.querySelector('.heard audio').currentTime > 0.3")
    page.wait_for_function(f"Math.abs(document.querySelector('.heard audio').duration - {seconds}) < 0.1")
    reads(page.locator(".heard"), name)
    page.evaluate("document.querySelector('.heard audio').pause()")
    page.get_by_role("button", name=f"Play {name}", exact=True).click()  # once more, from the start
    page.wait_for_function("!document.querySelector('.heard audio').paused")


@pytest.mark.same_page
def test_a_voice_is_described_where_it_is_listed(page: Any, state: State) -> None:
    open_tab(page, "Voices")
    # nothing is saved for a voice whose description is not shown
    page.locator("#voices-note").click()
    page.locator("#voices-chosen-problem .problem").get_by_text("Choose a voice.").wait_for()
    page.get_by_role("button", name="Edit mine").click()
    expect(page.locator("#voices-tags input")).to_have_value(re.compile("audiobook"))
    before = state.store.library().show("mine").notes
    fill(page, "#voices-description", "Slow and low")
    fill(page, "#voices-tags", "podcast, , low")
    page.locator("#voices-note").click()
    page.locator(".voice", has_text="Slow and low").wait_for()
    notes = state.store.library().show("mine").notes
    assert (notes.description, notes.tags) == ("Slow and low", ("podcast", "low"))
    assert notes.speech_seconds == before.speech_seconds
    fill(page, "#voices-tags", "x" * 33)
    page.locator("#voices-note").click()
    page.locator("#voices-chosen-problem .problem").get_by_text("A tag is").wait_for()
    assert state.store.library().show("mine").notes == notes


def test_settings_kept_with_a_voice_are_used_when_it_is_chosen(page: Any, state: State, tmp_path: Path) -> None:
    open_tab(page, "Voices")
    page.get_by_role("button", name="Convert mine").click()
    voice, pitch = page.locator("#convert-voice input"), page.locator("#convert-pitch input")
    expect(voice).to_have_value("mine")
    page.locator("#convert-go").wait_for()
    page.get_by_text("Options").first.click()
    choose(page, "#convert-pitch", "A number")
    fill_number(page, "#convert-pitch-number", "-3")
    choose(page, "#convert-tempo", "Of the voice")
    page.locator("#convert-keep").click()
    page.locator("#convert-settings").get_by_text("Settings of mine: pitch -3, tempo target.").wait_for()
    assert state.store.library().show("mine").notes.settings == {"pitch": "-3", "tempo": "target"}
    # those from before come back with another voice, and those of the voice with itself, by its card too
    choose(page, "#convert-voice", "bundled: eric")
    expect(pitch).to_have_value("Of the voice")
    reads(page.locator("#convert-settings"), "")
    open_tab(page, "Voices")
    page.get_by_role("button", name="Convert mine").click()
    expect(pitch).to_have_value("A number")
    upload(page, "#convert-source", clip("eric", "sentence").path)
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")
    settings = signing.show(download(page, "#convert-save", tmp_path))["settings"]
    assert (settings["pitch"], settings["tempo"]) == (-3, "target")
    # a bundled voice has no file to keep them in
    choose(page, "#convert-voice", "bundled: eric")
    page.locator("#convert-keep").click()
    page.locator("#convert-options-problem .problem").get_by_text("kept with a stored voice").wait_for()


def test_a_preset_is_saved_picked_after_a_reload_and_forgotten(page: Any, tmp_path: Path) -> None:
    page.get_by_text("Options").first.click()
    choose(page, "#convert-loudness", "A number")
    fill_number(page, "#convert-loudness-number", "-30")
    fill(page, "#convert-preset", "quiet")
    page.locator("#convert-preset input").press("Enter")
    page.locator("#convert-preset-save").click()
    page.wait_for_function("localStorage.getItem('speechssl-settings')?.includes('quiet')")
    choose(page, "#convert-loudness", "As it comes")
    page.reload()
    page.wait_for_selector("#convert-go")
    open_tab(page, "Batch")  # every tab has all presets
    page.get_by_text("Options").locator("visible=true").first.click()
    choose(page, "#batch-preset", "quiet")
    expect(page.locator("#batch-loudness-number input[type=number]")).to_have_value("-30")
    open_tab(page, "Convert")
    page.get_by_text("Options").first.click()
    choose(page, "#convert-preset", "quiet")
    expect(page.locator("#convert-loudness-number input[type=number]")).to_have_value("-30")
    convert_example(page)
    assert signing.show(download(page, "#convert-save", tmp_path))["settings"]["loudness"] == "-30"
    page.locator("#convert-preset-forget").click()
    page.wait_for_function("!localStorage.getItem('speechssl-settings').includes('quiet')")


def test_presets_that_a_browser_kept_and_cannot_be_are_left_out() -> None:
    kept = '{"good": {"pitch": "4"}, "\\u202e": {}, "bad": {"volume": "11"}, "worse": [1], "worst": null}'
    assert presets_in(kept) == {"good": {"pitch": "4"}}
    assert presets_in("[" * 100_000) == presets_in("nothing") == presets_in(None) == presets_in("[1]") == {}


@pytest.mark.same_page
def test_a_list_closes_as_the_focus_leaves_it_and_is_chosen_from_by_keys(page: Any) -> None:
    open_tab(page, "Convert")
    voice, lists = page.locator("#convert-voice input"), page.locator("[role=listbox]:visible")
    for keys in (["Tab"], ["Shift+Tab"], ["z", "Tab"]):
        voice.focus()
        lists.wait_for()
        for key in keys:
            page.keyboard.press(key)
        expect(lists, str(keys)).to_have_count(0)
    voice.focus()
    lists.wait_for()
    page.keyboard.press("Control+a")
    page.keyboard.type("cleo")  # shows those with these letters alone
    wait_until(lambda: page.locator("[role=option]:visible").count() == 1)
    page.keyboard.press("Enter")
    expect(voice).to_have_value("bundled: cleo")
    voice.focus()
    lists.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(voice).to_have_value("bundled: dan")
    choose(page, "#convert-voice", "bundled: eric")
    expect(voice).to_have_value("bundled: eric")


@pytest.mark.same_page
def test_a_file_of_another_kind_is_explained(page: Any, tmp_path: Path) -> None:
    open_tab(page, "Convert")
    for name, field, said in (
        ("trip.mp4", "#convert-source input[type=file]", "is a video: press “Take the words of a video”."),
        ("notes.txt", "#convert-source input[type=file]", "is not a recording of sound."),
        ("talk.opus", "input[accept='video/*']", "is not a video."),
    ):
        (tmp_path / name).write_bytes(b"nothing")
        page.locator(field).first.set_input_files(tmp_path / name)
        page.locator("[data-testid=toast-text]").get_by_text(f"{name} {said}", exact=True).wait_for()
    while (close := page.locator("[data-testid=toast-close]")).count():
        close.first.click()
        page.wait_for_timeout(500)


def test_on_a_phone_the_address_chooses_the_tab(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    phone = context.new_page()
    phone.set_default_timeout(PATIENCE)
    phone.goto(f"{address}/#voices")
    phone.locator(".voice").first.wait_for()
    # the player comes into view, wherever the card is and however long the name
    phone.get_by_role("button", name="Play finn", exact=True).click()
    phone.locator(".heard").get_by_text("finn", exact=True).wait_for()
    wait_until(lambda: is_in_view(phone, ".heard audio"))
    phone.locator(".heard span").evaluate("name => name.textContent = 'Bartholomäus von Hohenzollern-Sigmaringen'")
    wait_until(lambda: phone.locator(".heard audio").bounding_box()["width"] > 200)
    phone.get_by_role("button", name="Edit mine").click()
    phone.locator("#voices-facts .card").wait_for()
    wait_until(lambda: phone.evaluate(WIDER, "#voices-facts table") == 0)
    chosen = phone.locator("#voices-chosen input")
    room = chosen.evaluate("field => parseFloat(getComputedStyle(field).paddingRight)")
    right = chosen.evaluate("field => field.getBoundingClientRect().right")
    assert right - room <= phone.locator("#voices-chosen .icon-wrap").bounding_box()["x"]
    for inner, button in (("compare", "#verify-go"), ("enrol-and-identify", "#enrol-go")):
        phone.goto(f"{address}/#{inner}")
        phone.reload()
        phone.locator(button).wait_for()
        expect(phone).to_have_url(re.compile(f"#{inner}$"))
    context.close()
