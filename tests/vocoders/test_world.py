"""WORLD: frames in time with the SSL encoders, synthesis against pyworld's own, chunks against the whole."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speechssl import audio, checkpoints, vocoders
from speechssl.audio import f0_tracker
from speechssl.errors import InputError
from speechssl.signals import Encoder, Features, Vocoder, Waveform
from speechssl.vocoders import pulses
from speechssl.vocoders.world import WorldAnalysis, WorldVocoder

CLIP = checkpoints.PACKAGED / "clips" / "dan_sentence.opus"
RATE = 16_000
pyworld = f0_tracker.pyworld()


@cache
def speech() -> Waveform:
    return audio.read_mono(CLIP, RATE)


@cache
def pitch_of_speech() -> Tensor:
    return audio.f0(speech())


@cache
def values_of_speech() -> Features:
    return WorldAnalysis().encode(speech(), f0=pitch_of_speech())


def noise(count: int, seed: int = 0, level: float = 0.1) -> Tensor:
    return level * torch.randn(count, generator=torch.Generator().manual_seed(seed))


def power_db(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.asarray(samples, dtype=np.float64) ** 2) + 1e-20))


def third_octaves(samples: np.ndarray) -> np.ndarray:
    """Mean power in dB of bands from 100 Hz to 7 kHz."""
    spectrum = np.abs(np.fft.rfft(np.asarray(samples, dtype=np.float64))) ** 2 / len(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    edges = np.geomspace(100, 7000, 19)
    return np.array([10 * np.log10(spectrum[(hertz >= a) & (hertz < b)].mean()) for a, b in itertools.pairwise(edges)])


def log_mel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square difference in dB of 40 mel bands over 20 ms frames within 40 dB of the loudest."""
    import librosa

    length = min(len(first), len(second))
    both = [
        10
        * np.log10(librosa.feature.melspectrogram(y=x[:length], sr=RATE, n_fft=512, hop_length=160, n_mels=40) + 1e-9)
        for x in (first, second)
    ]
    loud = both[0].max(axis=0) > both[0].max() - 40
    return float(np.sqrt(np.mean((both[0] - both[1])[:, loud] ** 2)))


# ---------------------------------------------------------------------------------------------------------- the facts


def test_they_are_an_encoder_and_a_vocoder_that_fit() -> None:
    analysis, vocoder = WorldAnalysis(), vocoders.load("world")
    assert isinstance(analysis, Encoder)
    assert isinstance(vocoder, Vocoder)
    assert (analysis.origin, analysis.dim, analysis.frame_rate) == ("world/16k-40", 164, 50.0)
    assert (vocoder.origin, vocoder.sample_rate, vocoder.frame_rate, vocoder.needs_f0) == (
        "world/16k-40",
        RATE,
        50.0,
        True,
    )
    assert WorldAnalysis(24).origin == WorldVocoder(24).origin == "world/16k-24"


@pytest.mark.parametrize("count", [400, 401, 719, 720, 1039, 1040, 4321, 16_000, 48_399])
def test_frames_and_samples_are_counted_as_by_the_ssl_encoders(count: int) -> None:
    analysis, vocoder = WorldAnalysis(), WorldVocoder()
    waveform = Waveform(noise(count), RATE)
    f0 = audio.f0(waveform)
    values = analysis.encode(waveform)
    assert len(values) == analysis.num_frames(count) == 1 + (count - 400) // 320
    sound = vocoder.vocode(values, f0=f0)
    assert len(sound.samples) == vocoder.num_samples(len(values)) == 320 * len(values) + 80
    assert 0 <= count - len(sound.samples) < 320


def test_other_sample_rates_are_resampled() -> None:
    assert len(WorldAnalysis().encode(Waveform(noise(44_100), 44_100))) == 49
    with pytest.raises(InputError, match="399 samples at 16 kHz; 400"):
        WorldAnalysis().encode(Waveform(noise(399), RATE))


