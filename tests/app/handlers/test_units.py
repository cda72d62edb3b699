"""Units of a recording and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechssl import audio
from speechssl.app.handlers import units
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused
from speechssl.app.state import Models, Settings, State, Store
from speechssl.receipts import signing

Speech = dict[str, Path]
Shared = tuple[Models, Store, Settings]


def test_units_there_and_back(state: State, shared: Shared, job: Job, speech: Speech) -> None:
    record = units.encode(state.models, state.settings, job, speech["source"], codebook="tiny/100")
    text = units.as_text(record)
    assert units.parse(text) == record["units"]
    assert units.parse("12, 7 7") == [12, 7, 7]
    assert record["end"][-1] == pytest.approx(sum(record["durations"]) / 50)
    made = units.speak(*shared, job, text, "bundled: beth", codebook="tiny/100", durations=record["durations"])
    assert audio.info(made).seconds == pytest.approx(2.0, abs=0.1)
    assert signing.check(made).genuine
    assert units.write(job.session, record).read_text().count("\n") == 1
    # what a person edited is downloaded so, at its times
    assert units.edited(record, text) == record
    assert units.edited(record, "what") is None
    fewer = units.edited(record, "".join(f"<unit_{unit}>" for unit in record["units"][3:]))
    assert fewer is not None
    assert fewer["units"] == record["units"][3:]
    assert fewer["durations"] == record["durations"][3:]
    assert fewer["start"][0] == 0.0
    assert fewer["end"][-1] == fewer["seconds"] == pytest.approx(sum(record["durations"][3:]) / 50)
    assert (fewer["id"], fewer["codebook"]) == (record["id"], record["codebook"])
    for work in (
        lambda: units.encode(state.models, state.settings, job, None),
        lambda: units.encode(state.models, state.settings, job, speech["source"], codebook="/etc/passwd"),
        lambda: units.speak(*shared, job, "<unit_x>", "bundled: beth"),
        lambda: units.speak(*shared, job, "100", "bundled: beth", codebook="tiny/100"),
        lambda: units.speak(*shared, job, "1 2", ""),
    ):
        with pytest.raises(Refused):
            work()


def test_an_edit_keeps_the_lengths_of_the_units_that_stay() -> None:
    before, frames = [5, 7, 5, 9, 3], [10, 2, 8, 4, 6]
    assert units.durations_after(before, frames, before) == frames
    assert units.durations_after(before, frames, [5, 7, 9, 3]) == [10, 2, 4, 6]
    assert units.durations_after(before, frames, [5, 7, 1, 9, 3]) == frames
    # a new one has the usual length
    assert units.durations_after(before, frames, [5, 7, 5, 9, 3, 8]) == [*frames, 6]
    # a quarter of an hour is edited in one place, or exchanged for another
    long = [unit % 499 for unit in range(45_000)]
    durations = [unit % 7 + 1 for unit in range(45_000)]
    assert units.durations_after(long, durations, [*long[:20_000], 499, *long[20_000:]]) == [
        *durations[:20_000], 4, *durations[20_000:]]  # fmt: skip
    assert units.durations_after(long, durations, [499] * 44_000) == [4] * 44_000
