"""Which model a command runs: the one named, else that of a stored voice, a codebook or a text model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from speechssl.cli import terminal
from speechssl.errors import InputError, SpeechSSLError

if TYPE_CHECKING:
    from speechssl.conversion.voice_converter import VoiceConverter

DEFAULT = "tiny"


def load(
    model: str | None,
    origins: Iterable[str],
    *,
    layer: int | None = None,
    normalise: bool | None = None,
    device: str = "auto",
    precision: str = "float32",
    vocoder: str | None = None,
) -> VoiceConverter:
    """Encoder, values and vocoder for what is to be spoken in or decoded.

    Args:
        model: as named on the command line; None for the one of the origins.
        origins: of the features in the files given, such as ``"wavlm-large/6/raw"``; the first decides on everything
            that is not named.
        layer, normalise: as named on the command line.
        device, precision, vocoder: see ``load_bundle``.
    Raises:
        InputError: a file that was made with a local model, which has to be named.
        CheckpointError: weights that cannot be used.
    """
    from speechssl.conversion.bundles import load_bundle
    from speechssl.encoders.origins import parsed

    origin = next(iter(origins), None)
    if origin is not None:
        name, own_layer, own_normalise = parsed(origin)
        if model is None:
            _check_published(name, origin)
            model = name
        layer = own_layer if layer is None else layer
        normalise = own_normalise if normalise is None else normalise
    with terminal.timed(f"loading the model {model or DEFAULT}"):
        return load_bundle(
            model or DEFAULT, layer=layer, normalise=normalise, device=device, precision=precision, vocoder=vocoder
        )


def origins_of(voices: Iterable[str], *, lenient: bool = False) -> list[str]:
    """Origins of the keys of stored voices, by name or file; those of the package are made with any model.

    Args:
        voices: by name or file.
        lenient: whether voices that cannot be opened are passed over; their own conversions will say so.
    Raises:
        InputError: no such voice.
        CheckpointError: a file that is no voice.
    """
    from speechssl.voices import VoiceLibrary, info
    from speechssl.voices.clips import clips

    library, bundled = VoiceLibrary(), {one.voice for one in clips()}
    found = []
    for one in voices:
        if one in bundled and one not in library:
            continue
        try:
            found.append((info(one) if library.is_file(one) else library.show(one)).key_origin)
        except SpeechSSLError:
            if not lenient:
                raise
    return found


def _check_published(name: str, origin: str) -> None:
    """Refuse the name of a local model, which says nothing of where the model is."""
    from speechssl.conversion.bundles import BUNDLES
    from speechssl.encoders import HUB_NAMES

    if name not in (DEFAULT, *HUB_NAMES, *BUNDLES) and "/" not in name and ":" not in name and not Path(name).exists():
        raise InputError(
            f"the file given was made with the model {origin!r}, a local one; name its folder with --model"
        )
