"""Two-covariance PLDA: a speaker is a Gaussian around a Gaussian; the score is the log-likelihood ratio of one or two.

Needs recordings of labelled speakers, several of each. Where there are few, cosines are as good.

Source: Brümmer and de Villiers 2010, "The speaker partitioning problem"; Prince and Elder 2007; length normalisation:
Garcia-Romero and Espy-Wilson 2011.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechssl import checkpoints
from speechssl.errors import CheckpointError, InputError

Floats = NDArray[np.float64]
_ARRAYS = ("mean", "directions", "between")


@dataclass(frozen=True, eq=False)
class Plda:
    """Embedding = mean + speaker + utterance, in directions where both covariances are diagonal.

    Args:
        origin: of the embeddings it was fitted on.
        mean: (E,) taken off before length normalisation.
        directions: (E, D) under which the utterances of a speaker have unit covariance.
        between: (D,) variance of speakers in each direction, >= 0.
    """

    origin: str
    mean: Floats
    directions: Floats
    between: Floats

    def project(self, vectors: Floats) -> Floats:
        """Embeddings (N, E) in the model's directions (N, D)."""
        return _unit(vectors - self.mean) @ self.directions

    def score(self, enrolment: Floats, test: Floats) -> Floats:
        """Natural-log likelihood ratio (N,) of one speaker against two, row by row.

        Args:
            enrolment: (N, E), or (N, M, E): M recordings of a speaker, taken together and not averaged.
            test: (N, E).
        """
        many = enrolment if enrolment.ndim == 3 else enrolment[:, None]
        count = many.shape[1]
        total = self.project(many.reshape(-1, many.shape[2])).reshape(len(many), count, -1).sum(1)  # (N, D)
        one = self.project(test)
        return _evidence(total + one, count + 1, self.between) - (
            _evidence(total, count, self.between) + _evidence(one, 1, self.between)
        )


def save(path: str | Path, plda: Plda, *, source: str) -> Path:
    """Keep a PLDA in one safetensors file; ``source`` says what it was fitted on."""
    import torch

    tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(plda, name))) for name in _ARRAYS}
    return checkpoints.save(path, tensors, {"kind": "plda", "origin": plda.origin, "provenance": {"fitted_on": source}})


def load(path: str | Path) -> Plda:
    """A PLDA of ``save``.

    Raises:
        CheckpointError: no such file, damaged, of another kind, or with arrays that do not fit each other.
    """
    checkpoint = checkpoints.load(path, kind="plda")
    arrays = {name: tensor.double().numpy().copy() for name, tensor in checkpoint.tensors.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    whole = shapes == {"mean": (dim := shapes.get("mean", (0,))[0],), "directions": (dim, dim), "between": (dim,)}
    if not whole or not isinstance(checkpoint.header.get("origin"), str):
        raise CheckpointError(f"{path} holds no usable PLDA (arrays {shapes}); fit it again")
    return Plda(checkpoint.header["origin"], **arrays)


def fit(vectors: Floats, speakers: Sequence[str], *, origin: str, shrink: float = 0.1, steps: int = 20) -> Plda:
    """Fit by expectation-maximisation to embeddings (N, E) of labelled speakers.

    Args:
        shrink: of the within-speaker covariance toward a multiple of the identity; recordings of a few dozen speakers
            do not settle a covariance of hundreds of numbers.
        steps: of EM, from the moments.
    Raises:
        InputError: fewer than two speakers, or nobody with two recordings.
    """
    names, owner = np.unique(np.asarray(speakers), return_inverse=True)
    if vectors.shape[0] != len(owner) or len(names) < 2 or len(owner) == len(names):
        raise InputError(
            f"{len(vectors)} embeddings of {len(names)} speaker(s); PLDA needs two speakers or more, several recordings"
        )
    mean = np.asarray(vectors, np.float64).mean(0)
    data = _unit(vectors - mean)
    counts = np.bincount(owner).astype(np.float64)
    sums = np.zeros((len(names), data.shape[1]))
    np.add.at(sums, owner, data)
    centre = sums / counts[:, None]
    residual = data - centre[owner]
    within = _shrunk(residual.T @ residual / (len(data) - len(names)), shrink)
    between = _positive(centre.T @ centre / len(names) - within * float((1 / counts).mean()))
    scatter = data.T @ data
    for _ in range(steps):
        between, within = _step(between, within, sums, counts, scatter, len(data))
        within = _shrunk(within, shrink)
    return _diagonal(origin, mean, between, within)


def _step(
    between: Floats, within: Floats, sums: Floats, counts: Floats, scatter: Floats, total: int
) -> tuple[Floats, Floats]:
    """One step of EM on speaker sums (S, E), counts (S,) and the scatter of all data (E, E)."""
    size = len(within)
    new_between, cross, spread = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for count in np.unique(counts):
        rows = sums[counts == count]
        # posterior of a speaker: covariance (B^-1 + n W^-1)^-1 = B (W + n B)^-1 W, mean B (W + n B)^-1 sum
        gain = between @ np.linalg.inv(within + count * between)
        covariance, means = gain @ within, rows @ gain.T
        moment = len(rows) * covariance + means.T @ means
        new_between += moment
        cross += rows.T @ means
        spread += count * moment
    new_within = (scatter - cross - cross.T + spread) / total
    return _positive(new_between / len(sums)), (new_within + new_within.T) / 2


def _diagonal(origin: str, mean: Floats, between: Floats, within: Floats) -> Plda:
    """Directions in which the within covariance is the identity and the other one diagonal."""
    from scipy.linalg import eigh

    values, vectors = eigh(between, within)
    return Plda(origin, mean, vectors, np.maximum(values, 0))


def _evidence(total: Floats, count: int, between: Floats) -> Floats:
    """Log evidence (N,) of ``count`` recordings with sum ``total`` (N, D) by one speaker, without what cancels."""
    gain = between / (1 + count * between)
    return 0.5 * (total**2 * gain).sum(1) - 0.5 * float(np.log1p(count * between).sum())


def _unit(vectors: Floats) -> Floats:
    found: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return found * float(vectors.shape[-1]) ** 0.5


def _shrunk(covariance: Floats, share: float) -> Floats:
    size = len(covariance)
    return (1 - share) * covariance + share * np.trace(covariance) / size * np.eye(size)


def _positive(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors * np.maximum(values, 1e-9 * values.max())) @ vectors.T
