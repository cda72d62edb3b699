"""WORLD synthesis, vectorised: a minimum-phase response per pitch pulse, mixed of pulse and noise, overlap-added.

The same model as ``pyworld.synthesize``, three times faster and in flat memory. What makes it so: the log envelope is
a linear function of its cepstrum, and so is the minimum phase, so that one matrix product gives both; unvoiced sound is
made of 5 ms pieces of noise; work goes on in blocks that hand on their state (phase and noise) and leave no joins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechssl.audio.f0_tracker import pyworld

Array = NDArray[Any]

FRAME_RATE = 200  # Hz: 5 ms, the step of WORLD
FFT_SIZE = 1024  # pyworld's own choice at 16 kHz; envelopes of voices down to 47 Hz
LEAD = 128  # samples of a response before its pulse: room for the zero-phase mixing weights
NOISE_RATE = 187.0  # Hz: pieces of noise per second where nothing is voiced
TIE = 1e-9  # turns: far above the rounding of an hour's phase, far below what is heard
FLOOR_DB = -60.0  # aperiodicity at 0 Hz, as in pyworld's decoder
BLOCK = 400  # frames worked on at once: 2 s, some 20 MB


@dataclass(frozen=True)
class Pulses:
    """Pulses between two samples.

    Args:
        sample: (P,) int64, the last sample at or before each pulse.
        delay: (P,) from that sample to the pulse, in samples, in [0, 1].
        voiced: (P,) bool.
    """

    sample: Array
    delay: Array
    voiced: Array


def synthesize(
    cepstra: Array,
    aperiodicity: Array,
    f0: Array,
    num_samples: int,
    sample_rate: int,
    *,
    first: int = 0,
    block: int = BLOCK,
) -> Array:
    """The waveform of an envelope, an aperiodicity and an F0 contour.

    Args:
        cepstra: (M, C) of the power envelope as ``pyworld.code_spectral_envelope`` gives them, one every 5 ms.
        aperiodicity: (M, B) dB, as ``pyworld.code_aperiodicity``.
        f0: (M,) Hz; 0 where unvoiced.
        num_samples: length wanted; outside the frames the nearest one is held.
        sample_rate: Hz.
        first: the sample at which the first frame lies.
        block: frames worked on at once; changes the result by rounding only.
    Returns:
        (num_samples,) float32.
    Source: Morise et al. 2016, WORLD, IEICE Trans. E99-D(7).
    """
    response = response_matrix(cepstra.shape[1], sample_rate)
    bands = band_matrix(aperiodicity.shape[1], sample_rate)
    output = np.zeros(LEAD + num_samples + FFT_SIZE, dtype=np.float32)
    random = np.random.default_rng(0)
    for pulses, lengths in pulse_blocks(f0, num_samples, sample_rate, first, block):
        # a pulse has the envelope of its moment, a piece of noise that of its middle
        moment = pulses.sample + np.where(pulses.voiced, pulses.delay, lengths / 2)
        position = (moment - first) * (FRAME_RATE / sample_rate)
        log_response = _at(cepstra, position).astype(np.float32) @ response
        envelope = _polar(np.exp(log_response.real), log_response.imag)
        noise_weight = _noise_weights(_at(aperiodicity, position), bands, pulses.voiced)
        spectrum = envelope * _excitation(pulses, lengths, noise_weight, random)
        _overlap_add(output, pulses.sample, _without_constant(spectrum))
    return output[LEAD : LEAD + num_samples]


@lru_cache(maxsize=8)
def response_matrix(order: int, sample_rate: int) -> Array:
    """(order, bins) complex64: cepstrum @ matrix = log of the minimum-phase spectrum; its square is the envelope."""
    log_envelope = envelope_matrix(order, sample_rate)
    half = FFT_SIZE // 2
    cepstrum = np.fft.irfft(log_envelope / 2, FFT_SIZE)
    # folding the even cepstrum onto positive times gives the causal one: that of minimum phase
    cepstrum[:, 1:half] *= 2
    cepstrum[:, half + 1 :] = 0
    return np.fft.rfft(cepstrum).astype(np.complex64)


@lru_cache(maxsize=8)
def envelope_matrix(order: int, sample_rate: int) -> Array:
    """(order, bins) float64: cepstrum @ matrix = natural log of the power envelope; read off pyworld's own decoder."""
    return np.log(pyworld().decode_spectral_envelope(np.eye(order), sample_rate, FFT_SIZE))


