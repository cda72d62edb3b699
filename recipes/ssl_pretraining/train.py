"""Train an encoder: ``--objective phones`` (more to come beside it) on a log-mel cache.

    python recipes/ssl_pretraining/train.py cache alignments.jsonl --run runs/phones --steps 4000
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path

import torch
from batches import Augmentation, MelBatches, phone_tracks

from align import PHONES, STATES_PER_PHONE
from network import SIZES, make_network, speed_up
from speechssl.objectives.phones import PhoneStates
from speechssl.training import Schedule, fit

def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("alignments", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--objective", choices=["phones"], default="phones")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--decay", type=float, default=0.3)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch-seconds", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-seconds", type=float, default=math.inf)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    augmentation = Augmentation()
    network = make_network(args.size)
    objective = PhoneStates(
        network,
        dim=network.config.hidden_size,
        num_states=len(PHONES) * STATES_PER_PHONE,
        num_phones=len(PHONES),
        middle_layer=max(1, 2 * network.config.num_hidden_layers // 3),
    )
    speed_up(network)
    print(json.dumps({"parameters": sum(p.numel() for p in network.parameters())}), flush=True)
    batches = MelBatches(
        args.cache, phone_tracks(args.cache, args.alignments), batch_seconds=args.batch_seconds, augmentation=augmentation, seed=args.seed
    )
    schedule = Schedule(steps=args.steps, decay=args.decay, rate=args.rate)
    keys = ("objective", "size", "rate", "batch_seconds", "seed", "steps", "decay")
    config = {key: getattr(args, key) for key in keys} | {"augmentation": dataclasses.asdict(augmentation)}

    def show(step: int, losses: dict[str, float]) -> None:
        if step % 20 == 0:
            print(step, {name: round(value, 3) for name, value in losses.items()}, flush=True)

    fit(
        objective, batches, schedule, folder=args.run, config=config, seed=args.seed, device=args.device,
        max_seconds=args.max_seconds, on_step=show,
    )  # fmt: skip


if __name__ == "__main__":
    main()
