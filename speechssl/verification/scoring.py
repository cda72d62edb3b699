"""Scores of two recordings: cosine and AS-norm."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    return Scorer(test, cohort).score(enrolment, part=part, by_cohort=by_cohort, normed=by_cohort is None)


class Scorer:
    """Scores one test with one enrolment after the other; the test is measured against the cohort once.

    Args:
        test, cohort: as for ``score``.
    """

    def __init__(self, test: Embedding, cohort: Tensor | None = None) -> None:
        self._test = test
        self._cohort = None if cohort is None else cohort.double().numpy()
        self._sides: dict[tuple[int, int] | None, _Side] = {}

    def score(
        self,
        enrolment: Sequence[Embedding],
        *,
        part: tuple[int, int] | None = None,
        by_cohort: ByCohort | None = None,
        normed: bool = False,
    ) -> float:
        """The cosine, with what ``by_cohort`` adds, or else by AS-norm if it is to be ``normed``.

        Raises:
            InputError: as ``score``.
        """
        if not enrolment:
            raise InputError("nothing enrolled to compare with")
        for embedding in enrolment:
            check_same_origin(embedding.origin, self._test.origin, what="compare two recordings")
        if part not in self._sides:
            others = None if self._cohort is None else counting(self._cohort, part)
            self._sides[part] = _Side.of([self._test], part, others)
        test = self._sides[part]
        known = _Side.of(enrolment, part, test.others)
        cosine = float(known.vector @ test.vector)
        if self._cohort is not None and by_cohort is not None:
            return cosine + float(by_cohort.added(known.near, test.near)[0])
        if self._cohort is not None and normed:
            sides = (known.highest, test.highest)
            return float(np.mean([(cosine - centres) / spreads for centres, spreads in sides]))
        return cosine


@dataclass(eq=False)
class _Side:
    """A unit vector (P,), and what it is measured against, the cohort (K, P)."""

    vector: Floats
    others: Any

    @classmethod
    def of(cls, embeddings: Sequence[Embedding], part: tuple[int, int] | None, others: Floats | None) -> _Side:
        """The mean of embeddings, at unit norm again."""
        mean = np.mean([counting(one.vector.double().numpy(), part) for one in embeddings], axis=0)
        return cls(mean / max(float(np.linalg.norm(mean)), 1e-12), others)

    @functools.cached_property
    def near(self) -> Floats:
        return measured(self.vector[None], self.others)

    @functools.cached_property
    def highest(self) -> tuple[Floats, Floats]:
        return cohort_statistics(self.vector[None], self.others)


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
