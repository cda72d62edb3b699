"""Scores to compare a score with, and calibration on a person's own recordings."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

from speechssl.app.handlers import batches
from speechssl.app.jobs import Tell
from speechssl.app.sessions import Session, harmless
from speechssl.app.state import Refused, Workshop, field
from speechssl.errors import InputError

KNOWN = Path(__file__).parent / "scores.json"
SOURCE = "6 s of six LibriSpeech readers nothing was trained on"


@functools.cache
def known(origin: str) -> tuple[list[float], list[float]]:
    """Scores of trials of one speaker and of two, of the packaged model; empty for another one."""
    if not KNOWN.exists():
        return [], []
    found = json.loads(KNOWN.read_text(encoding="utf-8"))
    return (found["same"], found["other"]) if found["origin"] == origin else ([], [])


def calibrate(
    shop: Workshop, session: Session, archive: Path | None, *, tell: Tell = lambda share, text: None
) -> dict[str, Any]:
    """Fit the calibration on a zip of speaker/recording and keep it for this user.

    Raises:
        Refused: no zip, or recordings that cannot carry a calibration.
    """
    from speechssl.verification import calibration, evaluation, metrics
    from speechssl.verification.trials import find_recordings, make_trials, speaker_of

    if archive is None:
        raise Refused("archive", "Give a zip with a folder for each speaker.")
    with shop.job(session, tell) as step, field("archive"):
        folder = session.place("speakers", "").parent
        scratch = folder / "flat"
        scratch.mkdir()
        for name, path in batches.unpack(archive, scratch):
            speaker = Path(name).parent.name
            if not speaker:
                raise InputError(f"{name} lies in no folder; one folder a speaker needed")
            (folder / "all" / harmless(speaker)).mkdir(parents=True, exist_ok=True)
            path.rename(folder / "all" / harmless(speaker) / path.name)
        step(0.2, "pairing")
        trials = make_trials(find_recordings(folder / "all"), seed=0)
        step(0.3, "listening")
        embedder = shop.embedder()
        _, found, seconds = evaluation.evaluate(trials, folder / "all", embedder, draws=2)
        labels = [trial.is_target for trial in trials]
        sides = [[speaker_of(getattr(trial, side)) for trial in trials] for side in ("enrolment", "test")]
        step(0.9, "fitting")
        fitted = calibration.calibrate(
            found, labels, *sides, origin=embedder.origin, source=harmless(archive.name), seconds=seconds
        )
        with shop.speakers(session.user) as store:
            store.set_calibration(fitted)
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "trials": len(trials),
        "targets": sum(labels),
        "eer": metrics.roc(found, labels).eer(),
        "threshold": fitted.threshold,
        "threshold_low": fitted.threshold_low,
        "threshold_high": fitted.threshold_high,
        "cllr": metrics.cllr(fitted.llrs(found, seconds), labels),
    }
