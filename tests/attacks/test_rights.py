"""What belongs to one person is read by nobody else on the machine: voices, voice prints, databases, keys."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import Spectra

from speechssl.errors import CheckpointError
from speechssl.receipts.signing import Signer
from speechssl.signals import Embedding, Waveform
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.voices import VoiceLibrary

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems have no such bits")


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Rights that are taken from new files: nothing, the usual, and too much."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_all_files_are_their_owners_alone(tmp_path: Path, umask: int, speech: list[Waveform]) -> None:
    home = tmp_path / "data"
    VoiceLibrary(home / "voices").add("ada", speech[:1], Spectra())
    Signer(home / "keys" / "key.pem")
    with SpeakerDatabase(home / "speakers" / "speakers.sqlite") as database:
        database.enrol("ada", [Enrolment(Embedding(torch.tensor([1.0, 0.0]), "m@1"), "a.wav", "a" * 64, 2.0)])
        found = {path.relative_to(home).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*")}
    assert {name for name, mode in found.items() if mode == 0o700} == {"voices", "keys", "speakers"}
    files = {name: mode for name, mode in found.items() if mode != 0o700 and not name.endswith(".lock")}
    assert set(files) >= {"voices/ada.safetensors", "keys/key.pem", "speakers/speakers.sqlite"}
    assert set(files.values()) == {0o600}, files


def test_an_exported_voice_is_its_owners_alone(tmp_path: Path, umask: int, speech: list[Waveform]) -> None:
    library = VoiceLibrary(tmp_path / "voices")
    library.add("ada", speech[:1], Spectra())
    copy = library.export("ada", tmp_path / "ada.safetensors")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
def test_a_key_of_everybody_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "my key.pem"
    public = Signer(path).public
    path.chmod(mode)
    with pytest.raises(CheckpointError) as caught:
        Signer(path)
    program, bits, file = shlex.split(str(caught.value).partition("cure it with: ")[2])
    assert program == "chmod"
    os.chmod(file, int(bits, 8))
    assert Signer(path).public == public
