"""What a conversion between speakers can be held to though nobody ever said it: whose voice it is, and which words.

There is no recording to compare a conversion with. A speaker embedder hears whether it is the target; an encoder hears
whether its frames are still those of the source. Both are frozen, and neither is among those that judge the result.

Source: Wang et al. 2017 (perceptual losses), Casanova et al. 2022 (YourTTS: the speaker consistency loss), Li et al.
2021 (StarGANv2-VC: consistency of speech).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# amplitude of the noise laid over what an embedder hears, from and to: a voice is not to be had by adding the target's
# background, which would please it too
HISS = (1e-3, 1e-2)


class Impersonation:
    """Distances of sound from a speaker and from words, through two frozen networks.

    It is no module, so that its networks are neither trained, nor averaged, nor stored with what they teach.

    Args:
        embedder: network, (B, F, 160) pairs of levelled log-mel frames to embeddings (B, E).
        scale: log-mel numbers are divided by, for the embedder.
        encoder: network, (B, F, 160) pairs of normalised log-mel frames to keys (B, F, D).
    """

    def __init__(self, embedder: nn.Module, scale: float, encoder: nn.Module) -> None:
        self._networks = [network.eval().requires_grad_(False) for network in (embedder, encoder)]
        self._scale = scale

    def losses(self, made: Tensor, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``voice`` and ``words``, each the mean of 1 - cos.

        Args:
            made: (B, T) conversions.
            source: (B, T) what was converted.
            target: (B, E) unit embeddings of the speakers wanted, of speech with ``hiss`` too.
        """
        with torch.no_grad():
            said = self.keys(log_mel(source))
        kept = 1 - functional.cosine_similarity(self.keys(log_mel(made)).float(), said.float(), dim=-1)
        heard = self.embed(log_mel(made + hiss(made, torch.rand(len(made), 1), torch.randn_like(made))))
        return {"voice": (1 - (heard * target).sum(-1)).mean(), "words": kept.mean()}

    @torch.no_grad()
    def embed_samples(self, samples: Tensor) -> Tensor:
        """(B, T) samples to unit embeddings (B, E), on the CPU."""
        return self.embed(log_mel(samples)).cpu()

    def embed(self, mel: Tensor) -> Tensor:
        """(B, n, 80) log-mel to unit embeddings (B, E)."""
        levelled = (mel - mel.mean((1, 2), keepdim=True)) / self._scale
        return functional.normalize(self._network(0, mel.device)(_paired(levelled)).float(), dim=-1)

    def keys(self, mel: Tensor) -> Tensor:
        """(B, n, 80) log-mel to keys (B, n // 2, D), each band normalised over the piece."""
        normal = (mel - mel.mean(1, keepdim=True)) / (mel.var(1, keepdim=True) + 1e-7).sqrt()
        keys: Tensor = self._network(1, mel.device)(_paired(normal))
        return keys

    def _network(self, number: int, device: torch.device) -> Any:
        self._networks[number] = self._networks[number].to(device)
        return self._networks[number]


def hiss(samples: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """Noise to lay over samples (B, T): ``level`` (B, 1) in [0, 1] draws its amplitude within ``HISS``, by ratio."""
    low, high = HISS
    return noise * (low * (high / low) ** level.to(samples.device))


def log_mel(samples: Tensor) -> Tensor:
    """Kaldi log-mel energies (B, n, 80) of samples (B, T) at 16 kHz, as both networks take them; differentiable."""
    from speechssl.audio import mel

    # a floor of 1, for the logarithm of less has gradients without end
    return mel.kaldi(samples, floor=1.0)


def _paired(mel: Tensor) -> Tensor:
    batch, count, bands = mel.shape
    return mel[:, : count // 2 * 2].reshape(batch, count // 2, 2 * bands)
