"""The tab Convert as people use it, in a Chromium. Skipped where no Chromium or no Playwright is installed."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from browsing import (
    HEARD,
    PATIENCE,
    choose,
    clear_button,
    convert_example,
    download,
    fill,
    fill_number,
    is_in_view,
    long_recording,
    open_tab,
    player_of,
    plays,
    says,
    upload,
    wait_until,
)

from speechssl import audio
from speechssl.app.handlers import conversions, targets, voices
from speechssl.app.state import State
from speechssl.receipts import signing
from speechssl.signals import Waveform
from speechssl.voices import clips

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
expect = sync_api.expect
# a busy machine takes minutes for what takes seconds
pytestmark = pytest.mark.timeout(900)
Speech = dict[str, Path]


def test_an_example_in_one_click_then_compare(page: Any, tmp_path: Path) -> None:
    convert_example(page)
    card = page.locator("#convert-status .finished")
    says(card, re.compile(r"Eric's voice, 5 s, made in \d+\.\d s"))
    says(card, re.compile(r"Sounds like Eric \((\d\d|more than 99) %\)\."))
    # it plays by itself
    page.wait_for_function("document.querySelector('#convert-player audio').currentTime > 0.3")
    plays(page, "ada_sentence-as-eric.wav")
    # the same place in another sound
    page.locator(".tracks").get_by_role("button", name="Source").click()
    page.wait_for_function("document.querySelector('#convert-player audio').currentTime > 0.5")
    plays(page, "ada_sentence.wav")
    page.get_by_text("Details").first.click()
    expect(page.locator("#convert-pictures svg")).to_have_count(3)
    expect(page.locator("#convert-timeline svg")).to_have_count(1)
    wait_until(lambda: is_in_view(page, "#convert-player audio"))
    made = download(page, "#convert-save", tmp_path)
    assert signing.check(made).genuine
    converter = signing.show(made)["settings"]["converter"]
    says(page.locator("#convert-verdict"), f"{converter}, chosen for")
    page.get_by_text("Options").first.click()
    fill_number(page, "#convert-k", "12")
    page.locator("#convert-go").click()
    page.locator(".tracks").get_by_role("button", name="B: k 12").wait_for()
    plays(page, "ada_sentence-as-eric-2.wav")
    page.locator(".tracks").get_by_role("button", name=re.compile("A: k ")).click()
    plays(page, "ada_sentence-as-eric.wav")
    open_tab(page, "History")
    expect(page).to_have_url(re.compile("#history$"))
    # a table has a second, hidden copy of its cells
    page.locator("#history-table").get_by_text("ada_sentence-as-eric-2.wav").locator("visible=true").click()
    page.locator("#history-receipt").get_by_text("Ed25519").wait_for()
    says(page.locator("#history-receipt"), "ada_sentence-as-eric-2.wav")


def test_pitch_and_speaking_rate_are_the_numbers_that_were_given(page: Any, tmp_path: Path) -> None:
    page.get_by_text("Options").first.click()
    for field, number in (("pitch", "4"), ("tempo", "2")):
        choose(page, f"#convert-{field}", "A number")
        fill_number(page, f"#convert-{field}-number", number)
    convert_example(page)
    settings = signing.show(download(page, "#convert-save", tmp_path))["settings"]
    assert (settings["pitch"], settings["tempo"]) == (4.0, "2")
    # twice as fast
    page.wait_for_function("document.querySelector('#convert-player audio').duration > 0")
    assert 2 < player_of(page)["seconds"] < 3.5
    says(page.locator("#convert-status .finished"), "Not judged")


def test_on_a_phone_the_button_and_the_result_are_in_view(browser: Any, address: str) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True).new_page()
    phone.set_default_timeout(PATIENCE)
    phone.goto(address)
    phone.wait_for_selector("#convert-go")
    assert is_in_view(phone, "#convert-go")
    # both buttons are one line high, and no point stands where Gradio hides the link before it
    heights = phone.locator(".actions:visible button:visible").evaluate_all("all => all.map(one => one.clientHeight)")
    assert len(heights) == 2
    assert heights[0] == heights[1] < 60
    expect(phone.locator("footer")).not_to_contain_text("·", use_inner_text=True)
    convert_example(phone)
    # scrolling is smooth
    wait_until(lambda: is_in_view(phone, "#convert-status .finished") and is_in_view(phone, "#convert-player audio"))
    phone.context.close()


def test_a_long_recording_is_heard_while_it_is_made(page: Any, tmp_path: Path) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.evaluate(HEARD)
    upload(page, "#convert-source", long_recording(tmp_path, 58))
    page.locator("#convert-go").click()
    page.wait_for_function("document.querySelector('.live')")
    piece = page.evaluate("performance.now() / 1000")
    page.wait_for_function("window.heard.length")
    first = page.evaluate("window.heard[0]")
    # the first piece is heard as a whole, at once
    assert first["seconds"] > 1
    assert first["now"] + first["late"] - piece < 5
    expect(page.locator("#convert-status .running")).to_be_visible()
    page.wait_for_selector("#convert-status .finished")
    # the player takes over where the pieces had come to, on a busy machine at the end
    page.wait_for_function(
        "(audio => (!audio.paused || audio.currentTime > 57) && audio.readyState > 1 && !audio.seeking)"
        "(document.querySelector('#convert-player audio'))"
    )
    page.wait_for_function("window.silent")
    assert player_of(page)["at"] > 0.5
    receipt = signing.show(download(page, "#convert-save", tmp_path))
    assert receipt["settings"]["streamed"] is True
    assert problems == []


def test_a_result_is_heard_before_it_is_verified(
    page: Any, state: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go, real, reported = threading.Event(), targets.verify, []

    def waiting(*given: Any) -> Any:
        while not go.wait(0.05):
            pass
        return real(*given)

    monkeypatch.setattr(targets, "verify", waiting)
    monkeypatch.setattr(voices, "source_remarks", lambda *given: reported.append(given) or ())
    page.evaluate(HEARD)
    page.get_by_role("button", name="Ada as Eric").click()
    page.wait_for_function("window.heard.length")
    expect(page.locator("#convert-status .running")).to_be_visible()
    begun = page.evaluate("performance.now()")
    go.set()
    page.wait_for_selector("#convert-status .finished")
    # the player goes on where the sound has come to, at its end at last
    page.wait_for_function("window.silent && document.querySelector('#convert-player audio').currentTime > 0.2")
    passed = (page.evaluate("performance.now()") - begun) / 1000
    assert player_of(page)["at"] < 0.5 + passed + 1
    assert reported == []  # nothing is to be said of the recordings of the package
    page.get_by_text("Listen during the conversion").click()
    page.evaluate("window.heard = []")
    page.get_by_role("button", name="Ada as Eric").click()
    page.wait_for_selector("#convert-player [data-made$='ada_sentence-as-eric-2.wav']")
    page.wait_for_function("document.querySelector('#convert-player audio').currentTime > 0.2")
    assert page.evaluate("window.heard.length") == 0
    assert signing.check(download(page, "#convert-save", tmp_path)).genuine


KEEP_PIECES = """() => new MutationObserver(() => {
    window.late ??= document.querySelector("[data-pieces]")?.cloneNode();
}).observe(document, { childList: true, subtree: true })"""


def test_cancel_is_silent_at_once(page: Any, tmp_path: Path, state: State) -> None:
    page.evaluate(HEARD)
    page.evaluate(KEEP_PIECES)
    upload(page, "#convert-source", long_recording(tmp_path, 58))
    page.locator("#convert-go").click()
    page.wait_for_function("window.heard.length")
    begun = page.evaluate("document.querySelector('#convert-cancel').click() || window.heard.length")
    assert page.evaluate("window.silent")
    page.locator("#convert-status .problem").wait_for()
    wait_until(lambda: state.jobs.running == 0)
    # pieces that were on their way begin nothing
    page.evaluate("document.body.append(window.late)")
    page.wait_for_timeout(500)
    assert page.evaluate("window.heard.length") == begun


def test_upload_report_refusal_consent_clone(page: Any, speech: Speech) -> None:
    upload(page, "#convert-source", speech["source"])
    page.locator("#convert-kind label", has_text="Recordings").click()
    upload(page, "#convert-files", speech["reference"])
    page.locator("#convert-report .card").wait_for()
    says(page.locator("#convert-report"), "30 s or more would help")
    page.locator("#convert-go").click()
    page.locator("#convert-consent-problem .problem").wait_for()
    says(page.locator("#convert-consent-problem"), "Attest first")
    page.locator("#convert-agree input").check()
    # it was said of these recordings, and of no others
    clear_button(page, "#convert-files").click()
    expect(page.locator("#convert-agree input")).not_to_be_checked()
    upload(page, "#convert-files", speech["reference"])
    page.locator("#convert-agree input").check()
    fill(page, "#convert-who", "Eric")
    fill(page, "#convert-purpose", "a test")
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")
    expect(page.locator("#convert-consent-problem .problem")).to_have_count(0)
    # the next time, the browser knows both; the attestation is made anew
    page.reload()
    page.wait_for_selector("#convert-go")
    page.locator("#convert-kind label", has_text="Recordings").click()
    page.locator("#convert-who").wait_for()
    expect(page.locator("#convert-who input, #convert-who textarea").first).to_have_value("Eric")
    expect(page.locator("#convert-purpose input, #convert-purpose textarea").first).to_have_value("a test")
    expect(page.locator("#convert-agree input")).not_to_be_checked()


def test_a_corrupt_file_is_a_sentence_beside_its_field(page: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVEfmt broken")
    upload(page, "#convert-source", tmp_path / "broken.wav")
    page.locator("#convert-go").click()
    page.locator("#convert-source-problem .problem").wait_for()
    # said with the report, taken away by the press, and said again
    says(page.locator("#convert-status"), "Nothing was made")
    says(page.locator("#convert-source-problem"), "broken.wav is not audio")
    assert "/" not in page.locator("#convert-source-problem").inner_text()


def test_an_error_leaves_with_the_change_and_what_was_made_before_does_not_stay(page: Any, tmp_path: Path) -> None:
    convert_example(page)
    expect(page.locator("#convert-player")).to_be_visible()
    clear_button(page, "#convert-source").click()
    page.locator("#convert-go").click()
    page.locator("#convert-source-problem .problem").wait_for()
    # failed: the old result is gone, and the card says so
    says(page.locator("#convert-status"), "Nothing was made")
    expect(page.locator("#convert-player")).to_be_hidden()
    audio.write(tmp_path / "silence.wav", Waveform(torch.zeros(32_000), 16_000))
    upload(page, "#convert-source", tmp_path / "silence.wav")
    page.locator("#convert-source-report .card").wait_for()
    says(page.locator("#convert-source-report"), "No speech in it")
    expect(page.locator("#convert-source-problem .problem")).to_have_count(0)
    says(page.locator("#convert-status"), "Say it in another voice")
    # what is converted all the same is no success
    page.locator("#convert-go").click()
    page.locator("#convert-status .finished.warn").wait_for()
    says(page.locator("#convert-status"), "No speech in it")


def test_the_microphone(page: Any, tmp_path: Path) -> None:
    page.locator("#convert-source button[aria-label='Record audio']").click()
    page.locator("#convert-source button", has_text="Record").first.click()
    page.wait_for_timeout(1500)
    page.locator("#convert-source button", has_text="Stop").first.click()
    # with its length: the whole recording is there
    page.locator("#convert-source .timestamps").get_by_text(re.compile("0:0[1-9]")).first.wait_for()
    page.wait_for_timeout(1000)
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")
    made = download(page, "#convert-save", tmp_path)
    assert signing.check(made).genuine
    # Chromium's microphone beeps, and what was recorded is converted from its first second to its last
    heard = audio.read(made)
    assert heard.seconds >= 1
    assert float(heard.samples.abs().max()) > 0.01


def test_cancel(page: Any, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    real = conversions.encoded_source

    def slow(models: Any, *rest: Any) -> Any:
        begun.set()
        # much longer than a person waits
        assert all(time.sleep(0.01) is None for _ in range(60_000))
        return real(models, *rest)

    monkeypatch.setattr(conversions, "encoded_source", slow)
    page.get_by_role("button", name="Dan as Cleo").click()
    assert begun.wait(PATIENCE / 1000)
    clear_button(page, "#convert-source")  # the field has what the example gives
    page.locator("#convert-cancel").click()
    page.locator("#convert-status .problem").wait_for()
    wait_until(lambda: state.jobs.running == 0)
    page.wait_for_timeout(500)  # what the example has set is no change that takes the words away
    says(page.locator("#convert-status"), "Cancelled")
    expect(page.locator("#convert-status .finished")).to_have_count(0)
    expect(page.locator("#convert-player")).to_be_hidden()
    # the next one is not ended by what was meant for the last
    monkeypatch.setattr(conversions, "encoded_source", real)
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")


def test_options_have_labels_and_the_chosen_converter_its_help(page: Any, tmp_path: Path) -> None:
    page.get_by_text("Options").first.click()
    page.locator("#convert-converter input").click()
    page.get_by_role("option", name="distance").click()
    page.locator("#convert-converter").get_by_text("nearer frames count more").wait_for()
    choose(page, "#convert-pitch", "Of the source")
    choose(page, "#convert-tempo", "Of the voice")
    convert_example(page)
    settings = signing.show(download(page, "#convert-save", tmp_path))["settings"]
    assert {name: settings[name] for name in ("converter", "pitch", "tempo")} == {
        "converter": "distance", "pitch": "source", "tempo": "target",
    }  # fmt: skip


def test_a_voice_is_heard_before_it_is_chosen(page: Any) -> None:
    choose(page, "#convert-voice", "bundled: beth")
    page.wait_for_function("document.querySelector('#convert-sample audio').src.includes('beth')")
    page.evaluate("document.querySelector('#convert-sample audio').play()")
    page.wait_for_function("document.querySelector('#convert-sample audio').currentTime > 0.3")
    # a result stops it: one sound at a time
    convert_example(page)
    page.wait_for_function("document.querySelector('#convert-player audio').currentTime > 0.3")
    page.wait_for_function("document.querySelector('#convert-sample audio').paused")


def test_a_video_comes_back_with_the_new_voice(page: Any, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        shown = film.add_stream("mpeg4", rate=10)
        shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
        heard = film.add_stream("aac", rate=48_000, layout="mono")
        for _ in range(50):
            film.mux(shown.encode(av.VideoFrame(64, 48, "yuv420p")))
        samples = audio.resample(audio.read(clips.clip("ada", "sentence").path), 48_000).samples.numpy()
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        film.mux([*heard.encode(frame), *shown.encode(None), *heard.encode(None)])
    page.locator("input[type=file][accept='video/*']").set_input_files(tmp_path / "film.mp4")
    page.locator("#convert-source .timestamps, #convert-source audio").first.wait_for(state="attached")
    page.locator("#convert-go").click()
    page.wait_for_selector("#convert-status .finished")
    says(page.locator("#convert-status"), "Sounds like Eric")
    made = download(page, "#convert-film", tmp_path)
    assert made.suffix == ".mp4"
    with av.open(str(made)) as opened:
        assert len(list(opened.decode(video=0))) == 50
    page.wait_for_function("document.querySelector('#convert-player audio').duration > 0")
    assert audio.read(made).seconds == pytest.approx(player_of(page)["seconds"], abs=0.2)


def test_a_long_recording_is_tried_on_its_first_seconds(page: Any, tmp_path: Path) -> None:
    upload(page, "#convert-source", long_recording(tmp_path, 40))
    page.locator("#convert-preview").click()
    page.wait_for_selector("#convert-status .finished")
    page.wait_for_function("document.querySelector('#convert-player audio').duration > 0")
    assert player_of(page)["seconds"] == pytest.approx(15, abs=0.1)
    says(page.locator("#convert-status"), "Eric's voice, 15 s")
