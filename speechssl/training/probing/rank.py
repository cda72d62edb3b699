"""RankMe of every layer of an encoder on recordings without labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl.training.probing.encodings import Layers
from speechssl.training.rank import rank_me

FRAMES = 25_600  # the paper's number of samples, section 4


def rank(encoded: Sequence[Layers], origins: Sequence[str], *, frames: int = FRAMES) -> list[dict[str, Any]]:
    """RankMe of layers, from frames taken evenly over all recordings.

    Args:
        encoded: frames (N_i, D) of each layer of each recording.
        origins: of the layers.
        frames: used at most.
    Returns:
        A row for each layer: ``origin``, ``dim``, ``frames`` and ``rank_me``, which is at most the smaller of the two.
    Source: Garrido et al. 2023, arXiv:2210.02885; the frames are not centred, as published.
    """
    rows = []
    for place, origin in enumerate(origins):
        every: NDArray[np.float32] = np.concatenate([one[place] for one in encoded])
        used = every[np.linspace(0, len(every) - 1, min(frames, len(every))).astype(int)]
        value = float(rank_me(torch.from_numpy(used)))
        rows.append({"origin": origin, "dim": used.shape[1], "frames": len(used), "rank_me": value})
    return rows
