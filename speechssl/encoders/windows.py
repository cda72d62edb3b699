"""Fixed grids: samples cut into blocks for the front ends, frames cut into windows for the transformers.

Both grids depend on positions alone, never on how the audio arrives, so an utterance held in memory and the same
utterance streamed from disk in any block sizes give the same pieces, hence the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from speechssl.errors import InputError


@dataclass(frozen=True)
class Grid:
    """How long audio is laid out for a transformer.

    Args:
        window: frames a transformer sees at once; audio of up to so many frames is one window, whole.
        context: frames at each inner edge of a window that are seen but whose output is dropped.
    Raises:
        InputError: the contexts leave nothing of the window.
    """

    window: int
    context: int

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.context < self.window:
            raise InputError(
                f"a window of {self.window} frames with twice {self.context} frames of context keeps nothing"
            )

    @property
    def hop(self) -> int:
        """Frames kept of an inner window, and frames between the starts of two windows."""
        return self.window - 2 * self.context


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """One window of frames and the part of its output that is kept.

    Args:
        frames: (W, D) input of the transformer.
        keep: rows of the output that belong to the result.
        is_last: whether the utterance ends with this window.
    """

    frames: Tensor
    keep: slice
    is_last: bool


def cut_samples(blocks: Iterable[Tensor], *, hop: int, overlap: int) -> Iterator[Tensor]:
    """Cut a stream into blocks of ``hop + overlap`` samples that start every ``hop`` samples; the last is shorter.

    Args:
        blocks: (n,) float32 pieces of one waveform, of any lengths, empty ones included.
        hop: samples between the starts of two blocks.
        overlap: samples that the next block sees again; a rest of ``overlap`` samples or fewer makes no block.
    Raises:
        InputError: NaN or infinite samples.
    """
    pending: list[Tensor] = []
    held = 0
    for block in blocks:
        if not bool(block.isfinite().all()):
            raise InputError("the audio holds NaN or infinite samples; repair or re-export the recording")
        pending.append(block)
        held += block.shape[0]
        if held >= hop + overlap:
            rest = torch.cat(pending)
            while rest.shape[0] >= hop + overlap:
                yield rest[: hop + overlap]
                rest = rest[hop:]
            pending, held = [rest], rest.shape[0]
    if held > overlap:
        yield torch.cat(pending)


def cut_frames(pieces: Iterable[Tensor], grid: Grid) -> Iterator[Window]:
    """Lay windows over a stream of frames.

    Up to ``grid.window`` frames make one window. Beyond, windows start every ``grid.hop`` frames and keep their middle;
    the first keeps its beginning too, and the last is moved back so that it ends with the audio: every window has the
    same length and at least ``grid.context`` frames on both sides of what it keeps, except at the ends of the audio.

    Args:
        pieces: (n, D) consecutive frames, of any lengths.
        grid: window and context.
    """
    # frames from the start of the previous window on, so that the last window can be moved back
    held: Tensor | None = None
    first = True
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece])
        reach = grid.window if first else grid.hop + grid.window
        while held.shape[0] > reach:
            start = reach - grid.window
            keep = slice(0 if first else grid.context, grid.window - grid.context)
            yield Window(held[start:reach], keep, is_last=False)
            held, first, reach = held[start:], False, grid.hop + grid.window
    if held is None:
        return
    if first:
        yield Window(held, slice(0, held.shape[0]), is_last=True)
        return
    # the window before ended its share at frame `window - context` of what is held
    moved = held.shape[0] - grid.window
    yield Window(held[moved:], slice(grid.window - grid.context - moved, grid.window), is_last=True)
