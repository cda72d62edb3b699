"""Spectrograms of conversions, source and target beside them, for people who look before they listen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pairs import Pair

from speechssl import audio, errors

SAMPLE_RATE = 16_000
SECONDS = 5.0  # shown of each recording


def draw(pair: Pair, outputs: dict[str, Path], target: Path) -> Path:
    """Write ``target``: one row for the source, one for each system, one for another recording of the target."""
    errors.require_for_recipe("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = {f"source ({pair.source.speaker})": pair.source.path, **outputs}
    rows[f"target ({pair.target}), other words"] = pair.target_refs[0]
    figure, axes = pyplot.subplots(len(rows), 1, figsize=(8, 1.7 * len(rows)), sharex=True, layout="constrained")
    for axis, (name, path) in zip(axes, rows.items(), strict=True):
        picture = log_mel(path)
        axis.imshow(picture, origin="lower", aspect="auto", extent=(0, picture.shape[1] / 100, 0, 8), vmin=-70, vmax=0)
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_yticks([0, 4, 8], ["0", "mel", "8 kHz"])
    axes[-1].set_xlabel("seconds")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=80)
    pyplot.close(figure)
    return target


def log_mel(path: Path) -> np.ndarray:
    """(80, F) dB below the loudest, every 10 ms, of the first seconds."""
    import torch

    from speechssl.audio.mel import filters

    samples = audio.read_mono(path, SAMPLE_RATE).samples[: int(SECONDS * SAMPLE_RATE)]
    window = torch.hann_window(512)
    spectrum = torch.stft(samples, 512, 160, window=window, pad_mode="constant", return_complex=True)
    bank = filters(80, 512, sample_rate=SAMPLE_RATE, high=SAMPLE_RATE / 2)
    bands = torch.tensor(bank / bank.sum(0), dtype=torch.float32)
    power = bands.T @ spectrum.abs().square()
    decibels: np.ndarray = (10 * (power / power.max()).clamp(min=1e-8).log10()).numpy()
    return decibels
