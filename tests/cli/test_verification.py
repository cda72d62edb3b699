"""The commands of verification, each run as a person would."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner

from speechssl import audio, checkpoints, cli
from speechssl.cli import evaluation, terminal, verification
from speechssl.cli.verification import probability
from speechssl.errors import InputError, SpeechSSLError
from speechssl.verification.embedders import log_mel
from speechssl.verification.embedders.ecapa import Ecapa

app = typer.Typer()
app.add_typer(verification.app)
app.add_typer(evaluation.app)

CLIPS = checkpoints.PACKAGED / "clips"
CONFIG = {"input_dim": 160, "channels": 16, "dim": 12, "bottleneck": 8, "scale": 4, "padding": "zeros"}
ADA, ADA_TOO, ERIC = (str(CLIPS / name) for name in ("ada_reference.opus", "ada_sentence.opus", "eric_sentence.opus"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command with a small model and a database of its own; gives its output, JSON decoded."""
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    log_mel.write(path, Ecapa(**CONFIG).eval(), name="small", config=CONFIG, scale=3.0, provenance={}, licence="MIT")
    monkeypatch.setenv("SPEECHSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SPEECHSSL_SPEAKERS", str(tmp_path / "speakers.sqlite"))

    def call(*words: str, model: bool = True) -> Any:
        arguments = [*words, *(["--model", str(path)] if model else [])]
        result = CliRunner().invoke(app, arguments, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in words else result.stdout

    return call


def test_verify_says_score_and_that_there_is_no_calibration(run: Any) -> None:
    found = run("verify", ADA, ADA_TOO, "--json")
    assert -1 <= found["score"] <= 1
    assert found["accepted"] is None
    assert "not calibrated" in found["threshold_source"]
    assert found["decision"] == "none"
    assert run("verify", ADA, ADA_TOO).startswith("no decision\nscore ")
    # and needs no database: the folder for it may be read-only, or absent
    assert not Path(os.environ["SPEECHSSL_SPEAKERS"]).exists()
    same = run("verify", ADA, ADA, "--threshold", "0.99", "--json")
    assert same["score"] == pytest.approx(1, abs=1e-6)
    assert (same["accepted"], same["decision"]) == (True, "same")


def test_enrol_identify_and_forget(run: Any) -> None:
    assert run("enrol", "ada", ADA, ADA_TOO, "--json") | {"model": ""} == {
        "speaker": "ada", "new": 2, "known": 0, "model": "", "remarks": [],
    }  # fmt: skip
    assert "1 recording enrolled" in run("enrol", "eric", ERIC)
    assert "enrolled already" in run("enrol", "eric", ERIC)
    (found,) = run("identify", ERIC, "--threshold", "0.999", "--json")
    assert found["speaker"] == "eric"
    assert [row["speaker"] for row in found["ranked"]] == ["eric", "ada"]
    assert "unknown" in run("identify", ERIC, "--threshold", "1.1")
    listed = run("speakers", "list", "--json", model=False)
    assert [(row["speaker"], row["utterances"]) for row in listed] == [("ada", 2), ("eric", 1)]
    assert "ada_sentence.opus" in run("speakers", "show", "ada", model=False)
    assert len(json.loads(run("speakers", "export", model=False))["utterances"]) == 3
    assert "2 recordings removed" in run("speakers", "remove", "ada", model=False)
    with pytest.raises(SpeechSSLError, match="nobody called 'ada'"):
        run("speakers", "show", "ada", model=False)


def test_an_empty_file_that_becomes_a_database_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "team.sqlite"
    file.touch()
    for said in (f"remark: {file} was empty (0 bytes); a new database was made of it\n", ""):
        verification.open_database(str(file), new=True).close()
        assert capsys.readouterr().err == said


def test_a_claim_is_verified_against_what_is_enrolled(run: Any) -> None:
    with pytest.raises(InputError, match=r"nobody is enrolled in .*enrol with this model first"):
        run("verify", ADA_TOO, "--speaker", "ada")
    run("enrol", "ada", ADA)
    claimed = run("verify", ADA_TOO, "--speaker", "ada", "--json")
    given = run("verify", ADA, ADA_TOO, "--json")
    assert claimed["score"] == pytest.approx(given["score"], abs=1e-6)
    assert {**claimed, "score": 0, "remarks": []} == {**given, "score": 0, "remarks": []}
    assert run("verify", ADA_TOO, "--speaker", "ada", "--threshold", "-1").startswith("same speaker\n")
    for words, said in (
        (["verify", ADA_TOO, "--speaker", "bob"], "'bob' is not enrolled in .*; enrolled are ada"),
        (["verify", ADA, ADA_TOO, "--speaker", "ada"], "give the one to test alone"),
        (["verify", "--speaker", "ada"], "give recordings, or a list"),
    ):
        with pytest.raises(InputError, match=said):
            run(*words)


def test_an_enrolment_with_one_bad_recording_enrols_nothing(run: Any, tmp_path: Path) -> None:
    with pytest.raises(SpeechSSLError, match="missing"):
        run("enrol", "ada", ADA, str(tmp_path / "missing.wav"))
    assert run("speakers", "list", "--json", model=False) == []


def test_what_a_folder_holds_of_too_little_speech_is_left_out(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from speechssl import audio, cli
    from speechssl.signals import Waveform

    (tmp_path / "ada").mkdir()
    for name, seconds in (("long", 4.0), ("short", 0.9)):
        audio.write(tmp_path / "ada" / f"{name}.wav", Waveform(parts("ada")[0][: int(16000 * seconds)], 16000))
    assert cli.run(["enrol", "ada", str(tmp_path / "ada")]) == 2
    told = capsys.readouterr().err
    assert "short.wav: not enough speech" in told
    assert "1 of 2 failed" in told
    assert [one["utterances"] for one in run("speakers", "list", "--json", model=False)] == [1]
    with pytest.raises(InputError, match="not enough speech"):
        run("enrol", "eve", str(tmp_path / "ada" / "short.wav"))


@functools.cache
def parts(name: str) -> tuple[torch.Tensor, ...]:
    """The first three times four seconds of somebody's reference, at 16 kHz."""
    from speechssl import audio

    return audio.read_mono(CLIPS / f"{name}_reference.opus", 16000).samples.split(4 * 16000)[:3]


def make_folder(root: Path, names: tuple[str, ...] = ("ada", "beth", "dan", "eric")) -> Path:
    from speechssl import audio
    from speechssl.signals import Waveform

    for name in names:
        (root / name).mkdir(parents=True)
        for number, part in enumerate(parts(name)):
            audio.write(root / name / f"{number}.wav", Waveform(part.clone(), 16000))
    return root


def test_trials_evaluate_calibrate_and_verify_after(run: Any, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "people")
    listed = str(folder / "list.txt")
    made = run("trials", str(folder), "--output", listed, "--seed", "3", "--json", model=False)
    assert (made["trials"], made["targets"]) == (24, 12)
    by_list = run("evaluate", listed, "--json")
    assert by_list["trials"] == 24
    assert by_list["eer_interval_95"] is None  # of four speakers
    assert "cllr" not in by_list
    assert "EER, interpolated" in run("evaluate", listed)
    fitted = run("calibrate", listed, "--false-alarm", "0.2", "--json")
    assert fitted["cllr_after"] <= 1.0
    assert fitted["cllr_before"] is None
    assert (fitted["trials"], fitted["targets"]) == (24, 12)
    assert "rests on 2.4 of the 12 trials" in fitted["not_promised"]
    assert fitted["threshold_low"] <= fitted["threshold"] <= fitted["threshold_high"]
    after = run("verify", ADA, ADA_TOO, "--prior", "0.01", "--json")
    assert after["accepted"] in (True, False)
    assert 0 < after["probability"] < 1
    assert after["threshold_source"] == "Bayes threshold at prior 0.01, by the calibration on list.txt"
    assert run("evaluate", listed, "--json")["cllr"] == pytest.approx(fitted["cllr_after"])
    every = run("calibrate", str(folder), "--false-alarm", "0.2", "--json")
    assert every["trials"] - every["targets"] == 54  # all that four speakers with three recordings make
    said = run("calibrate", str(folder))
    assert "Cllr before" in said
    assert "decides on recordings whose speech ends between 7600 and 8000 Hz" in said
    assert run("calibrate", str(folder), "--scores-alone", "--json")["by_seconds"] is None


def telephone(name: str, target: Path, part: int) -> str:
    """A part of somebody's reference over G.711 at 8 kHz, in a file."""
    from speechssl import audio
    from speechssl.signals import Waveform

    samples = audio.resample(Waveform(parts(name)[part].clone(), 16000), 8000).samples
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, samples.numpy(), 8000, subtype="ULAW")
    return str(target)


def test_a_telephone_line_gets_no_decision_until_calibrated_on(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from speechssl import cli

    folder = make_folder(tmp_path / "people")
    run("calibrate", str(folder), "--json")
    lines = tmp_path / "lines"
    for name in ("ada", "beth", "dan", "eric"):
        for part in range(3):
            telephone(name, lines / name / f"{part}.wav", part)
    pair = [str(lines / "ada" / "0.wav"), str(lines / "eric" / "0.wav")]
    found = run("verify", *pair, "--json")
    assert (found["decision"], found["accepted"], found["probability"], found["llr"]) == ("none", None, None, None)
    assert found["remarks"][0].startswith("no decision: an enrolled recording carries speech from ")
    assert run("verify", *pair).startswith("no decision\nscore ")
    run("enrol", "ada", ADA)
    (found,) = run("identify", pair[0], "--json")
    assert (found["decision"], found["speaker"], found["ranked"][0]["accepted"]) == ("none", None, None)
    assert "  no decision  (ada " in run("identify", pair[0])
    # exit codes for scripts: 0 same, 1 different, 3 no decision; 0 for all without the option
    model = ["--model", str(tmp_path / "small.safetensors")]
    for words, code in (
        (["verify", *pair], 0),
        (["verify", *pair, "--exit-code"], 3),
        (["verify", ADA, ADA, "--exit-code", "--threshold", "0.9"], 0),
        (["verify", ADA, ERIC, "--exit-code", "--threshold", "1.1"], 1),
        (["identify", pair[0], ADA, "--exit-code"], 3),
        (["identify", ADA, "--exit-code", "--threshold", "1.1"], 1),
    ):
        assert cli.run([*words, *model]) == code
    capsys.readouterr()
    # a calibration on the line decides on the line, and no longer on others
    fitted = run("calibrate", str(lines), "--json")
    assert fitted["bands"]["most"] < 5000
    assert run("verify", *pair, "--json")["decision"] in ("same", "different")
    assert run("verify", ADA, pair[0], "--json")["decision"] == "none"
    assert run("verify", ADA, ERIC, "--json")["decision"] == "none"


def test_a_calibration_is_removed_on_request(run: Any, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "people")
    run("calibrate", str(folder))
    assert run("verify", ADA, ADA_TOO, "--json")["accepted"] is not None
    said = run("calibrate", "--reset")
    assert said.startswith("removed the calibration on people, threshold ")
    assert "the model has no other" in said
    assert run("verify", ADA, ADA_TOO, "--json")["decision"] == "none"
    assert run("calibrate", "--reset").startswith("there is no calibration of yours of small@")
    assert run("calibrate", "--reset", "--json")["removed"] is None
    for words in ((), ("--reset", str(folder))):
        with pytest.raises(SpeechSSLError, match="one of the two"):
            run("calibrate", *words)


def test_several_recordings_may_stand_behind_a_name_in_a_list(run: Any, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "people", ("ada", "eric"))
    listed, several = folder / "list.txt", tmp_path / "enrolments.txt"
    listed.write_text("1 ada ada/2.wav\n0 ada eric/2.wav\n1 eric eric/2.wav\n0 eric ada/2.wav\n")
    several.write_text("ada ada/0.wav ada/1.wav\neric eric/0.wav eric/1.wav\n")
    found = run("evaluate", str(listed), "--enrolments", str(several), "--json")
    assert (found["trials"], found["speakers"]) == (4, 2)
    with pytest.raises(SpeechSSLError, match="2 of 4 recordings are missing"):
        run("evaluate", str(listed))


def test_plda_is_fitted_on_other_speakers_kept_and_used_again(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, others = make_folder(tmp_path / "people"), make_folder(tmp_path / "others", ("cleo", "finn"))
    kept = tmp_path / "plda.safetensors"
    plain = run("evaluate", str(folder), "--json")
    fitted = run("evaluate", str(folder), "--plda", str(others), "--save-plda", str(kept), "--json")
    assert (plain["scoring"], fitted["scoring"]) == ("cosine", "plda")
    assert fitted["min_cllr"] != plain["min_cllr"]
    again = run("evaluate", str(folder), "--plda", str(kept), "--json")
    assert again == fitted
    listed = str(others / "list.csv")
    run("trials", str(others), "--output", listed, model=False)
    assert run("evaluate", str(folder), "--plda", listed, "--json")["min_cllr"] == pytest.approx(fitted["min_cllr"])
    for words, message in (
        (("--plda", str(kept), "--as-norm"), "give one"),
        (("--plda", str(kept), "--save-plda", str(kept)), "give --plda a folder"),
        (("--save-plda", str(kept)), "give --plda a folder"),
    ):
        with pytest.raises(SpeechSSLError, match=message):
            run("evaluate", str(folder), *words)


def test_bad_input_is_told_from_the_command_line(run: Any, tmp_path: Path) -> None:
    for words, message in (
        (("verify", ADA), "one recording only"),
        (("verify", str(CLIPS / "ada_*.opus")), r"ada_\*\.opus holds \d recordings of the speaker; give at least one"),
        (("evaluate", str(Path(ADA).parent), "--database", "none.sqlite"), "none.sqlite does not exist"),
        (("verify", ADA, str(tmp_path / "none.wav")), r"none\.wav"),
        (("evaluate", str(tmp_path / "none.txt")), "does not exist"),
        (("identify", ADA), "nobody is enrolled"),
        (("identify", ADA, "--database", str(tmp_path / "none.sqlite")), r"none\.sqlite does not exist"),
        (("verify", ADA, ADA, "--threshold", "nan"), "threshold is nan"),
        (("evaluate", str(tmp_path), "--as-norm"), "without a cohort"),
    ):
        with pytest.raises(SpeechSSLError, match=message):
            run(*words)
    with pytest.raises(InputError, match="does not exist"):
        run("speakers", "list", "--database", str(tmp_path / "none.sqlite"), model=False)
    assert not (tmp_path / "none.sqlite").exists()


def test_commands_leave_with_code_two_and_without_a_score(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from speechssl import audio, cli
    from speechssl.signals import Waveform

    time = torch.arange(80000) / 16000
    tune = sum(
        torch.sin(2 * torch.pi * 220 * part * (1 + 0.125 * ((time * 2).long() % 4)) * time) for part in (1, 2, 3)
    )
    audio.write(tmp_path / "tune.wav", Waveform(0.1 * tune * torch.exp(-4 * (time % 0.5)), 16000))
    audio.write(tmp_path / "silence.wav", Waveform(torch.zeros(80000), 16000))
    for name, message in (
        ("none.wav", "none.wav"),
        ("silence.wav", "not enough speech (0.0 s, 1 s needed)"),
        ("tune.wav", "not enough speech (0.0 s, 1 s needed): most of what is heard sounds like music or noise"),
    ):
        assert cli.run(["verify", ADA, str(tmp_path / name), "--model", str(tmp_path / "small.safetensors")]) == 2
        told = capsys.readouterr()
        assert message in told.err
        assert told.out == ""


def test_a_group_without_a_command_gives_its_help_and_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    from speechssl import cli

    assert cli.run(["speakers"]) == 2
    told = capsys.readouterr()
    assert "remove" in told.out
    assert "error" not in told.err


def test_recordings_too_brief_to_verify_are_named_in_evaluations(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from speechssl import audio, cli
    from speechssl.signals import Waveform

    folder = make_folder(tmp_path / "people", ("ada", "eric"))
    audio.write(folder / "ada" / "silent.wav", Waveform(torch.zeros(32000), 16000))
    for command in ("evaluate", "calibrate"):
        assert cli.run([command, str(folder), "--model", str(tmp_path / "small.safetensors")]) == 0
        said = capsys.readouterr().err
        assert "remark: 1 of 7 recordings hold less than 1 s of speech" in said
        assert "ada/silent.wav" in said


def test_pairs_are_decided_one_by_one(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.wav").write_bytes(b"no sound")
    (tmp_path / "pairs.csv").write_text(f"enrolment,test\n{ADA},{ADA}\n{ADA},none.wav\n{ADA},{ERIC}\n")
    result = CliRunner().invoke(
        app,
        [
            "verify",
            "--pairs",
            str(tmp_path / "pairs.csv"),
            "--threshold",
            "0.99",
            "--json",
            "--model",
            str(tmp_path / "small.safetensors"),
        ],
        standalone_mode=False,
    )
    assert result.exit_code == 2 or result.return_value == 2
    rows = json.loads(result.stdout)
    assert [row.get("decision", "failed") for row in rows] == ["same", "failed", "different"]
    assert "none.wav" in rows[1]["error"]
    (tmp_path / "pairs.txt").write_text(f"1 {ADA} {ADA}\n{ADA}\t{ERIC}\n")
    lines = run("verify", "--pairs", str(tmp_path / "pairs.txt"), "--threshold", "0.99").splitlines()
    assert [line.split("  ")[2].split(",")[0] for line in lines] == ["same", "different"]
    brief = tmp_path / "brief.wav"
    audio.write(brief, audio.read(ADA).first(2.5))
    (tmp_path / "pairs.txt").write_text(f"{ADA} {brief}\n{ERIC} {brief}\n")
    model = ["--model", str(tmp_path / "small.safetensors")]
    said = CliRunner().invoke(app, ["verify", "--pairs", str(tmp_path / "pairs.txt"), *model], standalone_mode=False)
    assert said.stderr.count(f"{brief}: only 2.5 s of speech") == 1
    with pytest.raises(SpeechSSLError, match="one of the two"):
        run("verify", ADA, ADA, "--pairs", "pairs.csv")


def test_a_recording_that_failed_has_a_row_and_no_probability_is_certain(run: Any, tmp_path: Path) -> None:
    run("enrol", "ada", ADA)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    model = str(tmp_path / "small.safetensors")
    words = ["identify", str(tmp_path / "silent.wav"), ADA, "--json", "--threshold", "0.9", "--model", model]
    result = CliRunner().invoke(app, words, standalone_mode=False)
    rows = json.loads(result.stdout)
    assert "not enough speech" in rows[0]["error"]
    assert rows[1]["speaker"] == "ada"
    assert [probability(value) for value in (1 - 1e-9, 0.5, 1e-9)] == ["above 0.9999", "0.5000", "below 0.0001"]


def test_folders_patterns_and_lists_are_taken(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, stages = make_folder(tmp_path / "people", ("ada", "eric")), []
    monkeypatch.setattr(terminal, "stage", stages.append)
    assert run("enrol", "ada", str(folder / "ada"), "--json")["new"] == 3
    assert "checking 2.wav, 3 of 3" in stages
    (tmp_path / "list.txt").write_text("people/eric/0.wav\npeople/ada/0.wav\n")
    found = run("identify", "--list", str(tmp_path / "list.txt"), f"{folder}/eric/*.wav", "--json")
    assert [one for one in stages if one.startswith("identifying ")] == [
        f"identifying {Path(row['recording']).name}" for row in found
    ]
    assert [Path(row["recording"]).parts[-2:] for row in found] == [
        ("eric", "0.wav"), ("eric", "1.wav"), ("eric", "2.wav"), ("ada", "0.wav")
    ]  # fmt: skip
    assert run("verify", str(folder / "ada"), str(folder / "ada/0.wav"), "--json")["score"] > 0.5
    with pytest.raises(SpeechSSLError, match="names 3 recordings to test"):
        run("verify", ADA, str(folder / "ada"))


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_trials_written_elsewhere_are_found_and_scores_are_kept(run: Any, tmp_path: Path, name: str) -> None:
    make_folder(tmp_path / "people", ("ada", "eric"))
    (tmp_path / "lists").mkdir()
    listed = str(tmp_path / "lists" / name)
    run("trials", str(tmp_path / "people"), "--output", listed, model=False)
    scores = tmp_path / "scores.csv"
    found = run("evaluate", listed, "--scores", str(scores), "--json")
    assert found["speakers"] == 2
    rows = scores.read_text().splitlines()
    assert rows[0] == "enrolment,test,label,score"
    assert len(rows) == 1 + found["trials"]
    run("evaluate", listed, "--scores", str(tmp_path / "scores.txt"), "--json")
    assert [line.split()[2] for line in (tmp_path / "scores.txt").read_text().splitlines()] == [
        row.split(",")[3] for row in rows[1:]
    ]


def test_embeddings_are_lines_of_json(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text(f"{ADA}\n{ERIC}\n")
    rows = [json.loads(line) for line in run("embed", "--list", str(tmp_path / "list.txt")).splitlines()]
    assert [row["recording"] for row in rows] == [ADA, ERIC]
    assert sum(value**2 for value in rows[0]["embedding"]) == pytest.approx(1, abs=1e-5)
    (tmp_path / "none.wav").write_bytes(b"no sound")
    words = ["embed", ADA, str(tmp_path / "none.wav"), "-o", str(tmp_path / "out.jsonl")]
    result = CliRunner().invoke(app, [*words, "--model", str(tmp_path / "small.safetensors")], standalone_mode=False)
    assert 2 in (result.exit_code, result.return_value)
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["embedding"] == rows[0]["embedding"]
    for more in ([], ["-o", str(tmp_path / "none.jsonl")]):
        capsys.readouterr()
        assert cli.run(["embed", str(tmp_path / "none.wav"), *more]) == 2
        assert (capsys.readouterr().out, (tmp_path / "none.jsonl").exists()) == ("", False)
    with pytest.raises(SpeechSSLError, match="exists"):
        run(*words)
