"""Shift: each frame of the source is moved by the difference between its surroundings and those in the voice."""

from __future__ import annotations

import torch
from torch import Tensor

from speechssl.conversion.converters.means import Candidates, Surroundings, Trace, plain
from speechssl.conversion.retrieval import Neighbours, nearest
from speechssl.signals import check_same_origin

SHIFT_DETAIL = 0.5  # share of its own detail a frame keeps if the vocoder hears the words from the keys
SHIFT_LIMIT = 3.0  # spreads of the voice a frame may lie from its surroundings: a burst beside digital silence does not


def shifted(candidates: Candidates) -> tuple[Tensor, Trace]:
    """The source's own values (N, V) through ``moved``."""
    own_values, own = _own_surroundings(candidates)
    count, detail = candidates.neighbours.k, 1.0
    if candidates.hears_keys:
        # the words are in the keys, so fewer frames of the voice and less of the source's detail sound more like it
        count, detail = candidates.k, SHIFT_DETAIL
    frames = moved(
        candidates.source.own_values.frames,
        Surroundings(own_values, own),
        Surroundings(candidates.voice.values, candidates.neighbours),
        detail=detail,
        count=count,
    )
    return frames, plain(candidates.neighbours.first(count))


def _own_surroundings(candidates: Candidates) -> tuple[Tensor, Neighbours]:
    """Values of all recordings of the source's speaker, and which of them lie near each frame of the source."""
    source = candidates.source
    keys, values = source.keys.frames, source.own_values.frames
    all_keys = keys
    if source.more is not None:
        check_same_origin(source.keys.origin, source.more.key_origin, what="use further recordings of the source")
        all_keys = torch.cat([keys, source.more.keys.to(keys.dtype)])
        values = torch.cat([values, source.more.values.to(values.dtype)])
    return values, nearest(keys, all_keys, k=min(candidates.neighbours.k, len(all_keys)))


def moved(
    source_values: Tensor, own: Surroundings, voice: Surroundings, *, detail: float = 1.0, count: int | None = None
) -> Tensor:
    """Move each frame by the difference of its surroundings: out[t] = T[t] + detail * (source_values[t] - S[t]).

    T[t] is the mean of the voice's values and S[t] the mean of the source speaker's own values around the key of frame
    t: the k nearest frames in each set. A frame keeps its difference from the mean of its surroundings, which is where
    the words are; the mean becomes the voice's, which is where the speaker is. The difference is held within
    ``SHIFT_LIMIT`` spreads of the voice around its local means, per dimension. An own method, not from a paper.

    Args:
        source_values: (N, V) float.
        own: the k nearest among the source speaker's own frames, each frame itself included.
        voice: the k nearest frames of the voice.
        detail: share of the difference that is kept, 0 ... 1.
        count: neighbours of the voice in the mean T; None for all.
    """
    kept, limit = source_values.float() - own.means(), (SHIFT_LIMIT * voice.spread()).float()
    return torch.clamp(kept, min=-limit, max=limit).mul_(detail).add_(voice.means(count))
