"""Find recordings: what people name as files, folders, quoted patterns and lists, as one list of files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from speechssl.audio import lists
from speechssl.audio.files import SUFFIXES
from speechssl.errors import InputError

# what systems and network drives leave in folders, besides names that begin with a full stop
LEFT = {
    "__macosx", "icon\r", "@eadir", "#recycle", "lost+found",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information",
}  # fmt: skip


def recordings(given: Iterable[str | Path], listed: Iterable[str | Path] = ()) -> list[Path]:
    """Recordings in a fixed order, each once.

    Args:
        given: files, folders (searched below) and glob patterns.
        listed: lists of recordings; see ``lists.rows``.
    Raises:
        InputError: a folder or a pattern without recordings, or a list that cannot be read.
    """
    return list(dict.fromkeys(path for path, _ in located(given, listed)))


def located(given: Iterable[str | Path], listed: Iterable[str | Path] = ()) -> list[tuple[Path, Path]]:
    """As ``recordings``, each with the folder that its place is relative to; one that is named twice comes twice."""
    files = [pair for one in given for pair in _expanded(str(one))]
    rows = [Path(row.file) for one in listed for row in lists.rows(one)]
    return files + [(file, file.parent) for file in rows]


def below(folder: str | Path) -> list[Path]:
    """Files below a folder in order, without what any system hides; whoever opens a link that leads nowhere says so.

    Links to folders are followed, each folder once, but for those that lead to where the search is anyway.
    """
    root, found = Path(folder), list[Path]()
    seen = {root.resolve()}
    for place, folders, files in os.walk(root, followlinks=True):
        kept = []
        for name in sorted(name for name in folders if not hides(name)):
            path = Path(place, name)
            if path.is_symlink():
                real = path.resolve()
                if any(real.is_relative_to(one) or one.is_relative_to(real) for one in seen):
                    continue
                seen.add(real)
            kept.append(name)
        folders[:] = kept
        found += [Path(place, name) for name in files if not hides(name)]
    return sorted(found)


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a file below a root, or a folder between them, is hidden."""
    return any(map(hides, path.relative_to(root).parts))


def hides(name: str) -> bool:
    """Whether any system hides files or folders of this name."""
    return name.startswith(".") or name.lower() in LEFT


def is_recording(path: str | Path) -> bool:
    """Whether a file's name ends like that of a recording."""
    return Path(path).suffix.lower() in SUFFIXES


def matches(pattern: str) -> list[Path]:
    """Files that a glob pattern names.

    Raises:
        InputError: none.
    """
    found = [Path(match) for match in sorted(glob.glob(pattern, recursive=True)) if Path(match).is_file()]
    found = [match for match in found if not any(hides(part) and part not in pattern for part in match.parts)]
    if not found:
        raise InputError(f"the pattern {pattern!r} matches no file; check it, or name the files")
    return found


def is_pattern(given: str) -> bool:
    """Whether something is a glob pattern, and no file."""
    return glob.has_magic(given) and not Path(given).exists()


def _expanded(given: str) -> list[tuple[Path, Path]]:
    path = Path(given)
    if path.is_dir():
        found = [one for one in below(path) if is_recording(one)]
        if not found:
            raise InputError(f"{path} holds no audio file; name a folder of recordings, or the files themselves")
        return [(one, path) for one in found]
    if "://" in given:
        raise InputError(f"{given} is an address, which is not taken; download it, and name the file")
    if is_pattern(given):
        return [(match, match.parent) for match in matches(given)]
    return [(path, path.parent)]
