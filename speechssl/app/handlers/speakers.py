"""Who speaks: compare recordings, enrol speakers, identify a recording among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechssl import audio
from speechssl.app.handlers import recordings
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused, blaming
from speechssl.app.state import Models, Settings, Store
from speechssl.checkpoints import names
from speechssl.errors import InputError
from speechssl.verification import decisions, enrolling
from speechssl.verification.decisions import Decision


def verify(
    models: Models, store: Store, settings: Settings, job: Job, enrolment: Sequence[Path], test: Path | None
) -> Decision:
    """Decide whether the test recording is by the enrolled speaker.

    Raises:
        Refused: a recording is missing or cannot be used.
    """
    if not enrolment:
        raise Refused("enrolment", "Give one or more recordings of the speaker.")
    if test is None:
        raise Refused("test", "Give the test recording.")
    embedder = models.embedder()
    calibration = store.calibration(embedder, job.session.user)

    names = dict(zip([*enrolment, test], audio.told_apart([*enrolment, test]), strict=True))

    def embedded(path: Path) -> decisions.Utterance:
        # with the name that the person knows, not a path of this machine
        return dataclasses.replace(decisions.embed(path, embedder, calibration=calibration), name=names[path])

    known = []
    with blaming("enrolment"):
        recordings.check(enrolment, most=settings.reference_seconds, what="the recordings")
        for number, path in enumerate(enrolment):
            job(0.1 + 0.6 * number / len(enrolment), f"listening to {names[path]}")
            known.append(embedded(path))
    with blaming("test"):
        recordings.check([test], most=settings.source_seconds, what="the recording")
        job(0.8, f"listening to {names[test]}")
        asked = embedded(test)
    return decisions.verify(known, asked, calibration=calibration, cohort=embedder.cohort)


def enrol(
    models: Models, store: Store, settings: Settings, job: Job, name: str, files: Sequence[Path]
) -> dict[str, Any]:
    """Add recordings to a speaker, all or none.

    Raises:
        Refused: no name, no recording, or one that cannot be used.
    """
    with blaming("name"):
        name = names.checked(name, "a speaker")
    if not files:
        raise Refused("files", "Give one or more recordings of the speaker.")
    embedder, user = models.embedder(), job.session.user
    calibration = store.calibration(embedder, user)
    with blaming("files"):
        recordings.check(files, most=settings.reference_seconds, what="the recordings")
        heard = [decisions.embed(path, embedder, calibration=calibration) for path in files]
        with store.speakers(user) as speakers:
            found = enrolling.enrol(name, heard, speakers, calibration=calibration, cohort=embedder.cohort)
    return {**dataclasses.asdict(found), "model": embedder.origin}


def listed(store: Store, user: str = "") -> list[dict[str, Any]]:
    """List the enrolled speakers of a user."""
    with store.speakers(user) as speakers:
        return speakers.speakers()


def remove(store: Store, user: str, name: str) -> int:
    """Remove a speaker; return the number of recordings.

    Raises:
        Refused: nobody of that name is enrolled.
    """
    with blaming("name"), store.speakers(user) as speakers:
        return speakers.remove(name)


def identify(models: Models, store: Store, settings: Settings, job: Job, test: Path | None) -> dict[str, Any]:
    """Rank the enrolled speakers for a recording; the best is named if accepted. ``decision`` is as ``outcome`` has it.

    Raises:
        Refused: no recording, one that cannot be used, or nobody is enrolled.
    """
    if test is None:
        raise Refused("test", "Give the test recording.")
    embedder, user = models.embedder(), job.session.user
    calibration, cohort = store.calibration(embedder, user), embedder.cohort
    with blaming("test"), store.speakers(user) as speakers:
        recordings.check([test], most=settings.source_seconds, what="the recording")
        asked = decisions.embed(test, embedder, calibration=calibration)
        if not speakers.speakers():
            raise InputError("nobody is enrolled yet; enrol a speaker first")
        ranked = decisions.identify(asked, speakers, calibration=calibration, cohort=cohort)
    rows = [dataclasses.asdict(row) for row in ranked]
    decision, speaker = decisions.outcome(ranked)
    remarks = (*decisions.remarks_of(ranked), *asked.remarks)
    return {"decision": decision, "speaker": speaker, "ranked": rows, "remarks": remarks}
