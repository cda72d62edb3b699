"""Options of a conversion, described and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass

from speechssl.checkpoints import kinds
from speechssl.conversion import converters, loudness
from speechssl.errors import InputError
from speechssl.voices.pitch import parse_mode
from speechssl.voices.tempo import parse_mode as parse_tempo

LOWEST_RATE, HIGHEST_RATE = 8000, 48_000  # Hz of results: a telephone's, a studio's


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
        loudness: ``"contour"`` follows the loudness of the source over 0.3 s, where somebody speaks; ``"contour=0.5"``
            goes half way. ``"level"`` follows that of the whole alone. A number is the loudness of the whole in LUFS,
            with the source's contour; a source without a waveform needs one. ``"off"`` leaves what the vocoder gives.
            The result never clips. (``"source"`` is an older name of ``"contour"``.)
        sample_rate: of the result, 8000 to 48000 Hz; None for the vocoder's, ``"source"`` for the recording's own.
            Resampling invents no higher frequencies.
    """

    k: int | None = None
    converter: str = "auto"
    interpolation: float = 1.0
    pitch: str | float = "target"
    tempo: str | float = "auto"
    loudness: str | float = "contour"
    sample_rate: int | str | None = None

    def check(self) -> None:
        """Refuse options that no voice could be converted with, before anything is loaded.

        Raises:
            InputError: an option out of range; the message says what is possible.
        """
        if self.k is not None and not kinds.is_number(self.k, whole=True):
            raise InputError(f"k is {self.k!r}; a whole number needed")
        if not kinds.is_number(self.interpolation):
            raise InputError(f"interpolation is {self.interpolation!r}; a number needed")
        if self.k is not None and self.k < 1:
            raise InputError(f"k is {self.k}; 1 neighbour or more needed")
        if self.converter not in ("auto", *converters.NAMES):
            raise InputError(f"converter is {self.converter!r}; one of auto, {', '.join(converters.NAMES)} needed")
        if not 0 <= self.interpolation <= 1:
            raise InputError(f"interpolation is {self.interpolation}; between 0 (the source) and 1 (the target) needed")
        parse_mode(str(self.pitch))
        parse_tempo(str(self.tempo))
        loudness.parse(self.loudness)
        rate = self.sample_rate
        if not (rate in (None, "source") or (type(rate) is int and LOWEST_RATE <= rate <= HIGHEST_RATE)):
            raise InputError(
                f"sample rate is {rate!r}; 'source' or a whole number from {LOWEST_RATE} to {HIGHEST_RATE} Hz needed"
            )