@pytest.mark.parametrize("frame", [10, 25])
def test_frame_i_is_centred_on_sample_320_i_plus_200(frame: int) -> None:
    """A burst there is symmetric in its frame, and comes back at its place."""
    centre = 320 * frame + 200
    samples = torch.zeros(16_000)
    samples[centre - 40 : centre + 40] = noise(80, level=0.5)
    waveform, f0 = Waveform(samples, RATE), torch.zeros(201)
    values = WorldAnalysis().encode(waveform, f0=f0)
    levels = values.frames.reshape(-1, 4, 41)[:, :, 0]
    assert int(levels.mean(dim=1).argmax()) == frame
    assert abs(float(levels[frame, 1] - levels[frame, 2])) < 0.3 * float(levels[frame].std())
    energy = WorldVocoder().vocode(values, f0=f0).samples.double().square()
    back = float((energy * torch.arange(len(energy))).sum() / energy.sum())
    assert abs(back - centre) < 40


# --------------------------------------------------------------------------------------------- analysis is pyworld's


def test_values_are_pyworlds_at_the_frames_times() -> None:
    samples, f0 = speech().samples.double().numpy(), pitch_of_speech().double().numpy()
    times = np.arange(len(f0)) * 0.005
    got = values_of_speech().frames.reshape(-1, 41).numpy()
    # pyworld adds noise of its own, in the order of the frames it is given: the same frames, then
    heard = slice(1, len(got) + 1)
    envelope = pyworld.cheaptrick(samples, f0[heard], times[heard], RATE)
    cepstra = pyworld.code_spectral_envelope(np.maximum(envelope, 1e-12), RATE, 40)
    coded = pyworld.code_aperiodicity(pyworld.d4c(samples, f0, times, RATE), RATE)[1:, 0]
    np.testing.assert_allclose(got[:, :40], cepstra, rtol=0, atol=1e-4)
    # measured at every other frame only where the neighbours are voiced too
    difference = np.abs(got[:, 40] - coded[: len(got)])
    assert difference.mean() < 1
    assert (difference[f0[1 : len(got) + 1] == 0] < 0.01).all()


def test_analysis_on_several_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).standard_normal(5 * 16_000).astype(np.float32)
    f0 = np.where(np.arange(1000) % 100 < 60, 150.0, 0.0)
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(WorldAnalysis()._analyse(samples, f0, chunk=96))
    np.testing.assert_array_equal(*found)


def test_analysis_in_chunks_equals_the_whole() -> None:
    samples, f0 = speech().samples.double().numpy(), pitch_of_speech().double().numpy()[1:]
    whole = WorldAnalysis()._analyse(samples, f0, chunk=10**9)
    for chunk in (96, 400):
        pieces = WorldAnalysis()._analyse(samples, f0, chunk=chunk)
        np.testing.assert_allclose(pieces[:, :40], whole[:, :40], rtol=0, atol=1e-3)
        # pyworld adds noise of its own, in the order of the frames it is given, d4c most; and at the end of a chunk a
        # frame may be measured that is interpolated in the whole
        difference = np.abs(pieces[:, 40] - whole[:, 40])
        assert difference.mean() < 0.05
        assert difference.max() < 3


def test_digital_silence_has_a_level_and_stays_quiet() -> None:
    values = WorldAnalysis().encode(Waveform(torch.zeros(8000), RATE))
    assert values.frames.isfinite().all()
    assert (values.frames - values.frames[0]).abs().max() < 1e-3
    assert power_db(WorldVocoder().vocode(values, f0=torch.zeros(101)).samples.numpy()) < -90


# ----------------------------------------------------------------------------------------------- synthesis is WORLD's


