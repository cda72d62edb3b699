"""Convert one recording by names: ``speechssl convert`` as a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechssl import audio
from speechssl.audio.given import Recording, Recordings
from speechssl.checkpoints import kinds
from speechssl.conversion.bundles import load_bundle
from speechssl.conversion.options import HIGHEST_RATE, LOWEST_RATE, ConversionOptions
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.verification import speech_classifier
from speechssl.voices import VoiceLibrary
from speechssl.voices.clips import clip, clips
from speechssl.voices.matching_set import MatchingSet

if TYPE_CHECKING:
    from speechssl.conversion.result import Conversion
    from speechssl.conversion.voice_converter import VoiceConverter


@kinds.checked
def convert(
    source: Recording,
    references: Recordings = (),
    *,
    voice: str | Path | MatchingSet | None = None,
    output: str | Path | None = None,
    model: str | Path = "tiny",
    layer: int | None = None,
    k: int | None = None,
    converter: str = "auto",
    interpolation: float = 1.0,
    pitch: str | float = "target",
    tempo: str | float = "auto",
    loudness: str | float = "contour",
    sample_rate: int | str | None = None,
    device: str = "auto",
    precision: str = "float32",
    vocoder: str | Path | None = None,
) -> Conversion:
    """Say what one recording says in the voice of others: ``speechssl convert`` as a function.

    For several sources or voices, make the objects once with ``load_bundle`` and ``VoiceConverter.matching_set``, and
    call ``VoiceConverter.convert``.

    Args:
        source: see ``audio.recording``.
        references: of the wanted voice, one or several; see ``audio.recording``.
        voice: instead of references, a stored voice by name or file, or a matching set.
        output: file for the result; None for none.
        model: see ``load_bundle``; so are ``layer``, ``device``, ``precision`` and ``vocoder``.
        k: see ``ConversionOptions``; so are ``converter``, ``interpolation``, ``pitch``, ``tempo`` and ``loudness``.
        sample_rate: of the result; see ``rate_for``.
    Returns:
        The sound, with what it was made of.
    Raises:
        InputError: both or neither of references and voice, an option out of range, an output that is one of the files
            given, or a recording that cannot be used.
        CheckpointError: weights or a voice that cannot be used.

    Example:
        >>> import speechssl
        >>> result = speechssl.convert(speechssl.clip("ada", "sentence"), speechssl.clip("eric"))
        >>> result.waveform
        Waveform(5.0 s at 16 kHz)
    """
    source, references = audio.recording(source), audio.recordings(references)
    rate = rate_for(sample_rate, output, source)
    options = ConversionOptions(k, converter, interpolation, pitch, tempo, loudness, rate)
    options.check()
    _check_one_target(references, voice)
    if output is not None:
        audio.refuse_overwriting(output, [one for one in (source, *references, voice) if isinstance(one, str | Path)])
    system = load_bundle(model, layer=layer, device=device, precision=precision, vocoder=vocoder)
    result = system.run(source, open_voice(system, references, voice), options)
    if output is not None:
        audio.write(output, result.waveform)
    return dataclasses.replace(result, remark=speech_classifier.remark_on(source) or result.coverage_remark)


def rate_for(
    wanted: int | str | None, output: str | Path | None, source: str | Path | Waveform | None = None
) -> int | str | None:
    """The sample rate of a result that is written to a file.

    Args:
        wanted: Hz, also as text; None for the vocoder's; ``"source"`` for the recording's own, or the next that the
            file can hold; ``"usual"`` for that which players expect in such a file (``audio.usual_rate``).
        output: the file; None for none.
        source: the recording; None if it is not known yet, which leaves ``"source"`` as it is.
    Raises:
        InputError: a rate that the file cannot hold, or ``"usual"`` without a file.
    """
    if wanted == "usual":
        if output is None:
            raise InputError("the usual sample rate depends on the file; name an output, or give a rate in Hz")
        return audio.usual_rate(output)
    if wanted == "source" and source is not None and output is not None:
        own = source if isinstance(source, Waveform) else audio.info(source)
        return audio.held_rate(output, min(max(own.sample_rate, LOWEST_RATE), HIGHEST_RATE))
    if isinstance(wanted, str) and wanted.isdecimal():
        wanted = int(wanted)
    if isinstance(wanted, int) and output is not None:
        audio.check_rate(output, wanted)
    return wanted


def open_voice(
    system: VoiceConverter, references: Recordings = (), voice: str | Path | MatchingSet | None = None
) -> MatchingSet:
    """The voice of some recordings, or a stored one.

    Raises:
        InputError: both or neither given, or something that cannot be used.
    """
    references = audio.recordings(references)
    _check_one_target(references, voice)
    if voice is None:
        return system.matching_set(references)
    if isinstance(voice, MatchingSet):
        return voice
    if not isinstance(voice, str | Path):
        raise InputError(f"the voice is of the type {type(voice).__name__}; a name, a file or a MatchingSet needed")
    return named_voice(system, voice)


def named_voice(system: VoiceConverter, voice: str | Path) -> MatchingSet:
    """A stored voice by name or file, or one of those that ship with the package, unless a stored one has its name.

    Args:
        system: encodes the recording of a voice that ships with the package.
        voice: such as ``"eric"``.
    Raises:
        InputError: no such voice; the message names those there are.
        CheckpointError: a file that cannot be used.
    """
    library, bundled = VoiceLibrary(), {one.voice for one in clips()}
    if str(voice) in bundled and str(voice) not in library:
        return system.matching_set([clip(str(voice)).path], name=str(voice))
    return library.open(voice)


def _check_one_target(references: Sequence[object], voice: object) -> None:
    if bool(references) == (voice is not None):
        raise InputError("give either references or a voice")
