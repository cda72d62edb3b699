"""Recordings to a folder of units, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from speechssl.encoders.precision import settled
from speechssl.errors import InputError
from speechssl.units.codebooks import codebook as codebooks
from speechssl.units.encoding import engine, formats, manifest, workers
from speechssl.units.encoding.engine import Plan, Summary
from speechssl.units.encoding.manifest import Entry
from speechssl.units.encoding.workers import Recipe


def plan(
    sources: Sequence[str | Path | Entry], recipe: Recipe, *, form: str = "jsonl", block: int = engine.BLOCK
) -> Plan:
    """The plan of ``encode``: recordings, codebook and format.

    Raises:
        InputError: an unknown format, no recordings, a bad manifest, two utterances of one id.
        CheckpointError: no such codebook.
    """
    formats.check_form(form)
    if block < 1:
        raise InputError(f"--part is {block}; at least 1 recording in each part needed")
    book = codebooks.load(recipe.codebook)
    entries = manifest.entries(sources)
    return Plan(
        entries=entries,
        codebook=book.fingerprint,
        origin=book.origin,
        frame_rate=book.frame_rate,
        num_units=book.num_units,
        form=form,
        collapsed=recipe.collapsed,
        speech_only=recipe.speech_only,
        precision=settled(recipe.precision, recipe.device),
        block=block,
        columns=formats.column_kinds([entry.extra for entry in entries]),
    )


def encode(
    sources: Sequence[str | Path | Entry],
    recipe: Recipe,
    output: str | Path,
    *,
    form: str = "jsonl",
    num_workers: int = 1,
    shard: tuple[int, int] = (1, 1),
    block: int = engine.BLOCK,
    through: str = "local",
    retry: bool = False,
    advance: Callable[[str], None] = lambda _: None,
    heard: Callable[[str, float], None] = lambda *_: None,
) -> Summary:
    """Encode recordings into a folder, exactly once; run again, it continues.

    Args:
        sources: files, folders, patterns, addresses, manifests or entries; see ``manifest.entries``.
        recipe: codebook, encoder and how.
        output: folder.
        form: ``jsonl``, ``parquet``, ``webdataset`` or ``text``.
        num_workers: processes; on a GPU, 1.
        shard: (i, n) of the blocks.
        block: recordings a part.
        through: ``local``, or ``ray`` for a cluster (``ray.init`` as the caller or ``RAY_ADDRESS`` says).
        retry: encode those parts again in which a recording failed.
        advance: called with the id of each recording that is done.
        heard: called with the id of a recording and the seconds of each piece of it; only in one process, ``local``.
    Raises:
        InputError: as ``plan`` and ``engine.run``.
        CheckpointError: a codebook or encoder that is missing or damaged, or a full disk.
    """
    wanted = plan(sources, recipe, form=form, block=block)
    if num_workers < 1:
        raise InputError(f"--workers is {num_workers}; at least 1 process needed")
    if through == "ray":
        from speechssl.units.encoding.ray_cluster import work as on_cluster

        return engine.run(wanted, output, on_cluster(recipe, num_workers), shard=shard, retry=retry, advance=advance)
    if through != "local":
        raise InputError(f"--engine is {through!r}; local or ray needed")
    if num_workers == 1:
        return engine.run(wanted, output, workers.serial(recipe, heard), shard=shard, retry=retry, advance=advance)
    # raises InputError for a wrong combination before processes are started
    recipe.make()
    with workers.parallel(recipe, num_workers) as work:
        return engine.run(wanted, output, work, shard=shard, retry=retry, advance=advance)
