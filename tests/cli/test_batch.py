"""Planning of batches, what is skipped, what is reported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from speechssl.checkpoints import foreign
from speechssl.cli import batch
from speechssl.cli.batch import Plan
from speechssl.cli.ledger import LEDGER, Job, Ledger, made_before
from speechssl.errors import InputError


def _touch(path: Path, content: bytes = b"sound") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _copy(job: Job) -> dict[str, Any]:
    job.output.write_bytes(job.source.read_bytes() + b" converted")
    return {"bytes": job.output.stat().st_size}


def _run(plan: Plan, settings: dict[str, Any], work: Any = _copy) -> batch.Outcome:
    return batch.run(plan, work, settings=lambda _: settings)


def test_a_single_file_goes_to_a_file(tmp_path: Path) -> None:
    jobs, folder, _ = batch.plan([tmp_path / "a.wav"], tmp_path / "out.flac", ".wav")
    assert jobs == [Job(tmp_path / "a.wav", tmp_path / "out.flac")]
    assert folder is None


@pytest.mark.parametrize("ending", ["existing", "slash"])
def test_a_single_file_goes_into_a_folder(tmp_path: Path, ending: str) -> None:
    output = tmp_path / "out"
    if ending == "existing":
        output.mkdir()
    jobs, folder, _ = batch.plan([tmp_path / "a.mp3"], str(output) + ("/" if ending == "slash" else ""), ".wav")
    assert jobs == [Job(tmp_path / "a.mp3", output / "a.wav")]
    assert folder == output


def test_a_folder_keeps_its_tree_and_leaves_out_what_is_no_audio(tmp_path: Path) -> None:
    for name in ("in/b/x.flac", "in/a/x.OPUS", "in/notes.txt", "in/.hidden/y.wav"):
        _touch(tmp_path / name)
    jobs, folder, _ = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")
    assert [job.output.relative_to(tmp_path / "out").as_posix() for job in jobs] == ["a/x.wav", "b/x.wav"]
    assert folder == tmp_path / "out"


def test_a_pattern_is_expanded_in_order(tmp_path: Path) -> None:
    for name in ("c.wav", "a.wav", "b.txt"):
        _touch(tmp_path / name)
    jobs, _, _ = batch.plan([str(tmp_path / "*.wav")], tmp_path / "out", ".wav")
    assert [job.source.name for job in jobs] == ["a.wav", "c.wav"]


def test_a_file_with_brackets_in_its_name_is_a_file(tmp_path: Path) -> None:
    source = _touch(tmp_path / "take [1].wav")
    assert batch.recordings([source]) == [source]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "no source"),
        (["*.nothing"], "matches no file"),
        (["empty"], "holds no audio file"),
        (["a.wav", "b.wav"], "is a source and would be overwritten"),
    ],
)
def test_plans_that_cannot_be(tmp_path: Path, sources: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        batch.plan([str(tmp_path / source) for source in sources], tmp_path, ".wav")


def _outputs(plan: Plan) -> dict[str, str]:
    assert plan.folder is not None
    return {
        f"{job.source.parent.name}/{job.source.name}": job.output.relative_to(plan.folder).as_posix()
        for job in plan.jobs
    }


def test_sources_of_one_stem_get_outputs_that_differ(tmp_path: Path) -> None:
    for name in ("talk.mp3", "talk.wav", "talk.FLAC", "talk-mp3.opus", "other.flac"):
        _touch(tmp_path / "in" / name)
    placed = {
        "in/talk.wav": "talk.wav",
        "in/talk.mp3": "talk-mp3-2.wav",
        "in/talk.FLAC": "talk-flac.wav",
        "in/talk-mp3.opus": "talk-mp3.wav",
        "in/other.flac": "other.wav",
    }
    assert _outputs(batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")) == placed
    # the order in which sources are named changes nothing, so that a run can be resumed
    files = sorted((tmp_path / "in").iterdir(), reverse=True)
    assert _outputs(batch.plan(files, tmp_path / "out", ".wav")) == placed


def test_sources_of_one_name_in_several_folders_keep_the_folders_that_differ(tmp_path: Path) -> None:
    for name in ("x/monday/a.wav", "y/tuesday/a.wav", "y/tuesday/b.wav"):
        _touch(tmp_path / name)
    sources = [tmp_path / "x/monday", tmp_path / "y/tuesday"]
    assert _outputs(batch.plan(sources, tmp_path / "out", ".wav")) == {
        "monday/a.wav": "monday/a.wav",
        "tuesday/a.wav": "tuesday/a.wav",
        "tuesday/b.wav": "b.wav",
    }


def test_files_that_are_not_taken_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("in/a.wav", "in/notes.txt", "in/.DS_Store", "in/__MACOSX/a.wav", "in/out/old.csv"):
        _touch(tmp_path / name)
    outcome = _run(batch.plan([tmp_path / "in"], tmp_path / "in/out", ".wav"), {})
    assert [Path(row["source"]).name for row in outcome.left_out] == ["notes.txt"]
    assert "recording" in outcome.left_out[0]["reason"]
    batch.finish(outcome, json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["left_out"] == outcome.left_out
    assert "notes.txt" in printed.err


@pytest.mark.parametrize("sources", [["a.wav", "b.wav"], ["in"], ["in/*.wav"]])
def test_several_sources_do_not_go_to_one_file(tmp_path: Path, sources: list[str]) -> None:
    _touch(tmp_path / "in/c.wav")
    given = [str(tmp_path / source) for source in sources]
    with pytest.raises(InputError, match=r"out\.flac names one file for .*name a folder"):
        batch.plan(given, tmp_path / "out.flac", ".wav")
    # a folder may be called so, if it is meant
    assert batch.plan(given, f"{tmp_path}/out.flac/", ".wav")[1] == tmp_path / "out.flac"


def test_a_source_is_never_its_own_output(tmp_path: Path) -> None:
    source = _touch(tmp_path / "a.wav")
    (tmp_path / "link.wav").symlink_to(source)
    with pytest.raises(InputError, match="overwritten"):
        batch.plan([source], tmp_path / "link.wav", ".wav")


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    _touch(tmp_path / "in/a.wav"), _touch(tmp_path / "in/b.wav")
    plan = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")
    assert len(_run(plan, {"k": 4}).results) == 2
    second = _run(plan, {"k": 4})
    assert (len(second.results), len(second.skipped)) == (0, 2)


@pytest.mark.parametrize("change", ["settings", "source", "output", "deleted"])
def test_what_changed_is_made_again_and_nothing_else(tmp_path: Path, change: str) -> None:
    _touch(tmp_path / "in/a.wav"), _touch(tmp_path / "in/b.wav")
    plan = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")
    _run(plan, {"k": 4})
    if change == "source":
        _touch(tmp_path / "in/a.wav", b"another sound")
    elif change == "output":
        (tmp_path / "out/a.wav").write_bytes(b"cut")
    elif change == "deleted":
        (tmp_path / "out/a.wav").unlink()
    again = _run(plan, {"k": 5 if change == "settings" else 4})
    assert [Path(result["output"]).name for result in again.results] == (
        ["a.wav", "b.wav"] if change == "settings" else ["a.wav"]
    )
    assert (tmp_path / "out/a.wav").read_bytes().endswith(b" converted")


def test_an_interrupted_run_continues(tmp_path: Path) -> None:
    for name in "abc":
        _touch(tmp_path / f"in/{name}.wav")
    plan = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")

    def interrupted(job: Job) -> dict[str, Any]:
        if job.source.name == "b.wav":
            raise KeyboardInterrupt
        return _copy(job)

    with pytest.raises(KeyboardInterrupt):
        _run(plan, {}, interrupted)
    # a line that the interruption cut short
    with (tmp_path / "out" / LEDGER).open("a") as file:
        file.write('{"output": "b.wav", "sett')
    rest = _run(plan, {})
    assert [Path(r["output"]).name for r in rest.results] == ["b.wav", "c.wav"]
    assert [Path(r["output"]).name for r in rest.skipped] == ["a.wav"]
    assert len(_run(plan, {}).skipped) == 3


def test_an_output_that_was_not_noted_is_gone_so_that_the_next_run_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path / "in/a.wav")
    plan = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _run(plan, {})
    assert not (tmp_path / "out/a.wav").exists()
    # one that was there stays
    _touch(tmp_path / "out/a.wav", b"older")
    with pytest.raises(KeyboardInterrupt):
        _run(plan, {})
    assert (tmp_path / "out/a.wav").exists()


def test_outputs_in_a_folder_of_sources_are_no_sources_of_the_next_run(tmp_path: Path) -> None:
    _touch(tmp_path / "in/a.wav")
    out = tmp_path / "in/out"
    assert len(_run(batch.plan([tmp_path / "in"], out, ".wav"), {}).results) == 1
    _touch(out / "mine.wav")
    again = batch.plan([tmp_path / "in"], out, ".wav")
    assert [job.source.name for job in again.jobs] == ["a.wav", "mine.wav"]
    assert [Path(one["output"]).name for one in _run(again, {}).skipped] == ["a.wav"]
    # one that is named itself is a source
    with pytest.raises(InputError, match="overwritten"):
        batch.plan([out / "a.wav"], out, ".wav")


def test_remarks_are_remembered_and_strict_does_not_skip_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _touch(tmp_path / "in/a.wav"), _touch(tmp_path / "in/b.wav")
    plan = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")

    def work(job: Job, strict: bool = False) -> dict[str, Any]:
        return _copy(job) | batch.remarked(job, "silence" if job.source.name == "a.wav" else "", strict=strict)

    _run(plan, {}, work)
    again = _run(plan, {}, work)
    assert [one.get("remark") for one in again.skipped] == ["silence", None]
    batch.finish(again, json=False)
    assert f"remark: {tmp_path / 'in/a.wav'}: silence" in capsys.readouterr().err
    strict = batch.run(plan, lambda job: work(job, strict=True), settings=lambda _: {}, strict=True)
    assert (len(strict.skipped), len(strict.results)) == (1, 0)
    assert "a.wav: silence; leave it out" in strict.failed[0]["error"]


def test_a_failure_does_not_stop_the_rest(tmp_path: Path) -> None:
    for name in "abc":
        _touch(tmp_path / f"in/{name}.wav")
    plan = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")

    def work(job: Job) -> dict[str, Any]:
        if job.source.name == "a.wav":
            raise InputError("a.wav is bad")
        if job.source.name == "b.wav":
            raise ZeroDivisionError("a defect")
        return _copy(job)

    outcome = _run(plan, {}, work)
    assert [failure["error"] for failure in outcome.failed] == ["a.wav is bad", "ZeroDivisionError: a defect"]
    assert [Path(result["output"]).name for result in outcome.results] == ["c.wav"]
    assert [Path(r["output"]).name for r in _run(plan, {}).results] == ["a.wav", "b.wav"]


@pytest.mark.skipif(os.name != "posix", reason="no such names")
def test_a_name_with_the_end_of_a_line_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _touch(tmp_path / "in" / "one\ntwo.wav")
    plan = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")
    batch.show(plan, json=False)
    batch.run(plan, _copy, settings=lambda _: {}, describe=lambda facts: f"{facts['bytes']} bytes")
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("one\ufffdtwo.wav") for line in lines] == [2, 1]


@pytest.mark.parametrize("json", [False, True])
def test_a_dry_run_shows_what_is_left_to_make(tmp_path: Path, capsys: pytest.CaptureFixture[str], json: bool) -> None:
    sources = [tmp_path / "in" / f"{name}.wav" for name in "abc"]
    for source in sources:
        _touch(source)
    first = batch.plan(sources[:2], tmp_path / "out", ".wav")
    _run(first, {})
    whole = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")
    for settings, left in (({}, "c"), ({"k": 2}, "abc")):
        batch.show(whole, json=json, settings=lambda _, told=settings: told)
        said = capsys.readouterr()
        assert [name for name in "abc" if f"{name}.wav" in said.out] == list(left)
        assert said.err == ("2 already done with the same settings\n" if left == "c" else "")


def test_a_single_failure_is_raised(tmp_path: Path) -> None:
    def work(job: Job) -> dict[str, Any]:
        raise InputError("bad")

    job = Job(tmp_path / "a.wav", tmp_path / "b.wav")
    with pytest.raises(InputError, match="bad"):
        _run(Plan([job], None), {}, work)


def test_a_run_that_made_nothing_leaves_no_folder(tmp_path: Path) -> None:
    for name in ("a.wav", "sub/b.wav"):
        _touch(tmp_path / "in" / name)

    def work(job: Job) -> dict[str, Any]:
        assert job.output.parent.is_dir()
        if job.source.name == "b.wav":
            raise KeyboardInterrupt
        raise InputError("bad")

    plan = batch.plan([tmp_path / "in"], tmp_path / "new" / "out", ".wav")
    with pytest.raises(KeyboardInterrupt):
        _run(plan, {}, work)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    # one that was there stays, and so does what was made
    (tmp_path / "new").mkdir()
    assert len(_run(Plan(plan.jobs[:1], plan.folder), {}, work).failed) == 1
    assert list(tmp_path.glob("new/**/*")) == []
    assert (tmp_path / "new").is_dir()
    assert len(_run(plan, {}).results) == 2


@pytest.mark.skipif(os.name != "posix", reason="names are no bytes")
def test_outputs_whose_names_are_no_utf_8_are_known_again(tmp_path: Path) -> None:
    for name in ("caf\udce9.wav", "café.wav"):
        _touch(tmp_path / "in" / name, name.encode(errors="surrogateescape"))
    plan = batch.plan([tmp_path / "in"], tmp_path / "out", ".wav")
    assert len(_run(plan, {}).results) == 2
    assert len(_run(plan, {}).skipped) == 2
    assert batch.made_before(plan.folder) == {Path(os.path.realpath(job.output)) for job in plan.jobs}
    lines = (tmp_path / "out" / LEDGER).read_text().splitlines()
    assert all(foreign.parse_object(line, "a line") for line in lines)


def test_the_ledger_is_json_lines(tmp_path: Path) -> None:
    source, output = _touch(tmp_path / "a.wav"), _touch(tmp_path / "out/sub/a.wav")
    Ledger(tmp_path / "out", lambda _: {"k": 4}).record(Job(source, output))
    (entry,) = (tmp_path / "out" / LEDGER).read_text().splitlines()
    assert json.loads(entry)["output"] == "sub/a.wav"


def test_a_ledger_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output, other = (tmp_path / name for name in ("a.wav", "a.txt", "b.txt"))
    for path in (source, output, other):
        path.write_text("x")
    Ledger(tmp_path, lambda _: {}).record(Job(source, output))
    lines, parse = [], foreign.parse_object
    monkeypatch.setattr(foreign, "parse_object", lambda line, path: lines.append(line) or parse(line, path))
    assert made_before(tmp_path) == made_before(tmp_path) == {output.resolve()}
    ledger = Ledger(tmp_path, lambda _: {})
    assert ledger.is_done(Job(source, output))
    assert len(lines) == 1
    ledger.record(Job(source, other))
    assert made_before(tmp_path) == {output.resolve(), other.resolve()}
