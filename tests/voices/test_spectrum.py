"""Long-term spectra: what is measured is what was put in, and the filter gives one sound the spectrum of another."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices import spectrum
from speechssl.voices.spectrum import NUM_BANDS, Spectrum


def noise(seconds=4.0, sample_rate=16_000, seed=0):
    samples = torch.randn(round(seconds * sample_rate), generator=torch.Generator().manual_seed(seed))
    return Waveform(0.1 * samples, sample_rate)


def flat(**changes):
    levels = [0.0] * NUM_BANDS
    for band, level in changes.items():
        levels[int(band[1:])] = level
    return Spectrum(tuple(levels), 1000.0)


def difference(one, other):
    return np.abs(np.subtract(one.levels, other.levels))


def test_a_spectrum_is_that_of_the_formula():
    waveform = noise(1.0)
    window = scipy.signal.get_window("hann", 512)
    frames = np.lib.stride_tricks.sliding_window_view(waveform.samples.numpy().astype(float), 512)[::128]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    mel = np.linspace(0, 2595 * math.log10(1 + 8000 / 700), NUM_BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(257) * 16_000 / 512
    filters = np.stack([np.interp(bins, edges[i : i + 3], [0, 1, 0]) for i in range(NUM_BANDS)], axis=1)
    filters[:, filters.sum(0) > 0] /= np.maximum(filters.sum(0), 1e-3)[filters.sum(0) > 0]
    levels = (10 * np.log10(np.maximum(power @ filters, 1e-12))).mean(0)
    found = spectrum.measure(waveform)
    assert np.abs(found.levels - (levels - levels.mean())).max() < 0.02
    assert found.seconds == pytest.approx(len(frames) * 0.008)


def test_neither_loudness_nor_pauses_count():
    waveform = noise()
    quiet = Waveform(torch.cat([torch.zeros(30_000), 0.01 * waveform.samples, torch.zeros(9)]), 16_000)
    one, other = spectrum.measure(waveform), spectrum.measure(quiet)
    assert difference(one, other).max() < 0.15
    assert one.seconds == pytest.approx(other.seconds, abs=0.1)


@pytest.mark.parametrize("samples", [torch.zeros(16_000), torch.ones(511), torch.zeros(1)])
def test_silence_and_shorter_than_a_window_have_none(samples):
    assert spectrum.measure(Waveform(samples, 16_000)) is None


def test_blocks_do_not_matter(monkeypatch):
    waveform = noise(3.0)
    wanted = flat(b5=6.0, b20=-6.0)
    measured, filtered = spectrum.measure(waveform), spectrum.equalise(waveform, flat(), wanted)
    monkeypatch.setattr(spectrum, "BLOCK", 5000)
    assert spectrum.measure(waveform) == measured
    blocked = spectrum.equalise(waveform, flat(), wanted)
    assert float((blocked.samples - filtered.samples).abs().max()) < 1e-6


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 24_000, 48_000])
def test_the_filter_gives_a_sound_the_spectrum_wanted(sample_rate):
    waveform = noise(20.0, sample_rate)
    # an echo after a quarter of a millisecond, whatever the rate
    echo = [1.0, *[0.0] * (sample_rate // 4000 - 1), -0.3]
    tilted = scipy.signal.lfilter(echo, [1], waveform.samples.numpy())
    tilt = Waveform(torch.from_numpy(tilted).float(), sample_rate)
    own, wanted = spectrum.measure(tilt), spectrum.measure(waveform)
    before = difference(own, wanted).mean()
    assert before > 0.3
    result = spectrum.equalise(tilt, own, wanted)
    assert len(result.samples) == len(tilt.samples)
    assert difference(spectrum.measure(result), wanted).mean() < before / 4


def test_nothing_to_do_is_nothing_done():
    waveform = noise()
    own = spectrum.measure(waveform)
    for result in (spectrum.equalise(waveform, own, own), spectrum.equalise(waveform, own, flat(), amount=0.0)):
        assert float((result.samples - waveform.samples).abs().max()) < 1e-6


def test_no_band_is_moved_by_more_than_six_decibels():
    waveform = noise(20.0)
    wild = Spectrum(tuple(30.0 if band > 20 else -30.0 for band in range(NUM_BANDS)), 100.0)
    before, after = (spectrum.measure(x) for x in (waveform, spectrum.equalise(waveform, flat(), wild)))
    moved = np.subtract(after.levels, before.levels)
    assert 10 < moved.max() - moved.min() < 12.5


def test_a_few_sounds_are_no_spectrum_to_be_sure_of():
    waveform, wanted = noise(20.0), flat(b10=6.0)
    changes = []
    for seconds in (0.1, 1.0, 100.0):
        short = Spectrum(flat().levels, seconds), Spectrum(wanted.levels, seconds)
        results = [spectrum.equalise(waveform, *pair) for pair in ((short[0], wanted), (flat(), short[1]))]
        assert torch.equal(results[0].samples, results[1].samples)
        changes.append(spectrum.measure(results[0]).levels[10])
    changes = np.array(changes) - spectrum.measure(waveform).levels[10]
    assert changes[0] < changes[1] < changes[2]
    assert changes[1] == pytest.approx(changes[2] / 2, abs=0.3)


def test_a_part_is_filtered_as_it_is_in_the_whole():
    waveform, wanted = noise(), flat(b3=-5.0, b30=5.0)
    whole = spectrum.equalise(waveform, flat(), wanted).samples
    part = spectrum.equalise(Waveform(waveform.samples[10_000:30_000], 16_000), flat(), wanted).samples
    assert float((part[300:-300] - whole[10_300:29_700]).abs().max()) < 1e-6


def test_pools_by_seconds_or_by_shares():
    one, other = Spectrum(flat(b0=4.0).levels, 3.0), Spectrum(flat().levels, 1.0)
    assert spectrum.pool([one, other]).seconds == 4.0
    assert difference(spectrum.pool([one, other]), flat(b0=3.0)).max() < 0.02
    assert difference(spectrum.pool([one, other], [0.5, 0.5]), flat(b0=2.0)).max() < 0.02


@pytest.mark.parametrize(
    ("levels", "seconds"), [((0.0,) * 39, 1.0), ((math.nan,) * 40, 1.0), ((0.0,) * 40, -1.0), ((0.0,) * 40, math.inf)]
)
def test_impossible_levels(levels, seconds):
    with pytest.raises(InputError, match="40 finite ones"):
        Spectrum(levels, seconds)
