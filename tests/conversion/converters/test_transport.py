"""The transport map against scipy's matrix square roots."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from helpers import random

from speechssl.conversion.converters import means, transport
from speechssl.errors import InputError


def transported(source, target, group):
    """MKL-VC's map by scipy's matrix square roots, group by group."""
    x, y = source.double().numpy(), target.double().numpy()
    order = np.argsort(-x.var(axis=0, ddof=1), kind="stable")
    ridge = 1e-6 * x.var(axis=0, ddof=1).mean()
    result = np.empty_like(x)
    for start in range(0, x.shape[1], group):
        dims = order[start : start + group]
        a = np.cov(x[:, dims], rowvar=False).reshape(len(dims), -1) + ridge * np.eye(len(dims))
        b = np.cov(y[:, dims], rowvar=False).reshape(len(dims), -1) + ridge * np.eye(len(dims))
        root = np.real(scipy.linalg.sqrtm(a))
        inverse = np.linalg.inv(root)
        matrix = inverse @ np.real(scipy.linalg.sqrtm(root @ b @ root)) @ inverse
        result[:, dims] = (x[:, dims] - x[:, dims].mean(axis=0)) @ matrix.T + y[:, dims].mean(axis=0)
    return result


@pytest.mark.parametrize("group", [1, 2, 3, 7])
@pytest.mark.parametrize("dim", [7, 8])
def test_transport_is_the_formula(group, dim):
    mix = random(dim, dim, seed=5)
    source = random(400, dim) @ mix * torch.logspace(0, 2, dim) + 3
    target = (random(150, dim, seed=1) @ random(dim, dim, seed=6) - 2).half()
    got = transport.fit_transport(source, target, group=group)(source)
    np.testing.assert_allclose(got, transported(source, target, group), rtol=1e-4, atol=1e-4)


def test_transport_moves_the_moments():
    source, target = random(5000, 6) * torch.arange(1.0, 7), random(4000, 6, seed=1) @ random(6, 6, seed=2) + 1
    moved = transport.fit_transport(source, target, group=6)(source)
    np.testing.assert_allclose(moved.mean(dim=0), target.mean(dim=0), atol=1e-4)
    np.testing.assert_allclose(moved.T.cov(), target.T.cov(), atol=1e-2)


def test_transport_to_oneself_is_the_identity():
    source = random(100, 9) * 5 + 2
    moved = transport.fit_transport(source, source)(source)
    np.testing.assert_allclose(moved, source, atol=1e-4)


def test_transport_keeps_constant_dimensions_in_place():
    source, target = random(100, 4), random(100, 4, seed=1)
    source[:, 1], target[:, 1] = 5.0, 7.0
    moved = transport.fit_transport(source, target)(source)
    np.testing.assert_allclose(moved[:, 1], 7.0, atol=1e-3)
    assert bool(moved.isfinite().all())
    flat = transport.fit_transport(torch.ones(10, 3), torch.full((10, 3), 2.0))(torch.ones(10, 3))
    np.testing.assert_allclose(flat, 2.0)


def test_transport_does_not_depend_on_how_much_is_gathered_at_a_time(monkeypatch):
    source, target = random(500, 6), random(300, 6, seed=1)
    whole = transport.fit_transport(source, target)(source)
    monkeypatch.setattr(means, "GATHERED", 500)
    torch.testing.assert_close(transport.fit_transport(source, target)(source), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("num_source", "num_target", "group"), [(5, 100, 2), (100, 5, 2), (100, 100, 0)])
def test_transport_of_too_little_is_refused(num_source, num_target, group):
    with pytest.raises(InputError, match="at least"):
        transport.fit_transport(random(num_source, 4), random(num_target, 4), group=group)
