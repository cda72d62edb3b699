"""Whisper's encoder: its log-mel bands and convolutions in a stream, its blocks on one window, without padding to 30 s.

Two things differ from OpenAI's own use, so that every length is heard alike and frames lie where those of the other
families do. Nothing is padded: the positions of a window begin at 0 and end with its last frame. And no sample is
invented at the ends: log-mel frame j is that of the 400 samples from 160 j on, where OpenAI's is centred on sample
160 j and mirrors the ends; frame i of the features is centred on sample 320 i + 200. What sets the floor, 80 dB below
the loudest band, is looked for in the whole utterance, however it is cut into windows.

Source: Radford et al. 2022, arXiv:2212.04356, section 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.encoders.blocks import Trunk, attend
from speechssl.encoders.frontends import BLOCK_FRAMES, Blocks, FrontEnd, check_settings
from speechssl.encoders.precision import layer_norm, linear
from speechssl.encoders.windows import Grid, cut_samples
from speechssl.errors import CheckpointError

# log10 of power below the loudest band of the utterance that is heard at all: 80 dB
RANGE = 8.0
# 30 s, all the positions there are, with 5 s of context on both sides of what is kept
GRID = Grid(window=1500, context=250)


@dataclass
class WhisperConfig:
    """Sizes of the encoder, under the names that transformers gives them in every family."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    num_mel_bins: int
    max_source_positions: int
    model_type = "whisper"

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> WhisperConfig:
        """The sizes in a configuration of transformers, whose other values are the decoder's.

        Raises:
            CheckpointError: a size that is missing or no positive whole number, heads that do not divide the width, or
                another activation than GELU.
        """
        names = ("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins")
        sizes = {name: values.get(name) for name in (*names, "max_source_positions")}
        if wrong := {name: size for name, size in sizes.items() if type(size) is not int or size < 1}:
            raise CheckpointError(f"it has {wrong}; positive whole numbers needed")
        config = cls(*sizes.values())  # type: ignore[arg-type]  # checked above
        if config.hidden_size % config.num_attention_heads:
            raise CheckpointError(
                f"{config.hidden_size} numbers cannot be divided by {config.num_attention_heads} heads"
            )
        if (activation := values.get("activation_function", "gelu")) != "gelu":
            raise CheckpointError(f"its activation_function is {activation!r}; 'gelu' needed")
        return config


