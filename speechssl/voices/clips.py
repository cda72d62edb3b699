"""Recordings that ship with the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from speechssl.checkpoints import PACKAGED, kinds
from speechssl.errors import InputError


@dataclass(frozen=True)
class Clip:
    """A recording that ships with the package, for the demo and the tests.

    Args:
        path: Ogg Opus, 24 kHz, mono.
        voice: ``ada``, ``beth``, ``cleo`` (female), ``dan``, ``eric`` or ``finn`` (male).
        role: ``reference`` (about 30 s, another text for each voice) or ``sentence`` (6 s, the same for all).
        text: what is said, English.
        seconds: duration.
    """

    path: Path
    voice: str
    role: str
    text: str
    seconds: float


@lru_cache(maxsize=1)
def clips() -> tuple[Clip, ...]:
    """The recordings that ship with the package, all synthetic (see NOTICE)."""
    folder = PACKAGED / "clips"
    facts = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    return tuple(Clip(folder / c["file"], c["voice"], c["role"], c["text"], c["seconds"]) for c in facts["clips"])


@kinds.checked
def clip(voice: str, role: str = "reference") -> Clip:
    """One recording that ships with the package.

    Args:
        voice: ``ada``, ``beth``, ``cleo``, ``dan``, ``eric`` or ``finn``.
        role: ``reference`` (half a minute) or ``sentence``.
    Returns:
        The clip, with the path of its file.
    Raises:
        InputError: no such voice or role.

    Example:
        >>> import speechssl
        >>> speechssl.clip("ada", "sentence").path.name
        'ada_sentence.opus'
    """
    for found in clips():
        if (found.voice, found.role) == (voice, role):
            return found
    voices = ", ".join(sorted({c.voice for c in clips()}))
    raise InputError(f"no clip of voice {voice!r} as {role!r}; voices: {voices}; roles: reference, sentence")
