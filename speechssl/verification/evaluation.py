"""Measure verification on a trial list: embeddings computed once a file, then every number with its interval."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechssl import audio, checkpoints
from speechssl.errors import InputError
from speechssl.signals import Embedder, check_same_origin
from speechssl.verification import metrics
from speechssl.verification.band import Band, measure
from speechssl.verification.by_cohort import ByCohort, measured
from speechssl.verification.calibration import Calibration
from speechssl.verification.scoring import cohort_statistics
from speechssl.verification.trials import Trial, check_audio, files_of

if TYPE_CHECKING:
    from speechssl.verification.plda import Plda

Floats = NDArray[np.float64]
CACHE = "speaker-embeddings"  # in the cache folder: embeddings by content and model
FEWEST = 6  # speakers: of fewer, over 2.5 % of all draws hold two speakers alone, and these make the upper bound
PRIORS = (0.01, 0.05)  # of a target, for the detection costs; those of VoxCeleb and of NIST


def hear_files(
    names: Sequence[str],
    root: str | Path,
    embedder: Embedder,
    *,
    cache: str | Path | None = None,
    workers: int = 1,
    advance: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Unit embeddings (E,) and seconds of speech of recordings, each computed once whatever happens in between.

    Args:
        names: paths relative to ``root``.
        cache: folder of embeddings by content and model: renamed or repeated files are not computed again.
        workers: threads; the numbers do not depend on it.
        advance: called with each name when it is done.
    Raises:
        InputError: recordings that cannot be read or embedded; all of them, up to twenty, are named.
    """
    key = hashlib.sha256(f"{embedder.origin} and seconds".encode()).hexdigest()[:16]
    place = None if cache is None else Path(cache) / key

    def work(name: str) -> Floats | str:
        try:
            found = _heard(Path(root) / name, embedder, place)
        except InputError as error:
            return str(error)
        advance(name)
        return found

    unique = sorted(set(names))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        results = dict(zip(unique, pool.map(work, unique), strict=True))
    failed = [f"{name} ({result})" for name, result in results.items() if isinstance(result, str)]
    if failed:
        raise InputError(f"{len(failed)} of {len(unique)} recordings cannot be embedded: {'; '.join(failed[:20])}")
    good = {name: result for name, result in results.items() if not isinstance(result, str)}
    return {name: row[:-1] for name, row in good.items()}, {name: float(row[-1]) for name, row in good.items()}


def cached_embeddings(checksums: Collection[str] | None = None) -> list[Path]:
    """Files of embeddings that commands computed and kept: of recordings with these checksums, or all."""
    found = sorted((checkpoints.cache_dir() / CACHE).glob("*/*.npy"))
    return [path for path in found if checksums is None or path.stem in checksums]


def forget_cached(checksums: Collection[str]) -> None:
    """Remove the cached embeddings of recordings with these checksums."""
    for path in cached_embeddings(checksums):
        path.unlink(missing_ok=True)


def bands_of(names: Sequence[str], root: str | Path, *, workers: int = 1) -> dict[str, Band | None]:
    """Bands of recordings by name; arguments as ``hear_files``."""
    unique = sorted(set(names))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = pool.map(lambda name: measure(audio.read(Path(root) / name)), unique)
        return dict(zip(unique, found, strict=True))


