"""DET curves of several results in one picture, one for each folder.

python recipes/speaker_verification/det.py results/tiny results/peer results/mfcc --output det.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from evaluate import draw_det, read_scores

from speechssl import errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders that evaluate.py wrote")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    curves = {}
    for folder in args.results:
        trials, scores, *_ = read_scores(folder / "scores.csv")
        curves[folder.name] = scores, np.array([trial.is_target for trial in trials])
    draw_det(args.output, curves)


if __name__ == "__main__":
    errors.run_recipe(main)
