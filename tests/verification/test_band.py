"""The band of a recording, over filters and real codecs, and which bands a calibration may compare."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from scipy import signal

from speechssl import audio, checkpoints
from speechssl.signals import Waveform
from speechssl.verification import band
from speechssl.verification.band import FULL, Band, KnownBands

CLIPS = checkpoints.PACKAGED / "clips"
RATE = 16000
Samples = NDArray[np.float32]
TELEPHONE = 5250.0  # Hz below which the upper edge of these lines is measured; 7600 Hz are needed for a decision


@pytest.fixture(scope="module", params=["ada", "dan", "eric", "finn"])
def clip(request: pytest.FixtureRequest) -> Samples:
    found: Samples = audio.read_mono(CLIPS / f"{request.param}_sentence.opus", RATE).samples.numpy()[: 8 * RATE]
    return found


def measured(samples: Samples, rate: int = RATE) -> Band:
    found = band.measure(Waveform(torch.from_numpy(np.ascontiguousarray(samples, np.float32)), rate))
    assert found is not None
    return found


def filtered(samples: Samples, edges: float | list[float], kind: str, order: int = 8) -> Samples:
    found: Samples = signal.sosfilt(signal.butter(order, edges, kind, fs=RATE, output="sos"), samples)
    return found.astype(np.float32)


def coded(samples: Samples, form: str, subtype: str, rate: int = RATE, level: float | None = None) -> Samples:
    file = io.BytesIO()
    constant = {"bitrate_mode": "CONSTANT"} if form == "MP3" else {}
    soundfile.write(file, samples, rate, format=form, subtype=subtype, compression_level=level, **constant)
    file.seek(0)
    found: Samples = soundfile.read(file, dtype="float32")[0]
    return found


def telephone(samples: Samples) -> Samples:
    return filtered(samples, [300, 3400], "bandpass", 6)


def with_noise(samples: Samples, decibels: float) -> Samples:
    noise = np.random.default_rng(0).normal(size=len(samples))
    found: Samples = samples + noise * np.sqrt((samples**2).mean() / 10 ** (decibels / 10))
    return found.astype(np.float32)


def at_8_khz(samples: Samples) -> Samples:
    return audio.resample(Waveform(torch.from_numpy(samples), RATE), 8000).samples.numpy()


def test_clips_are_full_band_at_any_level_and_rate(clip: Samples) -> None:
    plain = measured(clip)
    assert FULL.holds(plain)
    assert plain.low <= 62.5
    for gain in (0.02, 0.5):
        found = measured(clip * np.float32(gain))
        assert (found.low, found.high) == (plain.low, plain.high)
    high = audio.resample(Waveform(torch.from_numpy(clip), RATE), 44100)
    assert abs(measured(high.samples.numpy(), 44100).high - plain.high) <= 250
    assert FULL.holds(measured(with_noise(clip, 30)))


@pytest.mark.parametrize(
    "line",
    [
        telephone,
        lambda x: with_noise(telephone(x), 20),
        lambda x: 0.03 * telephone(x),
        lambda x: coded(telephone(x), "WAV", "ULAW"),
        lambda x: coded(telephone(x), "OGG", "OPUS"),
        lambda x: coded(x, "OGG", "OPUS", level=0.99),  # 6 to 8 kbit/s: narrow-band
        lambda x: coded(x, "MP3", "MPEG_LAYER_III", level=0.99),  # 8 kbit/s
        lambda x: filtered(x, 4000, "lowpass"),
        lambda x: filtered(x, 2000, "lowpass"),
    ],
    ids=["filter", "noise", "soft", "u-law", "opus", "opus-8", "mp3-8", "low-4", "low-2"],
)
def test_a_telephone_band_is_found_inside_16_khz_files(clip: Samples, line: Callable[[Samples], Samples]) -> None:
    assert measured(line(clip)).high <= TELEPHONE


def test_a_telephone_file_of_8_khz_is_narrow(clip: Samples) -> None:
    low = at_8_khz(clip)
    for samples in (low, coded(low, "WAV", "ULAW", 8000)):
        assert measured(samples, 8000).high <= 4000
    # the same sound in a file of 16 kHz: the header's rate says nothing
    up = audio.resample(Waveform(torch.from_numpy(low), 8000), RATE).samples.numpy()
    assert measured(up).high <= 4500


def test_an_edge_between_is_measured(clip: Samples) -> None:
    for edge in (2500, 5000, 7000):
        assert edge - 450 <= measured(filtered(clip, edge, "lowpass", 16)).high <= edge + 600
    assert measured(filtered(clip, 500, "highpass", 16)).low == pytest.approx(400, abs=250)
    assert not FULL.holds(measured(filtered(clip, 300, "highpass")))
    assert not FULL.holds(measured(filtered(clip, 7000, "lowpass")))
    # 32 kbit/s: the encoder empties what lies above 7 kHz
    assert not FULL.holds(measured(coded(clip, "MP3", "MPEG_LAYER_III", level=0.85)))


def test_silence_and_noise_have_no_band() -> None:
    for samples in (np.zeros(32000, np.float32), with_noise(np.full(32000, 1e-3, np.float32), 0)):
        assert band.measure(Waveform(torch.from_numpy(samples), RATE)) is None


def test_a_calibration_knows_the_bands_of_its_trials() -> None:
    wide, phone = Band(0.0, 8000.0), Band(187.5, 3875.0)
    assert band.known_bands([wide] * 30 + [Band(0.0, 5500.0)]) == FULL
    assert band.known_bands([None]) == FULL
    known = band.known_bands([phone, Band(125.0, 4200.0), phone])
    assert known.holds(phone)
    assert not known.holds(wide)
    assert band.why_undecided([phone], phone, known) is None
    assert band.why_undecided([wide, wide], wide, FULL) is None


def test_it_is_said_why_bands_cannot_be_compared() -> None:
    wide, phone = Band(0.0, 8000.0), Band(187.5, 3875.0)
    assert "the test recording carries speech from 188 to 3875 Hz" in str(band.why_undecided([wide], phone, FULL))
    said = str(band.why_undecided([phone], phone, FULL))
    assert "an enrolled recording carries" in said
    assert "from 7600 Hz up and begins below 62 Hz; give recordings of that kind, or run speechssl calibrate" in said
    assert "enrol the speaker again" in str(band.why_undecided([wide, None], wide, FULL))
    both = KnownBands(3000.0, 8000.0)
    assert band.why_undecided([phone], phone, both) is None
    assert "are of different lines: speech ends at 3875 Hz" in str(band.why_undecided([wide], phone, both))


@pytest.mark.parametrize("edges", [(4000.0, 300.0), (-1.0, 300.0), (0.0, 9000.0)])
def test_a_band_that_cannot_be_is_refused(edges: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="a band from"):
        Band(*edges)
    with pytest.raises(ValueError, match="bands that end"):
        KnownBands(5.0, 5.0)


def test_the_snr_falls_with_noise_and_not_with_the_level(clip: Samples) -> None:
    found = [measured(with_noise(clip, decibels)).snr for decibels in (20, 15, 10, 5)]
    clean = measured(clip).snr
    assert None not in (clean, *found)
    assert clean > band.CLEAR > found[0] > found[1] > found[2] > found[3] > 0  # type: ignore[operator]
    assert measured(0.05 * clip).snr == pytest.approx(clean, abs=0.5)
    # pauses of digital silence count as 50 dB below, not as infinitely quiet
    gaps = np.concatenate([clip, np.zeros(RATE, np.float32), clip])
    assert measured(gaps).snr <= 60.0  # type: ignore[operator]


def test_the_noise_of_both_sides_and_of_several_enrolled_their_mean() -> None:
    quiet, loud, unknown = Band(0.0, 8000.0, 40.0), Band(0.0, 8000.0, 10.0), Band(0.0, 8000.0)
    assert band.noise_of([loud], loud) == (10.0, 10.0)
    assert band.noise_of([loud], quiet) == band.noise_of([quiet], loud) == (10.0, 40.0)
    assert band.noise_of([quiet, loud], loud) == (10.0, 25.0)
    assert (
        band.noise_of([unknown], loud) == band.noise_of([loud], unknown) == band.noise_of([loud], None) == (10, np.inf)
    )
    assert band.known_bands([quiet] * 20).snr == FULL.snr
    assert band.known_bands([loud] * 20).snr == 10.0
