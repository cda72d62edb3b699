from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.encoders.windows import Grid, cut_frames, cut_samples
from speechssl.errors import InputError


def split(values: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    """Pieces of the given sizes, over and over, until nothing is left."""
    pieces, start, turn = [], 0, 0
    while start < len(values):
        size = sizes[turn % len(sizes)]
        pieces.append(values[start : start + size])
        start, turn = start + size, turn + 1
    return pieces


sizes = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


@settings(deadline=None)
@given(length=st.integers(0, 120), hop=st.integers(1, 20), overlap=st.integers(0, 20), sizes=sizes)
def test_blocks_do_not_depend_on_how_the_samples_arrive(length: int, hop: int, overlap: int, sizes: list[int]) -> None:
    samples = torch.arange(float(length))
    blocks = list(cut_samples(split(samples, sizes), hop=hop, overlap=overlap))
    starts = [start for start in range(0, length, hop) if length - start > overlap]
    expected = [samples[start : start + hop + overlap] for start in starts]
    assert [block.tolist() for block in blocks] == [block.tolist() for block in expected]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_samples_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        list(cut_samples([torch.zeros(10), torch.tensor([0.0, bad])], hop=5, overlap=2))


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 200), window=st.integers(1, 40), context=st.integers(0, 19), sizes=sizes)
def test_windows_keep_every_frame_once_with_context(length: int, window: int, context: int, sizes: list[int]) -> None:
    if 2 * context >= window:
        return
    frames = torch.arange(float(length))[:, None]
    windows = list(cut_frames(split(frames, sizes), Grid(window, context)))
    kept = torch.cat([piece.frames[piece.keep] for piece in windows])
    assert kept[:, 0].tolist() == list(range(length))
    assert [piece.is_last for piece in windows] == [False] * (len(windows) - 1) + [True]
    assert {len(piece.frames) for piece in windows} == {min(window, length)}
    for piece in windows:
        first, last = int(piece.frames[0, 0]), int(piece.frames[-1, 0])
        assert first == 0 or piece.keep.start >= context
        assert last == length - 1 or len(piece.frames) - piece.keep.stop >= context


def test_windows_lie_on_a_grid_and_the_last_is_moved_back() -> None:
    windows = list(cut_frames([torch.arange(25.0)[:, None]], Grid(window=10, context=2)))
    assert [int(piece.frames[0, 0]) for piece in windows] == [0, 6, 12, 15]
    assert [(piece.keep.start, piece.keep.stop) for piece in windows] == [(0, 8), (2, 8), (2, 8), (5, 10)]


def test_a_grid_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="keeps nothing"):
        Grid(window=10, context=5)
