"""HiFi-GAN from SSL features to sound, in the layout of kNN-VC's published checkpoints.

Frame i becomes samples 320 i ... 320 i + 319. Padding is with zeros, as in the original; speechbrain's HiFi-GAN pads by
reflection, which changes the sound near every edge, so its parts would not give these weights their own sound.

Config first, network, vocoder, then the ways to read a file of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl import checkpoints
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Features, Waveform, check_same_origin

SLOPE = 0.1  # of the leaky rectifiers between layers; before the last layer it is torch's 0.01, as in the original
CHUNK = 500  # frames vocoded at once: 10 s, some 100 MB
# WavLM-Large, layer 6, without input normalisation: kNN-VC does not normalise, though WavLM-Large was trained so
KNN_VC_ORIGIN = "wavlm-large/6/raw"
KNN_VC_RELEASE = "https://github.com/bshall/knn-vc/releases/download/v0.1/"


@dataclass(frozen=True)
class Published:
    """A checkpoint that kNN-VC publishes: file name in the release, SHA-256 (None if unknown) and bytes."""

    filename: str
    sha256: str | None
    size: int | None


PUBLISHED = {
    # two independent projects pin this checksum in their public sources
    "knn-vc-prematched": Published(
        "prematch_g_02500000.pt", "f924c7632c6eaf99004386d62293e124419e33582573552a6ae976eb88ed2dd5", 66_214_643
    ),
    # no public source names a checksum: pass that of a copy you trust
    "knn-vc": Published("g_02500000.pt", None, None),
}


@dataclass(frozen=True)
class HifiganConfig:
    """Sizes of a generator; the defaults are kNN-VC's (its ``config_v1_wavlm.json``).

    Args:
        input_dim: numbers per feature frame.
        hidden_dim: numbers per frame after the linear layer in front.
        initial_channels: before the first upsampling; halved by each.
        upsample_rates: of each transposed convolution; their product is the hop length.
        upsample_kernels: of each; at least its rate, and of the same parity.
        block_kernels: of the residual blocks after each upsampling, odd; their outputs are averaged.
        block_dilations: of the three pairs of convolutions in each block.
        sample_rate: Hz of the sound.
    """

    input_dim: int = 1024
    hidden_dim: int = 512
    initial_channels: int = 512
    upsample_rates: tuple[int, ...] = (10, 8, 2, 2)
    upsample_kernels: tuple[int, ...] = (20, 16, 4, 4)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[int, ...] = (1, 3, 5)
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        pairs = list(zip(self.upsample_rates, self.upsample_kernels, strict=False))
        fits = len(pairs) == len(self.upsample_rates) == len(self.upsample_kernels) and len(pairs) > 0
        if not fits or any(kernel < rate or (kernel - rate) % 2 for rate, kernel in pairs):
            raise CheckpointError(
                f"upsampling rates {self.upsample_rates} and kernels {self.upsample_kernels} do not fit"
            )
        if any(kernel % 2 == 0 for kernel in self.block_kernels) or not self.block_kernels:
            raise CheckpointError(f"kernels of the residual blocks are {self.block_kernels}; odd ones needed")
        if self.initial_channels % 2 ** len(pairs):
            raise CheckpointError(f"{self.initial_channels} channels cannot be halved {len(pairs)} times")

    @classmethod
    def read(cls, values: Mapping[str, Any], *, source: str | Path) -> HifiganConfig:
        """From the ``config`` of a header.

        Raises:
            CheckpointError: an entry is missing, unknown, or of another type.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise CheckpointError(
                f"{source} has a HiFi-GAN config with entries {sorted(values)}; {sorted(names)} needed"
            )
        try:
            plain: dict[str, Any] = {
                name: tuple(map(int, value)) if isinstance(value, list | tuple) else int(value)
                for name, value in values.items()
            }
            return cls(**plain)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{source} has a HiFi-GAN config that cannot be read: {error}") from error

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.upsample_rates)

    @property
    def context(self) -> int:
        """Frames on either side that a frame's samples depend on (rounded up): 12 for the defaults."""
        widest = max(self.block_kernels) // 2
        block = widest * (sum(self.block_dilations) + len(self.block_dilations))
        reach = 3  # of the last convolution, kernel 7
        for rate, kernel in zip(reversed(self.upsample_rates), reversed(self.upsample_kernels), strict=True):
            reach = math.ceil((reach + block + kernel - 1 - (kernel - rate) // 2) / rate)
        return reach + 3


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair added to its input."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel // 2)) for d in dilations
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=kernel // 2) for _ in dilations)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, C, T) to the same."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            hidden = hidden + plain(functional.leaky_relu(dilated(functional.leaky_relu(hidden, SLOPE)), SLOPE))
        return hidden


class Generator(nn.Module):
    """Features (B, N, input_dim) to samples (B, N * hop_length) in [-1, 1]; weights without weight normalisation.

    Source: Kong et al. 2020, HiFi-GAN V1, arXiv:2010.05646; linear layer in front: Baas et al. 2023, arXiv:2305.18975.
    """

    def __init__(self, config: HifiganConfig) -> None:
        super().__init__()
        self.kinds = len(config.block_kernels)
        self.lin_pre = nn.Linear(config.input_dim, config.hidden_dim)
        self.conv_pre = nn.Conv1d(config.hidden_dim, config.initial_channels, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        channels = config.initial_channels
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
            padding = (kernel - rate) // 2
            self.ups.append(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=padding))
            channels //= 2
            for width in config.block_kernels:
                self.resblocks.append(ResidualBlock(channels, width, config.block_dilations))
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, features: Tensor) -> Tensor:
        """(B, N, input_dim) to (B, N * hop_length)."""
        hidden = self.conv_pre(self.lin_pre(features).transpose(1, 2))
        for index, up in enumerate(self.ups):
            hidden = up(functional.leaky_relu(hidden, SLOPE))
            blocks = self.resblocks[index * self.kinds : (index + 1) * self.kinds]
            hidden = sum(block(hidden) for block in blocks) / self.kinds
        return torch.tanh(self.conv_post(functional.leaky_relu(hidden))).squeeze(1)


class HifiganVocoder:
    """A generator as a ``Vocoder``.

    Args:
        network: moved to the device, put in evaluation mode.
        config: its sizes.
        origin: of the features it was trained on.
        device: ``"auto"`` (CUDA, then Apple's, then the CPU) or a torch device.
    """

    needs_f0 = False  # pitch is in the features
    key_origin = ""  # it takes no keys

    def __init__(self, network: Generator, config: HifiganConfig, *, origin: str, device: str = "auto") -> None:
        self.device = checkpoints.choose_device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.config, self.origin, self.sample_rate = config, origin, config.sample_rate
        self.frame_rate = config.sample_rate / config.hop_length

    def num_samples(self, num_frames: int) -> int:
        """Samples for so many frames."""
        return self.config.hop_length * num_frames

    def vocode(
        self,
        features: Features,
        *,
        f0: Tensor | None = None,
        keys: Features | None = None,
        voice: Tensor | None = None,
    ) -> Waveform:
        """The sound of N frames, N * hop_length samples in [-1, 1]; any length in flat memory.

        Args:
            features: (N, input_dim) of the origin it was trained on.
            f0, keys, voice: not needed, not used.
        Raises:
            InputError: features of another origin or size.
        """
        check_same_origin(features.origin, self.origin, what="vocode these features with this HiFi-GAN")
        if features.dim != self.config.input_dim:
            raise InputError(
                f"features have {features.dim} numbers a frame; this vocoder takes {self.config.input_dim}"
            )
        return Waveform(torch.cat(list(self.stream(features.frames))), self.sample_rate)

    @torch.no_grad()
    def stream(self, frames: Tensor, *, chunk: int = CHUNK) -> Iterator[Tensor]:
        """Samples (chunk * hop_length,) on the CPU, for each chunk of frames (N, input_dim); together the whole.

        Each chunk is vocoded with the frames around it that can be heard in it, and cut.
        """
        context, hop = self.config.context, self.config.hop_length
        for start in range(0, len(frames), chunk):
            stop = min(start + chunk, len(frames))
            begin = max(0, start - context)
            piece = frames[begin : stop + context].to(self.device, torch.float32)
            samples = self.network(piece[None])[0]
            yield samples[(start - begin) * hop : (stop - begin) * hop].cpu()


def save(path: str | Path, vocoder: HifiganVocoder, *, licence: str, provenance: Mapping[str, Any]) -> Path:
    """Write a vocoder as one file of this package.

    Args:
        path: the file.
        vocoder: what to write.
        licence: of the weights.
        provenance: JSON-able facts: data, recipe, steps, or where the weights were taken from.
    """
    header = {
        "kind": "vocoder",
        "family": "hifigan",
        "origin": vocoder.origin,
        "config": asdict(vocoder.config),
        "licence": licence,
        "provenance": dict(provenance),
    }
    return checkpoints.save(path, vocoder.network.state_dict(), header)


def load(path: str | Path, *, device: str = "auto") -> HifiganVocoder:
    """Read a file that ``save`` wrote.

    Raises:
        CheckpointError: another kind or family, or weights that do not fit the config.
    """
    checkpoint = checkpoints.load(path, kind="vocoder")
    header = checkpoint.header
    if header.get("family") != "hifigan" or not isinstance(header.get("origin"), str):
        raise CheckpointError(
            f"{path} is a vocoder of family {header.get('family')!r}; 'hifigan' with an origin needed"
        )
    config = HifiganConfig.read(header.get("config", {}), source=path)
    return _built(config, checkpoint.tensors, origin=header["origin"], source=path, device=device)


def load_published(path: str | Path, *, origin: str, device: str = "auto") -> HifiganVocoder:
    """Read a checkpoint in kNN-VC's layout: ``{"generator": {...}}`` with weight normalisation, sizes by its config v1.

    Args:
        path: e.g. ``prematch_g_02500000.pt``.
        origin: of the features it was trained on; for kNN-VC's own files ``KNN_VC_ORIGIN``.
        device: as ``HifiganVocoder``.
    Raises:
        CheckpointError: damaged, holding code, or of another layout.
    """
    content = checkpoints.load_pickle_tensors(path)
    state = content.get("generator") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        found = sorted(map(str, content))[:5] if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path} holds {found}; a HiFi-GAN checkpoint with the entry 'generator' is needed")
    # the norm over all but the first axis
    tensors = checkpoints.without_weight_norm(state, keep=0)
    config = HifiganConfig()
    if (front := tensors.get("lin_pre.weight")) is not None and front.ndim == 2:
        config = HifiganConfig(input_dim=front.shape[1], hidden_dim=front.shape[0])
    return _built(config, tensors, origin=origin, source=path, device=device)


