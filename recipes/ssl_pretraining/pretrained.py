"""A pretrained encoder that goes on learning: any that the package loads, or Whisper's, with a projection behind it."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from whisper import SHA256, check, encoder_of, read_ctranslate2, whisper_config

from speechssl import checkpoints, encoders
from speechssl.audio import mel
from speechssl.encoders import network as networks
from speechssl.encoders.frontends import paired
from speechssl.encoders.whisper import floored, log_power

KEY_DIM = 256
MASKED_BANDS, MASKED_FRAMES, MASKED = 16, 24, 0.4  # mel bands, 10 ms frames, share of crops


class PretrainedNetwork(nn.Module):
    """Samples to keys: a pretrained network's first blocks, and a linear projection of the last one.

    ``forward(input)`` takes samples (B, 320 N + 80) and gives, as transformers does, ``last_hidden_state`` (B, N, K),
    the keys, and ``hidden_states``, the input of the first block and the output of every block.

    Args:
        body: the network up to the last block that is wanted.
        dim: numbers per frame of the body.
        key_dim: numbers per frame of the keys.
    """

    def __init__(self, body: nn.Module, *, dim: int, key_dim: int = KEY_DIM) -> None:
        super().__init__()
        self.body = body
        self.dim = dim
        self.projection = nn.Linear(dim, key_dim)

    @property
    def num_blocks(self) -> int:
        """Blocks that are there."""
        return int(self.body.num_blocks)  # type: ignore[arg-type]

    def forward(self, samples: Tensor, output_hidden_states: bool = True) -> Any:
        last, hidden = self.body(samples)
        return SimpleNamespace(last_hidden_state=self.projection(last), hidden_states=hidden)


class WhisperBody(nn.Module):
    """The first blocks of Whisper's encoder and its final norm, on samples, with positions from 0 and no padding.

    In training, bands and stretches of time of some crops are masked (SpecAugment), and the loudest band that sets the
    floor is now and then up to 15 dB louder than the crop's: the utterance around a crop may be.

    Args:
        encoder: transformers' ``WhisperEncoder`` with the blocks that are wanted.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_blocks = len(encoder.layers)

    def forward(self, samples: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        mel = log_power(samples)
        top = mel.amax((1, 2), keepdim=True)
        if self.training:
            top = top + 1.5 * torch.rand_like(top) * (torch.rand_like(top) < 0.5)
        mel = floored(mel, top)
        if self.training:
            mel = _masked(mel)
        encoder = self.encoder
        x = nn.functional.gelu(encoder.conv1(mel.transpose(1, 2)))
        x = nn.functional.gelu(encoder.conv2(x)).transpose(1, 2)
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        hidden = [x]
        for layer in encoder.layers:
            x = layer(x, None)
            x = x[0] if isinstance(x, tuple) else x
            hidden.append(x)
        return encoder.layer_norm(x), tuple(hidden)


class TransformersBody(nn.Module):
    """The first blocks of any other network that the package loads, on samples.

    Args:
        network: transformers' model with the blocks that are wanted.
        normalise: epsilon of its waveform normalisation, None for none.
    """

    def __init__(self, network: Any, *, normalise: float | None) -> None:
        super().__init__()
        self.network = network
        self.normalise = normalise
        self.num_blocks = int(network.config.num_hidden_layers)

    def forward(self, samples: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.network.config.model_type == "wav2vec2-bert":
            bands = mel.kaldi(samples, double=True)
            bands = (bands - bands.mean(1, keepdim=True)) / (bands.var(1, keepdim=True) + 1e-7).sqrt()
            given = torch.stack([paired(row) for row in bands]).float()
        elif self.normalise is None:
            given = samples
        else:
            spread = samples.var(1, keepdim=True, correction=0) + self.normalise
            given = (samples - samples.mean(1, keepdim=True)) / spread.sqrt()
        output = self.network(given, output_hidden_states=True)
        return output.last_hidden_state, output.hidden_states


def pretrained(name: str, *, blocks: int | None, key_dim: int = KEY_DIM) -> PretrainedNetwork:
    """A network that starts from a pretrained one.

    Args:
        name: ``whisper-base=MODEL.BIN`` (CTranslate2's layout, checked by its sha256), or anything that
            ``speechssl.load_encoder`` takes.
        blocks: how many of its blocks; None for all.
        key_dim: numbers per frame of the keys.
    Raises:
        SystemExit: the wrong file, or fewer blocks than asked for.
    """
    published, _, path = name.partition("=")
    if path:
        if published not in SHA256:
            raise SystemExit(f"--init {name}: weights in CTranslate2's layout are known of {', '.join(SHA256)}")
        check(Path(path), published)
        tensors, config = encoder_of(read_ctranslate2(Path(path)), path)
        return whisper_network(tensors, config, name=published, blocks=blocks, key_dim=key_dim)
    weights = encoders._find(name, None, None)
    config = networks.read_config(weights)
    blocks = _enough(name, blocks, config.num_hidden_layers)
    tensors = networks._checked(weights, config)
    network = networks._truncated(config, blocks)
    networks._load(network, tensors, weights.source)
    network.requires_grad_(True)
    # nothing is masked or skipped at random but what the recipe masks
    network.config.apply_spec_augment, network.config.layerdrop = False, 0.0
    return PretrainedNetwork(
        TransformersBody(network, normalise=weights.normalise), dim=config.hidden_size, key_dim=key_dim
    )


def network_like(tensors: dict[str, Tensor], run: dict[str, Any]) -> PretrainedNetwork:
    """The network of a run from its tensors and its config, without the weights it began with."""
    mine = {key: value for key, value in tensors.items() if key.startswith(("body.", "projection."))}
    start = "body.encoder."
    if f"{start}conv1.weight" not in mine:
        network = pretrained(run["init"], blocks=run["blocks"], key_dim=run["key_dim"])
    else:
        whisper = {key.removeprefix(start): value for key, value in mine.items() if key.startswith(start)}
        network = whisper_network(whisper, whisper_config(whisper), key_dim=run["key_dim"])
    network.load_state_dict(mine)
    return network


def whisper_network(
    tensors: dict[str, Tensor],
    config: dict[str, Any],
    *,
    name: str = "whisper",
    blocks: int | None = None,
    key_dim: int = KEY_DIM,
) -> PretrainedNetwork:
    """A network around the first blocks of Whisper's encoder, from transformers' names and configuration."""
    # torchaudio, which transformers would import, may be absent or broken
    checkpoints.transformers()
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    blocks = _enough(name, blocks, config["encoder_layers"])
    kept = copy.deepcopy(config) | {"encoder_layers": blocks}
    encoder = WhisperEncoder(WhisperConfig(**kept, attn_implementation="sdpa"))
    encoder.load_state_dict({key: value for key, value in tensors.items() if _within(key, blocks)})
    encoder.embed_positions.requires_grad_(False)
    return PretrainedNetwork(WhisperBody(encoder), dim=config["d_model"], key_dim=key_dim)


def _within(key: str, blocks: int) -> bool:
    return not key.startswith("layers.") or int(key.split(".")[1]) < blocks


def _enough(name: str, blocks: int | None, there: int) -> int:
    if blocks is not None and not 1 <= blocks <= there:
        raise SystemExit(f"--blocks {blocks}: {name} has {there}")
    return blocks or there


def _masked(mel: Tensor) -> Tensor:
    """Mel (B, M, 80) with two stretches each of bands and of time at its mean, in some of the crops."""
    batch, length, bands = mel.shape
    hidden = torch.zeros(batch, length, bands, dtype=torch.bool, device=mel.device)
    for size, longest, axis in ((length, min(MASKED_FRAMES, length // 8), 1), (bands, MASKED_BANDS, 2)):
        for _ in range(2):
            width = torch.rand(batch, device=mel.device) * longest
            first = torch.rand(batch, device=mel.device) * (size - width)
            places = torch.arange(size, device=mel.device)
            inside = (places >= first[:, None]) & (places < (first + width)[:, None])
            hidden |= inside[:, :, None] if axis == 1 else inside[:, None]
    hidden &= (torch.rand(batch, device=mel.device) < MASKED)[:, None, None]
    return torch.where(hidden, mel.mean((1, 2), keepdim=True), mel)
