"""Exact search: equal to a brute-force float64 oracle whatever the sizes, types, ties and rounding."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import forking
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.conversion import retrieval
from speechssl.conversion.retrieval import BLOCK_KEYS, cosine_distances, error_bound, nearest
from speechssl.encoders import rounding
from speechssl.encoders.rounding import HALF
from speechssl.errors import InputError

PRODUCTS = ("float32", "bfloat16")


def brute_force(queries, keys, k):
    """Every distance in float64, sorted by (distance, index)."""
    q, x = np.asarray(queries, dtype=np.float64), np.asarray(keys, dtype=np.float64)
    indices, distances = [], []
    for row in q:
        d = cosine_distances(np.broadcast_to(row, x.shape), x)
        order = np.lexsort((np.arange(len(d)), d))[:k]
        indices.append(order)
        distances.append(d[order])
    return np.array(indices), np.array(distances)


def nearest_by(products, queries, keys, k):
    """Candidates by these products, whatever the processor."""
    with mock.patch.object(rounding, "has_fast_bfloat16", return_value=products == "bfloat16"):
        return nearest(queries, keys, k=k)


def assert_exact(queries, keys, k, products="float32"):
    found = nearest_by(products, queries, keys, k)
    indices, distances = brute_force(queries, keys, k)
    np.testing.assert_array_equal(found.indices.numpy(), indices)
    np.testing.assert_array_equal(found.distances.numpy(), distances)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_definition_is_the_cosine_distance():
    a, b = random(50, 33).double().numpy(), random(50, 33, seed=1).double().numpy()
    expected = [1 - sum(x * y) / (sum(x * x) ** 0.5 * sum(y * y) ** 0.5) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(cosine_distances(a, b), expected, atol=1e-14)
    assert cosine_distances(a, a).tolist() == [0.0] * 50
    np.testing.assert_allclose(cosine_distances(a, -a), 2.0)


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize(
    ("num_keys", "num_queries", "dim", "k"),
    [
        (1, 3, 7, 1),
        (50, 5, 8, 50),
        (1025, 9, 33, 4),
        (5000, 20, 64, 4),
        (3000, 3, 16, 1500),
        (9000, 40, 12, 3),
        (9000, 300, 12, 3),
        (3001, 400, 24, 4),
    ],
)
def test_equals_brute_force(products, num_keys, num_queries, dim, k):
    assert_exact(random(num_queries, dim), random(num_keys, dim, seed=1).half(), k, products)


def test_equals_brute_force_for_a_million_frames():
    assert_exact(random(2, 8), random(1_000_000, 8, seed=1).half(), 8)


@settings(max_examples=60, deadline=None)
@given(
    num_keys=st.integers(1, 2500),
    num_queries=st.integers(1, 6),
    dim=st.integers(1, 40),
    share=st.floats(0, 1),
    # few distinct values: many exact ties, and keys that differ by next to nothing
    levels=st.sampled_from([1, 2, 1000]),
    offset=st.sampled_from([0.0, 30.0]),
    dtype=st.sampled_from([torch.float16, torch.float32]),
    products=st.sampled_from(PRODUCTS),
    seed=st.integers(0, 99),
)
def test_equals_brute_force_on_anything(num_keys, num_queries, dim, share, levels, offset, dtype, products, seed):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(1, levels + 1, (num_keys + num_queries, dim), generator=generator) / levels + offset
    keys = numbers[:num_keys].to(dtype)
    k = max(1, round(share * num_keys))
    assert_exact(numbers[num_keys:], keys, k, products)


@pytest.mark.parametrize("products", PRODUCTS)
def test_ties_go_to_the_lower_index(products):
    keys = random(40, 24).half().repeat(200, 1)  # every frame 200 times, over 8 blocks
    found = nearest_by(products, keys[:40].float(), keys, 150)
    expected = torch.arange(40)[:, None] + 40 * torch.arange(150)
    assert torch.equal(found.indices, expected)
    assert not found.distances.any()


def test_more_copies_than_any_margin_holds(monkeypatch):
    monkeypatch.setattr(retrieval, "MOST_WAITING", 1000)
    keys = random(1, 32).half().repeat(20_000, 1)
    found = nearest(keys[:3].float(), keys, k=5)
    assert found.indices.tolist() == [[0, 1, 2, 3, 4]] * 3


@pytest.mark.parametrize("products", PRODUCTS)
def test_keys_that_only_float64_tells_apart(products):
    base = random(1, 64)
    keys = base + 1e-6 * random(4000, 64, seed=2)
    assert_exact(base + 1e-6 * random(8, 64, seed=3), keys, 6, products)


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("dim", [1, 16, 400, 1024])
def test_products_are_within_the_bound(products, dim):
    # what decides is the worst case: numbers of one sign and of very different sizes
    for scale in (0.0, 1.0, 4.0):
        q = (random(64, dim) * scale).exp()
        x = (random(512, dim, seed=1) * scale).exp()
        exact = 1 - np.array(
            [cosine_distances(np.broadcast_to(row, x.shape), x.double().numpy()) for row in q.double().numpy()]
        )
        rounded_q = (q.double() / q.double().norm(dim=1, keepdim=True)).float()
        block = torch.empty_like(x)
        retrieval._fill_unit(block, x, 0)
        if products == "bfloat16":
            rounded, own = (rounded_q.bfloat16() @ block.bfloat16().T).double(), HALF * np.abs(exact)
        else:
            rounded, own = (rounded_q @ block.T).double(), 0.0
        assert (np.abs(rounded.numpy() - exact) <= error_bound(dim, products) + own).all()


@pytest.mark.parametrize("num_keys", [1001, 4099])
def test_threads_change_nothing(num_keys, monkeypatch):
    before = torch.get_num_threads()
    queries, keys = random(30, 20), random(num_keys // 2 + 1, 20, seed=1).half().repeat(2, 1)[:num_keys]  # ties
    alone = nearest(queries, keys, k=9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(retrieval, "STRIPE_KEYS", 300)
    monkeypatch.setattr(retrieval, "WORTH_THREADS", 0)
    with retrieval._workers(30, keys, 9) as (_, stripes):
        assert len(stripes) == 3
        assert [i for stripe in stripes for i in stripe] == list(range(num_keys))
    shared = nearest(queries, keys, k=9)
    assert torch.equal(shared.indices, alone.indices)
    assert torch.equal(shared.distances, alone.distances)
    with pytest.raises(InputError, match="frame of the voice 950 "):
        nearest(queries, torch.cat([keys[:950], torch.zeros(51, 20).half()]), k=2)
    monkeypatch.undo()
    torch.set_num_threads(before)


def test_permuting_the_keys_permutes_the_indices():
    keys, queries = random(3000, 20).half(), random(30, 20, seed=1)
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(2))
    before, after = nearest(queries, keys, k=5), nearest(queries, keys[order], k=5)
    assert torch.equal(order[after.indices], before.indices)
    assert torch.equal(after.distances, before.distances)


def test_queries_do_not_depend_on_their_company():
    keys, queries = random(3000, 20).half(), random(2500, 20, seed=1)
    whole = nearest(queries, keys, k=5)
    parts = [nearest(queries[start : start + 700], keys, k=5) for start in range(0, 2500, 700)]
    assert torch.equal(whole.indices, torch.cat([part.indices for part in parts]))
    assert torch.equal(whole.distances, torch.cat([part.distances for part in parts]))


def test_a_frame_finds_itself_at_distance_zero():
    keys = random(2000, 48).half()
    found = nearest(keys.float(), keys, k=1)
    assert torch.equal(found.indices[:, 0], torch.arange(2000))
    assert not found.distances.any()


def test_arrays_and_read_only_memory_maps(tmp_path):
    keys = random(3 * BLOCK_KEYS + 5, 24).half().numpy()
    np.save(tmp_path / "keys.npy", keys)
    mapped = np.load(tmp_path / "keys.npy", mmap_mode="r")
    queries = random(7, 24, seed=1)
    expected = nearest(queries, torch.from_numpy(keys), k=3)
    for form in (keys, mapped):
        assert torch.equal(nearest(queries, form, k=3).indices, expected.indices)


@pytest.mark.parametrize(
    ("queries", "keys", "k", "said"),
    [
        (torch.ones(2, 3), torch.ones(5, 3), 6, "k is 6, but the voice has 5 frames"),
        (torch.ones(2, 3), torch.ones(5, 3), 0, "k from 1 to 5"),
        (torch.ones(2, 3), torch.ones(5, 4), 1, "same D"),
        (torch.ones(2, 3), torch.tensor([[1.0, 0, 0], [0, 0, 0]]), 1, "frame of the voice 1 has norm 0"),
        (torch.tensor([[1.0, 0, 0], [0, 0, 0]]), torch.ones(5, 3), 1, "source frame 1 has norm 0"),
        (torch.ones(2, 3), torch.tensor([[1.0, 0, float("nan")]]), 1, "norm nan"),
        (torch.ones(2, 3), torch.full((1, 3), float("inf")).half(), 1, "norm inf"),
        (torch.ones(2, 3).int(), torch.ones(5, 3), 1, "floating point"),
    ],
)
def test_what_cannot_be_searched_is_refused(queries, keys, k, said):
    with pytest.raises(InputError, match=said):
        nearest(queries, keys, k=k)


MEASURE = """
import resource, sys, numpy as np, torch
from speechssl.conversion.retrieval import nearest
keys = np.load(sys.argv[1], mmap_mode="r")
queries = torch.from_numpy(np.array(keys[::2000], dtype=np.float32))
nearest(queries[:1], np.ones((2000, keys.shape[1]), np.float16), k=1)
def own():
    facts = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(facts["RssAnon"].split()[0]) / 1024
before, highest = own(), 0.0
import threading
done = threading.Event()
def watch():
    global highest
    while not done.wait(0.02):
        highest = max(highest, own())
thread = threading.Thread(target=watch); thread.start()
found = nearest(queries, keys, k=4)
done.set(); thread.join()
assert (found.indices[:, 0].numpy() == np.arange(0, len(keys), 2000)).all()
print(highest - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_memory_does_not_grow_with_the_keys(tmp_path):
    keys = np.random.default_rng(0).standard_normal((200_000, 128), dtype=np.float32).astype(np.float16)  # 51 MB
    np.save(tmp_path / "keys.npy", keys)
    told = forking.run(MEASURE, tmp_path / "keys.npy")
    assert told.returncode == 0, told.stderr
    assert float(told.stdout) < 50  # MB above the map; the full matrix alone is 80 MB
