"""The network from phones to keys and pitch: convolutions over tokens, durations, convolutions over frames.

After FastSpeech 2 (Ren et al. 2021, arXiv:2006.04558), without attention: what a sound is like depends on its
neighbours, and a convolution cannot lose its place in a sentence longer than any it was trained on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechssl.errors import InputError

LONGEST_SOUND = 150  # frames of one token: 3 s, more is an error of the prediction


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes.

    Args:
        num_symbols: phones, borders and the start.
        key_dim: numbers of a key.
        width: channels.
        hidden: inner width of a block.
        encoder_layers: blocks over tokens; each sees twice as far as the one before.
        decoder_layers: blocks over frames.
        encoder_kernel, decoder_kernel: tokens and frames a block sees; odd.
        dropout: while training.
    """

    num_symbols: int
    key_dim: int = 256
    width: int = 192
    hidden: int = 512
    encoder_layers: int = 5
    decoder_layers: int = 6
    encoder_kernel: int = 5
    decoder_kernel: int = 7
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "dropout" and getattr(self, field.name) < 1:
                raise InputError(f"{field.name} is {getattr(self, field.name)}; 1 or more needed")

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint's header."""
        return asdict(self)


class Lengths(NamedTuple):
    """How long tokens last (B, L): ``mean`` and ``spread`` of the logarithm of frames, ``silent`` the logit of none."""

    mean: Tensor
    spread: Tensor
    silent: Tensor


class Frames(NamedTuple):
    """Predictions for frames: standardised ``keys`` (B, T, D) and ``log_f0`` (B, T), ``voiced`` logits (B, T)."""

    keys: Tensor
    log_f0: Tensor
    voiced: Tensor


