"""Names, origins and passwords that the service does not take."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("gradio", reason="the page needs Gradio")
httpx = pytest.importorskip("httpx", reason="comes with Gradio")

from speechssl.app import gate  # noqa: E402


def get(address: str, path: str = "/", **headers: str) -> Any:
    return httpx.get(address + path, headers=headers, timeout=60)


def test_a_name_of_somebody_else_is_not_answered(address: str) -> None:
    port = urlsplit(address).port
    for name in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[",
        "@",
    ):
        for path in ("/", "/health", "/config", "/gradio_api/info"):
            answer = get(address, path, host=name)
            assert answer.status_code == 400
            assert "--public-name" in answer.text
    for name in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert get(address, "/health", host=name).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1"])
def test_a_page_of_somebody_else_gets_nothing_and_changes_nothing(address: str, origin: str) -> None:
    uploaded = httpx.post(f"{address}/gradio_api/upload", files={"files": b"x"}, headers={"origin": origin}, timeout=60)
    called = httpx.post(f"{address}/gradio_api/run/voices", json={"data": []}, headers={"origin": origin}, timeout=60)
    for answer in (uploaded, called, get(address, "/config", origin=origin)):
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_the_page_itself_may_use_the_service(address: str) -> None:
    answer = httpx.post(f"{address}/gradio_api/run/voices", json={"data": []}, headers={"origin": address}, timeout=60)
    assert answer.status_code == 200


def test_every_answer_has_the_headers_of_security(address: str) -> None:
    for path in ("/", "/health", "/nothing", "/config"):
        headers = get(address, path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert "script-src-attr 'none'" in headers["content-security-policy"]


def test_names_that_a_service_is_started_with() -> None:
    assert set(gate.served_names("127.0.0.1", ["Speech.Example"])) == {*gate.LOOPBACK, "speech.example"}
    everywhere = gate.Gate(lambda: None, gate.served_names("0.0.0.0"))
    assert everywhere._serves("192.168.1.5")
    assert not everywhere._serves("evil.example")


def sign_in(address: str, user: str, password: str, **headers: str) -> Any:
    given = {"username": user, "password": password}
    return httpx.post(f"{address}/login", data=given, headers=headers, timeout=60)


def test_a_proxy_with_tls_is_served_under_the_public_name(guarded: str) -> None:
    given = {"host": "speech.example", "origin": "https://speech.example"}
    assert sign_in(guarded, "ada", "secret", **given).status_code == 200


def test_pages_of_others_send_no_cookie_of_a_login(guarded: str) -> None:
    cookies = sign_in(guarded, "ada", "secret").headers.get_list("set-cookie")
    assert cookies
    assert all("samesite=lax" in one.lower() and "httponly" in one.lower() for one in cookies)


def test_ten_wrong_passwords_and_one_waits(guarded: str, caplog: pytest.LogCaptureFixture) -> None:
    assert sign_in(guarded, "eve", "other").status_code == 200
    with caplog.at_level(logging.WARNING, logger="speechssl.app"):
        tried = [sign_in(guarded, "ada", f"guess {number}").status_code for number in range(12)]
    assert tried == [400] * 10 + [429] * 2
    assert "for the address 127.0.0.1: it has to wait" in caplog.text
    assert "for the user 'ada': it has to wait" in caplog.text
    answer = sign_in(guarded, "ada", "secret")
    assert answer.status_code == 429
    assert "try again in" in answer.json()["detail"]
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_after_a_minute_the_right_password_is_taken_again() -> None:
    now = [0.0]
    passwords = gate.Passwords([("ada", "secret")], clock=lambda: now[0])
    for number in range(30):
        with contextlib.suppress(gate.HTTPException):
            assert not passwords(f"user {number}", "wrong")
    with pytest.raises(gate.HTTPException):
        passwords("ada", "secret")
    now[0] = 61.0
    assert passwords("ada", "secret")
    assert not passwords("nobody", "")


def test_the_page_gives_a_browser_a_secret_that_its_scripts_cannot_read(open_service: Any) -> None:
    import httpx

    def given(shown: str = "") -> str:
        answer = httpx.get(open_service.address, headers={"cookie": shown} if shown else {})
        (cookie,) = answer.headers.get_list("set-cookie")
        secret = re.fullmatch(r"speechssl-browser=([0-9a-f]{64}); Max-Age=\d+; Path=/; HttpOnly; SameSite=Lax", cookie)
        assert secret, cookie
        return secret[1]

    first, second = given(), given()
    assert first != second
    # a browser keeps its own; what no service made is replaced
    assert given(f"speechssl-browser={first}") == first
    assert given("speechssl-browser=guessed") != "guessed"
    # no other answer gives one
    assert "set-cookie" not in httpx.get(f"{open_service.address}/health").headers
