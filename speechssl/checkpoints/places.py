"""Folders: what ships with the package, what cannot be made again, and what can be fetched or computed again."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "models"
OWN_FILE, OWN_FOLDER = 0o600, 0o700  # of voices, voice prints and keys: their owner alone, whatever the umask


def data_folder() -> Path:
    """Where voices live: ``$SPEECHSSL_VOICES``, else the platform's data folder + ``speechssl/voices``."""
    if chosen := os.environ.get("SPEECHSSL_VOICES"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        root = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "speechssl" / "voices"


def data_root() -> Path:
    """What cannot be made again: the folder of ``data_folder()``, of enrolled speakers and of the keys of receipts."""
    return data_folder().parent


def cache_dir() -> Path:
    """Where fetched files live, and what can be computed again.

    ``$SPEECHSSL_CACHE``, else the platform's cache folder + ``speechssl``.
    """
    if chosen := os.environ.get("SPEECHSSL_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "speechssl"
    fallback = Path.home() / ("AppData/Local" if sys.platform == "win32" else ".cache")
    root = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(root) if root else fallback) / "speechssl"


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner may enter, and every folder above it that is missing; what exists stays."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)  # another process may be first
        one.chmod(OWN_FOLDER)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    return folder


def make_private(files: Iterable[Path]) -> None:
    """Let only the owner read and write these files, of which another process may take some away."""
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            file.chmod(OWN_FILE)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it that are missing; what is empty at the end goes again, Ctrl-C included."""
    missing = [one for one in (folder, *folder.parents) if not os.path.exists(one)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for one in missing:
            with contextlib.suppress(OSError):
                one.rmdir()
