"""Places for results: nothing that a person gave is overwritten, and what cannot be written is said before the work."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from speechssl.cli import batch, terminal
from speechssl.errors import InputError

Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace an output file that exists. Recordings given are never replaced.")
]


def check(
    outputs: Sequence[str | Path], given: Iterable[str | Path], *, overwrite: bool, made: Collection[Path] = ()
) -> None:
    """Refuse outputs that would replace something, or that cannot be written.

    Args:
        outputs: files of one command.
        given: files that the command reads.
        overwrite: whether files that exist may be replaced; those given may not.
        made: resolved paths of outputs of an earlier run, which may be replaced.
    Raises:
        InputError: an output is one of the files given or another output, exists, or its place cannot be written to.
    """
    from speechssl import audio

    # unlike Path.is_file, this knows that a long text is no file
    files = [file for file in given if os.path.isfile(file)]
    log = terminal.settings.log
    seen: dict[Path, str | Path] = {} if log is None else {Path(os.path.realpath(log.name)): "--log"}
    for output in outputs:
        _check_name(output)
        audio.refuse_overwriting(output, files)
        place = Path(os.path.realpath(output))
        if place in seen:
            raise InputError(f"{seen[place]} and {output} are one file, for two results; give two names")
        seen[place] = output
        if place.exists() and not overwrite and place not in made:
            raise InputError(f"{output} exists; give another name, or --overwrite to replace it")
        check_place(Path(output))


def check_sound(output: Path) -> None:
    """Refuse a file whose name ends like that of no sound file that can be written.

    Raises:
        InputError: that; the message has the extensions.
    """
    from speechssl.audio.files import WRITABLE

    if output.suffix.lower() not in WRITABLE:
        raise InputError(f"{output} has no extension that can be written; one of {', '.join(WRITABLE)} needed")


def check_no_sound(output: str | Path, suffix: str) -> None:
    """Refuse a file that holds no sound and is named like a recording.

    Args:
        output: file to write.
        suffix: that its name may have.
    Raises:
        InputError: it ends like the name of a recording.
    """
    from speechssl.audio import SUFFIXES

    place = Path(output)
    if place.suffix.lower() in SUFFIXES and not place.is_dir():
        raise InputError(f"{output} is the name of a recording, which the result is not; {place.stem}{suffix} would do")


def check_folder(output: str | Path) -> None:
    """Refuse a file whose folder does not exist.

    Raises:
        InputError: there is no such folder.
    """
    if not (folder := Path(output).parent).is_dir():
        raise InputError(f"{folder} is no folder, so {output} cannot be written; make the folder first")


def _check_name(output: str | Path) -> None:
    place = Path(output)
    batch.check_named(output)
    device = place.exists() and not place.is_file() and not place.is_dir()
    if device or os.fspath(place.absolute()).startswith("/dev/"):
        raise InputError(f"{output} is a device or a pipe; the name of a file needed")
    if os.path.islink(os.path.realpath(place)):
        raise InputError(f"{output} is a link that leads to itself; the name of a file needed")
    if place.is_dir():
        raise InputError(f"{output} is a folder; the name of a file needed")


def check_place(path: Path) -> None:
    """Refuse a file that could not be written, before the work for it.

    Raises:
        InputError: the nearest existing parent is no folder, or cannot be written to.
    """
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir():
        raise InputError(f"{place} is no folder, so {path} cannot be written; choose another place")
    if not os.access(place, os.W_OK):
        raise InputError(f"{place} cannot be written to; choose another place, or make it writable")
