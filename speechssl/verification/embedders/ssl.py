"""Speaker embedders on the blocks of a self-supervised encoder, in our own single files.

Header: ``kind`` ``"embedder"``, ``family`` ``"ssl"``, ``name``, ``encoder`` (as ``described`` gives it), ``blocks``
(numbers, 0 for the input of the first), ``head`` (``heads.HEADS``), ``config`` (arguments of the head), ``dim``,
``provenance``, ``licence``; where fitted, ``calibration``. Tensors: the head's under ``head.``, those of fine-tuned
blocks under ``blocks.NUMBER.``, and ``cohort`` (K, E) as ``log_mel`` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl import audio, checkpoints, encoders
from speechssl.encoders import fingerprints
from speechssl.encoders.encoder import SSLEncoder
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Embedding, Waveform
from speechssl.verification.embedders import heads

WINDOW = 30 * 16000  # samples embedded at once; longer recordings are averaged over windows
SHORTEST = 0.225  # seconds, as for the embedders on log-mel bands
_NEEDED = {"name": str, "encoder": dict, "blocks": list, "head": str, "config": dict, "dim": int}


class SSLEmbedder:
    """Embedder of our own file.

    Attributes:
        encoder, blocks, head: what embeds.
        cohort: (K, E) unit embeddings of other speakers, or None.
        calibration: as the file's header has it, or None.
    """

    sample_rate = 16000

    def __init__(
        self,
        encoder: SSLEncoder,
        blocks: Sequence[int],
        head: nn.Module,
        *,
        origin: str,
        dim: int,
        cohort: Tensor | None = None,
        calibration: dict[str, Any] | None = None,
    ) -> None:
        self.encoder, self.blocks, self.head = encoder, check_blocks(blocks, encoder), head.eval()
        self.origin, self.dim, self.cohort, self.calibration = origin, dim, cohort, calibration

    @torch.no_grad()
    def embed(self, waveform: Waveform) -> Embedding:
        """Unit-norm embedding (dim,).

        Raises:
            InputError: shorter than 0.225 s. Whether there is speech in it is for the caller to ask.
        """
        samples = audio.resample(waveform, self.sample_rate).samples
        if len(samples) < SHORTEST * self.sample_rate:
            raise InputError(f"{len(samples) / self.sample_rate:.3f} s of sound; at least {SHORTEST} s needed")
        parts = torch.tensor_split(samples, -(-len(samples) // WINDOW))  # as equal as can be
        found = [self._embed(part) * len(part) for part in parts]
        return Embedding(functional.normalize(torch.stack(found).sum(0), dim=0).cpu(), self.origin)

    def _embed(self, samples: Tensor) -> Tensor:
        states = states_of(self.encoder, samples, self.blocks)
        place = next(self.head.parameters()).device
        return functional.normalize(self.head(states[None].to(place))[0].float(), dim=0)


def states_of(encoder: SSLEncoder, samples: Tensor, blocks: Sequence[int]) -> Tensor:
    """Hidden states (T, L, D) of some blocks, for samples (S,) at 16 kHz."""
    layers = encoder.layers(Waveform(samples, 16000))
    return torch.stack([layers[block].frames for block in blocks], dim=1)


def check_blocks(blocks: Sequence[int], encoder: SSLEncoder) -> tuple[int, ...]:
    """Numbers of blocks that the encoder has, in order.

    Raises:
        InputError: none, one twice, or one that the encoder has not.
    """
    found = tuple(sorted(blocks))
    wrong = [block for block in found if not 0 <= block <= encoder.layer]
    if not found or wrong or len(set(found)) < len(found):
        raise InputError(f"blocks {list(blocks)}: different ones from 0 to {encoder.layer} of {encoder.origin} needed")
    return found


def width_of(encoder: SSLEncoder, blocks: Sequence[int]) -> int:
    """Numbers in a frame of these blocks.

    Raises:
        InputError: they differ: the last block of a fine-tuned encoder may be projected.
    """
    layers = encoder.layers(Waveform(torch.zeros(400), 16000))
    widths = {layers[block].dim for block in blocks}
    if len(widths) > 1:
        raise InputError(
            f"blocks {list(blocks)} of {encoder.origin} have {sorted(widths)} numbers in a frame; leave the last out"
        )
    return widths.pop()


def read(path: Path, *, device: str = "cpu") -> SSLEmbedder:
    """An embedder file of this family.

    Raises:
        CheckpointError: no such file, damaged, an incomplete header, or an encoder that is not at hand: another of that
            name has other weights, and the message holds both fingerprints.
    """
    checkpoint = checkpoints.load(path, kind="embedder")
    header = checkpoint.header
    if wrong := [key for key, kind in _NEEDED.items() if not isinstance(header.get(key), kind)]:
        raise CheckpointError(f"{path} has no usable {', '.join(wrong)} in its header; write it again with speechssl")
    encoder = _encoder(header, path, device)
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in checkpoint.tensors.items()}
    cohort = tensors.pop("cohort", None)
    try:
        blocks = check_blocks(header["blocks"], encoder)
        head = heads.make(header["head"], len(blocks), width_of(encoder, blocks), **header["config"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {header['config']} makes no head {header['head']!r} ({error})") from error
    of_head = {name.removeprefix("head."): tensor for name, tensor in tensors.items() if name.startswith("head.")}
    checkpoints.load_state(head, of_head, source=path)
    tune(encoder, {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}, source=path)
    return SSLEmbedder(
        encoder,
        blocks,
        head.to(checkpoints.choose_device(device)),
        origin=f"{header['name']}@{checkpoint.fingerprint}",
        dim=int(header["dim"]),
        cohort=None if cohort is None else functional.normalize(cohort, dim=1),
        calibration=header.get("calibration"),
    )


def write(
    path: Path,
    head: nn.Module,
    header: dict[str, Any],
    *,
    tuned: dict[str, Tensor] | None = None,
    cohort: Tensor | None = None,
) -> Path:
    """Save an embedder with float16 weights.

    Args:
        header: ``name`` and what else the header of a file has, but ``kind`` and ``family``.
        tuned: tensors of fine-tuned blocks, ``blocks.NUMBER.`` before their names.
        cohort: (K, E) unit embeddings of other speakers.
    """
    tensors = {f"head.{key}": tensor for key, tensor in head.state_dict().items()} | (tuned or {})
    if cohort is not None:
        tensors["cohort"] = cohort
    halves = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    return checkpoints.save(path, halves, {**header, "kind": "embedder", "family": "ssl"})


def described(name: str, encoder: SSLEncoder, normalise: bool | None) -> dict[str, Any]:
    """What a file says of its encoder: how to load it, and by which it is known again."""
    return {
        "name": name,
        "layer": encoder.layer,
        "normalise": normalise,
        "origin": encoder.origin,
        "fingerprint": fingerprints.of_encoder(encoder),
    }


def tune(encoder: SSLEncoder, tensors: dict[str, Tensor], *, source: str | Path) -> None:
    """Put fine-tuned tensors, ``blocks.NUMBER.`` before their names, into an encoder.

    Raises:
        CheckpointError: tensors of no block that the encoder has, or some of a block's are missing.
    """
    by_block: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if prefix != "blocks" or not number.isdigit() or not 1 <= int(number) <= len(encoder.trunk.blocks):
            raise CheckpointError(f"{source} holds {name!r}, which is neither the head's nor that of a block")
        by_block.setdefault(int(number), {})[inner] = tensor
    for block, state in by_block.items():
        checkpoints.load_state(encoder.trunk.blocks[block - 1], state, source=source)


def _encoder(header: dict[str, Any], path: Path, device: str) -> SSLEncoder:
    known = header["encoder"]
    try:
        found = encoders.load(known["name"], layer=int(known["layer"]), device=device, normalise=known.get("normalise"))
        wanted = str(known["fingerprint"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its encoder {known} cannot be loaded ({error})") from error
    here = fingerprints.of_encoder(found)
    if here != wanted:
        raise CheckpointError(
            f"{path} was made with weights {wanted} of {known['origin']}; those of {known['name']} here are {here}: "
            "give the file of the embedder and its encoder together"
        )
    return found
