"""As people use it: a Chromium drives the page. Skipped where no Chromium or no Playwright is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from browsing import (
    FAINT,
    PATIENCE,
    WIDER,
    clear_button,
    convert_example,
    download,
    fill,
    in_both_schemes,
    open_on_a_phone,
    open_tab,
    press_surely,
    press_until_finished,
    says,
    serious_faults,
    upload,
    wait_until,
    wait_until_gone,
)
from helpers import Spectra

from speechssl import audio
from speechssl.app.handlers import scores, speaking
from speechssl.app.state import State
from speechssl.receipts import signing
from speechssl.voices import VoiceLibrary
from speechssl.voices import consent as consents

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
expect = sync_api.expect
# a busy machine takes minutes for what takes seconds
pytestmark = pytest.mark.timeout(900)
Speech = dict[str, Path]
TABS = (
    "Convert",
    "Live",
    *(("Speak",) if speaking.available() else ()),
    "Verify",
    "Units",
    "Batch",
    "Voices",
    "History",
)
NAMELESS = """() => [...document.querySelectorAll('button, input:not([type=file]), textarea, select')]
    .filter(e => e.offsetParent !== null)
    .filter(e => !(e.innerText || e.ariaLabel || e.title || e.placeholder || (e.labels && e.labels.length)
                   || e.getAttribute('aria-labelledby')))
    .map(e => e.outerHTML.slice(0, 120))"""


@pytest.mark.same_page
def test_every_field_and_button_has_a_name(page: Any) -> None:
    """Of those that are shown; what a screen reader would read. The first test: nothing is filled in yet."""
    for name in TABS:
        open_tab(page, name)
        page.wait_for_timeout(300)
        assert page.evaluate(NAMELESS) == [], name


def test_two_windows_do_not_see_each_other(page: Any, browser: Any, address: str) -> None:
    convert_example(page)
    other = browser.new_context().new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(address)
    other.wait_for_selector("#convert-go")
    open_tab(page, "History")
    page.locator("#history-table").get_by_text("conversion", exact=True).first.wait_for(state="attached")
    # as much has happened in the other one by the time that it has made something of its own
    other.get_by_role("button", name="Finn as Beth").click()
    other.wait_for_selector("#convert-status .finished")
    open_tab(other, "History")
    other.locator("#history-table").get_by_text("finn_sentence-as-beth.wav").first.wait_for(state="attached")
    expect(other.get_by_text("ada_sentence-as-eric")).to_have_count(0)
    expect(page.get_by_text("finn_sentence-as-beth")).to_have_count(0)
    other.context.close()


@pytest.mark.same_page
@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_a_script_from_a_file_is_spoken_by_two_voices(page: Any, tmp_path: Path) -> None:
    (tmp_path / "play.txt").write_text("eric: Good morning. [pause 1]\nada: It rains.\n")
    open_tab(page, "Speak")
    page.locator("input[type=file][accept*='.srt']").set_input_files(tmp_path / "play.txt")
    expect(page.locator("#speak-text textarea")).to_have_value(re.compile("eric: Good morning"), timeout=PATIENCE)
    press_until_finished(page, "#speak-go", "#speak-status")
    says(page.locator("#speak-status"), re.compile(r"2 voices, \d s, made in"))
    receipt = signing.show(download(page, "#speak-save", tmp_path))
    assert [one["name"] for one in receipt["voices"]] == ["eric", "ada"]


@pytest.mark.same_page
@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_subtitles_from_a_file_are_spoken_in_time(page: Any, tmp_path: Path) -> None:
    (tmp_path / "film.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nGood morning.\n\n2\n00:00:04,000 --> 00:00:04,300\nIt rains all day.\n"
    )
    open_tab(page, "Speak")
    page.locator("input[type=file][accept*='.srt']").set_input_files(tmp_path / "film.srt")
    expect(page.locator("#speak-text textarea")).to_have_value(re.compile("00:00:01,000"))
    press_until_finished(page, "#speak-go", "#speak-status")
    says(page.locator("#speak-status"), re.compile(r"[Cc]ue 2 \(00:00:04,000\) ends \d\.\d s late"))
    titles = download(page, "#speak-titles", tmp_path).read_text()
    assert re.findall(r"(\S+) -->", titles) == ["00:00:01,000", "00:00:04,000"]
    assert 4.5 < audio.read(download(page, "#speak-save", tmp_path)).seconds < 7


@pytest.mark.same_page
@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_a_lexicon_file_is_read_and_its_errors_name_the_line(page: Any, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("tomato T AH0 M AA1 T OW2\ngif JH XX F\n")
    open_tab(page, "Speak")
    page.get_by_text("Pronunciations").first.click()
    page.locator("input[type=file][accept*='.dict']").set_input_files(tmp_path / "words.txt")
    lexicon = page.locator("#speak-lexicon textarea")
    expect(lexicon).to_have_value(re.compile("XX"))
    page.locator("#speak-go").click()
    page.locator("#speak-lexicon-problem .problem").wait_for()
    says(page.locator("#speak-lexicon-problem"), "'gif' (line 2): 'JH XX F' has the sound 'XX'")
    lexicon.fill("gif JH IH1 F")
    press_until_finished(page, "#speak-go", "#speak-status")
    expect(page.locator("#speak-lexicon-problem .problem")).to_have_count(0)


@pytest.mark.same_page
@pytest.mark.skipif(not speaking.available(), reason="no text model in the package")
def test_speak(page: Any, tmp_path: Path) -> None:
    open_tab(page, "Speak")
    expect(page.locator("#speak-second")).to_have_count(0)  # nothing is blended here
    fill(page, "#speak-text", " ")
    page.locator("#speak-go").click()
    page.locator("#speak-text-problem .problem").wait_for()
    fill(page, "#speak-text", "Good morning. It rains.")
    press_until_finished(page, "#speak-go", "#speak-status")
    expect(page.locator("#speak-text-problem .problem")).to_have_count(0)
    assert signing.check(download(page, "#speak-save", tmp_path)).genuine
    titles = download(page, "#speak-titles", tmp_path)
    assert titles.suffix == ".srt"
    assert "Good morning." in titles.read_text()


@pytest.mark.same_page
def test_voices_are_stored_shown_renamed_exported_imported_deleted(page: Any, speech: Speech, tmp_path: Path) -> None:
    open_tab(page, "Voices")
    fill(page, "#voices-name", "Beth of today")
    upload(page, "#voices-files", speech["other"])
    page.locator("#voices-report .card").wait_for()
    page.locator("#voices-add").click()
    page.locator("#voices-consent-problem .problem").wait_for()
    page.locator("#voices-agree input").check()
    fill(page, "#voices-who", "Beth")
    fill(page, "#voices-purpose", "a test")
    page.locator("#voices-add").click()
    page.get_by_text("Beth of today is stored").wait_for()
    # nothing of it becomes a part of the next voice
    expect(page.locator("#voices-name textarea, #voices-name input")).to_have_value("")
    expect(page.locator("#voices-agree input")).not_to_be_checked()
    page.locator("#voices-files .file-preview").wait_for(state="detached")
    page.locator("#voices-facts .card").wait_for()
    says(page.locator("#voices-facts"), "a test")
    fill(page, "#voices-new", "beth-two")
    page.locator("#voices-rename").click()
    page.locator("#voices-cards").get_by_text("beth-two").first.wait_for(state="attached")
    page.locator("#voices-export").click()
    page.locator("#voices-saved").wait_for()
    exported = download(page, "#voices-saved", tmp_path)
    # it asks first
    page.locator("#voices-delete").click()
    page.get_by_role("button", name="No, keep it").locator("visible=true").click()
    says(page.locator("#voices-facts"), "beth-two")
    press_surely(page, "#voices-delete")
    wait_until_gone(page, "#voices-cards", "beth-two")
    page.get_by_text("Import a voice file").click()
    upload(page, "#voices-import", exported)
    fill(page, "#voices-import-name", "beth-three")
    page.locator("#voices-import-go").click()
    page.locator("#voices-cards").get_by_text("beth-three").first.wait_for(state="attached")
    # nothing is said any more of the one that was deleted
    expect(page.locator("#voices-chosen-problem")).not_to_contain_text("deleted")
    # it can be chosen at once, and was stored with an attestation: nobody is asked again
    open_tab(page, "Convert")
    page.locator("#convert-voice input").click()
    page.get_by_role("option", name="beth-three").click()
    upload(page, "#convert-source", speech["source"])
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")
    open_tab(page, "Voices")
    press_surely(page, "#voices-delete")
    wait_until_gone(page, "#voices-cards", "beth-three")


def test_a_voice_of_a_stranger_is_text_and_runs_nothing(page: Any, speech: Speech, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=document.title='owned'>"
    shutil.copy(speech["other"], recording := tmp_path / f"{hostile}.wav")
    attested = consents.attest(hostile, hostile)
    theirs = VoiceLibrary(tmp_path / "theirs").add("mallory", [recording], Spectra(), consent=attested).path
    open_tab(page, "Voices")
    page.get_by_text("Import a voice file").click()
    upload(page, "#voices-import", theirs)
    page.locator("#voices-import-go").click()
    page.locator("#voices-cards").get_by_text("mallory").first.wait_for(state="attached")
    page.locator("#voices-facts").get_by_text("onerror=").first.wait_for()
    expect(page.locator("img[src=x]")).to_have_count(0)
    # and if it were taken for a tag, the policy of the page would not let it run
    page.evaluate("tag => document.body.insertAdjacentHTML('beforeend', tag)", hostile)
    page.wait_for_timeout(1000)
    expect(page.locator("img[src=x]")).to_have_count(1)
    assert page.title() != "owned"
    press_surely(page, "#voices-delete")
    wait_until_gone(page, "#voices-cards", "mallory")


@pytest.mark.same_page
def test_calibrate_from_a_zip(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fitted is tested elsewhere; here that the page gives the zip and shows the answer."""
    facts = {"trials": 100, "targets": 20, "eer": 0.05, "threshold": 0.5, "threshold_low": 0.4, "threshold_high": 0.6,
             "cllr": 0.2}  # fmt: skip
    given: list[Any] = []
    real, begun = scores.calibrate, threading.Event()

    def fit(models: Any, store: Any, settings: Any, job: Any, archive: Any) -> Any:
        if archive is None:
            return real(models, store, settings, job, archive)
        given.append(archive.name)
        while len(given) == 1:  # the first one takes until it is cancelled
            begun.set()
            time.sleep(0.01)
        return facts

    monkeypatch.setattr(scores, "calibrate", fit)
    with zipfile.ZipFile(tmp_path / "speakers.zip", "w") as zipped:
        zipped.writestr("ada/one.wav", b"")
    open_tab(page, "Verify")
    open_tab(page, "Calibrate")
    page.locator("#calibrate-go").click()
    page.locator("#calibrate-problem .problem").wait_for()
    upload(page, "#calibrate-zip", tmp_path / "speakers.zip")
    page.locator("#calibrate-go").click()
    assert begun.wait(PATIENCE / 1000)
    page.locator("#calibrate-cancel").click()
    says(page.locator("#calibrate-problem"), "Cancelled")
    expect(page.locator("#calibrate-cancel")).to_be_hidden()
    page.locator("#calibrate-go").click()
    page.locator("#calibrate-answer .card").wait_for()
    says(page.locator("#calibrate-answer"), "5.0 %")
    expect(page.locator("#calibrate-problem .problem")).to_have_count(0)
    assert given == ["speakers.zip"] * 2
    press_surely(page, "#calibrate-reset")
    page.get_by_text("There is no calibration of your own").wait_for()


