"""Each converter against its formula in plain numpy float64, or against all possibilities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.conversion import converters
from speechssl.conversion.converters import Surroundings
from speechssl.conversion.retrieval import Neighbours, nearest
from speechssl.errors import InputError


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return 1 - a @ b / np.sqrt((a @ a) * (b @ b))


@pytest.fixture
def case():
    keys, values = random(300, 12).half(), random(300, 7, seed=1).half()
    queries = random(25, 12, seed=2)
    return queries, keys, values, nearest(queries, keys, k=4)


def test_uniform_is_the_mean(case):
    _, _, values, near = case
    got = converters.weighted_mean(values, near.indices, converters.uniform_weights(near))
    expected = values.double().numpy()[near.indices.numpy()].mean(axis=1)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert got.dtype == torch.float32


def test_distance_weights(case):
    _, _, values, near = case
    got = converters.weighted_mean(values, near.indices, converters.distance_weights(near))
    for t in range(len(near)):
        weights = [1 / (d + 1e-8) for d in near.distances[t].tolist()]
        rows = values.double().numpy()[near.indices[t].numpy()]
        expected = sum(w * row for w, row in zip(weights, rows, strict=True)) / sum(weights)
        np.testing.assert_allclose(got[t], expected, atol=1e-6)


def test_distance_weights_at_distance_zero():
    weights = converters.distance_weights(Neighbours(torch.zeros(1, 2).long(), torch.tensor([[0.0, 0.5]]).double()))
    np.testing.assert_allclose(weights, [[1, 0]], atol=1e-7)


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
        got = converters.widened(torch.from_numpy(means).float(), Surroundings(values, near), limit)
        ratio = np.minimum(alone.std(0) / means.std(0), limit)
        np.testing.assert_allclose(got, centre + ratio * (means - centre), atol=1e-5)
        assert got.dtype == torch.float32


def test_frames_with_spread_enough_stay(case):
    _, _, values, near = case
    alike = Neighbours(near.indices[:, :1].expand(-1, 4), near.distances)
    frames = values.float()[near.indices[:, 0]]
    np.testing.assert_allclose(converters.widened(frames, Surroundings(values, alike), 2.0), frames, atol=1e-6)
    wide = 3 * frames
    np.testing.assert_allclose(converters.widened(wide, Surroundings(values, near), 2.0), wide, atol=1e-6)


def test_a_single_frame_is_widened_within_the_limit(case):
    _, _, values, near = case
    one = near.first(4)
    one = Neighbours(one.indices[:1], one.distances[:1])
    mean, centre = values.double()[near.indices[0]].mean(0), values.double().mean(0)
    got = converters.widened(mean[None].float(), Surroundings(values, one), 1.5)
    np.testing.assert_allclose(got[0], centre + 1.5 * (mean - centre), atol=1e-5)


def test_a_frame_taken_is_heard_beside_the_mean_of_the_nearest(case):
    queries, keys, values, _ = case
    near = nearest(queries, keys, k=16)
    path = torch.arange(25) % 16
    trace = converters.with_nearest(path, near, 3)
    rows = values.double().numpy()
    taken = rows[near.indices.numpy()[np.arange(25), path.numpy()]]
    expected = 0.6 * taken + 0.4 * rows[near.indices[:, :3].numpy()].mean(1)
    np.testing.assert_allclose(converters.weighted_mean(values, trace.indices, trace.weights), expected, atol=1e-6)
    np.testing.assert_allclose(trace.weights.sum(1), np.ones(25), atol=1e-12)
    assert torch.equal(trace.distances[:, 0], near.distances[torch.arange(25), path])
    assert torch.equal(trace.distances[:, 1:], near.distances[:, :3])


def test_means_do_not_depend_on_how_much_is_gathered_at_a_time(case, monkeypatch):
    _, _, values, near = case
    whole = converters.weighted_mean(values, near.indices, converters.distance_weights(near))
    monkeypatch.setattr(converters, "GATHERED", 60)
    parts = converters.weighted_mean(values, near.indices, converters.distance_weights(near))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-7)


def test_interpolation():
    source, retrieved = random(5, 3), random(5, 3, seed=1)
    assert torch.equal(converters.interpolate(source, retrieved, 1.0), retrieved)
    assert torch.equal(converters.interpolate(source, retrieved, 0.0), source)
    expected = 0.3 * retrieved.double().numpy() + 0.7 * source.double().numpy()
    np.testing.assert_allclose(converters.interpolate(source, retrieved, 0.3), expected, atol=1e-6)


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_interpolation_outside_is_refused(amount):
    with pytest.raises(InputError, match="between 0"):
        converters.interpolate(random(2, 2), random(2, 2), amount)


def test_interpolation_of_other_shapes_is_refused():
    with pytest.raises(InputError, match="shape"):
        converters.interpolate(random(2, 2), random(2, 3), 0.5)


def test_blends():
    parts = [random(5, 3, seed=i) for i in range(3)]
    expected = (1 * parts[0].double() + 0 * parts[1].double() + 3 * parts[2].double()) / 4
    np.testing.assert_allclose(converters.blend(parts, [1, 0, 3]), expected, atol=1e-6)
    assert torch.equal(converters.blend(parts[:1], [5]), parts[0])


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [2.0, -1.0], [1.0, float("inf")], [float("nan"), 1.0], []])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(InputError, match="weight"):
        converters.blend([random(2, 2), random(2, 2)], weights)


# ---- continuous


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
    path = converters.best_path(keys, near, follows, join_weight=weight, f0=f0).tolist()
    every = [path_cost(p, keys, near, follows, weight, f0) for p in itertools.product(range(k), repeat=frames)]
    assert path_cost(path, keys, near, follows, weight, f0) == pytest.approx(min(every), abs=1e-9)


def test_a_free_join_takes_the_nearest():
    keys, queries = random(50, 6), random(20, 6, seed=1)
    path = converters.best_path(keys, nearest(queries, keys, k=5), one_recording(50), join_weight=0)
    assert not path.any()


def test_runs_are_kept_together():
    keys = random(200, 16)
    # a copy of frames 50 to 69 with noise, so that others are sometimes nearer
    near = nearest(keys[50:70] + 0.7 * random(20, 16, seed=3), keys, k=8)
    follows = one_recording(200)
    path = converters.best_path(keys, near, follows, join_weight=1.0)
    chosen = near.indices.gather(1, path[:, None])[:, 0]
    assert (near.indices[:, 0].diff() == 1).float().mean() < (chosen.diff() == 1).float().mean()
    assert torch.equal(chosen, torch.arange(50, 70))


def test_the_best_path_does_not_depend_on_how_much_is_gathered_at_a_time(monkeypatch):
    keys, queries = random(200, 16), random(90, 16, seed=1)
    near, follows = nearest(queries, keys, k=6), one_recording(200)
    whole = converters.best_path(keys, near, follows)
    monkeypatch.setattr(converters, "GATHERED", 1000)
    assert torch.equal(converters.best_path(keys, near, follows), whole)


def test_a_negative_join_weight_is_refused(case):
    _, keys, _, near = case
    with pytest.raises(InputError, match="join weight"):
        converters.best_path(keys, near, one_recording(300), join_weight=-1)


# ---- transport


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
    got = converters.fit_transport(source, target, group=group)(source)
    np.testing.assert_allclose(got, transported(source, target, group), rtol=1e-4, atol=1e-4)


def test_transport_moves_the_moments():
    source, target = random(5000, 6) * torch.arange(1.0, 7), random(4000, 6, seed=1) @ random(6, 6, seed=2) + 1
    moved = converters.fit_transport(source, target, group=6)(source)
    np.testing.assert_allclose(moved.mean(dim=0), target.mean(dim=0), atol=1e-4)
    np.testing.assert_allclose(moved.T.cov(), target.T.cov(), atol=1e-2)


def test_transport_to_oneself_is_the_identity():
    source = random(100, 9) * 5 + 2
    moved = converters.fit_transport(source, source)(source)
    np.testing.assert_allclose(moved, source, atol=1e-4)


def test_transport_keeps_constant_dimensions_in_place():
    source, target = random(100, 4), random(100, 4, seed=1)
    source[:, 1], target[:, 1] = 5.0, 7.0
    moved = converters.fit_transport(source, target)(source)
    np.testing.assert_allclose(moved[:, 1], 7.0, atol=1e-3)
    assert bool(moved.isfinite().all())
    flat = converters.fit_transport(torch.ones(10, 3), torch.full((10, 3), 2.0))(torch.ones(10, 3))
    np.testing.assert_allclose(flat, 2.0)


def test_transport_does_not_depend_on_how_much_is_gathered_at_a_time(monkeypatch):
    source, target = random(500, 6), random(300, 6, seed=1)
    whole = converters.fit_transport(source, target)(source)
    monkeypatch.setattr(converters, "GATHERED", 500)
    torch.testing.assert_close(converters.fit_transport(source, target)(source), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("num_source", "num_target", "group"), [(5, 100, 2), (100, 5, 2), (100, 100, 0)])
def test_transport_of_too_little_is_refused(num_source, num_target, group):
    with pytest.raises(InputError, match="at least"):
        converters.fit_transport(random(num_source, 4), random(num_target, 4), group=group)


# ---- shift


def shifted(queries, source_values, own_keys, own_values, keys, values, k, match_spread):
    """The formula of ``shift``, with lists and loops."""
    voice_rows, own_rows = [], []
    for query in queries:
        target = sorted(range(len(keys)), key=lambda i: (cosine(query, keys[i]), i))[:k]
        own = sorted(range(len(own_keys)), key=lambda j: (cosine(query, own_keys[j]), j))[:k]
        voice_rows.append(values.double().numpy()[target])
        own_rows.append(own_values.double().numpy()[own])
    voice_rows, own_rows = np.array(voice_rows), np.array(own_rows)
    spread = np.sqrt(voice_rows.var(axis=1).mean(axis=0))
    ratio = np.ones(values.shape[1])
    if match_spread:
        ratio = (spread / np.sqrt(own_rows.var(axis=1).mean(axis=0))).clip(0.5, 2)
    kept = ratio * (source_values.double().numpy() - own_rows.mean(axis=1))
    return voice_rows.mean(axis=1) + np.clip(kept, -3 * spread, 3 * spread)


@pytest.mark.parametrize("match_spread", [False, True])
@pytest.mark.parametrize("more", [0, 15])
def test_shift_is_the_formula(match_spread, more):
    queries, source_values = random(40, 6), random(40, 5, seed=1)
    own_keys = torch.cat([queries, random(more, 6, seed=4)])
    own_values = torch.cat([source_values, random(more, 5, seed=5)])
    keys, values = random(90, 6, seed=2), random(90, 5, seed=3) * torch.tensor([0.1, 0.9, 1.2, 1.5, 9.0])
    own = nearest(queries, own_keys, k=8)
    got = converters.shift(
        source_values,
        Surroundings(own_values, own),
        Surroundings(values, nearest(queries, keys, k=8)),
        match_spread=match_spread,
    )
    expected = shifted(queries, source_values, own_keys, own_values, keys, values, 8, match_spread)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_shift_undoes_a_constant_difference_between_voices():
    # the same speech in two voices that differ by a constant, which is what the shift should find
    # (little spread beside it: what is kept of a frame is held within the spread)
    keys, values, offset = random(200, 8), random(200, 5, seed=1).tanh(), torch.tensor([3.0, -2.0, 0.5, 0.0, 10.0])
    near = nearest(keys, keys, k=16)
    got = converters.shift(values, Surroundings(values, near), Surroundings(values + offset, near))
    torch.testing.assert_close(got, values + offset)


def test_shift_holds_a_burst_beside_silence_within_the_voice():
    keys, values = random(64, 4), random(64, 3, seed=1) * 0.1
    source = values.clone()
    source[7] += 8.0
    near = nearest(keys, keys, k=16)
    got = converters.shift(source, Surroundings(values, near), Surroundings(values, near))
    assert (got - values)[7].max() < 1.0
    torch.testing.assert_close(got[8:], values[8:])


def test_shift_may_keep_less_detail_and_take_fewer_frames_of_the_voice():
    queries, source_values = random(40, 6), random(40, 5, seed=1)
    keys, values = random(90, 6, seed=2), random(90, 5, seed=3)
    own, near = nearest(queries, queries, k=8), nearest(queries, keys, k=8)
    parts = (source_values, Surroundings(source_values, own), Surroundings(values, near))
    got = converters.shift(*parts, detail=0.25, nearest=2)
    whole = converters.shift(*parts).numpy() - values.numpy()[near.indices.numpy()].mean(1)
    expected = 0.25 * whole + values.numpy()[near.indices.numpy()[:, :2]].mean(1)
    np.testing.assert_allclose(got, expected, atol=1e-5)


# ---- auto


@pytest.mark.parametrize(
    ("seconds", "has_source_values", "speaks_means", "chosen"),
    [
        (300, True, True, "uniform"),
        (300, False, True, "uniform"),
        (5, True, True, "transport"),
        (5, False, True, "distance"),
        (300, True, False, "shift"),
        (5, True, False, "shift"),
        (300, False, False, "uniform"),
    ],
)
def test_auto_chooses_by_reference_and_vocoder_and_says_so(seconds, has_source_values, speaks_means, chosen):
    name, reason = converters.choose(seconds, has_source_values=has_source_values, speaks_means=speaks_means)
    assert name == chosen
    assert f"{seconds} s of reference" in reason


@pytest.mark.parametrize(("seconds", "said"), [(0.46, "0.5 s"), (1.985, "2 s"), (9.97, "10 s"), (75.4, "75 s")])
def test_auto_never_calls_a_short_reference_none(seconds, said):
    assert f"{said} of reference" in converters.choose(seconds, has_source_values=True, speaks_means=True)[1]


@pytest.mark.parametrize("seconds", [5, 300])
def test_auto_is_variance_where_the_vocoder_hears_the_words(seconds):
    for known in (True, False):
        name, reason = converters.choose(seconds, has_source_values=known, speaks_means=False, hears_keys=True)
        assert name == "variance"
        assert "hears the words" in reason
