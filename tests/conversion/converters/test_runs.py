"""The best path against all paths, and what is made of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
import types

import numpy as np
import pytest
import torch
from helpers import cosine, random
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.conversion.converters import means, runs
from speechssl.conversion.converters.means import Candidates
from speechssl.conversion.retrieval import nearest
from speechssl.errors import InputError


def test_a_frame_taken_is_heard_beside_the_mean_of_the_nearest(case):
    queries, keys, values, _ = case
    near = nearest(queries, keys, k=16)
    path = torch.arange(25) % 16
    trace = runs.with_nearest(path, near, 3)
    rows = values.double().numpy()
    taken = rows[near.indices.numpy()[np.arange(25), path.numpy()]]
    expected = 0.6 * taken + 0.4 * rows[near.indices[:, :3].numpy()].mean(1)
    np.testing.assert_allclose(means.weighted_mean(values, trace.indices, trace.weights), expected, atol=1e-6)
    np.testing.assert_allclose(trace.weights.sum(1), np.ones(25), atol=1e-12)
    assert torch.equal(trace.distances[:, 0], near.distances[torch.arange(25), path])
    assert torch.equal(trace.distances[:, 1:], near.distances[:, :3])


def one_recording(frames):
    """Whether the next frame follows: for all but the last."""
    return torch.arange(frames) < frames - 1


def pitch_step(f0, i, j):
    """Of the frames i and j, in spreads of the voice's log-F0, in plain Python."""
    means = [[math.log(hertz) for hertz in row if hertz > 0] for row in f0.tolist()]
    means = [sum(row) / len(row) if row else None for row in means]
    if means[i] is None or means[j] is None:
        return 0.0 if means[i] is means[j] else 1.0
    spread = float(np.std([mean for mean in means if mean is not None])) or 1.0
    return min(abs(means[i] - means[j]) / spread, 3.0)


def path_cost(path, keys, near, follows, weight, f0=None):
    """The sum that best_path says it minimises, in plain Python."""
    total = sum(near.distances[t, c].item() for t, c in enumerate(path))
    for t in range(len(path) - 1):
        i, j = near.indices[t, path[t]].item(), near.indices[t + 1, path[t + 1]].item()
        after = i + 1 if follows[i] else i
        join = cosine(keys[after], keys[j]) + (0.0 if f0 is None else 0.2 * pitch_step(f0, after, j))
        total += 0.0 if follows[i] and j == after else weight * join
    return total


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    frames=st.integers(1, 6),
    k=st.integers(1, 3),
    weight=st.sampled_from([0.0, 0.2, 1, 5]),
    pitched=st.booleans(),
)
def test_the_best_path_is_the_best_of_all(seed, frames, k, weight, pitched):
    keys, queries = random(12, 4, seed=seed), random(frames, 4, seed=seed + 1)
    follows = one_recording(12)
    follows[4] = False
    f0 = (120 + 30 * random(12, 4, seed=seed + 2)) * (random(12, 4, seed=seed + 3) > 0.2) if pitched else None
    near = nearest(queries, keys, k=k)
    path = runs.best_path(keys, near, follows, join_weight=weight, f0=f0).tolist()
    every = [path_cost(p, keys, near, follows, weight, f0) for p in itertools.product(range(k), repeat=frames)]
    assert path_cost(path, keys, near, follows, weight, f0) == pytest.approx(min(every), abs=1e-9)


def test_a_free_join_takes_the_nearest():
    keys, queries = random(50, 6), random(20, 6, seed=1)
    path = runs.best_path(keys, nearest(queries, keys, k=5), one_recording(50), join_weight=0)
    assert not path.any()


def test_runs_are_kept_together():
    keys = random(200, 16)
    # a copy of frames 50 to 69 with noise, so that others are sometimes nearer
    near = nearest(keys[50:70] + 0.7 * random(20, 16, seed=3), keys, k=8)
    follows = one_recording(200)
    path = runs.best_path(keys, near, follows, join_weight=1.0)
    chosen = near.indices.gather(1, path[:, None])[:, 0]
    assert (near.indices[:, 0].diff() == 1).float().mean() < (chosen.diff() == 1).float().mean()
    assert torch.equal(chosen, torch.arange(50, 70))


def test_the_best_path_does_not_depend_on_how_much_is_gathered_at_a_time(monkeypatch):
    keys, queries = random(200, 16), random(90, 16, seed=1)
    near, follows = nearest(queries, keys, k=6), one_recording(200)
    whole = runs.best_path(keys, near, follows)
    monkeypatch.setattr(means, "GATHERED", 1000)
    assert torch.equal(runs.best_path(keys, near, follows), whole)


def test_a_negative_join_weight_is_refused(case):
    _, keys, _, near = case
    with pytest.raises(InputError, match="join weight"):
        runs.best_path(keys, near, one_recording(300), join_weight=-1)


def test_the_unlikeness_of_values_is_measured_in_spreads():
    values, scale = torch.tensor([[0.0, 0.0], [2.0, 3.0], [4.0, 0.0]]), torch.tensor([2.0, 3.0])
    found = runs.unlikeness(
        values.half(), torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0.0, 0.0], [2.0, 3.0]]), scale
    )
    np.testing.assert_allclose(found, [[0.0, 1.0], [0.0, 1.0]], atol=1e-6)


def test_the_frame_taken_is_the_one_that_sounds_as_predicted(two, monkeypatch):
    source = two[0]
    values = torch.randn(len(two[1]), 5, generator=torch.Generator().manual_seed(0))
    voice = dataclasses.replace(two[1], values=values, value_origin="values/1")
    near = nearest(source.keys.frames, voice.keys, k=16)
    predictor = types.SimpleNamespace(scale=torch.ones(5))
    given = Candidates(source, voice, near, 3, predictor=predictor)
    wanted = near.indices[torch.arange(len(near)), torch.arange(len(near)) % 16]
    monkeypatch.setattr(runs, "predicted", lambda _: values[wanted])
    monkeypatch.setattr(runs, "VALUE_WEIGHT", 100.0)
    monkeypatch.setattr(runs, "share_at", lambda coverage: 0.4)
    frames, trace = runs.selection(given)
    assert torch.equal(trace.indices[:, 0], wanted)
    np.testing.assert_allclose(trace.weights.sum(1), 0.6)
    alone = means.weighted_mean(values, trace.indices, trace.weights / 0.6)
    np.testing.assert_allclose(frames, alone.lerp(values[wanted], 0.4), atol=1e-5)


def test_without_a_predictor_the_keys_alone_decide(two):
    source, voice = two
    near = nearest(source.keys.frames, voice.keys, k=16)
    frames, trace = runs.continuous(Candidates(source, voice, near, 3))
    path = runs.best_path(voice.keys, near, voice.follows())
    assert torch.equal(trace.indices[:, 0], near.indices.gather(1, path[:, None])[:, 0])
    np.testing.assert_allclose(trace.weights.sum(1), 1.0)
    assert torch.equal(frames, means.weighted_mean(voice.values, trace.indices, trace.weights))
