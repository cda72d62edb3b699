"""Regression: the map of a voice from its keys to its values, mixed with the mean of the nearest frames."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from speechssl.conversion.converters import means, regression
from speechssl.conversion.converters.means import Candidates
from speechssl.conversion.retrieval import nearest


def test_the_map_is_that_of_ridge_regression():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    keys, values = rng.standard_normal((200, 6)) + 2, rng.standard_normal((200, 4))
    centre, mean, matrix = regression.fit_ridge(torch.from_numpy(keys), torch.from_numpy(values), 0.3)
    square = np.square(keys - keys.mean(0)).sum(0).mean()
    theirs = Ridge(alpha=0.3 * square).fit(keys, values)
    found = (torch.from_numpy(keys).float() - centre) @ matrix + mean
    np.testing.assert_allclose(found, theirs.predict(keys), atol=1e-4)


@pytest.mark.parametrize("count", [1, 5])
def test_equal_keys_predict_the_mean(count):
    centre, mean, matrix = regression.fit_ridge(torch.ones(count, 3), torch.arange(2.0 * count).view(count, 2))
    assert torch.isfinite(matrix).all()
    predicted = (torch.ones(1, 3) - centre) @ matrix + mean
    np.testing.assert_allclose(predicted[0], torch.arange(2.0 * count).view(count, 2).mean(0), atol=1e-5)


def candidates(voice, source, k=3):
    return Candidates(source, voice, nearest(source.keys.frames, voice.keys, k=k), k)


def test_the_share_of_the_map_rises_as_the_coverage_falls():
    shares = [regression.share_at(coverage) for coverage in (0.0, 0.72, 0.745, 0.77, 1.0)]
    assert shares == pytest.approx([0.5, 0.5, 0.25, 0.0, 0.0])


def test_it_is_half_the_mean_and_half_the_map_where_neighbours_are_far(two, monkeypatch):
    source, voice = two
    values = torch.randn(len(voice), 5, generator=torch.Generator().manual_seed(0)).half()
    own = dataclasses.replace(voice, values=values, value_origin="values/1")
    given = candidates(own, source)
    monkeypatch.setattr(regression, "share_at", lambda coverage: 0.5)
    frames, trace = regression.regressed(given)
    centre, mean, matrix = regression.fit_ridge(own.keys, own.values)
    expected = 0.5 * means.uniform(given)[0] + 0.5 * ((source.keys.frames.float() - centre) @ matrix + mean)
    np.testing.assert_allclose(frames, expected, atol=1e-5)
    np.testing.assert_allclose(trace.weights.sum(1), 0.5)
    # with more frames than are fitted, evenly spread ones are taken
    monkeypatch.setattr(regression, "MOST", len(own) // 3 + 1)
    centre, mean, matrix = regression.fit_ridge(own.keys[::3], own.values[::3])
    expected = 0.5 * means.uniform(given)[0] + 0.5 * ((source.keys.frames.float() - centre) @ matrix + mean)
    np.testing.assert_allclose(regression.regressed(given)[0], expected, atol=1e-5)
    # near neighbours need no map
    monkeypatch.undo()
    near = candidates(own, dataclasses.replace(source, keys=dataclasses.replace(source.keys, frames=own.keys.float())))
    assert torch.equal(regression.regressed(near)[0], means.uniform(near)[0])


def test_a_voice_whose_values_are_its_keys_keeps_the_mean(two):
    source, voice = two
    given = candidates(voice, source)
    frames, trace = regression.regressed(given)
    assert torch.equal(frames, means.uniform(given)[0])
    np.testing.assert_allclose(trace.weights.sum(1), 1.0)
