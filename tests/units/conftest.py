"""A codebook of the small encoder, and a handful of recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechssl import encoders
from speechssl.encoders.fingerprints import of_encoder
from speechssl.units.codebooks.codebook import Codebook


def tones(seconds: float, seed: int) -> np.ndarray:
    """Something that changes all the time: tones of random pitch and level, with a little noise, at 16 kHz."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 16000)
    pitch = np.repeat(rng.uniform(100, 2000, count // 1600 + 1), 1600)[:count]
    level = np.repeat(rng.uniform(0.02, 0.4, count // 1600 + 1), 1600)[:count]
    return (level * np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.005 * rng.normal(size=count)).astype(np.float32)


@pytest.fixture(scope="session")
def codebook_file(encoder_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 random frames of the small encoder as centroids."""
    import torch

    from speechssl.signals import Waveform

    encoder = encoders.load(encoder_file)
    frames = encoder.encode(Waveform(torch.from_numpy(tones(4.0, 99)), 16000)).frames.numpy()
    centroids = frames[np.random.default_rng(0).permutation(len(frames))[:12]][None]
    book = Codebook(centroids.copy(), encoder.origin, 50.0, encoder=of_encoder(encoder))
    return book.save(tmp_path_factory.mktemp("codebook") / "small.safetensors")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of seven short recordings with a manifest; the fifth is no audio."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = []
    for number in range(7):
        path = folder / f"take{number}.wav"
        if number == 4:
            path.write_bytes(b"no audio at all")
        else:
            rate = 8000 if number == 2 else 16000
            soundfile.write(path, tones(0.4 + 0.13 * number, number)[:: 16000 // rate], rate)
        rows.append({"path": path.name, "text": f"words {number}", "speaker": f"s{number % 2}", "seconds": 99})
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
