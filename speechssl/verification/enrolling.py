"""What makes recordings doubtful that somebody wants to enrol as one speaker."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from speechssl.verification.calibration import Calibration
from speechssl.verification.database import SpeakerDatabase
from speechssl.verification.decisions import Utterance, identify, verify


def doubts(
    name: str,
    heard: Sequence[Utterance],
    database: SpeakerDatabase,
    *,
    calibration: Calibration | None = None,
    cohort: Tensor | None = None,
) -> list[str]:
    """Remarks on recordings that sound like two speakers, or like somebody else who is enrolled.

    Args:
        name: of the speaker to whom they are to be added.
        heard: the recordings.
        database: of enrolled speakers, before they are added.
        calibration, cohort: see ``decisions.verify``; without a calibration there are no remarks.
    """
    if calibration is None or not heard:
        return []
    found = []
    enrolled = database.enrolled(heard[0].embedding.origin)
    own = enrolled.get(name, [])
    first, rest = (own, heard) if own else (heard[:1], heard[1:])
    for one in rest:
        if verify(first, one, calibration=calibration, cohort=cohort).accepted is False:
            other = f"what is enrolled of {name}" if own else heard[0].name
            found.append(f"{one.name}: sounds like another speaker than {other}")
    for one in heard if set(enrolled) - {name} else ():
        ranked = identify(one, database, calibration=calibration, cohort=cohort)
        found += [
            f"{one.name}: sounds like {row.speaker}, who is enrolled"
            for row in ranked
            if row.accepted and row.speaker != name
        ]
    return found
