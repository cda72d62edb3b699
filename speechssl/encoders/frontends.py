"""What turns samples into 50 frames a second before the transformer, exactly and in a stream: convolutions or log-mel.

Both front ends go over the utterance more than once where they must: first to gather statistics (mean and variance of
the waveform, of each channel under the group norm, of each mel band), then to make frames block by block. Sums are
taken in float64 over a fixed grid of blocks, so they do not depend on how the audio arrives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.audio import mel
from speechssl.encoders.precision import layer_norm, linear
from speechssl.encoders.windows import cut_samples
from speechssl.errors import CheckpointError

# a fresh iterator over the blocks (n,) of one waveform at each call: two passes need two of them
Blocks = Callable[[], Iterable[Tensor]]

# 4 s: small enough for the caches (26 MB after the first convolution), large enough for full speed
BLOCK_FRAMES = 200


class Counted:
    """Blocks that count the samples of the pass under way."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.num_samples = 0

    def __call__(self) -> Iterator[Tensor]:
        self.num_samples = 0
        for block in self._blocks():
            self.num_samples += block.shape[0]
            yield block


class FrontEnd(Protocol):
    """Samples to frames (N, D) for the transformer, N == num_frames(samples)."""

    hop_length: int  # samples between two frames

    def num_frames(self, num_samples: int) -> int:
        """Exact count."""

    def num_valid(self, num_samples: int) -> int:
        """Frames made of samples alone; one behind them may hold padding, which the network does not attend to."""
        return self.num_frames(num_samples)

    def frames(self, blocks: Blocks) -> Iterator[Tensor]:
        """(n, D) float32 consecutive frames, on the network's device."""


