"""Folders: what ships with the package, voices, and fetched files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "models"


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


def cache_dir() -> Path:
    """Where fetched files live: ``$SPEECHSSL_CACHE``, else the platform's cache folder + ``speechssl``."""
    if chosen := os.environ.get("SPEECHSSL_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "speechssl"
    fallback = Path.home() / ("AppData/Local" if sys.platform == "win32" else ".cache")
    root = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(root) if root else fallback) / "speechssl"