def enrol_together(
    vectors: dict[str, Floats], seconds: dict[str, float], enrolments: dict[str, list[str]] | None
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Both with an entry more for every enrolment of several recordings: their mean, at unit norm, and their sum."""
    vectors, seconds = dict(vectors), dict(seconds)
    for name, files in (enrolments or {}).items():
        if all(file in vectors for file in files):
            mean = np.mean([vectors[file] / np.linalg.norm(vectors[file]) for file in files], axis=0)
            vectors[name] = mean / max(float(np.linalg.norm(mean)), 1e-12)
            seconds[name] = sum(seconds[file] for file in files)
    return vectors, seconds


def seconds_of(trials: Sequence[Trial], seconds: dict[str, float]) -> Floats:
    """Seconds of speech (N, 2) of both sides of trials."""
    return np.array([[seconds[trial.enrolment], seconds[trial.test]] for trial in trials])


def score_trials(
    trials: Sequence[Trial],
    embeddings: dict[str, Floats],
    *,
    cohort: NDArray[np.floating[Any]] | None = None,
    plda: Plda | None = None,
    by_cohort: ByCohort | None = None,
) -> Floats:
    """Cosine of every trial (N,), or its AS-norm with a cohort (K, E), or its log-likelihood ratio by a PLDA.

    With ``by_cohort`` the cosine with what it adds by the cohort, instead of AS-norm.
    """
    names = sorted(embeddings)
    place = {name: number for number, name in enumerate(names)}
    matrix = np.stack([embeddings[name] for name in names]).astype(np.float64)
    first = np.array([place[trial.enrolment] for trial in trials])
    second = np.array([place[trial.test] for trial in trials])
    scores = cosines(matrix, first, second) if plda is None else _ratios(plda, matrix, first, second)
    if cohort is None:
        return scores
    others = np.asarray(cohort, np.float64)
    if by_cohort is not None:
        near = measured(matrix, others)
        return scores + by_cohort.added(near[first], near[second])
    mean, spread = cohort_statistics(matrix, others)
    return ((scores - mean[first]) / spread[first] + (scores - mean[second]) / spread[second]) / 2


def cosines(matrix: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
    """Products (N,) of rows of unit vectors (M, E), by their numbers (N,)."""
    # all pairs at once cost less than gathering both sides of each trial, where a few files are in many trials
    if len(matrix) ** 2 <= 8 * len(first):
        return (matrix @ matrix.T)[first, second]
    scores = np.empty(len(first))
    for start in range(0, len(first), 65536):
        part = slice(start, start + 65536)
        scores[part] = np.einsum("ne,ne->n", matrix[first[part]], matrix[second[part]])
    return scores


def _ratios(plda: Plda, matrix: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
    parts = [slice(start, start + 65536) for start in range(0, len(first), 65536)]
    return np.concatenate([plda.score(matrix[first[part]], matrix[second[part]]) for part in parts])


def report(
    trials: Sequence[Trial],
    scores: Floats,
    *,
    calibration: Calibration | None = None,
    seconds: Floats | None = None,
    draws: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Every number about scored trials, JSON-able; rates are fractions.

    Args:
        calibration: for Cllr and actual costs; without one these are left out, for raw scores are no ratios. One that
            knows seconds may rank the trials better than the scores do, so ``of_ratios`` has what the best threshold
            in hindsight makes of the ratios: this is what the actual costs are to be compared with.
        seconds: (N, 2) of speech of both sides, for such a calibration.
        draws, seed: of the intervals over speakers; of fewer than ``FEWEST`` speakers there are none.
    """
    labels = np.array([trial.is_target for trial in trials])
    sides = [np.array(names) for names in zip(*(trial.sides for trial in trials), strict=True)]
    curve, speakers = metrics.roc(scores, labels), len(set(sides[0]) | set(sides[1]))

    def interval_of(values: Floats) -> list[float] | None:
        if speakers < FEWEST:
            return None
        drawn = metrics.bootstrap(metrics.Roc.eer, values, labels, *sides, draws=draws, seed=seed)
        return [drawn.low, drawn.high]

    interval = interval_of(scores)
    found: dict[str, Any] = {
        "trials": len(trials),
        "targets": int(labels.sum()),
        "speakers": speakers,
        "eer": curve.eer(),
        "eer_interval_95": interval,
        "eer_interpolated": curve.eer_interpolated(),
        "min_dcf": {f"{prior:g}": curve.min_dcf(prior) for prior in PRIORS},
        "min_cllr": curve.min_cllr(),
    }
    if calibration is not None:
        llrs = calibration.llrs(scores, seconds)
        found["cllr"] = metrics.cllr(llrs, labels)
        found["act_dcf"] = {f"{prior:g}": metrics.act_dcf(llrs, labels, prior=prior) for prior in PRIORS}
        best = metrics.roc(llrs, labels)
        found["of_ratios"] = {
            "eer": best.eer(),
            "eer_interval_95": interval if calibration.by_seconds is None else interval_of(llrs),
            "min_dcf": {f"{prior:g}": best.min_dcf(prior) for prior in PRIORS},
            "min_cllr": best.min_cllr(),
        }
        scores = calibration.typical(scores, seconds)
        miss, false_alarm = metrics.roc(scores, labels).rates_at(calibration.threshold)
        found["at_threshold"] = {"threshold": calibration.threshold, "miss": miss, "false_alarm": false_alarm}
    limit = calibration.threshold if calibration else _equal_error_threshold(curve)
    found["speakers_worst_first"] = speaker_errors(trials, scores, limit)
    return found


def speaker_errors(trials: Sequence[Trial], scores: Floats, threshold: float) -> list[dict[str, Any]]:
    """Of every speaker: misses, false alarms, and whom he or she is taken for most often; worst first."""
    targets: Counter[str] = Counter()
    others: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    confused: dict[str, Counter[str]] = {}
    for trial, value in zip(trials, scores.tolist(), strict=True):
        one, two = trial.sides
        for side, other in {(one, two), (two, one)}:
            (targets if trial.is_target else others)[side] += 1
            if trial.is_target and value < threshold:
                missed[side] += 1
            elif not trial.is_target and value >= threshold:
                accepted[side] += 1
                confused.setdefault(side, Counter())[other] += 1
    rows: list[dict[str, Any]] = [
        {
            "speaker": name,
            "miss": missed[name] / targets[name] if targets[name] else None,
            "false_alarm": accepted[name] / others[name] if others[name] else None,
            "taken_for": dict(confused.get(name, Counter()).most_common(3)),
        }
        for name in sorted(set(targets) | set(others))
    ]
    return sorted(rows, key=lambda row: -((row["miss"] or 0) + (row["false_alarm"] or 0)))


def evaluate(
    trials: Sequence[Trial],
    root: str | Path,
    embedder: Embedder,
    *,
    calibration: Calibration | None = None,
    by_cohort: ByCohort | None = None,
    cohort: NDArray[np.floating[Any]] | None = None,
    plda: Plda | None = None,
    enrolments: dict[str, list[str]] | None = None,
    cache: str | Path | None = None,
    workers: int = 1,
    draws: int = 500,
    advance: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], Floats, Floats]:
    """Embed, score and measure; returns the report, the scores (N,) and the seconds of speech of both sides (N, 2).

    Args:
        by_cohort: what to add to the cosines by the cohort of the embedder; None: what the calibration adds.
        cohort: for AS-norm.
        enrolments: recordings by name (``trials.read_enrolments``); a trial whose enrolment is such a name is scored
            against the mean of their embeddings, as ``verification.score`` does.

    Raises:
        InputError: missing recordings (all listed at once), a PLDA of another model, or as ``hear_files``.
    """
    check_audio(trials, root, enrolments)
    if plda is not None:
        check_same_origin(plda.origin, embedder.origin, what="use this PLDA")
    heard = hear_files(files_of(trials, enrolments), root, embedder, cache=cache, workers=workers, advance=advance)
    embeddings, known = enrol_together(*heard, enrolments)
    by_cohort = by_cohort or (calibration.by_cohort if calibration else None)
    if by_cohort is not None and embedder.cohort is not None:
        cohort = embedder.cohort.numpy()
    scores = score_trials(trials, embeddings, cohort=cohort, plda=plda, by_cohort=by_cohort)
    seconds = seconds_of(trials, known)
    found = report(trials, scores, calibration=calibration, seconds=seconds, draws=draws)
    return {"model": embedder.origin, **found}, scores, seconds


