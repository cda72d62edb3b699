"""The command line from the outside: what it writes, says and returns."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Answer, check_refusal, convert

from speechssl import audio, checkpoints

Speech = dict[str, Path]


@pytest.fixture
def run(command: Callable[..., Answer]) -> Callable[..., Answer]:
    return command


# ---- voices


def test_a_voice_that_cannot_be_stored_is_refused_before_the_work(
    run: Callable[..., Answer], speech: Speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "file" / "voices"))
    monkeypatch.setattr("speechssl.conversion.bundles.load_bundle", None, raising=False)
    refused = run("voice", "add", "ada", speech["reference"])
    assert (refused.code, f"{tmp_path / 'file'} is no folder" in refused.err) == (2, True), refused.err


def test_the_life_of_a_voice(run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path) -> None:
    model = ("--model", encoder_file)
    assert run("voice", "list").out == ""
    added = run("voice", "add", "eric", speech["reference"], *model, "--json")
    assert added.code == 0, added.err
    assert added.json["references"][0]["name"] == "reference.wav"
    (tmp_path / "copies").mkdir()
    for copy in "ab":
        (tmp_path / "copies" / f"{copy}.wav").write_bytes(speech["reference"].read_bytes())
    for words in (("voice", "add", "twice"), ("report",)):
        told = run(*words, tmp_path / "copies", *model)
        assert "left out: 1 recording of which there is a copy" in told.err
        assert (told.code, "a.wav" in told.out, "b.wav" in told.out) == (0, True, False)
    assert run("voice", "remove", "twice").code == 0
    # a folder that grew: what the voice holds is left out, and said
    grown = run("voice", "add", "eric", speech["reference"], speech["other"], *model)
    assert grown.code == 0
    assert "left out: 1 recording that the voice holds already" in grown.err
    assert "--voice eric is this voice from now on" in grown.err
    assert [v["name"] for v in run("voice", "list", "--json").json] == ["eric"]
    assert "eric" in run("voice", "list").out
    assert len(run("voice", "show", "eric", "--json").json["references"]) == 2
    both = run("voice", "remove", "eric", "-r", "other.wav", "-r", "reference.wav")
    assert (both.code, "only reference" in both.err) == (2, True)
    assert run("voice", "remove", "eric", "--reference", "other.wav").code == 0
    assert "other.wav" not in run("voice", "show", "eric").out
    by_name = run("convert", speech["source"], "--voice", "eric", "-o", tmp_path / "named.wav", *model)
    assert by_name.code == 0, by_name.err
    convert(run, speech["source"], speech, tmp_path / "direct.wav", *model)
    assert (tmp_path / "named.wav").read_bytes() == (tmp_path / "direct.wav").read_bytes()
    given = tmp_path / "given.safetensors"
    assert run("voice", "export", "eric", given).code == 0
    assert run("voice", "import", given, "--name", "guest").code == 0
    assert [v["name"] for v in run("voice", "list", "--json").json] == ["eric", "guest"]
    blended = run(
        "convert", speech["source"], "--voice", "eric=0.7", "--voice", given, "-o", tmp_path / "mix.wav", *model
    )
    assert blended.code == 0, blended.err
    assert run("voice", "remove", "eric", "--json").json == {"voice": "eric", "removed": "all"}
    assert [v["name"] for v in run("voice", "list", "--json").json] == ["guest"]


def test_voices_that_cannot_be_used(
    run: Callable[..., Answer],
    speech: Speech,
    encoder_file: Path,
    make_encoder: Callable[..., Path],
    tmp_path: Path,
) -> None:
    run("voice", "add", "eric", speech["reference"], "--model", encoder_file)
    source, output = speech["source"], tmp_path / "out.wav"
    command = ("convert", source, "-o", output, "--model", encoder_file, "--voice")
    check_refusal(run(*command, "nobody"), "nobody")
    check_refusal(run(*command, "eric=much"), "eric=much")
    check_refusal(run("voice", "add", "../eric", speech["reference"], "--model", encoder_file), "../eric")
    check_refusal(run("voice", "add", "eric", speech["reference"], "--model", encoder_file), "reference.wav")
    other = make_encoder(tmp_path / "other.safetensors", name="other", seed=1)
    refused = run("convert", source, "-o", output, "--model", other, "--voice", "eric")
    check_refusal(refused, "eric")
    assert "small/2" in refused.err
    assert "other/2" in refused.err
    voice = tmp_path / "voices/eric.safetensors"
    content = bytearray(voice.read_bytes())
    content[-10] ^= 1
    voice.write_bytes(content)
    check_refusal(run(*command, "eric"), "eric")
    voice.write_bytes(content[:-1000])
    check_refusal(run(*command, "eric"), "truncated")
    assert not output.exists()


# ---- features, doctor, demo


def test_features_of_a_layer(run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path) -> None:
    from speechssl import encoders

    output = tmp_path / "source.safetensors"
    answer = run("features", speech["source"], "-o", output, "--model", encoder_file, "--layer", 1, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["results"][0]["origin"] == "small/1"
    stored = checkpoints.load(output, kind="features")
    expected = encoders.load(encoder_file, layer=1, device="cpu").encode(audio.read(speech["source"]))
    assert stored.tensors["frames"].equal(expected.frames)
    assert stored.header["frame_rate"] == 50


def test_features_of_a_folder(run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path) -> None:
    command = ("features", speech["source"].parent, "-o", tmp_path / "out", "--model", encoder_file, "--half", "--json")
    first, second = run(*command).json, run(*command).json
    assert [len(first["results"]), len(second["skipped"])] == [3, 3]
    assert str(checkpoints.load(tmp_path / "out/other.safetensors", kind="features").tensors["frames"].dtype) == (
        "torch.float16"
    )


def test_report_on_references(run: Callable[..., Answer], speech: Speech, encoder_file: Path) -> None:
    answer = run("report", speech["reference"], "--source", speech["source"], "--model", encoder_file, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert 5 < found["speech_seconds"] <= 8
    assert "would help" in found["verdict"]
    assert 0 <= found["coverage"]["covered"] <= 1
    (row,) = found["recordings"]
    assert row["name"] == "reference.wav"
    printed = run("report", speech["reference"], speech["other"]).out
    assert "other.wav" in printed
    assert "of speech" in printed


def test_report_on_what_is_no_recording(run: Callable[..., Answer], tmp_path: Path) -> None:
    check_refusal(run("report", tmp_path / "missing.wav"), "missing.wav")


@pytest.mark.usefixtures("imported_once")
def test_doctor_knows_what_is_there(run: Callable[..., Answer]) -> None:
    answer = run("doctor", "--json")
    found = answer.json
    assert found["packages"]["torch"]
    declared = [
        re.split(r"[^\w-]", line)[0] for line in importlib.metadata.requires("speechssl") or [] if ";" not in line
    ]
    assert set(found["packages"]) == set(declared)
    assert {"tiny", "wavlm-large"} <= {bundle["name"] for bundle in found["bundles"]}
    assert all(bundle["licence"] for bundle in found["bundles"])
    assert answer.code == (2 if found["problems"] else 0)
    assert "wavlm-large" in run("doctor").out


@pytest.mark.usefixtures("imported_once")
def test_doctor_finds_what_is_broken(
    run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices/bad.safetensors").write_bytes(b"nothing of use")
    monkeypatch.setattr("speechssl.conversion.bundles.TINY", tmp_path / "missing.safetensors")
    answer = run("doctor", "--json")
    assert answer.code == 2
    told = [problem["problem"] for problem in answer.json["problems"]]
    assert any("bad.safetensors" in problem for problem in told)
    assert any("missing.safetensors" in problem for problem in told)
    assert all(problem["cure"] for problem in answer.json["problems"])


@pytest.mark.usefixtures("imported_once")
def test_doctor_looks_into_every_model_of_the_package(
    run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from speechssl import checkpoints
    from speechssl.cli import doctor

    files = {path for path, _ in doctor._packaged()}
    assert files == set(checkpoints.PACKAGED.rglob("*.safetensors"))
    shutil.copytree(checkpoints.PACKAGED, tmp_path / "models")
    damaged = tmp_path / "models/tiny/codebook-200.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    monkeypatch.setattr(checkpoints, "PACKAGED", tmp_path / "models")
    answer = run("doctor")
    assert answer.code == 2
    assert re.search(r"BROKEN: .*codebook-200\.safetensors.*\n  cure: ", answer.out)
    assert re.search(r"^tiny +broken", answer.out, flags=re.MULTILINE)


def test_demo_says_where_and_how_near(run: Callable[..., Answer], encoder_file: Path, tmp_path: Path) -> None:
    answer = run("demo", "--output", tmp_path / "demo", "--model", encoder_file, "--json")
    assert answer.code == 0, answer.err
    assert audio.info(answer.json["output"]).seconds > 4
    # WORLD moves F0 to the target whatever the encoder knows
    assert answer.json["pitch_gap_after"] < 3 < answer.json["pitch_gap_before"]
    assert answer.json["timbre_distance_after"] < answer.json["timbre_distance_before"]
    assert run("demo", "--output", tmp_path / "demo", "--model", encoder_file).code == 0  # again, in its own place


@pytest.mark.parametrize("name", ["ada.opus", "eric.opus", "ada-as-eric.wav"])
def test_demo_replaces_nothing_of_somebody_else(
    run: Callable[..., Answer], encoder_file: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"a recording of mine")
    refused = run("demo", "--output", tmp_path, "--model", encoder_file)
    assert (refused.code, f"{name} exists" in refused.err) == (2, True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"a recording of mine")]
    if name == "ada.opus":
        assert run("demo", "--output", tmp_path, "--model", encoder_file, "--overwrite").code == 0
        (tmp_path / name).write_bytes(b"a recording of mine, again")
        assert run("demo", "--output", tmp_path, "--model", encoder_file).code == 2


def test_a_file_whose_name_begins_with_a_dash_is_explained(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(speech["source"], "-take.wav")
    refused = run("features", "-take.wav", "-o", "out.safetensors", "--model", encoder_file)
    assert refused.code == 2
    assert "No such option: -t. The file '-take.wav' begins with a dash: give it as ./-take.wav" in refused.err
    assert "begins with a dash" not in run("features", "-other.wav", "-o", "out.safetensors").err
    assert run("features", "./-take.wav", "-o", "out.safetensors", "--model", encoder_file).code == 0
