"""What every request passes second: the login, before its body is read, a limit on the body, and whose things it names.

Addresses that the page and the API do not need are not answered at all.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from speechssl.app.visitors import LONGEST_KEY, Visitor, Visitors, files_in

MOST_JSON = 1 << 20  # bytes of a body that is no upload
API = "/gradio_api"
LIVE = "/live"  # the one WebSocket
_SHOWN = r"/(assets|static|svelte)/.+|/favicon\.ico|/robots\.txt|/manifest\.json|(/gradio_api)?/theme\.css|/pwa_icon.*"
OPEN = re.compile(rf"/|/health|/log(in|out)/?|{_SHOWN}")  # answered without a login
READ = re.compile(
    rf"{OPEN.pattern}|/config/?|{API}/(user|token|login_check|app_id|info|openapi\.json|startup-events|queue/status|"
    rf"queue/data|upload_progress|heartbeat/[^/]{{1,{LONGEST_KEY}}}|call/(v2/)?[^/]+/[^/]+|file=.+|file/.+|stream/.+)/?"
)
CALL = re.compile(rf"{API}/(run|api|call|call/v2)/([^/]+)/?")
WRITE = re.compile(rf"/login/?|{CALL.pattern}|{API}/(upload|queue/join|cancel|reset|stream/[^/]+(/close)?)/?")
EVENT = re.compile(rf"{API}/(?:call/(?:v2/)?[^/]+|stream)/([^/]+)(?:/close)?/?")
PART = re.compile(rf"({API}/(?:heartbeat|stream)/)([^/]+)(/.+)?")  # an address with the key of a session
Body = dict[str, Any]


class Turned(Exception):
    """A request that is not passed on.

    Args:
        status: of HTTP.
        text: says what is wrong.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Guard:
    """ASGI middleware.

    Args:
        app: the application behind.
        visitors: who asks, and what is theirs.
        endpoints: the endpoints of the API, each with the names of its arguments.
    """

    def __init__(self, app: Callable[..., Any], visitors: Visitors, endpoints: Mapping[str, Sequence[str]]) -> None:
        self.app, self.visitors, self.endpoints = app, visitors, endpoints

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or pass on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            await self._pass_on(dict(scope), receive, send)
        except Turned as turned:
            await JSONResponse({"detail": turned.text}, turned.status)(scope, receive, send)

    async def _pass_on(self, scope: Any, receive: Any, send: Any) -> None:
        headers, is_socket = Headers(scope=scope), scope["type"] == "websocket"
        visitor = self.visitors.of(headers, (scope.get("client") or ("", 0))[0])
        if visitor is None and (is_socket or not OPEN.fullmatch(scope["path"])):
            raise Turned(401, "Sign in first: POST username and password to /login.")
        if is_socket:
            if scope["path"] != LIVE:
                raise Turned(404, f"No WebSocket is at this address; the one of this service is at {LIVE}.")
            await self.app({**scope, "visitor": visitor}, receive, send)
            return
        reads = scope["method"] in ("GET", "HEAD", "OPTIONS")
        if not (READ if reads else WRITE).fullmatch(scope["path"]):
            raise Turned(404, "Nothing is at this address; the page is at / and the list of endpoints at /?view=api.")
        if visitor is None or not scope["path"].startswith(API):
            body = None if reads else await _read(headers, receive)
            await self.app(scope, receive if body is None else _again(body, receive), send)
            return
        scope["visitor"] = visitor
        key = self._named(scope, visitor, reads)
        if reads:
            await self._watched(scope, receive, send, visitor, key)
        elif scope["path"].rstrip("/") == f"{API}/upload":
            await self.app(scope, receive, send)
        else:
            await self._write(scope, headers, receive, send, visitor)

    def _named(self, scope: Any, visitor: Visitor, reads: bool) -> str:
        """Make the names in an address those of this visitor, and return the key of the session, if there is one.

        Raises:
            Turned: a file or an event of somebody else.
        """
        path, key = scope["path"], ""
        for begin in (f"{API}/file=", f"{API}/file/"):
            if path.startswith(begin) and not self.visitors.may_read(visitor, path.removeprefix(begin)):
                raise Turned(404, "There is no such file.")
        # what is posted to .../call/v2/NAME looks like the event NAME of v2
        if (event := EVENT.fullmatch(path)) and (reads or not CALL.fullmatch(path)):
            if not self.visitors.may_hear(visitor, event[1]):
                raise Turned(404, "There is no such event.")
            return self.visitors.heard_by(event[1])
        if part := PART.fullmatch(path):
            key = visitor.key(part[2])
            scope["path"] = f"{part[1]}{key}{part[3] or ''}"
            scope["raw_path"] = scope["path"].encode()
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if any(name in ("session_hash", "upload_id") for name, _ in query):
            query = [(name, visitor.key(value) if name in ("session_hash", "upload_id") else value)
                     for name, value in query]  # fmt: skip
            key = dict(query).get("session_hash", key)
            scope["query_string"] = urlencode(query).encode()
        return key

    async def _watched(self, scope: Any, receive: Any, send: Any, visitor: Visitor, key: str) -> None:
        """Pass on, and tell the session when its window opens and closes.

        If the connection that waits for results is lost, what waits in the queue for it is dropped.
        """
        whole = lost = False
        window = object() if scope["path"].startswith(f"{API}/heartbeat/") else None

        async def asked() -> Any:
            nonlocal lost
            message = await receive()
            lost = lost or (message["type"] == "http.disconnect" and not whole)
            return message

        async def answered(message: Any) -> None:
            nonlocal whole
            whole = whole or (message["type"] == "http.response.body" and not message.get("more_body"))
            await send(message)

        if window is not None:
            self.visitors.session(visitor, key).open(window)
        try:
            await self.app(scope, asked, answered)
        finally:
            session = self.visitors.sessions.find(key, visitor.user)
            if session is not None and window is not None:
                session.close(window)
            elif session is not None and (lost or not whole):
                session.leave()

    async def _write(self, scope: Any, headers: Headers, receive: Any, send: Any, visitor: Visitor) -> None:
        body = _parsed(await _read(headers, receive))
        given = self._checked(scope, body, visitor)
        written = _written(given)
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        scope["headers"].append((b"content-length", str(len(written)).encode()))
        again = _again(written, receive)
        if not (direct := CALL.fullmatch(scope["path"])) or direct[1] not in ("run", "api"):
            await self.app(scope, again, send)
            return
        # the result of a direct call goes to this connection alone
        watcher = asyncio.create_task(self._left(receive, given["session_hash"], visitor))
        try:
            await self.app(scope, again, send)
        finally:
            watcher.cancel()

    async def _left(self, receive: Any, key: str, visitor: Visitor) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if session := self.visitors.sessions.find(key, visitor.user):
            session.leave()

    def _checked(self, scope: Any, body: Body, visitor: Visitor) -> Body:
        """What the application behind gets: known fields, this visitor's session, files that it may use.

        Raises:
            Turned: an unknown endpoint, or something of somebody else.
        """
        call = CALL.fullmatch(scope["path"])
        if call and call[1] == "call/v2":
            body = {"data": self._in_order(call[2], body)}
            scope["path"] = f"{API}/call/{call[2]}"
            scope["raw_path"] = scope["path"].encode()
        asked, event = body.get("session_hash"), body.get("event_id")
        if asked is not None and not (isinstance(asked, str) and 0 < len(asked) <= LONGEST_KEY and asked.isprintable()):
            raise Turned(422, f"session_hash: a text of 1 to {LONGEST_KEY} characters needed")
        given = {name: body[name] for name in ("fn_index", "trigger_id", "event_data") if body.get(name) is not None}
        given["session_hash"] = visitor.key(asked)
        if not call and not scope["path"].startswith(f"{API}/queue/join"):
            # /stream has the event in its address, which was checked already, and /reset does nothing
            if scope["path"].startswith(f"{API}/cancel") and not (
                isinstance(event, str) and self.visitors.may_hear(visitor, event)
            ):
                raise Turned(404, "There is no such event.")
            return {**given, "event_id": event, "data": body.get("data", [])}
        if call and call[1].startswith("call"):
            given.pop("fn_index", None)
        self._check_endpoint(call, given)
        if not isinstance(body.get("data"), list):
            raise Turned(422, "data: a list of values needed, one for each argument of the endpoint")
        if call and "fn_index" not in given:
            body["data"] = self._filled(call[2], body["data"])
        session = self.visitors.session(visitor, given["session_hash"])
        for where, path in files_in(body["data"]):
            if not self.visitors.may_use(visitor, session, path):
                raise Turned(404, f"data{where}: {path[:200]!r} is no file that you uploaded here; upload it first, "
                                  "and give the path that the upload answers with")  # fmt: skip
        return {**given, "data": body["data"]}

    def _check_endpoint(self, call: re.Match[str] | None, given: Body) -> None:
        functions, index = self.visitors.gradio.get_blocks().fns, given.get("fn_index")
        if index is not None and (isinstance(index, bool) or not isinstance(index, int) or index not in functions):
            raise Turned(404, f"fn_index: there is no function {str(index)[:40]!r}")
        if index is None and call is None:
            raise Turned(422, "fn_index: the number of a function needed")
        if index is None and call is not None and call[2] not in self.endpoints:
            raise Turned(404, f"there is no endpoint {call[2][:80]!r}; one of {', '.join(self.endpoints)} needed")

    def _in_order(self, name: str, values: Body) -> list[Any]:
        """The arguments of a call that names them."""
        if name not in self.endpoints:
            raise Turned(404, f"there is no endpoint {name[:80]!r}; one of {', '.join(self.endpoints)} needed")
        known = self.endpoints[name]
        if unknown := [one for one in values if one not in known]:
            raise Turned(422, f"{unknown[0][:80]}: no argument of {name}; one of {', '.join(known) or 'none'} needed")
        return [values.get(one) for one in known]

    def _filled(self, name: str, values: list[Any]) -> list[Any]:
        """The arguments of a call; those that are missing at its end get their defaults."""
        known = list(self.endpoints[name])
        if len(values) > len(known):
            raise Turned(422, f"data: {len(values)} values; {name} takes {', '.join(known) or 'none'}")
        return [*values, *(None for _ in known[len(values) :])]


async def _read(headers: Headers, receive: Any) -> bytes:
    """Read a body that is no upload, and no more of it than the limit.

    Raises:
        Turned: too large.
    """
    large = Turned(413, f"the body is larger than {MOST_JSON >> 20} MB; send recordings to {API}/upload")
    said = headers.get("content-length", "0")
    if not said.isdecimal() or len(said) > 15 or int(said) > MOST_JSON:
        raise large
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Turned(400, "the connection was lost")
        parts.append(message.get("body", b""))
        if sum(map(len, parts)) > MOST_JSON:
            raise large
        if not message.get("more_body"):
            return b"".join(parts)


def _parsed(body: bytes) -> Body:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Turned(400, "the body is no JSON that can be read; an object needed") from None
    if not isinstance(found, dict):
        raise Turned(422, "the body: a JSON object needed")
    return found


def _written(given: Body) -> bytes:
    try:
        return json.dumps(given, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        raise Turned(422, "the body has half a character (a lone surrogate) or is nested too deeply") from None


def _again(body: bytes, receive: Any) -> Callable[[], Any]:
    """A ``receive`` that gives this body first."""
    waiting: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return waiting.pop() if waiting else await receive()

    return again
