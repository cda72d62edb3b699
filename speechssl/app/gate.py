"""What every request passes first: names and origins that are answered, headers, and a limit on wrong passwords."""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import ipaddress
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from speechssl.checkpoints import names

LOOPBACK = ("localhost", "127.0.0.1", "::1")
WRONG, WINDOW = 10, 60.0  # wrong passwords from one address or for one user, in so many seconds
MOST_KEYS = 10_000  # addresses and users remembered
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
# Gradio's page has scripts of its own inside; attributes such as onerror= it does not need
POLICY = "script-src-attr 'none'; object-src 'none'; base-uri 'self'"
_log = logging.getLogger("speechssl.app")
_address: contextvars.ContextVar[str] = contextvars.ContextVar("address", default="")


def served_names(host: str, public: Iterable[str] = ()) -> tuple[str, ...]:
    """Names under which a service is answered: loopback, the address it listens on, and those it was given.

    A service that listens on all addresses is answered by each address and by the name of the machine. A web page can
    point a name of its own at an address (DNS rebinding), but it cannot own an address.
    """
    everywhere = ("*address*", socket.gethostname()) if host in ("0.0.0.0", "::", "") else (host,)
    return tuple(name.lower() for name in (*LOOPBACK, *everywhere, *public))


class Gate:
    """ASGI middleware: refuses foreign names and origins, and adds the headers of security.

    Args:
        app: the application behind.
        served: names that are answered; None for a page that is meant for everybody, under any name and in any frame.
    """

    def __init__(self, app: Callable[..., Any], served: Sequence[str] | None = LOOPBACK) -> None:
        self.app, self.served = app, served
        frames = "" if served is None else "; frame-ancestors 'self'"
        self.headers = {**HEADERS, "Content-Security-Policy": POLICY + frames}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or pass on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        _address.set((scope.get("client") or ("", 0))[0])

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
                message["headers"] = [(name, _kept_at_home(name, value)) for name, value in message["headers"]]
            await send(message)

        refused = self._refused(Headers(scope=scope))
        answer = self.app if refused is None else PlainTextResponse(refused[1], status_code=refused[0])
        await answer(scope, receive, with_headers)

    def _refused(self, headers: Headers) -> tuple[int, str] | None:
        """Status and reason, if the request is not for this service or comes from the page of another."""
        if self.served is None:
            return None
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._serves(_name(f"//{host}")):
            return 400, "This service has another name; start it with --public-name NAME to answer this one."
        # a proxy that speaks TLS passes the name on, but not always the port
        if origin is not None and urlsplit(origin).netloc != host and not self._is_public(_name(origin)):
            return 403, "Pages of other services may not use this one."
        return None

    def _serves(self, name: str) -> bool:
        assert self.served is not None
        return name in self.served or ("*address*" in self.served and _is_address(name))

    def _is_public(self, name: str) -> bool:
        """Whether this is a name of the service and of no other program on this machine."""
        return self._serves(name) and name not in LOOPBACK and not _is_address(name)


def _kept_at_home(name: bytes, value: bytes) -> bytes:
    """The value of a header; a cookie as browsers send it to this service from its own pages alone."""
    return value.replace(b"SameSite=none", b"SameSite=lax") if name == b"set-cookie" else value


class Passwords:
    """Users and passwords, as Gradio asks for them; after ten wrong ones a minute one has to wait.

    Args:
        users: with their passwords.
        clock: seconds.
    """

    def __init__(self, users: Sequence[tuple[str, str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._users = {user: _digest(password) for user, password in users}
        self._clock, self._lock = clock, threading.Lock()
        self._wrong: dict[tuple[str, str], deque[float]] = {}

    def __call__(self, user: str, password: str) -> bool:
        """Whether this is the password of the user.

        Raises:
            HTTPException: too many wrong ones from this address or for this user (429); the message says how long.
        """
        keys = (("address", _address.get()), ("user", hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()))
        with self._lock:
            if wait := max(self._wait(key) for key in keys):
                raise HTTPException(
                    429, f"Too many wrong passwords; try again in {wait:.0f} seconds.", {"Retry-After": f"{wait:.0f}"}
                )
            # an unknown user takes as long as a known one
            right = hmac.compare_digest(self._users.get(user, b"\0" * 32), _digest(password))
            if not right:
                for key in keys:
                    self._count(key, user)
        return right

    def _wait(self, key: tuple[str, str]) -> float:
        found: Sequence[float] = self._wrong.get(key, ())
        return max(1.0, found[0] + WINDOW - self._clock()) if self._recent(found) >= WRONG else 0.0

    def _recent(self, found: Iterable[float]) -> int:
        return sum(one > self._clock() - WINDOW for one in found)

    def _count(self, key: tuple[str, str], user: str) -> None:
        self._wrong.setdefault(key, deque(maxlen=WRONG)).append(self._clock())
        if self._recent(self._wrong[key]) == WRONG:
            what = f"the address {key[1]}" if key[0] == "address" else f"the user {names.visible(user[:64])!r}"
            _log.warning("%d wrong passwords in %d seconds for %s: it has to wait", WRONG, WINDOW, what)
        if len(self._wrong) > MOST_KEYS:
            self._wrong = {one: times for one, times in self._wrong.items() if self._recent(times)}
        while len(self._wrong) > MOST_KEYS:
            self._wrong.pop(next(iter(self._wrong)))


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "replace")).digest()


def _name(address: str) -> str:
    """The host of an address, in small letters, without its port and brackets; empty if there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
