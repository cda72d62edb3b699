"""The voices of the bundled references, encoded when the package was made: whoever tries one does not wait for it."""

from __future__ import annotations

from pathlib import Path

from speechssl.checkpoints import PACKAGED
from speechssl.encoders import fingerprints
from speechssl.signals import Encoder
from speechssl.voices import files
from speechssl.voices.matching_set import MatchingSet

FOLDER = PACKAGED / "tiny" / "voices"


def place(sha256: str) -> Path:
    """Where the voice of a bundled recording lies, if it is one: ``recipes/clips/encode.py`` writes it there.

    Args:
        sha256: of the recording's file.
    """
    return FOLDER / f"{sha256[:16]}{files.SUFFIX}"


def find(sha256: str, encoder: Encoder, value_encoder: Encoder) -> MatchingSet | None:
    """The voice of a bundled recording, all its frames; None for other recordings and for other encoders.

    Raises:
        CheckpointError: its file is damaged.
    """
    path = place(sha256)
    if not path.is_file():
        return None
    voice = files.load(path)
    made_by = (voice.references[0].sha256, voice.key_origin, voice.value_origin, voice.key_encoder)
    wanted = (sha256, encoder.origin, value_encoder.origin, fingerprints.remembered(encoder))
    return voice if made_by == wanted else None
