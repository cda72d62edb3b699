"""Contents of receipts, one function for each kind of sound; the page and the command line use the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl import checkpoints
from speechssl.voices.matching_set import MatchingSet

if TYPE_CHECKING:
    from speechssl.conversion.result import Conversion

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
    """Facts about a converted recording.

    Args:
        source: the recording whose words were kept.
        voices: with their shares.
        result: the conversion; names the converter.
        model: name of the model.
        consent: one record for each attestation.
        settings: all but the converter.
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


def of_live(voices: Sequence[MatchingSet], *, consent: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Facts about what was spoken into a microphone and recorded in another voice."""
    return {
        "what": "live voice conversion: the words of somebody at a microphone, in a synthetic voice",
        "consent": list(consent),
        "voices": [_voice(one) for one in voices],
        "models": {"encoder": voices[0].key_origin, "values": voices[0].value_origin},
    }


def of_speech(
    text: str,
    voice: MatchingSet,
    *others: MatchingSet,
    text_model: str,
    consent: Sequence[dict[str, Any]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Facts about speech made from text, in one voice or in several."""
    return {
        "what": "speech synthesised from text",
        "consent": list(consent),
        "text": {"sha256": hashlib.sha256(text.encode()).hexdigest(), "characters": len(text)},
        "voices": [_voice(one) for one in (voice, *others)],
        "models": {"text": text_model, "encoder": voice.key_origin, "values": voice.value_origin},
        "settings": settings,
    }


def of_units(
    ids: Sequence[int], voice: MatchingSet, *, name: str, codebook: str, consent: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Facts about speech made from units.

    Args:
        ids: the units.
        voice: the voice.
        name: by which the voice was chosen.
        codebook: fingerprint of the codebook.
        consent: one record for each attestation.
    """
    return {
        "what": "speech synthesised from units",
        "consent": list(consent),
        "voices": [{**_voice(voice), "name": name}],
        "models": {"codebook": codebook, "encoder": voice.key_origin, "vocoder": voice.value_origin},
        "units": hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest(),
    }


def of_piece(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts about a piece of a streamed conversion; the receipt of the whole has the rest."""
    return {"what": "a piece of a voice conversion", **facts}


def consents(voices: Sequence[MatchingSet], *, otherwise: str) -> list[dict[str, Any]]:
    """The consent records of voices.

    Args:
        voices: that are used.
        otherwise: statement that stands for the recordings without consent.
    """
    found: list[dict[str, Any]] = []
    for voice in voices:
        found += [one.as_dict() for one in voice.consents if one.recordings]
        if lacking := [one.sha256 for one in voice.uncovered]:
            found.append({"statement": otherwise, "recordings": lacking})
    return found


def _voice(voice: MatchingSet) -> dict[str, Any]:
    references = [{"name": one.name[:LONGEST], "sha256": one.sha256} for one in voice.references]
    return {"name": voice.name, "references": references}