class TextToKeys(nn.Module):
    """Phones with stress to keys and pitch.

    The means and spreads of keys and pitch over the training speech are buffers, so that the network's own numbers are
    about 1.
    """

    key_mean: Tensor
    key_spread: Tensor
    pitch_scale: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.symbol_embedding = nn.Embedding(config.num_symbols, config.width)
        self.stress_embedding = nn.Embedding(3, config.width)
        self.encoder = Stack(config, config.encoder_layers, config.encoder_kernel)
        self.lengths = nn.Linear(config.width, 3)
        self.place = nn.Linear(3, config.width)
        self.decoder = Stack(config, config.decoder_layers, config.decoder_kernel)
        self.keys = nn.Linear(config.width, config.key_dim)
        self.pitch = nn.Linear(config.width, 2)
        self.register_buffer("key_mean", torch.zeros(config.key_dim))
        self.register_buffer("key_spread", torch.ones(config.key_dim))
        self.register_buffer("pitch_scale", torch.tensor([5.0, 0.2]))  # mean and spread of log-F0

    def encode(self, symbols: Tensor, stresses: Tensor, mask: Tensor) -> tuple[Tensor, Lengths]:
        """Tokens in context (B, L, W) and their lengths, of symbols and stresses (B, L); mask (B, L) of those there."""
        hidden = self.encoder(self.symbol_embedding(symbols) + self.stress_embedding(stresses), mask)
        mean, spread, silent = self.lengths(hidden).float().unbind(-1)
        return hidden, Lengths(mean, spread.clamp(-3.0, 1.0), silent)

    def decode(self, hidden: Tensor, durations: Tensor) -> tuple[Frames, Tensor]:
        """Frames of tokens (B, L, W) that last so many frames (B, L), and the mask (B, T) of those that are there."""
        owners, mask = repeat_index(durations)
        fractions = positions(durations, owners, mask)
        frames = hidden.gather(1, owners[..., None].expand(-1, -1, hidden.shape[-1])) + self.place(fractions)
        frames = self.decoder(frames, mask)
        log_f0, voiced = self.pitch(frames).float().unbind(-1)
        return Frames(self.keys(frames).float(), log_f0, voiced), mask

    def unscaled(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Keys as the encoder makes them (B, T, D), and log-F0 in natural logarithms of Hz (B, T)."""
        mean, spread = self.pitch_scale
        return frames.keys * self.key_spread + self.key_mean, frames.log_f0 * spread + mean


class Stack(nn.Module):
    """Residual blocks: a depthwise convolution over time, then two layers over channels."""

    def __init__(self, config: NetworkConfig, layers: int, kernel: int) -> None:
        super().__init__()
        # 1, 2, 4, 8 and again
        dilations = [2 ** (number % 4) for number in range(layers)]
        self.layers = nn.ModuleList(Block(config, kernel, dilation) for dilation in dilations)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, W) and mask (B, T) to (B, T, W); what is masked changes nothing of the rest."""
        present = mask[..., None].to(x.dtype)
        for layer in self.layers:
            x = x + layer(x * present)
        return self.norm(x)


class Block(nn.Module):
    """See ``Stack``; after ConvNeXt (Liu et al. 2022)."""

    def __init__(self, config: NetworkConfig, kernel: int, dilation: int) -> None:
        super().__init__()
        reach = dilation * (kernel - 1) // 2
        self.along = nn.Conv1d(
            config.width, config.width, kernel, padding=reach, dilation=dilation, groups=config.width
        )
        self.norm = nn.LayerNorm(config.width)
        self.wide = nn.Linear(config.width, config.hidden)
        self.narrow = nn.Linear(config.hidden, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.norm(self.along(x.transpose(1, 2)).transpose(1, 2))
        return self.dropout(self.narrow(F.gelu(self.wide(mixed))))


def repeat_index(durations: Tensor) -> tuple[Tensor, Tensor]:
    """Which token each frame belongs to (B, T), and the mask (B, T): T is the longest sum of durations (B, L)."""
    ends = durations.cumsum(1)
    times = torch.arange(int(ends[:, -1].max()), device=durations.device)
    owners = torch.searchsorted(ends, times.expand(len(ends), -1).contiguous(), right=True)
    mask = times < ends[:, -1:]
    return owners.clamp(max=durations.shape[1] - 1), mask


def positions(durations: Tensor, owners: Tensor, mask: Tensor) -> Tensor:
    """Where in its token each frame lies (B, T, 3): from its start and its end in [0, 1], and the log of its length."""
    starts = durations.cumsum(1) - durations
    lasts = durations.gather(1, owners).clamp(min=1)
    times = torch.arange(owners.shape[1], device=owners.device)
    fraction = (times - starts.gather(1, owners) + 0.5) / lasts
    return torch.stack([fraction, 1 - fraction, lasts.float().log() - 1.5], dim=-1) * mask[..., None]


def sampled_durations(
    lengths: Lengths,
    borders: Tensor,
    *,
    speed: float = 1.0,
    variation: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Durations (B, L) int64 in frames: at least 1 for a sound, 0 for a border that is more likely silent than not.

    The fractions of frames that rounding leaves over are handed on to the next sound, so that a sentence at speed s
    lasts 1 / s of the time.

    Args:
        lengths: of the network.
        borders: (B, L) bool.
        speed: > 0; 2 is twice as fast.
        variation: of the length of sounds, in spreads the network predicts; 0 always speaks the same.
        generator: of the variation.
    """
    noise = torch.randn(lengths.mean.shape, generator=generator) if variation else torch.zeros(lengths.mean.shape)
    wanted = (lengths.mean + variation * lengths.spread.exp() * noise.clamp(-2, 2)).exp() / speed
    wanted = wanted.clamp(max=LONGEST_SOUND)
    wanted = torch.where(borders & (lengths.silent > 0), torch.zeros_like(wanted), wanted)
    durations = torch.zeros(wanted.shape, dtype=torch.int64)
    for row in range(len(wanted)):
        carried = 0.0
        for token, frames in enumerate(wanted[row].tolist()):
            whole = round(frames + carried)
            if not bool(borders[row, token]):
                whole = max(whole, 1)
            elif frames == 0:
                whole = 0
            durations[row, token] = whole
            # no more than half a frame: a sound that had to be longer does not shorten all that follow
            carried = max(-0.5, min(0.5, frames + carried - whole))
    return durations
