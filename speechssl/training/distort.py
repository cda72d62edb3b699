"""What recordings suffer before an encoder hears them: rooms, background noise, lines, codecs, other voices' pitch.

Every function takes samples (T,) float32 at 16 kHz and gives as many, in time with them: direct sound stays where it
was, delays of codecs are taken back. All randomness comes from the generator given.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.fft import irfft, rfft, rfftfreq
from numpy.typing import NDArray
from scipy.fft import next_fast_len

Samples = NDArray[np.float32]

SAMPLE_RATE = 16000
T60 = (0.1, 2.5)  # seconds, from a wardrobe to a church
DIRECT_TO_REVERBERANT = (-6.0, 18.0)  # dB
CODECS = {"opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS")}


def resampled(samples: Samples, length: int) -> Samples:
    """Samples read faster or slower so that ``length`` are left: pitch, formants and tempo change together."""
    from scipy.signal import resample

    return resample(samples, length).astype(np.float32)


def simulated_room(rng: np.random.Generator, t60: float, ratio: float) -> Samples:
    """Impulse response (L,) of unit energy: a direct sound, and noise that decays by 60 dB in ``t60`` seconds.

    Treble decays faster than bass, as air and walls have it.

    Args:
        rng: draws the noise.
        t60: seconds.
        ratio: direct to reverberant energy in dB.
    """
    length = int(min(t60, 1.5) * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    noise = rng.standard_normal(length)
    low = np.convolve(noise, np.ones(8) / 8)[:length]  # below about 1 kHz
    tail = low * 10 ** (-3 * time / t60) + (noise - low) * 10 ** (-3 * time / (t60 * rng.uniform(0.4, 0.9)))
    tail[: int(rng.uniform(0.001, 0.008) * SAMPLE_RATE)] = 0.0  # nothing returns before the nearest wall
    tail *= 10 ** (-ratio / 20) / (np.sqrt(np.square(tail).sum()) + 1e-9)
    tail[0] = 1.0
    return (tail / np.sqrt(np.square(tail).sum())).astype(np.float32)


def in_room(samples: Samples, response: Samples) -> Samples:
    """Samples heard through an impulse response that begins with the direct sound."""
    size = next_fast_len(len(samples) + len(response) - 1, real=True)
    return irfft(rfft(samples, size) * rfft(response, size), size)[: len(samples)].astype(np.float32)


def with_noise(samples: Samples, noise: Samples, ratio: float) -> Samples:
    """Samples with noise (T,) at a signal-to-noise ratio in dB over the whole."""
    speech, theirs = (np.square(part, dtype=np.float64).mean() for part in (samples, noise))
    return (samples + noise * np.sqrt(speech / (theirs + 1e-12)) * 10 ** (-ratio / 20)).astype(np.float32)


def coloured_noise(rng: np.random.Generator, length: int) -> Samples:
    """Noise (length,) whose power falls with frequency by a random exponent in [0, 2]: hiss to rumble."""
    size = next_fast_len(length, real=True)
    spectrum = rng.standard_normal(size // 2 + 1) + 1j * rng.standard_normal(size // 2 + 1)
    spectrum /= np.maximum(np.arange(size // 2 + 1), size * 50 / SAMPLE_RATE) ** rng.uniform(0, 1)
    return irfft(spectrum, size)[:length].astype(np.float32)


def through_line(samples: Samples, low: float, high: float, *, order: float = 6.0) -> Samples:
    """Samples through a band from ``low`` to ``high`` Hz, without delay."""
    size = next_fast_len(len(samples) + 1024, real=True)
    hertz = rfftfreq(size, 1 / SAMPLE_RATE)
    gain = 1 / np.sqrt(1 + (hertz / high) ** (2 * order))
    if low > 0:
        gain = gain / np.sqrt(1 + (low / np.maximum(hertz, 1e-3)) ** (2 * order))
    return irfft(rfft(samples, size) * gain, size)[: len(samples)].astype(np.float32)


def through_channel(samples: Samples, rng: np.random.Generator, *, size: float = 6.0) -> Samples:
    """Samples through a smooth random frequency response of at most ``size`` dB: another microphone."""
    length = next_fast_len(len(samples) + 1024, real=True)
    knots = rng.uniform(-size, size, 9)
    decibels = np.interp(
        np.log2(np.maximum(rfftfreq(length, 1 / SAMPLE_RATE), 60)), np.linspace(np.log2(60), 13, 9), knots
    )
    return irfft(rfft(samples, length) * 10 ** (decibels / 20), length)[: len(samples)].astype(np.float32)


def mu_law(samples: Samples) -> Samples:
    """Samples as eight bits of a telephone exchange keep them (ITU-T G.711)."""
    peak = np.abs(samples).max() + 1e-9
    curve = np.sign(samples) * np.log1p(255 * np.abs(samples) / peak) / np.log(256)
    step = np.rint(curve * 127) / 127
    return (np.sign(step) * (256 ** np.abs(step) - 1) / 255 * peak).astype(np.float32)


def coded(samples: Samples, codec: str, quality: float) -> Samples:
    """Samples coded and decoded by libsndfile; ``quality`` from 0 (fewest bits) to 1."""
    import soundfile

    container, subtype = CODECS[codec]
    peak = np.abs(samples).max() + 1e-9
    with io.BytesIO() as file:
        soundfile.write(
            file,
            samples * (0.7 / peak),
            SAMPLE_RATE,
            format=container,
            subtype=subtype,
            compression_level=min(1.0 - quality, 0.99),  # libsndfile refuses MP3 a hair below 1
        )
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32")
    decoded = np.pad(decoded, (0, max(0, len(samples) - len(decoded))))[: len(samples)]
    return (decoded * (peak / 0.7)).astype(np.float32)


LINES = {"telephone": 0.35, "low_pass": 0.2, "high_pass": 0.05, "opus": 0.2, "mp3": 0.2}  # shares


def over_a_line(samples: Samples, rng: np.random.Generator, shares: Mapping[str, float] | None = None) -> Samples:
    """Samples over a telephone band, a filter or a codec, drawn with its edges and its quality.

    Args:
        shares: how often each kind of ``LINES`` is drawn.
    """
    shares = LINES if shares is None else shares
    weights = np.array(list(shares.values()))
    kind = list(shares)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    if kind == "telephone":
        low = rng.uniform(200, 350) if rng.random() < 0.7 else 0.0  # not every line of 8 kHz has a high-pass
        narrow = through_line(samples, low, rng.uniform(3200, 3900), order=rng.uniform(6, 20))
        return mu_law(narrow) if rng.random() < 0.5 else narrow
    if kind == "low_pass":
        return through_line(samples, 0.0, rng.uniform(2000, 7200), order=rng.uniform(4, 20))
    if kind == "high_pass":
        return through_line(samples, rng.uniform(150, 400), 8000.0)
    return coded(samples, kind, float(rng.uniform(0, 0.4)))
