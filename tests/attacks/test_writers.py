"""Eight processes write to one place at once: nothing that exited 0 is lost."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import Spectra

from speechssl import audio
from speechssl.cli.ledger import LEDGER, Job, Ledger
from speechssl.signals import Embedding, Waveform
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.voices import VoiceLibrary

WRITERS = 8
pytestmark = [
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes are forked here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of a fork beside threads of pytest's
]


def together(*works: Callable[[], object]) -> list[int | None]:
    """Exit statuses of processes that begin at the same moment; forked, as importing torch takes seconds."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        torch.set_num_threads(1)
        start.wait()
        work()

    running = [context.Process(target=run, args=(work,)) for work in works]
    for one in running:
        one.start()
    for one in running:
        one.join(100)
    return [one.exitcode for one in running]


def recordings(folder: Path, speech: list[Waveform]) -> list[Path]:
    """Half a second each, all different, after one voice was made, so that no process imports anything."""
    paths = [folder / f"{number}.wav" for number in range(WRITERS)]
    for number, path in enumerate(paths):
        audio.write(path, Waveform(speech[0].samples[1000 * number :][:8000].clone(), 16_000))
    VoiceLibrary(folder / "first").add("ada", paths[:1], Spectra())
    return paths


def adding(folder: Path, path: Path) -> Callable[[], object]:
    return lambda: VoiceLibrary(folder).add("ada", [path], Spectra())


def removing(folder: Path, path: Path) -> Callable[[], object]:
    return lambda: VoiceLibrary(folder).remove("ada", path.name)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in VoiceLibrary(folder).load("ada", verify=True).references)


def test_eight_writers_of_one_voice_lose_nothing(tmp_path: Path, speech: list[Waveform]) -> None:
    paths = recordings(tmp_path, speech)
    assert together(*(adding(tmp_path / "voices", path) for path in paths)) == [0] * WRITERS
    assert names(tmp_path / "voices") == [path.name for path in paths]


def test_a_recording_is_removed_while_others_are_added(tmp_path: Path, speech: list[Waveform]) -> None:
    paths, folder = recordings(tmp_path, speech), tmp_path / "voices"
    VoiceLibrary(folder).add("ada", paths[:3], Spectra())
    works = [removing(folder, path) for path in paths[:2]] + [adding(folder, path) for path in paths[3:6]]
    assert together(*works) == [0] * 5
    assert names(folder) == ["2.wav", "3.wav", "4.wav", "5.wav"]


def test_eight_writers_make_one_database(tmp_path: Path) -> None:
    path = tmp_path / "speakers.sqlite"

    def enrol(number: int) -> None:
        with SpeakerDatabase(path) as database:
            embedding = Embedding(torch.tensor([1.0, 0.0]), "m@1")
            database.enrol("ada", [Enrolment(embedding, "a.wav", str(number) * 64, 2.0)])

    assert together(*(lambda number=number: enrol(number) for number in range(WRITERS))) == [0] * WRITERS
    with SpeakerDatabase(path) as database:
        assert len(database.show("ada")) == WRITERS


def test_writers_of_one_ledger_lose_no_line(tmp_path: Path) -> None:
    def record(name: str) -> None:
        ledger = Ledger(tmp_path, lambda _: {})
        for number in range(50):
            path = tmp_path / f"{name}{number}.wav"
            path.write_text(name)
            ledger.record(Job(path, path))

    assert together(*(lambda name=name: record(name) for name in "abcd")) == [0] * 4
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 200
