"""Means, interpolation and blends against their formulas in numpy float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import random

from speechssl.conversion.converters import means
from speechssl.conversion.retrieval import Neighbours
from speechssl.errors import InputError


def test_uniform_is_the_mean(case):
    _, _, values, near = case
    got = means.weighted_mean(values, near.indices, means.uniform_weights(near))
    expected = values.double().numpy()[near.indices.numpy()].mean(axis=1)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert got.dtype == torch.float32


def test_distance_weights(case):
    _, _, values, near = case
    got = means.weighted_mean(values, near.indices, means.distance_weights(near))
    for t in range(len(near)):
        weights = [1 / (d + 1e-8) for d in near.distances[t].tolist()]
        rows = values.double().numpy()[near.indices[t].numpy()]
        expected = sum(w * row for w, row in zip(weights, rows, strict=True)) / sum(weights)
        np.testing.assert_allclose(got[t], expected, atol=1e-6)


def test_distance_weights_at_distance_zero():
    weights = means.distance_weights(Neighbours(torch.zeros(1, 2).long(), torch.tensor([[0.0, 0.5]]).double()))
    np.testing.assert_allclose(weights, [[1, 0]], atol=1e-7)


def test_means_do_not_depend_on_how_much_is_gathered_at_a_time(case, monkeypatch):
    _, _, values, near = case
    whole = means.weighted_mean(values, near.indices, means.distance_weights(near))
    monkeypatch.setattr(means, "GATHERED", 60)
    parts = means.weighted_mean(values, near.indices, means.distance_weights(near))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-7)


def test_interpolation():
    source, retrieved = random(5, 3), random(5, 3, seed=1)
    assert torch.equal(means.interpolate(source, retrieved, 1.0), retrieved)
    assert torch.equal(means.interpolate(source, retrieved, 0.0), source)
    expected = 0.3 * retrieved.double().numpy() + 0.7 * source.double().numpy()
    np.testing.assert_allclose(means.interpolate(source, retrieved, 0.3), expected, atol=1e-6)


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_interpolation_outside_is_refused(amount):
    with pytest.raises(InputError, match="between 0"):
        means.interpolate(random(2, 2), random(2, 2), amount)


def test_interpolation_of_other_shapes_is_refused():
    with pytest.raises(InputError, match="shape"):
        means.interpolate(random(2, 2), random(2, 3), 0.5)


def test_blends():
    parts = [random(5, 3, seed=i) for i in range(3)]
    expected = (1 * parts[0].double() + 0 * parts[1].double() + 3 * parts[2].double()) / 4
    np.testing.assert_allclose(means.blend(parts, [1, 0, 3]), expected, atol=1e-6)
    assert torch.equal(means.blend(parts[:1], [5]), parts[0])


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [2.0, -1.0], [1.0, float("inf")], [float("nan"), 1.0], []])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(InputError, match="weight"):
        means.blend([random(2, 2), random(2, 2)], weights)
