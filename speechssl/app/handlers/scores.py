"""Known scores to compare a score with, and calibration on a person's own recordings."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechssl.app.handlers import batches
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused, blaming
from speechssl.app.sessions import harmless
from speechssl.app.state import Models, Settings, Store
from speechssl.errors import InputError

KNOWN = Path(__file__).parent / "scores.json"
SOURCE = "6 s of speech each, from six LibriSpeech readers outside all training data"


@functools.cache
def known(origin: str) -> tuple[list[float], list[float]]:
    """Return scores of same-speaker and of different-speaker trials; empty for another model than the packaged one."""
    if not KNOWN.exists():
        return [], []
    found = json.loads(KNOWN.read_text(encoding="utf-8"))
    return (found["same"], found["other"]) if found["origin"] == origin else ([], [])


def calibrate(models: Models, store: Store, settings: Settings, job: Job, archive: Path | None) -> dict[str, Any]:
    """Fit the calibration on a zip of speaker/recording and keep it for this user.

    Raises:
        Refused: no zip, or recordings that cannot carry a calibration.
    """
    from speechssl.verification import band, calibration, decisions, evaluation, metrics
    from speechssl.verification.trials import find_recordings, make_trials, others_for, recordings_of, speaker_of

    if archive is None:
        raise Refused("archive", "Give a zip with a folder for each speaker.")
    scratch = job.session.place("speakers", "").parent
    with blaming("archive"), removed(scratch):
        folder = scratch / "all"
        _sort(archive, folder, settings.batch_seconds)
        job(0.2, "pairing")
        trials = make_trials(find_recordings(folder), others=others_for(None), seed=0)
        job(0.3, "listening")
        embedder = models.embedder()
        near = decisions.added_by_cohort(embedder)
        heard, all_of_them = itertools.count(1), len(recordings_of(trials))
        _, found, seconds = evaluation.evaluate(
            trials, folder, embedder, by_cohort=near, draws=2,
            advance=lambda _: job(0.3 + 0.6 * next(heard) / all_of_them, "listening"),
        )  # fmt: skip
        labels = [trial.is_target for trial in trials]
        sides = [[speaker_of(getattr(trial, side)) for trial in trials] for side in ("enrolment", "test")]
        job(0.9, "fitting")
        bands = band.known_bands(list(evaluation.bands_of(list(recordings_of(trials)), folder).values()))
        fitted = calibration.calibrate(
            found, labels, *sides, origin=embedder.origin, source=harmless(archive.name), seconds=seconds, bands=bands,
            by_cohort=near,
        )  # fmt: skip
        with store.speakers(job.session.user) as speakers:
            speakers.set_calibration(fitted)
    return {
        "trials": len(trials),
        "targets": sum(labels),
        "eer": metrics.roc(found, labels).eer(),
        "threshold": fitted.threshold,
        "threshold_low": fitted.threshold_low,
        "threshold_high": fitted.threshold_high,
        "cllr": metrics.cllr(fitted.llrs(found, seconds), labels),
    }


def reset(models: Models, store: Store, user: str) -> str:
    """Remove the user's own calibration, so that the one of the model is used again; return what it was made of.

    Raises:
        Refused: there is none.
    """
    with store.speakers(user) as speakers:
        removed = speakers.remove_calibration(models.embedder().origin)
    if removed is None:
        raise Refused("archive", "There is no calibration of your own; the one of the model is used.")
    return str(removed.source)


def _sort(archive: Path, folder: Path, most: float) -> None:
    """Unpack a zip of speaker/recording into a folder for each speaker; ``most`` seconds of recordings, together."""
    total = 0.0
    with batches.opened(archive) as zipped:
        for number, one in enumerate(zipped.recordings):
            speaker = Path(one.name).parent.name
            if not speaker:
                raise InputError(f"{one.name} lies in no folder; one folder per speaker needed")
            place = folder / harmless(speaker)
            place.mkdir(parents=True, exist_ok=True)
            total += batches.length(zipped.unpack(one, place, number), most)
            if total > most:
                raise InputError(batches.too_long(total, most))


@contextlib.contextmanager
def removed(folder: Path) -> Iterator[None]:
    """Remove a folder at the end, whatever happens."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
