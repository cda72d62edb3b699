"""The embedded vocoder: WORLD values of retrieved frames, the keys of what is said, and F0, to sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechssl import checkpoints
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Features, Waveform, check_same_origin
from speechssl.vocoders import world
from speechssl.vocoders.source_filter import SourceFilter, SourceFilterConfig, pulse_train, voice_statistics

FAMILY = "source-filter"
CHUNK = 500  # value frames at once: 10 s
NOISE_BLOCK = 65_536  # samples of noise from one seed


class SourceFilterVocoder:
    """A trained ``SourceFilter`` as a ``Vocoder``.

    Args:
        network: with its weights.
        key_origin: of the keys it was trained with, e.g. ``"tiny/6"``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(self, network: SourceFilter, *, key_origin: str, device: str = "auto") -> None:
        self.device = checkpoints.choose_device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        self._key_origin = key_origin

    @property
    def origin(self) -> str:
        """Of the values it takes, WORLD's."""
        return world.origin(self.network.config.order)

    @property
    def key_origin(self) -> str:
        """Of the keys it takes beside them."""
        return self._key_origin

    @property
    def sample_rate(self) -> int:
        """16,000 Hz."""
        return world.SAMPLE_RATE

    @property
    def frame_rate(self) -> float:
        """50 Hz."""
        return world.SAMPLE_RATE / world.HOP_LENGTH

    @property
    def needs_f0(self) -> bool:
        """Yes."""
        return True

    def num_samples(self, num_frames: int) -> int:
        """Samples that so many frames cover."""
        return world.HOP_LENGTH * (num_frames - 1) + world.WINDOW_LENGTH

    def vocode(
        self,
        features: Features,
        *,
        f0: Tensor | None = None,
        keys: Features | None = None,
        voice: Tensor | None = None,
    ) -> Waveform:
        """The sound of N frames: 320 (N - 1) + 400 samples, in time with the source of ``f0``; the same every time.

        Args:
            features: WORLD values (N, dim), as retrieved.
            f0: (F,) Hz every 5 ms from sample 0 on, 0 where unvoiced; decides what is voiced.
            keys: (N, Dk) of what is said, from the encoder it was trained with.
            voice: (M, dim) values of whoever speaks, whose statistics are heard; None for those of the features.
        Raises:
            InputError: values or keys of another origin or length, or one of the three missing.
        """
        check_same_origin(features.origin, self.origin, what="vocode these features")
        if f0 is None or keys is None:
            raise InputError("this vocoder needs F0 and the keys of what is said beside the features; pass f0 and keys")
        check_same_origin(keys.origin, self.key_origin, what="vocode with these keys")
        if len(keys) != len(features):
            raise InputError(f"{len(keys)} keys for {len(features)} features; one for each needed")
        contour = world.fitted(f0.double().cpu().numpy(), len(features))
        speaker = features.frames if voice is None else voice
        if speaker.shape[1] != features.dim:
            raise InputError(f"the voice has {speaker.shape[1]} numbers a frame, the features {features.dim}")
        statistics = voice_statistics(speaker, self.network.config.order)
        samples = torch.cat(list(self._stream(features.frames, keys.frames, contour, statistics)))
        return Waveform(samples, self.sample_rate)

    @torch.no_grad()
    def _stream(
        self, values: Tensor, keys: Tensor, f0: np.ndarray[Any, Any], voice: Tensor, *, chunk: int = CHUNK
    ) -> Iterator[Tensor]:
        """Consecutive pieces of the sound; each is made with the frames around it that can be heard in it."""
        count, hop = len(values), world.HOP_LENGTH
        pulse = pulse_train(f0, self.num_samples(count))
        context = self.network.config.context
        for start in range(0, count, chunk):
            stop = min(start + chunk, count)
            first, last = max(0, start - context), min(stop + context, count)
            begin, end = hop * first, hop * first + self.num_samples(last - first)
            inputs = (
                values[first:last],
                keys[first:last],
                torch.from_numpy(f0[world.STACK * first : world.STACK * last]),
                voice,
                torch.from_numpy(pulse[begin:end]),
                torch.from_numpy(noise(begin, end)),
            )
            sound = self.network(*(part.to(self.device, torch.float32)[None] for part in inputs))[0]
            # the last frame keeps what its window has beyond the hop
            until = len(sound) if stop == count else hop * (stop - first)
            yield sound[hop * (start - first) : until].cpu()


def noise(start: int, stop: int) -> np.ndarray[Any, Any]:
    """Samples ``start`` to ``stop`` of an endless white noise of unit power; always the same ones."""
    blocks = range(start // NOISE_BLOCK, (stop - 1) // NOISE_BLOCK + 1)
    whole = [np.random.default_rng([0, block]).standard_normal(NOISE_BLOCK, dtype=np.float32) for block in blocks]
    first = blocks[0] * NOISE_BLOCK
    return np.concatenate(whole)[start - first : stop - first]


def save(path: str | Path, vocoder: SourceFilterVocoder, *, licence: str, provenance: Mapping[str, Any]) -> Path:
    """Write a vocoder as one file of ours, weights in float16.

    Args:
        path: the file.
        vocoder: what to write.
        licence: of the weights.
        provenance: JSON-able facts: data, recipe, steps.
    """
    header = {
        "kind": "vocoder",
        "family": FAMILY,
        "origin": vocoder.origin,
        "key_origin": vocoder.key_origin,
        "config": vocoder.network.config.as_dict(),
        "licence": licence,
        "provenance": dict(provenance),
    }
    state = {name: tensor.half() for name, tensor in vocoder.network.state_dict().items()}
    return checkpoints.save(path, state, header)


def load(path: str | Path, *, device: str = "auto") -> SourceFilterVocoder:
    """Read a file that ``save`` wrote.

    Raises:
        CheckpointError: another kind or family, or weights that do not fit the config.
    """
    checkpoint = checkpoints.load(path, kind="vocoder")
    header = checkpoint.header
    if header.get("family") != FAMILY or not isinstance(header.get("key_origin"), str):
        raise CheckpointError(f"{path} is a vocoder of family {header.get('family')!r}; {FAMILY!r} with keys needed")
    try:
        network = SourceFilter(SourceFilterConfig(**header["config"]))
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its config does not describe a vocoder of this family ({error})") from error
    tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
    checkpoints.load_state(network, tensors, source=path)
    return SourceFilterVocoder(network, key_origin=header["key_origin"], device=device)
