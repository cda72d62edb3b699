"""Transport: the source's own values, moved to the statistics of the voice."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from speechssl.conversion.converters.means import Candidates, Trace, centre_of, pieces, plain
from speechssl.errors import InputError

GROUP = 2  # dimensions mapped together; the paper's best
RIDGE = 1e-6  # of the mean variance; keeps constant dimensions in place


def transported(candidates: Candidates) -> tuple[Tensor, Trace]:
    """The source's own values (N, V) through ``fit_transport``; the trace only names the nearest frames."""
    own = candidates.source.own_values.frames
    trace = plain(candidates.nearest)
    moved = fit_transport(own, candidates.voice.values)(own)
    return moved, dataclasses.replace(trace, weights=trace.weights * 0.0)


@dataclass(frozen=True, eq=False)
class TransportMap:
    """A linear map per group of dimensions: y = m' + T (x - m). Made by ``fit_transport``.

    Args:
        mean: (V,) float64 m, of the source.
        target_mean: (V,) float64 m'.
        groups: dimensions (G, g) of each group and their matrices T (G, g, g) float64, by size of group.
    """

    mean: Tensor
    target_mean: Tensor
    groups: tuple[tuple[Tensor, Tensor], ...]

    def __call__(self, values: Tensor) -> Tensor:
        """Map frames (N, V)."""
        result = torch.empty(values.shape, dtype=torch.float32)
        for part in pieces(len(values), values.shape[1] * 4):
            centred = values[part].double() - self.mean
            for dims, matrices in self.groups:
                moved = torch.einsum("ngi,gij->ngj", centred[:, dims], matrices) + self.target_mean[dims]
                result[part, dims.flatten()] = moved.flatten(1).float()
        return result


def fit_transport(source: Tensor, target: Tensor, *, group: int = GROUP) -> TransportMap:
    """The factorised Monge-Kantorovich map between the Gaussians of two sets of frames.

    Dimensions are sorted by the source's standard deviation, largest first, and taken ``group`` at a time. In each
    group, with covariances A of the source and B of the target (each + r I, where r is 1e-6 of the source's mean
    variance): T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2, the only symmetric positive matrix with T A T = B.

    Args:
        source: (N, V) values of the source speaker, N >= group + 4.
        target: (M, V) values of the voice, M >= group + 4.
        group: dimensions mapped together, >= 1; the last group takes what is left.
    Raises:
        InputError: too few frames, other dimensions, or a group below 1.
    Source: MKL-VC, Lobashev et al. 2025, arXiv:2506.09709, sections 2.2 and 2.3; r keeps constant dimensions in place.
    """
    least = group + 4
    if group < 1 or min(len(source), len(target)) < least or source.shape[1] != target.shape[1]:
        raise InputError(
            f"transport from {len(source)} frames of {source.shape[1]} numbers to {len(target)} of {target.shape[1]} "
            f"in groups of {group}: at least {max(least, 5)} frames on both sides and equal numbers needed"
        )
    mean, target_mean = centre_of(source), centre_of(target)
    every = torch.arange(source.shape[1])[:, None]
    variance = _covariances(source, mean, every).flatten()
    order = variance.argsort(descending=True, stable=True)
    ridge = RIDGE * float(variance.mean())
    whole = len(order) // group * group
    parts = [order[:whole].view(-1, group), order[whole:].view(1, -1)]
    groups = [
        (dims, _monge_kantorovich(_covariances(source, mean, dims), _covariances(target, target_mean, dims), ridge))
        for dims in parts
        if dims.numel()
    ]
    return TransportMap(mean, target_mean, tuple(groups))


def _monge_kantorovich(a: Tensor, b: Tensor, ridge: float) -> Tensor:
    # both constant: any ridge gives the identity
    ridged = (ridge or 1.0) * torch.eye(a.shape[-1], dtype=a.dtype)
    root, inverse = _power(a + ridged, 0.5), _power(a + ridged, -0.5)
    return inverse @ _power(root @ (b + ridged) @ root, 0.5) @ inverse


def _power(matrices: Tensor, exponent: float) -> Tensor:
    """Powers of symmetric positive matrices (G, g, g)."""
    values, vectors = torch.linalg.eigh(matrices)
    return (vectors * values.clamp(min=1e-300)[:, None, :] ** exponent) @ vectors.transpose(1, 2)


def _covariances(values: Tensor, mean: Tensor, dims: Tensor) -> Tensor:
    """(G, g, g) unbiased covariances of the dimensions (G, g), in float64, block by block."""
    total = torch.zeros(*dims.shape, dims.shape[1], dtype=torch.float64)
    for part in pieces(len(values), values.shape[1] * 4):
        centred = (values[part].double() - mean)[:, dims]
        total += torch.einsum("ngi,ngj->gij", centred, centred)
    return total / (len(values) - 1)
