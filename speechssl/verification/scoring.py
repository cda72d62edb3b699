"""Scores of two recordings: cosine and AS-norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechssl.errors import InputError
from speechssl.signals import Embedding, check_same_origin
from speechssl.verification.by_cohort import ByCohort, measured

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
COHORT = 200  # most similar cohort members that normalise a score


def score(
    enrolment: Sequence[Embedding],
    test: Embedding,
    *,
    cohort: Tensor | None = None,
    part: tuple[int, int] | None = None,
    by_cohort: ByCohort | None = None,
) -> float:
    """Cosine of the test with the mean of the enrolment embeddings; AS-norm of the cosine if there is a cohort.

    Args:
        enrolment: one or more utterances of one speaker; their mean is brought to unit norm again.
        cohort: (K, E) unit embeddings of other speakers, K >= 2. The score is taken relative to the cosines of the
            enrolment, and of the test, with the ``COHORT`` members nearest to each.
        part: first number of the embeddings that counts, and the first after it that does not; None: all count.
        by_cohort: what is added to the cosine by the cohort, instead of AS-norm.
    Raises:
        InputError: nothing enrolled, or embeddings of different models.
    Source: AS-norm: Matejka et al. 2017, "Analysis of score normalization in multilingual speaker recognition".
    """
    if not enrolment:
        raise InputError("nothing enrolled to compare with")
    for embedding in enrolment:
        check_same_origin(embedding.origin, test.origin, what="compare two recordings")
    mean = np.mean([counting(embedding.vector.double().numpy(), part) for embedding in enrolment], axis=0)
    sides = np.stack([mean, counting(test.vector.double().numpy(), part)])
    sides /= np.maximum(np.linalg.norm(sides, axis=1, keepdims=True), 1e-12)
    cosine = float(sides[0] @ sides[1])
    if cohort is None:
        return cosine
    others = counting(cohort.double().numpy(), part)
    if by_cohort is not None:
        near = measured(sides, others)
        return cosine + float(by_cohort.added(near[:1], near[1:])[0])
    centres, spreads = cohort_statistics(sides, others)
    return float(((cosine - centres) / spreads).mean())


def counting(vectors: Floats, part: tuple[int, int] | None) -> Floats:
    """The part (..., P) of embeddings (..., E), at unit norm; None: all of them, as they are."""
    if part is None:
        return vectors
    found = vectors[..., slice(*part)]
    return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)


def cohort_statistics(vectors: Floats, cohort: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (M,) of the ``COHORT`` highest cosines of each vector with a cohort.

    Args:
        vectors: (M, E) unit vectors.
        cohort: (K, E) unit vectors of other speakers.
    Raises:
        InputError: K < 2.
    """
    if len(cohort) < 2:
        raise InputError(f"a cohort of {len(cohort)} speaker(s); at least two needed")
    count = min(COHORT, len(cohort))
    highest = np.partition(vectors @ cohort.T, len(cohort) - count, axis=1)[:, -count:]
    return highest.mean(1), np.maximum(highest.std(1, ddof=1), 1e-6)
