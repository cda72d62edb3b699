"""Regression: the map of a voice from its keys to its values, mixed with the mean of the nearest frames."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from speechssl.conversion.converters import means, regression
from speechssl.conversion.converters.means import Candidates
from speechssl.conversion.predictor import PredictorConfig, PredictorNetwork, ValuePredictor
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


def candidates(voice, source, k=3, predictor=None):
    return Candidates(source, voice, nearest(source.keys.frames, voice.keys, k=k), k, predictor=predictor)


@pytest.fixture
def own(two):
    """A voice with values of its own, five numbers each."""
    values = torch.randn(len(two[1]), 5, generator=torch.Generator().manual_seed(0)).half()
    return dataclasses.replace(two[1], values=values, value_origin="values/1")


def expected_of(given, share):
    """By hand: the mean of the nearest, and what ridge regression of the whole voice says."""
    centre, mean, matrix = regression.fit_ridge(given.voice.keys, given.voice.values)
    predicted = (given.source.keys.frames.float() - centre) @ matrix + mean
    return (1 - share) * means.uniform(given)[0] + share * predicted


def test_the_share_of_the_map_rises_as_the_coverage_falls():
    shares = [regression.share_at(coverage) for coverage in (0.0, 0.72, 0.745, 0.77, 1.0)]
    assert shares == pytest.approx([0.7, 0.7, 0.35, 0.0, 0.0])


def test_it_is_the_mean_mixed_with_the_map_where_neighbours_are_far(two, own, monkeypatch):
    source = two[0]
    given = candidates(own, source)
    monkeypatch.setattr(regression, "share_at", lambda coverage: 0.5)
    frames, trace = regression.regressed(given)
    np.testing.assert_allclose(frames, expected_of(given, 0.5), atol=1e-5)
    np.testing.assert_allclose(trace.weights.sum(1), 0.5)
    # near neighbours need no map
    monkeypatch.undo()
    near = candidates(own, dataclasses.replace(source, keys=dataclasses.replace(source.keys, frames=own.keys.float())))
    assert torch.equal(regression.regressed(near)[0], means.uniform(near)[0])


def test_of_a_long_voice_evenly_spread_frames_are_fitted(two, own, monkeypatch):
    given = candidates(own, two[0])
    monkeypatch.setattr(regression, "share_at", lambda coverage: 1.0)
    monkeypatch.setattr(regression, "MOST", len(own) // 3 + 1)
    centre, mean, matrix = regression.fit_ridge(own.keys[::3], own.values[::3])
    expected = (two[0].keys.frames.float() - centre) @ matrix + mean
    np.testing.assert_allclose(regression.regressed(given)[0], expected, atol=1e-5)


def known_by_many(own, weight):
    """A predictor of random weights of that size: with 0 it says the same of every key."""
    size, dim = own.keys.shape[1], own.values.shape[1]
    network = PredictorNetwork(PredictorConfig(size, dim, hidden=8))
    for part in network.parameters():
        torch.nn.init.normal_(part, std=weight, generator=torch.Generator().manual_seed(1))
    network.scale.copy_(torch.arange(1.0, dim + 1))
    return ValuePredictor(network, key_origin=own.key_origin, value_origin=own.value_origin)


def test_a_predictor_that_says_nothing_gives_the_mean_of_the_voice(two, own, monkeypatch):
    monkeypatch.setattr(regression, "share_at", lambda coverage: 1.0)
    frames, _ = regression.regressed(candidates(own, two[0], predictor=known_by_many(own, 0.0)))
    np.testing.assert_allclose(frames, own.values.float().mean(0).expand_as(frames), atol=1e-3)


def test_what_a_predictor_says_is_moved_to_the_voice(two, own, monkeypatch):
    monkeypatch.setattr(regression, "share_at", lambda coverage: 1.0)
    predictor = known_by_many(own, 1.0)
    # a voice that says of each key what the predictor says, and one that has each number at another place and size
    for factor, offset in ((1.0, 0.0), (1.5, 7.0)):
        values = predictor(own.keys) * predictor.scale * factor + offset
        voice = dataclasses.replace(own, values=values)
        wanted = predictor(two[0].keys.frames) * predictor.scale * factor + offset
        monkeypatch.setattr(regression, "MOVED", 1e-6)
        frames, _ = regression.regressed(candidates(voice, two[0], predictor=predictor))
        np.testing.assert_allclose(frames, wanted, atol=2e-2)
        # a voice of few words is held to the predictor, but for its mean
        monkeypatch.setattr(regression, "MOVED", 1e9)
        again = dataclasses.replace(voice)
        frames, _ = regression.regressed(candidates(again, two[0], predictor=predictor))
        mean = values.mean(0) + (predictor(two[0].keys.frames) - predictor(own.keys).mean(0)) * predictor.scale
        np.testing.assert_allclose(frames, mean, atol=1e-2)


def test_a_voice_is_fitted_once(two, own, monkeypatch):
    asked = []
    real = regression.fit_ridge
    monkeypatch.setattr(regression, "fit_ridge", lambda *given: asked.append(1) or real(*given))
    monkeypatch.setattr(regression, "share_at", lambda coverage: 1.0)
    first = regression.regressed(candidates(own, two[0]))[0]
    assert torch.equal(regression.regressed(candidates(own, two[0]))[0], first)
    assert len(asked) == 1
    predictor = known_by_many(own, 1.0)
    assert not torch.equal(regression.regressed(candidates(own, two[0], predictor=predictor))[0], first)
    assert len(asked) == 2


def test_a_voice_whose_values_are_its_keys_keeps_the_mean(two):
    source, voice = two
    given = candidates(voice, source)
    frames, trace = regression.regressed(given)
    assert torch.equal(frames, means.uniform(given)[0])
    np.testing.assert_allclose(trace.weights.sum(1), 1.0)
