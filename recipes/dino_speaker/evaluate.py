"""Equal error rates of runs, exported files and simple features, on all pairs of the held-out speakers of a cache.

python recipes/dino_speaker/evaluate.py cache --mfcc --untrained tiny --run runs/dino --model speaker.safetensors
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crops import levelled
from train import make_network, start_from

from speechssl import errors
from speechssl.audio.mel import cepstra
from speechssl.training.augmentation import paired
from speechssl.verification import metrics
from speechssl.verification.embedders import log_mel

SETS = (("librispeech", "dev"), ("an4", "test"), ("speech_commands", "dev"))
LONGEST = 3000  # frames of 10 ms; longer utterances are cut

Embed = Callable[[np.ndarray], np.ndarray]


class Held:
    """Log-mel bands of the utterances of one corpus and split, with their speakers."""

    def __init__(self, cache: Path, corpus: str, split: str, *, limit: int = 10**9) -> None:
        index = json.loads((cache / "index.json").read_text())
        mel = np.load(cache / "mel.npy", mmap_mode="r")
        rows = [row for row in index if (row["corpus"], row["split"]) == (corpus, split)]
        rows = rows[:: max(1, len(rows) // limit)]
        self.speakers = np.array([row["speaker"] for row in rows])
        self.mels = [
            np.asarray(mel[row["start"] : row["start"] + min(row["frames"], LONGEST)], np.float32) for row in rows
        ]


def all_pairs(vectors: np.ndarray, speakers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cosine, label and both speakers of every pair of vectors (N, E)."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    one, two = np.triu_indices(len(unit), 1)
    return (unit @ unit.T)[one, two], speakers[one] == speakers[two], speakers[one], speakers[two]


def measure(name: str, embed: Embed, held: dict[str, Held], *, draws: int = 200) -> dict[str, Any]:
    """Equal error rate of each set in percent, with its 95 % interval over speakers."""
    found: dict[str, Any] = {"system": name}
    for corpus, data in held.items():
        vectors = np.stack([embed(mel) for mel in data.mels])
        sample = all_pairs(vectors, data.speakers)
        interval = metrics.bootstrap(metrics.Roc.eer, *sample, draws=draws)
        found[corpus] = [round(100 * value, 2) for value in (interval.value, interval.low, interval.high)]
    return found


def network_embedding(network: torch.nn.Module) -> Embed:
    """Embedding of log-mel bands by a network in eval mode."""
    network.eval()

    @torch.inference_mode()
    def embed(mel: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(paired(levelled(mel)))[None])[0].float().numpy()

    return embed


def mean_mfcc(mel: np.ndarray) -> np.ndarray:
    """Twenty mel-cepstral coefficients, averaged over time."""
    return cepstra(mel, 20).mean(0)


def standardised_mfcc(cache: Path) -> Embed:
    """Averaged coefficients with the mean and spread they have over training utterances: a harder one to beat."""
    sample = np.stack([mean_mfcc(mel) for mel in Held(cache, "librispeech", "train", limit=600).mels])
    mean, spread = sample.mean(0), sample.std(0)
    return lambda mel: (mean_mfcc(mel) - mean) / spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--mfcc", action="store_true")
    parser.add_argument("--untrained", default=None, metavar="SIZE")
    parser.add_argument("--run", type=Path, nargs="*", default=[])
    parser.add_argument("--model", type=Path, nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    held = {f"{corpus} {split}": Held(args.cache, corpus, split) for corpus, split in SETS}
    held = {name: data for name, data in held.items() if len(set(data.speakers.tolist())) > 1}
    if not held:
        raise SystemExit(f"{args.cache}: none of {SETS} is in this cache")

    def show(name: str, embed: Embed) -> None:
        print(json.dumps(measure(name, embed, held)), flush=True)

    if args.mfcc:
        show("mean MFCC", mean_mfcc)
        show("mean MFCC, standardised", standardised_mfcc(args.cache))
    if args.untrained:
        torch.manual_seed(args.seed)
        show(f"{args.untrained}, untrained", network_embedding(make_network(args.untrained)))
    for run in args.run:
        config = json.loads((run / "config.json").read_text())
        network = make_network(config["size"])
        start_from(network, run)
        step = json.loads((run / "last" / "state.json").read_text())["step"]
        show(f"{run.name} after {step} steps", network_embedding(network))
    for path in args.model:
        show(path.name, network_embedding(log_mel.read(path).network))


if __name__ == "__main__":
    errors.run_recipe(main)
