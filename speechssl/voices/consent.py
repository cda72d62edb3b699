"""Consent: who attested that recordings may be used, which ones, when, and for what.

Consent belongs to recordings, by their checksums. A voice is covered where every recording of it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from speechssl.checkpoints import names
from speechssl.errors import CheckpointError, InputError

STATEMENT = "I have the right to use this voice."
LONGEST = 500  # characters of a field; a receipt is no letter


@dataclass(frozen=True)
class Consent:
    """An attestation.

    Args:
        who: name of the person who attests.
        purpose: what the voice is used for.
        when: ISO 8601, UTC.
        statement: what was attested.
        recordings: checksums of the recordings that it covers; empty while it belongs to none, as the consents of
            voices do that were stored before consent belonged to recordings.
    """

    who: str
    purpose: str
    when: str
    statement: str = STATEMENT
    recordings: tuple[str, ...] = ()

    def of(self, recordings: Iterable[str]) -> Consent:
        """The same attestation for these recordings."""
        return replace(self, recordings=tuple(sorted(set(recordings))))

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``from_dict`` is the way back."""
        return {**asdict(self), "recordings": list(self.recordings)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Consent:
        """Raises CheckpointError if a field is missing, unknown, or not what people can read."""
        try:
            names.time_field(values["when"], "the time of a consent")
            texts = {name: value for name, value in values.items() if name != "recordings"}
            covered = tuple(names.checksum_field(one) for one in values.get("recordings", []))
            texts = {name: names.text_field(value, name, longest=LONGEST) for name, value in texts.items()}
            return Consent(**texts, recordings=covered)
        except (TypeError, KeyError, AttributeError, InputError) as error:
            raise CheckpointError(f"a damaged consent ({error}); attest again") from error


def attest(who: str, purpose: str, *, statement: str = STATEMENT) -> Consent:
    """An attestation made now.

    Raises:
        InputError: nobody, or no purpose, or more text than fits.
    """
    who, purpose = (" ".join(unicodedata.normalize("NFC", text).split()) for text in (who, purpose))
    for name, text in (("who attests", who), ("the purpose", purpose)):
        if not names.has_letters(text):
            raise InputError(f"consent needs {name}; say it in a few words")
        if not names.is_visible(text):
            raise InputError(f"consent: {name} holds characters that nobody sees: {text!a:.100}; write it without them")
        if len(text) > LONGEST:
            raise InputError(f"consent: {name} has {len(text)} characters; {LONGEST} at most")
    return Consent(who, purpose, names.now(), statement)


def parse(text: str) -> Consent:
    """``"Ada Smith: audiobook of her own texts"``, as ``--consent`` takes it.

    Raises:
        InputError: no colon between who attests and for what.
    """
    who, colon, purpose = text.partition(":")
    if not colon:
        raise InputError(f"consent {text!r}; 'WHO: FOR WHAT' needed, such as 'Ada Smith: my own audiobook'")
    return attest(who, purpose)
