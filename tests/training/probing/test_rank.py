"""RankMe of layers, against its definition in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from speechssl.training.probing.rank import rank


def test_it_is_the_entropy_of_the_singular_values_of_frames_that_are_not_centred() -> None:
    rng = np.random.default_rng(0)
    encoded = [[rng.normal(size=(count, 5)).astype(np.float32) + 2] for count in (7, 30)]
    (row,) = rank(encoded, ["small/1"])
    values = np.linalg.svd(np.concatenate([one[0] for one in encoded]).astype(np.float64), compute_uv=False)
    share = values / values.sum() + 1e-7
    assert row["rank_me"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)
    assert (row["origin"], row["dim"], row["frames"]) == ("small/1", 5, 37)


def test_frames_are_taken_from_all_recordings() -> None:
    apart = np.eye(4, dtype=np.float32)
    encoded = [[np.repeat(apart[[number]], 50, axis=0)] for number in range(4)]
    (row,) = rank(encoded, ["small/1"], frames=40)
    assert row["frames"] == 40
    assert row["rank_me"] == pytest.approx(4.0, rel=1e-3)
