"""Units of a recording, to look at, to copy and to hear again."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechssl import audio
from speechssl.app.handlers import conversions
from speechssl.app.handlers.conversions import BUNDLED, check_recordings, stored_voice
from speechssl.app.jobs import Tell
from speechssl.app.sessions import Session
from speechssl.app.state import Refused, Workshop, field
from speechssl.errors import InputError
from speechssl.receipts import signing

CODEBOOKS = ("tiny/100", "tiny/200", "tiny/500")
MOST_UNITS = 10_000  # spoken at once


def encode(
    shop: Workshop,
    session: Session,
    path: Path | None,
    *,
    codebook: str = "tiny/500",
    collapse: bool = True,
    tell: Tell = lambda share, text: None,
) -> dict[str, Any]:
    """The record of a recording: units, durations, times.

    Raises:
        Refused: no recording, one that cannot be used, or another codebook.
    """
    from speechssl.units.encoding.manifest import Entry
    from speechssl.units.encoding.records import UnitEncoder

    if path is None:
        raise Refused("source", "Give a recording: upload one or use the microphone.")
    if codebook not in CODEBOOKS:
        raise Refused("codebook", f"the codebook {codebook!r} is not offered here; one of {', '.join(CODEBOOKS)}")
    with shop.job(session, tell) as step, field("source"):
        check_recordings(shop, [path], most=shop.settings.source_seconds, what="the recording")
        step(0.1, "loading the model")
        encoder = UnitEncoder(shop.system("tiny").encoder, shop.codebook(codebook), collapsed=collapse)
        step(0.3, "encoding")
        return step.run(lambda: encoder.record(Entry(path.stem, path.name, str(path))))


def as_text(record: dict[str, Any]) -> str:
    """``<unit_12><unit_7>``: what a language model with unit tokens reads."""
    return "".join(f"<unit_{unit}>" for unit in record["units"])


def write(session: Session, record: dict[str, Any]) -> Path:
    """The record as a JSON line to download."""
    place = session.place(record["id"], ".units.jsonl")
    place.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    return place


def parse(text: str) -> list[int]:
    """Ids of ``<unit_12><unit_7>`` or ``12 7``.

    Raises:
        InputError: something else.
    """
    words = re.sub(r"<unit_(\d+)>", r" \1 ", text).replace(",", " ").split()
    if not words or not all(word.isdecimal() and len(word) < 9 for word in words):
        raise InputError("units are written as <unit_12><unit_7>, or as numbers: 12 7")
    if len(words) > MOST_UNITS:
        raise InputError(f"{len(words)} units; at most {MOST_UNITS} here")
    return [int(word) for word in words]


def speak(
    shop: Workshop,
    session: Session,
    text: str,
    voice: str,
    *,
    codebook: str = "tiny/500",
    durations: Sequence[int] | None = None,
    tell: Tell = lambda share, text: None,
) -> Path:
    """Say units in a stored or bundled voice.

    Args:
        durations: frames of each; None for one frame a unit where units repeat, else five, about a sound's length.

    Raises:
        Refused: units or a voice that cannot be used; a stored voice without consent.
    """
    from speechssl.units import decode

    with field("units"):
        ids = parse(text)
    if not voice:
        raise Refused("voice", "Choose a voice.")
    with shop.job(session, tell) as step:
        step(0.1, "loading")
        system, book = shop.system("tiny"), shop.codebook(codebook)
        with field("voice"):
            spoken = stored_voice(shop, session.user, system, voice, "tiny")
        if not voice.startswith(BUNDLED) and not spoken.consents and shop.settings.consent:
            raise Refused("voice", f"{voice!r} was stored without an attestation; store it again with one")
        step(0.4, "speaking")
        with field("units"):
            collapsed = all(a != b for a, b in itertools.pairwise(ids))
            lengths = list(durations) if durations is not None else [5 if collapsed else 1] * len(ids)
            wanted = decode.units_of(ids, book, durations=lengths)
            waveform = audio.set_loudness(decode.decode(wanted, book, spoken, system.vocoder), -23.0)
        path = session.place(f"units-{voice.removeprefix(BUNDLED)}", ".wav")
        mark = conversions.write(shop, path, [conversions.marked(shop, waveform)])
        facts = {
            "what": "speech synthesised from units",
            "consent": [one.as_dict() for one in spoken.consents] or [{"voice": voice}],
            "voices": [{"name": voice, "references": [one.sha256 for one in spoken.references]}],
            "models": {"codebook": book.fingerprint, "encoder": spoken.key_origin, "vocoder": spoken.value_origin},
            "units": hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest(),
            "watermark": mark,
        }
        receipt = signing.issue(path, facts, shop.signer())
    session.remember({"what": "units", "path": path, "label": f"units in {voice}", "made": receipt["created"],
                      "seconds": round(waveform.seconds, 3), "receipt": receipt})  # fmt: skip
    return path
