"""Names to objects: a bundle is the encoder, the values and the vocoder that belong together under one model name.

``tiny`` ships with the package. ``wavlm-large`` is kNN-VC: WavLM-Large layer 6 without normalisation, and the HiFi-GAN
published for it. With any other encoder that ``encoders.load`` takes, frames are matched on its features and
synthesised by WORLD.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from speechssl import audio, checkpoints
from speechssl.audio.given import Recording
from speechssl.checkpoints import PACKAGED, kinds
from speechssl.errors import InputError
from speechssl.signals import Features, Waveform

if TYPE_CHECKING:
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.encoders.encoder import SSLEncoder

TINY = PACKAGED / "tiny" / "encoder.safetensors"
PREDICTOR = PACKAGED / "tiny" / "predictor.safetensors"


@dataclass(frozen=True)
class Bundle:
    """What a model name stands for.

    Args:
        name: as given to ``--model``.
        encoder: for ``encoders.load``.
        layer: of the encoder; None for the layer its file or its paper names.
        normalise: whether the encoder's input is normalised; None for the encoder's own way.
        vocoder: a name of ``speechssl.vocoders``, or one of its files.
        predictor: file of the ``conversion.predictor`` that fits encoder and vocoder; None without.
        licence: of the weights, as their publishers state it; empty if unknown.
        megabytes: downloaded the first time, about; 0 if the weights ship with the package; None if unknown.
        source: who publishes the weights.
    """

    name: str
    encoder: str
    layer: int | None = None
    normalise: bool | None = None
    vocoder: str = "world"
    predictor: Path | None = None
    licence: str = ""
    megabytes: int | None = None
    source: str = ""


_MICROSOFT = "CC BY-SA 3.0 (Microsoft UniSpeech)"


def _with_world(name: str, layer: int, licence: str, megabytes: int, source: str) -> Bundle:
    return Bundle(name, name, layer, licence=licence, megabytes=megabytes, source=source)


# Sizes are those of the weights files on the hub. Every other name that encoders.load takes works too.
_NAMED = (
    Bundle("tiny", "tiny", vocoder="tiny", predictor=PREDICTOR, licence="MIT", megabytes=0, source="this package"),
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


@kinds.checked
def load_bundle(
    name: str | Path = "tiny",
    *,
    layer: int | None = None,
    normalise: bool | None = None,
    device: str = "auto",
    precision: str = "float32",
    vocoder: str | Path | None = None,
) -> VoiceConverter:
    """Encoder, values and vocoder, ready to convert.

    Args:
        name: ``"tiny"``, one of ``BUNDLES``, or whatever ``encoders.load`` takes.
        layer: of the encoder; None for that of the bundle. The published vocoder of ``wavlm-large`` fits layer 6 only,
            so another layer is synthesised by WORLD.
        normalise: see ``encoders.load``; None for what the bundle does.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``float32`` or ``bfloat16``.
        vocoder: for ``vocoders.load``, instead of the bundle's own: ``"world"``, or a file.
    Returns:
        What converts, with its encoder and vocoder as attributes.
    Raises:
        InputError: a vocoder of another encoder, or an unknown name, layer, device or precision.
        CheckpointError: weights that are missing, damaged or not available offline.

    Example:
        >>> import speechssl
        >>> speechssl.load_bundle("tiny").encoder.origin
        'tiny/4'
    """
    from speechssl import vocoders
    from speechssl.conversion import predictor
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.vocoders.world import WorldAnalysis

    parts = bundle(str(name))
    chosen = parts.layer if layer is None else layer
    encoder = load_bundle_encoder(name, layer=layer, normalise=normalise, device=device, precision=precision)
    own = parts.vocoder if chosen == parts.layer or _is_own_layer(parts, layer) else "world"
    speaker = vocoders.load(vocoder or own, device=device)
    values = encoder if speaker.origin == encoder.origin else WorldAnalysis()
    known = None
    if parts.predictor is not None and speaker.key_origin == encoder.origin:
        known = predictor.load(parts.predictor)
    return VoiceConverter(encoder, values, speaker, known)


def load_bundle_encoder(
    name: str | Path = "tiny",
    *,
    layer: int | None = None,
    normalise: bool | None = None,
    device: str = "auto",
    precision: str = "float32",
) -> SSLEncoder:
    """The encoder of a bundle, with the layer and the normalisation that the bundle uses.

    Args:
        name: see ``load_bundle``; so are ``layer``, ``normalise``, ``device`` and ``precision``.
    Raises:
        InputError: an unknown name, layer, device or precision.
        CheckpointError: weights that are missing, damaged or not available offline.
    """
    from speechssl import encoders

    parts = bundle(str(name))
    chosen = parts.layer if layer is None else layer
    return encoders.load(
        parts.encoder,
        layer=chosen,
        device=device,
        precision=precision,
        normalise=parts.normalise if normalise is None else normalise,
    )


@kinds.checked
def features(
    recording: Recording,
    *,
    output: str | Path | None = None,
    model: str | Path = "tiny",
    layer: int | None = None,
    device: str = "auto",
    precision: str = "float32",
) -> Features:
    """Encode one recording to self-supervised features: ``speechssl features`` as a function.

    For several recordings load the encoder once: ``load_bundle("tiny").encoder.encode_file(...)``.

    Args:
        recording: see ``audio.recording``.
        output: safetensors file to write; None for none.
        model: see ``load_bundle``; so are ``layer``, ``device`` and ``precision``.
    Returns:
        Frames (N, D) with their frame rate and origin.
    Raises:
        InputError: the recording cannot be used, or an unknown name, layer, device or precision.
        CheckpointError: weights that are missing, damaged or not available offline.

    Example:
        >>> import speechssl
        >>> speechssl.features(speechssl.clip("ada", "sentence"))
        Features(5.0 s at 50 Hz, 249 x 256, tiny/4)
    """
    recording = audio.recording(recording)
    if output is not None and Path(output).suffix.lower() not in ("", ".safetensors"):
        raise InputError(f"{output} would hold safetensors; a name that ends in .safetensors needed")
    encoder = load_bundle_encoder(model, layer=layer, device=device, precision=precision)
    if isinstance(recording, Waveform):
        found, name = encoder.encode(recording), ""
    else:
        found, name = encoder.encode_file(recording), Path(recording).name
    if output is not None:
        save_features(output, found, source=name)
    return found


def save_features(path: str | Path, found: Features, *, source: str = "", half: bool = False) -> None:
    """Write features to a safetensors file: the tensor ``frames`` (N, D), and a header with origin and frame rate.

    Args:
        path: of the file.
        found: the features.
        source: name of the recording, for the header.
        half: store float16 instead of float32.
    """
    header = {"kind": "features", "origin": found.origin, "frame_rate": found.frame_rate, "source": source}
    checkpoints.save(Path(path), {"frames": found.frames.half() if half else found.frames}, header)


def _is_own_layer(parts: Bundle, layer: int | None) -> bool:
    """Whether the layer that was asked for is that of the packaged encoder's file."""
    return parts.encoder == "tiny" and layer == checkpoints.peek(TINY)["layer"]
