"""Music without voices, made up: chords, melodies, basses and drums of simple synthesizers, a new piece for every seed.

    python recipes/speaker_verification/music.py OUTPUT_DIR --count 100

Teaches (``speechlike.py``) and tests what is no speech where no recorded music may be had. Real instruments differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from speechssl import audio, errors
from speechssl.signals import Waveform

RATE = 16000
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10), tuple(range(12)))
TIMBRES = ("organ", "piano", "pluck", "fm", "saw", "square", "strings", "wind", "bell", "slide")


def piece(seed: int, seconds: float = 10.0) -> np.ndarray:
    """Samples (T,) of one piece at 16 kHz, peak 0.5: instruments over a scale and a tempo, maybe drums, a room."""
    rng = np.random.default_rng(seed)
    beat = 60 / rng.uniform(55, 180)
    scale = np.array(SCALES[int(rng.integers(len(SCALES)))]) + rng.integers(12)
    kinds = ["melody", "chords", "bass", "drums", "arpeggio"]
    share = [0.9, 0.6, 0.5, 0.5, 0.3] if rng.random() < 0.7 else [0.2] * 5
    chosen = [kind for kind, chance in zip(kinds, share, strict=True) if rng.random() < chance]
    mix = np.zeros(round(seconds * RATE))
    for kind in chosen or [kinds[int(rng.integers(5))]]:
        part = drums(rng, len(mix), beat) if kind == "drums" else voice(rng, len(mix), beat, scale, kind)
        mix += part / (np.sqrt(np.mean(part**2)) + 1e-9) * np.exp(rng.normal(0, 0.5))
    if rng.random() < 0.5:
        mix = in_a_room(mix, rng)
    if rng.random() < 0.3:
        mix = np.tanh(mix / np.sqrt(np.mean(mix**2)) * rng.uniform(0.3, 2))
    return (0.5 * mix / (np.abs(mix).max() + 1e-9)).astype(np.float32)


def voice(rng: np.random.Generator, length: int, beat: float, scale: np.ndarray, kind: str) -> np.ndarray:
    """Notes of one instrument, one after another or as chords."""
    timbre = TIMBRES[int(rng.integers(len(TIMBRES)))]
    shape = rng.random(6)  # of the instrument: the same for all its notes
    octave = {"bass": 2, "chords": 4, "melody": 5, "arpeggio": 5}[kind] + int(rng.integers(-1, 2))
    out, time, step = np.zeros(length), 0.0, int(rng.integers(len(scale)))
    lengths = {"chords": [2, 4, 4], "arpeggio": [0.25, 0.5], "bass": [0.5, 1, 2], "melody": [0.25, 0.5, 0.5, 1, 2]}[
        kind
    ]
    legato = rng.uniform(0.5, 1.3)
    while time * RATE < length:
        duration = beat * float(rng.choice(lengths)) * (1 + 0.02 * rng.normal())
        step += int(rng.integers(-3, 4))
        degrees = [step, step + 2, step + 4, step + 6][: int(rng.integers(3, 5))] if kind == "chords" else [step]
        if kind == "chords" or rng.random() > 0.12:
            for degree in degrees:
                up, place = divmod(degree % (2 * len(scale)), len(scale))
                pitch = 12 * (octave + up) + scale[place]
                note = tone(rng, timbre, shape, 440 * 2 ** ((pitch - 69) / 12), duration * legato)
                first = round(time * RATE)
                note = note[: length - first] * rng.uniform(0.6, 1)
                out[first : first + len(note)] += note
        time += max(0.05, duration)
    return out


def tone(rng: np.random.Generator, timbre: str, shape: np.ndarray, hertz: float, seconds: float) -> np.ndarray:
    """One note with its envelope."""
    t = np.arange(max(800, round((seconds + 0.1) * RATE))) / RATE
    vibrato = 1 + (
        0.012 * shape[0] * np.sin(2 * np.pi * (4 + 3 * shape[1]) * t) if timbre in ("strings", "wind") else 0
    )
    if timbre == "slide":
        vibrato = 2 ** (rng.uniform(-4, 4) / 12 * np.exp(-t / 0.08))
    phase = 2 * np.pi * np.cumsum(hertz * vibrato * np.ones(len(t))) / RATE
    attack = {"strings": 0.15, "wind": 0.06, "organ": 0.01}.get(timbre, 0.004) * (0.5 + shape[2])
    release = np.clip((seconds + 0.1 - t) / 0.1, 0, 1)
    envelope = np.minimum(1, t / attack) * release
    if timbre in ("piano", "pluck", "bell", "fm"):
        envelope = envelope * np.exp(-t * {"piano": 2, "pluck": 5, "bell": 1.5, "fm": 3}[timbre] * (0.5 + shape[3]))
    if timbre == "fm":
        return envelope * np.sin(phase + 4 * shape[4] * envelope * np.sin(round(1 + 4 * shape[5]) * phase))
    stretch = (1, 2.76, 5.4, 8.93) if timbre == "bell" else range(1, 25)
    out = np.zeros(len(t))
    for number, ratio in enumerate(stretch):
        if hertz * ratio > 7600:
            break
        out += level(timbre, shape, number + 1) * np.sin(ratio * phase) * np.exp(-t * number * 0.6 * shape[5])
    if timbre == "wind":
        out += 0.1 * shape[4] * rng.normal(size=len(t))
    return envelope * out


def level(timbre: str, shape: np.ndarray, harmonic: int) -> float:
    """Amplitude of a harmonic, from 1."""
    if timbre == "organ":
        return float(shape[harmonic % 6]) if harmonic in (1, 2, 3, 4, 6, 8) else 0.0
    if timbre == "square":
        return 1 / harmonic if harmonic % 2 else 0.0
    steep = {"saw": 1.0, "strings": 1.2, "slide": 1.5, "wind": 2.0, "bell": 0.7}.get(timbre, 1.4)
    return float(harmonic ** -(steep + 0.6 * (shape[1] - 0.5)) * (0.6 + 0.4 * np.cos(harmonic * (1 + 3 * shape[0]))))


def drums(rng: np.random.Generator, length: int, beat: float) -> np.ndarray:
    """A pattern of eight or sixteen steps, repeated with chance strokes."""
    steps, out = int(rng.choice([8, 16])), np.zeros(length)
    pattern = rng.random((3, steps)) < np.array([[0.3], [0.25], [0.6]])
    pattern[0, 0] = True
    sounds = [drum(rng, kind) for kind in ("kick", "snare", "hat")]
    swing = rng.uniform(0, 0.2)
    for number in range(int(length / RATE / beat * 4) + 1):
        first = round((number + swing * (number % 2)) * beat / 4 * RATE * (16 // steps))
        for sound, row in zip(sounds, pattern, strict=True):
            if first < length and (row[number % steps] or rng.random() < 0.04):
                hit = sound[: length - first] * rng.uniform(0.5, 1)
                out[first : first + len(hit)] += hit
    return out


def drum(rng: np.random.Generator, kind: str) -> np.ndarray:
    """One stroke."""
    t = np.arange(round(0.4 * RATE)) / RATE
    if kind == "kick":
        return np.exp(-t * rng.uniform(6, 20)) * np.sin(
            2 * np.pi * np.cumsum(50 + rng.uniform(60, 200) * np.exp(-t * 30)) / RATE
        )
    noise = rng.normal(size=len(t))
    if kind == "hat":
        return 0.3 * np.exp(-t * rng.uniform(15, 80)) * np.diff(noise, prepend=0)
    body = np.sin(2 * np.pi * rng.uniform(120, 260) * t)
    return np.exp(-t * rng.uniform(10, 30)) * (0.6 * noise + 0.5 * body)


def in_a_room(mix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exponential noise as the room's answer."""
    from scipy.signal import fftconvolve

    t = np.arange(round(0.8 * RATE)) / RATE
    answer = rng.normal(size=len(t)) * np.exp(-6.9 * t / rng.uniform(0.2, 1.2))
    wet: np.ndarray = fftconvolve(mix, answer / np.sqrt((answer**2).sum()))[: len(mix)]
    return mix + rng.uniform(0.1, 0.7) * wet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=10**6, help="of the first piece; those that taught begin at 0")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for number in range(args.count):
        samples = torch.from_numpy(piece(args.seed + number, args.seconds))
        audio.write(args.output / f"{number:04d}.flac", Waveform(samples, RATE))
    print(args.output, args.count)


if __name__ == "__main__":
    errors.run_recipe(main)
