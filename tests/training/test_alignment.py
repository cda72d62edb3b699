"""Monotonic alignment search against every path there is, and on sounds that are easily told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from speechssl.errors import InputError
from speechssl.training import alignment


def cheapest(costs: np.ndarray, optional: np.ndarray) -> float:
    """Over all durations."""
    tokens, frames = costs.shape
    lowest = [0 if skip else 1 for skip in optional]
    sums = np.concatenate([np.zeros((tokens, 1)), costs.cumsum(axis=1)], axis=1)
    best = np.inf
    for durations in itertools.product(*(range(low, frames + 1) for low in lowest)):
        if sum(durations) == frames:
            ends = np.cumsum(durations)
            total = sum(
                sums[i, end] - sums[i, end - last] for i, (end, last) in enumerate(zip(ends, durations, strict=True))
            )
            best = min(best, total)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_the_path_is_the_cheapest(seed: int) -> None:
    random = np.random.default_rng(seed)
    tokens, frames = int(random.integers(1, 6)), int(random.integers(5, 8))
    optional = np.zeros(tokens, bool)
    if tokens > 1:
        optional[:: int(random.integers(2, 4))] = True
    costs = random.normal(size=(tokens, frames))
    durations = alignment.search(costs, optional)
    ends = np.cumsum(durations)
    total = sum(costs[i, end - last : end].sum() for i, (end, last) in enumerate(zip(ends, durations, strict=True)))
    assert durations.sum() == frames
    assert (durations[~optional] >= 1).all()
    assert total == pytest.approx(cheapest(costs, optional))


def test_without_pauses_it_is_the_search_of_glow_tts() -> None:
    original = pytest.importorskip("monotonic_alignment_search")
    import torch

    costs = np.random.default_rng(0).normal(size=(12, 40)).astype(np.float32)
    ours = alignment.search(costs, np.zeros(12, bool))
    mask = torch.ones(1, 12, 40)
    theirs = original.maximum_path(torch.from_numpy(-costs)[None], mask, implementation="numpy")
    assert ours.tolist() == theirs[0].sum(1).int().tolist()


def test_more_sounds_than_frames_are_refused() -> None:
    with pytest.raises(InputError, match="4 sounds cannot be aligned with 3 frames"):
        alignment.search(np.zeros((4, 3)), np.zeros(4, bool))


def test_durations_are_found_from_nothing_but_sound_and_text() -> None:
    random = np.random.default_rng(1)
    kinds, dim = 8, 16
    means = 2.5 * random.normal(size=(kinds, dim))
    keys, tokens, truth = [], [], []
    for _ in range(80):
        sounds = 1 + random.integers(0, kinds - 1, size=9)
        kind = np.concatenate([[0], *([sound, 0] if i % 3 == 2 else [sound] for i, sound in enumerate(sounds))])
        lasts = random.integers(2, 9, size=len(kind))
        lasts[kind == 0] = random.choice([0, 6], size=(kind == 0).sum())
        lasts[0] = 4
        keys.append(means[np.repeat(kind, lasts)] + random.normal(size=(lasts.sum(), dim)))
        tokens.append(kind)
        truth.append(lasts)
    optional = np.arange(kinds) == 0
    found = alignment.align(keys, tokens, optional, kinds=kinds, dim=8)
    wrong = [np.abs(np.cumsum(a) - np.cumsum(b)) for a, b in zip(found, truth, strict=True)]
    assert np.mean(np.concatenate(wrong) <= 1) > 0.9
