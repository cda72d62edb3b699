"""Calls without a session, as curl makes them: the service keeps few of their sessions, and nothing open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from speechssl.app import sessions

OPEN = Path("/proc/self/fd")  # of the service, which runs in this process
CALLS, MOST = 30, 20


@pytest.mark.skipif(not OPEN.exists(), reason="open files are counted on Linux")
@pytest.mark.parametrize("fetch", [True, False], ids=["answers fetched", "answers left"])
def test_calls_without_a_session_leave_little(open_service: Any, fetch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_ONCE", MOST)
    api = f"{open_service.address}/gradio_api/call/voices"

    def call() -> None:
        event = open_service.client.post(api, json={"data": []}).raise_for_status().json()["event_id"]
        if fetch:
            assert "complete" in open_service.client.get(f"{api}/{event}").text

    call()
    before, others = len(list(OPEN.iterdir())), _sessions(open_service, once=False)
    for _ in range(CALLS):
        call()
    assert CALLS > MOST >= _sessions(open_service, once=True)
    assert _sessions(open_service, once=False) == others
    assert len(list(OPEN.iterdir())) < before + 10


def _sessions(service: Any, *, once: bool) -> int:
    return sum(key.startswith(sessions.ONCE) == once for _, key in service.state.sessions._found)
