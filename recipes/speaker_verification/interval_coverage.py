"""Does a stated false-alarm interval hold? On scored trials, over random halves of the speakers.

    python recipes/speaker_verification/interval_coverage.py results/scores.csv --false-alarm 0.01

One half calibrates and states its interval, the other half, whom the calibration has not seen, shows its rate; counted
is how often the rate lies inside. Beside it Cllr and actual costs against the best in hindsight, of the other half.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from evaluate import read_scores

from speechssl import errors
from speechssl.verification import calibration, metrics


def one_draw(
    scores: np.ndarray,
    labels: np.ndarray,
    sides: np.ndarray,
    seconds: np.ndarray | None,
    rng: np.random.Generator,
    rate: float,
    inner: int,
) -> dict[str, float]:
    """A random half calibrates, the other is measured."""
    names = np.unique(sides)
    half = set(rng.permutation(names)[: len(names) // 2].tolist())
    inside = np.array([[name in half for name in side] for side in sides])
    here, there = inside.all(0), ~inside.any(0)
    found = calibration.calibrate(
        scores[here], labels[here], *sides[:, here], origin="-", source="-", false_alarm=rate, draws=inner,
        seed=int(rng.integers(2**31)), seconds=None if seconds is None else seconds[here],
    )  # fmt: skip
    truth, known = labels[there], None if seconds is None else seconds[there]
    llrs, values = found.llrs(scores[there], known), found.typical(scores[there], known)
    realised = float((values[~truth] >= found.threshold).mean())
    row = {
        "inside": float(found.false_alarm_low <= realised <= found.false_alarm_high),
        "realised": realised,
        "low": found.false_alarm_low,
        "high": found.false_alarm_high,
        "by_seconds": float(found.by_seconds is not None),
        "cllr_gap": metrics.cllr(llrs, truth) - metrics.roc(llrs, truth).min_cllr(),
    }
    for prior in (0.01, 0.05):
        row[f"act_dcf({prior})"] = metrics.act_dcf(llrs, truth, prior=prior)
        row[f"min_dcf({prior})"] = metrics.roc(llrs, truth).min_dcf(prior)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path, help="CSV trial list with a column score, as evaluate.py writes")
    parser.add_argument("--false-alarm", type=float, default=0.01)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--inner", type=int, default=100, help="draws inside each calibration")
    parser.add_argument("--scores-alone", action="store_true", help="ratios that do not know the seconds of speech")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    trials, scores, seconds, _ = read_scores(args.scores)
    seconds = None if args.scores_alone else seconds
    labels = np.array([trial.is_target for trial in trials])
    sides = np.array([trial.sides for trial in trials]).T
    rng = np.random.default_rng(args.seed)
    rows = [one_draw(scores, labels, sides, seconds, rng, args.false_alarm, args.inner) for _ in range(args.draws)]
    mean = {key: round(float(np.mean([row[key] for row in rows])), 5) for key in rows[0]}
    print(json.dumps({"speakers": len(np.unique(sides)), "trials": len(trials), "draws": args.draws, **mean}))


if __name__ == "__main__":
    errors.run_recipe(main)
