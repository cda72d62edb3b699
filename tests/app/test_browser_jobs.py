"""The list of jobs on the tab History, in a Chromium: place in the queue, log, retry, after a reload too."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from browsing import clear_button, open_tab, reads, says, wait_until

from speechssl.app.state import State

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here; pip install playwright")
expect = sync_api.expect
# a busy machine takes minutes for what takes seconds
pytestmark = pytest.mark.timeout(900)


def test_jobs_are_listed_with_their_place_and_their_log_and_done_again(
    page: Any, held: threading.Event, state: State
) -> None:
    open_tab(page, "History")
    says(page.locator("#history-jobs"), "No job yet")
    go = threading.Event()
    others = [state.sessions.get(f"other {number}") for number in range(state.jobs.parallel + 1)]
    threads = [threading.Thread(target=state.jobs.run, args=(one, lambda job: go.wait(600))) for one in others]
    for number, thread in enumerate(threads):
        thread.start()
        wait_until(lambda: state.jobs.running + len(state.jobs._line) > number)  # noqa: B023  # waits here
    open_tab(page, "Convert")
    page.get_by_role("button", name="Ada as Eric").click()
    page.wait_for_selector("#convert-status .running")
    open_tab(page, "History")
    job = page.locator(".job").first
    # the report on the source, which began a moment earlier, waits as well
    job.get_by_text(re.compile(r"waiting; [12] before you")).first.wait_for()
    reads(job.locator("h3"), "ada_sentence.wav as Eric")
    go.set()
    for thread in threads:
        thread.join(60)
    page.reload()  # the address opens History
    job.get_by_text("encoding the source (10%").first.wait_for()
    held.set()
    page.locator(".job.done").wait_for()
    says(job, "Convert: done in")
    job.get_by_text("Log").click()
    log = job.locator("li").all_inner_texts()
    steps = [line.split(": ", 1)[1] for line in log]
    assert steps[0].startswith("waiting; ")
    assert steps[-8:-1] == ["checking", "loading the model tiny", "encoding the source", "encoding the voice",
                            "converting", "writing", "verifying"]  # fmt: skip
    assert log[-1].endswith("done")
    job.get_by_role("button", name="Again: ada_sentence.wav as Eric").click()
    page.wait_for_selector("#convert-status .finished")  # on the tab that shows it
    open_tab(page, "History")
    page.wait_for_function("document.querySelectorAll('.job.done').length === 2")
    page.locator("#history-table").get_by_text("ada_sentence-as-eric-2.wav").first.wait_for(state="attached")


def test_a_job_that_was_cancelled_or_failed_says_so_and_can_be_tried_again(
    page: Any, held: threading.Event, state: State
) -> None:
    page.get_by_role("button", name="Ada as Eric").click()
    wait_until(lambda: state.jobs.running == 1)
    clear_button(page, "#convert-source")  # the field has what the example gives
    page.locator("#convert-cancel").click()
    page.locator("#convert-status .problem").wait_for()
    held.set()
    wait_until(lambda: state.jobs.running == 0)
    clear_button(page, "#convert-source").click()
    page.locator("#convert-go").click()
    page.locator("#convert-source-problem .problem").wait_for()
    open_tab(page, "History")
    page.locator(".job.cancelled").wait_for()
    says(page.locator(".job.failed"), "Convert: failed: Give a recording")
    expect(page.locator(".job")).to_have_class([re.compile("failed"), re.compile("cancelled")])
    page.locator(".job.cancelled").get_by_role("button", name="Retry").click()
    page.wait_for_selector("#convert-status .finished")
    says(page.locator("#convert-status"), "Eric's voice, 5 s")


def test_a_button_pressed_twice_begins_one_job_and_with_other_values_another(
    page: Any, held: threading.Event, state: State
) -> None:
    page.get_by_role("button", name="Ada as Eric").click()
    wait_until(lambda: state.jobs.running == 1)
    clear_button(page, "#convert-source")  # the button takes what the fields hold
    for _ in range(2):
        # the mouse cannot press it while a job is at work; the keyboard can, and the mouse a moment before
        page.locator("#convert-go").dispatch_event("click")
        page.locator("#convert-status .running").get_by_text("Encoding the source").wait_for()
    open_tab(page, "History")
    page.locator(".job").first.wait_for()
    expect(page.locator(".job")).to_have_count(1)
    open_tab(page, "Convert")
    page.get_by_role("button", name="Finn as Beth").click()
    wait_until(lambda: state.jobs.running == 2)
    held.set()
    page.wait_for_selector("#convert-status .finished")
    says(page.locator("#convert-status"), "Beth's voice")
    open_tab(page, "History")
    page.wait_for_function("document.querySelectorAll('.job.done').length === 2")
    reads(page.locator(".job h3"), ["finn_sentence.wav as Beth", "ada_sentence.wav as Eric"])
