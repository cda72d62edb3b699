"""The page and its scripts as they leave the service: compressed, in one language, with cookies for the browser.

The hundred scripts of a page never change under their names, so they are compressed once and kept, here and in the
browser.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware

from speechssl.app import languages, visitors
from speechssl.app.guard import API

ASSETS = "/assets/"  # Gradio's scripts and styles, with what is in them in their names
FOR_EVER = b"public, max-age=31536000, immutable"


class Front:
    """ASGI middleware.

    Args:
        app: the application behind.
        keep_seconds: how long a browser may come back to what it made.
    """

    def __init__(self, app: Callable[..., Any], keep_seconds: float) -> None:
        self.app, self.keep_seconds = app, keep_seconds
        # half a megabyte of descriptions of fields becomes a tenth of that
        self.compressed = GZipMiddleware(self._in_one_language, minimum_size=2000, compresslevel=5)
        self._assets: dict[str, tuple[Any, bytes]] = {}  # path to the first message of the answer, and the body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer; recordings and streams of events are left as they are."""
        plain = scope["type"] != "http" or scope["path"].startswith(API)
        if not plain and scope["path"].startswith(ASSETS) and _is_whole(scope):
            await self._asset(scope, receive, send)
        else:
            await (self.app if plain else self.compressed)(scope, receive, send)

    async def _asset(self, scope: Any, receive: Any, send: Any) -> None:
        """A script or a style, compressed, out of the memory once it was asked for."""
        path = scope["path"]
        answer = self._assets.get(path)
        if answer is None:
            start, body = answer = await _answer(self.compressed, scope, receive)
            if start["status"] == 200:
                headers = [one for one in start["headers"] if one[0] not in (b"content-length", b"cache-control")]
                headers += [(b"content-length", str(len(body)).encode()), (b"cache-control", FOR_EVER)]
                answer = self._assets[path] = {**start, "headers": headers}, body
        await _send(send, *answer)

    async def _in_one_language(self, scope: Any, receive: Any, send: Any) -> None:
        """The page gets the words of one language, and the browser its cookies."""
        if scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        start, body = await _answer(self.app, scope, receive)
        headers, secure, query = Headers(scope=scope), scope["scheme"] == "https", scope["query_string"]
        whole = languages.page_in(languages.chosen(query, headers), body)
        kept = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        kept.append((b"vary", b"Accept-Language, Cookie"))
        kept.append((b"set-cookie", visitors.cookie(headers.get("cookie", ""), self.keep_seconds, secure=secure)))
        if wanted := languages.asked(query):
            cookie = visitors.kept_by_browser(languages.COOKIE, wanted, languages.SECONDS, secure=secure)
            kept.append((b"set-cookie", cookie))
        if scope["method"] != "HEAD":
            kept.append((b"content-length", str(len(whole)).encode()))
        await _send(send, {**start, "headers": kept}, whole)


async def _answer(app: Callable[..., Any], scope: Any, receive: Any) -> tuple[Any, bytes]:
    """The first message of what an application answers, and the whole body."""
    messages: list[Any] = []

    async def keep(message: Any) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


async def _send(send: Any, start: Any, body: bytes) -> None:
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _is_whole(scope: Any) -> bool:
    """Whether somebody wants all of it, compressed."""
    headers = Headers(scope=scope)
    conditions = ("range", "if-none-match", "if-modified-since")
    return (
        scope["method"] == "GET"
        and "gzip" in headers.get("accept-encoding", "")
        and not any(name in headers for name in conditions)
    )
