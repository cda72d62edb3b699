"""A vocoder takes the keys of another encoder."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import write_encoder

from speechssl import audio, checkpoints, vocoders
from speechssl.signals import Waveform
from speechssl.vocoders.source_filter import SourceFilter, SourceFilterConfig, SourceFilterVocoder, save
from speechssl.voices import clips

RECIPE = "vocoder"
Recipe = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def vocoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = SourceFilter(SourceFilterConfig(key_dim=32, width=32, hidden=48, num_layers=2, key_width=8))
    path = tmp_path_factory.mktemp("rekey") / "vocoder.safetensors"
    return save(path, SourceFilterVocoder(network, key_origin="small/2"), licence="MIT", provenance={"steps": 3})


def test_a_linear_relation_is_found(recipe: Recipe) -> None:
    torch.manual_seed(0)
    matrix, bias = torch.randn(6, 9), torch.randn(6)
    new = [torch.randn(count, 9) for count in (50, 61, 40, 30)]
    # an encoder may have a frame more or less at the end
    old = [torch.cat([keys @ matrix.T + bias, torch.zeros(1, 6)]) for keys in new]
    found, offset, facts = recipe("rekey").fit(new, old)
    torch.testing.assert_close(found, matrix, atol=0.02, rtol=0.02)
    torch.testing.assert_close(offset, bias, atol=0.02, rtol=0.02)
    assert facts["cosine"] > 0.999
    assert facts["variance_explained"] > 0.999


def test_the_new_keys_do_what_their_images_did(recipe: Recipe, vocoder_file: Path) -> None:
    torch.manual_seed(1)
    before = vocoders.load(vocoder_file, device="cpu")
    matrix, bias, new = torch.randn(32, 20), torch.randn(32), torch.randn(1, 12, 20)
    network = recipe("rekey").rekeyed(before, matrix, bias)
    asked = before.network.keys(new @ matrix.T + bias)
    torch.testing.assert_close(network.keys(new), asked, atol=1e-4, rtol=1e-4)
    same = [name for name in network.state_dict() if not name.startswith("keys.")]
    assert all(torch.equal(network.state_dict()[name], before.network.state_dict()[name]) for name in same)


def test_a_file_is_written_for_another_encoder(
    recipe: Recipe, vocoder_file: Path, encoder_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_encoder(tmp_path / "other.safetensors", name="other", seed=1)
    samples = audio.read_mono(clips.clip("ada").path, 16_000).samples
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "corpus", "seconds", "split"])
        for number in range(16):
            cut = samples[20_000 * number : 20_000 * number + 33_600].clone()
            audio.write(tmp_path / f"{number}.wav", Waveform(cut, 16_000))
            rows.writerow([f"{number}.wav", "clips", 2.1, "train"])
    words = [str(vocoder_file), str(tmp_path / "manifest.csv"), "--output", str(tmp_path / "new.safetensors")]
    with pytest.raises(SystemExit, match=r"takes keys of small/2, not of tiny/\d; give --old-model"):
        recipe("rekey").main([*words, "--model", str(other)])
    recipe("rekey").main([*words, "--model", str(other), "--old-model", str(encoder_file)])
    assert '"key_origin": "other/2"' in capsys.readouterr().out
    made = checkpoints.load(tmp_path / "new.safetensors", kind="vocoder").header
    assert made["key_origin"] == "other/2"
    assert made["provenance"]["steps"] == 3
    assert made["provenance"]["rekeyed"]["recordings"] == 16
    assert made["provenance"]["rekeyed"]["of"] == checkpoints.fingerprint(vocoder_file)
    few = tmp_path / "few.csv"
    few.write_text("path,corpus,seconds,split\n0.wav,clips,2.1,train\n")
    with pytest.raises(SystemExit, match="1 recordings of the split 'train' over 2 s; 16 needed"):
        recipe("rekey").main([words[0], str(few), *words[2:], "--model", str(other), "--old-model", str(encoder_file)])
