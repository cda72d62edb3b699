"""Encode a collection exactly once: killed anywhere and run again, the output is that of an uninterrupted run.

The list of recordings is cut into blocks of ``BLOCK``. Each block becomes one part, written whole or not at all, whose
content follows from the list and the codebook alone. What is done of a block is journalled line by line, so a run that
continues repeats at most the utterances it was in. Machines share the work by blocks (``shard`` i of n) and may write
to one folder; the parts are the same as those of one machine.

    OUT/meta.json            what is being made: codebook, format, list of recordings
    OUT/part-00000.jsonl     records of block 0, in the order of the list
    OUT/failed.jsonl         what could not be encoded, and why; see ``told``
    OUT/remarks.jsonl        what holds no speech
    OUT/.speechssl/          locks, journals and failures by block

A block is done if the records of its part and its failures are as many as its recordings.
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
from speechssl.units.encoding import formats, told
from speechssl.units.encoding.manifest import Entry, ids_digest, plan_digest
from speechssl.units.encoding.told import FAILED, HIDDEN, REMARKS, Told

BLOCK = 256  # recordings a part: an hour or so of speech, a megabyte of JSON

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
        retry: encode recordings again that failed.
        advance: called with the id of every recording that is done.
    Raises:
        InputError: the folder holds units of another codebook or list, another process writes the same shard, the disk
            is full, or the shard does not exist.
    """
    number, count = shard
    if not 1 <= number <= count:
        raise InputError(f"--shard is {number}/{count}; I/N with 1 <= I <= N needed, such as 2/8")
    folder = Path(output)
    try:
        _check_folder(folder, plan)  # what is refused gets no lock
        with _locked(folder, number, count):
            _claim(folder, plan)
            job = _Job(plan, folder, work, advance, retry)
            for block in range(number - 1, plan.num_blocks, count):
                job.do(block)
            complete = all(part_path(folder, plan.form, block).exists() for block in range(plan.num_blocks))
            for rows in job.told.values():
                rows.publish(plan.num_blocks, shard, complete=complete)
            return job.summary
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror or error}; nothing that was done is lost: "
            "make room or choose another folder, and run the same command again"
        ) from error


def part_path(folder: Path, plan_form: str, block: int) -> Path:
    """Where the records of a block go."""
    return folder / f"part-{block:05d}{formats.SUFFIXES[plan_form]}"


class _Job:
    """The blocks of one run, and its numbers; see ``run``."""

    def __init__(self, plan: Plan, folder: Path, work: Work, advance: Callable[[str], None], retry: bool) -> None:
        self._plan, self._folder, self._work, self._advance, self._retry = plan, folder, work, advance, retry
        self.told = {kind: Told(folder, kind, plan.block) for kind in (FAILED, REMARKS)}
        self.summary = Summary()

    def do(self, block: int) -> None:
        """Encode what is missing of a block, and write its part."""
        first = block * self._plan.block
        entries = self._plan.entries[first : first + self._plan.block]
        target = part_path(self._folder, self._plan.form, block)
        failed, remarks = (self.told[kind].of(block) for kind in (FAILED, REMARKS))
        finished = target.exists() and formats.count(target) + len(failed) == len(entries)
        if finished and not (self._retry and failed):
            self.summary.failed += len(failed)
            self.summary.already += len(entries) - len(failed)
            self.summary.without_speech += len(remarks)
            _journal_path(self._folder, block).unlink(missing_ok=True)
            for entry in entries:
                self._advance(entry.id)
            return
        done = self._encoded(block, first, entries)
        # these first: the part says that the block is complete
        for kind, key in ((FAILED, "failure"), (REMARKS, "remark")):
            rows = [
                {"index": first + i, "id": e.id, "path": e.path, "reason": done[first + i][key]}
                for i, e in enumerate(entries)
                if key in done[first + i]
            ]
            self.told[kind].settle(block, rows)
            self.summary.without_speech += len(rows) if kind == REMARKS else 0
        records = [done[first + i]["record"] for i in range(len(entries)) if "record" in done[first + i]]
        formats.write(target, records, self._plan.form, self._plan.columns)
        _journal_path(self._folder, block).unlink(missing_ok=True)

    def _encoded(self, block: int, first: int, entries: Sequence[Entry]) -> dict[int, dict[str, Any]]:
        """Record or failure of every entry of a block by its index: what is there, and the rest encoded now."""
        path = _journal_path(self._folder, block)
        done = self._written(block, first, entries) | _read_journal(path, range(first, first + len(entries)))
        if self._retry:
            done = {index: result for index, result in done.items() if "failure" not in result}
        self.summary.already += sum("record" in result for result in done.values())
        self.summary.failed += sum("failure" in result for result in done.values())
        for index in done:
            self._advance(entries[index - first].id)
        missing = [(first + i, entry) for i, entry in enumerate(entries) if first + i not in done]
        with path.open("a", encoding="utf-8") as journal:
            # after a line that was cut short, a new one
            journal.write("\n")
            for index, result in self._work(missing):
                journal.write(formats.line({"index": index, **result}) + "\n")
                journal.flush()
                # through JSON and back, so that a continued run writes exactly the same
                done[index] = json.loads(formats.line(result))
                self.summary.encoded += "record" in result
                self.summary.failed += "failure" in result
                self._advance(entries[index - first].id)
        return done

    def _written(self, block: int, first: int, entries: Sequence[Entry]) -> dict[int, dict[str, Any]]:
        """What an unfinished part holds by index, as after a retry or without the failures of another machine."""
        target = part_path(self._folder, self._plan.form, block)
        if not target.exists():
            return {}
        places = {entry.id: first + i for i, entry in enumerate(entries)}
        done: dict[int, dict[str, Any]] = {
            row["index"]: {"failure": row["reason"]} for row in self.told[FAILED].of(block)
        }
        done |= {places[one["id"]]: {"record": one} for one in formats.read(target) if one["id"] in places}
        for row in self.told[REMARKS].of(block):
            if "record" in done.get(row["index"], {}):
                done[row["index"]]["remark"] = row["reason"]
        return {index: result for index, result in done.items() if index in places.values()}


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
    path = folder / formats.META
    if path.exists() and _differences(found := read_meta(folder), plan):
        told.forget(folder)
        for part in _parts(folder, found):
            part.unlink()
        path.unlink()
    if not path.exists():
        write_text(path, json.dumps(plan.meta(), indent=2, sort_keys=True) + "\n")