@lru_cache(maxsize=8)
def band_matrix(bands: int, sample_rate: int) -> Array:
    """(bands + 1, bins): [1, aperiodicity] @ matrix = dB at every bin: linear between bands of 3 kHz, 0 at the top."""
    bins = np.linspace(0, sample_rate / 2, FFT_SIZE // 2 + 1)
    knots = np.concatenate([np.arange(bands + 1) * 3000.0, [sample_rate / 2]])
    rows = [np.interp(bins, knots, np.eye(bands + 2)[i]) for i in range(bands + 1)]
    rows[0] = rows[0] * FLOOR_DB
    return np.stack(rows).astype(np.float32)


def pulse_blocks(
    f0: Array, num_samples: int, sample_rate: int, first: int, block: int
) -> Iterator[tuple[Pulses, Array]]:
    """Pulses with the samples from each to the next; the last pulse of a block waits for the first of the next."""
    step = block * sample_rate // FRAME_RATE
    phase = 0.0
    waiting: Pulses | None = None
    for start in range(0, num_samples, step):
        samples = np.arange(start, min(start + step, num_samples))
        pitch, voiced = pitch_at(f0, (samples - first) * (FRAME_RATE / sample_rate))
        found, phase = crossings(samples, pitch / sample_rate, voiced, phase)
        merged = found if waiting is None else _joined(waiting, found)
        if len(merged.sample) > 1:
            yield _taken(merged, slice(None, -1)), np.diff(merged.sample)
        waiting = _taken(merged, slice(-1, None))
    if waiting is not None and len(waiting.sample):
        yield waiting, np.maximum(num_samples - waiting.sample, 1)


def crossings(samples: Array, turns_each: Array, voiced: Array, phase: float) -> tuple[Pulses, float]:
    """Where the accumulated phase passes whole turns; the phase at the end is carried on."""
    turns = phase + np.cumsum(turns_each)
    before = np.concatenate([[phase], turns[:-1]])
    # whole turns often fall on a sample; rounding, which blocks change, must not put them before or after it
    passed = np.floor(turns + TIE)
    found = np.flatnonzero(passed > np.floor(before + TIE))
    delay = np.clip((passed[found] - before[found]) / turns_each[found], 0, 1)
    return Pulses(samples[found], delay, voiced[found]), float(turns[-1] % 1.0)


def pitch_at(f0: Array, position: Array) -> tuple[Array, Array]:
    """Pitch and voicing at fractional frames: interpolated between two voiced ones, else the nearer frame's."""
    position = np.clip(position, 0, len(f0) - 1)
    left = np.floor(position).astype(np.int64)
    right = np.minimum(left + 1, len(f0) - 1)
    fraction = position - left
    nearest = np.where(fraction < 0.5, f0[left], f0[right])
    both = (f0[left] > 0) & (f0[right] > 0)
    pitch = np.where(both, f0[left] * (1 - fraction) + f0[right] * fraction, nearest)
    return np.where(pitch > 0, pitch, NOISE_RATE), pitch > 0


def _at(frames: Array, position: Array) -> Array:
    """Frames (M, D) interpolated linearly at fractional positions (P,), held at the ends."""
    position = np.clip(position, 0, len(frames) - 1)
    left = np.floor(position).astype(np.int64)
    fraction = (position - left)[:, None]
    return frames[left] * (1 - fraction) + frames[np.minimum(left + 1, len(frames) - 1)] * fraction


def _noise_weights(aperiodicity: Array, bands: Array, voiced: Array) -> Array:
    """(P, bins) amplitude of the noise, in [0, 1]: by the aperiodicity where voiced, 1 elsewhere."""
    level = np.concatenate([np.ones((len(aperiodicity), 1)), np.minimum(aperiodicity, 0)], axis=1).astype(np.float32)
    weights = np.minimum(np.exp((level @ bands) * np.float32(np.log(10) / 20)), 1.0)
    weights[~voiced] = 1.0
    return weights


def _excitation(pulses: Pulses, lengths: Array, noise_weight: Array, random: np.random.Generator) -> Array:
    """(P, bins) spectra, time 0 at ``pulses.sample``: a pulse of its period's power, and noise up to the next pulse."""
    noise = _noise_pieces(lengths, random)
    spectrum = np.fft.rfft(noise, axis=1) * noise_weight
    voiced = pulses.voiced
    strength = np.sqrt(lengths[voiced, None].astype(np.float32) * (1 - noise_weight[voiced] ** 2))
    phase = np.multiply.outer(pulses.delay[voiced], np.arange(FFT_SIZE // 2 + 1) * (-2 * np.pi / FFT_SIZE))
    spectrum[voiced] += _polar(strength, phase.astype(np.float32))
    return spectrum


def _polar(magnitude: Array, phase: Array) -> Array:
    """Complex64 from magnitude and phase; seven times faster than a complex exponential."""
    result = np.empty(phase.shape, dtype=np.complex64)
    result.real = magnitude * np.cos(phase)
    result.imag = magnitude * np.sin(phase)
    return result


def _noise_pieces(lengths: Array, random: np.random.Generator) -> Array:
    """(P, FFT_SIZE) float32: white noise of unit variance and zero mean for ``lengths`` samples, then zeros."""
    inside = np.arange(FFT_SIZE) < np.minimum(lengths, FFT_SIZE)[:, None]
    pieces = np.zeros(inside.shape, dtype=np.float32)
    # one stream of noise, taken in order: the same whatever the blocks
    pieces[inside] = random.standard_normal(int(inside.sum()), dtype=np.float32)
    means = pieces.sum(axis=1, keepdims=True) / inside.sum(axis=1, keepdims=True)
    return np.where(inside, pieces - means, np.float32(0))


def _without_constant(spectrum: Array) -> Array:
    """Take a Hann window of the same sum off each response: its constant part would leave a step at either end."""
    centre = FFT_SIZE // 2 - LEAD  # of the window, which spans the whole response
    spectrum[:, 1] -= 0.5 * np.exp(-2j * np.pi * centre / FFT_SIZE).astype(np.complex64) * spectrum[:, 0]
    spectrum[:, 0] = 0
    return spectrum


def _overlap_add(output: Array, samples: Array, spectrum: Array) -> None:
    responses = np.roll(np.fft.irfft(spectrum, FFT_SIZE, axis=1), LEAD, axis=1)
    for sample, response in zip(samples, responses, strict=True):
        output[sample : sample + FFT_SIZE] += response


def _joined(first: Pulses, second: Pulses) -> Pulses:
    pairs = ((first.sample, second.sample), (first.delay, second.delay), (first.voiced, second.voiced))
    return Pulses(*(np.concatenate(pair) for pair in pairs))


def _taken(pulses: Pulses, which: slice) -> Pulses:
    return Pulses(pulses.sample[which], pulses.delay[which], pulses.voiced[which])
