"""Plots of probes: accuracy by layer, and which classes are taken for which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from speechssl import checkpoints, errors


def draw(folder: Path, report: dict[str, Any]) -> None:
    """Write ``layers.png`` and ``confusion.png`` of a report of ``classify`` into a folder.

    Raises:
        InputError: matplotlib is not installed.
    """
    errors.require("matplotlib", purpose="plots", extra="probing")
    from matplotlib.figure import Figure

    layers = Figure(figsize=(6, 4), layout="constrained")
    axes = layers.subplots()
    for model in report["models"]:
        rows = model["layers"]
        rates = np.array([[row["accuracy"], *row["interval_95"]] for row in rows]) * 100
        bars = np.abs(rates[:, 1:] - rates[:, :1]).T
        axes.errorbar([row["layer"] for row in rows], rates[:, 0], bars, marker="o", capsize=3, label=model["model"])
    axes.axhline(100 * report["chance"], linestyle=":", color="gray", label="most frequent class")
    axes.set(xlabel="layer", ylabel="accuracy, %, with 95 % interval")
    axes.legend()
    classes, counts = list(report["classes"]), np.array(report["models"][0]["confusion"])
    size = max(4.0, 0.35 * len(classes))
    confusion = Figure(figsize=(size + 1, size), layout="constrained")
    axes = confusion.subplots()
    image = axes.imshow(counts / np.maximum(1, counts.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="found", ylabel="true", title=f"{report['models'][0]['model']}, linear")
    confusion.colorbar(image, label="share of the true class")
    for name, figure in (("layers", layers), ("confusion", confusion)):
        with checkpoints.atomic_path(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=120)