def slow_pulses(f0: np.ndarray, num_samples: int) -> list[float]:
    """Times in samples at which the phase passes whole turns, sample by sample."""
    found, phase = [], 0.0
    for sample in range(num_samples):
        place = min(sample / 80, len(f0) - 1)
        left, right = int(place), min(int(place) + 1, len(f0) - 1)
        fraction = place - left
        if f0[left] > 0 and f0[right] > 0:
            hertz = f0[left] * (1 - fraction) + f0[right] * fraction
        else:
            hertz = f0[left] if fraction < 0.5 else f0[right]
        step = (hertz or pulses.NOISE_RATE) / RATE
        if int(phase + step) > int(phase):
            found.append(sample + (int(phase + step) - phase) / step)
        phase += step
    return found


def test_pulses_fall_where_the_phase_passes_whole_turns() -> None:
    f0 = pitch_of_speech().double().numpy()[:300]
    blocks = list(pulses.pulse_blocks(f0, 300 * 80, RATE, 0, 50))
    times = np.concatenate([p.sample + p.delay for p, _ in blocks])
    expected = slow_pulses(f0, 300 * 80)
    assert len(expected) > 100
    np.testing.assert_allclose(times, expected, rtol=0, atol=1e-4)
    lengths = np.concatenate([lengths for _, lengths in blocks])
    starts = np.concatenate([p.sample for p, _ in blocks])
    np.testing.assert_array_equal(lengths, np.diff(np.append(starts, 300 * 80)))
    assert max(len(p.sample) for p, _ in blocks) < 50 * 80 * 500 / RATE + 2


def test_voiced_sound_equals_pyworlds() -> None:
    """Voiced throughout, nearly no noise: the same waveform but for the way envelopes are interpolated."""
    values = values_of_speech().frames.reshape(-1, 41).double().numpy()[:600]
    cepstra, f0 = np.ascontiguousarray(values[:, :40]), np.linspace(90, 140, len(values))
    ours = pulses.synthesize(cepstra, np.full((len(values), 1), -60.0), f0, 80 * len(values), RATE)
    envelope = pyworld.decode_spectral_envelope(cepstra, RATE, 1024)
    aperiodicity = pyworld.decode_aperiodicity(np.full((len(values), 1), -60.0), RATE, 1024)
    theirs = pyworld.synthesize(f0, envelope, aperiodicity, RATE)[: len(ours)]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    np.testing.assert_allclose(third_octaves(ours), third_octaves(theirs), atol=1)


def test_unvoiced_sound_has_pyworlds_spectrum() -> None:
    cepstra = np.repeat(values_of_speech().frames.reshape(-1, 41).double().numpy()[200:201, :40], 600, axis=0)
    ours = pulses.synthesize(cepstra, np.zeros((600, 1)), np.zeros(600), 48_000, RATE)
    envelope = pyworld.decode_spectral_envelope(cepstra, RATE, 1024)
    theirs = pyworld.synthesize(np.zeros(600), envelope, np.ones_like(envelope), RATE)[: len(ours)]
    # below 500 Hz pyworld's shorter pieces, each without its mean, lose power that the envelope asks for
    np.testing.assert_allclose(third_octaves(ours)[7:], third_octaves(theirs)[7:], atol=1.5)
    assert (third_octaves(ours)[:7] > third_octaves(theirs)[:7]).all()
    # no rhythm of the pieces of noise is heard: the autocorrelation has no peak at their distance
    centred = ours - ours.mean()
    spectrum = np.abs(np.fft.rfft(np.sign(centred), 2 * len(ours))) ** 2
    ripple = np.fft.irfft(spectrum)[60:2000] / len(ours)
    assert np.abs(ripple).max() < 0.15