def _check_folder(folder: Path, plan: Plan) -> None:
    """Refuse a folder of something else than the units of this plan; one in which everything failed is begun anew."""
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not place.is_dir():
        raise InputError(f"{place} is a file, so units cannot be written to {folder}; name a folder as --output")
    if not (folder / formats.META).exists():
        if others := sorted(p.name for p in folder.glob("*") if not p.name.startswith(".")):
            raise InputError(f"{folder} holds other files ({', '.join(others[:3])}); choose an empty or new folder")
        return
    found, wanted = read_meta(folder), plan.meta()
    different = _differences(found, plan)
    if not different or _is_barren(folder, found):
        return
    if set(different) <= {"recordings", "plan", "ids"}:
        raise InputError(
            f"{folder} holds units of another list of recordings ({found['recordings']} there, {wanted['recordings']} "
            "now); a folder is for one list that does not change: choose another folder for these recordings"
        )
    first = "origin" if "codebook" in different else different[0]
    # a person knows them by the options
    words = {"block": "part", "form": "format", "plan": "recordings", "ids": "recordings"}
    named = list(dict.fromkeys(words.get(one, one) for one in (first, *different)))
    raise InputError(
        f"{folder} holds units made differently: {named[0]} is {found.get(first)!r} there and {wanted[first]!r} now "
        f"(in all: {', '.join(named)}); choose another folder, or the settings and recordings it was begun with"
    )


def _is_barren(folder: Path, found: dict[str, Any]) -> bool:
    if found["form"] not in formats.SUFFIXES or not found["recordings"]:
        return False
    return all(part.exists() and not formats.count(part) for part in _parts(folder, found))


def _differences(found: dict[str, Any], plan: Plan) -> list[str]:
    return [key for key, value in plan.meta().items() if found.get(key) != value]


def num_blocks(meta: dict[str, Any]) -> int:
    """Parts of the whole output of which ``meta.json`` tells."""
    return -(-int(meta["recordings"]) // int(meta["block"]))


def _parts(folder: Path, meta: dict[str, Any]) -> Iterator[Path]:
    return (part_path(folder, meta["form"], block) for block in range(num_blocks(meta)))


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


def failures(folder: str | Path) -> list[dict[str, Any]]:
    """Index, id, path and reason of what failed in a folder of units.

    Raises:
        InputError: it is no folder of units, or damaged.
    """
    meta = read_meta(folder)
    rows = Told(Path(folder), FAILED, meta["block"])
    return [row for block in range(num_blocks(meta)) for row in rows.of(block)]


def lacking(folder: str | Path, records: int) -> str:
    """What to say of a folder that holds fewer records than recordings were to be encoded; empty if none is missing.

    Args:
        folder: of units.
        records: that are in it.
    """
    wanted, failed = read_meta(folder)["recordings"], len(failures(folder))
    missing = wanted - records - failed
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