@pytest.mark.same_page
def test_verify_and_identify(page: Any, speech: Speech, state: State) -> None:
    open_tab(page, "Verify")
    open_tab(page, "Compare")
    page.get_by_role("button", name="Example: one speaker").click()
    page.wait_for_selector("#verify-answer .card.good")
    page.get_by_role("button", name="Example: two speakers").click()
    page.wait_for_selector("#verify-answer .card.bad")
    says(page.locator("#verify-answer"), "less than 1 %")
    page.locator("#verify-chart svg").wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    heights = "all => all.map((one) => one.getBoundingClientRect().height)"
    wait_until(lambda: min(page.locator("#verify-chart text").evaluate_all(heights), default=0) > 10)
    page.set_viewport_size({"width": 1280, "height": 900})
    open_tab(page, "Enrol and identify")
    fill(page, "#enrol-name", "Eric")
    upload(page, "#enrol-files", speech["reference"])
    page.locator("#enrol-go").click()
    page.locator("#enrol-table").get_by_text("Eric").first.wait_for(state="attached")
    upload(page, "#identify-test", speech["reference"])
    page.locator("#identify-go").click()
    page.get_by_text("This is Eric").wait_for()
    page.locator("#identify-answer td").first.evaluate("cell => cell.textContent += ' von Hohenzollern-Sigmaringen'")
    page.set_viewport_size({"width": 390, "height": 844})
    wait_until(lambda: page.evaluate(WIDER, "#identify-answer table") == 0)
    page.set_viewport_size({"width": 1280, "height": 900})
    clear_button(page, "#identify-test").click()
    upload(page, "#identify-test", speech["source"])
    page.locator("#identify-go").click()
    page.get_by_text("Nobody who is enrolled").wait_for()
    # the fields are empty for the next person, of whom a recording is somebody's already
    expect(page.locator("#enrol-files .file-preview")).to_have_count(0)
    fill(page, "#enrol-name", "Bob")
    upload(page, "#enrol-files", speech["reference"])
    page.locator("#enrol-go").click()
    page.locator("#enrol-answer .card.warn").get_by_text("the same recording is enrolled as Eric").wait_for()
    for name in ("Bob", "Eric"):
        page.locator("#enrol-table").get_by_role("gridcell", name=name, exact=True).click()
        expect(page.locator("#enrol-name").get_by_role("textbox")).to_have_value(name)
        page.locator("#enrol-remove").click()
        expect(page.locator("#enrol-remove-question strong")).to_have_text(name)
        page.locator("#enrol-remove-yes").click()
        page.get_by_text(f"{name} is removed").wait_for()
        expect(page.locator("#identify-answer")).not_to_contain_text("Nobody who is enrolled")
    with state.store.speakers() as speakers:
        assert speakers.speakers() == []


