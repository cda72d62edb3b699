"""Encodings of recordings, kept by content and origin: a run that was stopped goes on, and the next run is quick."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from speechssl import audio, checkpoints
from speechssl.encoders import fingerprints
from speechssl.errors import InputError
from speechssl.signals import Waveform

if TYPE_CHECKING:
    from speechssl.encoders.encoder import SSLEncoder

Layers = list[NDArray[np.float32]]
CACHE = "probe-encodings"  # in the cache folder
SILENCE = 1e-4  # a recording without a sample above -80 dBFS is silent


def chosen_layers(wanted: str, num_layers: int) -> list[int]:
    """Numbers of layers: ``all``, or numbers and ranges with commas, such as ``0,4-6``.

    Raises:
        InputError: no such layer, or something else.
    """
    if wanted == "all":
        return list(range(num_layers + 1))
    found: list[int] = []
    for part in wanted.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"--layers {wanted}: all, or numbers and ranges such as 0,4-6 needed")
        found += range(int(first), int(last or first) + 1)
    if not found or max(found) > num_layers:
        raise InputError(f"--layers {wanted}: the encoder has layers 0 to {num_layers}; choose among them")
    return sorted(set(found))


def mean_and_deviation(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean and standard deviation over time: (N, D) to (2 D,)."""
    return np.concatenate([frames.mean(0), frames.std(0)])


def frames_of(frames: NDArray[np.float32]) -> NDArray[np.float16]:
    """Frames as they are kept, in half precision."""
    return frames.astype(np.float16)


def encode_all(
    files: Iterable[str],
    encoder: SSLEncoder,
    layers: Sequence[int],
    *,
    keep: Callable[[NDArray[np.float32]], NDArray[Any]] = mean_and_deviation,
    seconds: float | None = None,
    cache: Path | None = None,
    advance: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Layers], dict[str, str]]:
    """What is kept of every chosen layer of every recording, and why other recordings were left out.

    Args:
        files: recordings.
        encoder: its ``layer`` is at least the highest of ``layers``.
        layers: numbers of layers.
        keep: what is kept of the frames (N, D) of one layer.
        seconds: encoded from the beginning of each; None for all.
        cache: folder; None for the one below the package's cache folder.
        advance: called with each file when it is done.
    Raises:
        InputError: no recording can be used.
    """
    kept: dict[str, Layers] = {}
    left_out: dict[str, str] = {}
    place = (cache or checkpoints.cache_dir() / CACHE) / _key(encoder, layers, keep.__name__, seconds)
    for file in dict.fromkeys(files):
        try:
            kept[file] = _one(Path(file), encoder, layers, keep, seconds, place)
        except InputError as error:
            left_out[file] = str(error)
        advance(file)
    if not kept:
        raise InputError(
            f"none of {len(left_out)} recordings can be used: {next(iter(left_out.values()), 'none given')}"
        )
    return kept, left_out


def _key(encoder: SSLEncoder, layers: Sequence[int], keep: str, seconds: float | None) -> str:
    origins = [encoder.origins[number] for number in layers]
    text = repr((origins, fingerprints.remembered(encoder), keep, seconds))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _one(
    path: Path,
    encoder: SSLEncoder,
    layers: Sequence[int],
    keep: Callable[[NDArray[np.float32]], NDArray[Any]],
    seconds: float | None,
    place: Path,
) -> Layers:
    # what is missing or no file is told by the reading below
    target = place / f"{checkpoints.sha256_of(path) if path.is_file() else 'none'}.safetensors"
    if target.exists():
        try:
            held = safetensors.numpy.load(target.read_bytes())
            return [held[str(number)].astype(np.float32) for number in layers]
        except (safetensors.SafetensorError, KeyError):
            target.unlink(missing_ok=True)  # damaged: encoded anew
    waveform = audio.read(path)
    if seconds is not None:
        end = max(1, round(seconds * waveform.sample_rate))
        waveform = Waveform(waveform.samples[:end].clone(), waveform.sample_rate)
    if float(waveform.samples.abs().max()) < SILENCE:
        heard = "" if seconds is None else f" in its first {seconds:g} s"
        raise InputError(f"{path} is silent{heard}; leave it out, or record it again")
    try:
        found = encoder.layers(waveform)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    parts = {str(number): keep(found[number].frames.numpy()) for number in layers}
    with checkpoints.atomic_path(target) as temporary:
        temporary.write_bytes(safetensors.numpy.save(parts))
    return [part.astype(np.float32) for part in parts.values()]
