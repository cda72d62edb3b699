"""``speechssl data``: every place where something is kept, and how to empty it."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from speechssl import checkpoints
from speechssl.cli import terminal
from speechssl.cli.options import Json, examples
from speechssl.errors import InputError

app = typer.Typer(
    help="List and empty the places where voices, speakers, keys and caches are kept.",
    no_args_is_help=True,
    epilog=examples("data list", "data clear embeddings"),
)


@dataclass(frozen=True)
class Place:
    """Something that is kept.

    Args:
        name: for ``data clear``.
        holds: in words.
        folder: where.
        files: that are there now.
        again: whether it can be downloaded or computed again.
    """

    name: str
    holds: str
    folder: Path
    files: tuple[Path, ...]
    again: bool = False

    @property
    def megabytes(self) -> float:
        """Size of the files."""
        return sum(path.stat().st_size for path in self.files if path.exists()) / 1e6


def places() -> list[Place]:
    """Every place, in the order of what would be missed most."""
    from speechssl.receipts import signing, trust
    from speechssl.training.probing import encodings
    from speechssl.verification import database, evaluation

    voices, speakers, cache = checkpoints.data_folder(), database.default_path(), checkpoints.cache_dir()
    stored = [*_files(voices, "*.safetensors"), *_files(voices / "users", "*/*.safetensors")]
    prints = [*_files(voices, "prints.sqlite*"), *_files(voices / "users", "*/prints.sqlite*")]
    enrolled = [*_files(speakers.parent, f"{speakers.stem}*{speakers.suffix}*"), *database.in_old_place()]
    embeddings = evaluation.cached_embeddings()
    probed = _files(cache / encodings.CACHE, "*/*.safetensors")
    rest = set(_files(cache, "**/*")) - {
        *embeddings,
        *probed,
        *enrolled,
        *stored,
        *prints,
        signing.default_key(),
        trust.place(),
    }
    return [
        Place("voices", f"{len(stored)} stored voices, and their voice prints", voices, (*stored, *prints)),
        Place("speakers", "enrolled speakers, and calibrations", speakers.parent, tuple(enrolled)),
        Place("key", "the key that signs receipts", *_one(signing.default_key())),
        Place("trusted-keys", "keys of others that you trust", *_one(trust.place())),
        Place("embeddings", "embeddings of recordings of trials", cache / evaluation.CACHE, tuple(embeddings), True),
        Place("encodings", "encodings of recordings that were probed", cache / encodings.CACHE, tuple(probed), True),
        Place("downloads", "downloaded models", cache, tuple(sorted(rest)), True),
    ]


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file()) if folder.is_dir() else []


def _one(path: Path) -> tuple[Path, tuple[Path, ...]]:
    return path.parent, (path,) if path.is_file() else ()


@app.command("list", epilog=examples("data list", "data list --json"))
def list_(json: Json = False) -> None:
    """List every place where something is kept, its size, and whether it can be made again."""
    found = places()
    if json:
        facts = [{**vars(one), "folder": str(one.folder), "files": list(map(str, one.files))} for one in found]
        terminal.emit([{**row, "megabytes": one.megabytes} for row, one in zip(facts, found, strict=True)])
        return
    rows = [
        (
            one.name,
            one.holds,
            "yes" if one.again else "NO",
            f"{len(one.files)}",
            f"{one.megabytes:.1f} MB",
            str(one.folder),
        )
        for one in found
    ]
    terminal.table(rows, ("name", "holds", "can be made again", "files", "size", "folder"))


@app.command("clear", epilog=examples("data clear embeddings downloads", "data clear voices --yes"))
def clear(
    name: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names that `data list` shows, or all.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, even if it cannot be made again.")] = False,
) -> None:
    """Delete what is kept in places. Asks first where it cannot be made again."""
    known = {one.name: one for one in places()}
    if unknown := sorted(set(name) - set(known) - {"all"}):
        raise InputError(f"no place is called {unknown[0]!r}; one of {', '.join(known)} or all needed")
    chosen = list(known.values()) if "all" in name else [known[one] for one in dict.fromkeys(name)]
    for place in chosen:
        if place.files and not place.again and not yes:
            _ask(place)
        # nobody writes at the same time
        busy = place.files and place.folder.is_dir()
        with checkpoints.alone(place.folder) if busy else contextlib.nullcontext():
            for path in place.files:
                path.unlink(missing_ok=True)
        terminal.remark(f"{place.name}: {len(place.files)} files deleted")


def _ask(place: Place) -> None:
    if not sys.stdin.isatty():
        raise InputError(f"{place.name} ({place.holds}) cannot be made again; say --yes to delete it")
    typer.confirm(f"Delete {place.holds} in {place.folder}? It cannot be made again.", abort=True)
