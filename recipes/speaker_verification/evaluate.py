"""Measure a speaker embedder on a trial list or on a folder of speakers, with curves.

    python recipes/speaker_verification/evaluate.py folder --model tiny --output results
    python recipes/speaker_verification/evaluate.py veri_test.txt --root voxceleb1/wav --model ecapa --output results
    python recipes/speaker_verification/evaluate.py dev.csv --root DATA --calibrate train.csv --output results
    python recipes/speaker_verification/evaluate.py dev.csv --scores peer.csv --output results

Writes ``report.json``, ``scores.csv`` (the trials, their scores and seconds of speech, and how near the recordings are
to the cohort) and, with matplotlib, ``det.png`` and ``scores.png``. ``--model mfcc`` and ``--model untrained`` are
floors. ``--calibrate`` fits the likelihood ratios and, ``--plda`` a PLDA, on another list or folder, with speakers that
are not tested; the ratios follow the seconds of speech where that helps other speakers, unless ``--scores-alone``.
``--scores`` measures scores made elsewhere. Embeddings are kept in ``OUTPUT/embeddings`` by content and model: an
interrupted run goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from pathlib import Path

import floors
import numpy as np

from speechssl import errors
from speechssl.errors import SpeechSSLError
from speechssl.signals import Embedder
from speechssl.verification import by_cohort, calibration, decisions, evaluation, metrics
from speechssl.verification.calibration import Calibration
from speechssl.verification.plda import Plda
from speechssl.verification.trials import (
    Trial,
    files_of,
    find_recordings,
    make_trials,
    read_enrolments,
    read_trials,
    recordings_of,
)

SECONDS = ("enrolment_seconds", "test_seconds")  # columns of speech
NEAR = ("enrolment_near", "enrolment_spread", "test_near", "test_spread")  # of the cosines with the cohort
TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4)  # rates written at the axes of the DET curve


def draw_det(path: Path, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Detection error trade-off curves of scores and labels by name, on normal-deviate axes."""
    errors.require_for_recipe("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="false alarms, %", ylabel="misses, %", aspect="equal")
    places = [statistics.NormalDist().inv_cdf(tick) for tick in TICKS]
    axes.plot(places, places, color="lightgrey", linewidth=0.8)
    for name, (scores, labels) in curves.items():
        error = 100 * metrics.roc(scores, labels).eer()
        axes.plot(*metrics.det_points(scores, labels), label=f"{name}, {error:.2f} %")
    axes.set_xticks(places, [f"{100 * tick:g}" for tick in TICKS])
    axes.set_yticks(places, [f"{100 * tick:g}" for tick in TICKS])
    axes.set_xlim(places[0], places[-1])
    axes.set_ylim(places[0], places[-1])
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def draw_scores(path: Path, scores: np.ndarray, labels: np.ndarray) -> None:
    """Histograms of target and non-target scores."""
    errors.require_for_recipe("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="score", ylabel="density")
    bins = np.linspace(scores.min(), scores.max() + 1e-9, 60)
    for name, side in (("same speaker", labels), ("different speakers", ~labels)):
        axes.hist(scores[side], bins=bins, density=True, alpha=0.6, label=name)
    axes.legend()
    figure.savefig(path, dpi=120)


def write_scores(
    path: Path,
    trials: list[Trial],
    scores: np.ndarray,
    seconds: np.ndarray | None = None,
    near: np.ndarray | None = None,
) -> None:
    """A CSV trial list with speakers, a column ``score`` and, where known, seconds (N, 2) and ``NEAR`` (N, 4)."""
    known = [*(SECONDS if seconds is not None else ()), *(NEAR if near is not None else ())]
    columns = [[f"{value:.2f}" for value in side] for side in ([] if seconds is None else seconds.T)]
    columns += [[f"{value:.6f}" for value in side] for side in ([] if near is None else near.T)]
    more = list(zip(*columns, strict=True)) if columns else [()] * len(trials)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = ["enrolment", "test", "label", "enrolment_speaker", "test_speaker", "score"]
        writer.writerow([*names, *known])
        for trial, value, sides in zip(trials, scores.tolist(), more, strict=True):
            writer.writerow([trial.enrolment, trial.test, int(trial.is_target), *trial.sides, f"{value:.6f}", *sides])


def read_scores(path: Path) -> tuple[list[Trial], np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Trials, scores (N,) and, if there, seconds of speech (N, 2) and ``NEAR`` (N, 4) of a CSV of scores."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    def columns(names: tuple[str, ...]) -> np.ndarray | None:
        known = all(name in row for row in rows for name in names)
        return np.array([[float(row[name]) for name in names] for row in rows]) if known else None

    return read_trials(path), np.array([float(row["score"]) for row in rows]), columns(SECONDS), columns(NEAR)


def trials_of(target: Path, root: Path | None, per_speaker: int, seed: int) -> tuple[list[Trial], Path]:
    """Trials of a list, or a balanced list for a folder of speakers, and where their paths begin."""
    if target.is_dir():
        return make_trials(find_recordings(target), per_speaker=per_speaker, seed=seed), target
    return read_trials(target), root or target.parent


class System:
    """An embedder with a way of scoring, its embeddings kept on disk."""

    def __init__(self, embedder: Embedder, cache: Path, workers: int, *, as_norm: bool = False) -> None:
        self.embedder, self._cache, self._workers = embedder, cache, workers
        self._plda: Plda | None = None
        self._cohort = None
        if as_norm and embedder.cohort is None:
            raise SystemExit(f"{embedder.origin} came without a cohort; leave --as-norm out")
        self._near = None if as_norm else decisions.added_by_cohort(embedder)
        if as_norm or self._near:
            self._cohort = embedder.cohort.numpy()
        self._as_norm = as_norm

    @property
    def scoring(self) -> str:
        """As a ``Calibration`` names it."""
        return "plda" if self._plda else "as-norm" if self._as_norm else "cosine"

    def fit_plda(self, trials: list[Trial], root: Path) -> None:
        """Fit on the recordings of a list, by their speakers."""
        self._plda = evaluation.fit_plda(
            recordings_of(trials), root, self.embedder, cache=self._cache, workers=self._workers
        )

    def scores(
        self, trials: list[Trial], root: Path, enrolments: dict[str, list[str]] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Scores (N,) of trials, seconds of speech (N, 2) of both sides and, with a cohort, ``NEAR`` (N, 4)."""
        names, how = files_of(trials, enrolments), {"cache": self._cache, "workers": self._workers}
        vectors, known = evaluation.enrol_together(
            *evaluation.hear_files(names, root, self.embedder, **how), enrolments
        )
        near = None if self._plda else self._near
        scores = evaluation.score_trials(trials, vectors, cohort=self._cohort, plda=self._plda, by_cohort=near)
        return scores, evaluation.seconds_of(trials, known), self._measures(trials, vectors)

    def _measures(self, trials: list[Trial], vectors: dict[str, np.ndarray]) -> np.ndarray | None:
        if self.embedder.cohort is None:
            return None
        names = list(vectors)
        found = by_cohort.measured(np.stack([vectors[name] for name in names]), self.embedder.cohort.double().numpy())
        by_name = dict(zip(names, found, strict=True))
        return np.stack([np.concatenate([by_name[trial.enrolment], by_name[trial.test]]) for trial in trials])

    def calibration(
        self, trials: list[Trial], root: Path, source: str, false_alarm: float | None, by_seconds: bool
    ) -> Calibration:
        """Fitted on other trials than those tested."""
        sides = list(zip(*(trial.sides for trial in trials), strict=True))
        labels = [trial.is_target for trial in trials]
        facts = {"origin": self.embedder.origin, "source": source, "scoring": self.scoring}
        scores, seconds, _ = self.scores(trials, root)
        return calibration.calibrate(
            scores, labels, *sides, false_alarm=false_alarm, seconds=seconds if by_seconds else None,
            by_cohort=None if self._plda else self._near, **facts,
        )  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="trial list, or folder speaker/**/recording")
    parser.add_argument("--root", type=Path, default=None, help="where the lists' paths begin; their folder")
    parser.add_argument("--enrolments", type=Path, default=None, help="lines NAME a.wav b.wav, for names in the list")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--as-norm", action="store_true")
    parser.add_argument("--plda", type=Path, default=None, metavar="LIST")
    parser.add_argument("--calibrate", type=Path, default=None, metavar="LIST")
    parser.add_argument("--scores-alone", action="store_true", help="ratios that do not know the seconds of speech")
    parser.add_argument("--false-alarm", type=float, default=None, help="rate the threshold is for")
    parser.add_argument("--scores", type=Path, default=None, help="CSV trial list with a column score")
    parser.add_argument("--per-speaker", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=500, help="resamplings of the intervals")
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


def measure(args: argparse.Namespace) -> tuple[dict[str, object], list[Trial], tuple[np.ndarray | None, ...]]:
    """The report, the trials, and their scores, seconds and measures by the cohort."""
    if args.scores:
        trials, scores, seconds, near = read_scores(args.scores)
        report = evaluation.report(trials, scores, draws=args.draws)
        return {"model": args.scores.stem, **report}, trials, (scores, seconds, near)
    system = System(floors.load(args.model), args.output / "embeddings", args.workers, as_norm=args.as_norm)
    trials, root = trials_of(args.target, args.root, args.per_speaker, args.seed)
    if args.plda:
        system.fit_plda(*trials_of(args.plda, args.root, args.per_speaker, args.seed))
    fitted = decisions.shipped_calibration(system.embedder) if system.scoring == "cosine" else None
    if args.calibrate:
        other = trials_of(args.calibrate, args.root, args.per_speaker, args.seed)
        fitted = system.calibration(*other, args.calibrate.stem, args.false_alarm, not args.scores_alone)
    scores, seconds, near = system.scores(trials, root, read_enrolments(args.enrolments) if args.enrolments else None)
    found = evaluation.report(trials, scores, calibration=fitted, seconds=seconds, draws=args.draws)
    facts = {"model": system.embedder.origin, "scoring": system.scoring}
    if fitted:
        facts["calibration"] = {"source": fitted.source, "by_seconds": fitted.by_seconds is not None}
    return {**facts, **found}, trials, (scores, seconds, near)


def main() -> None:
    args = parse()
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        report, trials, (scores, seconds, near) = measure(args)
    except SpeechSSLError as error:
        raise SystemExit(f"error: {error}") from error
    evaluation.save_report(args.output / "report.json", report)
    write_scores(args.output / "scores.csv", trials, scores, seconds, near)
    labels = np.array([trial.is_target for trial in trials])
    try:
        draw_det(args.output / "det.png", {str(report["model"]): (scores, labels)})
        draw_scores(args.output / "scores.png", scores, labels)
    except ImportError:
        print("no curves: matplotlib is not installed")
    print(json.dumps({key: value for key, value in report.items() if key != "speakers_worst_first"}, indent=1))


if __name__ == "__main__":
    errors.run_recipe(main)
