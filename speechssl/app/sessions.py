"""Sessions: each browser window has its own folder with an unguessable name, its results, and its wish to stop."""

from __future__ import annotations

import math
import re
import secrets
import shutil
import threading
import time
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_RESULTS = 50  # remembered in one session


@dataclass(eq=False)
class Session:
    """One browser window, or one client of the API.

    Args:
        folder: files of this session.
        user: owner of the voices and speakers that this session sees; empty for those of the command line.
        results: what was made, newest last.
        stopped: when the person last cancelled, by ``time.monotonic``. Jobs that began earlier end.
        used: when the last request came, by ``time.monotonic``.
    """

    folder: Path
    user: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)
    stopped: float = -math.inf
    used: float = field(default_factory=time.monotonic)
    _names: Counter[str] = field(default_factory=Counter)

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

    def remember(self, result: dict[str, Any]) -> None:
        """Add to the history."""
        self.results = [*self.results, result][-MOST_RESULTS:]


class Sessions:
    """All sessions, by the key that the browser sends.

    Args:
        folder: private to this service.
        keep_seconds: from the last request of a session to the deletion of its files.
        apart: whether each window without a signed-in user counts as a user of its own.
    """

    def __init__(self, folder: Path, keep_seconds: float, *, apart: bool = False) -> None:
        self.folder, self.keep_seconds, self.apart = folder, keep_seconds, apart
        self._found: dict[tuple[str, str], Session] = {}
        self._lock = threading.Lock()

    def get(self, key: str | None, user: str = "") -> Session:
        """Return the session of this key and user, a new one at the first request or without a key."""
        with self._lock:
            name = (user, key or secrets.token_hex(16))
            if name not in self._found:
                owner = user or (f"window {name[1]}" if self.apart else "")
                self._found[name] = Session(self.folder / secrets.token_hex(16), owner)
            session = self._found[name]
            session.used = time.monotonic()
            return session

    def __len__(self) -> int:
        return len(self._found)

    def expire(self) -> int:
        """Delete sessions without a request in the last ``keep_seconds``; return how many."""
        limit = time.monotonic() - self.keep_seconds
        with self._lock:
            old = [key for key, session in self._found.items() if session.used < limit]
            gone = [self._found.pop(key) for key in old]
        for session in gone:
            shutil.rmtree(session.folder, ignore_errors=True)
        _delete_older(self.folder, time.time() - self.keep_seconds)
        return len(gone)


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


def _delete_older(folder: Path, limit: float) -> None:
    """Delete files and empty folders under the folder that were last changed before the limit."""
    for path in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else []:
        try:
            if path.is_file() and path.stat().st_mtime < limit:
                path.unlink()
            elif path.is_dir() and path.stat().st_mtime < limit and not any(path.iterdir()):
                path.rmdir()
        except OSError:
            continue  # another thread deleted it first
