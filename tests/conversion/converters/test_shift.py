"""The shift against its formula, with lists and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import cosine, random

from speechssl.conversion.converters import shift
from speechssl.conversion.converters.means import Surroundings
from speechssl.conversion.retrieval import nearest


def shifted(queries, source_values, own_keys, own_values, keys, values, k):
    """The formula of ``moved``, with lists and loops."""
    voice_rows, own_rows = [], []
    for query in queries:
        target = sorted(range(len(keys)), key=lambda i: (cosine(query, keys[i]), i))[:k]
        own = sorted(range(len(own_keys)), key=lambda j: (cosine(query, own_keys[j]), j))[:k]
        voice_rows.append(values.double().numpy()[target])
        own_rows.append(own_values.double().numpy()[own])
    voice_rows, own_rows = np.array(voice_rows), np.array(own_rows)
    spread = np.sqrt(voice_rows.var(axis=1).mean(axis=0))
    kept = source_values.double().numpy() - own_rows.mean(axis=1)
    return voice_rows.mean(axis=1) + np.clip(kept, -3 * spread, 3 * spread)


@pytest.mark.parametrize("more", [0, 15])
def test_shift_is_the_formula(more):
    queries, source_values = random(40, 6), random(40, 5, seed=1)
    own_keys = torch.cat([queries, random(more, 6, seed=4)])
    own_values = torch.cat([source_values, random(more, 5, seed=5)])
    keys, values = random(90, 6, seed=2), random(90, 5, seed=3) * torch.tensor([0.1, 0.9, 1.2, 1.5, 9.0])
    own = nearest(queries, own_keys, k=8)
    got = shift.moved(
        source_values,
        Surroundings(own_values, own),
        Surroundings(values, nearest(queries, keys, k=8)),
    )
    expected = shifted(queries, source_values, own_keys, own_values, keys, values, 8)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_shift_undoes_a_constant_difference_between_voices():
    # the same speech in two voices that differ by a constant, which is what the shift should find
    # (little spread beside it: what is kept of a frame is held within the spread)
    keys, values, offset = random(200, 8), random(200, 5, seed=1).tanh(), torch.tensor([3.0, -2.0, 0.5, 0.0, 10.0])
    near = nearest(keys, keys, k=16)
    got = shift.moved(values, Surroundings(values, near), Surroundings(values + offset, near))
    torch.testing.assert_close(got, values + offset)


def test_shift_holds_a_burst_beside_silence_within_the_voice():
    keys, values = random(64, 4), random(64, 3, seed=1) * 0.1
    source = values.clone()
    source[7] += 8.0
    near = nearest(keys, keys, k=16)
    got = shift.moved(source, Surroundings(values, near), Surroundings(values, near))
    assert (got - values)[7].max() < 1.0
    torch.testing.assert_close(got[8:], values[8:])


def test_shift_may_keep_less_detail_and_take_fewer_frames_of_the_voice():
    queries, source_values = random(40, 6), random(40, 5, seed=1)
    keys, values = random(90, 6, seed=2), random(90, 5, seed=3)
    own, near = nearest(queries, queries, k=8), nearest(queries, keys, k=8)
    parts = (source_values, Surroundings(source_values, own), Surroundings(values, near))
    got = shift.moved(*parts, detail=0.25, count=2)
    whole = shift.moved(*parts).numpy() - values.numpy()[near.indices.numpy()].mean(1)
    expected = 0.25 * whole + values.numpy()[near.indices.numpy()[:, :2]].mean(1)
    np.testing.assert_allclose(got, expected, atol=1e-5)