@pytest.mark.same_page
def test_units_are_shown_saved_and_spoken(page: Any, tmp_path: Path) -> None:
    open_tab(page, "Units")
    page.get_by_role("button", name="Example: Cleo").click()
    page.wait_for_selector("#units-picture svg")
    # the picture may be there a moment before the text
    expect(page.locator("#units-text textarea")).to_have_value(re.compile("^<unit_"))
    # each has its name, and the picture can be scrolled by keys
    first = re.match(r"<unit_(\d+)>", page.locator("#units-text textarea").input_value())
    assert first
    expect(page.locator("#units-picture text").first).to_have_text(first.group(1))
    expect(page.locator("#units-picture .scrolled")).to_have_attribute("tabindex", "0")
    saved = json.loads(download(page, "#units-save", tmp_path).read_text())
    assert saved["units"][0] == int(first.group(1))
    page.locator("#units-say").click()
    page.locator("#units-spoken .timestamps").first.wait_for()
    # one unit less is as long as before, but for this unit
    written = page.locator("#units-text textarea").input_value()
    fill(page, "#units-text", written[written.index(">") + 1 :])
    page.locator("#units-say").click()
    with page.expect_download() as waiting:
        page.locator("#units-spoken").get_by_text("units-beth-2.wav").or_(
            page.locator("#units-spoken a[download]")
        ).last.click()
    waiting.value.save_as(tmp_path / "spoken.wav")
    assert 0.9 * saved["seconds"] < audio.info(tmp_path / "spoken.wav").seconds <= saved["seconds"] + 0.1


