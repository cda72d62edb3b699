"""The room of encoders: ``load`` makes any of them from a short name, a hub id, a folder or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechssl.checkpoints import PACKAGED, choose_device, kinds
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.encoders.encoder import SSLEncoder
    from speechssl.encoders.network import Weights

__all__ = ["HUB_NAMES", "RECOMMENDED_LAYERS", "load"]

HUB_NAMES = {
    "wavlm-base": "microsoft/wavlm-base",
    "wavlm-base-plus": "microsoft/wavlm-base-plus",
    "wavlm-large": "microsoft/wavlm-large",
    "hubert-base": "facebook/hubert-base-ls960",
    "hubert-large": "facebook/hubert-large-ll60k",
    "hubert-xlarge": "facebook/hubert-xlarge-ll60k",
    "mhubert-147": "utter-project/mHuBERT-147",
    "wav2vec2-base": "facebook/wav2vec2-base",
    "wav2vec2-large": "facebook/wav2vec2-large",
    "wav2vec2-large-lv60": "facebook/wav2vec2-large-lv60",
    "xlsr-53": "facebook/wav2vec2-large-xlsr-53",
    "xls-r-300m": "facebook/wav2vec2-xls-r-300m",
    "w2v-bert-2.0": "facebook/w2v-bert-2.0",
    "data2vec-audio-base": "facebook/data2vec-audio-base",
    "data2vec-audio-large": "facebook/data2vec-audio-large",
    "unispeech-sat-base": "microsoft/unispeech-sat-base",
    "unispeech-sat-base-plus": "microsoft/unispeech-sat-base-plus",
    "unispeech-sat-large": "microsoft/unispeech-sat-large",
    "whisper-base": "openai/whisper-base",
    "whisper-small": "openai/whisper-small",
    "whisper-medium": "openai/whisper-medium",
}

# only where a paper that the package serves says so; for the others the caller has to choose
RECOMMENDED_LAYERS = {
    "wavlm-large": 6,  # kNN-VC, Baas et al. 2023, arXiv:2305.18975, section 3
    "hubert-base": 6,  # GSLM, Lakhotia et al. 2021, arXiv:2102.01192, section 3
}

UNTRAINED = "untrained:"  # before the name of a model
TINY = PACKAGED / "tiny" / "encoder.safetensors"


@kinds.checked
def load(
    name_or_path: str | Path,
    *,
    layer: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    normalise: bool | None = None,
    name: str | None = None,
) -> SSLEncoder:
    """An encoder: one layer of one network; only the blocks up to it are built and run.

    Args:
        name_or_path: ``"tiny"`` (in the package), a short name of ``HUB_NAMES``, a hub id
            (``"microsoft/wavlm-large"``), a folder of transformers, ``"torchaudio:WAVLM_LARGE"``, an original WavLM
            ``.pt``, one of our ``.safetensors``, or ``"mfcc"``; ``"untrained:NAME"`` is the network of any of these
            with random weights, always the same.
        layer: l for the output of block l before any final norm, 0 for the input of the first; None for the layer the
            file or ``RECOMMENDED_LAYERS`` names.
        device: ``auto`` (CUDA, else Apple's GPU, else CPU), ``cpu``, ``cuda`` or ``mps``.
        precision: ``float32``; ``bfloat16`` for the matrix products: 2 to 3 times faster where the processor has it,
            cosine to float32 above 0.999; or ``auto``, the faster of the two here.
        normalise: bring the waveform to zero mean and unit variance or not; None does what the model was trained with.
            Where it differs, the origin says ``/raw`` (kNN-VC uses WavLM so) or ``/normalised``.
        name: what the origin begins with, for a local copy of a published model; without it a local folder or ``.pt``
            is named with the fingerprint of its weights.
    Returns:
        The encoder, in evaluation mode on its device.
    Raises:
        InputError: an unknown name, layer, device or precision.
        CheckpointError: weights that are missing, damaged, of another architecture, or not to be had offline.

    Example:
        >>> import speechssl
        >>> encoder = speechssl.load_encoder("tiny", layer=4)
        >>> encoder.origin, encoder.dim, encoder.frame_rate
        ('tiny/4', 256, 50.0)
    """
    # torch and transformers take seconds to import
    from speechssl.encoders.network import build, untrained
    from speechssl.encoders.precision import choose_dtype

    # a wrong option is told before gigabytes are fetched
    place, dtype = choose_device(device), choose_dtype(precision, device)
    wanted = str(name_or_path)
    if wanted == "mfcc":
        from speechssl.encoders import cepstra

        return cepstra.load(layer)
    weights = _find(wanted.removeprefix(UNTRAINED), name, normalise)
    if wanted.startswith(UNTRAINED):
        weights = untrained(weights)
    return build(weights, layer=layer, device=place, dtype=dtype, normalise=normalise)


def _find(wanted: str, name: str | None, normalise: bool | None) -> Weights:
    from speechssl.encoders.weights import own, torchaudio_bundles, transformers_family, wavlm_original

    path = Path(wanted)
    if wanted in HUB_NAMES:
        repository, layer = HUB_NAMES[wanted], RECOMMENDED_LAYERS.get(wanted)
        return transformers_family.read_hub(repository, name=name or wanted, layer=layer, normalise=normalise)
    if wanted in HUB_NAMES.values():
        return _find(next(short for short, hub in HUB_NAMES.items() if hub == wanted), name, normalise)
    if wanted == "tiny":
        return own.read(TINY)
    if wanted.startswith(torchaudio_bundles.PREFIX):
        return torchaudio_bundles.read(wanted)
    if path.is_dir():
        return transformers_family.read_folder(path, name=name, normalise=normalise)
    if path.suffix == ".safetensors":
        return own.read(path)
    if path.suffix in (".pt", ".pth", ".bin"):
        return wavlm_original.read(path, name=name)
    if wanted.count("/") == 1 and not path.suffix and not wanted.startswith((".", "/")):
        return transformers_family.read_hub(wanted, name=name or wanted, normalise=normalise)
    raise InputError(
        f"no encoder {wanted!r}: give tiny, mfcc, one of {', '.join(HUB_NAMES)}, a hub id (owner/model), "
        "torchaudio:BUNDLE, or an existing folder, .pt or .safetensors file"
    )
