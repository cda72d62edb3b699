"""What a batch has finished, in a file of its output folder, so that the next run continues."""

from __future__ import annotations

import functools
import hashlib
import json as json_module
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechssl.checkpoints import alone, foreign, sha256_of

LEDGER = ".speechssl.jsonl"  # in the output folder


@dataclass(frozen=True)
class Job:
    """One file in, one file out."""

    source: Path
    output: Path


class Ledger:
    """A record of finished outputs, so that an interrupted run continues where it stopped.

    An output is done if its bytes are unchanged and it was made from the same source bytes with the same settings.

    Args:
        folder: folder of the outputs; None for a single output, which is always made again.
        settings: of a job; JSON-able; whatever decides the result besides the source.
    """

    def __init__(self, folder: Path | None, settings: Callable[[Job], dict[str, Any]]) -> None:
        self._path = None if folder is None else folder / LEDGER
        self._settings = settings
        self._known = self._read()

    def is_done(self, job: Job) -> bool:
        """Whether the output exists and making it again would change nothing."""
        entry = self._known.get(self._name(job))
        if entry is None or not job.output.is_file() or not job.source.is_file():
            return False
        return self._entry(job) == {name: value for name, value in entry.items() if name != "remark"}

    def remark(self, job: Job) -> dict[str, str]:
        """What was remarked on a finished job when it was done, as a fact about its result."""
        entry = self._known.get(self._name(job), {})
        return {"remark": str(entry["remark"])} if "remark" in entry else {}

    def names(self) -> list[str]:
        """Outputs that were finished, relative to the folder."""
        return list(self._known)

    def record(self, job: Job, facts: dict[str, Any] | None = None) -> None:
        """Remember a finished job and the remark among the facts about its result, on disk at once."""
        if self._path is None:
            return
        remark = {name: value for name, value in (facts or {}).items() if name == "remark"}
        self._known[self._name(job)] = entry = self._entry(job) | remark
        with alone(self._path.parent), self._path.open("a+b") as file:
            # starts a new line, even after a line that an interruption cut short; nobody else writes here meanwhile
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + json_module.dumps(entry).encode() + b"\n")

    def _entry(self, job: Job) -> dict[str, Any]:
        return {
            **_as_text(self._name(job)),
            "settings": hashlib.sha256(json_module.dumps(self._settings(job), sort_keys=True).encode()).hexdigest(),
            "source_sha256": sha256_of(job.source),
            "output_sha256": sha256_of(job.output),
        }

    def _name(self, job: Job) -> str:
        # an output of a list of jobs may lie elsewhere
        return job.output.name if self._path is None else os.path.relpath(job.output, self._path.parent)

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._path is None or not self._path.exists():
            return {}
        facts = self._path.stat()
        return dict(_entries(self._path, facts.st_size, facts.st_mtime_ns))


@functools.lru_cache(maxsize=1)
def _entries(path: Path, size: int, changed: int) -> dict[str, dict[str, Any]]:
    """Finished outputs by name; read once as long as the file has this size and time: a batch asks several times."""
    known = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = foreign.parse_object(line, path)
            known[_name_in(entry)] = entry
        except (ValueError, TypeError, KeyError):
            continue  # the line an interruption cut short: that output is made again
    return known


def _as_text(name: str) -> dict[str, str]:
    """The name of an output as a field of JSON, which holds none that is no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return {"output_bytes": os.fsencode(name).hex()}
    return {"output": name}


def _name_in(entry: dict[str, Any]) -> str:
    return str(entry["output"]) if "output" in entry else os.fsdecode(bytes.fromhex(entry["output_bytes"]))


def made_before(folder: Path | None) -> set[Path]:
    """Resolved paths of the outputs of earlier runs in a folder."""
    names = [] if folder is None else Ledger(folder, lambda _: {}).names()
    return {Path(os.path.realpath((folder or Path()) / name)) for name in names}
