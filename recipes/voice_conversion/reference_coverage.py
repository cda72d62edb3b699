"""How much of a source a voice covers, where conversion works and where it does not: percentiles over many pairs.

    python recipes/voice_conversion/reference_coverage.py MANIFEST

Coverage is the mean cosine between source frames and their nearest frames of the voice. The sources are recordings of
LibriSpeech ``dev`` and of the split ``hard``, as they are, in rooms and with noise, and sounds of ESC-10, which no
voice can say. "under the limit" is the share that gets the remark of ``speechssl.convert``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from conditions import CONDITIONS, degraded
from pairs import Pair, from_manifest, make_pairs, with_enough
from rich.progress import track

from speechssl import errors
from speechssl.conversion import result
from speechssl.conversion.bundles import load_bundle
from speechssl.conversion.voice_converter import VoiceConverter

SETS = {"dev": ("librispeech", "dev", 60.0), "hard": ("common_voice,vctk", "hard", 30.0)}


def coverages(system: VoiceConverter, pairs: list[Pair], condition: str, folder: Path) -> np.ndarray:
    """(n,) coverage of each pair."""
    voices = {pair.target: system.matching_set(list(pair.references)) for pair in {p.target: p for p in pairs}.values()}
    found = []
    for pair in track(pairs, description=condition):
        source = degraded(pair.source.path, condition, folder)
        found.append(system.convert(source, voices[pair.target], loudness="off").coverage)
    return np.array(found)


def row(name: str, found: np.ndarray, limit: float) -> str:
    low, middle, high = np.quantile(found, [0.05, 0.5, 0.95])
    return f"| {name} | {len(found)} | {low:.2f} | {middle:.2f} | {high:.2f} | {100 * (found < limit).mean():.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--limit", type=int, default=24, help="pairs of each set")
    parser.add_argument("--model", default="tiny")
    args = parser.parse_args()
    system = load_bundle(args.model)
    limit = result.POOR_COVERAGE.get(system.encoder.origin, 0.0)
    head = f"| source | pairs | 5 % | median | 95 % | under {limit}, % |\n|---|---:|---:|---:|---:|---:|"
    print(head, flush=True)
    with tempfile.TemporaryDirectory() as name:
        for title, (corpus, split, seconds) in SETS.items():
            recordings = with_enough(from_manifest(args.manifest, corpus=corpus, split=split))
            pairs = make_pairs(recordings, reference_seconds=seconds)
            pairs = pairs[:: max(1, len(pairs) // args.limit)][: args.limit]
            for condition in CONDITIONS:
                print(row(f"{title}, {condition}", coverages(system, pairs, condition, Path(name)), limit), flush=True)
        sounds = from_manifest(args.manifest, corpus="noise_esc10", split="test")
        voices = [system.matching_set(list(pair.references)) for pair in pairs[:1]]
        found = [system.convert(sound.path, voices[0], loudness="off").coverage for sound in sounds[: args.limit]]
        print(row("sounds of ESC-10", np.array(found), limit))


if __name__ == "__main__":
    errors.run_recipe(main)
