"""Sessions: each browser window has its own folder with an unguessable name, its results, and its wish to stop.

A window that was reloaded, or closed and opened again, gets the session that it had: its browser shows a cookie.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
import shutil
import threading
import time
import unicodedata
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_RESULTS = 50  # remembered in one session
MOST = 1000  # sessions; a megabyte each in Gradio
ONCE = "once-"  # begins the keys of clients that send none, such as curl: each call is a session of its own
MOST_ONCE, ONCE_SECONDS = 100, 600.0  # of these; long enough to fetch the result
CLOSED_SECONDS = 120.0  # from the closing of a window to the end of its session; a network may fail for a moment


@dataclass(eq=False)
class Session:
    """One browser window, or one client of the API.

    Args:
        folder: files of this session.
        user: owner of the voices and speakers that this session sees; empty for those of the command line.
        turn: clients that share their turns in the queue: a user, else a window, else an address.
        browser: the secret of the cookie; empty for a client without one, whose session nobody takes up.
        tab: number of the browser's tab, which stays over a reload; no secret.
        shown: what the jobs of the page show, by the card that shows it.
        work: the jobs of the page, newest last, with what tells how far they are.
        results: what was made, newest last.
        drafts: what a person put into fields of the page, by component.
        uploads: folders of the uploads that this session used.
        stopped: when the person last cancelled, by ``time.monotonic``. Jobs that began earlier end.
        left: when the connection that waits for results was last lost. Jobs that were waiting then are dropped.
        windows: connections that stay while a window is open.
        closed: when the last window was closed, or used after that; infinity while one is open.
        used: when the last request came.
        busy: jobs that run or wait.
    """

    folder: Path
    user: str = ""
    turn: str = ""
    browser: str = ""
    tab: str = ""
    shown: dict[str, Any] = field(default_factory=dict)
    work: list[Any] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    uploads: set[Path] = field(default_factory=set)
    stopped: float = -math.inf
    drafts: dict[Any, Any] = field(default_factory=dict)
    left: float = -math.inf
    windows: set[object] = field(default_factory=set)
    closed: float = math.inf
    used: float = field(default_factory=time.monotonic)
    busy: int = 0
    _names: Counter[str] = field(default_factory=Counter)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether somebody would miss it: a job is at work, or something was made."""
        return bool(self.busy or self.results or self.shown)

    def place(self, name: str, suffix: str) -> Path:
        """Return a path for a new file in a new folder, with a harmless name; a repeated name gets a number."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        plain = _plain(Path(name).name, 80)
        self._names[plain + suffix] += 1
        count = self._names[plain + suffix]
        return folder / f"{plain}{'' if count == 1 else f'-{count}'}{suffix}"

    def stop(self) -> None:
        """End the jobs that run now."""
        self.stopped = time.monotonic()

    def leave(self) -> None:
        """Drop the jobs that wait: nobody would get their results, unless a browser can come back for them."""
        if not self.browser:
            self.left = time.monotonic()

    def open(self, window: object) -> None:
        """Take the connection of a window."""
        self.windows.add(window)
        self.closed = math.inf

    def close(self, window: object) -> None:
        """End the session soon, unless another window shows it or one comes back."""
        self.windows.discard(window)
        if not self.windows:
            self.closed = time.monotonic()

    def remember(self, result: dict[str, Any]) -> None:
        """Add to the history."""
        self.results = [*self.results, result][-MOST_RESULTS:]


class Sessions:
    """All sessions, by the key that the browser sends.

    Args:
        folder: private to this service. Everything of one owner is in one folder of it: ``session-*`` and ``upload-*``.
        keep_seconds: from the last request of a session to the deletion of its files.
        apart: whether each window without a signed-in user counts as a user of its own.
    """

    def __init__(self, folder: Path, keep_seconds: float, *, apart: bool = False) -> None:
        self.folder, self.keep_seconds, self.apart = folder, keep_seconds, apart
        self.ended: Callable[[str], None] = lambda key: None  # called with the key of each session that ends
        self._secret = secrets.token_bytes(16)
        self._found: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._lock = threading.Lock()

    def home(self, owner: str) -> str:
        """The name of the folder of a user or an address, which nobody else can guess."""
        return hmac.digest(self._secret, owner.encode("utf-8", "replace"), "sha256").hex()[:24]

    def get(self, key: str | None, user: str = "", address: str = "", browser: str = "") -> Session:
        """Return the session of this key and user, a new one at the first request or without a key."""
        name = (user, key or f"{ONCE}{secrets.token_hex(16)}")
        with self._lock:
            if name not in self._found:
                owner = user or (f"window {name[1]}" if self.apart else "")
                folder = self.folder / self.home(user) / f"session-{secrets.token_hex(16)}"
                turn = user or (address if _is_once(name[1]) else name[1])
                self._found[name] = Session(folder, owner, turn, browser)
            session = self._found[name]
            session.used = time.monotonic()
            if session.closed < math.inf:  # what a window sent before it was closed is heard after it
                session.closed = session.used
            self._found.move_to_end(name)
            old = self._too_many()
        self._delete(old)
        return session

    def take_up(self, key: str, tab: str, user: str = "", browser: str = "") -> Session:
        """Give a window that opens the session that it had: that of its tab, else one whose window was closed.

        Args:
            key: of the window's new connection.
            tab: its number.
            user, browser: whose session it has to be; both have to agree.
        """
        new = self.get(key, user, browser=browser)
        with self._lock:
            mine = [one for (owner, _), one in self._found.items() if owner == user and _agree(one.browser, browser)]
            same = [one for one in mine if tab and one.tab == tab]
            left = [one for one in mine if one.closed < math.inf and one.is_worth_keeping]
            session = next(iter((*reversed(same), *reversed(left))), new)
            session.tab, session.used = tab, time.monotonic()
            session.windows |= new.windows
            # a window may be closed before it has opened
            session.closed = math.inf if session.windows else new.closed
            self._found[user, key] = session
        return session

    def find(self, key: str, user: str = "") -> Session | None:
        """The session of this key and user, if there is one."""
        return self._found.get((user, key))

    def __len__(self) -> int:
        return len(self._found)

    def expire(self) -> int:
        """Delete idle and closed sessions with all their files, and uploads that nobody used; return how many ended."""
        now = time.monotonic()
        with self._lock:
            old = [name for name, session in self._found.items() if not session.busy and self._is_over(name, now)]
            gone = [(key, self._found.pop((user, key))) for user, key in old]
        self._delete(gone)
        with self._lock:
            used = {folder for one in self._found.values() for folder in (one.folder, *one.uploads)}
        for folder in (*self.folder.glob("*/upload-*"), *self.folder.glob("*/session-*")):
            if folder not in used and _age(folder) > self.keep_seconds:
                shutil.rmtree(folder, ignore_errors=True)
        for file in self.folder.glob("tmp*"):  # Gradio leaves an empty one for each file that a page sends
            if file.is_file() and _age(file) > min(self.keep_seconds, CLOSED_SECONDS):
                file.unlink(missing_ok=True)
        return len(gone)

    def _is_over(self, name: tuple[str, str], now: float) -> bool:
        session = self._found[name]
        keep = min(self.keep_seconds, ONCE_SECONDS) if _is_once(name[1]) else self.keep_seconds
        comes_back = session.browser and session.is_worth_keeping
        return session.used + keep < now or (not comes_back and session.closed + min(keep, CLOSED_SECONDS) < now)

    def _too_many(self) -> list[tuple[str, Session]]:
        """Take the sessions out that were used longest ago, once there are too many."""
        idle = [name for name, session in self._found.items() if not session.busy]
        once = [name for name in idle if _is_once(name[1])]
        over = {*once[: max(0, len(once) - MOST_ONCE)], *idle[: max(0, len(self._found) - MOST)]}
        return [(name[1], self._found.pop(name)) for name in over]

    def _delete(self, gone: list[tuple[str, Session]]) -> None:
        with self._lock:
            used = {folder for session in self._found.values() for folder in (session.folder, *session.uploads)}
        for key, session in gone:
            for folder in {session.folder, *session.uploads} - used:
                shutil.rmtree(folder, ignore_errors=True)
            self.ended(key)


def _agree(one: str, other: str) -> bool:
    return bool(one) and hmac.compare_digest(one, other)


def _is_once(key: str) -> bool:
    """Whether a client without a session made this key; with a login its user's folder comes before."""
    return key.startswith(ONCE) or key[25:].startswith(ONCE)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0  # it is just being deleted


def harmless(name: str, longest: int = 40) -> str:
    """Keep letters and digits of every script, ``-`` and ``_`` of a file name that somebody else chose.

    The extension is left out; ``longest`` counts bytes in UTF-8, as systems of files do.
    """
    return _plain(Path(name).stem, longest)


def _plain(text: str, longest: int) -> str:
    # letters, the marks that belong to them, numbers
    kept = (c if c in "-_" or unicodedata.category(c)[0] in "LMN" else " " for c in unicodedata.normalize("NFC", text))
    plain = re.sub(r" +", "_", "".join(kept)).encode("utf-8", "ignore")[:longest].decode("utf-8", "ignore")
    return plain.strip("_") or "speech"
