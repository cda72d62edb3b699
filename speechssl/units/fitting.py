"""Fit a codebook of any family to features that come in chunks."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechssl.errors import InputError
from speechssl.units.codebook import Codebook, encoder_fingerprint, greedy, refine
from speechssl.units.kmeans import CHUNK, Chunks, Settings, kmeans, reservoir

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechssl.interfaces import Encoder

ROUNDS = 8  # of an mvq fit: codes given centroids, then centroids given codes
RIDGE = 1e-3  # frames' worth of pull towards zero that keeps unused centroids of an mvq finite


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
            codebooks whose centroids add up, fitted together by least squares.
        levels: Q; 1 for ``kmeans``.
        encoder: fingerprint of the encoder's weights.
        settings: of k-means.
        data: what the codebook says of its data.
    Raises:
        InputError: fewer than k different frames, an unknown family, or levels that do not go with it.
    Source: rvq: Juang and Gray 1982. mvq: the additive codebooks of multi-codebook vector quantisation (Guo et al.
        2022, arXiv:2211.00508), here fitted by alternating least squares instead of a trained classifier.
    """
    if family == "kmeans" and levels != 1:
        raise InputError(f"kmeans with {levels} levels; 1 needed, or another family (rvq, mvq)")
    if levels < 1 or family not in ("kmeans", "rvq", "mvq"):
        raise InputError(f"codebook family {family!r} with {levels} levels; kmeans, rvq or mvq with at least 1 needed")
    build = _additive if family == "mvq" else _residual
    centroids, facts = build(chunks, k, levels, settings)
    return Codebook(
        centroids=centroids,
        features=features,
        frame_rate=frame_rate,
        family=family,
        encoder=encoder,
        facts={"seed": settings.seed, "fit": {**dataclasses.asdict(settings), **facts}, "data": data or {}},
    )


def fit_encoder(
    encoder: Encoder,
    files: Sequence[str | Path],
    k: int,
    *,
    spool: str | Path | None = None,
    family: str = "kmeans",
    levels: int = 1,
    settings: Settings = Settings(),  # noqa: B008  frozen
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
    Raises:
        InputError: no recording could be used.
    """
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
            data=data,
        )


@contextlib.contextmanager
def spooled(
    encoder: Encoder, files: Sequence[str | Path], folder: str | Path | None = None
) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
    """Features (N, D) of all the files, mapped from a temporary file that goes with the context, and what went in."""
    left_out: list[str] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".speechssl-") as scratch:
        path = Path(scratch) / "frames"
        with path.open("wb") as file:
            for one in files:
                try:
                    _append(file, encoder, one)
                except InputError as error:
                    left_out.append(f"{Path(one).name}: {error}")
        num_frames = path.stat().st_size // (4 * encoder.dim)
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
        frames = np.memmap(path, np.float32, "r", shape=(num_frames, encoder.dim))
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
    from speechssl import audio

    stream = getattr(encoder, "stream", None)
    if stream is None:
        yield encoder.encode(audio.read_mono(recording, encoder.sample_rate)).frames.float().numpy()
        return
    for piece in stream(lambda: audio.stream(recording, encoder.sample_rate, 10.0)):
        yield piece.numpy()


def _residual(chunks: Chunks, k: int, levels: int, settings: Settings) -> tuple[NDArray[np.float32], dict[str, Any]]:
    from speechssl.units.assign import nearest

    done: list[NDArray[np.float32]] = []
    facts: dict[str, Any] = {"inertia": [], "passes": [], "reseeded": []}

    def left_over() -> Iterator[NDArray[np.float32]]:
        for chunk in chunks():
            for centroids in done:
                chunk = chunk - centroids[nearest(chunk, centroids)]
            yield chunk

    for level in range(levels):
        found = kmeans(left_over, k, dataclasses.replace(settings, seed=settings.seed + level))
        done.append(found.centroids)
        facts["inertia"].append(found.inertia)
        facts["passes"].append(found.passes)
        facts["reseeded"].append(found.reseeded)
    return np.stack(done), {**facts, "frames": found.num_frames}


def _additive(chunks: Chunks, k: int, levels: int, settings: Settings) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Alternating least squares on the reservoir, from a residual start."""
    sample = reservoir(chunks(), settings.reservoir, np.random.default_rng(settings.seed))
    centroids, _ = _residual(lambda: [sample], k, levels, dataclasses.replace(settings, passes=5))
    codes = greedy(sample, centroids)
    inertia: list[float] = []
    for _ in range(ROUNDS):
        codes = refine(sample, codes, centroids)
        centroids = _least_squares(sample, codes, centroids)
        inertia.append(_error(sample, codes, centroids))
    return centroids, {"inertia": inertia, "frames": len(sample)}


def _least_squares(
    sample: NDArray[np.float32], codes: NDArray[np.int64], centroids: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Centroids that minimise the squared error of the codes, with a little pull towards where they are."""
    from scipy.sparse import csr_matrix

    levels, k, dim = centroids.shape
    columns = (codes + k * np.arange(levels)).ravel()
    rows = np.repeat(np.arange(len(sample)), levels)
    design = csr_matrix((np.ones(len(columns)), (rows, columns)), (len(sample), levels * k))
    flat = centroids.reshape(-1, dim).astype(np.float64)
    gram = (design.T @ design).toarray() + RIDGE * np.eye(levels * k)
    solved = np.linalg.solve(gram, design.T @ sample.astype(np.float64) + RIDGE * flat)
    return solved.reshape(centroids.shape).astype(np.float32)


def _error(sample: NDArray[np.float32], codes: NDArray[np.int64], centroids: NDArray[np.float32]) -> float:
    total = sample.astype(np.float64)
    for level, book in enumerate(centroids):
        total -= book[codes[:, level]]
    return float(np.square(total).sum(axis=1).mean())
