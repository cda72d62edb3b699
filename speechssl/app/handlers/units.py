"""Units of a recording, as a record and as text, and units spoken in a voice."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechssl import audio
from speechssl.app.handlers import recordings, targets
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused, blaming
from speechssl.app.sessions import Session
from speechssl.app.state import Models, Settings, Store
from speechssl.errors import InputError
from speechssl.receipts import contents, signing

CODEBOOKS = ("tiny/100", "tiny/200", "tiny/500")
MOST_UNITS = 50_000  # in one text: fifteen minutes
MOST_COMPARED = 200_000_000  # pairs of units of which it is looked for which stayed: a fifth of a second


def encode(
    models: Models,
    settings: Settings,
    job: Job,
    path: Path | None,
    *,
    codebook: str = "tiny/500",
    collapse: bool = True,
) -> dict[str, Any]:
    """Return the record of a recording: units, durations, times.

    Raises:
        Refused: the recording is missing or cannot be used, or the codebook is not offered.
    """
    from speechssl.units.encoding.manifest import Entry
    from speechssl.units.encoding.records import UnitEncoder

    if path is None:
        raise Refused("source", "Give a recording: upload one or use the microphone.")
    _check_offered(codebook)
    with blaming("source"):
        recordings.check([path], most=settings.source_seconds, what="the recording")
        job(0.1, "loading the model")
        encoder = UnitEncoder(models.system("tiny").encoder, models.codebook(codebook), collapsed=collapse)
        job(0.3, "encoding")
        return encoder.record(Entry(path.stem, path.name, str(path)))


def _check_offered(codebook: str) -> None:
    """Refuse all but the names of the list; a path would be opened."""
    if codebook not in CODEBOOKS:
        raise Refused("codebook", f"the codebook {codebook!r} is not offered here; one of {', '.join(CODEBOOKS)}")


def as_text(record: dict[str, Any]) -> str:
    """Write units as the tokens of a language model: ``<unit_12><unit_7>``."""
    return "".join(f"<unit_{unit}>" for unit in record["units"])


def write(session: Session, record: dict[str, Any]) -> Path:
    """Write the record as a JSON line to download."""
    return write_to(session.place(record["id"], ".units.jsonl"), record)


def write_to(place: Path, record: dict[str, Any]) -> Path:
    """Write the record to this file, over what is there."""
    place.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    return place


def parse(text: str) -> list[int]:
    """Read the ids of ``<unit_12><unit_7>`` or ``12 7``.

    Raises:
        InputError: the text is neither, or has too many units.
    """
    words = re.sub(r"<unit_(\d+)>", r" \1 ", text).replace(",", " ").split()
    if not words or not all(word.isdecimal() and len(word) < 9 for word in words):
        raise InputError("units are written as <unit_12><unit_7>, or as numbers: 12 7")
    if len(words) > MOST_UNITS:
        raise InputError(f"{len(words)} units; at most {MOST_UNITS} here")
    return [int(word) for word in words]


def durations_after(before: Sequence[int], durations: Sequence[int], after: Sequence[int]) -> list[int]:
    """Durations of units that somebody edited.

    Args:
        before: the units of the recording, and
        durations: their frames.
        after: the units after the edit.
    Returns:
        The frames of each: units that were kept keep theirs, those that replace as many others have the frames of
        those, and new ones have as many as is usual in the recording.
    """
    usual = sorted(durations)[len(durations) // 2]
    # most edits are in one place
    head = _same(before, after)
    tail = _same(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    edits = [("replace", 0, len(old), 0, len(new))]
    if len(old) * len(new) <= MOST_COMPARED:
        edits = list(difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes())
    found = list(durations[:head])
    for _, first, last, begin, end in edits:
        frames = list(durations[head + first : head + last])
        found += frames if last - first == end - begin else [usual] * (end - begin)
    return found + list(durations[len(before) - tail :])


def _same(one: Sequence[int], other: Sequence[int]) -> int:
    """How many numbers are the same from the beginning on."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def edited(record: dict[str, Any], text: str) -> dict[str, Any] | None:
    """The record with the units of a text, at their times; None if it holds none."""
    if text == as_text(record):
        return record
    try:
        ids = parse(text)
    except InputError:
        return None
    frames = durations_after(record["units"], record["durations"], ids)
    rate = record["frames"] / (record["end"][-1] - record["start"][0])
    ends = list(itertools.accumulate(frames))
    times = {"start": [round((end - own) / rate, 6) for end, own in zip(ends, frames, strict=True)],
             "end": [round(end / rate, 6) for end in ends]}  # fmt: skip
    return record | {"units": ids, "durations": frames, "frames": ends[-1], "seconds": times["end"][-1], **times}


def speak(
    models: Models,
    store: Store,
    settings: Settings,
    job: Job,
    text: str,
    voice: str,
    *,
    codebook: str = "tiny/500",
    durations: Sequence[int] | None = None,
) -> Path:
    """Say units in a stored or bundled voice.

    Args:
        models: codebooks, the encoder and the vocoder.
        store: stored voices, and the key that signs.
        settings: whether consent is required.
        job: takes the result; its person may cancel.
        text: see ``parse``.
        voice: its name.
        codebook: one of ``CODEBOOKS``.
        durations: frames of each unit. None: one frame each if a unit repeats, else five, the length of a short sound.
    Raises:
        Refused: units, a voice or a codebook that cannot be used; a stored voice without consent.
    """
    from speechssl.units import decode

    with blaming("units"):
        ids = parse(text)
    if not voice:
        raise Refused("voice", "Choose a voice.")
    _check_offered(codebook)
    job(0.1, "loading the models")
    book = models.codebook(codebook)
    with blaming("voice"):
        spoken = targets.stored(models, store, job.session.user, voice, "tiny")
    if not targets.is_bundled(voice) and spoken.uncovered and settings.consent:
        some = ", ".join(one.name for one in spoken.uncovered[:5])
        raise Refused("voice", f"{voice!r} has recordings without an attestation ({some}); store them again with one")
    job(0.4, "speaking")
    with blaming("units"):
        collapsed = all(a != b for a, b in itertools.pairwise(ids))
        lengths = list(durations) if durations is not None else [5 if collapsed else 1] * len(ids)
        wanted = decode.units_of(ids, book, durations=lengths)
        waveform = audio.set_loudness(decode.decode(wanted, book, spoken, models.system("tiny").vocoder), -23.0)
    path = job.session.place(f"units-{targets.plain(voice)}", ".wav")
    mark = recordings.write(settings, path, [recordings.marked(settings, waveform)])
    consent = [one.as_dict() for one in spoken.consents if one.recordings] or [{"voice": voice}]
    facts = contents.of_units(ids, spoken, name=voice, codebook=book.fingerprint, consent=consent)
    receipt = signing.issue(path, {**facts, "watermark": mark}, store.signer())
    job.session.remember(
        {"what": "units", "path": path, "label": f"units in {targets.plain(voice)}", "made": receipt["created"],
         "seconds": round(waveform.seconds, 3), "receipt": receipt}
    )  # fmt: skip
    return path
