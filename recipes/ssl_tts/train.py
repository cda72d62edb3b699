"""Train the network from phones to keys on an aligned cache.

    python recipes/ssl_tts/train.py cache --run runs/tts --max-seconds 2400

A run that was stopped goes on when the same command is given again. ``--init`` starts from another synthesizer, in a
new language perhaps: phones that it lacks begin as the most similar it has. ``--toy`` is a run of seconds.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechssl import errors
from speechssl.synthesis.front_end import BORDERS, START
from speechssl.synthesis.network import NetworkConfig, TextToKeys
from speechssl.training import script
from speechssl.training.objectives.text_to_keys import TextToKeysLoss

SIZES: dict[str, dict[str, int]] = {
    "toy": {"width": 32, "hidden": 48, "encoder_layers": 2, "decoder_layers": 2},
    "tiny": {},
    "small": {"width": 320, "hidden": 1024, "encoder_layers": 6, "decoder_layers": 8},
}


class Utterances:
    """Batches of utterances of about the same length, a pure function of the step.

    Args:
        cache: of ``prepare.py`` and ``align.py``.
        split: whose utterances.
        utterances: in a batch.
        seed: of the order.
    """

    def __init__(self, cache: Path, split: str, utterances: int, seed: int) -> None:
        self.facts = json.loads((cache / "aligned.json").read_text())
        self.keys = np.load(cache / "keys.npy", mmap_mode="r")
        self.pitch = np.load(cache / "pitch.npy", mmap_mode="r")
        self.symbols: list[str] = self.facts["symbols"]
        self.rows = [row for row in self.facts["utterances"] if row.get("split", split) == split]
        if not self.rows:
            raise SystemExit(f"{cache}: no utterances of the split {split!r}")
        self.size, self.seed = min(utterances, len(self.rows)), seed
        borders = {START, *BORDERS}
        self.borders = torch.tensor([symbol in borders for symbol in self.symbols])

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.size)

    def __call__(self, step: int) -> dict[str, Tensor]:
        epoch, place = divmod(step, len(self))
        random = np.random.default_rng((self.seed, epoch))
        # alike in length, but not the same together in each epoch
        lengths = np.array([row["frames"] for row in self.rows]) * random.uniform(0.8, 1.25, len(self.rows))
        batches = np.array_split(np.argsort(lengths), len(self))
        return self.batch([self.rows[i] for i in batches[random.permutation(len(self))[place]]])

    def batch(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Padded tensors of some utterances; see ``TextToKeysLoss``."""
        tokens = max(len(row["tokens"]) for row in rows)
        frames = max(row["frames"] for row in rows)
        batch = {name: torch.zeros(len(rows), tokens, dtype=torch.int64) for name in ("symbols", "stresses")}
        batch["durations"] = torch.full((len(rows), tokens), -1)
        batch["keys"] = torch.zeros(len(rows), frames, self.keys.shape[1], dtype=torch.float16)
        batch["pitch"] = torch.zeros(len(rows), frames, 2)
        for number, row in enumerate(rows):
            span, count = slice(row["start"], row["start"] + row["frames"]), len(row["tokens"])
            batch["symbols"][number, :count] = torch.tensor(row["tokens"])
            batch["stresses"][number, :count] = torch.tensor(row["stresses"])
            batch["durations"][number, :count] = torch.tensor(row["durations"])
            batch["keys"][number, : row["frames"]] = torch.from_numpy(np.array(self.keys[span]))
            batch["pitch"][number, : row["frames"]] = torch.from_numpy(np.array(self.pitch[span]))
        return {**batch, "borders": self.borders[batch["symbols"]]}

    def scales(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and spread (D,) of the keys; mean and spread of the log-F0 of voiced frames (2,)."""
        chosen = np.concatenate([np.arange(row["start"], row["start"] + row["frames"]) for row in self.rows])
        keys = torch.from_numpy(self.keys[chosen].astype(np.float32))
        pitch = torch.from_numpy(self.pitch[chosen])
        voiced = pitch[pitch[:, 1] > 0.5, 0]
        scale = torch.stack([voiced.mean(), voiced.std()]) if len(voiced) > 1 else torch.tensor([5.0, 0.2])
        return keys.mean(0), keys.std(0).clamp(min=1e-3), scale


def make_network(data: Utterances, size: str) -> TextToKeys:
    """A network that knows the scales of the data."""
    network = TextToKeys(NetworkConfig(len(data.symbols), data.keys.shape[1], **SIZES[size]))
    network.key_mean, network.key_spread, network.pitch_scale = data.scales()
    return network


@torch.no_grad()
def validate(objective: TextToKeysLoss, data: Utterances) -> dict[str, float]:
    """Mean losses over the utterances of a split, and what they mean: cosine of keys, and sounds' lengths in ms."""
    objective.eval()
    network = objective.network
    totals: dict[str, float] = {}
    lengths: list[tuple[Tensor, Tensor]] = []
    for step in range(len(data)):
        batch = data(step)
        for name, value in objective.losses(batch).items():
            totals[name] = totals.get(name, 0.0) + float(value) / len(data)
        _, predicted = network.encode(batch["symbols"], batch["stresses"], batch["durations"] >= 0)  # type: ignore[operator]
        sounds = (batch["durations"] > 0) & ~batch["borders"]
        lengths.append((predicted.mean.exp()[sounds], batch["durations"][sounds].float()))
    guessed, true = (torch.cat(part) for part in zip(*lengths, strict=True))
    milliseconds = 1000 / data.facts["frame_rate"]
    facts = {
        "key_cosine": 1 - totals["cosine"],
        "sound_error_ms": float((guessed - true).abs().mean()) * milliseconds,
        "sound_mean_ms": float(true.mean()) * milliseconds,
        "total_length_ratio": float(guessed.sum() / true.sum()),
    }
    return {name: round(value, 4) for name, value in {**totals, **facts}.items()}


def parse() -> argparse.Namespace:
    parser = script.parser(__doc__, steps=2500, decay=0.4, rate=2e-3, checkpoint_seconds=120.0)
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--init", type=Path, default=None, help="a synthesizer to start from")
    parser.add_argument("--utterances", type=int, default=16)
    args = parser.parse_args()
    if args.toy:
        args.size, args.utterances, args.steps = "toy", min(args.utterances, 4), min(args.steps, 20)
    return args


def main() -> None:
    args = parse()
    script.seed(args)
    data = Utterances(args.cache, "train", args.utterances, args.seed)
    network = make_network(data, args.size)
    if args.init:
        from adapt import start_from

        start_from(network, args.init, data.symbols)
    objective = TextToKeysLoss(network)
    keys = ("size", "rate", "seed", "utterances", "steps", "decay")
    config = {key: getattr(args, key) for key in keys} | {"init": args.init.name if args.init else None}
    average = script.train(args, objective, data, config=config, warmup=min(100, args.steps // 10), average=0.99)
    held_out = [row for row in data.facts["utterances"] if row.get("split") == "dev"]
    if held_out:
        print(json.dumps({"dev": validate(average, Utterances(args.cache, "dev", args.utterances, args.seed))}))


if __name__ == "__main__":
    errors.run_recipe(main)
