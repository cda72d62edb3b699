"""What tests do to the page in a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from speechssl import audio
from speechssl.signals import Waveform
from speechssl.voices import clips

# for a closed network; the microphone is a tone of Chromium's own
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip
SERIOUS = ("serious", "critical")
# what axe asks of the colours; all else it asks of the elements, which are the same in the light and in the dark
COLOURS = ("color-contrast", "link-in-text-block")
PATIENCE = 240_000  # milliseconds
# texts that a button or a box cuts, and names of fields that cover something else
CUT = """() => { const found = [];
    const seen = (element) => element.checkVisibility({visibilityProperty: true});
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
    while (texts.nextNode()) {
        const text = texts.currentNode, parent = text.parentElement;
        if (!/\\p{L}/u.test(text.data) || !seen(parent) || parent.closest('.unseen, .visually-hidden')) continue;
        range.selectNodeContents(text);
        const {left, right, width} = range.getBoundingClientRect();
        for (let box = parent; width && box && box !== document.body; box = box.parentElement) {
            const way = getComputedStyle(box).overflowX, edge = box.getBoundingClientRect();
            if (['auto', 'scroll'].includes(way)) break;
            if ((way !== 'visible' || box.matches('button')) && (right > edge.right + 1 || left < edge.left - 1))
                { found.push(text.data.trim()); break; } } }
    for (const name of document.querySelectorAll('[data-testid=block-label], [data-testid=block-info]')) {
        range.selectNodeContents(name);
        const mine = (name.matches('label') ? name : range).getBoundingClientRect();
        for (const other of name.closest('.block').querySelectorAll('svg')) {
            const its = other.getBoundingClientRect();
            if (mine.width && seen(other) && !name.contains(other) && its.width
                && mine.left < its.right && its.left < mine.right && mine.top < its.bottom && its.top < mine.bottom)
                { found.push(`${name.innerText.trim()} covers something`); break; } } }
    return found; }"""
# fields to write into and lists to choose from whose border is fainter than 3:1, as WCAG 2.2 asks for
FAINT = """() => { const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => numbers(colour).slice(0, 3).map((one) => one / 255)
        .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0.05);
    const behind = (box) => { const colour = getComputedStyle(box).backgroundColor;
        return numbers(colour)[3] === 0 && box.parentElement ? behind(box.parentElement) : light(colour); };
    const fields = ':is(input[data-testid=textbox], textarea, .wrap:has(> .wrap-inner), .devices select)';
    return [...document.querySelectorAll(fields)].filter((field) => field.checkVisibility()).filter((field) => {
        const edge = light(getComputedStyle(field).borderTopColor), paper = behind(field.parentElement);
        return Math.max(edge, paper) / Math.min(edge, paper) < 3; }).map((field) => field.outerHTML.slice(0, 100)); }"""
WIDER = """(box) => { const {scrollWidth, clientWidth} = document.querySelector(box);
    return scrollWidth - clientWidth; }"""
HEARD = """() => { window.heard = [];
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (at) {
        window.heard.push({now: performance.now() / 1000, late: at - this.context.currentTime,
                           seconds: this.buffer.duration});
        return start.call(this, at); };
    const close = AudioContext.prototype.close;
    AudioContext.prototype.close = function () { window.silent = true; return close.call(this); }; }"""


def says(element: Any, *texts: Any) -> None:
    """Wait until an element shows these texts or patterns: while an answer is on its way, it may show others."""
    from playwright.sync_api import expect

    for text in texts:
        expect(element).to_contain_text(text, use_inner_text=True, timeout=PATIENCE)


def reads(elements: Any, text: Any) -> None:
    """Wait until an element shows this text and no other, or several elements these texts."""
    from playwright.sync_api import expect

    expect(elements).to_have_text(text, use_inner_text=True, timeout=PATIENCE)


def upload(page: Any, field: str, path: Path) -> None:
    """Choose a file and wait until the field shows it: a list of files its name, a player the length."""
    with page.expect_response("**/upload?*"):
        page.locator(f"{field} input[type=file]").first.set_input_files(path)
    page.locator(f"{field} .file-preview, {field} .timestamps, {field} audio").first.wait_for(state="attached")


def fill(page: Any, field: str, text: str) -> None:
    page.locator(field).locator("input, textarea").first.fill(text)


def fill_number(page: Any, field: str, value: str) -> None:
    """Fill a number until it stays: a field that has just been unfolded takes its first value once more."""
    box = page.locator(f"{field} input[type=number]")
    for _ in range(20):
        box.fill(value)
        box.press("Tab")
        page.wait_for_timeout(500)
        if box.input_value() == value:
            return
    raise AssertionError(f"{field} stays at {box.input_value()}")


def open_tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def violations(axe: Any, page: Any, scheme: str = "light", but: Iterable[str] = ()) -> list[dict[str, Any]]:
    """What axe finds that is serious, but in some elements: by all its rules, in the dark by those of colours."""
    only = {} if scheme == "light" else {"runOnly": {"type": "rule", "values": list(COLOURS)}}
    if not page.evaluate("'axe' in window"):  # it stays for as long as the page does
        page.evaluate(axe.axe_script)
    asked = {"resultTypes": ["violations"], **only}
    where = {"include": [["html"]], "exclude": [[one] for one in but]}
    found = page.evaluate("async (asked) => (await axe.run(...asked)).violations", [where, asked])
    return [one for one in found if one["impact"] in SERIOUS]


def in_both_schemes(page: Any) -> Iterator[str]:
    """The colours of the page: the light ones and then the dark ones, as a system changes them."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark")
        yield scheme


