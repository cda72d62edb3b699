"""Loudness of a conversion: that of the source at every moment, on the whole, or as the vocoder gives it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from speechssl import audio
from speechssl.audio import levels
from speechssl.conversion.source import Source
from speechssl.errors import InputError
from speechssl.signals import Waveform

MODES = "contour, contour=0.5, level, off or a number of LUFS such as -23"


@dataclass(frozen=True)
class Loudness:
    """What ``ConversionOptions.loudness`` says.

    Args:
        share: of the source's contour, 0 to 1.
        lufs: of the whole; None for that of the source.
        is_off: whether the level of the vocoder is left as it is.
    """

    share: float = 1.0
    lufs: float | None = None
    is_off: bool = False


def parse(wanted: str | float) -> Loudness:
    """Read ``contour``, ``contour=0.5``, ``level``, ``off`` or LUFS; ``source`` is an older name of ``contour``.

    Raises:
        InputError: something else.
    """
    mode, _, share = str(wanted).partition("=")
    fixed = {"contour": Loudness(), "source": Loudness(), "level": Loudness(0.0), "off": Loudness(0.0, is_off=True)}
    if wanted in fixed:
        return fixed[str(wanted)]
    try:
        value = float(share if mode == "contour" else str(wanted))
    except ValueError:
        value = math.nan
    if mode == "contour" and 0 <= value <= 1:
        return Loudness(value)
    if mode != "contour" and math.isfinite(value) and value <= 0 and not isinstance(wanted, bool):
        return Loudness(lufs=value)
    raise InputError(f"loudness is {wanted!r}; {MODES} needed")


def shaped(made: Waveform, source: Source, wanted: Loudness, stretch: float = 1.0) -> Waveform:
    """The sound without bursts, and with the source's contour as far as it is wanted.

    Args:
        made: by the vocoder.
        source: text has no contour.
        wanted: parsed.
        stretch: times as long as the source.
    """
    if wanted.is_off:
        return made
    limited = audio.limit_bursts(made)
    if source.waveform is None or wanted.share == 0:
        return limited
    return audio.Follower(wanted.share).applied(limited, source.waveform, stretch=stretch)


def levelled(sound: Waveform, source: Source, wanted: Loudness) -> Waveform:
    """The sound at the loudness of the source, or at the LUFS wanted; silence if the source is silent. Never clips.

    Raises:
        InputError: the loudness of a source without sound was asked for.
    """
    if wanted.is_off:
        gain = min(1.0, levels.PEAK / max(float(sound.samples.abs().max()), 1e-9))
        return Waveform(sound.samples * gain, sound.sample_rate)
    if wanted.lufs is not None:
        return audio.set_loudness(sound, wanted.lufs)
    if source.waveform is None:
        raise InputError("text has no loudness of a source; give LUFS such as loudness=-23")
    level = audio.loudness(source.waveform)
    if not math.isfinite(level):
        return Waveform(sound.samples * 0, sound.sample_rate)
    loud = audio.set_loudness(sound, level)
    return Waveform(loud.samples * 10 ** (-source.raised / 20), sound.sample_rate) if source.raised else loud
