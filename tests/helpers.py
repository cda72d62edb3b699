"""What the tests of voices and conversion share: a second or two of speech, and an encoder of spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechssl import audio
from speechssl.signals import Features, Waveform
from speechssl.voices import clips


class Spectra:
    """A deterministic encoder: log magnitudes of 25-ms frames in 40 bands, 50 a second, each divided by ``scale``."""

    sample_rate, frame_rate, dim = 16_000, 50.0, 40

    def __init__(self, origin="spectra/1", *, scale=1.0, drop=0):
        self.origin, self.scale, self.drop = origin, scale, drop
        self.calls = 0

    def num_frames(self, num_samples):
        return 1 + (num_samples - 400) // 320 - self.drop if num_samples >= 400 else 0

    def encode(self, waveform, *, f0=None):
        from speechssl.errors import InputError

        self.calls += 1
        samples = audio.resample(waveform, self.sample_rate).samples
        if len(samples) < 400:
            raise InputError(f"the audio has {len(samples)} samples; 400 needed")
        frames = samples.unfold(0, 400, 320) * torch.hann_window(400)
        bands = torch.fft.rfft(frames, 512).abs()[:, :240].reshape(len(frames), 40, 6).mean(dim=2)
        return Features(((bands + 1e-3).log() / self.scale)[: len(frames) - self.drop], 50.0, self.origin)


@pytest.fixture
def make_encoder():
    return Spectra


@pytest.fixture
def encoder():
    return Spectra()


@pytest.fixture(scope="session")
def speech():
    """1.5 seconds of each of two voices."""
    found = []
    for voice in ("ada", "dan"):
        waveform = audio.read_mono(clips.clip(voice, "sentence").path, 16_000)
        found.append(Waveform(waveform.samples[8000:32_000].clone(), 16_000))
    return found


@pytest.fixture
def files(tmp_path, speech):
    for name, waveform in zip(("one.wav", "two.wav"), speech, strict=True):
        audio.write(tmp_path / name, waveform)
    return [tmp_path / "one.wav", tmp_path / "two.wav"]


def random(*shape, seed=0):
    """Normal numbers, always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    """Cosine distance of two vectors, in numpy float64."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return 1 - a @ b / np.sqrt((a @ a) * (b @ b))
