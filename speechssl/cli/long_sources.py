"""Convert a long recording from file to file in memory that does not grow with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from speechssl import audio
from speechssl.cli import terminal

if TYPE_CHECKING:
    from speechssl.conversion.options import ConversionOptions
    from speechssl.conversion.result import Conversion
    from speechssl.conversion.steps import Voices
    from speechssl.conversion.voice_converter import VoiceConverter

PIECE = 30.0  # seconds; nobody waits for the first, and a sixth less is encoded twice than with pieces of 10
LONG = 1200.0  # seconds from which a source is converted piece by piece; up to 20 minutes fit into 1.5 GB as a whole


def suits(system: VoiceConverter, source: Path, voice: Voices, options: ConversionOptions) -> bool:
    """Whether a source is so long that it is converted piece by piece, by the converter that would make the whole."""
    from speechssl.conversion import streaming

    return audio.info(source).seconds >= LONG and streaming.suits(system, voice, options)


def convert(
    system: VoiceConverter,
    source: Path,
    output: Path,
    voice: Voices,
    options: ConversionOptions,
    *,
    before: Callable[[Conversion], None],
) -> tuple[Conversion, float]:
    """Write the conversion piece by piece; the file appears when the last piece is written.

    Args:
        before: called with how all of it was made, before the file appears.
    Returns:
        How it was made, without its sound, and the seconds written.
    Raises:
        InputError: as ``streaming.stream`` and ``audio.writing``.
    """
    from speechssl.conversion import result, streaming

    samples, made = 0, []
    pieces = streaming.stream(system, source, voice, options, lengths=streaming.Lengths(first=PIECE, piece=PIECE))
    first = next(pieces)
    rate = first.waveform.sample_rate
    with audio.writing(output, rate) as write:
        for piece in itertools.chain([first], pieces):
            write(piece.waveform)
            samples += len(piece.waveform.samples)
            made.append(piece.without_sound())
            terminal.part(str(source), piece.waveform.seconds)
        whole = result.join(made)
        before(whole)
    return whole, samples / rate
