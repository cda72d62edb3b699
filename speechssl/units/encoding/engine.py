"""Encode a collection exactly once: killed anywhere and run again, the output is that of an uninterrupted run.

The list of recordings is cut into blocks of ``BLOCK``. Each block becomes one part, written whole or not at all, whose
content follows from the list and the codebook alone. What is done of a block is journalled line by line, so a run that
continues repeats at most the utterances it was in. Machines share the work by blocks (``shard`` i of n) and may write
to one folder; the parts are the same as those of one machine.

    OUT/meta.json            what is being made: codebook, format, list of recordings
    OUT/part-00000.jsonl     records of block 0, in the order of the list
    OUT/failed.jsonl         what could not be encoded, and why
    OUT/remarks.jsonl        what holds no speech
    OUT/.speechssl/          locks, journals and failures by block
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechssl.checkpoints import foreign, write_text
from speechssl.errors import InputError
from speechssl.units.encoding import formats
from speechssl.units.encoding.manifest import Entry, ids_digest, plan_digest

BLOCK = 256  # recordings a part: an hour or so of speech, a megabyte of JSON
FAILED = "failed.jsonl"
REMARKS = "remarks.jsonl"
HIDDEN = ".speechssl"

# (index, entry) to (index, {"record": ...} or {"failure": reason}), in any order
MOST_BLOCKS = 1_000_000  # of a folder
_META: dict[str, type | tuple[type, ...]] = {
    "codebook": str, "origin": str, "frame_rate": (int, float), "num_units": int, "form": str, "collapsed": bool,
    "recordings": int, "block": int, "ids": str,
}  # fmt: skip
Results = Iterator[tuple[int, dict[str, Any]]]
Work = Callable[[Iterable[tuple[int, Entry]]], Results]


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Args:
        entries: the whole list, whatever the shard.
        codebook: fingerprint.
        origin: of the units.
        frame_rate: Hz.
        num_units: centroids of a level.
        form: ``jsonl``, ``parquet``, ``webdataset`` or ``text``.
        collapsed: whether runs are merged.
        speech_only: whether frames without speech are left out.
        precision: the encoder's; other precisions give other units here and there.
        block: recordings a part.
        columns: kinds of the extra columns.
    """

    entries: Sequence[Entry]
    codebook: str
    origin: str
    frame_rate: float
    num_units: int
    form: str = "jsonl"
    collapsed: bool = True
    speech_only: bool = False
    precision: str = "float32"
    block: int = BLOCK
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def num_blocks(self) -> int:
        """Parts of the whole output."""
        return -(-len(self.entries) // self.block)

    def meta(self) -> dict[str, Any]:
        """What ``meta.json`` says: the same for every shard."""
        return {
            "format": 1,
            "kind": "units",
            "codebook": self.codebook,
            "origin": self.origin,
            "frame_rate": self.frame_rate,
            "num_units": self.num_units,
            "form": self.form,
            "collapsed": self.collapsed,
            "speech_only": self.speech_only,
            "precision": self.precision,
            "recordings": len(self.entries),
            "block": self.block,
            "plan": plan_digest(self.entries),
            "ids": ids_digest(entry.id for entry in self.entries),
        }


@dataclass
class Summary:
    """Numbers of recordings.

    Args:
        encoded: by this run.
        failed: in this run or in one before, of which the folder tells.
        already: encoded by a run before.
        without_speech: in this run or in one before.
    """

    encoded: int = 0
    failed: int = 0
    already: int = 0
    without_speech: int = 0


def run(
    plan: Plan,
    output: str | Path,
    work: Work,
    *,
    shard: tuple[int, int] = (1, 1),
    retry: bool = False,
    advance: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Encode the blocks of one shard, and continue where an earlier run stopped.

    Args:
        plan: what is to be made.
        output: folder, new or of the same plan.
        work: encodes recordings in whatever order; every recording it is given comes back once.
        shard: (i, n), 1 <= i <= n: of every n blocks, the i-th.
        retry: encode those blocks again in which a recording failed.
        advance: called with the id of every recording that is done.
    Raises:
        InputError: the folder holds units of another codebook or list, another process writes the same shard, the disk
            is full, or the shard does not exist.
    """
    number, count = shard
    if not 1 <= number <= count:
        raise InputError(f"shard {number}/{count}; i/n with 1 <= i <= n needed")
    folder = Path(output)
    try:
        _check_folder(folder, plan)  # what is refused gets no lock
        with _locked(folder, number, count):
            _claim(folder, plan)
            summary = Summary()
            for block in range(number - 1, plan.num_blocks, count):
                if retry and (failures := _rows_path(folder, FAILED, block)).exists():
                    part_path(folder, plan.form, block).unlink(missing_ok=True)
                    failures.unlink()
                _block(plan, folder, block, work, summary, advance)
            for kind in (FAILED, REMARKS):
                _collect(folder, plan, kind)
            return summary
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror or error}; nothing that was done is lost: "
            "make room or choose another folder, and run the same command again"
        ) from error


def part_path(folder: Path, plan_form: str, block: int) -> Path:
    """Where the records of a block go."""
    return folder / f"part-{block:05d}{formats.SUFFIXES[plan_form]}"


def _block(plan: Plan, folder: Path, block: int, work: Work, summary: Summary, advance: Callable[[str], None]) -> None:
    first = block * plan.block
    entries = plan.entries[first : first + plan.block]
    target = part_path(folder, plan.form, block)
    if target.exists():
        failed = _count_rows(_rows_path(folder, FAILED, block))
        summary.failed += failed
        summary.already += len(entries) - failed
        summary.without_speech += _count_rows(_rows_path(folder, REMARKS, block))
        _journal_path(folder, block).unlink(missing_ok=True)
        for entry in entries:
            advance(entry.id)
        return
    done = _encoded(folder, block, first, entries, work, summary, advance)
    records = [done[first + i]["record"] for i in range(len(entries)) if "record" in done[first + i]]
    # these first: the part says that the block is complete
    for kind, key in ((FAILED, "failure"), (REMARKS, "remark")):
        rows = [
            {"index": first + i, "id": e.id, "path": e.path, "reason": done[first + i][key]}
            for i, e in enumerate(entries)
            if key in done[first + i]
        ]
        _write_lines(_rows_path(folder, kind, block), rows)
        summary.without_speech += len(rows) if kind == REMARKS else 0
    formats.write(target, records, plan.form, plan.columns)
    _journal_path(folder, block).unlink(missing_ok=True)


def _encoded(
    folder: Path,
    block: int,
    first: int,
    entries: Sequence[Entry],
    work: Work,
    summary: Summary,
    advance: Callable[[str], None],
) -> dict[int, dict[str, Any]]:
    """Record or failure of every entry of a block by its index: from the journal, the rest encoded now."""
    path = _journal_path(folder, block)
    done = _read_journal(path, range(first, first + len(entries)))
    summary.already += sum("record" in result for result in done.values())
    summary.failed += sum("failure" in result for result in done.values())
    for index in done:
        advance(entries[index - first].id)
    missing = [(first + i, entry) for i, entry in enumerate(entries) if first + i not in done]
    with path.open("a", encoding="utf-8") as journal:
        # after a line that was cut short, a new one
        journal.write("\n")
        for index, result in work(missing):
            journal.write(formats.line({"index": index, **result}) + "\n")
            journal.flush()
            # through JSON and back, so that a continued run writes exactly the same
            done[index] = json.loads(formats.line(result))
            summary.encoded += "record" in result
            summary.failed += "failure" in result
            advance(entries[index - first].id)
    return done


def _count_rows(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def _journal_path(folder: Path, block: int) -> Path:
    return folder / HIDDEN / f"journal-{block:05d}.jsonl"


def _read_journal(path: Path, wanted: range) -> dict[int, dict[str, Any]]:
    done: dict[int, dict[str, Any]] = {}
    if not path.exists():
        return done
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            # the line that was being written when the run was killed has no end, or is no JSON
            if text.endswith("\n") and text.strip():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    result = json.loads(text)
                    if result["index"] in wanted and ("record" in result) != ("failure" in result):
                        done[result.pop("index")] = result
    return done


def _claim(folder: Path, plan: Plan) -> None:
    """Write ``meta.json``, or check that the one there is of the same plan."""
    _check_folder(folder, plan)
    if not (path := folder / formats.META).exists():
        write_text(path, json.dumps(plan.meta(), indent=2, sort_keys=True) + "\n")


def _check_folder(folder: Path, plan: Plan) -> None:
    """Refuse a folder of something else than the units of this plan."""
    wanted = plan.meta()
    if not (folder / formats.META).exists():
        if others := sorted(p.name for p in folder.glob("*") if not p.name.startswith(".")):
            raise InputError(f"{folder} holds other files ({', '.join(others[:3])}); choose an empty or new folder")
        return
    found = read_meta(folder)
    if different := [key for key in wanted if found.get(key) != wanted[key]]:
        first = "codebook" if "codebook" in different else different[0]
        name = "origin" if first == "codebook" else first
        # a person knows them by the options
        named = [{"block": "part", "form": "format"}.get(one, one) for one in (name, *different)]
        raise InputError(
            f"{folder} holds units made differently: {named[0]} is {found.get(name)!r} there and {wanted[name]!r} now "
            f"(in all: {', '.join(named[1:])}); choose another folder, or the settings and recordings it was begun with"
        )


def read_meta(folder: str | Path) -> dict[str, Any]:
    """What a folder of units says of itself.

    Raises:
        InputError: it is no folder of units, or damaged.
    """
    path = Path(folder) / formats.META
    if not path.exists():
        raise InputError(f"{folder} is no folder of units (no {formats.META}); make one with `speechssl units encode`")
    try:
        found = foreign.read_object(path)
    except InputError as error:
        raise InputError(f"{error}; encode into a new folder") from error
    if found.get("kind") != "units":
        raise InputError(f"{path} is not about units; give a folder that `speechssl units encode` made")
    # what is read later than this trusts the numbers
    wrong = [name for name, kind in _META.items() if not isinstance(found.get(name), kind)]
    if wrong or not found["block"] > 0 or not 0 <= found["recordings"] <= MOST_BLOCKS * found["block"]:
        raise InputError(f"{path} is damaged ({', '.join(wrong) or 'numbers of recordings'}); encode into a new folder")
    return found


def lacking(folder: str | Path, records: int) -> str:
    """What to say of a folder that holds fewer records than recordings were to be encoded; empty if none is missing.

    Args:
        folder: of units.
        records: that are in it.
    """
    wanted = read_meta(folder)["recordings"]
    missing = wanted - records - _count_rows(Path(folder) / FAILED)
    return f"{missing} of {wanted} recordings are missing; `speechssl units check {folder}` says more" * (missing > 0)


@contextlib.contextmanager
def _locked(folder: Path, number: int, count: int) -> Iterator[None]:
    """Hold a shard of the folder; the system lets go of it even if the process is killed."""
    from filelock import FileLock, Timeout

    hidden = folder / HIDDEN
    hidden.mkdir(parents=True, exist_ok=True)
    # shards of different counts overlap, so all runs of a folder must cut it alike until they are through
    others = {int(m[1]) for p in hidden.glob("lock-*") if (m := re.fullmatch(r"lock-\d+-of-(\d+)", p.name))}
    paths = [path for other in sorted(others - {count}) for path in sorted(hidden.glob(f"lock-*-of-{other}"))]
    with contextlib.ExitStack() as stack:
        try:
            for path in [*paths, hidden / f"lock-{number}-of-{count}"]:
                stack.enter_context(FileLock(path, timeout=0))
        except Timeout as error:
            raise InputError(
                f"another process is writing to {folder} ({Path(error.lock_file).name}); "
                "wait for it, or choose another folder or shard"
            ) from error
        yield


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_text(path, "".join(formats.line(row) + "\n" for row in rows))


def _rows_path(folder: Path, kind: str, block: int) -> Path:
    """Where the failures or remarks of a block go."""
    return folder / HIDDEN / f"{Path(kind).stem}-{block:05d}.jsonl"


def _collect(folder: Path, plan: Plan, kind: str) -> None:
    """``failed.jsonl`` or ``remarks.jsonl`` from all blocks; the last shard to finish sees them all."""
    if any(not part_path(folder, plan.form, block).exists() for block in range(plan.num_blocks)):
        return
    texts = [path.read_text(encoding="utf-8") for path in sorted((folder / HIDDEN).glob(f"{Path(kind).stem}-*.jsonl"))]
    rows = [json.loads(text) for text in "".join(texts).splitlines()]
    _write_lines(folder / kind, rows)
