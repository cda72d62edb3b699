"""Equal error rates of runs, exported files and simple features, on all pairs of the held-out speakers of a cache.

    python recipes/dino_speaker/evaluate.py cache --mfcc --untrained tiny --run runs/dino --model speaker.safetensors

Runs and files on the blocks of an encoder need a cache of ``prepare.py --samples``, which does for all others too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crops import frames_of, levelled
from front_end import OnEncoder
from networks import config_of, make_network, trained

from speechssl import errors
from speechssl.audio.mel import cepstra, kaldi
from speechssl.training.augmentation import paired
from speechssl.verification import embedders, metrics
from speechssl.verification.embedders import ssl

SETS = (("librispeech", "dev"), ("an4", "test"), ("speech_commands", "dev"))
LONGEST = 3000  # frames of 10 ms; longer utterances are cut

Embed = Callable[[np.ndarray], np.ndarray]


class Held:
    """The utterances of one corpus and split: speakers, ``mels``, and ``samples`` where the cache has them."""

    def __init__(self, cache: Path, corpus: str, split: str, *, limit: int = 10**9) -> None:
        index = json.loads((cache / "index.json").read_text())
        rows = [row for row in index if (row["corpus"], row["split"]) == (corpus, split)]
        rows = rows[:: max(1, len(rows) // limit)]
        self.speakers = np.array([row["speaker"] for row in rows])
        self.samples, self.mels = utterances(cache, rows)


def held_out(cache: Path) -> dict[str, Held]:
    """The sets of several speakers that a cache has."""
    held = {f"{corpus} {split}": Held(cache, corpus, split) for corpus, split in SETS}
    held = {name: data for name, data in held.items() if len(set(data.speakers.tolist())) > 1}
    if not held:
        raise SystemExit(f"{cache}: none of {SETS} is in this cache")
    return held


def utterances(cache: Path, rows: list[dict[str, Any]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Samples (T,) and log-mel bands (F, 80) of rows of the index; no samples if the cache has bands alone."""
    places = [slice(row["start"], row["start"] + min(row["frames"], LONGEST)) for row in rows]
    if not (cache / "samples.npy").is_file():
        mel = frames_of(cache, "mel.npy")
        return [], [np.asarray(mel[place], np.float32) for place in places]
    frames = frames_of(cache, "samples.npy")
    samples = [np.asarray(frames[place], np.float32).reshape(-1) / 32767 for place in places]
    return samples, [kaldi(torch.from_numpy(one)).numpy() for one in samples]


def vectors_of(source: Embed | OnEncoder, samples: list[np.ndarray], mels: list[np.ndarray]) -> np.ndarray:
    """Embeddings (N, E) of whole utterances, by what takes log-mel bands, or by a network on samples.

    Raises:
        SystemExit: the cache has no samples.
    """
    if not isinstance(source, OnEncoder):
        return np.stack([source(mel) for mel in mels])
    if not samples:
        raise SystemExit("networks on an encoder hear samples; make the cache with prepare.py --samples")
    source.eval()
    with torch.inference_mode():
        return np.stack([source(torch.from_numpy(one)[None])[0].float().numpy() for one in samples])


def all_pairs(vectors: np.ndarray, speakers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cosine, label and both speakers of every pair of vectors (N, E)."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    one, two = np.triu_indices(len(unit), 1)
    return (unit @ unit.T)[one, two], speakers[one] == speakers[two], speakers[one], speakers[two]


def measure(name: str, embed: Embed | OnEncoder, held: dict[str, Held], *, draws: int = 200) -> dict[str, Any]:
    """Equal error rate of each set in percent, with its 95 % interval over speakers."""
    found: dict[str, Any] = {"system": name}
    for corpus, data in held.items():
        vectors = vectors_of(embed, data.samples, data.mels)
        sample = all_pairs(vectors, data.speakers)
        interval = metrics.bootstrap(metrics.Roc.eer, *sample, draws=draws)
        found[corpus] = [round(100 * value, 2) for value in (interval.value, interval.low, interval.high)]
    return found


def network_embedding(network: torch.nn.Module, *, narrow: bool = False) -> Embed | OnEncoder:
    """Embedding of log-mel bands by a network in eval mode; one on an encoder as it is.

    Args:
        narrow: the network hears only what a telephone carries.
    """
    network.eval()
    if isinstance(network, OnEncoder):
        return network

    @torch.inference_mode()
    def embed(mel: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(paired(levelled(mel, narrow=narrow)))[None])[0].float().numpy()

    return embed


def of_file(path: Path) -> torch.nn.Module:
    """The network of an embedder file of ours."""
    embedder = embedders.load(path, device="cpu")
    if isinstance(embedder, ssl.SSLEmbedder):
        return OnEncoder(embedder.encoder, list(embedder.blocks), embedder.head)
    return embedder.network


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
    held = held_out(args.cache)

    def show(name: str, embed: Embed | OnEncoder) -> None:
        print(json.dumps(measure(name, embed, held)), flush=True)

    if args.mfcc:
        show("mean MFCC", mean_mfcc)
        show("mean MFCC, standardised", standardised_mfcc(args.cache))
    if args.untrained:
        torch.manual_seed(args.seed)
        show(f"{args.untrained}, untrained", network_embedding(make_network({"size": args.untrained})))
    for run in args.run:
        network = trained(run)
        step = json.loads((run / "last" / "state.json").read_text())["step"]
        narrow = bool(config_of(run)["settings"].get("narrow"))
        show(f"{run.name} after {step} steps", network_embedding(network, narrow=narrow))
    for path in args.model:
        show(path.name, network_embedding(of_file(path)))


if __name__ == "__main__":
    errors.run_recipe(main)
