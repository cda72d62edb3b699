"""Many sources, one run: which files are meant, where each result goes, what is already done, what went wrong."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechssl.errors import InputError, SpeechSSLError

# What a folder is searched for; a file named by itself may be called anything.
AUDIO = frozenset(
    [".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".wma", ".aif", ".aiff", ".aifc"]
).union([".au", ".caf", ".w64", ".rf64", ".webm", ".mka", ".mkv", ".mov"])
LEDGER = ".speechssl.jsonl"  # in the output folder


@dataclass(frozen=True)
class Job:
    """One file in, one file out."""

    source: Path
    output: Path


@dataclass
class Outcome:
    """What became of a run: one dictionary for every result, skipped output and failure."""

    results: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


def audio_files(given: Iterable[str | Path]) -> list[Path]:
    """Files, folders (searched below) and glob patterns as one list of files, in a fixed order, each once.

    Raises:
        InputError: a folder or a pattern holds no audio file.
    """
    return list(dict.fromkeys(path for each in given for path, _ in _expanded(str(each))))


def plan(sources: Sequence[str | Path], output: str | Path, suffix: str) -> tuple[list[Job], Path | None]:
    """The jobs, and the output folder if there is one.

    Args:
        sources: files, folders, glob patterns. What lies below a folder keeps its place below the output folder.
        output: a folder if it exists as one, ends in a slash, or the sources are more than one file; else a file.
        suffix: of the files in an output folder.
    Raises:
        InputError: no source, several for one file, two with the same output, or one that would be overwritten.
    """
    found = [pair for each in sources for pair in _expanded(str(each))]
    if not found:
        raise InputError("no source: name a recording, a folder or a pattern before the options")
    single = len(sources) == 1 and len(found) == 1 and found[0][0] == Path(str(sources[0]))
    if single and not (Path(output).is_dir() or str(output).endswith(("/", os.sep))):
        jobs, folder = [Job(found[0][0], Path(output))], None
    else:
        folder = Path(output)
        if folder.suffix.lower() in AUDIO | {suffix} and not (folder.is_dir() or str(output).endswith(("/", os.sep))):
            many = f"{len(found)} sources" if len(found) > 1 else "a folder or a pattern of sources"
            raise InputError(f"--output {output} names one file for {many}; name a folder, or end it in a slash")
        jobs = [Job(path, folder / path.relative_to(root).with_suffix(suffix)) for path, root in dict(found).items()]
    _check(jobs)
    return jobs, folder


class Ledger:
    """What was already done into a folder, so that an interrupted run continues where it stopped.

    An output counts as done if it still has the bytes it was written with, and was made from the same bytes of source
    with the same settings.

    Args:
        folder: of the outputs; None for a single output, which is always made again.
        settings: JSON-able; whatever decides the result besides the source.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any]) -> None:
        self._path = None if folder is None else folder / LEDGER
        self._settings = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self._torn = False
        self._known = self._read()

    def is_done(self, job: Job) -> bool:
        """Whether the output is there and is what would be made again."""
        entry = self._known.get(self._name(job))
        if entry is None or entry.get("settings") != self._settings or not job.output.is_file():
            return False
        return job.source.is_file() and self._entry(job) == entry

    def record(self, job: Job) -> None:
        """Remember a finished job, on disk at once."""
        if self._path is None:
            return
        self._known[self._name(job)] = entry = self._entry(job)
        # a line of its own, even after one that an interruption cut short
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._torn + json.dumps(entry) + "\n")
        self._torn = False

    def _entry(self, job: Job) -> dict[str, Any]:
        return {
            "output": self._name(job),
            "settings": self._settings,
            "source_sha256": _sha256(job.source),
            "output_sha256": _sha256(job.output),
        }

    def _name(self, job: Job) -> str:
        return job.output.name if self._path is None else job.output.relative_to(self._path.parent).as_posix()

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._path is None or not self._path.exists():
            return {}
        known = {}
        text = self._path.read_text(encoding="utf-8", errors="replace")
        self._torn = not text.endswith("\n")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                known[entry["output"]] = entry
            except (ValueError, TypeError, KeyError):
                continue  # the line an interruption cut short: that output is made again
        return known


def run(
    jobs: Sequence[Job],
    work: Callable[[Job], dict[str, Any]],
    *,
    ledger: Ledger,
    is_batch: bool,
    advance: Callable[[str], None],
) -> Outcome:
    """Do the jobs one after the other.

    Args:
        jobs: from ``plan``.
        work: does one and says what it did.
        ledger: what to skip.
        is_batch: a failure is noted and the rest goes on; else it is raised.
        advance: called with the name of each source once it is through.
    """
    outcome = Outcome()
    for job in jobs:
        facts = {"source": str(job.source), "output": str(job.output)}
        if ledger.is_done(job):
            outcome.skipped.append(facts)
        else:
            _attempt(job, facts, work, ledger, is_batch, outcome)
        advance(job.source.name)
    return outcome


def _attempt(
    job: Job,
    facts: dict[str, Any],
    work: Callable[[Job], dict[str, Any]],
    ledger: Ledger,
    is_batch: bool,
    outcome: Outcome,
) -> None:
    try:
        if is_batch:
            make_folder(job.output.parent)
        outcome.results.append({**facts, **work(job)})
        ledger.record(job)
    # one file's trouble, whatever it is, must not cost the others
    except Exception as error:
        if not is_batch:
            raise
        expected = isinstance(error, SpeechSSLError | OSError)
        outcome.failed.append({**facts, "error": str(error) if expected else f"{type(error).__name__}: {error}"})


def _expanded(given: str) -> list[tuple[Path, Path]]:
    """Pairs of a file and the folder its place is kept from."""
    path = Path(given)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO and p.is_file() and not _hidden(p, path))
        if not found:
            raise InputError(f"{path} holds no audio file; name a folder of recordings, or the files themselves")
        return [(p, path) for p in found]
    if path.exists() or not glob.has_magic(given):
        return [(path, path.parent)]
    matches = [Path(match) for match in sorted(glob.glob(given, recursive=True)) if Path(match).is_file()]
    if not matches:
        raise InputError(f"the pattern {given!r} matches no file; check it, or name the files")
    return [(match, match.parent) for match in matches]


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _check(jobs: Sequence[Job]) -> None:
    sources = {job.source.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        place = job.output.resolve()
        if place in sources:
            raise InputError(f"{job.output} is a source and would be overwritten; choose another output")
        if place in taken:
            raise InputError(
                f"{taken[place]} and {job.source} would both be written to {job.output}; "
                "give their common folder as the source, or convert them apart"
            )
        taken[place] = job.source


def check_place(path: Path) -> None:
    """Tell that a file could not be written, or the folders above it not be made, before the work for it.

    Raises:
        InputError: the nearest folder that is there is no folder, or cannot be written to.
    """
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir():
        raise InputError(f"{place} is no folder, so {path} cannot be written; choose another place")
    if not os.access(place, os.W_OK):
        raise InputError(f"{place} cannot be written to; choose another place, or make it writable")


def make_folder(folder: Path) -> None:
    """Make a folder for results, if it is not there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another output folder") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
