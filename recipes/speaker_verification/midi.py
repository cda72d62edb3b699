"""Render pieces of MIDI files with a sound font's recorded instruments: music to try the refusal of music on.

    python recipes/speaker_verification/midi.py FONT.sf2 OUTPUT_DIR FILE.mid ... --each 8

Every piece of 20 s gets instruments drawn by the seed, voices and effects left out. Needs mido and tinysoundfont.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechssl import audio, errors
from speechssl.signals import Waveform

RATE, SECONDS = 16000, 20.0
PROGRAMS = [number for number in range(112) if not 52 <= number <= 54 and number != 85]  # no choirs, no "voice"
DRUMS = 9


def notes_of(path: Path) -> list[tuple[float, Any]]:
    """Time in seconds and message of every note."""
    import mido

    found, time = [], 0.0
    for message in mido.MidiFile(path):
        time += message.time
        if message.type in ("note_on", "note_off"):
            found.append((time, message))
    return found


def rendered(notes: list[tuple[float, Any]], start: float, font: Path, draw: random.Random) -> np.ndarray:
    """Samples (T,) of ``SECONDS`` from a start, the channels' instruments drawn."""
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=RATE)
    bank = synth.sfload(str(font))
    for channel in range(16):
        synth.program_select(channel, bank, 0, draw.choice(PROGRAMS), False)
    synth.program_select(DRUMS, bank, 128, 0, True)
    parts, now = [], 0
    for time, message in [pair for pair in notes if start <= pair[0] < start + SECONDS]:
        until = round((time - start) * RATE)
        if until > now:
            parts.append(np.frombuffer(bytes(synth.generate(until - now)), np.float32).reshape(-1, 2).mean(1))
            now = until
        if message.type == "note_on" and message.velocity:
            synth.noteon(message.channel, message.note, message.velocity)
        else:
            synth.noteoff(message.channel, message.note)
    samples = np.concatenate(parts) if parts else np.zeros(1, np.float32)
    return 0.5 * samples / max(1e-6, float(np.abs(samples).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("font", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.mid")
    parser.add_argument("--each", type=int, default=8, help="pieces of a file at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    draw = random.Random(args.seed)
    for path in args.files:
        notes = notes_of(path)
        last = max((time for time, _ in notes), default=0.0)
        for number in range(args.each if last > SECONDS else 1):
            samples = rendered(notes, draw.uniform(0, max(0.0, last - SECONDS)), args.font, draw)
            if len(samples) > 4 * RATE:
                output = args.output / f"{path.stem}-{number}.flac"
                audio.write(output, Waveform(torch.from_numpy(samples.astype(np.float32)), RATE))


if __name__ == "__main__":
    errors.run_recipe(main)
