"""Encodings are kept: the second run reads them, a damaged one is made again, a bad recording is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechssl import audio, encoders
from speechssl.encoders.encoder import SSLEncoder
from speechssl.errors import InputError
from speechssl.training.probing import encodings


@pytest.fixture
def small(encoder_file: Path) -> SSLEncoder:
    return encoders.load(encoder_file)


def test_kept_encodings_are_those_of_the_encoder_and_are_not_computed_again(
    planted: Callable[..., Path], small: SSLEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(path) for path in sorted(planted(speakers=1, takes=2).rglob("*.wav"))]
    cache = tmp_path / "cache"
    first, _ = encodings.encode_all(files[:2], small, [0, 2], cache=cache)
    frames = small.layers(audio.read(files[0]))[2].frames.numpy()
    assert np.allclose(first[files[0]][1], np.r_[frames.mean(0), frames.std(0)], atol=1e-6)
    damaged = next(cache.rglob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    calls = []
    monkeypatch.setattr(
        SSLEncoder, "layers", lambda self, waveform, run=SSLEncoder.layers: calls.append(1) or run(self, waveform)
    )
    again, _ = encodings.encode_all(files, small, [0, 2], cache=cache)
    assert len(calls) == 1 + len(files[2:])
    assert all(np.array_equal(one, two) for one, two in zip(first[files[0]], again[files[0]], strict=True))


def test_other_weights_layers_and_seconds_are_other_encodings(
    planted: Callable[..., Path], small: SSLEncoder, make_weights: Callable[..., Path], tmp_path: Path
) -> None:
    file = str(next(planted(speakers=1, takes=1).rglob("*.wav")))
    other = encoders.load(make_weights(tmp_path / "other.safetensors", seed=1))
    runs = [(small, [2], None), (other, [2], None), (small, [1], None), (small, [2], 0.2)]
    found = [
        encodings.encode_all([file], encoder, layers, seconds=seconds, cache=tmp_path / "cache")[0][file][0]
        for encoder, layers, seconds in runs
    ]
    assert len({one.tobytes() for one in found}) == 4


def test_what_cannot_be_used_is_left_out_with_its_reason(small: SSLEncoder, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", np.random.default_rng(0).normal(size=8000) * 0.1, 16000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    soundfile.write(tmp_path / "brief.wav", np.ones(100) * 0.1, 16000)
    (tmp_path / "torn.wav").write_bytes(b"no audio")
    files = [str(tmp_path / f"{name}.wav") for name in ("good", "silent", "brief", "torn", "absent")]
    kept, left_out = encodings.encode_all(files, small, [0], cache=tmp_path / "cache")
    assert list(kept) == files[:1]
    assert list(left_out) == files[1:]
    assert "is silent" in left_out[files[1]]
    assert all(Path(file).name in reason for file, reason in left_out.items())
    with pytest.raises(InputError, match=r"none of 1 recordings can be used.*is silent"):
        encodings.encode_all(files[1:2], small, [0], cache=tmp_path / "cache")


@pytest.mark.parametrize(("text", "wanted"), [("all", [0, 1, 2, 3]), ("2", [2]), ("0,2-3,2", [0, 2, 3])])
def test_layers_are_numbers_and_ranges(text: str, wanted: list[int]) -> None:
    assert encodings.chosen_layers(text, 3) == wanted


@pytest.mark.parametrize("text", ["4", "2-4", "x", "-1", "", "3-2"])
def test_layers_outside_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--layers"):
        encodings.chosen_layers(text, 3)
