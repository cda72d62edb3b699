"""Kills at every write and races of writers, for the long attack: what exited 0 is there, all else whole or absent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers import Spectra

from speechssl import audio, checkpoints
from speechssl.cli.ledger import LEDGER, Job, Ledger
from speechssl.receipts import signing, trust
from speechssl.signals import Embedding, Waveform
from speechssl.units.codebooks import codebook
from speechssl.verification import database
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.voices import VoiceLibrary

FORK = multiprocessing.get_context("fork")
WRITERS, ROUNDS, MOMENTS = 8, 20, 12
EVENTS = {"open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "os.truncate", "sqlite3.connect", "shutil.copyfile"}


@dataclass(frozen=True)
class Operation:
    """Something that writes.

    Args:
        before: makes what is there first, in an empty folder.
        work: writes.
        state: what is there, by reading all of it; raises if anything is damaged.
        other: what is read where nothing or half of the work is done, besides the states before and after it.
    """

    before: Callable[[Path], object]
    work: Callable[[Path], object]
    state: Callable[[Path], Any]
    other: tuple[Any, ...] = ()


def _print(number: int) -> Enrolment:
    vector = torch.tensor([1.0, float(number)])
    return Enrolment(Embedding(vector / vector.norm(), "m@1"), f"{number}.wav", f"{number:064x}", 2.0)


def _library(folder: Path) -> VoiceLibrary:
    return VoiceLibrary(folder / "data" / "voices")


def _voices(folder: Path) -> dict[str, list[str]]:
    library = _library(folder)
    known = [path.name.removesuffix(".safetensors") for path in library.folder.glob("*.safetensors")]
    return {name: sorted(one.name for one in library.load(name, verify=True).references) for name in sorted(known)}


def _enrol(path: Path, *numbers: int) -> None:
    with SpeakerDatabase(path) as speakers:
        speakers.enrol("ada", [_print(number) for number in numbers])


def _speakers(path: Path) -> list[str]:
    if not path.exists():
        return []
    with SpeakerDatabase(path) as speakers:
        return sorted(one["source"] for one in speakers.export()["utterances"])


def _book(folder: Path, number: int) -> None:
    centroids = np.random.default_rng(number).normal(size=(1, 500, 40)).astype(np.float32)
    codebook.Codebook(centroids, "spectra/1", 50.0, facts={"number": number}).save(folder / "book.safetensors")


def _ledger(folder: Path) -> list[str]:
    path = folder / LEDGER
    known = Ledger(folder, lambda _: {})._known
    return sorted(known) if path.exists() else []


def _record(folder: Path, number: int) -> None:
    path = folder / f"{number}.wav"
    path.write_bytes(b"x")
    Ledger(folder, lambda _: {}).record(Job(path, path))


def _issue(folder: Path) -> None:
    signing.issue(folder / "0.wav", {"what": "a test"}, signing.Signer())


def _verdict(folder: Path) -> str:
    try:
        return signing.check(folder / "0.wav").verdict
    except ValueError as error:
        return "none" if "has no receipt" in str(error) else str(error)


def _old_speakers(folder: Path) -> None:
    _enrol(folder / "cache" / "speakers.sqlite", 1, 2)


def operations(paths: list[Path]) -> dict[str, Operation]:
    """Everything that writes what cannot be made again; ``paths`` are recordings."""

    def add(*numbers: int, name: str = "ada") -> Callable[[Path], object]:
        return lambda folder: _library(folder).add(name, [paths[number] for number in numbers], Spectra())

    def database_in(folder: Path) -> Path:
        return folder / "data" / "speakers.sqlite"

    return {
        "make a voice": Operation(lambda folder: None, add(0, 1), _voices),
        "add to a voice": Operation(add(0), add(1), _voices),
        "remove a recording": Operation(add(0, 1), lambda folder: _library(folder).remove("ada", "0.wav"), _voices),
        "rename a voice": Operation(
            add(0), lambda folder: _library(folder).rename("ada", "eve"), _voices,
            ({"ada": ["0.wav"], "eve": ["0.wav"]},)
        ),
        "enrol": Operation(
            lambda folder: _enrol(database_in(folder), 1),
            lambda folder: _enrol(database_in(folder), 2, 3),
            lambda folder: _speakers(database_in(folder)),
        ),
        "make a database": Operation(
            lambda folder: None,
            lambda folder: _enrol(database_in(folder), 2, 3),
            lambda folder: _speakers(database_in(folder)),
        ),
        "move the speakers of the cache": Operation(
            _old_speakers,
            lambda folder: database.default_path(),
            lambda folder: _speakers(database.default_path()),
        ),
        "save a codebook": Operation(
            lambda folder: _book(folder, 1),
            lambda folder: _book(folder, 2),
            lambda folder: codebook.load(folder / "book.safetensors").facts["number"],
        ),
        "record in a ledger": Operation(
            lambda folder: _record(folder, 1), lambda folder: _record(folder, 2), _ledger
        ),
        "issue a receipt": Operation(
            lambda folder: audio.write(folder / "0.wav", audio.read(paths[0])), _issue, _verdict
        ),
        "trust a key": Operation(
            lambda folder: trust.add(b"1" * 32, "one"),
            lambda folder: trust.add(b"2" * 32, "two"),
            lambda folder: [one.name for one in trust.listed()],
        ),
    }  # fmt: skip


def in_child(work: Callable[[], object], *, kill_at: int | None = None, count: Path | None = None) -> Any:
    """Do something in a forked process that is killed at one of the events of its file system; the process."""

    def run() -> None:
        torch.set_num_threads(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        seen = [0]

        def hook(event: str, _: object) -> None:
            if event in EVENTS:
                seen[0] += 1
                if seen[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()
        if count is not None:
            found, seen[0] = seen[0], 0
            count.write_text(str(found))

    process = FORK.Process(target=run)
    process.start()
    return process


def killed(name: str, one: Operation, folder: Path) -> tuple[int, list[str]]:
    """Kill an operation at each event and at moments between; how often, and what fell."""
    fresh = iter(range(10_000))

    def begin() -> Path:
        place = folder / f"{name} {next(fresh)}"
        place.mkdir(parents=True)
        os.environ["SPEECHSSL_VOICES"] = str(place / "data" / "voices")
        os.environ["SPEECHSSL_CACHE"] = str(place / "cache")
        one.before(place)
        return place

    place = begin()
    # asking where the speakers are moves them
    before, started = [] if name.startswith("move") else one.state(place), time.monotonic()
    process = in_child(lambda: one.work(place), count=folder / "count")
    process.join()
    took = time.monotonic() - started
    events, after = int((folder / "count").read_text()), one.state(place)
    allowed = [before, after, *one.other]
    moments: list[int | float] = [*range(1, events + 1), *(took * (1 + i) / MOMENTS for i in range(MOMENTS))]
    faults = []
    for moment in moments:
        place = begin()
        at = moment if isinstance(moment, int) else None
        process = in_child(lambda place=place: one.work(place), kill_at=at)
        if at is None:
            time.sleep(moment)
            process.kill()
        process.join()
        try:
            if (found := one.state(place)) not in allowed:
                raise AssertionError(f"{found} is there")
            if found == before:
                one.work(place)
                assert one.state(place) == after
        except (Exception, AssertionError) as error:
            faults.append(f"{name} killed at {moment}: {type(error).__name__}: {error!s:.200}")
    return len(moments), faults


def raced(folder: Path, paths: list[Path]) -> dict[str, tuple[int, int]]:
    """Rounds of writers that begin together: by place, how many wrote and exited 0, and how many of them were lost."""
    writers: dict[str, tuple[Callable[[Path, int], object], Callable[[Path], int]]] = {
        "voice": (
            lambda place, number: _library(place).add("ada", [paths[number]], Spectra()),
            lambda place: len(_voices(place)["ada"]),
        ),
        "database": (
            lambda place, number: _enrol(place / "speakers.sqlite", number),
            lambda place: len(_speakers(place / "speakers.sqlite")),
        ),
        "ledger": (_record, lambda place: len(_ledger(place))),
        "trusted keys": (
            lambda place, number: trust.add(bytes([number]) * 32, f"key {number}"),
            lambda place: len(trust.listed()),
        ),
    }
    found = {}
    for name, (write, count) in writers.items():
        wrote = lost = 0
        for number in range(ROUNDS):
            place = folder / f"{name} {number}"
            place.mkdir(parents=True)
            os.environ["SPEECHSSL_VOICES"] = str(place / "data" / "voices")
            start = FORK.Barrier(WRITERS)

            def run(writer: int, place: Path = place, write: Any = write, start: Any = start) -> None:
                torch.set_num_threads(1)
                start.wait()
                write(place, writer)

            running = [FORK.Process(target=run, args=(writer,)) for writer in range(WRITERS)]
            for process in running:
                process.start()
            for process in running:
                process.join()
            good = sum(process.exitcode == 0 for process in running)
            wrote, lost = wrote + good, lost + good - count(place)
            lost += WRITERS - good  # nobody has a reason to fail
        found[name] = (wrote, lost)
    return found


def recordings_in(folder: Path, speech: Waveform) -> list[Path]:
    """Eight short recordings, and what is imported at the first use, so that no child imports it."""
    paths = [folder / f"{number}.wav" for number in range(WRITERS)]
    for number, path in enumerate(paths):
        audio.write(path, Waveform(speech.samples[1000 * number :][:8000].clone(), 16_000))
    os.environ["SPEECHSSL_VOICES"] = str(folder / "first" / "voices")
    VoiceLibrary(folder / "first").add("ada", paths[:1], Spectra())
    _enrol(folder / "first" / "speakers.sqlite", 1)
    sqlite3.connect(":memory:").close()
    checkpoints.sha256_of(paths[0])
    trust.add(b"0" * 32, "first")
    signing.Signer()
    return paths