def fit_plda(
    speakers: dict[str, str],
    root: str | Path,
    embedder: Embedder,
    *,
    cache: str | Path | None = None,
    workers: int = 1,
    advance: Callable[[str], None] = lambda _: None,
) -> Plda:
    """Fit a PLDA on recordings.

    Args:
        speakers: who speaks, by path relative to ``root``; others than those to be tested.
        cache, workers, advance: as ``hear_files``.
    Raises:
        InputError: as ``hear_files`` and ``plda.fit``.
    """
    from speechssl.verification import plda

    vectors, _ = hear_files(list(speakers), root, embedder, cache=cache, workers=workers, advance=advance)
    return plda.fit(np.stack([vectors[path] for path in speakers]), list(speakers.values()), origin=embedder.origin)


def _heard(path: Path, embedder: Embedder, place: Path | None) -> Floats:
    """Embedding (E,), and after it the seconds of speech."""
    target = None if place is None else place / f"{checkpoints.sha256_of(path)}.npy"
    if target is not None and target.exists():
        try:
            return np.asarray(np.load(target, allow_pickle=False), np.float64)
        except (ValueError, EOFError, OSError):
            target.unlink(missing_ok=True)  # damaged: computed anew
    waveform = audio.read(path)
    found = np.append(embedder.embed(waveform).vector.double().numpy(), audio.speech_seconds(waveform))
    if target is not None:
        with checkpoints.atomic_path(target) as temporary, temporary.open("wb") as file:
            np.save(file, found)
    return found


def _equal_error_threshold(curve: metrics.Roc) -> float:
    return float(curve.thresholds[np.argmin(np.abs(curve.miss - curve.false_alarm))])


def save_report(path: str | Path, found: dict[str, Any]) -> Path:
    """Write a report as JSON, whole or not at all."""
    target = Path(path)
    checkpoints.write_text(target, json.dumps(found, indent=2, ensure_ascii=False))
    return target
