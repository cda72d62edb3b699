"""Fit the calibration of an embedder file on scored trials and write it with the same weights, under a new fingerprint.

    python recipes/speaker_verification/calibrate.py speaker.safetensors --scores a/scores.csv b/scores.csv --output new

The lists are those of ``evaluate.py`` with this very file as ``--model``, before it is calibrated.
No trial pairs recordings of two lists, so that no corpus gives its speakers away. First is fitted what the nearness of
both recordings to the cohort adds to a cosine, then the ratio.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from evaluate import read_scores

from speechssl import checkpoints, errors
from speechssl.errors import SpeechSSLError
from speechssl.verification import calibration, logistic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, metavar="CSV")
    parser.add_argument("--source", default="the training speakers of recipes/dino_speaker")
    parser.add_argument(
        "--false-alarm", type=float, default=None, help="rate of a cautious threshold; where the ratio is 1"
    )
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    lists = [read_scores(path) for path in args.scores]
    if any(part is None for one in lists for part in one):
        raise SystemExit("a list has no seconds of speech or no cosines with a cohort; let evaluate.py write it anew")
    trials = [trial for one in lists for trial in one[0]]
    scores, seconds, near = (np.concatenate([one[place] for one in lists]) for place in (1, 2, 3))
    labels = [trial.is_target for trial in trials]
    sides = zip(*(trial.sides for trial in trials), strict=True)
    try:
        checkpoint = checkpoints.load(args.model, kind="embedder")
        if (checkpoint.header.get("calibration") or {}).get("by_cohort"):
            raise SystemExit(f"the scores of {args.model} know its cohort already; give the file of floor.py")
        added = logistic.fit_by_cohort(scores, labels, seconds, near[:, :2], near[:, 2:])
        found = calibration.calibrate(
            scores + added.added(near[:, :2], near[:, 2:]), labels, *sides, origin="-", source=args.source,
            seconds=seconds, false_alarm=args.false_alarm, by_cohort=added, draws=100,
        )  # fmt: skip
        values = {**found.as_dict(), "cautious": args.false_alarm is not None}
        del values["origin"]  # that of the file, which does not exist yet
        header = {key: value for key, value in checkpoint.header.items() if key not in ("sha256", "format")}
        checkpoints.save(args.output, checkpoint.tensors, {**header, "calibration": values})
    except SpeechSSLError as error:
        raise SystemExit(f"error: {error}") from error
    print(json.dumps(values))


if __name__ == "__main__":
    errors.run_recipe(main)
