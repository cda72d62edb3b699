"""What a conversion keeps of its source besides the words: its length, and its loudness at every moment.

    python recipes/voice_conversion/fidelity.py

Sources and voices are the bundled sentences. "correlation": of levels over 200 ms, between source and result, where at
least half of the 200 ms are speech. "softer passage": the middle third of the source is turned down by 20 dB; by how
much softer is the result there? "samples lost": lengths and sample rates are drawn at random; WAV in, WAV, FLAC or Opus
out.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from conditions import levels

from speechssl import audio
from speechssl.conversion import bundles
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.signals import Waveform
from speechssl.voices import clips
from speechssl.voices.matching_set import MatchingSet

VOICES = ("ada", "beth", "cleo", "dan", "eric", "finn")
MODES = ("level", "contour")
SPAN = 0.2  # seconds of a level
SOFTER = 20.0  # dB
RATES = (8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def correlation(source: Waveform, made: Waveform) -> float:
    """Of the levels of source and result in speech."""
    frames = round(SPAN * 100)
    active = audio.speech_activity(source).numpy()
    pair = [levels(source, SPAN), levels(made, SPAN)]
    count = min(len(active) // frames, *map(len, pair))
    speech = active[: count * frames].reshape(count, frames).mean(axis=1) >= 0.5
    return float(np.corrcoef([one[:count][speech] for one in pair])[0, 1])


def softened(source: Waveform) -> Waveform:
    """The source, its middle third 20 dB softer."""
    samples = source.samples.clone()
    samples[len(samples) // 3 : 2 * len(samples) // 3] *= 10 ** (-SOFTER / 20)
    return Waveform(samples, source.sample_rate)


def drop(system: VoiceConverter, source: Waveform, voice: MatchingSet, mode: str) -> float:
    """dB by which the middle third of the result is softer, against the rest, if that of the source is by 20 dB."""
    differences = []
    for one in (source, softened(source)):
        samples = system.convert(one, voice, loudness=mode).waveform.samples.double()
        third = len(samples) // 3
        power = [float(part.square().mean()) for part in (samples[third : 2 * third], samples[:third])]
        differences.append(10 * np.log10(power[0] / power[1]))
    return float(differences[0] - differences[1])


def lost(system: VoiceConverter, voice: MatchingSet, source: Waveform, rng: np.random.Generator, folder: Path) -> int:
    """Samples that a conversion of random length and rates, from file to file, has too few or too many."""
    own, wanted = (int(rate) for rate in rng.choice(RATES, 2))
    whole = audio.resample(source, own)
    cut = Waveform(whole.samples[: int(rng.integers(0.1 * own, 1.5 * own))].clone(), own)
    audio.write(folder / "in.wav", cut)
    # MP3 pads to whole frames, Opus holds some rates
    fitting = [one for one in ("out.wav", "out.flac", "out.opus") if audio.held_rate(one, wanted) == wanted]
    place = folder / str(rng.choice(fitting))
    result = system.convert(folder / "in.wav", voice, sample_rate=wanted)
    audio.write(place, result.waveform)
    exact = len(cut.samples) * wanted / own
    return math.ceil(abs(len(audio.read(place).samples) - exact) - 0.5)


def compare(system: VoiceConverter, pairs: int) -> None:
    """Print how loudness follows the source over so many of 12 pairs of speakers."""
    sounds = {name: audio.read_mono(clips.clip(name, "sentence").path, 16_000) for name in VOICES}
    voices = {name: system.matching_set([sound]) for name, sound in sounds.items()}
    chosen = [(one, VOICES[(place + step) % 6]) for place, one in enumerate(VOICES) for step in (1, 3)][:pairs]
    print(f"{'loudness':12} {'correlation':>11} {'lowest':>7} {'softer passage':>15}")
    for mode in MODES:
        made = [system.convert(sounds[one], voices[two], loudness=mode).waveform for one, two in chosen]
        found = [correlation(sounds[one], sound) for (one, _), sound in zip(chosen, made, strict=True)]
        soft = float(np.mean([drop(system, sounds[one], voices[two], mode) for one, two in chosen[::4]]))
        print(f"{mode:12} {np.mean(found):11.3f} {min(found):7.3f} {soft:12.1f} dB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--lengths", type=int, default=200)
    args = parser.parse_args()
    system = bundles.load_bundle("tiny", device="cpu")
    if args.pairs:
        compare(system, args.pairs)
    if args.lengths:
        source = audio.read_mono(clips.clip("ada", "sentence").path, 16_000)
        voice, rng = system.matching_set([clips.clip("eric", "sentence").path]), np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            missing = [lost(system, voice, source, rng, Path(folder)) for _ in range(args.lengths)]
        print(f"samples lost: {sum(missing)}; conversions that lost some: {sum(one > 0 for one in missing)}")


if __name__ == "__main__":
    main()
