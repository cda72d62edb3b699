"""Distances to normal recordings, and areas under the curve against counting pairs."""

from __future__ import annotations

import numpy as np
import pytest

from speechssl.errors import InputError
from speechssl.training.probing import anomalies


def test_the_score_is_the_distance_to_the_nearest_normal_ones() -> None:
    rng = np.random.default_rng(0)
    normal, test = (rng.normal(size=(count, 4)).astype(np.float32) * [1, 5, 1, 1] + 3 for count in (7, 3))
    scaled = [(one - normal.mean(0)) / normal.std(0) for one in (normal, test)]
    for neighbours in (1, 3):
        found = anomalies.distances(normal, test, neighbours=neighbours)
        for row, value in zip(scaled[1], found, strict=True):
            lengths = [np.linalg.norm(row - one) for one in scaled[0]]
            assert value == pytest.approx(np.mean(sorted(lengths)[:neighbours]), rel=1e-4)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    scores, anomalous = rng.normal(size=40), np.arange(40) < 15
    scores[anomalous] += 0.7
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[anomalous] for b in scores[~anomalous]]
    found = anomalies.areas(scores, anomalous)
    assert found["auc"] == pytest.approx(np.mean(pairs))
    low, high = found["interval_95"]
    assert low < found["auc"] < high
    assert anomalies.areas(anomalous.astype(float), anomalous) == {"auc": 1.0, "interval_95": [1.0, 1.0], "pauc": 1.0}


def test_every_layer_has_a_row_and_the_one_that_hears_the_anomaly_finds_it() -> None:
    rng = np.random.default_rng(0)
    anomalous = np.arange(30) < 10
    normal = [[rng.normal(size=8).astype(np.float32) for _ in range(2)] for _ in range(40)]
    test = [[rng.normal(size=8).astype(np.float32) for _ in range(2)] for _ in range(30)]
    for one in normal:
        one[1][:4] += 4
    for one, other in zip(test, anomalous, strict=True):
        one[1][:4] += 0 if other else 4
    blind, hearing = anomalies.find(normal, test, anomalous, ["small/0", "small/1"])
    assert hearing["auc"] > 0.9 > blind["auc"]
    assert (blind["origin"], len(hearing["scores"])) == ("small/0", 30)


def test_one_kind_alone_and_too_few_normal_ones_are_refused() -> None:
    with pytest.raises(InputError, match="0 of 3 test recordings are anomalous"):
        anomalies.areas(np.ones(3), np.zeros(3, bool))
    with pytest.raises(InputError, match="1 normal recordings; at least 2"):
        anomalies.distances(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32))