@pytest.mark.same_page
def test_batch(page: Any, speech: Speech, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as zipped:
        zipped.write(speech["source"], "one.wav")
        zipped.writestr("two.wav", b"no audio")
    open_tab(page, "Batch")
    page.locator("#batch-go").click()
    page.locator("#batch-zip-problem .problem").wait_for()
    assert page.evaluate("getComputedStyle(document.querySelector('p.problem')).color") == "rgb(192, 47, 71)"
    upload(page, "#batch-zip", tmp_path / "in.zip")
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#batch-go").click()
    page.get_by_text("1 of 2 converted.").wait_for()
    wait_until(lambda: page.evaluate(WIDER, "#batch-status table") == 0)
    says(page.locator("#batch-status"), "two.wav is not audio")
    made = download(page, "#batch-save", tmp_path)
    assert "results.csv" in zipfile.ZipFile(made).namelist()


def test_several_recordings_at_once_keep_their_names(page: Any, speech: Speech, tmp_path: Path) -> None:
    given = [tmp_path / name for name in ("Große Übung é.wav", "你好.wav")]
    for place in given:
        shutil.copy(speech["source"], place)
    (tmp_path / "notes.txt").write_text("no recording")
    open_tab(page, "Batch")
    page.locator("#batch-zip input[type=file]").first.set_input_files([*given, tmp_path / "notes.txt"])
    page.locator("#batch-zip").get_by_text("notes").first.wait_for()
    page.locator("#batch-go").click()
    page.get_by_text("2 of 3 converted.").wait_for()
    says(page.locator("#batch-status"), "Not taken", "Große Übung é.wav")
    names = zipfile.ZipFile(download(page, "#batch-save", tmp_path)).namelist()
    assert len([name for name in names if "Große_Übung_é" in name or "你好" in name]) == 2


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Any, address: str) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, color_scheme="dark").new_page()
    phone.set_default_timeout(PATIENCE)
    phone.goto(address)
    phone.wait_for_selector("#convert-go")
    for name in TABS:
        open_on_a_phone(phone, name)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390, name
    if folder := os.environ.get("SPEECHSSL_SCREENSHOTS"):
        phone.screenshot(path=str(Path(folder) / "phone.png"), full_page=True)
    phone.context.close()


