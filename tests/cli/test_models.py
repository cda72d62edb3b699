"""Which model a command runs: that of a stored voice or a codebook, a folder, a voice of the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from speechssl import checkpoints
from speechssl.cli import models
from speechssl.encoders.origins import parsed
from speechssl.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small random model as save_pretrained writes it, which does not say whether it normalises."""
    transformers = checkpoints.transformers()
    torch.manual_seed(0)
    config = transformers.WavLMConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.WavLMModel(config).save_pretrained(tmp_path / "own")
    return tmp_path / "own"


def test_a_folder_and_what_it_does_not_say(
    folder: Path, tmp_path: Path, speech: dict[str, Path], command: Callable[..., Any]
) -> None:
    add = ("voice", "add", "mine", speech["reference"], "--model", folder, "--layer", 2)
    asked = command(*add)
    assert asked.code == 2
    assert "say --normalise or --no-normalise" in asked.err
    assert command(*add, "--no-normalise").code == 0
    convert = ("convert", speech["source"], "--voice", "mine", "--output", tmp_path / "out.wav")
    unnamed = command(*convert)
    assert unnamed.code == 2
    assert "a local one; name its folder with --model" in unnamed.err
    # layer 2 is that of the voice
    done = command(*convert, "--model", folder, "--no-normalise", "--json")
    assert done.code == 0, done.err
    other = command(*convert, "--model", folder, "--no-normalise", "--layer", 1, "--overwrite")
    assert other.code == 2
    assert "/1" in other.err
    assert "/2" in other.err


def test_a_stored_voice_names_its_model(
    tmp_path: Path, speech: dict[str, Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("voice", "add", "fourth", speech["reference"], "--layer", 4).code == 0
    assert models.origins_of(["fourth", "eric"]) == ["tiny/4"]
    done = command("convert", speech["source"], "--voice", "fourth", "-o", tmp_path / "out.wav", "--dry-run")
    assert done.out == f"{speech['source']} -> {tmp_path / 'out.wav'}\n"
    assert models.load(None, ["tiny/4"], device="cpu").encoder.origin == "tiny/4"
    assert models.load(None, ["tiny/4"], layer=2, device="cpu").encoder.origin == "tiny/2"


def test_voices_of_the_package_have_their_names_everywhere(
    tmp_path: Path, speech: dict[str, Path], command: Callable[..., Any]
) -> None:
    made = command("convert", speech["source"], "--voice", "eric=0.6", "--voice", "beth", "-o", tmp_path / "out.wav")
    assert made.code == 0, made.err
    jobs = tmp_path / "jobs.csv"
    jobs.write_text(f"source,voice\n{speech['source']},cleo\n")
    assert command("convert", "--jobs", jobs, "-o", tmp_path).code == 0
    decoded = command("units", "decode", "12 7 7 41 41 41 3", "--voice", "dan", "-o", tmp_path / "units.wav")
    assert decoded.code == 0, decoded.err


def test_origins_are_taken_apart() -> None:
    assert parsed("wavlm-large/6/raw") == ("wavlm-large", 6, False)
    assert parsed("microsoft/wavlm-base/9") == ("microsoft/wavlm-base", 9, None)
    assert parsed("tiny/5") == ("tiny", 5, None)
    with pytest.raises(InputError, match="'own@1234abcd/6', a local one; name its folder with --model"):
        models.load(None, ["own@1234abcd/6"])
