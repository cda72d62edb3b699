"""The page in another language, in a Chromium: every word of it, and nothing that people wrote or made."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from browsing import (
    CUT,
    PATIENCE,
    choose,
    download,
    fill,
    open_on_a_phone,
    open_tab,
    reads,
    says,
    serious_faults,
    upload,
    wait_until,
)
from helpers import Spectra

from speechssl.app import languages
from speechssl.app.page import TABS as ENGLISH
from speechssl.app.state import State
from speechssl.receipts import signing
from speechssl.voices import consent as consents

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
expect = sync_api.expect
pytestmark = pytest.mark.timeout(900)
Speech = dict[str, Path]
Opens = Callable[..., Any]
TABS = ("Umwandeln", "Live", "Vorlesen", "Prüfen", "Einheiten", "Stapel", "Stimmen", "Verlauf")
INNER = ("Wer spricht?", "Kalibrieren", "Vergleichen")
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


@pytest.fixture(scope="module")
def window(browser: Any) -> Iterator[Any]:
    """An empty page with the German words."""
    found = browser.new_page()
    found.set_content("<!doctype html><html lang='de'><body></body></html>")
    found.add_script_tag(content=languages._scripts("de").decode())
    yield found
    found.close()


def walk(page: Any) -> None:
    """Open every tab, and unfold everything on it."""
    for name in TABS:
        open_tab(page, name)
        for inner in INNER if name == "Prüfen" else ():
            open_tab(page, inner)
            page.wait_for_timeout(300)
        folded = page.locator("[role=tabpanel]:visible button.label-wrap:visible:not(.open)")
        while folded.count():
            folded.first.click()
        page.wait_for_timeout(500)
        left = sorted(english_in(page))
        assert left == [], f"{name}: {left}"


def english_in(page: Any) -> set[str]:
    """What a person reads that is English and has a German word."""
    words = languages.words("de")
    return {text for text in page.evaluate(READ) if words.get(text, text) != text}


def missed(page: Any) -> list[str]:
    """Texts without a German word, but for names, units and the words that Gradio has in German itself."""
    return sorted(text for text in page.evaluate("[...untranslated]") if not FOREIGN.fullmatch(text))


# names of voices, files, models, converters and formats; numbers with units; pronunciations; Gradio's own German
FOREIGN = re.compile(
    r"speechssl|tiny|auto|regression|wav|flac|mp3|tomato T AH0 M AA1 T OW2|.*\.(wav|opus|json|zip)|Fake .*Input.*"
    r"|Details|Logo|[-\d./]+ ?(s|x|dB|Hz|kHz|LUFS)|SHA-256 \w+|eric, regression, k 3|\S*Audio\S*"
    r"|Audio hier ablegen|Datei hier ablegen|- oder -|Hochladen|Laden(\.\.\.)?|Löschen|Einstellungen|Abspielen|Pause"
    r"|Aufnehmen|Fortsetzen|Stopp|Herunterladen|Kein Mikrofon gefunden|Über API verwenden"
    r"|Laden Sie eine Audiodatei hier ab, um sie hochzuladen\."
)


def test_every_tab_is_german_in_a_german_browser(opens: Opens) -> None:
    page = opens()
    assert page.evaluate("[document.documentElement.lang, navigator.language, navigator.languages[0]]") == ["de"] * 3
    page.get_by_text("Audio hier ablegen").first.wait_for()  # a word of Gradio's own
    walk(page)
    assert missed(page) == []
    reads(page.locator("[data-tab-id=live]"), "Live")


def test_a_job_says_how_far_it_is_and_how_it_ended_in_german(opens: Opens, tmp_path: Path) -> None:
    page = opens()
    page.get_by_role("button", name="Ada als Eric").click()
    page.wait_for_selector("#convert-status .finished")
    says(page.locator("#convert-status"), re.compile(r"Stimme von Eric, \d s, erzeugt in \d+,\d s"))
    says(page.locator("#convert-status"), re.compile(r"Klingt wie Eric \((mehr als )?\d\d %\)\."))
    reads(page.locator("#convert-player .tracks button"), ["Ergebnis", "Quelle", "Stimme"])
    page.locator("#convert-details").get_by_text("Details").click()
    page.get_by_text("Geht als Eric durch").wait_for()
    says(page.locator("#convert-verdict"), re.compile(r"Score 0,\d+, angenommen ab 0,\d+; "))
    reads(page.locator("#convert-pictures figcaption"), ["Quelle", "Ergebnis", "Ziel"])
    # the file says the same in every language
    assert signing.show(download(page, "#convert-save", tmp_path))["voices"][0]["name"] == "eric"
    open_tab(page, "Verlauf")
    page.locator(".job.done").wait_for()
    says(page.locator(".job"), re.compile(r"Umwandeln: fertig in \d+,\d s"))
    reads(page.locator(".job h3"), "ada_sentence.wav als Eric")
    page.locator(".job").get_by_text("Protokoll").click()
    steps = [line.split(": ", 1)[1] for line in page.locator(".job li").all_inner_texts()]
    assert steps[-7:] == ["lädt das Modell tiny", "kodiert die Quelle", "kodiert die Stimme", "wandelt um", "schreibt",
                          "prüft das Ergebnis", "fertig"]  # fmt: skip
    page.locator("#history-table td").get_by_text("Umwandlung", exact=True).first.wait_for(state="attached")
    assert english_in(page) == set()
    assert missed(page) == []


def test_errors_and_remarks_are_german(opens: Opens, speech: Speech, tmp_path: Path) -> None:
    page = opens(script="navigator.mediaDevices.getUserMedia = () => Promise.reject("
                        "new DOMException('', 'NotFoundError'));")  # fmt: skip
    page.locator("#convert-go").click()
    page.locator("#convert-status").get_by_text("Es wurde nichts gemacht").wait_for()
    says(page.locator("#convert-source-problem"), re.compile("^Geben Sie eine Aufnahme, deren Worte"))
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVEfmt broken")
    upload(page, "#convert-source", tmp_path / "broken.wav")
    page.locator("#convert-go").click()
    page.get_by_text("broken.wav ist keine Aufnahme, die libsndfile").first.wait_for()
    page.locator("#convert-kind label", has_text="Aufnahmen").click()
    upload(page, "#convert-files", speech["reference"])
    page.locator("#convert-report .card").wait_for()
    said = r"Diese Referenzen könnten besser sein\sNur \d,\d s Sprache; 30 s oder mehr wären besser\."
    says(page.locator("#convert-report"), re.compile(said))
    page.locator("#convert-source button[aria-label=Löschen]").click()
    upload(page, "#convert-source", speech["source"])
    page.locator("#convert-go").click()
    page.get_by_text(
        "Bestätigen Sie zuerst: „Ich habe das Recht, diese Stimme zu verwenden.“ Nennen Sie"
    ).first.wait_for()
    open_tab(page, "Live")
    page.locator("#live-go").click()
    page.wait_for_selector("#live-card.bad")
    reads(page.locator("#live-card"), "Das Mikrofon kann nicht benutzt werden Es ist keines da; stecken Sie eines ein.")
    assert missed(page) == []
    open_tab(page, "Umwandeln")
    shutil.copy(tmp_path / "broken.wav", video := tmp_path / "Urlaub 2026.mp4")
    page.locator("#convert-source button[aria-label=Löschen]").click()
    page.locator("#convert-source input[type=file]").set_input_files(video)
    toast = page.locator("[data-testid=toast-body]")
    toast.get_by_text("Urlaub 2026.mp4 ist ein Video: Drücken Sie „Worte aus einem Video nehmen“.").wait_for()
    says(toast, re.compile("^Warnung"))


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("Connection to the server was lost. Attempting reconnection...",
         "Die Verbindung zum Server ist abgebrochen. Sie wird neu aufgebaut..."),
        ("Cut.wav: the audio has 300 samples at 16000 Hz (0.0187 s); at least 400 (0.025 s) needed for one frame: give "
         "a longer recording.", "Cut.wav: der Ton hat 300 Abtastwerte bei 16000 Hz (0,0187 s); für ein Frame"),
        ("Pronunciation of 'it' (line 1): '' has 0 sounds; up to 64 sounds as in 'W ER1 D' or 'w ˈɚ d' needed.",
         "Aussprache von 'it' (Zeile 1): '' hat 0 Laute; gebraucht werden höchstens 64 Laute"),
        ("1 of 3 recordings cannot be embedded: a/2.wav (0.188 s of sound; at least 0.215 s needed).",
         "1 von 3 Aufnahmen sind nicht zu gebrauchen: a/2.wav (0,188 s Ton; gebraucht werden mindestens 0,215 s)."),
        ("A model of this service cannot be loaded: transformers is not installed; run: pip install transformers.",
         "Ein Modell dieses Dienstes lässt sich nicht laden: transformers ist nicht installiert;"),
        ("A model of this service cannot be loaded: mfcc has no layer 3; 0 needed.",
         "Ein Modell dieses Dienstes lässt sich nicht laden: mfcc has no layer 3; 0 needed."),
    ],
)  # fmt: skip
def test_an_error_within_an_error_is_german_too(window: Any, english: str, german: str) -> None:
    said = """(text) => { const line = document.body.appendChild(document.createElement('p'));
        line.textContent = text;
        return Promise.resolve().then(() => line.textContent); }"""
    assert window.evaluate(said, english).startswith(german)


def test_what_people_wrote_stays_as_it_is(opens: Opens, speech: Speech, tmp_path: Path, state: State) -> None:
    shutil.copy(speech["other"], recording := tmp_path / "Options.wav")
    library = state.store.library()
    library.add("Convert", [recording], Spectra(), consent=consents.attest("Details", "Options"))
    library.note("Convert", lambda notes: notes.described("Good", ["Units", "bundled"]).with_settings({"pitch": "-2"}))
    page = opens(path="/#voices")
    card = page.locator(".voice", has_text="8 s")
    card.wait_for()
    reads(card.locator("h3"), "Convert")
    reads(card.locator("p[translate=no]"), "Good")
    reads(card.locator(".tags li"), ["Units", "bundled"])
    says(card, "Einverständnis von Details")
    says(card, "Beginnt mit Tonhöhe -2.")
    reads(page.locator(".voice", has_text="eric").locator(".tags li"), ["mitgeliefert"])
    card.get_by_role("button", name="Convert ändern").click()
    page.locator("#voices-facts .card").wait_for()
    facts = page.locator("#voices-facts")
    reads(facts.locator("strong"), "Convert")
    says(facts, re.compile(r"Details, \d{4}-\d\d-\d\d: Options"))
    reads(facts.locator("td").first, "Options.wav")
    expect(page.locator("#voices-chosen input")).to_have_value("Convert")
    expect(page.locator("#voices-tags input, #voices-tags textarea").first).to_have_value("Units, bundled")
    card.get_by_role("button", name="Convert zum Umwandeln nehmen").click()
    page.get_by_text("Einstellungen von Convert: Tonhöhe -2.").wait_for()
    expect(page.locator("#convert-voice input")).to_have_value("Convert")
    page.locator("#convert-voice input").click()
    options = page.locator("#convert-voice [role=option]").all_inner_texts()
    assert [one.strip("✓ \n") for one in options][:2] == ["Convert", "mitgeliefert: ada"]
    open_tab(page, "Vorlesen")
    fill(page, "#speak-text", "Convert")
    open_tab(page, "Prüfen")
    open_tab(page, "Vorlesen")
    expect(page.locator("#speak-text textarea")).to_have_value("Convert")
    library.remove("Convert")


def test_choices_are_german_and_what_is_chosen_arrives(opens: Opens, tmp_path: Path) -> None:
    page = opens()
    page.get_by_text("Optionen").first.click()
    pitch = page.locator("#convert-pitch input")
    expect(pitch).to_have_value("Die der Stimme")
    choose(page, "#convert-pitch", "Die der Quelle")
    expect(pitch).to_have_value("Die der Quelle")
    page.locator("#convert-voice input").click()
    page.get_by_role("option", name="mitgeliefert: beth").click()
    expect(page.locator("#convert-voice input")).to_have_value("mitgeliefert: beth")
    page.locator("#convert-voice input").blur()
    expect(page.locator("#convert-voice input")).to_have_value("mitgeliefert: beth")
    page.get_by_role("button", name="Ada als Eric").click()  # takes the voice eric, and the options as they are
    page.wait_for_selector("#convert-status .finished")
    says(page.locator("#convert-status"), "Gewünscht war eine andere Tonhöhe, als die Stimme hat.")
    expect(page.locator("#convert-voice input")).to_have_value("mitgeliefert: eric")
    assert signing.show(download(page, "#convert-save", tmp_path))["settings"]["pitch"] == "source"


def test_the_language_is_changed_by_keys_and_kept(opens: Opens, address: str) -> None:
    page = opens("en-US", "/#units")
    page.locator("#units-go").wait_for()
    assert "Umwandeln" not in page.content()
    reads(page.locator(".languages [aria-current]"), "English")
    page.locator(".languages a", has_text="Deutsch").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Einheiten zeigen").wait_for()  # the same tab
    reads(page.locator(".languages [aria-current]"), "Deutsch")
    assert page.locator(".languages a").evaluate_all("all => all.map(one => [one.lang, one.offsetHeight >= 24])") == [
        ["en", True], ["de", True],
    ]  # fmt: skip
    page.reload()
    page.get_by_role("button", name="Einheiten zeigen").wait_for()
    page.goto(address)
    page.get_by_role("button", name="Umwandeln", exact=True).wait_for()
    page.locator(".languages a", has_text="English").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/?lang=en*")
    page.get_by_role("button", name="Convert", exact=True).wait_for()
    assert page.evaluate("[document.documentElement.lang, navigator.language]") == ["en", "en"]
    assert not re.search("[äöüß]", " ".join(page.evaluate(READ)))


def test_without_its_words_the_page_is_there_in_english(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "_scripts", lambda language: b"")
    page = opens()
    page.get_by_role("button", name="Convert", exact=True).wait_for()


def test_nothing_happens_while_nobody_does_anything(opens: Opens) -> None:
    page = opens(
        script="""const frame = window.requestAnimationFrame;
        window.frames_asked = 0;
        window.requestAnimationFrame = (work) => { window.frames_asked++; return frame(work); };"""
    )
    count = """() => new Promise((done) => { let count = 0;
        window.frames_asked = 0;
        new MutationObserver((all) => count += all.length).observe(document, {
            childList: true, subtree: true, characterData: true, attributes: true});
        setTimeout(() => done(count + window.frames_asked), 1500); })"""
    wait_until(lambda: page.evaluate(count) < 10)


def test_a_long_text_of_somebody_does_not_hold_the_page_up(opens: Opens) -> None:
    page = opens()
    slow = """(text) => { const begun = performance.now();
        for (let number = 0; number < 20; number++) document.body.append(Object.assign(document.createElement('p'),
            {textContent: number + text}));
        return Promise.resolve().then(() => performance.now() - begun); }"""
    for text in ("ada: 1, 2; " * 180, " as 1 s: (" * 199, "a.b as c.d of " * 140, "Convert: " * 220, "1 · 2 · a, " * 3):
        assert page.evaluate(slow, text[:780]) < 10_000, text[:20]


def test_people_with_disabilities_can_use_every_tab_in_german(opens: Opens) -> None:
    """In the light: the colours of the dark are those of every language."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opens(color_scheme="light")
    page.get_by_role("button", name="Ada als Eric").click()
    page.wait_for_selector("#convert-status .finished")
    assert serious_faults(axe, page, TABS, "light") == []


@pytest.mark.parametrize(("locale", "names"), [("de-DE", TABS), ("en-GB", [name.capitalize() for name in ENGLISH])])
def test_words_fit_on_a_phone(opens: Opens, speech: Speech, locale: str, names: Sequence[str]) -> None:
    phone = opens(locale, viewport={"width": 390, "height": 844}, is_mobile=True)
    for name in names:
        open_on_a_phone(phone, name)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390, name
        assert phone.evaluate(CUT) == [], name
    open_on_a_phone(phone, names[0])
    heights = phone.locator(".actions:visible button:visible").evaluate_all("all => all.map(one => one.clientHeight)")
    assert len(heights) == 2
    assert heights[0] == heights[1] < 60
    phone.locator("#convert-kind label").nth(1).click()
    phone.locator("#convert-files").wait_for()
    assert phone.evaluate(CUT) == []
    for field in ("#convert-source", "#convert-files"):
        upload(phone, field, speech["source"])
    assert phone.evaluate(CUT) == []
