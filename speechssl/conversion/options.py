"""Options of a conversion, described and checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass

from speechssl.conversion import converters
from speechssl.errors import InputError
from speechssl.voices.pitch import parse_mode
from speechssl.voices.tempo import parse_mode as parse_tempo


@dataclass(frozen=True)
class ConversionOptions:
    """How a recording is converted.

    Args:
        k: neighbours per frame; None for the number in the converter's row of ``converters.TABLE``. ``shift`` takes at
            least 16 if the vocoder does not hear the keys; ``continuous`` and ``selection`` choose among at least 16.
        converter: a name in ``converters.TABLE``, whose rows describe them, or ``"auto"``, which chooses by the vocoder
            and the length of the reference. With the model ``tiny``, ``auto`` is ``variance``. ``selection`` sounds
            most like the voice but is less intelligible. It copies runs of single frames, with their own keys and
            pitch.
        interpolation: 1 is the voice, 0 the source, in between a blend of both, pitch included.
        pitch: ``"target"`` moves F0 to the mean and spread of the voice (with ``selection``, to the F0 of the frames
            taken), ``"source"`` keeps it, a number shifts it by semitones. Only for vocoders that take F0.
        tempo: ``"source"`` keeps the timing of the source, ``"target"`` goes half way to the speaking rate of the voice
            (``voices.tempo.stretch``), a number is a factor (0.5 to 2; 1.25 is 25 % faster). ``"auto"`` is
            ``"target"`` with ``selection`` and ``"source"`` with all other converters.
        loudness: ``"source"``, or LUFS, which a source without a waveform needs. The result never clips.
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
            InputError: an option out of range; the message says what is possible.
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
