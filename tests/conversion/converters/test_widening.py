"""Widened frames against the formula in numpy float64."""

from __future__ import annotations

import numpy as np
import torch
from helpers import random

from speechssl.conversion.converters import widening
from speechssl.conversion.converters.means import Surroundings
from speechssl.conversion.retrieval import Neighbours, nearest


def test_widened_frames_have_the_spread_of_single_frames():
    queries, keys = random(200, 12, seed=2), random(3000, 12).half()
    values = (random(3000, 7, seed=1) + 3).half()
    near = nearest(queries, keys, k=2)
    means = values.double().numpy()[near.indices.numpy()].mean(axis=1)
    alone = values.double().numpy()[near.indices.numpy()].reshape(-1, 7)
    # neighbours that have nothing in common: their means have the spread over the root of 2
    assert (alone.std(0) / means.std(0) > 1.3).all()
    centre = values.double().numpy().mean(0)
    for limit in (1.2, 9.0):
        got = widening.widened(torch.from_numpy(means).float(), Surroundings(values, near), limit)
        ratio = np.minimum(alone.std(0) / means.std(0), limit)
        np.testing.assert_allclose(got, centre + ratio * (means - centre), atol=1e-5)
        assert got.dtype == torch.float32


def test_frames_with_spread_enough_stay(case):
    _, _, values, near = case
    alike = Neighbours(near.indices[:, :1].expand(-1, 4), near.distances)
    frames = values.float()[near.indices[:, 0]]
    np.testing.assert_allclose(widening.widened(frames, Surroundings(values, alike), 2.0), frames, atol=1e-6)
    wide = 3 * frames
    np.testing.assert_allclose(widening.widened(wide, Surroundings(values, near), 2.0), wide, atol=1e-6)


def test_a_single_frame_is_widened_within_the_limit(case):
    _, _, values, near = case
    one = near.first(4)
    one = Neighbours(one.indices[:1], one.distances[:1])
    mean, centre = values.double()[near.indices[0]].mean(0), values.double().mean(0)
    got = widening.widened(mean[None].float(), Surroundings(values, one), 1.5)
    np.testing.assert_allclose(got[0], centre + 1.5 * (mean - centre), atol=1e-5)