def test_resynthesis_is_as_near_to_speech_as_pyworlds() -> None:
    ours = WorldVocoder().vocode(values_of_speech(), f0=pitch_of_speech()).samples.numpy()
    samples, f0 = speech().samples.double().numpy(), pitch_of_speech().double().numpy()
    times = np.arange(len(f0)) * 0.005
    parts = pyworld.cheaptrick(samples, f0, times, RATE), pyworld.d4c(samples, f0, times, RATE)
    theirs = pyworld.synthesize(f0, *parts, RATE)
    original = speech().samples.numpy()
    assert log_mel_distance(original, ours) < log_mel_distance(original, theirs) + 0.3
    assert log_mel_distance(original, ours) < 6
    assert abs(power_db(ours) - power_db(original)) < 1.5


def test_the_pitch_asked_for_is_the_pitch_heard() -> None:
    wanted = torch.where(pitch_of_speech() > 0, 1.3 * pitch_of_speech(), 0.0)
    heard = audio.f0(WorldVocoder().vocode(values_of_speech(), f0=wanted))
    length = min(len(heard), len(wanted))
    both = (heard[:length] > 0) & (wanted[:length] > 0)
    assert both.float().mean() > 0.2
    cents = 1200 * (heard[:length][both] / wanted[:length][both]).log2()
    assert float(cents.abs().median()) < 15


def autocorrelation(samples: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(samples[:-lag], samples[lag:])[0, 1])


def test_f0_decides_what_is_voiced_whatever_the_aperiodicity_says() -> None:
    cepstra = np.zeros((400, 40))
    noisy, clean = np.zeros((400, 1)), np.full((400, 1), -40.0)
    hum = pulses.synthesize(cepstra, noisy, np.full(400, 100.0), 32_000, RATE)
    whisper = pulses.synthesize(cepstra, clean, np.zeros(400), 32_000, RATE)
    # the low frequencies of a voiced frame are periodic even if the matched frames were not
    assert autocorrelation(hum, 160) > 0.1
    assert abs(autocorrelation(whisper, 160)) < 0.05


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 45.0, 120.0, 900.0]), st.integers(1, 30)), min_size=1, max_size=8),
    st.integers(1, 60),
)
def test_synthesis_in_blocks_equals_the_whole(runs: list[tuple[float, int]], block: int) -> None:
    f0 = np.concatenate([np.full(length, hertz) for hertz, length in runs])
    random = np.random.default_rng(len(f0))
    cepstra = random.standard_normal((len(f0), 12)) * np.geomspace(4, 0.1, 12)
    aperiodicity = -30 * random.random((len(f0), 1))
    count = 80 * len(f0) + 37
    whole = pulses.synthesize(cepstra, aperiodicity, f0, count, RATE, block=10**6)
    pieces = pulses.synthesize(cepstra, aperiodicity, f0, count, RATE, block=block)
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=1e-5 * max(1.0, float(np.abs(whole).max())))


def test_the_same_values_give_the_same_sound() -> None:
    vocoder = WorldVocoder()
    first, second = (vocoder.vocode(values_of_speech(), f0=pitch_of_speech()).samples for _ in range(2))
    assert torch.equal(first, second)


# ------------------------------------------------------------------------------------------------------- what is wrong


def test_wrong_features_and_pitch_are_refused() -> None:
    values, vocoder = values_of_speech(), WorldVocoder()
    with pytest.raises(InputError, match=r"world/16k-24.*world/16k-40"):
        vocoder.vocode(Features(values.frames, 50.0, "world/16k-24"), f0=pitch_of_speech())
    with pytest.raises(InputError, match="needs the F0 contour"):
        vocoder.vocode(values)
    with pytest.raises(InputError, match="F0 has 30 values"):
        vocoder.vocode(values, f0=pitch_of_speech()[:30])
    with pytest.raises(InputError, match="F0 has"):
        WorldAnalysis().encode(speech(), f0=torch.cat([pitch_of_speech(), torch.zeros(20)]))


def test_wrong_settings_are_refused() -> None:
    for order in (1, 101):
        with pytest.raises(InputError, match="2 to 100 needed"):
            WorldAnalysis(order)
        with pytest.raises(InputError, match="2 to 100 needed"):
            WorldVocoder(order)
