"""Options of a conversion, checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from speechssl.conversion import converters
from speechssl.errors import InputError
from speechssl.voices.pitch import parse_mode
from speechssl.voices.tempo import parse_mode as parse_tempo


@dataclass(frozen=True)
class ConversionOptions:
    """How a recording is converted; ``VoiceConverter.convert`` describes each option.

    Args:
        k: neighbours per frame; None for the converter's own number.
        converter: one of ``converters.NAMES``, or ``"auto"``.
        interpolation: 1 is the voice, 0 the source.
        pitch: ``"target"``, ``"source"`` or semitones.
        tempo: ``"auto"``, ``"source"``, ``"target"`` or a factor.
        loudness: ``"source"`` or LUFS.
    """

    k: int | None = None
    converter: str = "auto"
    interpolation: float = 1.0
    pitch: str | float = "target"
    tempo: str | float = "auto"
    loudness: str | float = "source"

    def check(self) -> None:
        """Refuse options that no voice could be converted with, before anything is loaded.

        Raises:
            InputError: one out of range; the message says which are possible.
        """
        if self.k is not None and self.k < 1:
            raise InputError(f"k is {self.k}; 1 neighbour or more needed")
        if self.converter not in ("auto", *converters.NAMES):
            raise InputError(f"converter is {self.converter!r}; one of auto, {', '.join(converters.NAMES)} needed")
        if not 0 <= self.interpolation <= 1:
            raise InputError(f"interpolation is {self.interpolation}; between 0 (the source) and 1 (the target) needed")
        parse_mode(str(self.pitch))
        parse_tempo(str(self.tempo))
        level = self.loudness
        if level != "source" and not (isinstance(level, (int, float)) and math.isfinite(level)):
            raise InputError(f"loudness is {level!r}; 'source' or a number of LUFS such as -23 needed")


def check_options(**options: Any) -> None:
    """Check the options given; ``ConversionOptions.check`` replaces this function."""
    ConversionOptions(**options).check()
