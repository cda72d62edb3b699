"""Names of recordings that people tell apart: the file's name, with as many of its folders as are needed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from speechssl.errors import InputError

MADE_UP = re.compile(r"[0-9a-f]{16,}")  # folders that a program named by a checksum or at random tell a person nothing


def told_apart(paths: Sequence[str | Path], taken: Collection[str] = ()) -> list[str]:
    """The shortest ends of paths that differ: ``a.wav``, or ``monday/a.wav`` beside ``tuesday/a.wav``.

    Args:
        paths: of files; a path that comes twice gets the same name twice.
        taken: names that none may have.
    Returns:
        A name for each path, with ``/`` between folders; numbered where no folder tells files apart.
    """
    places = [Path(path).absolute() for path in paths]
    ends = {place: _ends(place) for place in dict.fromkeys(places)}
    counts: dict[str, int] = {}
    for several in ends.values():
        for end in several:
            counts[end] = counts.get(end, 0) + 1
    names: dict[Path, str] = {}
    for place, several in ends.items():
        free = next((end for end in several if counts[end] == 1 and end not in taken), None)
        names[place] = free or _numbered(several[0], {*taken, *names.values()})
    return [names[place] for place in places]


def _ends(place: Path) -> list[str]:
    parts = [part for part in place.parts[1:-1] if not MADE_UP.fullmatch(part)] + [place.name]
    return ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def _numbered(name: str, taken: Collection[str]) -> str:
    number = 1
    while (found := name if number == 1 else f"{name} ({number})") in taken:
        number += 1
    return found


def refuse_overwriting(output: str | Path, given: Iterable[str | Path]) -> None:
    """Refuse to write to a file that was given, by whatever path, link or second name.

    Args:
        output: where something is to be written.
        given: files that are read.
    Raises:
        InputError: the output is one of them.
    """
    place = Path(output)
    for one in given:
        file = Path(one)
        both = place.exists() and file.exists()
        # unlike Path.resolve, this knows links that lead to themselves
        if os.path.realpath(place) == os.path.realpath(file) or (both and place.samefile(file)):
            raise InputError(
                f"{output} is the file {file}, which was given and would be overwritten; another one needed"
            )