def serious_faults(axe: Any, page: Any, tabs: Iterable[str], scheme: str) -> list[tuple[str, str, str, str]]:
    """Scheme, tab, rule and element of what keeps people with disabilities from using a tab; see ``violations``."""
    found = []
    for name in tabs:
        open_tab(page, name)
        page.wait_for_timeout(500)
        for one in violations(axe, page, scheme):
            found += [(scheme, name, one["id"], node["html"][:120]) for node in one["nodes"]]
    return found


def convert_example(page: Any) -> None:
    page.get_by_role("button", name="Ada as Eric").click()
    page.wait_for_selector("#convert-status .finished")


def download(page: Any, button: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator(button).click()
    place = folder / waiting.value.suggested_filename
    waiting.value.save_as(place)
    return place


def is_in_view(page: Any, element: str) -> bool:
    """Whether the whole element is on the screen."""
    place, screen = page.locator(element).bounding_box(), page.viewport_size
    starts, sizes = (place["x"], place["y"]), (place["width"], place["height"])
    ends = (screen["width"], screen["height"])
    return all(start >= 0 and start + size <= end for start, size, end in zip(starts, sizes, ends, strict=True))


def player_of(page: Any) -> dict[str, Any]:
    """What the player of the tab Convert does."""
    state: dict[str, Any] = page.evaluate(
        """() => { const {paused, currentTime, duration, src} = document.querySelector('#convert-player audio');
                   return {paused, at: currentTime, seconds: duration, file: src.split('/').pop()}; }"""
    )
    return state


def plays(page: Any, name: str) -> None:
    """Wait until the player of the tab Convert has the recording of this name."""
    file = "document.querySelector('#convert-player audio')?.src.split('/').pop()"
    page.wait_for_function(f"name => {file} === name", arg=name)


def choose(page: Any, field: str, option: str) -> None:
    page.locator(f"{field} input").click()
    page.get_by_role("option", name=option).last.click()  # the list of the other field is still fading


def long_recording(folder: Path, seconds: int) -> Path:
    ada = audio.read_mono(clips.clip("ada").path, 16_000).samples
    audio.write(folder / "long.wav", Waveform(torch.cat([ada, ada, ada])[: 16_000 * seconds].clone(), 16_000))
    return folder / "long.wav"


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE / 1000
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def press_until_finished(page: Any, button: str, card: str) -> None:
    """Wait for another card than what a job before has left."""
    page.evaluate("card => document.querySelector(`${card} .finished`)?.classList.add('old')", card)
    page.locator(button).click()
    page.wait_for_selector(f"{card} .finished:not(.old)")


def clear_button(page: Any, field: str) -> Any:
    """The button that empties a recording, once it is there; while a recording is exchanged, there are two.

    Gradio has another one for its own messages of errors, which nobody sees.
    """
    found = page.locator(f"{field} :not(.clear-status) > button[aria-label=Clear]")
    wait_until(lambda: found.count() == 1)
    return found


def press_surely(page: Any, button: str) -> None:
    page.locator(button).click()
    page.locator(f"{button}-yes").click()


def wait_until_gone(page: Any, table: str, text: str) -> None:
    wait_until(lambda: page.locator(table).get_by_text(text).count() == 0)


def open_on_a_phone(phone: Any, name: str) -> None:
    """Tabs that do not fit are behind a button."""
    tab = phone.get_by_role("tab", name=name, exact=True)
    if not tab.first.is_visible():
        phone.locator(".overflow-menu > button").first.click()
        phone.locator(".overflow-dropdown button", has_text=name).first.click()
    else:
        tab.first.click()
    phone.wait_for_timeout(300)
