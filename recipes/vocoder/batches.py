"""Training batches from the cache of ``prepare.py``: a pure function of (cache, settings, seed, step)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechssl.vocoders.source_filter import pulse_train, voice_statistics

STACK, HOP, WINDOW = 4, 320, 400
NEIGHBOURS = (1, 2, 4, 4, 4, 4, 8, 8)  # how many of the found frames are averaged, drawn from these
OWN_VALUES = 0.12  # share of crops that are copied, with their own frames
OWN_KEYS = 0.25  # share of crops whose keys are those of the undistorted recording
STRANGERS = (1, 2, 4, 8)  # how many frames of other speakers their keys are the mean of, drawn from these
GAIN = 1.2  # natural log of amplitude: +-10 dB
LONGEST_ERROR, MEAN_ERROR = 6, 2.29  # frames of 20 ms
VOICE_FRAMES = 256  # of the recording, whose statistics tell the voice
INPUTS = ("values", "keys", "f0", "voice", "pulse", "noise")


class VocoderBatches:
    """Draws batches of crops.

    Args:
        cache: folder written by ``prepare.py``.
        frames: 20 ms frames a crop.
        batch_seconds: audio per batch.
        corrupt: share of the frames, in stretches of up to 120 ms, whose values are those found for another moment:
            retrieval between speakers errs more than within one, and then the keys tell what is said.
        neighbours: how many of the found frames are averaged, drawn from these.
        own_values: share of the crops that are copied, with their own frames.
        strange_keys: share of the crops whose keys are, by a share drawn anew, those of other speakers' frames: in a
            conversion it is somebody else who says the words, so that a voice must not be taken from the keys.
    """

    def __init__(
        self,
        cache: Path,
        *,
        frames: int,
        batch_seconds: float,
        seed: int,
        corrupt: float = 0.0,
        neighbours: Sequence[int] = NEIGHBOURS,
        strange_keys: float = 0.0,
        own_values: float = OWN_VALUES,
    ) -> None:
        index: list[dict[str, Any]] = json.loads((cache / "index.json").read_text())
        self._rows = [row for row in index if row["split"] == "train" and row["keys_n"] > frames]
        if not self._rows:
            raise SystemExit(f"{cache}: no recordings of split 'train' with more than {frames} frames")
        names = ["samples", "f0", "keys", "values", "queries", "neighbours"]
        if strange_keys:
            names.append("strangers")
            if not (cache / "strangers.npy").exists():
                raise SystemExit(f"{cache}: no strangers.npy; prepare.py writes it if there are several speakers")
        self._arrays = {name: np.load(cache / f"{name}.npy", mmap_mode="r") for name in names}
        seconds: dict[tuple[str, str], float] = {}
        for row in self._rows:
            who = row["corpus"], row["speaker"]
            seconds[who] = seconds.get(who, 0.0) + row["keys_n"] / 50
        # speakers of a few seconds come more often than their seconds: by the root of what there is of each
        weights = np.array([row["keys_n"] / seconds[row["corpus"], row["speaker"]] ** 0.5 for row in self._rows])
        self._weights = weights / weights.sum()
        self._frames, self._seed, self._corrupt = frames, seed, corrupt
        self._neighbours, self._own_values, self._strange_keys = tuple(neighbours), own_values, strange_keys
        self._size = max(1, round(batch_seconds * 50 / frames))

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (order + 1,) of the values, over ten thousand frames."""
        values = self._arrays["values"]
        rows = np.random.default_rng(0).choice(len(values), 10_000)
        sample = np.asarray(values[np.sort(rows)], np.float32).reshape(len(rows) * STACK, -1)
        return sample.mean(0), sample.std(0)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """What ``INPUTS`` names, as ``SourceFilter.forward`` takes it, and ``samples`` (B, T)."""
        rng = np.random.default_rng([self._seed, step])
        rows = rng.choice(len(self._rows), size=self._size, p=self._weights)
        crops = [self._crop(self._rows[row], rng) for row in rows]
        return {name: torch.from_numpy(np.stack([crop[name] for crop in crops])) for name in crops[0]}

    def _crop(self, row: dict[str, Any], rng: np.random.Generator) -> dict[str, np.ndarray]:
        count = self._frames
        first = int(rng.integers(0, row["keys_n"] - count + 1))
        rows = slice(row["keys_at"] + first, row["keys_at"] + first + count)
        length = HOP * (count - 1) + WINDOW
        start = row["samples_at"] + HOP * first
        samples = self._arrays["samples"][start : start + length].astype(np.float32) / 32768
        contour = row["f0_at"] + np.minimum(STACK * first + 1 + np.arange(STACK * count), row["f0_n"] - 1)
        f0 = self._arrays["f0"][contour].astype(np.float32)
        values, keys, all_values = self._frames_of(row, rows, rng)
        gain = float(rng.uniform(-GAIN, GAIN / 2))
        order = values.shape[1] // STACK - 1
        _amplify((values, all_values), gain)
        return {
            "samples": samples * np.float32(np.exp(gain)),
            "values": values,
            "keys": keys,
            "f0": f0,
            "voice": voice_statistics(torch.from_numpy(all_values), order).numpy(),
            "pulse": pulse_train(f0, length),
            "noise": rng.standard_normal(length, dtype=np.float32),
        }

    def _frames_of(
        self, row: dict[str, Any], rows: slice, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and keys of the crop, and values of frames all over the recording; float32."""
        arrays = self._arrays
        k = int(rng.choice(self._neighbours))
        asked = arrays["keys" if rng.random() < OWN_KEYS else "queries"][rows].astype(np.float32)
        if self._strange_keys:
            others = arrays["strangers"][rows][:, : int(rng.choice(STRANGERS))]
            asked = _with_found(asked, arrays["keys"], others, self._strange_keys, rng)
        some = row["keys_at"] + np.sort(rng.choice(row["keys_n"], min(row["keys_n"], VOICE_FRAMES), replace=False))
        if rng.random() < self._own_values:
            return arrays["values"][rows].astype(np.float32), asked, arrays["values"][some].astype(np.float32)
        near, far = (np.array(arrays["neighbours"][which][:, :k]) for which in (rows, some))
        self._misplace(near, far, rng)
        return _mean(arrays["values"], near), asked, _mean(arrays["values"], far)

    def _misplace(self, near: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> None:
        """Give stretches of ``near`` (N, k), in place, neighbours out of ``others``."""
        for first in range(0, len(near), LONGEST_ERROR):
            if rng.random() < self._corrupt * LONGEST_ERROR / MEAN_ERROR:
                start, stop = np.sort(rng.integers(0, LONGEST_ERROR + 1, 2)) + first
                near[start:stop] = others[rng.integers(len(others), size=len(near[start:stop]))]


def _mean(frames: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(n, V) float32 means of the rows (n, k) of frames, each of which is read once."""
    order, inverse = np.unique(found, return_inverse=True)
    mean: np.ndarray = np.asarray(frames[order], np.float32)[inverse.reshape(found.shape)].mean(1)
    return mean


def _with_found(
    asked: np.ndarray, keys: np.ndarray, found: np.ndarray, chance: float, rng: np.random.Generator
) -> np.ndarray:
    """Keys (n, D) as asked or, by ``chance``, moved by a drawn share towards those of the frames found (n, k)."""
    if rng.random() >= chance:
        return asked
    share = np.float32(rng.random())
    return (1 - share) * asked + share * _mean(keys, found)


def _amplify(parts: Sequence[np.ndarray], gain: float) -> None:
    """Raise the level of WORLD values (n, V), in place, by the natural log of an amplitude."""
    for values in parts:
        order = values.shape[1] // STACK - 1
        values.reshape(-1, order + 1)[:, 0] += 2 * gain / _level_row(order)


def _level_row(order: int) -> float:
    """What the first number of the envelope adds to the log power of every bin."""
    from speechssl.vocoders import pulses

    return float(pulses.envelope_matrix(order, 16_000)[0, 0])
