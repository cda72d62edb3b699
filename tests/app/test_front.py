"""What leaves the service for browsers: scripts that are compressed once and may be kept."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from speechssl.app.front import Front

BODY = b"let speech = 1;" * 400


class Site:
    """Answers one script, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        status = 200 if scope["path"] == "/assets/index-1a2b.js" else 404
        headers = [(b"content-type", b"text/javascript"), (b"content-length", str(len(BODY)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": BODY[:100], "more_body": True})
        await send({"type": "http.response.body", "body": BODY[100:]})


def ask(front: Front, path: str = "/assets/index-1a2b.js", method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    """The first message of the answer, and its body."""
    answer: list[Any] = []

    async def send(message: Any) -> None:
        answer.append(message)

    asked = {"accept-encoding": "gzip", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {"type": "http", "path": path, "method": method, "scheme": "http", "query_string": b"",
             "headers": [(name.encode(), value.encode()) for name, value in asked.items()]}  # fmt: skip
    asyncio.run(front(scope, None, send))
    return answer[0], b"".join(message.get("body", b"") for message in answer[1:])


def test_a_script_is_compressed_once_and_may_be_kept_for_ever() -> None:
    site = Site()
    front = Front(site, keep_seconds=60)
    first, second = ask(front), ask(front)
    assert first == second
    assert site.asked == 1
    start, body = first
    headers = dict(start["headers"])
    assert gzip.decompress(body) == BODY
    assert headers[b"content-encoding"] == b"gzip"
    assert headers[b"content-length"] == str(len(body)).encode()
    assert b"immutable" in headers[b"cache-control"]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"path": "/assets/absent.js"}, 404),
        ({"range": "bytes=0-9"}, 200),
        ({"if_none_match": '"1"'}, 200),
        ({"method": "HEAD"}, 200),
        ({"accept_encoding": "identity"}, 200),
        ({"path": "/theme.css"}, 404),
    ],
)
def test_everything_else_is_asked_for_each_time(given: dict[str, str], status: int) -> None:
    site = Site()
    front = Front(site, keep_seconds=60)
    for _ in range(2):
        start, _body = ask(front, **given)
        assert start["status"] == status
        assert b"immutable" not in dict(start["headers"]).get(b"cache-control", b"")
    assert site.asked == 2