@dataclass(frozen=True, eq=False, slots=True)
class _Moments:
    """Mean (K,) and covariance (K, K), float64, of the excerpts of K samples under a kernel that slides in strides."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, blocks: Blocks, *, kernel: int, stride: int) -> _Moments:
        total = torch.zeros(kernel, dtype=torch.float64)
        products, count = torch.zeros(kernel, kernel, dtype=torch.float64), 0
        hop = BLOCK_FRAMES * 320 * stride
        for block in cut_samples(blocks(), hop=hop, overlap=kernel - stride):
            if block.shape[0] >= kernel:
                excerpts = block.cpu().unfold(0, kernel, stride).double()
                total = total + excerpts.sum(0)
                products = products + excerpts.T @ excerpts
                count += excerpts.shape[0]
        mean = total / max(1, count)
        return cls(mean, products / max(1, count) - mean[:, None] * mean)


@dataclass(frozen=True, eq=False, slots=True)
class _Conv:
    """A convolution over time-major input (T, C), as one matrix product with its weight laid out (O, K * C)."""

    weight: Tensor
    bias: Tensor | None
    kernel: int
    stride: int
    norm: Any
    activation: Callable[[Tensor], Tensor]

    @classmethod
    def from_layer(cls, layer: Any) -> _Conv:
        conv = layer.conv
        weight = conv.weight.detach().permute(0, 2, 1).flatten(1).contiguous()
        kernel, stride = int(conv.kernel_size[0]), int(conv.stride[0])
        return cls(weight, conv.bias, kernel, stride, getattr(layer, "layer_norm", None), layer.activation)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype).contiguous()
        channels = x.shape[1]
        # an excerpt of K frames is K * C consecutive numbers, so a view with overlapping rows lays them all out
        shape = ((x.shape[0] - self.kernel) // self.stride + 1, self.kernel * channels)
        x = functional.linear(x.as_strided(shape, (self.stride * channels, 1)), self.weight, self.bias)
        return self.activation(x if self.norm is None else layer_norm(self.norm, x))


class ConvFrontEnd(FrontEnd):
    """The convolutional feature extractor and projection of wav2vec 2.0 and its descendants, streamed.

    The convolutions run over blocks of 200 frames that overlap by the receptive field, so every frame is what one pass
    over the whole waveform would give. Normalising the waveform and the group norm after the first convolution are
    affine maps whose constants need the whole utterance; both are found beforehand, in float64, and folded into the
    first convolution. The variance of a channel under the group norm is w' S w, with S the covariance of the ten-sample
    excerpts and w the channel's kernel, so the pass over the statistics needs no convolution.

    Args:
        extractor: transformers' ``feature_extractor``: a module with ``conv_layers``.
        projection: transformers' ``feature_projection``.
        normalise: epsilon added to the variance when the waveform is brought to zero mean and unit variance (1e-7 in
            transformers, 1e-5 in torchaudio); None leaves the waveform as it is.
    """

    def __init__(self, extractor: nn.Module, projection: nn.Module, *, normalise: float | None) -> None:
        layers: list[Any] = list(extractor.conv_layers)  # type: ignore[arg-type]
        norm = getattr(layers[0], "layer_norm", None)
        self._group_norm = norm if isinstance(norm, nn.GroupNorm) else None
        self._head, *self._convs = (_Conv.from_layer(layer) for layer in layers)
        self._projection: Any = projection
        self._normalise = normalise
        kernels, strides = [self._head.kernel], [self._head.stride]
        kernels += [conv.kernel for conv in self._convs]
        strides += [conv.stride for conv in self._convs]
        # 320 samples, 20 ms at 16 kHz, in every published model
        self.hop_length = math.prod(strides)
        # samples under one frame: 400, 25 ms
        self.receptive_field = 1 + sum((k - 1) * math.prod(strides[:i]) for i, k in enumerate(kernels))

    def num_frames(self, num_samples: int) -> int:
        """One frame for every ``hop_length`` samples at which a whole receptive field begins."""
        return max(0, (num_samples - self.receptive_field) // self.hop_length + 1)

    def frames(self, blocks: Blocks) -> Iterator[Tensor]:
        """(n, D) float32 projected frames, up to 200 at a time."""
        weight, bias = self._first_convolution(blocks)
        overlap = self.receptive_field - self.hop_length
        for block in cut_samples(blocks(), hop=BLOCK_FRAMES * self.hop_length, overlap=overlap):
            if block.shape[0] >= self.receptive_field:
                yield self._project(self._extract(block, weight, bias))

    def _first_convolution(self, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Weight (C, K) and bias (C,) of the first convolution with the affine maps around it folded in, float32."""
        head = self._head
        weight = head.weight.cpu().double()
        bias = weight.new_zeros(len(weight)) if head.bias is None else head.bias.detach().cpu().double()
        if self._normalise is not None:
            sample = _Moments.of(blocks, kernel=1, stride=1)
            weight = weight / (sample.covariance[0, 0].clamp(min=0) + self._normalise).sqrt()
            bias = bias - weight.sum(1) * sample.mean
        if self._group_norm is not None:
            excerpt = _Moments.of(blocks, kernel=head.kernel, stride=head.stride)
            weight, bias = _fold_group_norm(weight, bias, excerpt, self._group_norm)
        device = head.weight.device
        return weight.float().to(device), bias.float().to(device)

    def _extract(self, samples: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(T,) samples to (n, C) outputs of the last convolution."""
        head = self._head
        # always float32: bfloat16 would round the samples to 8 bits
        x = functional.linear(samples.to(weight.device).unfold(0, head.kernel, head.stride), weight, bias)
        x = x.to(head.weight.dtype)
        x = head.activation(x if self._group_norm is not None or head.norm is None else layer_norm(head.norm, x))
        for conv in self._convs:
            x = conv(x)
        return x

    def _project(self, x: Tensor) -> Tensor:
        # HuBERT's config can leave this norm out
        if getattr(self._projection, "layer_norm", None) is not None:
            x = layer_norm(self._projection.layer_norm, x.float())
        return linear(self._projection.projection, x).float()


def _fold_group_norm(weight: Tensor, bias: Tensor, excerpt: _Moments, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
    """A convolution (C, K), (C,) followed by a group norm with one channel a group, as one convolution."""
    mean = weight @ excerpt.mean + bias
    variance = ((weight @ excerpt.covariance) * weight).sum(1).clamp(min=0)
    scale = norm.weight.detach().cpu().double() / (variance + norm.eps).sqrt()
    return weight * scale[:, None], (bias - mean) * scale + norm.bias.detach().cpu().double()


class LogMelFrontEnd(FrontEnd):
    """Kaldi log-mel energies as w2v-BERT 2.0 takes them, and its feature projection, streamed.

    25 ms Povey windows every 10 ms of 16-bit-scaled samples, mean removed, pre-emphasis 0.97, 80 bands from 20 Hz to
    8 kHz, natural logarithm; each band is brought to zero mean and unit variance over the utterance; two 10 ms frames
    make one of 160 numbers. With an odd number of 10 ms frames the last is paired with zeros; transformers masks such a
    frame in the network, and so does speechssl (``num_valid``).

    Args:
        projection: transformers' ``feature_projection``.
    Source: transformers' ``SeamlessM4TFeatureExtractor``; Barrault et al. 2023, arXiv:2312.05187, section 3.2.1.
    """

    hop_length = 320  # two frames of 160 samples, 20 ms at 16 kHz

    def __init__(self, projection: nn.Module) -> None:
        self._projection: Any = projection

    def num_frames(self, num_samples: int) -> int:
        """Pairs of 10 ms frames, the last one perhaps half full: 1 + (T - 400) // 320 from 400 samples on."""
        return (_num_mel_frames(num_samples) + 1) // 2

    def num_valid(self, num_samples: int) -> int:
        """Full pairs; a lone pair counts even if it is half full, for the network must attend to something."""
        return max(min(1, self.num_frames(num_samples)), _num_mel_frames(num_samples) // 2)

    def frames(self, blocks: Blocks) -> Iterator[Tensor]:
        """(n, D) float32 projected frames, up to 200 at a time."""
        mean, scale = self._statistics(blocks)
        device = self._projection.projection.weight.device
        for bands in _mel_blocks(blocks):
            yield self._project(paired(((bands - mean) * scale).float()).to(device))

    def _statistics(self, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Mean and reciprocal of the standard deviation of each band (80,), float64."""
        total, squares, count = torch.zeros(80, dtype=torch.float64), torch.zeros(80, dtype=torch.float64), 0
        for bands in _mel_blocks(blocks):
            total, squares, count = total + bands.sum(0), squares + bands.square().sum(0), count + bands.shape[0]
        mean = total / max(1, count)
        # one frame has no variance: 0, where transformers would divide by zero
        variance = (squares - count * mean.square()).clamp(min=0) / max(1, count - 1)
        return mean, (variance + 1e-7).rsqrt()

    def _project(self, x: Tensor) -> Tensor:
        return linear(self._projection.projection, layer_norm(self._projection.layer_norm, x)).float()


def check_log_mel(settings: dict[str, Any], source: str) -> None:
    """Refuse log-mel settings other than those of ``LogMelFrontEnd``.

    Raises:
        CheckpointError: another band count, sample rate, pairing or feature type.
    """
    known = {"feature_size": 80, "num_mel_bins": 80, "sampling_rate": 16000, "sample_rate": 16000, "stride": 2}
    check_settings(settings, known, "80 bands at 16 kHz, in pairs", source)


def check_settings(settings: dict[str, Any], known: dict[str, int], needed: str, source: str) -> None:
    """Refuse settings of the input that are given and other than those known.

    Raises:
        CheckpointError: names them, and what is ``needed``.
    """
    if wrong := {key: settings[key] for key, value in known.items() if key in settings and settings[key] != value}:
        raise CheckpointError(f"{source} asks for log-mel input with {wrong}; {needed} needed")


def _num_mel_frames(num_samples: int) -> int:
    return max(0, (num_samples - 400) // 160 + 1)


def _mel_blocks(blocks: Blocks) -> Iterator[Tensor]:
    """(n, 80) float64 log-mel energies at 100 Hz, 400 at a time."""
    # the last of 400 windows starts 160 samples before the next block and is 400 long
    for block in cut_samples(blocks(), hop=BLOCK_FRAMES * 320, overlap=400 - 160):
        if block.shape[0] >= 400:
            yield mel.kaldi(block.cpu(), double=True)


def paired(bands: Tensor) -> Tensor:
    """(n, 80) at 100 Hz to ((n + 1) // 2, 160) at 50 Hz, zeros behind a lone last frame."""
    if bands.shape[0] % 2:
        bands = functional.pad(bands, (0, 0, 0, 1))
    return bands.reshape(-1, 160)
