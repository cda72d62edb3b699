"""Recordings are enrolled as one speaker; those that sound like two, or like somebody else, are remarked on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from speechssl import audio
from speechssl.checkpoints import names
from speechssl.verification.calibration import Calibration
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.verification.decisions import Utterance, identify, verify

APART = 0.0  # log-likelihood ratio below which two recordings are of two speakers
SUREST = 5.0  # what one pair says for or against a recording at most


@dataclass(frozen=True)
class Enrolled:
    """What was enrolled.

    Args:
        speaker: the name.
        new: recordings that were added.
        known: recordings that the speaker had already.
        remarks: on the recordings, beginning with their names.
    """

    speaker: str
    new: int
    known: int
    remarks: tuple[str, ...]


def enrol(
    name: str,
    heard: Sequence[Utterance],
    database: SpeakerDatabase,
    *,
    calibration: Calibration | None = None,
    cohort: Tensor | None = None,
) -> Enrolled:
    """Add recordings to a speaker, all or none.

    Args:
        name: of the speaker.
        heard: recordings of the speaker.
        database: of enrolled speakers.
        calibration, cohort: see ``decisions.verify``; without a calibration nobody says who sounds like whom.
    Raises:
        InputError: a name that cannot be one.
    """
    name = names.checked(name, "a speaker")
    labels = audio.told_apart([one.name for one in heard])
    heard = [replace(one, name=label) for one, label in zip(heard, labels, strict=True)]
    remarks = doubts(name, heard, database, calibration=calibration, cohort=cohort)
    remarks += [f"{one.name}: {remark}" for one in heard for remark in one.remarks]
    new = database.enrol(name, [Enrolment(u.embedding, u.name, u.sha256, u.seconds, u.band) for u in heard])
    return Enrolled(name, new, len(heard) - new, tuple(remarks))


def doubts(
    name: str,
    heard: Sequence[Utterance],
    database: SpeakerDatabase,
    *,
    calibration: Calibration | None = None,
    cohort: Tensor | None = None,
) -> list[str]:
    """Remarks on recordings that sound like two speakers, or like somebody else who is enrolled, or are enrolled so.

    Args:
        name: of the speaker to whom they are to be added.
        heard: the recordings.
        database: of enrolled speakers, before they are added.
        calibration, cohort: see ``decisions.verify``; without a calibration nobody says who sounds like whom.
    """
    if not heard:
        return []
    enrolled = database.enrolled(heard[0].embedding.origin)
    twice = [
        (one, speaker)
        for one in heard
        for speaker, rows in enrolled.items()
        if speaker != name and one.sha256 in {row.sha256 for row in rows}
    ]
    found = [f"{one.name}: the same recording is enrolled as {speaker}" for one, speaker in twice]
    if calibration is None:
        return found
    if own := enrolled.get(name, []):
        other = f"what is enrolled of {name}"
        odd = [one for one in heard if verify(own, one, calibration=calibration, cohort=cohort).accepted is False]
    else:
        odd = apart(heard, calibration=calibration, cohort=cohort)
        other = next(one.name for one in heard if all(one is not two for two in odd))
    found += [f"{one.name}: sounds like another speaker than {other}" for one in odd]
    for one in heard if set(enrolled) - {name} else ():
        for row in identify(one, database, calibration=calibration, cohort=cohort):
            if row.accepted and row.speaker != name and (one, row.speaker) not in twice:
                found.append(f"{one.name}: sounds like {row.speaker}, who is enrolled")
    return found


def apart(
    heard: Sequence[Utterance], *, calibration: Calibration, cohort: Tensor | None = None, limit: float = APART
) -> list[Utterance]:
    """Of every two recordings that differ, the one that is less like all of them; the second if both are as much so.

    Args:
        heard: recordings, the surest first.
        calibration, cohort: see ``decisions.verify``.
        limit: the log-likelihood ratio below which two recordings differ.
    """
    likeness, pairs = [0.0] * len(heard), []
    for first, second in itertools.combinations(range(len(heard)), 2):
        ratio = verify([heard[first]], heard[second], calibration=calibration, cohort=cohort).llr
        if ratio is not None:
            likeness[first] += max(-SUREST, min(ratio, SUREST))
            likeness[second] += max(-SUREST, min(ratio, SUREST))
            pairs += [(first, second)] * (ratio < limit)
    odd = {second if likeness[second] <= likeness[first] else first for first, second in pairs}
    return [heard[place] for place in sorted(odd)]
