"""Who asks, and what is theirs: their sessions, the events in the queue, the files that came and were made."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import cookie_parser

from speechssl.app.sessions import ONCE, Session, Sessions
from speechssl.checkpoints import PACKAGED

LONGEST_KEY = 200
CLIPS = PACKAGED / "clips"
COOKIE = "speechssl-browser"
SECRET = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Visitor:
    """Whoever sent a request.

    Args:
        user: who signed in; empty on a service without passwords.
        home: name of the folder of this user or, without passwords, of the address.
        prefix: begins the keys of all sessions of this user, so that nobody can name the session of somebody else.
        address: of the other end.
        browser: secret of the cookie that the page gives to a browser; empty without one.
    """

    user: str
    home: str
    prefix: str
    address: str
    browser: str = ""

    def key(self, asked: str | None) -> str:
        """The key of the session that the client names; a new one for a client that names none."""
        if asked is None:
            return f"{self.prefix}{ONCE}{secrets.token_hex(16)}"
        return asked if asked.startswith(self.prefix) else self.prefix + asked


class Visitors:
    """Everybody who uses a service.

    Args:
        sessions: of the service; its folder has the files of all.
        guarded: whether people have to sign in.
    """

    def __init__(self, sessions: Sessions, *, guarded: bool) -> None:
        self.sessions, self.guarded = sessions, guarded
        self.gradio: Any = None  # the application that knows who signed in and which events wait; set when it is made

    def of(self, headers: Any, address: str) -> Visitor | None:
        """Who sent a request with these headers; None if they have to sign in first."""
        cookies = cookie_parser(headers.get("cookie", ""))
        browser = browser_of(cookies)
        if not self.guarded:
            return Visitor("", self.sessions.home(f"address {address}"), "", address, browser)
        names = (f"access-token-{self.gradio.cookie_id}", f"access-token-unsecure-{self.gradio.cookie_id}")
        user = next((self.gradio.tokens[cookies[one]] for one in names if cookies.get(one) in self.gradio.tokens), None)
        if user is None:
            return None
        home = self.sessions.home(user)
        return Visitor(user, home, f"{home}-", address, browser)

    def session(self, visitor: Visitor, key: str) -> Session:
        """The session of this key, as handlers get it."""
        return self.sessions.get(key, visitor.user, visitor.address, visitor.browser)

    def heard_by(self, event: str) -> str:
        """The key of the session of an event that waits, runs, or has a result that nobody fetched; else empty."""
        queue = self.gradio.get_blocks()._queue
        if found := queue.event_ids_to_events.get(event):
            return str(found.session_hash)
        return next((key for key, ids in list(queue.pending_event_ids_session.items()) if event in ids), "")

    def may_hear(self, visitor: Visitor, event: str) -> bool:
        """Whether an event belongs to a session of this user; without passwords, who knows its number may hear it."""
        return not self.guarded or self.heard_by(event).startswith(visitor.prefix)

    def may_read(self, visitor: Visitor, path: str) -> bool:
        """Whether a file is one that this user uploaded or was given."""
        if os.path.normpath(path) != path:
            return False
        parts = self._parts(path)
        if not parts:
            return Path(path).is_relative_to(CLIPS)
        return not self.guarded or parts[0] == visitor.home or _is_copy(parts)

    def may_use(self, visitor: Visitor, session: Session, path: str) -> bool:
        """Whether a file can be the input of a session: an upload, a result of the same session, or a clip."""
        parts = self._parts(path)
        if len(parts) < 2 or not self.may_read(visitor, path) or not Path(path).is_file():
            return False
        folder = self.sessions.folder.joinpath(*parts[:2])
        if parts[1].startswith("upload-"):
            session.uploads.add(folder)
            return True
        return folder == session.folder or _is_copy(parts)

    def _parts(self, path: str) -> tuple[str, ...]:
        """The names of the folders below that of all files, and of the file; nothing for a file elsewhere."""
        place, root = Path(path), self.sessions.folder
        return place.relative_to(root).parts if place.is_relative_to(root) else ()


def browser_of(cookies: Mapping[str, str]) -> str:
    """The secret that a browser shows; empty if it shows none as this service makes them."""
    found = cookies.get(COOKIE, "")
    return found if SECRET.fullmatch(found) else ""


def cookie(shown: str, seconds: float, *, secure: bool) -> bytes:
    """The header that gives a browser its secret for so many seconds more: that which it shows, else a new one."""
    found = browser_of(cookie_parser(shown)) or secrets.token_hex(32)
    return kept_by_browser(COOKIE, found, seconds, secure=secure)


def kept_by_browser(name: str, value: str, seconds: float, *, secure: bool) -> bytes:
    """The header of a cookie that a browser keeps for so many seconds, and no script of a page reads."""
    return f"{name}={value}; Max-Age={seconds:.0f}; Path=/; HttpOnly; SameSite=Lax{'; Secure' * secure}".encode()


def _is_copy(parts: tuple[str, ...]) -> bool:
    """Whether this is a copy that Gradio made of a clip of the package; it keeps them by their checksum."""
    return len(parts) == 2 and re.fullmatch("[0-9a-f]{64}", parts[0]) is not None


def files_in(value: Any) -> Iterator[tuple[str, str]]:
    """Find every file that a request names: where it is in the request, and its path."""
    waiting = [("", value)]
    while waiting:
        where, one = waiting.pop()
        if isinstance(one, dict):
            if "path" in one:
                yield where, one["path"] if isinstance(one["path"], str) else ""
            waiting += [(f"{where}.{name}", inner) for name, inner in one.items()]
        elif isinstance(one, list):
            waiting += [(f"{where}[{number}]", inner) for number, inner in enumerate(one)]
