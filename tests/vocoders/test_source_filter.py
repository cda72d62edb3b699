"""The packaged vocoder: untrained it is WORLD, in pieces it is the whole, and it refuses strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from speechssl import audio, checkpoints, vocoders
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Features
from speechssl.vocoders import source_filter, world
from speechssl.vocoders.source_filter import (
    SourceFilter,
    SourceFilterConfig,
    SourceFilterVocoder,
    pulse_train,
    voice_statistics,
)

SMALL = SourceFilterConfig(key_dim=8, width=16, hidden=24, num_layers=2, key_width=4)
KEYS = "small/2"


def vocoder(*, correcting: bool = True, seed: int = 0) -> SourceFilterVocoder:
    torch.manual_seed(seed)
    network = SourceFilter(SMALL)
    if correcting:
        torch.nn.init.normal_(network.exit.weight, std=0.1)
    return SourceFilterVocoder(network, key_origin=KEYS, device="cpu")


@pytest.fixture(scope="module")
def spoken(speech: dict[str, Path]) -> tuple[Features, Features, torch.Tensor]:
    """Values, keys and F0 of 2 s of speech."""
    waveform = audio.read_mono(speech["source"], 16_000)
    f0 = audio.f0(waveform)
    values = world.WorldAnalysis().encode(waveform, f0=f0)
    generator = torch.Generator().manual_seed(0)
    return values, Features(torch.randn(len(values), 8, generator=generator), 50.0, KEYS), f0


def test_untrained_it_speaks_as_world_does(spoken: tuple[Features, Features, torch.Tensor]) -> None:
    values, keys, f0 = spoken
    made = vocoder(correcting=False).vocode(values, f0=f0, keys=keys).samples
    wanted = world.WorldVocoder().vocode(values, f0=f0).samples
    assert made.shape == wanted.shape

    def bands(samples: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(samples, 1024, 256, window=torch.hann_window(1024), return_complex=True).abs() ** 2
        return spectrum[1:].reshape(16, 32, -1).mean(1).clamp(min=1e-6).log10() * 10

    loud = bands(wanted) > -10
    assert float((bands(made) - bands(wanted)).abs()[loud].mean()) < 3.0  # dB
    # and what is not it differs from it by far more
    shuffled = Features(values.frames.flip(0), values.frame_rate, values.origin)
    other = vocoder(correcting=False).vocode(shuffled, f0=f0, keys=keys).samples
    assert float((bands(other) - bands(wanted)).abs()[loud].mean()) > 6.0


def test_in_pieces_it_is_the_whole(spoken: tuple[Features, Features, torch.Tensor]) -> None:
    values, keys, f0 = spoken
    one = vocoder()
    contour = world.fitted(f0.double().numpy(), len(values))
    who = voice_statistics(values.frames, one.network.config.order)
    whole = torch.cat(list(one._stream(values.frames, keys.frames, contour, who)))
    assert len(whole) == 320 * (len(values) - 1) + 400
    for chunk in (7, 40, len(values) - 1):
        pieces = torch.cat(list(one._stream(values.frames, keys.frames, contour, who, chunk=chunk)))
        torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=0)


def test_keys_and_values_are_heard(spoken: tuple[Features, Features, torch.Tensor]) -> None:
    values, keys, f0 = spoken
    one = vocoder()
    base = one.vocode(values, f0=f0, keys=keys).samples
    assert torch.equal(base, one.vocode(values, f0=f0, keys=keys).samples)
    others = Features(-keys.frames, keys.frame_rate, keys.origin)
    assert float((base - one.vocode(values, f0=f0, keys=others).samples).std()) > 0.01 * float(base.std())


def test_saved_and_loaded_it_is_the_same(
    tmp_path: Path, spoken: tuple[Features, Features, torch.Tensor], encoder_file: Path
) -> None:
    values, keys, f0 = spoken
    one = vocoder()
    path = source_filter.save(tmp_path / "v.safetensors", one, licence="MIT", provenance={"data": "none"})
    loaded = vocoders.load(path, device="cpu")
    assert (loaded.origin, loaded.key_origin, loaded.needs_f0) == ("world/16k-40", KEYS, True)
    gap = loaded.vocode(values, f0=f0, keys=keys).samples - one.vocode(values, f0=f0, keys=keys).samples
    assert float(gap.std()) < 0.02 * float(one.vocode(values, f0=f0, keys=keys).samples.std())
    assert source_filter.load(path).network.config == SMALL
    with pytest.raises(CheckpointError, match="encoder"):
        source_filter.load(encoder_file)
    header = {"kind": "vocoder", "family": "source-filter", "key_origin": "x/1", "config": {"colour": 3}}
    with pytest.raises(CheckpointError, match="config"):
        source_filter.load(checkpoints.save(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, header))


def test_the_voice_is_heard_and_is_that_of_the_values_if_not_given(
    spoken: tuple[Features, Features, torch.Tensor],
) -> None:
    values, keys, f0 = spoken
    one = vocoder()
    torch.nn.init.normal_(one.network.voice.weight, std=0.3)
    base = one.vocode(values, f0=f0, keys=keys).samples
    # the order of frames, and how often each is there, says nothing of a voice
    same = one.vocode(values, f0=f0, keys=keys, voice=values.frames.flip(0).repeat(2, 1)).samples
    torch.testing.assert_close(same, base, atol=1e-4, rtol=0)
    other = one.vocode(values, f0=f0, keys=keys, voice=values.frames * 1.5).samples
    assert float((base - other).std()) > 0.01 * float(base.std())
    with pytest.raises(InputError, match="numbers a frame"):
        one.vocode(values, f0=f0, keys=keys, voice=values.frames[:, :-1])


def test_what_does_not_belong_together_is_refused(spoken: tuple[Features, Features, torch.Tensor]) -> None:
    values, keys, f0 = spoken
    one = vocoder()
    with pytest.raises(InputError, match="keys"):
        one.vocode(values, f0=f0)
    with pytest.raises(InputError, match="F0"):
        one.vocode(values, keys=keys)
    with pytest.raises(InputError, match="other/1"):
        one.vocode(values, f0=f0, keys=Features(keys.frames, 50.0, "other/1"))
    with pytest.raises(InputError, match="one for each"):
        one.vocode(values, f0=f0, keys=Features(keys.frames[:-1], 50.0, KEYS))
    with pytest.raises(InputError, match="F0 has"):
        one.vocode(values, f0=f0[:50], keys=keys)


def test_pulses_have_unit_power_and_the_pitch() -> None:
    f0 = np.full(400, 131.0)
    pulse = pulse_train(f0, 16_000)
    assert np.mean(pulse[1000:15_000] ** 2) == pytest.approx(1, rel=0.1)
    spectrum = np.abs(np.fft.rfft(pulse * np.hanning(16_000)))
    assert abs(int(spectrum[100:160].argmax()) + 100 - 131) <= 1
    # as strong at 5 kHz as at 131 Hz: band-limited, not smeared
    assert spectrum[131 * 38 - 2 : 131 * 38 + 3].max() == pytest.approx(spectrum[130:133].max(), rel=0.1)
    assert not pulse_train(np.zeros(400), 16_000).any()


def test_noise_is_one_noise() -> None:
    whole = source_filter.noise(0, 200_000)
    assert abs(float(whole.std()) - 1) < 0.01
    np.testing.assert_array_equal(source_filter.noise(60_000, 140_000), whole[60_000:140_000])
    np.testing.assert_array_equal(source_filter.noise(65_536, 131_072), whole[65_536:131_072])
