"""F0 of sound that is still being spoken."""

from __future__ import annotations

import numpy as np
import pytest

import speechssl
from speechssl import audio
from speechssl.audio.live_f0 import LiveF0


def stepped(samples: np.ndarray, *, hop: int = 1280, ahead: int = 2160) -> np.ndarray:
    tracker, found, heard = LiveF0(), [], 0
    for until in range(hop + ahead, len(samples) + 1, hop):
        values = tracker.step(samples[heard:until], hop // 80)
        assert len(values) > hop // 80
        found.append(values[: hop // 80])
        heard = until
    return np.concatenate(found)


@pytest.mark.parametrize("voice", ["ada", "eric"])
def test_f0_is_nearly_that_of_the_whole_recording(voice: str) -> None:
    waveform = audio.read_mono(speechssl.clip(voice, "sentence").path, 16_000)
    found = stepped(waveform.samples.numpy())
    whole = audio.f0(waveform).numpy()[: len(found)]
    assert np.mean((found > 0) != (whole > 0)) < 0.03
    both = (found > 0) & (whole > 0)
    assert np.mean(np.abs(np.log2(found[both] / whole[both])) > 0.1) < 0.05


def test_a_tone_is_found_where_it_is() -> None:
    times = np.arange(32_000) / 16_000
    tone = sum(np.sin(2 * np.pi * 140 * n * times) / n for n in range(1, 9)) * 0.1
    found = stepped(np.where(times > 1, tone, 0).astype(np.float32))
    assert not found[:190].any()
    np.testing.assert_allclose(found[215:320], 140, rtol=0.01)


def test_silence_has_none() -> None:
    assert not stepped(np.zeros(16_000, np.float32)).any()
