"""What belongs to one browser window: a folder nobody else can name, its results, and whether it wants to stop."""

from __future__ import annotations

import math
import re
import secrets
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechssl.errors import InputError

MOST_RESULTS = 50  # remembered in one session


class Stopped(InputError):
    """The person, the clock or the machine ended a job."""


@dataclass(eq=False)
class Session:
    """One browser window, or one client of the API.

    Args:
        folder: for its files, with an unguessable name.
        user: who signed in; empty where nobody has to.
        results: newest last; what the history shows.
        stopped: when the person cancelled last, ``time.monotonic``; jobs that began before it end, later ones do not.
        used: time of the last request, ``time.monotonic``.
    """

    folder: Path
    user: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)
    stopped: float = -math.inf
    used: float = field(default_factory=time.monotonic)
    _names: Counter[str] = field(default_factory=Counter)

    def place(self, name: str, suffix: str) -> Path:
        """A path for a new file: what is harmless in the name, numbered from the second, in a folder of its own."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        plain = _plain(Path(name).name, 80)
        self._names[plain + suffix] += 1
        count = self._names[plain + suffix]
        return folder / f"{plain}{'' if count == 1 else f'-{count}'}{suffix}"

    def stop(self) -> None:
        """End what runs."""
        self.stopped = time.monotonic()

    def remember(self, result: dict[str, Any]) -> None:
        """Add to the history."""
        self.results = [*self.results, result][-MOST_RESULTS:]


class Sessions:
    """All of them, by the key the browser sends; the idle ones are deleted with their files.

    Args:
        folder: private to this service.
        keep_seconds: from the last request to the deletion.
    """

    def __init__(self, folder: Path, keep_seconds: float) -> None:
        self.folder, self.keep_seconds = folder, keep_seconds
        self._found: dict[tuple[str, str], Session] = {}
        self._lock = threading.Lock()

    def get(self, key: str | None, user: str = "") -> Session:
        """The session of this key and user, made at its first request; without a key, one of its own."""
        with self._lock:
            name = (user, key or secrets.token_hex(16))
            if name not in self._found:
                self._found[name] = Session(self.folder / secrets.token_hex(16), user)
            session = self._found[name]
            session.used = time.monotonic()
            return session

    def __len__(self) -> int:
        return len(self._found)

    def expire(self) -> int:
        """Delete what nobody asked for in the last ``keep_seconds``; returns how many sessions that were."""
        limit = time.monotonic() - self.keep_seconds
        with self._lock:
            old = [key for key, session in self._found.items() if session.used < limit]
            gone = [self._found.pop(key) for key in old]
        for session in gone:
            shutil.rmtree(session.folder, ignore_errors=True)
        _delete_older(self.folder, time.time() - self.keep_seconds)
        return len(gone)


def harmless(name: str, longest: int = 40) -> str:
    """Letters, digits, ``-`` and ``_`` of the name of a file somebody else chose, without its extension."""
    return _plain(Path(name).stem, longest)


def _plain(text: str, longest: int) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:longest].strip("_") or "speech"


def _delete_older(folder: Path, limit: float) -> None:
    """Files that uploads and downloads left under the folder; empty folders with them."""
    for path in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else []:
        try:
            if path.is_file() and path.stat().st_mtime < limit:
                path.unlink()
            elif path.is_dir() and path.stat().st_mtime < limit and not any(path.iterdir()):
                path.rmdir()
        except OSError:
            continue  # another one was faster
