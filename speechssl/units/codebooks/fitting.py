"""Fit a codebook of any family to features that come in chunks."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechssl import audio
from speechssl.encoders.fingerprints import of_encoder as encoder_fingerprint
from speechssl.errors import InputError
from speechssl.signals import Encoder
from speechssl.units.codebooks import syllables
from speechssl.units.codebooks.codebook import FAMILIES, SINGLE, Codebook
from speechssl.units.codebooks.kmeans import CHUNK, Chunks, Settings
from speechssl.units.codebooks.multicodebook import fit_additive, fit_residual

SYLLABLES = 5.0  # segments a second: what people speak, and in the middle of the published rates of 4 to 8
CALIBRATION = 50_000  # frames the threshold is found on, more than 16 minutes


def fit(
    chunks: Chunks,
    k: int,
    *,
    features: str,
    frame_rate: float,
    family: str = "kmeans",
    levels: int = 1,
    encoder: str = "",
    settings: Settings = Settings(),  # noqa: B008  frozen
    rate: float = SYLLABLES,
    data: dict[str, Any] | None = None,
) -> Codebook:
    """Fit a codebook.

    Args:
        chunks: called once per pass over the frames; gives (n, D) float32 arrays. Nothing but the reservoir and one
            chunk is held.
        k: centroids of each level.
        features: origin of the frames.
        frame_rate: Hz.
        family: ``kmeans``; ``rvq``: ``levels`` of k-means, each on what the ones before left; ``mvq``: ``levels``
            codebooks whose centroids add up and whose codes a linear classifier predicts; ``syllable``: k-means of the
            means of segments, for which the chunks must be in the order of time.
        levels: Q; 1 for ``kmeans`` and ``syllable``.
        encoder: fingerprint of the encoder's weights.
        settings: of k-means.
        rate: segments a second, for ``syllable``.
        data: what the codebook says of its data.
    Raises:
        InputError: fewer than k different frames, an unknown family, or levels that do not go with it.
    Source: rvq: Juang and Gray 1982. mvq: ``multicodebook``. syllable: ``syllables``.
    """
    check(k, family, levels)
    parts: dict[str, Any] = {}
    if family == "mvq":
        centroids, parts["predictor"], facts = fit_additive(chunks, k, levels, settings)
    elif family == "syllable":
        parts["segmentation"] = _segmentation(chunks, rate, frame_rate)
        centroids, facts = fit_residual(_segment_means(chunks, parts["segmentation"]), k, 1, settings)
        facts |= {"segments": facts.pop("frames"), "threshold": parts["segmentation"].threshold}
    else:
        centroids, facts = fit_residual(chunks, k, levels, settings)
    return Codebook(
        centroids=centroids,
        features=features,
        frame_rate=frame_rate,
        family=family,
        encoder=encoder,
        facts={"seed": settings.seed, "fit": {**dataclasses.asdict(settings), **facts}, "data": data or {}},
        **parts,
    )


def check(k: int, family: str, levels: int) -> None:
    """Refuse what no frames could be fitted to, before any are made.

    Raises:
        InputError: no centroid, an unknown family, or levels that do not go with it.
    """
    if k < 1:
        raise InputError(f"k is {k}; at least 1 centroid needed")
    if family not in FAMILIES:
        raise InputError(f"kind is {family!r}; one of {', '.join(FAMILIES)} needed")
    if family in SINGLE and levels != 1:
        raise InputError(f"levels is {levels}; {family} needs 1, or give another kind (rvq, mvq)")
    if levels < 1:
        raise InputError(f"levels is {levels}; at least 1 needed")


def fit_encoder(
    encoder: Encoder,
    files: Sequence[str | Path],
    k: int,
    *,
    spool: str | Path | None = None,
    family: str = "kmeans",
    levels: int = 1,
    settings: Settings = Settings(),  # noqa: B008  frozen
    rate: float = SYLLABLES,
) -> Codebook:
    """Fit a codebook to recordings. Their features are kept in a temporary file on disk, not in memory.

    Args:
        encoder: makes the features.
        files: recordings; one that cannot be read or is too short is left out and named in the data summary.
        k: centroids of each level.
        spool: folder of the temporary file, 4 * D * 50 bytes a second of audio; None for the system's.
        family: see ``fit``.
        levels: see ``fit``.
        settings: of k-means.
        rate: see ``fit``.
    Raises:
        InputError: no recording could be used, or as ``fit``.
    """
    check(k, family, levels)
    with spooled(encoder, files, spool) as (frames, data):

        def chunks() -> Iterator[NDArray[np.float32]]:
            return (frames[start : start + CHUNK] for start in range(0, len(frames), CHUNK))

        return fit(
            chunks,
            k,
            features=encoder.origin,
            frame_rate=encoder.frame_rate,
            family=family,
            levels=levels,
            encoder=encoder_fingerprint(encoder),
            settings=settings,
            rate=rate,
            data=data,
        )


@contextlib.contextmanager
def spooled(
    encoder: Encoder, files: Sequence[str | Path], folder: str | Path | None = None
) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
    """Features (N, D) of all the files, mapped from a file without a name, and what went in.

    The file goes with the context, or with the process if that is killed.
    """
    left_out: list[str] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for one in files:
            try:
                _append(file, encoder, one)
            except InputError as error:
                left_out.append(f"{Path(one).name}: {error}")
        file.flush()
        num_frames = file.tell() // (4 * encoder.dim)
        if not num_frames:
            raise InputError(
                f"none of {len(files)} recordings could be used: {'; '.join(left_out[:3]) or 'none given'}"
            )
        data = {
            "files": len(files) - len(left_out),
            "frames": num_frames,
            "seconds": round(num_frames / encoder.frame_rate, 2),
            "left_out": left_out[:100],
        }
        frames = np.memmap(file, np.float32, "r", shape=(num_frames, encoder.dim))
        yield frames, data
        del frames


def _append(file: Any, encoder: Encoder, recording: str | Path) -> None:
    """All frames of a recording, or none."""
    place = file.tell()
    try:
        for piece in pieces(encoder, recording):
            file.write(np.ascontiguousarray(piece, np.float32).tobytes())
    except InputError:
        file.seek(place)
        file.truncate()
        raise


def pieces(encoder: Encoder, recording: str | Path) -> Iterable[NDArray[np.float32]]:
    """Features of a file in pieces (n, D): streamed where the encoder can, else in one."""
    stream = getattr(encoder, "stream", None)
    if stream is None:
        yield encoder.encode(audio.read_mono(recording, encoder.sample_rate)).frames.float().numpy()
        return
    for piece in stream(lambda: audio.stream(recording, encoder.sample_rate, 10.0)):
        yield piece.numpy()


def _segmentation(chunks: Chunks, rate: float, frame_rate: float) -> syllables.Segmentation:
    total, number, held, kept = np.zeros(1), 0, [], 0
    for chunk in chunks():
        total, number = total + chunk.sum(axis=0, dtype=np.float64), number + len(chunk)
        if kept < CALIBRATION:
            held.append(np.array(chunk[: CALIBRATION - kept]))
            kept += len(held[-1])
    if not number:
        raise InputError("no frames to cut into segments; give audio of at least one frame")
    return syllables.calibrate(held, (total / number).astype(np.float32), rate, frame_rate)


def _segment_means(chunks: Chunks, segmentation: syllables.Segmentation) -> Chunks:
    """Means of the segments of each chunk; what a chunk's border cuts in two is two segments."""

    def means() -> Iterator[NDArray[np.float32]]:
        return (syllables.means(chunk, segmentation.ends(chunk)) for chunk in chunks() if len(chunk))

    return means
