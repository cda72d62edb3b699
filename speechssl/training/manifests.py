"""The manifest of a recipe: a table of recordings with their corpus, speaker and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from speechssl.audio import lists
from speechssl.errors import InputError

COLUMNS = ("path", "corpus", "speaker", "split")


def rows(manifest: Path, *, needed: Sequence[str] = COLUMNS) -> list[dict[str, str]]:
    """The rows of a manifest, in order; ``recipes/corpora/manifest.py`` makes one.

    Args:
        manifest: CSV in UTF-8 as ``audio.lists`` reads it: any line ends, a byte order mark, semicolons, backslashes.
        needed: columns without which nothing can be done.
    Returns:
        Each row with its columns; ``path`` is relative to the manifest.
    Raises:
        InputError: missing, no table, no row, no such column, no path, or seconds that are no number; with the line.
    """
    found = []
    for number, cells in lists.table(manifest, ("path",)):
        row = {name.strip().lower(): str(value) for name, value in cells.items()}
        if missing := [name for name in needed if name not in row]:
            raise InputError(
                f"{manifest}: no column {', '.join(missing)} (there are: {', '.join(row)}); "
                "recipes/corpora/manifest.py makes a manifest with all columns"
            )
        if not row["path"]:
            raise InputError(f"{manifest}:{number}: no path; one needed")
        if "seconds" in needed and not row["seconds"].replace(".", "", 1).isdecimal():
            raise InputError(f"{manifest}:{number}: seconds is {row['seconds']!r}; a number needed")
        found.append({**row, "path": lists.located(manifest.parent, row["path"])[0]})
    if not found:
        raise InputError(f"{manifest}: no utterances; a CSV with the columns {', '.join(needed)} needed")
    return found


def chosen(
    manifest: Path, corpora: Collection[str], splits: Collection[str], *, needed: Sequence[str] = COLUMNS
) -> list[dict[str, str]]:
    """The rows of some corpora and splits.

    Args:
        manifest, needed: as for ``rows``.
        corpora: their names.
        splits: of ``train``, ``dev``, ``test`` and ``hard``.
    Raises:
        InputError: as ``rows``, or none of these; the message says which corpora and splits there are.
    """
    every = rows(manifest, needed=needed)
    found = [row for row in every if row["corpus"] in corpora and row["split"] in splits]
    if not found:
        there = Counter(f"{row['corpus']} {row['split']}" for row in every)
        raise InputError(
            f"{manifest}: no recordings of {', '.join(corpora)}, {' or '.join(splits)}; "
            f"there are: {', '.join(f'{name} ({count})' for name, count in there.most_common(12))}"
        )
    return found
