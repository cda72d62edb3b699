"""Speaker embedders in our own single files: ECAPA-TDNN on pairs of log-mel frames.

Header: ``kind`` ``"embedder"``, ``family`` ``"ecapa"``, ``name``, ``config`` (arguments of ``Ecapa``), ``input``
(``{"type": "log-mel", "bands": 80, "sample_rate": 16000, "scale": 3.0, "floor": 50.0}``; files from before the floor
have none), ``provenance``, ``licence``; where fitted, ``calibration`` and ``narrow``, the arguments of a second
``Ecapa`` that hears only what a telephone carries. Tensors: the network's, the second one's as ``narrow.NAME``, and
``cohort`` (K, E), embeddings of other speakers for score normalisation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from speechssl import audio, checkpoints
from speechssl.audio import activity, mel
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Embedding, Waveform
from speechssl.verification.embedders.ecapa import Ecapa

WINDOW = 3000  # frames of 10 ms embedded at once; longer recordings are averaged over windows, in flat memory
TELEPHONE = slice(11, 54)  # of the 80 bands: 330 to 3250 Hz, which every telephone carries
NARROW = 0.3  # norm of the part for telephones beside that for the full band, which scores better where it may be used
LOUD = 0.95  # quantile of the frames' levels
SHORTEST = 20  # frames of 10 ms; less cannot fill the network's field of view
_NEEDED = {"family": str, "name": str, "config": dict, "input": dict}


class LogMelEmbedder:
    """Embedder of our own file.

    Args:
        floor: dB below its loud frames up to which a recording is heard; None: all of it. What lies deeper is the
            silence of the microphone or the codec, which strangers share.

    Attributes:
        cohort: (K, E) unit embeddings of other speakers, or None.
        calibration: as the file's header has it, or None.
    """

    sample_rate = 16000

    def __init__(
        self,
        network: Ecapa,
        *,
        narrow: Ecapa | None = None,
        origin: str,
        scale: float,
        floor: float | None = None,
        cohort: Tensor | None = None,
        calibration: dict[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        self.network = network.eval().to(device)
        self.narrow = None if narrow is None else narrow.eval().to(device)
        self._device, self.scale, self.floor = device, scale, floor
        self.origin, self.cohort, self.calibration = origin, cohort, calibration
        self.dim = network.fc.out_channels + (0 if narrow is None else narrow.fc.out_channels)

    @torch.inference_mode()
    def embed(self, waveform: Waveform) -> Embedding:
        """Unit-norm embedding (dim,): that of the full band, then that of the telephone's, where there is one.

        Raises:
            InputError: shorter than 0.225 s. Whether there is speech in it is for the caller to ask.
        """
        return self.embed_all([waveform])[0]

    @torch.inference_mode()
    def embed_all(self, waveforms: Sequence[Waveform]) -> list[Embedding]:
        """Embeddings of several recordings; windows that are equally long are heard together, which costs less.

        Raises:
            InputError: as ``embed``.
        """
        cut, owners = [], []
        for number, waveform in enumerate(waveforms):
            # silence is what all speakers share
            heard = activity.without_pauses(audio.resample(waveform, self.sample_rate).samples.numpy())
            samples = torch.from_numpy(heard)
            for start, length in _windows(samples):
                cut.append((floored(mel.kaldi(samples[start : start + length]), self.floor), length))
                owners.append(number)
        parts = [self._parts(self.network, cut, owners, narrow=False)]
        if self.narrow is not None:
            parts.append(NARROW * self._parts(self.narrow, cut, owners, narrow=True))
        vectors = functional.normalize(torch.cat(parts, dim=1), dim=1).cpu()
        return [Embedding(vector, self.origin) for vector in vectors]

    def _parts(self, network: Ecapa, windows: list[tuple[Tensor, int]], owners: list[int], *, narrow: bool) -> Tensor:
        """Unit vectors (W, E) of one network: the means over each recording's windows, by their lengths."""
        found: dict[int, Tensor] = {}
        lengths = [len(bands) for bands, _ in windows]
        for frames in dict.fromkeys(lengths):
            alike = [number for number, length in enumerate(lengths) if length == frames]
            size = max(1, WINDOW // frames)
            for some in (alike[start : start + size] for start in range(0, len(alike), size)):
                heard = torch.stack([levelled(windows[i][0], self.scale, narrow=narrow) for i in some])
                paired = heard[:, : frames // 2 * 2].reshape(len(some), -1, 2 * heard.shape[2])
                vectors = functional.normalize(network(paired.to(self._device)).float(), dim=1)
                found.update(zip(some, vectors, strict=True))
        sums = [
            torch.stack([found[i] * windows[i][1] for i, owner in enumerate(owners) if owner == one]).sum(0)
            for one in range(owners[-1] + 1)
        ]
        return functional.normalize(torch.stack(sums), dim=1)


def floored(bands: Tensor, floor: float | None) -> Tensor:
    """Log-mel bands (F, B), nowhere more than ``floor`` dB below the mean band of the loud frames; None: unchanged."""
    if floor is None:
        return bands
    loud = torch.quantile(bands.logsumexp(dim=1), LOUD) - math.log(bands.shape[1])
    return bands.clamp(min=float(loud) - floor * math.log(10) / 10)


def levelled(bands: Tensor, scale: float, *, narrow: bool = False) -> Tensor:
    """Log-mel bands (F, 80) without their mean, over ``scale``; with ``narrow`` 0 outside of ``TELEPHONE``."""
    if not narrow:
        return (bands - bands.mean()) / scale
    found = torch.zeros_like(bands)
    found[:, TELEPHONE] = (bands[:, TELEPHONE] - bands[:, TELEPHONE].mean()) / scale
    return found


def read(path: Path, *, device: str = "cpu") -> LogMelEmbedder:
    """An embedder file of ours.

    Raises:
        CheckpointError: no such file, damaged, of another kind, or with an incomplete header.
    """
    checkpoint = checkpoints.load(path, kind="embedder")
    header = checkpoint.header
    if wrong := [key for key, kind in _NEEDED.items() if not isinstance(header.get(key), kind)]:
        raise CheckpointError(f"{path} has no usable {', '.join(wrong)} in its header; write it again with speechssl")
    settings = header["input"]
    if header["family"] != "ecapa" or settings.get("type") != "log-mel" or settings.get("bands") != 80:
        raise CheckpointError(
            f"{path} holds a {header['family']!r} on {settings.get('type')!r} input; ecapa on 80 log-mel bands is known"
        )
    tensors = dict(checkpoint.tensors)
    cohort = tensors.pop("cohort", None)
    network, narrow = (_network(header[key], path) if key in header else None for key in ("config", "narrow"))
    assert network is not None  # the header was checked
    theirs = {name[7:]: tensors.pop(name) for name in list(tensors) if name.startswith("narrow.")}
    checkpoints.load_state(network, tensors, source=path)
    if narrow is not None:
        checkpoints.load_state(narrow, theirs, source=path)
    return LogMelEmbedder(
        network,
        narrow=narrow,
        origin=f"{header['name']}@{checkpoint.fingerprint}",
        scale=float(settings["scale"]),
        floor=None if settings.get("floor") is None else float(settings["floor"]),
        cohort=None if cohort is None else functional.normalize(cohort.float(), dim=1),
        calibration=header.get("calibration"),
        device=device,
    )


def write(
    path: Path,
    network: Ecapa,
    *,
    name: str,
    config: dict[str, Any],
    scale: float,
    floor: float | None = None,
    narrow: tuple[Ecapa, dict[str, Any]] | None = None,
    provenance: dict[str, Any],
    licence: str,
    cohort: Tensor | None = None,
    calibration: dict[str, Any] | None = None,
) -> Path:
    """Save an embedder with float16 weights; ``config`` are the arguments the network was made with.

    Args:
        floor: see ``LogMelEmbedder``.
        narrow: the network that hears the telephone's band, and its arguments.
    """
    state = dict(network.state_dict())
    if narrow is not None:
        state |= {f"narrow.{key}": tensor for key, tensor in narrow[0].state_dict().items()}
    tensors = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    if cohort is not None:
        tensors["cohort"] = cohort.half()
    header: dict[str, Any] = {
        "kind": "embedder",
        "family": "ecapa",
        "name": name,
        "config": config,
        "input": {"type": "log-mel", "bands": 80, "sample_rate": 16000, "scale": scale, "floor": floor},
        "provenance": provenance,
        "licence": licence,
    }
    if narrow is not None:
        header["narrow"] = narrow[1]
    if calibration is not None:
        header["calibration"] = calibration
    return checkpoints.save(path, tensors, header)


def _windows(samples: Tensor) -> list[tuple[int, int]]:
    """Start and length in samples of windows as equal as can be, at most ``WINDOW`` frames each."""
    frames = 1 + (samples.shape[0] - 400) // 160
    if frames < SHORTEST:
        raise InputError(f"{samples.shape[0] / 16000:.3f} s of sound; at least {(SHORTEST - 1) / 100 + 0.025} s needed")
    count = -(-frames // WINDOW)
    bounds = [frames * number // count for number in range(count + 1)]
    return [(first * 160, (last - first - 1) * 160 + 400) for first, last in itertools.pairwise(bounds)]


def _network(config: dict[str, Any], path: Path) -> Ecapa:
    try:
        return Ecapa(**{**config, "dilations": tuple(config.get("dilations", (2, 3, 4)))})
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: its config {config} makes no network ({error})") from error
