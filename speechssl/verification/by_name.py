"""Verify, enrol and identify speakers by recordings: ``speechssl verify``, ``enrol`` and ``identify`` as functions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speechssl import audio
from speechssl.audio.given import Recording, Recordings
from speechssl.checkpoints import kinds
from speechssl.errors import InputError
from speechssl.signals import Embedder
from speechssl.verification import decisions, embedders, enrolling
from speechssl.verification.database import SpeakerDatabase, default_path
from speechssl.verification.decisions import Candidate, Utterance

Database = SpeakerDatabase | str | Path | None


@kinds.checked
def verify(
    enrolment: Recordings,
    test: Recording,
    *,
    model: str | Path | Embedder = "tiny",
    database: Database = None,
    prior: float | None = None,
    threshold: float | None = None,
) -> decisions.Decision:
    """Decide whether a recording is by the speaker of one or several others; ``speechssl verify`` as a function.

    Args:
        enrolment: recordings of the speaker, one or several; see ``audio.recording``.
        test: the recording in question.
        model: for ``embedders.load``, or an embedder.
        database: or its file, whose calibration of this model is taken; without one, that which came with the model.
        prior, threshold: see ``decisions.verify``.
    Returns:
        The decision, with score, likelihood ratio and probability.
    Raises:
        InputError: no recording, or one that cannot be read or holds less than 1 s of speech.

    Example:
        >>> import speechssl
        >>> speechssl.verify(speechssl.clip("ada"), speechssl.clip("ada", "sentence")).decision
        'same'
    """
    known_ones, asked_one = audio.recordings(enrolment), audio.recording(test)
    if not known_ones:
        raise InputError("no recording of the speaker; give at least one, and the recording to test")
    embedder = embedders.load(model) if isinstance(model, str | Path) else model
    own = None
    if database is not None:
        with _opened(database) as store:
            own = store.calibration(embedder.origin)
    calibration, cohort = decisions.calibration_for(embedder, own), embedder.cohort
    *known, asked = (decisions.embed(one, embedder, calibration=calibration) for one in (*known_ones, asked_one))
    return decisions.verify(known, asked, calibration=calibration, cohort=cohort, prior=prior, threshold=threshold)


@kinds.checked
def enrol(
    name: str, recordings: Recordings, *, database: Database = None, model: str | Path | Embedder = "tiny"
) -> int:
    """Enrol a speaker, or add recordings to one: ``speechssl enrol`` as a function.

    Args:
        name: of the speaker.
        recordings: of the speaker, one or several; see ``audio.recording``. If one cannot be used, none is added.
        database: or its file; None for ``$SPEECHSSL_SPEAKERS``, else the file in the data folder.
        model: for ``embedders.load``, or an embedder.
    Returns:
        The number of recordings that are new.
    Raises:
        InputError: no recording, or one that cannot be read or holds less than 1 s of speech.
        CheckpointError: a database that cannot be used.

    Example:
        >>> import speechssl
        >>> speechssl.enrol("ada", speechssl.clip("ada"), database="speakers.sqlite")
        1
    """
    given = audio.recordings(recordings)
    if not given:
        raise InputError(f"no recording of {name!r}; give at least one")
    embedder = embedders.load(model) if isinstance(model, str | Path) else model
    with _opened(database, new=True) as store:
        calibration = decisions.calibration_for(embedder, store.calibration(embedder.origin))
        heard = [decisions.embed(one, embedder, calibration=calibration) for one in given]
        found = enrolling.enrol(name, heard, store, calibration=calibration, cohort=embedder.cohort)
    for remark in found.remarks:
        logging.getLogger("speechssl").warning("%s", remark)
    return found.new


@kinds.checked
def identify(
    test: Utterance | Recording,
    database: Database = None,
    *,
    model: str | Path | Embedder = "tiny",
    prior: float | None = None,
    threshold: float | None = None,
) -> list[Candidate]:
    """Enrolled speakers, best first: ``speechssl identify`` as a function; ``decisions.outcome`` says who speaks.

    Args:
        test: a recording, see ``audio.recording``, or the result of ``embed``.
        database: as for ``enrol``.
        model: for ``embedders.load``, or an embedder; the one the speakers were enrolled with.
        prior, threshold: see ``decisions.verify``.
    Returns:
        A candidate for each enrolled speaker.
    Raises:
        InputError: a recording that cannot be used, or nobody is enrolled with this model.
        CheckpointError: a database that cannot be used.

    Example:
        >>> import speechssl
        >>> speechssl.identify(speechssl.clip("ada", "sentence"), "speakers.sqlite")[0].speaker
        'ada'
    """
    embedder = embedders.load(model) if isinstance(model, str | Path) else model
    with _opened(database) as store:
        calibration = decisions.calibration_for(embedder, store.calibration(embedder.origin))
        heard = (
            test if isinstance(test, decisions.Utterance) else decisions.embed(test, embedder, calibration=calibration)
        )
        return decisions.identify(
            heard, store, calibration=calibration, cohort=embedder.cohort, prior=prior, threshold=threshold
        )


@contextmanager
def _opened(database: Database, *, new: bool = False) -> Iterator[SpeakerDatabase]:
    if isinstance(database, SpeakerDatabase):
        yield database
        return
    place = default_path() if database is None else audio.given.path(database, "the database")
    if not new and database is not None and not place.exists():
        raise InputError(f"the database {place} does not exist; check the path, or enrol a speaker into it first")
    with SpeakerDatabase(place) as store:
        yield store
