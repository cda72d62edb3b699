"""Measure a speaker embedder on a trial list or on a folder of speakers, with curves.

    python recipes/speaker_verification/evaluate.py folder --model tiny --output results
    python recipes/speaker_verification/evaluate.py veri_test.txt --root voxceleb1/wav --model ecapa --output results

Writes ``report.json``, ``scores.tsv`` and, with matplotlib, ``det.png`` and ``scores.png``. Embeddings are kept
in ``OUTPUT/embeddings`` by content and model, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np

from speechssl import embedders, evaluation, metrics, verification
from speechssl.errors import SpeechSSLError
from speechssl.trials import Trial, find_recordings, make_trials, read_trials

TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4)  # rates written at the axes of the DET curve


def draw_det(path: Path, scores: np.ndarray, labels: np.ndarray) -> None:
    """Detection error trade-off curve on normal-deviate axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="false alarms, %", ylabel="misses, %", aspect="equal")
    axes.plot(*metrics.det_points(scores, labels))
    places = [statistics.NormalDist().inv_cdf(tick) for tick in TICKS]
    axes.plot(places, places, color="lightgrey", linewidth=0.8)
    axes.set_xticks(places, [f"{100 * tick:g}" for tick in TICKS])
    axes.set_yticks(places, [f"{100 * tick:g}" for tick in TICKS])
    figure.savefig(path, dpi=120)


def draw_scores(path: Path, scores: np.ndarray, labels: np.ndarray) -> None:
    """Histograms of target and non-target scores."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="score", ylabel="density")
    bins = np.linspace(scores.min(), scores.max() + 1e-9, 60)
    for name, side in (("same speaker", labels), ("different speakers", ~labels)):
        axes.hist(scores[side], bins=bins, density=True, alpha=0.6, label=name)
    axes.legend()
    figure.savefig(path, dpi=120)


def write_scores(path: Path, trials: list[Trial], scores: np.ndarray) -> None:
    """One line a trial: label, both recordings, score."""
    lines = [
        f"{int(trial.is_target)}\t{trial.enrolment}\t{trial.test}\t{value:.6f}\n"
        for trial, value in zip(trials, scores.tolist(), strict=True)
    ]
    path.write_text("".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="trial list, or folder speaker/**/recording")
    parser.add_argument("--root", type=Path, default=None, help="where the list's paths begin; its folder")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--as-norm", action="store_true")
    parser.add_argument("--per-speaker", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    try:
        embedder = embedders.load(args.model)
        if args.target.is_dir():
            trials, root = (
                make_trials(find_recordings(args.target), per_speaker=args.per_speaker, seed=args.seed),
                args.target,
            )
        else:
            trials, root = read_trials(args.target), args.root or args.target.parent
        cohort = getattr(embedder, "cohort", None) if args.as_norm else None
        if args.as_norm and cohort is None:
            raise SystemExit(f"{embedder.origin} came without a cohort; leave --as-norm out")
        args.output.mkdir(parents=True, exist_ok=True)
        report, scores = evaluation.evaluate(
            trials,
            root,
            embedder,
            calibration=None if args.as_norm else verification.shipped_calibration(embedder),
            cohort=None if cohort is None else cohort.numpy(),
            cache=args.output / "embeddings",
            workers=args.workers,
        )
    except SpeechSSLError as error:
        raise SystemExit(f"error: {error}") from error
    evaluation.save_report(args.output / "report.json", report)
    write_scores(args.output / "scores.tsv", trials, scores)
    labels = np.array([trial.is_target for trial in trials])
    try:
        draw_det(args.output / "det.png", scores, labels)
        draw_scores(args.output / "scores.png", scores, labels)
    except ImportError:
        print("no curves: matplotlib is not installed")
    print(json.dumps({key: value for key, value in report.items() if key != "speakers_worst_first"}, indent=1))


if __name__ == "__main__":
    main()
