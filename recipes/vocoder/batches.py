"""Training batches from the cache of ``prepare.py``: a pure function of (cache, settings, seed, step)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechssl.training.objectives.impersonation import hiss
from speechssl.training.objectives.resynthesis import CONVERTED
from speechssl.vocoders.source_filter import pulse_train, voice_statistics
from speechssl.voices import pitch

STACK, HOP, WINDOW = 4, 320, 400
NEIGHBOURS = (1, 2, 4, 4, 4, 4, 8, 8)  # how many of the found frames are averaged, drawn from these
OWN_VALUES = 0.12  # share of crops that are copied, with their own frames
OWN_KEYS = 0.25  # share of crops whose keys are those of the undistorted recording
STRANGERS = (1, 2, 4, 8)  # how many frames of other speakers their keys are the mean of, drawn from these
GAIN = 1.2  # natural log of amplitude: +-10 dB
LONGEST_ERROR, MEAN_ERROR = 6, 2.29  # frames of 20 ms
VOICE_FRAMES = 256  # of the recording, whose statistics tell the voice
POOL_FRAMES = 3000  # of the target, a minute, that a conversion chooses among
CONVERTED_NEIGHBOURS = (1, 2, 4, 4)
HEARD = 80_000  # samples of the target, 5 s, that tell its voice
INPUTS = ("values", "keys", "f0", "voice", "pulse", "noise")


class VocoderBatches:
    """Draws batches of crops.

    Args:
        cache: folder written by ``prepare.py``.
        frames: 20 ms frames a crop.
        batch_seconds: audio per batch.
        split: ``train`` or ``dev``.
        corrupt: share of the frames, in stretches of up to 120 ms, whose values are those found for another moment:
            retrieval between speakers errs more than within one, and then the keys tell what is said.
        neighbours: how many of the found frames are averaged, drawn from these.
        own_voice: statistics of the recording's own frames tell the voice, not those of the found.
        own_values: share of the crops that are copied, with their own frames.
        retrieved_keys: share of the crops whose keys are, by a share drawn anew, those of the frames found.
        strange_keys: share of the crops whose keys are, by a share drawn anew, those of other speakers' frames: in a
            conversion it is somebody else who says the words, so that a voice must not be taken from the keys.
        returned: share of the crops whose values are those that strangers' keys find, as in a conversion.
        plain: crops as a conversion has them: four neighbours, no gain.
        conversions: crops a batch, each from one speaker to another, beside the others.
        embed: samples (1, T) to the unit embedding (1, E) of who speaks; for conversions.
    """

    def __init__(
        self,
        cache: Path,
        *,
        frames: int,
        batch_seconds: float,
        seed: int,
        split: str = "train",
        corrupt: float = 0.0,
        neighbours: Sequence[int] = NEIGHBOURS,
        own_voice: bool = False,
        retrieved_keys: float = 0.0,
        strange_keys: float = 0.0,
        returned: float = 0.0,
        own_values: float = OWN_VALUES,
        plain: bool = False,
        conversions: int = 0,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        index: list[dict[str, Any]] = json.loads((cache / "index.json").read_text())
        self._rows = [row for row in index if row["split"] == split and row["keys_n"] > frames]
        if not self._rows:
            raise SystemExit(f"{cache}: no recordings of split {split!r} with more than {frames} frames")
        names = ["samples", "f0", "keys", "values", "queries", "neighbours"]
        for name, share in (("strangers", strange_keys), ("returned", returned)):
            if share:
                names.append(name)
                if not (cache / f"{name}.npy").exists():
                    raise SystemExit(f"{cache}: no {name}.npy; prepare.py writes it where there are several speakers")
        self._arrays = {name: np.load(cache / f"{name}.npy", mmap_mode="r") for name in names}
        seconds: dict[tuple[str, str], float] = {}
        for row in self._rows:
            who = row["corpus"], row["speaker"]
            seconds[who] = seconds.get(who, 0.0) + row["keys_n"] / 50
        # speakers of a few seconds come more often than their seconds: by the root of what there is of each
        weights = np.array([row["keys_n"] / seconds[row["corpus"], row["speaker"]] ** 0.5 for row in self._rows])
        self._weights = weights / weights.sum()
        self._frames, self._seed, self._plain, self._corrupt = frames, seed, plain, corrupt
        self._neighbours, self._own_voice, self._retrieved_keys = tuple(neighbours), own_voice, retrieved_keys
        self._own_values, self._strange_keys, self._returned = own_values, strange_keys, returned
        self._size = max(1, round(batch_seconds * 50 / frames))
        self._embed = embed
        # longer than the others, for a second is not enough to tell a speaker by
        self._conversions = None
        if conversions:
            self._conversions = Conversions(self._rows, self._arrays, 2 * frames, own_voice, retrieved_keys)
        self._num_conversions = conversions

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
        batch = _stacked([self._crop(self._rows[row], rng) for row in rows])
        if self._conversions is None or self._embed is None:
            return batch
        pairs = [rng.choice(len(self._rows), size=2, p=self._weights) for _ in range(self._num_conversions)]
        crops = [self._conversions(self._rows[a], self._rows[b], rng, self._embed) for a, b in pairs]
        return batch | _stacked(crops)

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
        gain = 0.0 if self._plain else float(rng.uniform(-GAIN, GAIN / 2))
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
        k = 4 if self._plain else int(rng.choice(self._neighbours))
        asked = arrays["keys" if rng.random() < OWN_KEYS and not self._plain else "queries"][rows].astype(np.float32)
        if not self._plain and self._strange_keys:
            others = arrays["strangers"][rows][:, : int(rng.choice(STRANGERS))]
            asked = _with_found(asked, arrays["keys"], others, self._strange_keys, rng)
        some = row["keys_at"] + np.sort(rng.choice(row["keys_n"], min(row["keys_n"], VOICE_FRAMES), replace=False))
        if not self._plain and rng.random() < self._own_values:
            return arrays["values"][rows].astype(np.float32), asked, arrays["values"][some].astype(np.float32)
        found = "returned" if self._returned and not self._plain and rng.random() < self._returned else "neighbours"
        near, far = (np.array(arrays[found][which][:, :k]) for which in (rows, some))
        self._misplace(near, far, rng)
        if not self._plain:
            asked = _with_found(asked, arrays["keys"], near, self._retrieved_keys, rng)
        voice = arrays["values"][some].astype(np.float32) if self._own_voice else _mean(arrays["values"], far)
        return _mean(arrays["values"], near), asked, voice

    def _misplace(self, near: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> None:
        """Give stretches of ``near`` (N, k), in place, neighbours out of ``others``."""
        for first in range(0, len(near), LONGEST_ERROR):
            if not self._plain and rng.random() < self._corrupt * LONGEST_ERROR / MEAN_ERROR:
                start, stop = np.sort(rng.integers(0, LONGEST_ERROR + 1, 2)) + first
                near[start:stop] = others[rng.integers(len(others), size=len(near[start:stop]))]


class Conversions:
    """Crops of one speaker said with the frames of another, as the package converts them.

    Args:
        rows: recordings.
        arrays: of the cache, by name.
        frames: 20 ms frames a crop; at most as long as the recording is taken.
        own_voice, retrieved_keys: see ``VocoderBatches``.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        arrays: dict[str, np.ndarray],
        frames: int,
        own_voice: bool = False,
        retrieved_keys: float = 0.0,
    ) -> None:
        self._arrays, self._frames = arrays, frames
        self._own_voice, self._retrieved_keys = own_voice, retrieved_keys
        self._speakers: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            self._speakers.setdefault(_who(row), []).append(row)

    def __call__(
        self,
        source: dict[str, Any],
        target: dict[str, Any],
        rng: np.random.Generator,
        embed: Callable[[Tensor], Tensor],
    ) -> dict[str, np.ndarray]:
        """Inputs of the network under names that begin with ``CONVERTED``, and what the result is held to."""
        arrays, count = self._arrays, self._frames
        others = self._speakers[_who(target)]
        pool = [others[i] for i in rng.permutation(len(others))]
        pool = pool[: 1 + int(np.searchsorted(np.cumsum([row["keys_n"] for row in pool]), POOL_FRAMES))]
        # a recording that is too short is said again from its start
        places = source["keys_at"] + (int(rng.integers(0, source["keys_n"])) + np.arange(count)) % source["keys_n"]
        start = (places - source["keys_at"])[0]
        length = HOP * (count - 1) + WINDOW
        contours = [self._contour(row) for row in (source, *pool)]
        own, wanted = pitch.statistics(contours[0]), pitch.pool([pitch.statistics(one) for one in contours[1:]])
        moved = pitch.transform(contours[0], own, wanted).numpy()
        f0 = moved[(STACK * start + 1 + np.arange(STACK * count)) % len(moved)].astype(np.float32)
        k = int(rng.choice(CONVERTED_NEIGHBOURS))
        some = source["keys_at"] + rng.choice(source["keys_n"], min(source["keys_n"], count), replace=False)
        near, frames = self._found(np.concatenate([places, some]), pool, k)
        values = _mean(arrays["values"], near)
        everywhere = values.copy()
        if self._own_voice:
            everywhere = arrays["values"][np.sort(rng.choice(frames, VOICE_FRAMES))].astype(np.float32)
        keys = arrays["keys"][places].astype(np.float32)
        keys = _with_found(keys, arrays["keys"], near[:count], self._retrieved_keys, rng)
        gain = float(rng.uniform(-GAIN, GAIN / 2))
        order = values.shape[1] // STACK - 1
        _amplify((values, everywhere), gain)
        crop = {
            "values": values[:count],
            "keys": keys,
            "f0": f0,
            "voice": voice_statistics(torch.from_numpy(everywhere), order).numpy(),
            "pulse": pulse_train(f0, length),
            "noise": rng.standard_normal(length, dtype=np.float32),
        }
        said = source["samples_at"] + (HOP * start + np.arange(length)) % source["samples_n"]
        heard = pool[0]["samples_at"] + np.arange(min(pool[0]["samples_n"], HEARD))
        spoken = torch.from_numpy(arrays["samples"][heard].astype(np.float32) / 32768)[None]
        level, background = rng.random((1, 1), np.float32), rng.standard_normal(spoken.shape, np.float32)
        spoken = spoken + hiss(spoken, torch.from_numpy(level), torch.from_numpy(background))
        return {CONVERTED + name: value for name, value in crop.items()} | {
            "source": arrays["samples"][said].astype(np.float32) / 32768,
            "target": embed(spoken)[0].numpy(),
        }

    def _contour(self, row: dict[str, Any]) -> Tensor:
        found = self._arrays["f0"][row["f0_at"] : row["f0_at"] + row["f0_n"]]
        return torch.from_numpy(found.astype(np.float32))

    def _found(self, asked: np.ndarray, pool: list[dict[str, Any]], k: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, k) the frames of ``pool`` whose keys are nearest, and all of its frames; rows of the cache."""
        frames = np.concatenate([np.arange(row["keys_at"], row["keys_at"] + row["keys_n"]) for row in pool])
        units = [
            torch.nn.functional.normalize(torch.from_numpy(self._arrays["keys"][rows].astype(np.float32)), dim=1)
            for rows in (asked, frames)
        ]
        return frames[(units[0] @ units[1].T).topk(min(k, len(frames)), dim=1).indices.numpy()], frames


def _mean(frames: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(n, V) float32 means of the rows (n, k) of frames, each of which is read once."""
    order, inverse = np.unique(found, return_inverse=True)
    mean: np.ndarray = np.asarray(frames[order], np.float32)[inverse.reshape(found.shape)].mean(1)
    return mean


def _with_found(
    asked: np.ndarray, keys: np.ndarray, found: np.ndarray, chance: float, rng: np.random.Generator
) -> np.ndarray:
    """Keys (n, D) as asked or, by ``chance``, moved by a drawn share towards those of the frames found (n, k)."""
    if not chance or rng.random() >= chance:
        return asked
    share = np.float32(rng.random())
    return (1 - share) * asked + share * _mean(keys, found)


def _amplify(parts: Sequence[np.ndarray], gain: float) -> None:
    """Raise the level of WORLD values (n, V), in place, by the natural log of an amplitude."""
    for values in parts:
        order = values.shape[1] // STACK - 1
        values.reshape(-1, order + 1)[:, 0] += 2 * gain / _level_row(order)


def _stacked(crops: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.stack([crop[name] for crop in crops])) for name in crops[0]}


def _who(row: dict[str, Any]) -> tuple[str, str]:
    return row["corpus"], row["speaker"]


def _level_row(order: int) -> float:
    """What the first number of the envelope adds to the log power of every bin."""
    from speechssl.vocoders import pulses

    return float(pulses.envelope_matrix(order, 16_000)[0, 0])
