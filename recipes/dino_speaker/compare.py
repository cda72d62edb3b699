"""Train the label-free objectives on one equal budget and measure them side by side.

    python recipes/dino_speaker/compare.py cache --work work/compare --steps 131 --utterances 48 --global-seconds 1.6

The same network, steps, batches and seed for each. A name may carry what is added: ``vicreg+nt-xent:0.1``. The same
command goes on where it was stopped. All other options go to ``train.py``, such as ``--front-end tiny`` or
``--lines 0.5``. Prints a table in Markdown: EER in percent, and the effective rank of the embeddings of the first set,
near 1 where a run has collapsed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from evaluate import held_out, mean_mfcc, measure, network_embedding, vectors_of
from networks import config_of, make_network, trained

from speechssl import errors
from speechssl.training.rank import centred_rank

HERE = Path(__file__).parent
NAMES = "nt-xent,moco,vicreg,vicreg+nt-xent:0.1,barlow,byol,dino"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--objectives", default=NAMES)
    args, others = parser.parse_known_args()
    torch.set_num_threads(1)
    runs = [train(args, name, others) for name in args.objectives.split(",")]
    print(table(args.cache, runs))


def train(args: argparse.Namespace, name: str, others: list[str]) -> Path:
    """A run, or the rest of it."""
    run: Path = args.work / name.replace(":", "-")
    first, *added = name.split("+")
    also = [word for one in added for word in ("--also", one)]
    words = [str(args.cache), "--run", str(run), "--objective", first, *also, *others]
    done = subprocess.run([sys.executable, str(HERE / "train.py"), *words], check=False)
    if done.returncode:
        raise SystemExit(f"train.py of {name} ended with {done.returncode}; the same command goes on from here")
    return run


def table(cache: Path, runs: list[Path]) -> str:
    """A row of EER for each run, below mean MFCC and the untrained network."""
    held = held_out(cache)
    torch.manual_seed(0)
    sources = {"mean MFCC": mean_mfcc, "untrained": network_embedding(make_network(config_of(runs[0])))}
    sources |= {run.name: network_embedding(trained(run)) for run in runs}
    first = next(iter(held.values()))
    rows = []
    for name, source in sources.items():
        found = measure(name, source, held, draws=2)
        vectors = vectors_of(source, first.samples, first.mels)
        unit = torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        state = next((run / "last" / "state.json" for run in runs if run.name == name), None)
        steps = json.loads(state.read_text())["step"] if state else "-"
        cells = [f"{found[part][0]:.2f}" for part in held]
        rows.append(f"| {name} | {steps} | {' | '.join(cells)} | {float(centred_rank(unit)):.1f} |")
    heads = ["", "steps", *(f"{name}, EER, %" for name in held), "rank"]
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|", *rows])


if __name__ == "__main__":
    errors.run_recipe(main)
