"""Receipts: whatever is changed, it is seen; whatever is not sound, is not."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from speechssl import audio, cli
from speechssl.audio import WRITABLE
from speechssl.errors import CheckpointError, InputError
from speechssl.receipts import playback, signing, trust
from speechssl.signals import Waveform
from speechssl.voices import clips, consent

FACTS = {"what": "conversion", "source": {"name": "a.wav", "sha256": "0" * 64}}


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> signing.Signer:
    monkeypatch.setenv("SPEECHSSL_KEY", str(tmp_path / "keys" / "key.pem"))
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "data" / "voices"))
    return signing.Signer()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """A second of noise, in a new file of that name."""

    def write(name: str) -> Path:
        noise = torch.randn(24_000, generator=torch.Generator().manual_seed(0)) * 0.1
        audio.write(tmp_path / name, Waveform(noise, 24_000))
        return tmp_path / name

    return write


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_receipt_is_inside_and_beside_and_genuine(
    suffix: str, write: Callable[[str], Path], signer: signing.Signer
) -> None:
    path = write(f"speech{suffix}")
    before = audio.read(path).samples
    issued = signing.issue(path, FACTS, signer)
    assert torch.equal(audio.read(path).samples, before)
    assert json.loads(signing.beside(path).read_text()) == issued
    signing.beside(path).unlink()
    assert signing.show(path) == issued
    verdict = signing.check(path)
    assert (verdict.genuine, verdict.reasons, verdict.own_key) == (True, (), True)
    assert issued["source"] == FACTS["source"]
    assert issued["output"]["name"] == path.name


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_file_without_tags_is_checked_by_the_receipt_beside_it(
    suffix: str, write: Callable[[str], Path], signer: signing.Signer
) -> None:
    path = write(f"speech{suffix}")
    before = path.read_bytes()
    signing.issue(path, FACTS, signer, embed=False)
    assert path.read_bytes() == before
    assert signing.check(path).genuine


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_one_changed_sample_is_seen(suffix: str, write: Callable[[str], Path], signer: signing.Signer) -> None:
    path = write(f"speech{suffix}")
    signing.issue(path, FACTS, signer)
    samples, rate = soundfile.read(path, dtype="int16")
    samples[12_345] += 1
    soundfile.write(path, samples, rate)
    verdict = signing.check(path)
    assert not verdict.genuine
    assert verdict.reasons == ("the sound is not the one that was signed",)


@pytest.mark.parametrize("suffix", [".opus", ".mp3"])
def test_a_changed_packet_is_seen(suffix: str, write: Callable[[str], Path], signer: signing.Signer) -> None:
    path = write(f"speech{suffix}")
    signing.issue(path, FACTS, signer)
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(bytes(data))
    verdict = signing.check(path)
    assert verdict.verdict == "changed"
    assert len(verdict.reasons) == 1


def test_a_copy_as_flac_has_the_receipt_of_the_wav(write: Callable[[str], Path], signer: signing.Signer) -> None:
    path = write("speech.wav")
    signing.issue(path, FACTS, signer)
    copy = path.with_name("copy.flac")
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(copy, samples, rate)
    assert signing.check(copy, receipt=signing.beside(path)).genuine


@pytest.mark.parametrize("field", ["what", "created", "source", "speechssl"])
def test_every_field_is_signed(field: str, write: Callable[[str], Path], signer: signing.Signer) -> None:
    path = write("speech.wav")
    changed: dict[str, Any] = signing.issue(path, FACTS, signer, embed=False) | {field: "another"}
    signing.beside(path).write_text(json.dumps(changed))
    verdict = signing.check(path)
    assert verdict.reasons == ("the receipt was changed after it was signed, or never signed",)


def test_without_signature_or_with_another_key(
    write: Callable[[str], Path], signer: signing.Signer, tmp_path: Path
) -> None:
    path = write("speech.wav")
    issued = signing.issue(path, FACTS, signer, embed=False)
    unsigned = {name: value for name, value in issued.items() if name != "signature"}
    signing.beside(path).write_text(json.dumps(unsigned))
    assert not signing.check(path).genuine
    other = signing.Signer(tmp_path / "other.pem")
    signing.issue(path, FACTS, other)
    verdict = signing.check(path)
    assert (verdict.verdict, verdict.genuine, verdict.reasons, verdict.own_key) == ("unknown key", False, (), False)
    assert verdict.key == trust.fingerprint(other.public)


def test_a_second_receipt_replaces_the_first(write: Callable[[str], Path], signer: signing.Signer) -> None:
    path = write("speech.wav")
    signing.issue(path, FACTS, signer)
    size = path.stat().st_size
    signing.issue(path, {**FACTS, "what": "conversiom"}, signer)
    assert path.stat().st_size == size
    assert signing.show(path)["what"] == "conversiom"


def test_the_key_is_made_once_and_for_its_owner_alone(signer: signing.Signer) -> None:
    assert stat.S_IMODE(signer.path.stat().st_mode) == 0o600
    assert signing.Signer().public == signer.public
    signer.path.write_text("no key")
    with pytest.raises(CheckpointError, match="no private key"):
        signing.Signer()


def test_what_is_no_receipt_is_said(write: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no receipt"):
        signing.show(write("speech.wav"))
    with pytest.raises(InputError, match="no such file"):
        signing.show(tmp_path / "missing.wav")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="no receipt of the format"):
        signing.show(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        signing.show(tmp_path / "a.json")
    with pytest.raises(InputError, match="receipts are for"):
        playback.heard(tmp_path / "a.txt")


def test_the_command_line(
    write: Callable[[str], Path], signer: signing.Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("speech.wav")
    signing.issue(path, FACTS, signer)
    assert cli.run(["receipt", "show", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["what"] == "conversion"
    assert cli.run(["receipt", "check", str(path)]) == 0
    assert "genuine" in capsys.readouterr().out
    samples, rate = soundfile.read(path, dtype="int16")
    samples[0] += 1
    soundfile.write(path, samples, rate)
    assert cli.run(["receipt", "check", str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["genuine"] is False


def test_consent_needs_a_person_and_a_purpose() -> None:
    given = consent.parse("Ada Smith: her own audiobook: part 2")
    assert (given.who, given.purpose) == ("Ada Smith", "her own audiobook: part 2")
    assert consent.Consent.from_dict(given.as_dict()) == given
    for text in ("Ada Smith", ": nothing", "Ada:", "x" * 600 + ": long"):
        with pytest.raises(InputError, match="consent"):
            consent.parse(text)


def test_conversions_on_the_command_line_carry_receipts_where_they_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPEECHSSL_KEY", str(tmp_path / "keys" / "key.pem"))
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "voices"))
    source, eric = (str(clips.clip(name, "sentence").path) for name in ("ada", "eric"))
    out = tmp_path / "out.wav"
    arguments = ["convert", source, "--reference", eric, "--output", str(out), "--json", "--overwrite"]
    # neither a consent nor a setting: the file alone
    assert cli.run(arguments) == 0
    plain = audio.read(out).samples
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.wav"]
    assert cli.run(["voice", "add", "eric", eric, "--consent", "Eric: a test"]) == 0
    capsys.readouterr()
    # a voice with a consent
    assert cli.run(["convert", source, "--voice", "eric", "--output", str(out), "--json", "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["receipt"] == str(signing.beside(out))
    issued = signing.show(out)
    assert issued["consent"][0]["who"] == "Eric"
    assert issued["voices"][0]["references"][0]["name"] == Path(eric).name
    assert torch.equal(audio.read(out).samples, plain)
    assert cli.run(["receipt", "check", str(out)]) == 0
    assert "genuine" in capsys.readouterr().out
    # for whoever wants one always
    monkeypatch.setenv("SPEECHSSL_RECEIPTS", "1")
    assert cli.run(arguments) == 0
    assert "none was recorded" in signing.show(out)["consent"][0]["statement"]
    assert signing.check(out).genuine
    # replaced without a receipt: the old one speaks of a recording that is no more
    assert cli.run([*arguments, "--no-receipt"]) == 0
    assert not signing.beside(out).exists()
    with pytest.raises(InputError, match="has no receipt"):
        signing.show(out)


def test_speech_on_the_command_line_carries_one_when_asked(tmp_path: Path, signer: signing.Signer) -> None:
    out = tmp_path / "out.flac"
    eric = str(clips.clip("eric", "sentence").path)
    assert cli.run(["say", "Good morning.", "--reference", eric, "--output", str(out), "--receipt"]) == 0
    issued = signing.show(out)
    assert issued["text"]["characters"] == len("Good morning.")
    assert issued["settings"] == {"interpolation": 1.0, "speed": 1.0, "seed": 0}
    assert signing.check(out).own_key
