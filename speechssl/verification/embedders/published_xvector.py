"""Published x-vector heads on SSL encoders, through transformers: ``microsoft/wavlm-base-plus-sv`` and its like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from speechssl import audio, checkpoints, errors
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Embedding, Waveform

LIMIT = 60  # seconds embedded at most: attention grows with the square of the length


class PublishedXVector:
    """Embedder around a transformers model whose output has ``embeddings``."""

    cohort: Tensor | None = None
    calibration: dict[str, Any] | None = None

    def __init__(self, network: Any, settings: Mapping[str, Any], *, origin: str, device: str = "cpu") -> None:
        self._network, self._device = network.eval().to(device), device
        self._normalise = bool(settings.get("do_normalize", True))
        self.origin, self.sample_rate = origin, int(settings.get("sampling_rate", 16000))
        self.dim = int(network.config.xvector_output_dim)

    @torch.inference_mode()
    def embed(self, waveform: Waveform) -> Embedding:
        """Unit-norm embedding (dim,) of the first minute.

        Raises:
            InputError: too short for the network's convolutions (0.5 s).
        """
        samples = audio.resample(waveform, self.sample_rate).samples[: LIMIT * self.sample_rate]
        if len(samples) < self.sample_rate / 2:
            raise InputError(f"{len(samples) / self.sample_rate:.3f} s of sound; at least 0.5 s needed")
        if self._normalise:
            # as Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm
            samples = (samples - samples.mean()) / (samples.var(correction=0) + 1e-7).sqrt()
        found = self._network(samples[None].to(self._device)).embeddings[0]
        return Embedding(functional.normalize(found.float(), dim=0).cpu(), self.origin)


def read(name: str, *, device: str = "cpu") -> PublishedXVector:
    """From a transformers folder or the hub; every weight of the head must be there.

    Raises:
        CheckpointError: not found, offline, damaged, or a checkpoint without a speaker head.
    """
    library = checkpoints.transformers()
    away = checkpoints.hub_is_away(name)
    try:
        settings, _ = library.FeatureExtractionMixin.get_feature_extractor_dict(name, local_files_only=bool(away))
        network, report = library.AutoModelForAudioXVector.from_pretrained(
            name, output_loading_info=True, local_files_only=bool(away)
        )
    except ImportError as error:
        raise InputError(errors.not_loaded(error, "transformers", purpose=name)) from error
    # transformers raises OSError, ValueError, KeyError and errors of the hub's own
    except Exception as error:
        reason = away or errors.first_line(error)
        raise CheckpointError(f"{name}: no speaker embedder could be loaded ({reason})") from error
    # a head left at random scores 0.99 for everybody and says nothing
    missing = sorted(report["missing_keys"]) + [str(key) for key in report.get("mismatched_keys", [])]
    if missing:
        raise CheckpointError(
            f"{name} lacks {len(missing)} weights of {type(network).__name__} ({', '.join(missing[:3])} ...); "
            "it is no speaker model: give one with an x-vector head, such as microsoft/wavlm-base-plus-sv"
        )
    return PublishedXVector(network, settings, origin=f"{Path(name).name}@{_fingerprint(network)}", device=device)


def _fingerprint(network: Any) -> str:
    """16 hexadecimal digits of all weights: a hub name may come to mean other ones."""
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
