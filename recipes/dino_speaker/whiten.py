"""The last linear map of a trained network, in closed form and without labels.

Gradient steps are dear on a CPU, and the last map needs none: over crops of many utterances, each utterance a class of
its own, linear discriminant analysis finds the directions in which utterances differ and differently augmented crops of
one utterance do not. The map takes the place of batch norm and ``fc``, so the network's shape stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from speechssl.embedders.ecapa import Ecapa


@torch.inference_mode()
def collect(network: Ecapa, batches: Callable[[int], dict[str, Tensor]], *, count: int) -> np.ndarray:
    """Pooled statistics (U, G, 2P) of ``global`` (G, B, T, C) crops of U utterances."""
    network.eval()
    found = []
    for number in range(count):
        crops = batches(number)["global"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            statistics = network.statistics(crops.flatten(0, 1))
        found.append(statistics.float().unflatten(0, crops.shape[:2]).transpose(0, 1).numpy())
    return np.concatenate(found)


def discriminants(statistics: np.ndarray, *, dim: int, shrink: float) -> tuple[np.ndarray, np.ndarray]:
    """Directions (dim, S) that tell utterances apart, and the mean (S,), of statistics (U, G, S).

    Scaled so that all crops together have unit variance in each direction, times the share of it that lies between
    utterances: what augmentation blurs counts little.

    Args:
        shrink: of the within-utterance covariance toward a multiple of the identity, a fraction of its mean variance.
    Source: Fisher 1936; Dehak et al. 2011 for speakers.
    """
    from scipy.linalg import eigh

    utterances, crops, size = statistics.shape
    flat = statistics.reshape(-1, size).astype(np.float64)
    mean, spread = flat.mean(0), flat.std(0) + 1e-6
    standard = ((flat - mean) / spread).reshape(utterances, crops, size)
    centre = standard.mean(1)
    inner = (standard - centre[:, None]).reshape(-1, size)
    within = inner.T @ inner / (utterances * (crops - 1))
    between = np.cov(centre.T) - within / crops
    within += shrink * np.trace(within) / size * np.eye(size)
    values, vectors = eigh(between, within, subset_by_index=(size - dim, size - 1))
    ratio = np.maximum(values, 0)
    vectors = vectors * np.sqrt(ratio / (1 + ratio))
    return (vectors / spread[:, None]).T, mean


@torch.no_grad()
def set_last_map(network: Ecapa, directions: np.ndarray, mean: np.ndarray) -> None:
    """Make ``fc`` after ``asp_bn`` give ``directions @ (statistics - mean)``."""
    norm = network.asp_bn = nn.BatchNorm1d(len(mean)).eval()
    norm.running_mean.copy_(torch.from_numpy(mean))
    norm.running_var.fill_(1.0 - norm.eps)
    norm.weight.fill_(1.0)
    norm.bias.zero_()
    size = directions.shape[1]
    network.fc = nn.Conv1d(size, len(directions), 1)
    network.fc.weight.copy_(torch.from_numpy(directions)[..., None])
    network.fc.bias.zero_()
