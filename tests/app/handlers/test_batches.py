"""A zip of recordings becomes a zip of results."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from speechssl.app.handlers import batches
from speechssl.app.handlers.conversions import Made, Options
from speechssl.app.handlers.targets import Target
from speechssl.app.jobs import Job, Jobs, Tell, silent
from speechssl.app.refusals import Overdue, Refused, Stopped
from speechssl.app.sessions import Session
from speechssl.app.state import State
from speechssl.app.tabs.batch import converter
from speechssl.errors import InputError
from speechssl.receipts import signing

Speech = dict[str, Path]
Batch = Callable[..., tuple[Path, list[dict[str, object]]]]
ERIC = Target(voices=(("bundled: eric", 1.0),))


@pytest.fixture
def batch(state: State, session: Session) -> Batch:
    """``batch(archive, options, tell=..., most_seconds=...)``: to Eric's voice."""

    def run(
        archive: Path | None, options: Options | None = None, *, tell: Tell = silent, most_seconds: float = 60.0
    ) -> tuple[Path, list[dict[str, object]]]:
        each = converter(state, ERIC, options or Options(), None)
        return batches.convert(state.jobs, session, archive, each, most_seconds=most_seconds, tell=tell)

    return run


def test_a_batch_goes_on_after_a_bad_recording(batch: Batch, session: Session, speech: Speech, tmp_path: Path) -> None:
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(speech["source"], "../../a/one.wav")
        zipped.writestr("b/two.wav", b"no audio")
        zipped.writestr("notes.txt", b"hello")
        zipped.writestr("__MACOSX/one.wav", b"")
    made, rows = batch(archive)
    assert [bool(row["error"]) for row in rows] == [False, True, True]
    assert "two.wav" in rows[1]["error"]
    assert (rows[2]["recording"], rows[2]["error"]) == ("notes.txt", batches.NOT_TAKEN)
    with zipfile.ZipFile(made) as zipped:
        names = zipped.namelist()
        assert [path.name for path in made.parent.iterdir()] == [made.name]  # nothing that was unpacked stays
        assert names == [rows[0]["output"], "results.csv"]
        (tmp_path / names[0]).write_bytes(zipped.read(names[0]))
    assert signing.check(tmp_path / names[0]).genuine


def test_a_batch_is_made_as_asked_and_ends_when_it_is_cancelled(
    batch: Batch, session: Session, speech: Speech, tmp_path: Path
) -> None:
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(speech["source"], "a/one.wav")
        zipped.write(speech["source"], "b/one.wav")
    _, rows = batch(archive, Options(k=7, converter="uniform", form="flac"))
    assert [row["converter"] for row in rows] == ["uniform", "uniform"]
    assert session.results[-1]["receipt"]["settings"]["k"] == 7
    assert {Path(row["output"]).suffix for row in rows} == {".flac"}
    assert len({row["output"] for row in rows}) == 2

    def tell(share: float, text: str) -> None:
        # between the two: the last report of the first
        if text.endswith("a/one.wav: verifying"):
            session.stop()

    with pytest.raises(Stopped, match="recordings that were finished before, if any, are in History"):
        batch(archive, tell=tell)


def test_how_far_a_batch_is_follows_the_seconds_of_its_recordings(batch: Batch, speech: Speech, tmp_path: Path) -> None:
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(speech["source"], "short.wav")
        zipped.write(speech["reference"], "long.wav")
    short, long = (batches.length(speech[name], 600.0) for name in ("source", "reference"))
    assert long > 1.5 * short
    told: dict[str, list[float]] = {"short": [], "long": []}
    batch(archive, tell=lambda share, text: told[text.partition(".")[0]].append(share))
    assert max(told["short"]) <= short / (short + long) + 1e-9
    begun = [share for share in told["long"] if share]
    assert begun == sorted(begun)
    assert short / (short + long) < begun[0] < begun[-1] <= 1


def test_a_recording_of_a_batch_that_takes_too_long_does_not_end_it(
    session: Session, convert: Callable[..., Made], speech: Speech, tmp_path: Path
) -> None:
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(speech["source"], "slow.wav")
        zipped.write(speech["source"], "fast.wav")

    def slow(path: Path, job: Job) -> Made:
        if "slow" in path.name:
            raise Overdue("stopped after 600 s, the limit here")
        return convert(path, ERIC)

    _, rows = batches.convert(Jobs(600.0), session, archive, slow, most_seconds=60.0)
    assert [row["error"] for row in rows] == ["stopped after 600 s, the limit here", ""]


def test_a_batch_ends_when_the_service_closes(session: Session, speech: Speech, tmp_path: Path) -> None:
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(speech["source"], "one.wav")

    def closing(path: Path, job: Job) -> Made:
        raise Stopped("the service is closing")

    with pytest.raises(Stopped, match="closing"):
        batches.convert(Jobs(600.0), session, archive, closing, most_seconds=60.0)


def test_too_long_recordings_of_a_batch_are_refused_together(batch: Batch, speech: Speech, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as zipped:
        zipped.write(speech["source"], "one.wav")
    with pytest.raises(Refused, match="minutes of recordings"):
        batch(tmp_path / "in.zip", most_seconds=1.0)


def test_what_is_no_zip_of_recordings_is_refused(
    batch: Batch, session: Session, speech: Speech, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as zipped:
        zipped.writestr("notes.txt", b"hello")
    for archive in (None, speech["source"], tmp_path / "none.zip"):
        with pytest.raises(Refused) as caught:
            batch(archive)
        assert caught.value.field == "archive"


def test_names_in_other_scripts_are_kept(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "flag.zip", "w") as zipped:
        zipped.writestr("日本/夜.wav", b"x")
    # many programs write UTF-8 without the flag that says so; it is bit 11 of two bytes in both headers
    content = (tmp_path / "flag.zip").read_bytes()
    (tmp_path / "none.zip").write_bytes(
        content.replace(b"PK\x03\x04\x14\0\0\x08", b"PK\x03\x04\x14\0\0\0").replace(
            b"PK\x01\x02\x14\x03\x14\0\0\x08", b"PK\x01\x02\x14\x03\x14\0\0\0"
        )
    )
    with zipfile.ZipFile(tmp_path / "none.zip") as zipped:
        assert zipped.namelist() != ["日本/夜.wav"]
    for archive in ("flag.zip", "none.zip"):
        with batches.opened(tmp_path / archive) as given:
            (found,) = given.recordings
            assert (found.name, given.unpack(found, tmp_path, 0)) == ("日本/夜.wav", tmp_path / "0000-夜.wav")


def test_a_zip_that_lies_about_its_size_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "big.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("zeros.wav", bytes(10_000_000))
    monkeypatch.setattr(batches, "MOST_BYTES", 1_000_000)
    with pytest.raises(InputError, match="at most"), batches.opened(tmp_path / "big.zip"):
        pass
