"""A part of the last linear map in closed form, without labels.

Gradient steps are dear on a CPU, and a linear map of plain statistics of the input needs none: over crops of many
utterances, each utterance a class of its own, discriminant analysis finds the directions in which utterances differ and
differently augmented crops of one utterance do not. The map is joined to the trained one, in one network and file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from speechssl.verification.embedders.ecapa import Ecapa

SHRINK = 0.03  # of the covariance within utterances toward a multiple of the identity, of its mean variance


def collect(
    batches: Callable[[int], dict[str, Tensor]], statistics_of: Callable[[Tensor], Tensor], *, count: int
) -> np.ndarray:
    """Statistics (U, G, S), by a function of crops (B, ...), of the ``global`` (G, B, ...) crops of U utterances."""
    found = []
    for number in range(count):
        crops = batches(number)["global"]
        statistics = statistics_of(crops.flatten(0, 1))
        found.append(statistics.unflatten(0, crops.shape[:2]).transpose(0, 1).numpy())
    return np.concatenate(found)


def discriminants(statistics: np.ndarray, *, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions (dim, S) that tell utterances apart, and the mean (S,), of statistics (U, G, S).

    Scaled so that all crops together have unit variance in each direction, times the share of it that lies between
    utterances: what augmentation blurs counts little.

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
    within += SHRINK * np.trace(within) / size * np.eye(size)
    values, vectors = eigh(between, within, subset_by_index=(size - dim, size - 1))
    ratio = np.maximum(values, 0)
    vectors = vectors * np.sqrt(ratio / (1 + ratio))
    return (vectors / spread[:, None]).T, mean


@torch.no_grad()
def join_plain(network: Ecapa, directions: np.ndarray, mean: np.ndarray, sample: np.ndarray, crops: Tensor) -> None:
    """Put ``directions @ (plain statistics - mean)`` beside the trained embedding, with equal weight, in one map.

    A network whose last map sees plain statistics already keeps what it makes of them.

    Args:
        sample: plain statistics (N, S), and crops (B, T, C), over which both sides get unit mean square norm.
    """
    network.eval()
    trained = network(crops).float()
    centre = trained.mean(0)
    share = 1 / (trained - centre).square().sum(1).mean().sqrt()
    plain = torch.from_numpy(directions).float()
    plain /= (
        ((torch.from_numpy(sample).float() - torch.from_numpy(mean).float()) @ plain.T).square().sum(1).mean().sqrt()
    )
    old_norm, old_map = network.asp_bn, network.fc
    extra = len(mean)
    size = old_map.in_channels - (extra if network.plain else 0)
    norm = nn.BatchNorm1d(size + extra).eval()
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, name)[:size] = getattr(old_norm, name)[:size]
    norm.running_mean[size:] = torch.from_numpy(mean).float()
    norm.running_var[size:] = 1.0 - norm.eps
    last = nn.Conv1d(size + extra, old_map.out_channels + len(plain), 1)
    last.weight.zero_()
    last.bias.zero_()
    last.weight[: old_map.out_channels, :size] = old_map.weight[:, :size] * share
    last.bias[: old_map.out_channels] = (old_map.bias - centre) * share
    if network.plain:  # what the old norm made of the plain statistics, in terms of what the new one makes of them
        scale = old_norm.weight[size:] / (old_norm.running_var[size:] + old_norm.eps).sqrt()
        shift = old_norm.bias[size:] + scale * (norm.running_mean[size:] - old_norm.running_mean[size:])
        theirs = old_map.weight[:, size:, 0]
        last.weight[: old_map.out_channels, size:, 0] = theirs * scale * share
        last.bias[: old_map.out_channels] += theirs @ shift * share
    last.weight[old_map.out_channels :, size:, 0] = plain
    network.asp_bn, network.fc, network.plain = norm, last, True
