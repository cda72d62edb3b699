"""ECAPA-TDNN: dilated Res2Net blocks with squeeze-excitation, and attentive statistics over time.

Parameters carry the names of speechbrain's network with its nested wrappers left out, so that its published weights
fit after ``unwrapped``; the equality is tested layer for layer on random weights.

Source: Desplanques et al. 2020, arXiv:2005.07143; speechbrain's ``lobes/models/ECAPA_TDNN.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

Padding = Literal["zeros", "reflect"]


class Ecapa(nn.Module):
    """Frames (B, T, input_dim) to embeddings (B, dim), not normalised.

    Args:
        input_dim: numbers per frame.
        dim: of the embedding; 192 in the paper.
        channels: of the blocks; 512 or 1024 in the paper.
        kernel: of the first layer, frames.
        dilations: of the blocks.
        scale: parts a Res2Net block splits its channels into.
        bottleneck: channels of the attention and of the squeeze.
        pooled: channels over which statistics are taken; ``3 * channels`` in the paper.
        plain: statistics of the input itself beside the network's (``plain_statistics``), for frames that are pairs of
            log-mel frames; the last map sees both.
        padding: ``"reflect"`` as speechbrain has it, or ``"zeros"``, which costs less.
    """

    def __init__(
        self,
        input_dim: int,
        *,
        dim: int = 192,
        channels: int = 512,
        kernel: int = 5,
        dilations: tuple[int, ...] = (2, 3, 4),
        scale: int = 8,
        bottleneck: int = 128,
        pooled: int | None = None,
        plain: bool = False,
        padding: Padding = "reflect",
    ) -> None:
        super().__init__()
        pooled = pooled or len(dilations) * channels
        first = _Layer(input_dim, channels, kernel, padding=padding)
        blocks = [_Block(channels, dilation, scale, bottleneck, padding) for dilation in dilations]
        self.blocks = nn.ModuleList([first, *blocks])
        self.mfa = _Layer(len(dilations) * channels, pooled, 1)
        self.asp = _AttentiveStatistics(pooled, bottleneck)
        self.plain = plain
        size = 2 * pooled + (5 * input_dim // 2 if plain else 0)
        self.asp_bn = nn.BatchNorm1d(size)
        self.fc = nn.Conv1d(size, dim, 1)

    def forward(self, frames: Tensor) -> Tensor:
        found: Tensor = self.fc(self.asp_bn(self.statistics(frames))[..., None])
        return found[..., 0]

    def statistics(self, frames: Tensor) -> Tensor:
        """Attentive means and standard deviations (B, 2 * pooled), and the plain ones: what the last map works on."""
        x = self.blocks[0](frames.transpose(1, 2))  # (B, C, T)
        outputs = []
        for block in self.blocks[1:]:
            x = block(x)
            outputs.append(x)
        found: Tensor = self.asp(self.mfa(torch.cat(outputs, dim=1)))
        return torch.cat([found, plain_statistics(frames)], dim=1) if self.plain else found


def plain_statistics(frames: Tensor) -> Tensor:
    """Statistics (B, 5 * bands) over time of pairs of log-mel frames (B, T, 2 * bands), T >= 2.

    Mean and standard deviation of every band, standard deviation of its change over 20 ms, and mean and standard
    deviation in the louder 65 % of the frames, which are mostly speech.
    """
    mel = frames.float().reshape(len(frames), -1, frames.shape[2] // 2)  # (B, 2T, bands)
    change = mel[:, 2:] - mel[:, :-2]
    level = mel.mean(2)
    loud = (level > torch.quantile(level, 0.35, dim=1, keepdim=True)).float()[:, None]
    loud_mean, loud_spread = _statistics(mel.transpose(1, 2), loud / loud.sum(2, keepdim=True).clamp(min=1))
    spreads = [mel.std(1, correction=0), change.std(1, correction=0)]
    return torch.cat([mel.mean(1), *spreads, loud_mean, loud_spread], dim=1)


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """speechbrain's state dict under our names: ``conv.conv.`` and ``norm.norm.`` are one level each."""
    found = {}
    for name, tensor in tensors.items():
        for wrapper in ("conv", "norm", "conv1", "conv2", "asp_bn", "fc"):
            inner = "norm" if wrapper in ("norm", "asp_bn") else "conv"
            name = name.replace(f"{wrapper}.{inner}.", f"{wrapper}.")
        found[name] = tensor
    return found


class _Layer(nn.Module):
    """Convolution, ReLU, batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1, padding: Padding = "zeros") -> None:
        super().__init__()
        reach = dilation * (kernel - 1) // 2
        mode: Padding = padding if reach else "zeros"
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=reach, padding_mode=mode)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.relu(self.conv(x)))


class _Res2Net(nn.Module):
    """Channels in parts: each part is convolved together with the result of the part before it."""

    def __init__(self, channels: int, scale: int, dilation: int, padding: Padding) -> None:
        super().__init__()
        width = channels // scale
        self.blocks = nn.ModuleList(_Layer(width, width, 3, dilation, padding) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *parts = x.chunk(len(self.blocks) + 1, dim=1)
        outputs = [first]
        for number, (block, part) in enumerate(zip(self.blocks, parts, strict=True)):
            # the first part is passed on as it is, and not added to the second
            outputs.append(block(part + outputs[-1] if number else part))
        return torch.cat(outputs, dim=1)


class _SqueezeExcitation(nn.Module):
    """Channels scaled by what the whole utterance says about them."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, bottleneck, 1)
        self.conv2 = nn.Conv1d(bottleneck, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = torch.relu(self.conv1(x.mean(2, keepdim=True)))
        return torch.sigmoid(self.conv2(squeezed)) * x


class _Block(nn.Module):
    def __init__(self, channels: int, dilation: int, scale: int, bottleneck: int, padding: Padding) -> None:
        super().__init__()
        self.tdnn1 = _Layer(channels, channels, 1)
        self.res2net_block = _Res2Net(channels, scale, dilation, padding)
        self.tdnn2 = _Layer(channels, channels, 1)
        self.se_block = _SqueezeExcitation(channels, bottleneck)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x))))


class _AttentiveStatistics(nn.Module):
    """Mean and standard deviation over time (B, 2C), each channel with attention weights of its own."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.tdnn = _Layer(3 * channels, bottleneck, 1)
        self.conv = nn.Conv1d(bottleneck, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = _statistics(x, torch.full_like(x[:, :1], 1 / x.shape[2]))
        hidden = self._first_layer(x, mean, deviation)
        weights = torch.softmax(self.conv(torch.tanh(self.tdnn.norm(torch.relu(hidden)))).float(), dim=2)
        return torch.cat(_statistics(x, weights), dim=1)

    def _first_layer(self, x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """The convolution of (x, mean, deviation), without repeating the last two over time."""
        weight: Tensor = self.tdnn.conv.weight
        bias = self.tdnn.conv.bias if self.tdnn.conv.bias is not None else weight.new_zeros(weight.shape[0])
        varying, fixed = weight[:, : x.shape[1]], weight[:, x.shape[1] :, 0]
        of_utterance = torch.cat([mean, deviation], dim=1) @ fixed.T + bias
        return nn.functional.conv1d(x, varying) + of_utterance[..., None]


def _statistics(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    # in float32 also under autocast: the variance is a small difference of large numbers
    x = x.float()
    mean = (weights * x).sum(2)
    variance = (weights * (x - mean[..., None]).square()).sum(2)
    return mean, variance.clamp(min=1e-12).sqrt()
