"""Do ratios that know the seconds of speech of both recordings do better? On scored trials.

    python recipes/speaker_verification/by_seconds.py --fit a-train.csv b-train.csv --test a.csv b.csv

The lists are ``scores.csv`` of ``evaluate.py``, one to be tested for each to fit on. The ratios are fitted at several
priors, on the list of the same place or on all lists together, with seconds and without. First the cost for speakers of
those lists who were not in the fit, in bits (mean over random halves, each list for itself), by which to choose; then
the tested lists, actual costs against the best threshold on the same ratios.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from evaluate import read_scores

from speechssl import errors
from speechssl.verification import calibration, metrics

PRIORS = (0.01, 0.02, 0.05, 0.5)
HALVES = 6

Ratios = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """Scores (N,), labels (N,), seconds of speech (N, 2), speakers (2, N)."""

    scores: np.ndarray
    labels: np.ndarray
    seconds: np.ndarray
    sides: np.ndarray

    def of(self, chosen: np.ndarray) -> Sample:
        """Those trials (N,) that are true."""
        return Sample(self.scores[chosen], self.labels[chosen], self.seconds[chosen], self.sides[:, chosen])


def read(path: Path) -> Sample:
    """A ``scores.csv`` with seconds."""
    trials, scores, seconds, _ = read_scores(path)
    if seconds is None:
        raise SystemExit(f"{path} has no seconds of speech; let evaluate.py write it anew")
    labels = np.array([trial.is_target for trial in trials])
    return Sample(scores, labels, seconds, np.array([trial.sides for trial in trials]).T)


def joined(samples: list[Sample]) -> Sample:
    """All trials of several lists."""
    parts = [[getattr(sample, name) for sample in samples] for name in ("scores", "labels", "seconds", "sides")]
    return Sample(*(np.concatenate(part, axis=-1 if part[0].dtype.kind == "U" else 0) for part in parts))


def fitted(sample: Sample, by_seconds: bool, prior: float) -> Ratios:
    """Log-likelihood ratios as a function of scores and seconds."""
    if not by_seconds:
        scale, offset = calibration.fit_logistic(sample.scores, sample.labels, prior=prior)
        return lambda scores, seconds: scale * scores + offset
    scale, offset, slopes = calibration.fit_by_seconds(sample.scores, sample.labels, sample.seconds, prior=prior)

    def ratios(scores: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        more, shift = slopes.slopes(seconds)
        return (scale + more) * scores + offset + shift

    return ratios


def bits(llrs: np.ndarray, labels: np.ndarray, prior: float) -> float:
    """Cross-entropy of the posteriors at a prior, relative to that of knowing the prior alone."""
    logits = llrs - metrics.bayes_threshold(prior)
    cost = prior * np.logaddexp(0, -logits[labels]).mean() + (1 - prior) * np.logaddexp(0, logits[~labels]).mean()
    return float(cost / -(prior * math.log(prior) + (1 - prior) * math.log(1 - prior)))


def halves(samples: list[Sample], rng: np.random.Generator) -> Iterator[tuple[Sample, Sample]]:
    """Of each list the trials within a random half of its speakers, and those within the other half."""
    for sample in samples:
        names = np.unique(sample.sides)
        chosen = rng.permutation(names)[: len(names) // 2]
        inside = np.isin(sample.sides, chosen)
        yield sample.of(inside.all(0)), sample.of(~inside.any(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if len(args.fit) != len(args.test):
        raise SystemExit(f"{len(args.fit)} lists to fit on for {len(args.test)} to test; one each needed")
    known = [read(path) for path in args.fit]
    rng = np.random.default_rng(args.seed)
    parted = [list(halves(known, rng)) for _ in range(HALVES)]
    for by_seconds in (False, True):
        for prior in PRIORS:
            costs = []
            for parts in parted:
                ratios = fitted(joined([first for first, _ in parts]), by_seconds, prior)
                unseen = [(ratios(other.scores, other.seconds), other.labels) for _, other in parts]
                costs.append([[bits(llrs, labels, at) for at in (0.01, 0.05, 0.5)] for llrs, labels in unseen])
            cost = {str(path): row for path, row in zip(args.fit, np.mean(costs, 0).round(4).tolist(), strict=True)}
            print(json.dumps({"by_seconds": by_seconds, "prior": prior, "bits_at_0.01_0.05_0.5": cost}), flush=True)
    for own, path in zip(known, args.test, strict=True):
        test = read(path)
        for where, sample in (("its own", own), ("all", joined(known))):
            for by_seconds in (False, True):
                for prior in PRIORS:
                    llrs = fitted(sample, by_seconds, prior)(test.scores, test.seconds)
                    row = {"tested": str(path), "fitted_on": where, "by_seconds": by_seconds, "prior": prior}
                    curve = metrics.roc(llrs, test.labels)
                    row["cllr_gap"] = round(metrics.cllr(llrs, test.labels) - curve.min_cllr(), 4)
                    for at in (0.01, 0.05):
                        actual = metrics.act_dcf(llrs, test.labels, prior=at)
                        least = curve.min_dcf(at)
                        row[f"dcf({at})"] = [round(actual, 3), round(actual / least, 3)]
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    errors.run_recipe(main)
