"""What receipts say of conversions and of speech made from text; the front end and the command line say the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl import checkpoints

if TYPE_CHECKING:
    from speechssl.conversion.result import Conversion
    from speechssl.voices.consent import Consent
    from speechssl.voices.matching_set import MatchingSet

LONGEST = 100  # characters of a file's name


def of_conversion(
    source: Path,
    voices: Sequence[tuple[MatchingSet, float]],
    result: Conversion,
    *,
    model: str,
    consent: Sequence[dict[str, Any]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Of a converted recording.

    Args:
        source: whose words were kept.
        voices: with their shares.
        result: says which converter was used.
        model: its name.
        consent: by whose leave, one for each attestation.
        settings: others than the converter.
    """
    return {
        "what": "voice conversion: the words of the source, in a synthetic voice",
        "consent": list(consent),
        "source": {"name": source.name[:LONGEST], "sha256": checkpoints.sha256_of(source)},
        "voices": [{**_voice(voice), "share": share} for voice, share in voices],
        "models": {
            "name": model,
            "encoder": voices[0][0].key_origin,
            "values": voices[0][0].value_origin,
            "vocoder": result.features.origin,
        },
        "settings": {**settings, "converter": result.converter},
    }


def of_speech(
    text: str, voice: MatchingSet, *, text_model: str, consent: Sequence[dict[str, Any]], settings: dict[str, Any]
) -> dict[str, Any]:
    """Of a text that was spoken."""
    return {
        "what": "speech synthesised from text",
        "consent": list(consent),
        "text": {"sha256": hashlib.sha256(text.encode()).hexdigest(), "characters": len(text)},
        "voices": [_voice(voice)],
        "models": {"text": text_model, "encoder": voice.key_origin, "values": voice.value_origin},
        "settings": settings,
    }


def consents(voices: Sequence[MatchingSet], *, otherwise: str) -> list[dict[str, Any]]:
    """The attestations that voices carry; a statement for a voice without any.

    Args:
        voices: of which things are made.
        otherwise: why there is none.
    """
    found: list[dict[str, Any]] = []
    for voice in voices:
        given: Sequence[Consent] = voice.consents
        found += [one.as_dict() for one in given] or [{"statement": otherwise}]
    return found


def _voice(voice: MatchingSet) -> dict[str, Any]:
    references = [{"name": one.name[:LONGEST], "sha256": one.sha256} for one in voice.references]
    return {"name": voice.name, "references": references}
