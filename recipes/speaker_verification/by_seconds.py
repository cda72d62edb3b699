"""Would a calibration that knows how long both recordings are do better? On scored trials.

    python recipes/speaker_verification/by_seconds.py MANIFEST.csv --fit a-train.csv b-train.csv --test a.csv b.csv

The lists are ``scores.csv`` of ``evaluate.py``, one to be tested for each to fit on; the seconds are the manifest's.
Rows: the score alone, and with the log seconds of the shorter and the longer recording and their products with the
score; fitted at several priors, on the list of the same place or on all lists together. The costs with seconds are
against the best threshold on ratios that know them too.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path

import numpy as np

from speechssl import metrics

PRIORS = (0.01, 0.02, 0.05, 0.5)
RIDGE = 1e-6  # on standardised features: thousands of trials speak for themselves


def read(path: Path, seconds: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (N,), labels (N,), and log seconds (N, 2), the shorter side first."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lengths = np.log([[seconds[row["enrolment"]], seconds[row["test"]]] for row in rows])
    labels = np.array([row["label"] == "1" for row in rows])
    return np.array([float(row["score"]) for row in rows]), labels, np.sort(lengths, axis=1)


def features(scores: np.ndarray, lengths: np.ndarray, *, by_seconds: bool) -> np.ndarray:
    """(N, 1) or (N, 5)."""
    plain = scores[:, None]
    return np.concatenate([plain, lengths, plain * lengths], axis=1) if by_seconds else plain


def fitted(x: np.ndarray, labels: np.ndarray, prior: float) -> tuple[np.ndarray, float]:
    """Weights (S,) and offset of the log-likelihood ratio, by logistic regression weighted for a prior."""
    share = np.where(labels, prior / labels.sum(), (1 - prior) / (~labels).sum())
    mean, spread = x.mean(0), x.std(0)
    standard = np.concatenate([(x - mean) / spread, np.ones((len(x), 1))], axis=1)
    penalty, weights = np.append(np.full(x.shape[1], RIDGE), 1e-9), np.zeros(x.shape[1] + 1)
    for _ in range(200):
        chance = 1 / (1 + np.exp(-np.clip(standard @ weights + math.log(prior / (1 - prior)), -500, 500)))
        slope = standard.T @ (share * (labels - chance)) - penalty * weights
        curve = (standard * (share * chance * (1 - chance))[:, None]).T @ standard + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights = weights + step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-9:
            break
    return weights[:-1] / spread, float(weights[-1] - (weights[:-1] / spread) @ mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    if len(args.fit) != len(args.test):
        raise SystemExit(f"{len(args.fit)} lists to fit on for {len(args.test)} to test; one each needed")
    with args.manifest.open(newline="", encoding="utf-8") as file:
        seconds = {row["path"]: float(row["seconds"]) for row in csv.DictReader(file)}
    known = [read(path, seconds) for path in args.fit]
    together = tuple(np.concatenate(parts) for parts in zip(*known, strict=True))
    for own, path in zip(known, args.test, strict=True):
        scores, labels, lengths = read(path, seconds)
        for where, (fit_scores, fit_labels, fit_lengths) in (("its own", own), ("all", together)):
            for by_seconds in (False, True):
                x = features(scores, lengths, by_seconds=by_seconds)
                for prior in PRIORS:
                    weights, offset = fitted(
                        features(fit_scores, fit_lengths, by_seconds=by_seconds), fit_labels, prior
                    )
                    llrs = x @ weights + offset
                    row = {"tested": str(path), "fitted_on": where, "by_seconds": by_seconds, "prior": prior}
                    row["cllr_gap"] = round(metrics.cllr(llrs, labels) - metrics.min_cllr(llrs, labels), 4)
                    for at in (0.01, 0.05):
                        actual, least = metrics.act_dcf(llrs, labels, prior=at), metrics.min_dcf(llrs, labels, prior=at)
                        row[f"dcf({at})"] = [round(actual, 3), round(actual / least, 3)]
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
