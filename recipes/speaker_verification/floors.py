"""What a trained embedder has to beat: averaged cepstra, and the very network with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from speechssl import audio, checkpoints
from speechssl.audio import mel
from speechssl.signals import Embedder, Embedding, Waveform
from speechssl.verification import embedders
from speechssl.verification.embedders import log_mel
from speechssl.verification.embedders.ecapa import Ecapa


class MeanMfcc:
    """Twenty mel-cepstral coefficients, averaged over time."""

    origin, sample_rate, dim = "mean-mfcc", 16000, 20
    cohort: torch.Tensor | None = None
    calibration: dict[str, Any] | None = None

    def embed(self, waveform: Waveform) -> Embedding:
        """Unit vector (20,)."""
        bands = mel.kaldi(audio.resample(waveform, self.sample_rate).samples).numpy()
        mean = torch.from_numpy(mel.cepstra(bands, 20).mean(0))
        return Embedding(functional.normalize(mean, dim=0), self.origin)


def untrained(path: Path, seed: int = 0) -> Embedder:
    """The network of an embedder file of ours as it is before training."""
    header = checkpoints.load(path, kind="embedder").header
    torch.manual_seed(seed)
    network = Ecapa(**{**header["config"], "dilations": tuple(header["config"].get("dilations", (2, 3, 4)))})
    return log_mel.LogMelEmbedder(network, origin=f"untrained-{seed}", scale=float(header["input"]["scale"]))


def load(name: str) -> Embedder:
    """``mfcc``, ``untrained``, or whatever ``speechssl.verification.embedders.load`` knows."""
    if name == "mfcc":
        return MeanMfcc()
    return untrained(embedders.TINY) if name == "untrained" else embedders.load(name)
