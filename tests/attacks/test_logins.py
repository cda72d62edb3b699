"""Results, events, sessions and files belong to the login that made them."""

from __future__ import annotations

import json
from typing import Any

import pytest

httpx = pytest.importorskip("httpx", reason="comes with Gradio")

Both = tuple[Any, Any, Any]


@pytest.fixture(scope="module")
def units(guarded_service: Both) -> dict[str, Any]:
    """What Ada made: her upload, and units spoken in a bundled voice."""
    service, ada, _ = guarded_service
    given = service.upload("hers.wav", b"hers", client=ada)
    made = service.call("speak_units", "1 2 3 4 5 6 7 8", "eric", "tiny/100", client=ada, session_hash="window")
    return {"upload": given["path"], "result": made.json()["data"][0]["path"]}


def test_nothing_but_the_login_page_is_for_strangers(guarded: str) -> None:
    for path in ("/config", "/gradio_api/info", "/gradio_api/user", "/gradio_api/token", "/gradio_api/app_id",
                 "/gradio_api/startup-events", "/gradio_api/queue/status", "/gradio_api/heartbeat/x",
                 "/gradio_api/queue/data?session_hash=window", "/gradio_api/file=/etc/passwd"):  # fmt: skip
        assert httpx.get(guarded + path, timeout=60).status_code == 401, path
    for path in (
        "cancel",
        "reset",
        "run/voices",
        "call/voices",
        "queue/join",
        "upload",
        "stream/x",
        "component_server",
    ):
        assert httpx.post(f"{guarded}/gradio_api/{path}", json={}, timeout=60).status_code == 401, path
    assert httpx.get(guarded, timeout=60).status_code == 200
    assert httpx.get(f"{guarded}/health", timeout=60).status_code == 200


def test_what_the_page_does_not_need_is_not_there(guarded_service: Both) -> None:
    service, ada, _ = guarded_service
    for path in (
        "deep_link",
        "proxy=https://example.org",
        "vibe-code",
        "monitoring",
        "dev/reload",
        "custom_component/x",
    ):
        assert ada.get(f"{service.address}/gradio_api/{path}").status_code == 404, path
    for path in ("component_server", "process_recording", "vibe-edit"):
        assert ada.post(f"{service.address}/gradio_api/{path}", json={}).status_code == 404, path


def test_files_are_read_by_their_owner_alone(guarded_service: Both, units: dict[str, Any]) -> None:
    service, ada, eve = guarded_service
    for path in units.values():
        address = f"{service.address}/gradio_api/file={path}"
        assert ada.get(address).status_code == 200
        assert eve.get(address).status_code == 404
        assert eve.get(address.replace("/gradio/", "/gradio/../gradio/")).status_code == 404


def test_files_of_another_are_no_input(guarded_service: Both, units: dict[str, Any]) -> None:
    service, _, eve = guarded_service
    for path in units.values():
        given = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for name, values in (
            ("report", [[given]]),
            ("units", [given, "tiny/100", True]),
            ("import_voice", [given, ""]),
        ):
            answer = service.call(name, *values, client=eve)
            assert (answer.status_code, "no file that you uploaded" in answer.text) == (404, True)


def test_events_and_sessions_of_another_are_not_heard(guarded_service: Both) -> None:
    service, ada, eve = guarded_service
    api = f"{service.address}/gradio_api"
    given = {"data": [], "session_hash": "window"}
    event = ada.post(f"{api}/call/voices", json=given).json()["event_id"]
    for path in (f"voices/{event}", f"v2/voices/{event}", f"v2/{event}"):
        assert eve.get(f"{api}/call/{path}").status_code == 404
    assert eve.post(f"{api}/stream/{event}/close", json={}).status_code == 404
    for body in ({"event_id": event, "session_hash": "window", "fn_index": 0}, {}):
        assert eve.post(f"{api}/cancel", json=body).status_code == 404
    with eve.stream("GET", f"{api}/queue/data", params={"session_hash": "window"}) as answer:
        heard = next(answer.iter_lines())
    assert json.loads(heard.removeprefix("data: "))["msg"] == "unexpected_error"
    assert "complete" in ada.get(f"{api}/call/voices/{event}").text


def test_a_session_of_the_same_name_is_another_one(guarded_service: Both, units: dict[str, Any]) -> None:
    service, _, eve = guarded_service
    service.call("voices", client=eve, session_hash="window")
    keys = [key for user, key in service.state.sessions._found if user in ("ada", "eve") and key.endswith("-window")]
    assert len(set(keys)) == 2
    # nor does the whole name of her session help
    hers = next(key for user, key in service.state.sessions._found if user == "ada" and key.endswith("-window"))
    service.call("voices", client=eve, session_hash=hers)
    assert [user for user, key in service.state.sessions._found if key == hers] == ["ada"]
    assert service.state.sessions.find(hers, "ada").results