def fetch_published(name: str, *, sha256: str | None = None, device: str = "auto") -> HifiganVocoder:
    """One of ``PUBLISHED``, from the cache or its release.

    Args:
        name: ``"knn-vc-prematched"`` (trained on prematched features, the better one) or ``"knn-vc"``.
        sha256: checksum to insist on instead of the pinned one; needed for ``"knn-vc"``, whose checksum we do not know.
        device: as ``HifiganVocoder``.
    Raises:
        InputError: no such name.
        CheckpointError: offline, another checksum, none known.
    """
    if name not in PUBLISHED:
        raise InputError(f"no published vocoder {name!r}; one of {', '.join(PUBLISHED)} needed")
    facts = PUBLISHED[name]
    path = checkpoints.fetch(
        KNN_VC_RELEASE + facts.filename,
        sha256=sha256 or facts.sha256,
        filename=facts.filename,
        licence="MIT",
        size=facts.size,
    )
    return load_published(path, origin=KNN_VC_ORIGIN, device=device)


def _built(
    config: HifiganConfig, tensors: Mapping[str, Tensor], *, origin: str, source: str | Path, device: str
) -> HifiganVocoder:
    network = Generator(config)
    checkpoints.load_state(network, tensors, source=source)
    return HifiganVocoder(network, config, origin=origin, device=device)
