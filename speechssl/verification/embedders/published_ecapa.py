"""speechbrain's published ECAPA-TDNN (supervised on VoxCeleb), without speechbrain: its weights fit our network.

The input is its own: 80 triangular bands of a Hamming-windowed power spectrum in dB, 80 dB below the loudest at most,
each band's mean over the utterance taken off. Equal to speechbrain's on random weights (``tests/embedders``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from speechssl import audio, checkpoints
from speechssl.audio import mel
from speechssl.errors import CheckpointError, InputError, first_line
from speechssl.signals import Embedding, Waveform
from speechssl.verification.embedders.ecapa import Ecapa, unwrapped

FILE = "embedding_model.ckpt"
LIMIT = 120  # seconds embedded at most: statistics have long settled, and memory grows with the length


class PublishedEcapa:
    """Embedder with speechbrain's weights and input."""

    sample_rate = 16000
    cohort: Tensor | None = None
    calibration: dict[str, Any] | None = None

    def __init__(self, network: Ecapa, *, origin: str, device: str = "cpu") -> None:
        self._network = network.eval().to(device)
        self._device, self.origin, self.dim = device, origin, network.fc.out_channels

    @torch.inference_mode()
    def embed(self, waveform: Waveform) -> Embedding:
        """Unit-norm embedding (dim,) of the first two minutes.

        Raises:
            InputError: shorter than 0.1 s.
        """
        samples = audio.resample(waveform, self.sample_rate).samples[: LIMIT * self.sample_rate]
        if len(samples) < 1600:
            raise InputError(f"{len(samples) / 16000:.3f} s of sound; at least 0.1 s needed")
        bands = decibel_bands(samples)
        frames = (bands - bands.mean(0)).to(self._device)
        return Embedding(functional.normalize(self._network(frames[None])[0], dim=0).cpu(), self.origin)


def read(name: str, *, device: str = "cpu") -> PublishedEcapa:
    """From a folder that holds ``embedding_model.ckpt``, or from the hub, fetched once.

    Raises:
        CheckpointError: no such file, offline, damaged, or another network's.
    """
    path = Path(name) / FILE if Path(name).is_dir() else _from_hub(name)
    loaded = checkpoints.load_pickle_tensors(path)
    tensors = unwrapped(loaded) if isinstance(loaded, dict) else {}
    network = _network_for(tensors, path)
    checkpoints.load_state(network, tensors, source=path)
    return PublishedEcapa(network, origin=f"{Path(name).name}@{checkpoints.sha256_of(path)[:16]}", device=device)


def decibel_bands(samples: Tensor) -> Tensor:
    """Bands (F, 80) in dB of samples (T,) at 16 kHz: frames of 25 ms every 10 ms, centred, F = 1 + T // 160."""
    window = torch.hamming_window(400)
    spectrum = torch.stft(
        samples, 400, hop_length=160, window=window, center=True, pad_mode="constant", return_complex=True
    )
    bank = torch.tensor(mel.filters(80, 400, sample_rate=16000, high=8000.0, straight="left"), dtype=torch.float32)
    power = (spectrum.abs().square().T @ bank).clamp(min=1e-10)
    decibels = 10 * power.log10()
    return torch.maximum(decibels, decibels.max() - 80)


def _network_for(tensors: dict[str, Tensor], path: Path) -> Ecapa:
    try:
        channels, inputs, kernel = tensors["blocks.0.conv.weight"].shape
        dim, twice_pooled, _ = tensors["fc.weight"].shape
        bottleneck = tensors["asp.tdnn.conv.weight"].shape[0]
        scale = sum(name.startswith("blocks.1.res2net_block") and name.endswith("conv.weight") for name in tensors) + 1
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no ECAPA-TDNN of speechbrain: {error} is missing or of another shape"
        ) from error
    return Ecapa(
        inputs, dim=dim, channels=channels, kernel=kernel, scale=scale, bottleneck=bottleneck, pooled=twice_pooled // 2
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    away = checkpoints.hub_is_away(name)
    try:
        return Path(hf_hub_download(name, FILE, local_files_only=bool(away)))
    # the hub raises errors of its own, of requests and of the system
    except Exception as error:
        reason = away or first_line(error)
        raise CheckpointError(
            f"{name}: {FILE} is not in the cache and cannot be fetched ({reason}); give a folder that holds it"
        ) from error
