"""Names to objects: a bundle is the encoder, the values and the vocoder that belong together under one model name.

``tiny`` ships with the package. ``wavlm-large`` is kNN-VC: WavLM-Large layer 6 as it comes, and the HiFi-GAN published
for it. Every other encoder, by any name ``encoders.load`` takes, finds the frames while WORLD speaks them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.conversion import Conversion, VoiceConverter
    from speechssl.matching import MatchingSet, Recording

PACKAGED = Path(__file__).parent / "models"
TINY = PACKAGED / "tiny" / "encoder.safetensors"


@dataclass(frozen=True)
class Bundle:
    """What a model name stands for.

    Args:
        name: as given to ``--model``.
        encoder: for ``encoders.load``.
        layer: of the encoder; None for the one its file or its paper names.
        normalise: of the encoder's input; None for its own way.
        vocoder: a name of ``speechssl.vocoders``, or one of its files.
        licence: of the weights, as their publishers say; empty if unknown.
        megabytes: that are downloaded the first time, about; 0 if all is here; None if unknown.
        source: who publishes the weights.
    """

    name: str
    encoder: str
    layer: int | None = None
    normalise: bool | None = None
    vocoder: str = "world"
    licence: str = ""
    megabytes: int | None = None
    source: str = ""


_MICROSOFT = "CC BY-SA 3.0 (Microsoft UniSpeech)"


def _with_world(name: str, layer: int, licence: str, megabytes: int, source: str) -> Bundle:
    return Bundle(name, name, layer, None, "world", licence, megabytes, source)


# Sizes are those of the weights files on the hub. Whatever encoders.load takes works too; these are the ones we name.
_NAMED = (
    Bundle("tiny", "tiny", vocoder="tiny", licence="MIT", megabytes=0, source="this package"),
    Bundle(
        "wavlm-large",
        "wavlm-large",
        layer=6,
        normalise=False,
        vocoder="knn-vc-prematched",
        licence=f"{_MICROSOFT}; vocoder MIT (kNN-VC)",
        megabytes=1330,
        source="microsoft/wavlm-large; bshall/knn-vc v0.1",
    ),
    _with_world("wavlm-base-plus", 6, _MICROSOFT, 378, "microsoft/wavlm-base-plus"),
    _with_world("hubert-base", 6, "Apache-2.0", 378, "facebook/hubert-base-ls960"),
    _with_world("mhubert-147", 6, "CC BY-NC-SA 4.0", 378, "utter-project/mHuBERT-147"),
    _with_world("w2v-bert-2.0", 10, "MIT", 2322, "facebook/w2v-bert-2.0"),
)
BUNDLES = {one.name: one for one in _NAMED}


def bundle(name: str) -> Bundle:
    """The bundle of that name, or one made of WORLD and the encoder of that name."""
    return BUNDLES.get(name) or Bundle(name, name)


def load_bundle(
    name: str | Path = "tiny",
    *,
    layer: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    vocoder: str | Path | None = None,
) -> VoiceConverter:
    """Encoder, values and vocoder, ready to convert.

    Args:
        name: ``"tiny"``, one of ``BUNDLES``, or whatever ``encoders.load`` takes.
        layer: of the encoder, where it is to differ; the published vocoder of ``wavlm-large`` fits layer 6 only, so
            another layer is spoken by WORLD.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``float32`` or ``bfloat16``.
        vocoder: for ``vocoders.load``, instead of the bundle's own: ``"world"``, or a file.
    Raises:
        InputError: a vocoder of another encoder, or an unknown name, layer, device or precision.
        CheckpointError: weights that are missing, damaged or not to be had offline.
    """
    from speechssl import encoders
    from speechssl.conversion import VoiceConverter

    parts = bundle(str(name))
    chosen = parts.layer if layer is None else layer
    encoder = encoders.load(parts.encoder, layer=chosen, device=device, precision=precision, normalise=parts.normalise)
    from speechssl import vocoders
    from speechssl.vocoders.world import WorldAnalysis

    own = parts.vocoder if chosen == parts.layer or _is_own_layer(parts, layer) else "world"
    speaker = vocoders.load(vocoder or own, device=device)
    return VoiceConverter(encoder, encoder if speaker.origin == encoder.origin else WorldAnalysis(), speaker)


def _is_own_layer(parts: Bundle, layer: int | None) -> bool:
    """Whether a layer that was asked for is the one that the packaged encoder's file names anyway."""
    from speechssl import checkpoints

    return parts.encoder == "tiny" and layer == checkpoints.peek(TINY)["layer"]


def convert(
    source: Recording,
    references: Sequence[Recording] = (),
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
    loudness: str | float = "source",
    device: str = "auto",
    precision: str = "float32",
    vocoder: str | Path | None = None,
) -> Conversion:
    """Say what one recording says in the voice of others: ``speechssl convert`` as a function.

    For several sources or several voices make the objects once: ``load_bundle(...).matching_set(...)`` and
    ``.convert(...)``.

    Args:
        source: a file or a waveform.
        references: files or waveforms of the wanted voice.
        voice: instead of references, a stored voice by name or file, or a matching set.
        output: where to write the result; None not to.
        model: see ``load_bundle``; so are ``layer``, ``device``, ``precision`` and ``vocoder``.
        k: see ``VoiceConverter.convert``; so are ``converter``, ``interpolation``, ``pitch``, ``tempo`` and
            ``loudness``.
    Raises:
        InputError: both or neither of references and voice, or something that cannot be used.
        CheckpointError: weights or a voice that cannot be used.
    """
    if bool(references) == (voice is not None):
        raise InputError("references or a voice needed, one of them: whose voice is wanted?")
    from speechssl import audio
    from speechssl.matching import MatchingSet
    from speechssl.voices import VoiceLibrary

    system = load_bundle(model, layer=layer, device=device, precision=precision, vocoder=vocoder)
    if voice is None:
        target = system.matching_set(references)
    else:
        target = voice if isinstance(voice, MatchingSet) else VoiceLibrary().open(voice)
    result = system.convert(
        source, target, k=k, converter=converter, interpolation=interpolation, pitch=pitch, tempo=tempo,
        loudness=loudness,
    )  # fmt: skip
    if output is not None:
        audio.write(output, result.waveform)
    return result


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


def clip(voice: str, role: str = "reference") -> Clip:
    """One recording that ships with the package.

    Raises:
        InputError: no such voice or role.
    """
    for found in clips():
        if (found.voice, found.role) == (voice, role):
            return found
    voices = ", ".join(sorted({c.voice for c in clips()}))
    raise InputError(f"no clip of voice {voice!r} as {role!r}; voices: {voices}; roles: reference, sentence")
