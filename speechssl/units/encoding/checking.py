"""Check a folder of units: every recording once, in order, and units, durations and times that fit together.

A unit that was changed for another one of the codebook is not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechssl.errors import InputError
from speechssl.units.encoding import engine, formats, told
from speechssl.units.encoding.manifest import ids_digest

MOST = 20  # faults that are listed


@dataclass
class Finding:
    """Result of a check.

    Args:
        records: utterances with units.
        failed: utterances that failed, of which the folder tells.
        frames: frames of all records; None for text, which keeps no times.
        seconds: duration of all records; None for text.
        faults: one sentence for each fault.
        damaged: faults other than parts that are missing.
    """

    records: int = 0
    failed: int = 0
    frames: int | None = 0
    seconds: float | None = 0.0
    faults: list[str] = field(default_factory=list)
    damaged: int = 0

    @property
    def sound(self) -> bool:
        """Whether no fault was found."""
        return not self.faults


def check(folder: str | Path) -> Finding:
    """Check a folder of units.

    Raises:
        InputError: the folder holds no units.
    """
    root, meta, finding = Path(folder), engine.read_meta(folder), Finding()
    if meta["form"] == "text":
        finding.frames = finding.seconds = None
    expected = [engine.part_path(root, meta["form"], block) for block in range(engine.num_blocks(meta))]
    finding.faults += _missing(root, expected)
    missing = len(finding.faults)
    known = {path.name for path in expected}
    finding.faults += [f"{p.name} does not belong here" for p in sorted(root.glob("part-*")) if p.name not in known]
    failures = {row["index"]: row["id"] for row in engine.failures(root)}
    finding.failed = len(failures)
    ids = list(_ids(expected, meta, failures, finding))
    if not finding.faults and ids_digest(iter(ids)) != meta["ids"]:
        twice = sorted({one for one in ids if ids.count(one) > 1})[:3] if len(set(ids)) < len(ids) else []
        finding.faults.append(
            f"{len(ids)} utterances of {meta['recordings']}, not the ones of the list in their order"
            + (f"; twice: {', '.join(twice)}" if twice else "")
        )
    finding.damaged = len(finding.faults) - missing
    del finding.faults[MOST:]
    return finding


def _missing(root: Path, expected: list[Path]) -> list[str]:
    """A sentence for each share that has not begun, and for each other part that is missing."""
    absent = [path for path in expected if not path.exists()]
    counts = {int(path.name.rpartition("-")[2]) for path in (root / told.HIDDEN).glob("lock-*-of-*")}
    counts |= {int(path.stem.rpartition("-")[2]) for path in root.glob("failed-*-of-*.jsonl")}
    sentences = []
    for count in sorted(counts - {1})[:1]:
        for number in range(1, count + 1):
            share = expected[number - 1 :: count]
            if share and not any(path.exists() for path in share):
                sentences.append(
                    f"shard {number}/{count} is not here yet: encode it, or copy its parts into this folder"
                )
                absent = [path for path in absent if path not in share]
    return [*sentences, *(f"{path.name} is missing: run the same command again" for path in absent)]


def _ids(parts: list[Path], meta: dict[str, Any], failures: dict[int, str], finding: Finding) -> Iterator[str]:
    """The ids of records and failures, in the order of the list."""
    for block, path in enumerate(parts):
        first = block * meta["block"]
        last = min(first + meta["block"], meta["recordings"])
        records = _records(path, finding)
        for index in range(first, last):
            if index in failures:
                yield failures[index]
                continue
            record = next(records, None)
            if record is None:
                if path.exists():
                    finding.faults.append(f"{path.name} ends before recording {index}")
                break
            finding.records += 1
            try:
                fault = _fault(record, meta)
                if finding.frames is not None and finding.seconds is not None:
                    finding.frames += record["frames"]
                    finding.seconds += record["seconds"]
            except (KeyError, TypeError, ValueError):
                fault = "fields are missing, or of another kind"
            if fault:
                finding.faults.append(f"{path.name}: {record['id']}: {fault}")
            yield record["id"]
        finding.faults += [f"{path.name}: {record['id']} is one too many" for record in records]


def _records(path: Path, finding: Finding) -> Iterator[formats.Record]:
    if not path.exists():
        return
    try:
        yield from formats.read(path)
    except InputError as error:
        finding.faults.append(str(error))


def _fault(record: formats.Record, meta: dict[str, Any]) -> str:
    units = record["units"]
    codes = [code for unit in units for code in (unit if isinstance(unit, list) else [unit])]
    if not codes or not 0 <= min(codes) <= max(codes) < meta["num_units"]:
        return f"units outside 0 to {meta['num_units'] - 1}, or none"
    if meta["form"] == "text":
        return ""
    durations, starts, ends = record["durations"], record["start"], record["end"]
    if not len(units) == len(durations) == len(starts) == len(ends):
        return "units, durations and times differ in number"
    if record["codebook"] != meta["codebook"]:
        return f"made with codebook {record['codebook']}, not {meta['codebook']}"
    if sum(durations) != record["frames"] or min(durations) < 1:
        return f"durations add up to {sum(durations)}, not to {record['frames']} frames"
    if any(abs((e - s) * meta["frame_rate"] - d) > 1e-3 for s, e, d in zip(starts, ends, durations, strict=True)):
        return "times and durations differ"
    if any(later < earlier for earlier, later in zip(ends, starts[1:], strict=False)):
        return "units overlap in time"
    if meta["collapsed"] and any(
        a == b and end == start for a, b, end, start in zip(units, units[1:], ends, starts[1:], strict=False)
    ):
        return "a unit follows itself"
    return ""
