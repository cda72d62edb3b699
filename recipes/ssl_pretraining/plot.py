"""Draw the training curves of one or several runs, one after another.

python recipes/ssl_pretraining/plot.py runs/phones runs/phones2 --output training.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from speechssl import errors

SMOOTHING = 25  # steps averaged; single batches of words or sentences differ a lot


def read_log(run: Path) -> list[dict[str, float]]:
    """Rows of a run's log; of steps that were done twice after a stop, the later."""
    rows = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [row for _, row in sorted({row["step"]: row for row in rows}.items())]


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    errors.require_for_recipe("matplotlib")
    figure, (losses, shares) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    start = 0
    for run in args.runs:
        rows = read_log(run)
        for number, name in enumerate(("total", "state", "retrieval", "state_accuracy", "retrieval_accuracy")):
            values = np.array([row[name] for row in rows if name in row])
            if len(values) < SMOOTHING:
                continue
            smooth = np.convolve(values, np.ones(SMOOTHING) / SMOOTHING, "valid")
            axes = shares if "accuracy" in name else losses
            axes.plot(start + np.arange(len(smooth)), smooth, color=f"C{number}", label=name if start == 0 else None)
            if start and not axes.get_legend_handles_labels()[1].count(name):
                axes.lines[-1].set_label(name)
        start += len(rows)
        for axes in (losses, shares):
            axes.axvline(start, color="0.8", linewidth=0.8)
    losses.set(xlabel="step", ylabel="loss", title="losses")
    shares.set(xlabel="step", ylabel="share of frames", title="training accuracy, on perturbed crops")
    for axes in (losses, shares):
        axes.legend(frameon=False)
    figure.savefig(args.output, dpi=90)


if __name__ == "__main__":
    errors.run_recipe(main)
