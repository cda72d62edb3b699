"""Options of a conversion, checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
        check_options(
            k=self.k, converter=self.converter, interpolation=self.interpolation, pitch=self.pitch, tempo=self.tempo,
            loudness=self.loudness,
        )  # fmt: skip


def check_options(
    *,
    k: int | None = None,
    converter: str = "auto",
    interpolation: float = 1.0,
    pitch: str | float = "target",
    tempo: str | float = "auto",
    loudness: str | float = "source",
) -> None:
    """Refuse options of ``VoiceConverter.convert`` that no voice could be converted with, before anything is loaded.

    Raises:
        InputError: one out of range; the message says which are possible.
    """
    if k is not None and k < 1:
        raise InputError(f"k is {k}; 1 neighbour or more needed")
    if converter not in ("auto", *converters.NAMES):
        raise InputError(f"converter is {converter!r}; one of auto, {', '.join(converters.NAMES)} needed")
    if not 0 <= interpolation <= 1:
        raise InputError(f"interpolation is {interpolation}; between 0 (the source) and 1 (the target) needed")
    parse_mode(str(pitch))
    parse_tempo(str(tempo))
    if loudness != "source" and not (isinstance(loudness, (int, float)) and math.isfinite(loudness)):
        raise InputError(f"loudness is {loudness!r}; 'source' or a number of LUFS such as -23 needed")
