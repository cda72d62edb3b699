"""What failed is known wherever the files of a folder are copied, and no recording is lost without a word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from speechssl.errors import InputError
from speechssl.units.encoding import engine, formats, told
from speechssl.units.encoding.checking import check
from speechssl.units.encoding.engine import Plan, Results, Summary
from speechssl.units.encoding.manifest import Entry

NAMES = ("a", "bad1", "b", "c", "d", "bad2", "e", "bad3")


class Work:
    """Encodes every recording to one unit, and fails for those whose names begin with "bad"."""

    def __init__(self, mended: bool = False) -> None:
        self.mended = mended
        self.seen: list[str] = []

    def __call__(self, items: Iterable[tuple[int, Entry]]) -> Results:
        for index, entry in items:
            self.seen.append(entry.id)
            if entry.id.startswith("bad") and not self.mended:
                yield index, {"failure": f"{entry.path}: no sound"}
                continue
            record: dict[str, Any] = {"id": entry.id, "path": entry.path, "sample_rate": 16000, "seconds": 0.02}
            record |= {"frames": 1, "units": [3], "durations": [1], "start": [0.0], "end": [0.02], "codebook": "x"}
            yield index, {"record": record, **({"remark": "silence"} if entry.id == "c" else {})}


def plan(names: Iterable[str] = NAMES, form: str = "jsonl") -> Plan:
    entries = [Entry(name, f"{name}.wav", f"{name}.wav") for name in names]
    return Plan(entries, "x", "small/1/km8", 50.0, 8, form=form, block=2)


def visible(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}


def copied(sources: Iterable[Path], target: Path, pattern: str) -> Path:
    """What `cp SOURCE/PATTERN TARGET` copies: nothing hidden."""
    target.mkdir()
    for path in [path for source in sources for path in source.glob(pattern) if not path.name.startswith(".")]:
        shutil.copy(path, target)
    return target


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """A folder of each of two machines."""
    for number in (1, 2):
        engine.run(plan(), tmp_path / f"m{number}", Work(), shard=(number, 2))
    return [tmp_path / "m1", tmp_path / "m2"]


def test_shards_that_are_copied_together_bring_their_failures(shards: list[Path], tmp_path: Path) -> None:
    engine.run(plan(), tmp_path / "one", Work())
    both = copied(shards, tmp_path / "both", "*")
    assert (check(both).faults, check(both).failed) == ([], 3)
    work = Work()
    assert engine.run(plan(), both, work) == Summary(0, failed=3, already=5, without_speech=1)
    assert work.seen == []
    assert visible(both) == visible(tmp_path / "one")
    work = Work(mended=True)
    assert engine.run(plan(), both, work, retry=True) == Summary(3, failed=0, already=5, without_speech=1)
    assert work.seen == ["bad1", "bad2", "bad3"]
    assert (check(both).faults, check(both).records) == ([], 8)
    assert not (both / told.FAILED).exists()


@pytest.mark.parametrize("form", list(formats.SUFFIXES))
def test_a_part_whose_failures_are_not_known_is_completed(tmp_path: Path, form: str) -> None:
    engine.run(plan(form=form), tmp_path / "one", Work())
    parts = copied([tmp_path / "one"], tmp_path / "parts", "[mpr][ea]*")
    assert not (parts / told.FAILED).exists()
    work = Work()
    assert engine.run(plan(form=form), parts, work) == Summary(0, failed=3, already=5, without_speech=1)
    assert work.seen == ["bad1", "bad2", "bad3"]
    assert visible(parts) == visible(tmp_path / "one")


def test_a_folder_with_failures_in_hidden_files_alone_goes_on(tmp_path: Path) -> None:
    engine.run(plan(), tmp_path, Work())
    (tmp_path / told.FAILED).unlink()
    assert check(tmp_path).failed == 3
    work = Work()
    assert engine.run(plan(), tmp_path, work).failed == 3
    assert work.seen == []
    assert (tmp_path / told.FAILED).exists()


def test_a_shard_says_what_failed_and_check_what_is_not_there(shards: list[Path]) -> None:
    place = told.seen_in(shards[0], told.FAILED, (1, 2))
    assert [json.loads(line)["id"] for line in place.read_text().splitlines()] == ["bad1", "bad2"]
    found = check(shards[0])
    assert found.faults == ["shard 2/2 is not here yet: encode it, or copy its parts into this folder"]
    assert (found.records, found.failed, found.damaged) == (2, 2, 0)
    engine.part_path(shards[0], "jsonl", 2).unlink()
    assert check(shards[0]).faults[1] == "part-00002.jsonl is missing: run the same command again"


def test_text_has_no_times(tmp_path: Path) -> None:
    engine.run(plan(form="text"), tmp_path, Work())
    found = check(tmp_path)
    assert (found.sound, found.frames, found.seconds) == (True, None, None)


def test_an_interrupted_retry_is_tried_again(tmp_path: Path) -> None:
    def stopped(items: Iterable[tuple[int, Entry]]) -> Results:
        yield from Work()(list(items)[:1])
        raise KeyboardInterrupt

    engine.run(plan(), tmp_path, Work())
    before = visible(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        engine.run(plan(), tmp_path, stopped, retry=True)
    assert visible(tmp_path) == before
    assert engine.run(plan(), tmp_path, Work(mended=True), retry=True).encoded == 3


def test_a_folder_in_which_everything_failed_is_begun_anew(tmp_path: Path) -> None:
    engine.run(plan(["bad1", "bad2", "bad3"]), tmp_path, Work())
    assert engine.run(plan(["a", "b"]), tmp_path, Work()).encoded == 2
    assert sorted(visible(tmp_path)) == ["meta.json", "part-00000.jsonl"]
    assert check(tmp_path).sound
    with pytest.raises(InputError, match=r"2 there, 3 now\); a folder is for one list"):
        engine.run(plan(["a", "b", "c"]), tmp_path, Work())


def test_a_damaged_file_of_failures_is_named(tmp_path: Path) -> None:
    engine.run(plan(), tmp_path, Work())
    (tmp_path / told.FAILED).write_text('{"index": 1}\n')
    with pytest.raises(InputError, match=r"failed\.jsonl is damaged.*delete it"):
        check(tmp_path)
