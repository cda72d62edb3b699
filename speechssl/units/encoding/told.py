"""What is told of recordings: why they failed, or what they hold instead of speech; one row each.

    OUT/.speechssl/failed-00002.jsonl    rows of block 2, written before its part
    OUT/failed-1-of-3.jsonl              rows of the blocks of a share, as long as the other shares lack parts
    OUT/failed.jsonl                     rows of all blocks, once all parts are there

Hidden files do not come along when parts of several machines are copied together, so those that are seen count, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechssl.checkpoints import alone, foreign, write_text
from speechssl.errors import InputError
from speechssl.units.encoding import formats

FAILED = "failed.jsonl"
REMARKS = "remarks.jsonl"
HIDDEN = ".speechssl"
Row = dict[str, Any]


class Told:
    """Rows of one kind in a folder of units.

    Args:
        folder: of units.
        kind: ``FAILED`` or ``REMARKS``.
        size: recordings a block.
    Raises:
        InputError: a file of rows is damaged.
    """

    def __init__(self, folder: Path, kind: str, size: int) -> None:
        self._folder, self._kind, self._size = folder, kind, size
        self._seen = self._read_seen()
        self._settled: set[int] = set()

    def of(self, block: int) -> list[Row]:
        """The rows of a block, in the order of the list."""
        hidden = self._hidden(block)
        return _rows(hidden) if hidden.exists() else self._seen.get(block, [])

    def settle(self, block: int, rows: Sequence[Row]) -> None:
        """These are the rows of a block, and what was told of it before no longer counts."""
        self._settled.add(block)
        self._seen.pop(block, None)
        _write(self._hidden(block), rows)

    def publish(self, num_blocks: int, share: tuple[int, int], *, complete: bool) -> None:
        """Write the file that people see: that of the share, or of the whole folder if it is complete."""
        # another share may write now, and both write the whole if both are the last
        with alone(self._folder / HIDDEN):
            self._seen = {block: rows for block, rows in self._read_seen().items() if block not in self._settled}
            if not complete:
                blocks = range(share[0] - 1, num_blocks, share[1])
                _write(_of_share(self._folder, self._kind, share), [row for block in blocks for row in self.of(block)])
                return
            _write(self._folder / self._kind, [row for block in range(num_blocks) for row in self.of(block)])
            for path in self._folder.glob(f"{Path(self._kind).stem}-*-of-*.jsonl"):
                path.unlink()

    def _hidden(self, block: int) -> Path:
        return self._folder / HIDDEN / f"{Path(self._kind).stem}-{block:05d}.jsonl"

    def _read_seen(self) -> dict[int, list[Row]]:
        shares = sorted(self._folder.glob(f"{Path(self._kind).stem}-*-of-*.jsonl"))
        found = {row["index"]: row for path in (self._folder / self._kind, *shares) for row in _rows(path)}
        blocks: dict[int, list[Row]] = {}
        for index in sorted(found):
            blocks.setdefault(index // self._size, []).append(found[index])
        return blocks


def seen_in(folder: str | Path, kind: str, share: tuple[int, int]) -> Path:
    """The file in which a person finds the rows of a share."""
    whole = Path(folder) / kind
    return whole if whole.exists() else _of_share(Path(folder), kind, share)


def forget(folder: Path) -> None:
    """Delete all rows, and the journals of a folder."""
    for kind in (FAILED, REMARKS):
        for path in (*folder.glob(f"{Path(kind).stem}*.jsonl"), *(folder / HIDDEN).glob(f"{Path(kind).stem}-*.jsonl")):
            path.unlink()
    for path in (folder / HIDDEN).glob("journal-*.jsonl"):
        path.unlink()


def _of_share(folder: Path, kind: str, share: tuple[int, int]) -> Path:
    return folder / f"{Path(kind).stem}-{share[0]}-of-{share[1]}.jsonl"


def _rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    rows = [row for _, row in foreign.read_lines(path)]
    for row in rows:
        wanted = isinstance(row, dict) and isinstance(row.get("index"), int)
        if not (wanted and isinstance(row.get("id"), str) and isinstance(row.get("reason"), str)):
            raise InputError(f"{path} is damaged (an index, an id and a reason a line needed); delete it, encode again")
    return rows


def _write(path: Path, rows: Sequence[Row]) -> None:
    if rows:
        write_text(path, "".join(formats.line(row) + "\n" for row in rows))
    else:
        path.unlink(missing_ok=True)