class WhisperNetwork(nn.Module):
    """The weights of transformers' ``WhisperEncoder`` under the same names; importing that class takes seconds."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.conv1 = nn.Conv1d(config.num_mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        # drawing normal numbers on the device "meta" would import PyTorch's compiler
        positions = torch.empty(config.max_source_positions, width)
        self.embed_positions = nn.Embedding(config.max_source_positions, width, _weight=positions)
        self.layers = nn.ModuleList(_Block(config) for _ in range(config.num_hidden_layers))
        self.layer_norm = nn.LayerNorm(width)


class _Block(nn.Module):
    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.self_attn = _Attention(width, config.num_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)
        self.final_layer_norm = nn.LayerNorm(width)


class _Attention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        # a bias on the keys would add the same to every score of a query
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))


class WhisperFrontEnd(FrontEnd):
    """Log-mel bands and the two convolutions, streamed; exactly what one pass over the whole utterance gives.

    All frames are valid: behind the last log-mel frame are the zeros that the convolutions always see at an end.

    Args:
        encoder: its weights.

    ``bands`` is the number of log-mel bands.
    """

    hop_length = 320  # a stride of 2 over frames of 160 samples, 20 ms at 16 kHz

    def __init__(self, encoder: WhisperNetwork) -> None:
        self._conv1, self._conv2 = encoder.conv1, encoder.conv2
        self.bands = int(encoder.conv1.in_channels)

    def num_frames(self, num_samples: int) -> int:
        """One for every two log-mel frames, the last one perhaps alone: 1 + (T - 400) // 320 from 400 samples on."""
        return (max(0, (num_samples - 400) // 160 + 1) + 1) // 2

    def frames(self, blocks: Blocks) -> Iterator[Tensor]:
        """(n, D) float32 consecutive outputs of the second convolution, about 200 at a time."""
        top, total = self._loudest(blocks)
        # outputs a to b need log-mel frames 2 a - 2 to 2 b
        held, first, done = torch.zeros(0, self.bands), 0, 0
        for mel in self._mel(blocks):
            held = torch.cat([held, floored(mel, top).float()])
            known = first + len(held)
            ready = (total + 1) // 2 if known == total else max(done, (known - 1) // 2)
            if ready > done:
                yield self.convolved(held, starts=done == 0, ends=known == total)[: ready - done]
                done = ready
                keep = max(0, 2 * done - 2 - first)
                held, first = held[keep:], first + keep

    def convolved(self, mel: Tensor, *, starts: bool, ends: bool) -> Tensor:
        """Outputs (n, D) of log-mel frames (M, 80); the zeros beyond the utterance's own ends are seen."""
        weight = self._conv1.weight
        x = mel.T[None].to(weight.device, weight.dtype)
        x = functional.gelu(functional.conv1d(_padded(x, starts, ends), weight, self._conv1.bias))
        x = functional.conv1d(_padded(x, starts, ends), self._conv2.weight, self._conv2.bias, stride=2)
        return functional.gelu(x)[0].T.float()

    def _loudest(self, blocks: Blocks) -> tuple[Tensor, int]:
        """The loudest band of the utterance, log10 of power, and the count of log-mel frames."""
        top, total = torch.tensor(-10.0, dtype=torch.float64), 0
        for mel in self._mel(blocks):
            top, total = torch.maximum(top, mel.max()), total + len(mel)
        return top, total

    def _mel(self, blocks: Blocks) -> Iterator[Tensor]:
        """(n, 80) float64 log10 energies at 100 Hz, 400 at a time."""
        for block in cut_samples(blocks(), hop=BLOCK_FRAMES * 320, overlap=400 - 160):
            if block.shape[0] >= 400:
                yield log_power(block.cpu().double(), self.bands)


class WhisperTrunk(Trunk):
    """Positions and blocks on one window; with the final norm where a projection follows.

    Args:
        encoder: the weights of the blocks that are needed.
        finish: whether the final norm is applied: what stands behind the last block of a fine-tuned encoder takes it.
    """

    def __init__(self, encoder: WhisperNetwork, *, finish: bool) -> None:
        # by these names files know the weights, see ``fingerprints``
        self._positions = encoder.embed_positions.weight
        self._layers: list[Any] = list(encoder.layers)
        self._norm = encoder.layer_norm if finish else None

    @property
    def blocks(self) -> list[Any]:
        """The modules of the blocks."""
        return self._layers

    @property
    def positions(self) -> Tensor:
        """(P, D), which are added to the frames."""
        return self._positions

    def states(self, frames: Tensor, *, num_valid: int) -> Iterator[Tensor]:
        """Hidden states (N, D) from the input of the first block on, the last perhaps normed; all frames are valid."""
        x = frames + self.positions[: len(frames)].float()
        for layer in self._layers:
            yield x
            attention = layer.self_attn
            x = x + attend(attention, layer_norm(layer.self_attn_layer_norm, x), attention.num_heads)
            hidden = linear(layer.fc1, layer_norm(layer.final_layer_norm, x))
            x = x + linear(layer.fc2, functional.gelu(hidden)).float()
        yield self.finished(x)

    def finished(self, x: Tensor) -> Tensor:
        """The state (N, D) behind the last block, normed if that is wanted."""
        return x if self._norm is None else layer_norm(self._norm, x)


def check_bands(settings: dict[str, Any], config: dict[str, Any], source: str) -> None:
    """Refuse settings of the input other than those of ``WhisperFrontEnd``.

    Raises:
        CheckpointError: another band count than the network's, sample rate, window or hop.
    """
    known = {"feature_size": config.get("num_mel_bins", 80), "sampling_rate": 16000, "n_fft": 400, "hop_length": 160}
    needed = f"{known['feature_size']} bands of 400 samples every 160 at 16 kHz"
    check_settings(settings, known, needed, source)


def log_power(samples: Tensor, bands: int = 80) -> Tensor:
    """(..., T) samples at 16 kHz to (..., M, bands) log10 energies, M = 1 + (T - 400) // 160."""
    window, filters = constants(bands)
    spectrum = torch.fft.rfft(samples.unfold(-1, 400, 160) * window.to(samples), n=400)
    energies: Tensor = spectrum.abs().square() @ filters.to(samples)
    return energies.clamp(min=1e-10).log10()


def floored(bands: Tensor, top: Tensor) -> Tensor:
    """Log10 energies as the network takes them: nothing more than 80 dB below ``top``, about -1 to 1.5."""
    return (torch.maximum(bands, top - RANGE) + 4.0) / 4.0


@lru_cache(maxsize=2)
def constants(bands: int) -> tuple[Tensor, Tensor]:
    """Periodic Hann window (400,) and Slaney's mel filters (201, bands) with unit area, float64."""
    hertz = torch.arange(201, dtype=torch.float64) * 40
    edges = _hertz(torch.linspace(0, 15 + 27 * math.log(8) / _LOG64, bands + 2, dtype=torch.float64))
    rise = (hertz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hertz[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0) * 2 / (edges[2:] - edges[:-2])
    return torch.hann_window(400, dtype=torch.float64), filters


# Slaney's scale: linear below 1 kHz, logarithmic above, 27 steps from 1 to 6.4 kHz
_LOG64 = math.log(6.4)


def _hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * ((mel - 15) * _LOG64 / 27).exp())


def _padded(x: Tensor, starts: bool, ends: bool) -> Tensor:
    return functional.pad(x, (int(starts), int(ends)))
