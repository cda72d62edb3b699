"""One run over many sources: the files that are meant, the place of each result, the loop, and what went wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import typer

from speechssl.checkpoints import new_folder
from speechssl.checkpoints.names import some
from speechssl.cli import terminal
from speechssl.cli.ledger import Job, Ledger, made_before
from speechssl.errors import InputError, SpeechSSLError

Made = TypeVar("Made")
NOT_TAKEN = "not taken, for its name ends like that of no recording"


class Plan(NamedTuple):
    """The jobs of a run.

    Args:
        jobs: one for each output.
        folder: of the outputs; without one there is one job, and it must succeed.
        others: files in the folders of sources that are not taken, for their names are those of no recordings.
    """

    jobs: list[Job]
    folder: Path | None
    others: tuple[Path, ...] = ()


@dataclass
class Outcome:
    """Result of a run: one dictionary for every result, skipped output and failure."""

    results: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    told: int = 0  # results whose line is printed


def show(
    plan: Plan, *, json: bool, settings: Callable[[Job], dict[str, Any]] | None = None, strict: bool = False
) -> None:
    """Print what a run would make: each source with its output, and how many are already done.

    Args:
        plan, settings, strict: as for ``run``; without settings nothing is done yet.
        json: print JSON instead of lines.
    """
    ledger = None if settings is None else Ledger(plan.folder, settings)
    left = [job for job in plan.jobs if ledger is None or not _is_done(ledger, job, strict=strict)]
    if json:
        terminal.emit([{"source": str(job.source), "output": str(job.output)} for job in left])
    else:
        for job in left:
            terminal.row(f"{job.source} -> {job.output}")
    _tell_done(len(plan.jobs) - len(left))
    for path in plan.others:
        terminal.remark(f"{path}: {NOT_TAKEN}")


def recordings(
    given: Sequence[str | Path] | None, listed: Sequence[str | Path] | None = None, *, needed: bool = True
) -> list[Path]:
    """Files, folders, glob patterns and lists of one command as one list of recordings; see ``audio.search``.

    Raises:
        InputError: a folder, pattern or list without recordings, or nothing at all although recordings are needed.
    """
    from speechssl.audio import search

    found = search.recordings(given or [], listed or [])
    if needed and not found:
        raise InputError("no recording: name a recording, a folder, a pattern or a --list")
    tell_others(given or [])
    return found


def usable(
    given: Sequence[str | Path] | None, listed: Sequence[str | Path] | None, *, speech: bool
) -> tuple[list[Path], int]:
    """Recordings, and how many of those in folders, patterns and lists were left out, each with its reason.

    Args:
        given, listed: as for ``recordings``.
        speech: whether recordings without speech are left out, too.
    Raises:
        InputError: as ``recordings``; one that is named itself cannot be read, or none can be used.
    """
    from speechssl.verification import speech_classifier

    files, named, numbers = recordings(given, listed), {Path(one) for one in given or []}, itertools.count(1)

    def checked(path: Path) -> Path:
        terminal.stage(f"checking {path.name}, {next(numbers)} of {len(files)}")
        remark = speech_classifier.remark_on(path)
        if remark and speech and path not in named:
            raise InputError(remark)
        if remark:
            terminal.remark(f"remark: {path}: {remark}")
        return path

    kept = each(files, given, checked)
    return kept, len(files) - len(kept)


def each(files: Sequence[Path], given: Sequence[str | Path] | None, work: Callable[[Path], Made]) -> list[Made]:
    """What is made of each recording; those that cannot be used are left out with the reason.

    Raises:
        InputError: one that is named itself cannot be used, or none can.
    """
    named, made = {Path(one) for one in given or []}, list[Made]()
    for path in files:
        try:
            made.append(work(path))
        except InputError as error:
            if path in named:
                raise
            terminal.failed(path, error)
    if not made:
        raise InputError(f"none of {terminal.count(len(files), 'recording')} can be used; the lines above say why")
    return made


def distinct(files: Sequence[Path], held: Collection[str] = ()) -> list[Path]:
    """The recordings without copies of one another and of those with the checksums ``held``; all if none is left.

    Raises:
        InputError: one that cannot be read.
    """
    from speechssl import audio

    sizes = {os.path.getsize(one) if os.path.isfile(one) else -1 for one in files}
    if not held and len(sizes) == len(files):
        return list(files)  # of different sizes, so no copies
    new: dict[str, Path] = {}
    for one in files:
        if (checksum := audio.checksum(one)) not in held:
            new.setdefault(checksum, one)
    if new and len(new) < len(files):
        copies = "that the voice holds already" if held else "of which there is a copy"
        terminal.remark(f"left out: {terminal.count(len(files) - len(new), 'recording')} {copies}")
    return list(new.values()) or list(files)


def plan(sources: Sequence[str | Path], output: str | Path, suffix: str, *, listed: Sequence[str | Path] = ()) -> Plan:
    """The jobs, and the output folder if there is one.

    Args:
        sources: files, folders, glob patterns. What lies below a folder keeps its place below the output folder. Where
            two outputs would have one name, the names differ (see ``_placed``). Outputs of earlier runs, which folders
            and patterns find if the output folder lies in a folder of sources, are no sources.
        output: a folder if it exists as one, ends in a slash, or the sources are more than one file; else a file.
        suffix: of the files in an output folder.
        listed: lists of sources.
    Raises:
        InputError: no source, several for one file, or one that would be overwritten.
    """
    from speechssl import audio
    from speechssl.audio import search

    check_named(output)
    found = _without_made(search.located(sources), sources, output) + search.located([], listed)
    if not found:
        raise InputError("no source: name a recording, a folder, a pattern or a --list")
    single = len(sources) == 1 and len(found) == 1 and found[0][0] == Path(str(sources[0]))
    if single and not (Path(output).is_dir() or str(output).endswith(("/", os.sep))):
        jobs, folder = [Job(found[0][0], Path(output))], None
    else:
        folder = Path(output)
        named_as_file = folder.suffix.lower() in audio.SUFFIXES | {suffix}
        if named_as_file and not (folder.is_dir() or str(output).endswith(("/", os.sep))):
            many = f"{len(found)} sources" if len(found) > 1 else "a folder or a pattern of sources"
            raise InputError(f"--output {output} names one file for {many}; name a folder, or end it in a slash")
        jobs = [Job(path, folder / place) for path, place in _placed(dict(found), suffix).items()]
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--output {output} is no folder; name a folder")
    _check(jobs)
    return Plan(jobs, folder, tuple(one for one in others(sources) if folder not in one.parents))


def _without_made(
    found: list[tuple[Path, Path]], sources: Sequence[str | Path], output: str | Path
) -> list[tuple[Path, Path]]:
    """What was found without the outputs of earlier runs, unless they are named themselves or nothing else is there."""
    made, named = made_before(Path(output)), set(map(str, sources))
    kept = [one for one in found if str(one[0]) in named or Path(os.path.realpath(one[0])) not in made]
    return kept or found


def _placed(found: dict[Path, Path], suffix: str) -> dict[Path, Path]:
    """Where the output of each source goes in the output folder; it depends on nothing but the sources.

    Sources of one name get as many of their folders as tell them apart: ``monday/talk.wav``, ``tuesday/talk.wav``. Of
    sources that differ in their extensions one, if possible the one with that of the outputs, keeps the plain name;
    the others are named like ``talk-mp3.wav``.

    Args:
        found: the folder that its place is relative to, for each source.
        suffix: of the outputs.
    """
    from speechssl import audio

    places = {path: path.relative_to(root) for path, root in found.items()}
    for several in _sharing(places):
        places |= zip(several, map(Path, audio.told_apart(several)), strict=True)
    outputs = {path: place.with_suffix(suffix) for path, place in places.items()}
    used = set(outputs.values())
    for several in _sharing(outputs):
        several.sort(key=lambda path: (path.suffix.lower() != suffix, str(path)))
        for path in several[1:]:
            stem = f"{places[path].stem}-{path.suffix.lower().removeprefix('.')}"
            names = (f"{stem}{'' if number == 1 else f'-{number}'}{suffix}" for number in itertools.count(1))
            outputs[path] = next(place for name in names if (place := outputs[path].with_name(name)) not in used)
            used.add(outputs[path])
    return outputs


def _sharing(places: dict[Path, Path]) -> list[list[Path]]:
    """Groups of two or more sources that share a place."""
    groups: dict[Path, list[Path]] = {}
    for path, place in places.items():
        groups.setdefault(place, []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def run(
    plan: Plan,
    work: Callable[[Job], dict[str, Any]],
    *,
    settings: Callable[[Job], dict[str, Any]],
    strict: bool = False,
    title: str = "work",
    describe: Callable[[dict[str, Any]], str] | None = None,
) -> Outcome:
    """Do the jobs one after the other, with a progress bar; outputs that are already done are skipped.

    Args:
        plan: from ``plan``. In a folder a failure is noted and the other jobs go on; a single failure is raised.
        work: does one job and returns facts about its result.
        settings: of a job; JSON-able; whatever decides the result besides the source.
        strict: whether outputs that got a remark when they were done are made again, for ``work`` to refuse.
        title: of the progress bar.
        describe: one result in a few words, printed when it is done; None prints nothing.
    """
    outcome, ledger = Outcome(), Ledger(plan.folder, settings)
    with terminal.progress(title, [(str(job.source), job.source) for job in plan.jobs]) as advance:
        for job in plan.jobs:
            facts = {"source": str(job.source), "output": str(job.output)}
            if plan.folder is None:
                outcome.results.append({**facts, **work(job)})
            else:
                _attempt(job, facts, work, ledger, outcome, strict=strict)
            if describe is not None:
                _tell_last(outcome, describe)
            advance(str(job.source))
    outcome.left_out = [{"source": str(path), "reason": NOT_TAKEN} for path in plan.others]
    return outcome


def _tell_last(outcome: Outcome, describe: Callable[[dict[str, Any]], str]) -> None:
    """Print the line of each result and failure that has none."""
    for result in outcome.results[outcome.told :]:
        terminal.row(f"{result['output']}  {describe(result)}")
    outcome.told = len(outcome.results)


def _attempt(
    job: Job,
    facts: dict[str, Any],
    work: Callable[[Job], dict[str, Any]],
    ledger: Ledger,
    outcome: Outcome,
    *,
    strict: bool,
) -> None:
    try:
        if _is_done(ledger, job, strict=strict):
            outcome.skipped.append(facts | ledger.remark(job))
            return
        with into(job.output.parent):
            outcome.results.append(facts | _made(job, work, ledger))
    # trouble with one file, whatever it is, must not cost the others
    except Exception as error:
        expected = isinstance(error, SpeechSSLError | OSError)
        outcome.failed.append({**facts, "error": str(error) if expected else f"{type(error).__name__}: {error}"})


def _is_done(ledger: Ledger, job: Job, *, strict: bool) -> bool:
    return ledger.is_done(job) and not (strict and ledger.remark(job))


def _tell_done(count: int) -> None:
    if count:
        terminal.remark(f"{count} already done with the same settings")


def _made(job: Job, work: Callable[[Job], dict[str, Any]], ledger: Ledger) -> dict[str, Any]:
    """Do one job and remember it; a new output that is not remembered goes, for the next run would not replace it."""
    new = not job.output.exists()
    try:
        facts = work(job)
        ledger.record(job, facts)
    except BaseException:
        if new:
            job.output.unlink(missing_ok=True)
        raise
    return facts


def remarked(job: Job, remark: str, *, strict: bool) -> dict[str, str]:
    """A remark on a source as facts about its result.

    Raises:
        InputError: there is one, and none is accepted.
    """
    if remark and strict:
        raise InputError(f"{job.source}: {remark}; leave it out, or run without --strict")
    return {"remark": remark} if remark else {}


def channels(source: Path) -> dict[str, str]:
    """A remark on channels that cancel each other as a fact about the result; it is printed when they are read."""
    from speechssl import audio

    taken = audio.channel_taken(source)
    return {} if taken is None else {"channels": f"cancel each other; channel {taken + 1} was taken"}


def finish(outcome: Outcome, *, json: bool) -> None:
    """Print what is left to say of a run; leave with exit code 2 if anything failed.

    Args:
        outcome: from ``run``, which printed the results.
        json: print everything as JSON instead of lines.
    """
    if json:
        terminal.emit({name: value for name, value in dataclasses.asdict(outcome).items() if name != "told"})
    for result in outcome.results + outcome.skipped:
        if "remark" in result:
            terminal.remark(f"remark: {result['source']}: {result['remark']}")
    for failure in outcome.failed:
        terminal.failed(failure["source"], failure["error"])
    _tell([one["source"] for one in outcome.left_out])
    _tell_done(len(outcome.skipped))
    refuse(len(outcome.failed), len(outcome.results) + len(outcome.skipped) + len(outcome.failed))


def refuse(failed: int, total: int) -> None:
    """Leave with exit code 2 if anything failed."""
    if failed:
        terminal.error(f"error: {failed} of {total} failed{'; the others are done' * (failed < total)}")
        raise typer.Exit(2)


def others(given: Iterable[str | Path]) -> list[Path]:
    """Files in the folders among the sources that are not taken, for their names are those of no recordings."""
    from speechssl.audio import search

    below = (one for each in given if Path(each).is_dir() for one in search.below(each))
    return [one for one in dict.fromkeys(below) if not search.is_recording(one)]


def tell_others(given: Iterable[str | Path]) -> None:
    """Name the files in folders that are not taken."""
    _tell([str(path) for path in others(given)])


def _tell(names: Sequence[str]) -> None:
    if names:
        terminal.remark(f"{NOT_TAKEN}: {some(names)}")


def _check(jobs: Sequence[Job]) -> None:
    sources = {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        if os.path.realpath(job.output) in sources:
            raise InputError(f"{job.output} is a source and would be overwritten; choose another output")


def check_named(output: str | Path) -> None:
    """Refuse an empty output, which would be the current folder.

    Raises:
        InputError: it is empty.
    """
    if not str(output).strip():
        raise InputError("--output is empty; the name of a file or folder needed")


@contextlib.contextmanager
def into(folder: Path) -> Iterator[None]:
    """Make a folder for results unless it exists; if there are none, it goes again.

    Raises:
        InputError: the folder cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(new_folder(folder))
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}; choose another output folder") from error
        yield
