"""Everything that costs something waits for its turn, ends in time, and takes no more sound than is allowed."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attack_service
import pytest

CHEAP = {"speakers", "voices", "remove_voice", "rename_voice", "describe_voice", "export_voice"}


@pytest.fixture(scope="module")
def inputs(open_service: Any) -> dict[str, list[Any]]:
    return attack_service.valid(open_service)


def test_every_endpoint_that_costs_something_passes_the_gate(
    open_service: Any, inputs: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(open_service.state.endpoints) <= set(inputs)
    monkeypatch.setattr(open_service.state.jobs, "draining", True)
    passed = set()
    for name in open_service.state.endpoints:
        if "the service is closing" not in open_service.call(name, *inputs[name]).text:
            passed.add(name)
    assert passed == CHEAP


def test_every_endpoint_ends_when_its_time_is_over(
    open_service: Any, inputs: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechssl.app.handlers import recordings

    def endless(*_: Any) -> float:
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(recordings, "seconds", endless)
    monkeypatch.setattr(open_service.state.jobs, "seconds", 0.1)
    for name in ("convert", "convert_stream", "batch", "verify", "enrol", "identify", "calibrate", "units", "add_voice",
                 "report"):  # fmt: skip
        assert "the limit here" in open_service.said(name, *inputs[name]), name


def test_two_run_at_once_and_lists_do_not_wait(
    open_service: Any, inputs: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty direct calls of one client; it may let ten wait."""
    from speechssl.app.handlers import speakers

    state, go, running, peak, lock = open_service.state, threading.Event(), 0, 0, threading.Lock()

    def slow(*_: Any) -> dict[str, Any]:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        go.wait(60)
        with lock:
            running -= 1
        return {}

    monkeypatch.setattr(speakers, "identify", slow)
    with ThreadPoolExecutor(20) as pool:
        called = [pool.submit(open_service.call, "identify", *inputs["identify"]) for _ in range(20)]
        while sum(one.done() for one in called) < 20 - state.jobs.parallel - state.settings.waiting // 4:
            time.sleep(0.05)
        begun = time.monotonic()
        assert open_service.call("voices").status_code == 200
        assert time.monotonic() - begun < 30
        go.set()
        answers = [one.result() for one in called]
    assert peak == state.jobs.parallel
    refused = [one for one in answers if one.status_code != 200]
    assert len(refused) == 20 - state.jobs.parallel - state.settings.waiting // 4
    assert all("the queue is full: 10 jobs of yours wait" in one.text for one in refused)


def test_sound_is_measured_as_it_is_decoded(open_service: Any) -> None:
    """A WebM that does not say how long it is: 70 s of silence in a few kilobytes, where 60 s are allowed."""
    import av
    import numpy as np

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    made = Pipe()
    with av.open(made, "w", format="webm", options={"live": "1"}) as container:
        track = container.add_stream("libopus", rate=48_000)
        for number in range(70):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48_000, number * 48_000
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    given = open_service.upload("long.webm", made.getvalue())
    for name, values in (("units", [given]), ("report", [[given]]), ("verify", [[given], given]), ("identify", [given]),
                         ("enrol", ["Eric", [given]]), ("add_voice", ["eric2", [given]]),
                         ("convert", [given, None, "eric"])):  # fmt: skip
        assert "at most 60 s here" in open_service.said(name, *values), name


def test_a_call_whose_client_went_away_leaves_the_queue(open_service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    from speechssl.app.handlers import speakers

    go, state = threading.Event(), open_service.state
    monkeypatch.setattr(speakers, "identify", lambda *_: go.wait(60) and {})
    with ThreadPoolExecutor(2) as pool:
        called = [pool.submit(open_service.call, "identify", None) for _ in range(state.jobs.parallel)]
        while state.jobs.running < state.jobs.parallel:
            time.sleep(0.05)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{open_service.address}/gradio_api/run/identify", json={"data": [None]}, timeout=3)
        end = time.monotonic() + 30
        while state.jobs._line and time.monotonic() < end:
            time.sleep(0.05)
        assert not state.jobs._line
        go.set()
        assert [one.result().status_code for one in called] == [200] * state.jobs.parallel
