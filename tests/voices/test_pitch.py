"""Pitch statistics and the map between speakers, against plain numpy in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.errors import InputError
from speechssl.voices import pitch
from speechssl.voices.pitch import PitchStatistics

contours = st.lists(st.one_of(st.just(0.0), st.floats(60, 500)), min_size=0, max_size=300)


def contour(mean_hz: float, sd: float, frames: int = 2000, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    f0 = (math.log(mean_hz) + sd * torch.randn(frames, generator=generator).clamp(-2.5, 2.5)).exp()
    f0[::3] = 0
    return f0


def test_statistics_equal_numpy_on_voiced_frames() -> None:
    f0 = contour(180, 0.15)
    logs = np.log(f0.double().numpy()[f0.numpy() > 0])
    found = pitch.statistics(f0)
    assert found.mean == pytest.approx(logs.mean(), abs=1e-12)
    assert found.sd == pytest.approx(logs.std(), abs=1e-12)
    assert found.voiced_seconds == pytest.approx(len(logs) * 0.005)
    assert found.hertz == pytest.approx(180, rel=0.02)


def test_octave_errors_are_left_out() -> None:
    clean = contour(120, 0.1)
    wrong = clean.clone()
    wrong[1:200:3] *= 4
    assert pitch.statistics(wrong).mean == pytest.approx(pitch.statistics(clean).mean, abs=0.01)
    assert pitch.statistics(wrong).voiced_seconds < pitch.statistics(clean).voiced_seconds


@pytest.mark.parametrize("f0", [torch.zeros(0), torch.zeros(50)])
def test_nothing_voiced_gives_empty_statistics_and_leaves_the_contour(f0: torch.Tensor) -> None:
    empty = pitch.statistics(f0)
    assert (empty.mean, empty.sd, empty.voiced_seconds, empty.hertz) == (0, 0, 0, 0)
    voiced = contour(200, 0.1)
    full = pitch.statistics(voiced)
    torch.testing.assert_close(pitch.transform(voiced, full, empty), voiced)
    torch.testing.assert_close(pitch.transform(f0, empty, full), f0)


def test_target_mode_gives_the_targets_mean_and_spread() -> None:
    man, woman = contour(110, 0.2, seed=1), contour(210, 0.12, seed=2)
    moved = pitch.statistics(pitch.transform(man, pitch.statistics(man), pitch.statistics(woman)))
    assert moved.mean == pytest.approx(pitch.statistics(woman).mean, abs=1e-5)
    assert moved.sd == pytest.approx(pitch.statistics(woman).sd, abs=1e-5)


def test_a_short_reference_gives_its_mean_but_not_its_spread() -> None:
    man, woman = contour(110, 0.2, seed=1), contour(210, 0.05, frames=90, seed=2)
    moved = pitch.statistics(pitch.transform(man, pitch.statistics(man), pitch.statistics(woman)))
    assert moved.mean == pytest.approx(pitch.statistics(woman).mean, abs=1e-5)
    assert moved.sd == pytest.approx(pitch.statistics(man).sd, abs=1e-5)


def test_the_spread_is_at_most_doubled() -> None:
    flat, lively = PitchStatistics(5.0, 0.01, 10), PitchStatistics(5.0, 0.4, 10)
    f0 = torch.tensor([math.exp(5.1)], dtype=torch.float64)
    assert math.log(float(pitch.transform(f0, flat, lively)[0])) == pytest.approx(5.2)
    assert math.log(float(pitch.transform(f0, lively, flat)[0])) == pytest.approx(5.05)


def test_source_mode_and_semitones() -> None:
    f0 = contour(150, 0.1)
    any_voice = PitchStatistics(5.5, 0.1, 10)
    assert pitch.transform(f0, pitch.statistics(f0), any_voice, "source") is f0
    for mode in (12, 12.0, "12"):
        torch.testing.assert_close(pitch.transform(f0, pitch.statistics(f0), any_voice, mode), 2 * f0)


@settings(deadline=None)
@given(contours, st.floats(4, 6), st.floats(0, 0.5), st.sampled_from(["target", "source", -7.0, 19.0]))
def test_voicing_is_kept_and_pitch_stays_speakable(
    values: list[float], mean: float, sd: float, mode: str | float
) -> None:
    f0 = torch.tensor(values)
    moved = pitch.transform(f0, pitch.statistics(f0), PitchStatistics(mean, sd, 5), mode)
    assert moved.shape == f0.shape
    assert moved.dtype == f0.dtype
    assert torch.equal(moved > 0, f0 > 0)
    assert ((moved == 0) | ((moved >= pitch.LOWEST - 1e-3) & (moved <= pitch.HIGHEST + 1e-3))).all()


@settings(deadline=None)
@given(contours)
def test_moving_to_oneself_changes_nothing(values: list[float]) -> None:
    f0 = torch.tensor(values)
    own = pitch.statistics(f0)
    torch.testing.assert_close(pitch.transform(f0, own, own), f0, rtol=1e-5, atol=1e-3)


def test_values_of_frames_lie_inside_them() -> None:
    f0 = torch.arange(20.0)
    assert pitch.of_frames(f0, 3, 50.0).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    # a contour that ends early is held
    assert pitch.of_frames(f0[:7], 2, 50.0).tolist() == [[1, 2, 3, 4], [5, 6, 6, 6]]
    assert pitch.of_frames(f0, 2, 100.0).tolist() == [[1, 2], [3, 4]]


def test_mixing_contours_is_a_mean_of_logs_and_a_vote_on_voicing() -> None:
    low, high = torch.full((60,), 100.0), torch.full((60,), 400.0)
    torch.testing.assert_close(pitch.mixed([low, high], [0.5, 0.5]), torch.full((60,), 200.0))
    torch.testing.assert_close(pitch.mixed([low, high], [1.0, 0.0]), low)
    high[20:] = 0
    low[40:] = 0
    mixed = pitch.mixed([low, high], [0.3, 0.7])
    assert (mixed[:20] > 0).all()
    assert not (mixed[20:] > 0).any()
    assert float(pitch.mixed([low, high], [0.5, 0.5])[30]) == pytest.approx(100, abs=0.1)


def test_jumps_are_rounded_off_and_nothing_else() -> None:
    step = torch.cat([torch.full((50,), 100.0), torch.full((50,), 200.0), torch.zeros(50), torch.full((50,), 150.0)])
    rounded = pitch.mixed([step], [1.0])
    assert torch.equal(rounded > 0, step > 0)
    far = [*range(42), *range(58, 100), *range(150, 200)]
    torch.testing.assert_close(rounded[far], step[far], rtol=1e-3, atol=0)
    assert float(rounded[49:51].log().mean()) == pytest.approx(math.log(100 * 200) / 2, abs=1e-3)
    assert (rounded[45:55].log().diff() > 0).all()
    assert rounded[45:55].log().diff().max() < 0.3


def test_pooling_parts_equals_measuring_the_whole() -> None:
    parts = [contour(200, 0.1, frames=n, seed=n) for n in (400, 900, 30)] + [torch.zeros(20)]
    pooled, whole = pitch.pool([pitch.statistics(p) for p in parts]), pitch.statistics(torch.cat(parts))
    assert (pooled.mean, pooled.sd, pooled.voiced_seconds) == pytest.approx(
        (whole.mean, whole.sd, whole.voiced_seconds)
    )
    assert pitch.pool([]) == PitchStatistics(0, 0, 0)


@pytest.mark.parametrize("text", ["", "up", "nan", "inf", "49", "-1e9"])
def test_a_pitch_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="'target', 'source' or semitones"):
        pitch.parse_mode(text)


@pytest.mark.parametrize("values", [(math.nan, 0, 1), (5, -0.1, 1), (5, 0.1, -1), (5, math.inf, 1)])
def test_impossible_statistics_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="impossible"):
        PitchStatistics(*values)
