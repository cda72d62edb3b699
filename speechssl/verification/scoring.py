"""Scores of two recordings: cosine and AS-norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechssl.errors import InputError
from speechssl.signals import Embedding, check_same_origin

if TYPE_CHECKING:
    from torch import Tensor


COHORT = 200  # most similar cohort members that normalise a score


def score(enrolment: Sequence[Embedding], test: Embedding, *, cohort: Tensor | None = None) -> float:
    """Cosine of the test with the mean of the enrolment embeddings, or AS-norm of it with a cohort.

    Args:
        enrolment: one or more utterances of one speaker; their mean is brought to unit norm again.
        cohort: (K, E) unit embeddings of other speakers, K >= 2: the score is taken relative to those the enrolment,
            and those the test, is most similar to (200 at most).
    Raises:
        InputError: nothing enrolled, or embeddings of different models.
    Source: AS-norm: Matejka et al. 2017, "Analysis of score normalization in multilingual speaker recognition".
    """
    import torch

    if not enrolment:
        raise InputError("nothing enrolled to compare with")
    for embedding in enrolment:
        check_same_origin(embedding.origin, test.origin, what="compare two recordings")
    mean = torch.stack([embedding.vector.double() for embedding in enrolment]).mean(0)
    sides = [mean / mean.norm().clamp(min=1e-12), test.vector.double() / test.vector.double().norm()]
    cosine = float(sides[0] @ sides[1])
    if cohort is None:
        return cosine
    return sum((cosine - centre) / spread for centre, spread in (_against(side, cohort) for side in sides)) / 2


def _against(side: Tensor, cohort: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the highest cosines with the cohort."""
    if cohort.shape[0] < 2:
        raise InputError(f"a cohort of {cohort.shape[0]} speaker(s); at least two needed")
    nearest = (cohort.double() @ side).topk(min(COHORT, cohort.shape[0])).values
    return float(nearest.mean()), max(float(nearest.std()), 1e-6)