def test_people_with_disabilities_can_use_every_tab_in_the_light_and_in_the_dark(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    convert_example(page)
    page.get_by_text("Details").first.click()
    page.get_by_text("Options").first.click()
    faults, faint = [], []
    for scheme in in_both_schemes(page):
        faults += serious_faults(axe, page, TABS, scheme)
        for name in TABS:
            open_tab(page, name)
            faint += page.evaluate(FAINT)
    assert faint == []
    assert faults == []


def test_the_page_is_in_english_where_it_does_not_know_the_language(browser: Any, address: str) -> None:
    for locale in ("fr-FR", "ar"):
        window = browser.new_context(locale=locale).new_page()
        window.set_default_timeout(PATIENCE)
        window.goto(address)
        window.get_by_text("Click to Upload").first.wait_for()
        assert window.evaluate("[document.documentElement.lang, document.documentElement.dir || 'ltr']") == [
            "en",
            "ltr",
        ]
        window.context.close()


def test_an_address_opens_its_tab(browser: Any, address: str) -> None:
    window = browser.new_context().new_page()
    window.set_default_timeout(PATIENCE)
    window.goto(f"{address}/#units")
    window.locator("#units-go").wait_for()
    expect(window.locator("#convert-go")).to_be_hidden()
    window.context.close()


def test_a_page_without_https_says_what_the_microphone_needs(browser: Any, address: str) -> None:
    window = browser.new_context().new_page()
    window.set_default_timeout(PATIENCE)
    window.add_init_script("Object.defineProperty(window, 'isSecureContext', {get: () => false})")
    window.goto(address)
    window.wait_for_selector("#convert-go")
    window.get_by_text("The microphone needs https").first.wait_for()
    window.context.close()
