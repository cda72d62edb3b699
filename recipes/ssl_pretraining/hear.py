"""How well an encoder finds the same phone in another voice: clean, in a room, and under noise.

For every part (corpus:split) of a cache of ``waves.py``: the share of the 4 nearest frames, by cosine, of another
speaker that have the query frame's phone (silence left out), over all ordered pairs of speakers, as ``evaluate.py`` has
it. Rooms (T60 0.6 s, six simulated ones) and noise (10 dB, recorded) are laid over the queries by a fixed seed, the
references stay clean (``room``, ``noise``) or have a room of their own (``both_room``).

    python recipes/ssl_pretraining/hear.py waves alignments.jsonl tiny --parts librispeech:dev,common_voice:hard
    python recipes/ssl_pretraining/hear.py waves alignments.jsonl runs/heard --conditions clean,room,noise
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from align import STATES_PER_PHONE
from batches import phone_tracks, read_index
from evaluate import nearest_phones
from waves import FRAME

from speechssl import errors
from speechssl.training import distort

PARTS = "librispeech:dev,common_voice:hard,cmu_arctic:test"
CONDITIONS = {
    "clean": ("clean", "clean"),
    "room": ("room", "clean"),
    "noise": ("noise", "clean"),
    "both_room": ("room", "room"),
}
T60, RATIO, ROOMS = 0.6, 0.0, 6  # seconds, dB
NOISE_DB = 10.0
Hearing = Callable[[np.ndarray], np.ndarray]


def hearing(name: str, layer: int | None = None) -> Hearing:
    """Samples (T,) to frames (N, D), of a run of ``train.py`` on waveforms or of any encoder of the package."""
    if (Path(name) / "config.json").exists() and (Path(name) / "last").exists():
        from export import fine_tuned_network

        network = fine_tuned_network(Path(name))

        @torch.no_grad()
        def of_run(samples: np.ndarray) -> np.ndarray:
            output = network(torch.from_numpy(samples)[None])
            chosen = output.last_hidden_state if layer is None else output.hidden_states[layer]
            return chosen[0].numpy()

        return of_run
    from speechssl import encoders
    from speechssl.signals import Waveform

    encoder = encoders.load(name, layer=layer)
    return lambda samples: encoder.encode(Waveform(torch.from_numpy(samples), 16000)).frames.numpy()


def chosen(cache: Path, tracks: dict[str, np.ndarray], part: str, seconds: float) -> dict[str, list[dict[str, Any]]]:
    """Aligned rows a speaker, up to ``seconds`` each."""
    corpus, _, split = part.partition(":")
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_index(cache):
        aligned = (tracks["states"][row["start"] : row["start"] + row["frames"]] >= 0).any()
        mine = rows.setdefault(row["speaker"], []) if (row["corpus"], row["split"]) == (corpus, split) else None
        if mine is not None and aligned and sum(item["frames"] for item in mine) < 100 * seconds:
            mine.append(row)
    rows = {who: items for who, items in rows.items() if items}
    if len(rows) < 2:
        raise SystemExit(f"{part}: {len(rows)} speakers with alignments; two needed")
    return rows


class Conditions:
    """Lays rooms and noise over utterances; the same for the same utterance whatever else is measured."""

    def __init__(self, cache: Path) -> None:
        self._samples = np.load(cache / "samples.npy", mmap_mode="r")
        noises = [row for row in read_index(cache) if row["corpus"].startswith("noise") and row["frames"] > 100]
        # the noises of nobody's training, where there are such
        self._noises = [row for row in noises if row["split"] == "test"] or noises
        rng = np.random.default_rng(0)
        self._rooms = [distort.simulated_room(rng, T60, RATIO) for _ in range(ROOMS)]

    def __call__(self, row: dict[str, Any], condition: str) -> np.ndarray:
        """Samples (T,) float32 of one utterance."""
        samples = self._read(row)
        rng = np.random.default_rng([0, row["start"]])
        if condition == "room":
            return distort.in_room(samples, self._rooms[int(rng.integers(ROOMS))])
        if condition == "noise":
            if not self._noises:
                return distort.with_noise(samples, distort.coloured_noise(rng, len(samples)), NOISE_DB)
            noise = np.resize(self._read(self._noises[int(rng.integers(len(self._noises)))]), len(samples))
            return distort.with_noise(samples, noise, NOISE_DB)
        return samples

    def _read(self, row: dict[str, Any]) -> np.ndarray:
        span = slice(row["start"] * FRAME, (row["start"] + row["frames"]) * FRAME)
        return np.asarray(self._samples[span], np.float32) / 32767


def across(queries: dict[str, Any], references: dict[str, Any]) -> float:
    """Share of neighbours with the query's phone, over ordered pairs of speakers."""
    pairs = itertools.permutations(queries, 2)
    found = [(nearest_phones(queries[a][0], *references[b]) == queries[a][1][:, None]).mean() for a, b in pairs]
    return float(np.mean(found))


def measure(
    hear: Hearing, conditions: Conditions, states: np.ndarray, rows: dict[str, list[dict[str, Any]]], wanted: list[str]
) -> dict[str, float]:
    """Share of neighbours with the right phone, by condition."""
    kept: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name in sorted({side for condition in wanted for side in CONDITIONS[condition]}):
        for who, items in rows.items():
            frames, phones = [], []
            for row in items:
                heard = hear(conditions(row, name))
                track = np.asarray(states[row["start"] : row["start"] + row["frames"]])[::2][: len(heard)]
                spoken = track >= STATES_PER_PHONE  # phone 0 is silence
                frames.append(heard[: len(track)][spoken])
                phones.append(track[spoken] // STATES_PER_PHONE)
            kept.setdefault(name, {})[who] = (np.concatenate(frames), np.concatenate(phones))
    return {name: round(across(*(kept[side] for side in CONDITIONS[name])), 4) for name in wanted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("alignments", type=Path)
    parser.add_argument("encoder", help="run, or anything that speechssl.load_encoder takes")
    parser.add_argument("--layer", type=int, default=None)
    parser.add_argument("--parts", default=PARTS)
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--seconds", type=float, default=60.0, help="a speaker")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tracks = phone_tracks(args.cache, args.alignments)
    hear, conditions = hearing(args.encoder, args.layer), Conditions(args.cache)
    report: dict[str, Any] = {"encoder": args.encoder, "layer": args.layer, "seconds": args.seconds}
    for part in args.parts.split(","):
        rows = chosen(args.cache, tracks, part, args.seconds)
        report[part] = measure(hear, conditions, tracks["states"], rows, args.conditions.split(","))
        report[part]["speakers"] = len(rows)
        print(json.dumps({part: report[part]}), flush=True)
    if args.output:
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    errors.run_recipe(main)
