"""A codebook: centroids, what they were made from, and the frames' nearest ones. One safetensors file each.

``kmeans`` has one level of K centroids. ``rvq`` (residual vector quantisation) has Q levels, each of which quantises
what the ones before left over. ``mvq`` has Q codebooks on an equal footing whose chosen centroids add up to the frame.
``syllable`` quantises the means of segments of variable length; every frame of a segment gets the segment's unit.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl import checkpoints
from speechssl.audio import given
from speechssl.checkpoints import PACKAGED, kinds, names
from speechssl.encoders.fingerprints import of_encoder as encoder_fingerprint
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Encoder, Features, Units, check_same_origin
from speechssl.units import runs
from speechssl.units.codebooks import multicodebook
from speechssl.units.codebooks.syllables import Segmentation, Segmenter

KIND = "codebook"
LARGEST = 1 << 30  # bytes; 8 levels of 16384 centroids of 1024 numbers have half of it
FAMILIES = {"kmeans": "km", "rvq": "rvq", "mvq": "mvq", "syllable": "syl"}
SINGLE = ("kmeans", "syllable")  # families of one level


@dataclass(frozen=True, eq=False)
class Codebook:
    """Centroids over the features of one encoder.

    Args:
        centroids: (Q, K, D) float32, finite; Q = 1 for ``kmeans`` and ``syllable``.
        features: origin of the features, e.g. ``"tiny/5"``.
        frame_rate: of the features, Hz.
        family: ``kmeans``, ``rvq``, ``mvq`` or ``syllable``.
        encoder: fingerprint of the encoder's weights (``encoder_fingerprint``); empty if unknown.
        facts: JSON-able: data summary, seed, how it was fitted, licence.
        predictor: (Q, K, D + 1) float32, where the search for the codes of an ``mvq`` starts; see ``multicodebook``.
        segmentation: how a ``syllable`` codebook cuts its frames; None for the others.
    Raises:
        InputError: parts that do not belong together.
    """

    centroids: NDArray[np.float32]
    features: str
    frame_rate: float
    family: str = "kmeans"
    encoder: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    predictor: NDArray[np.float32] | None = None
    segmentation: Segmentation | None = None

    def __post_init__(self) -> None:
        shape, kind = self.centroids.shape, self.centroids.dtype
        if len(shape) != 3 or 0 in shape or kind != np.float32:
            raise InputError(f"centroids have shape {shape} and type {kind}; (Q, K, D) float32, nothing empty, needed")
        if self.family not in FAMILIES:
            raise InputError(f"codebook family {self.family!r}; one of {', '.join(FAMILIES)} needed")
        if self.family in SINGLE and shape[0] != 1:
            raise InputError(f"a {self.family} codebook with {shape[0]} levels; 1 needed")
        self._check_parts((*shape[:2], shape[2] + 1))
        if not np.isfinite(self.centroids).all():
            raise InputError("centroids hold NaN or infinite values")
        if not self.frame_rate > 0 or not self.features:
            raise InputError("a codebook without frame rate or origin of its features")

    def _check_parts(self, wanted: tuple[int, ...]) -> None:
        if self.predictor is not None and (self.family != "mvq" or self.predictor.shape != wanted):
            raise InputError(f"a {self.family} codebook with a predictor {self.predictor.shape}; only mvq, {wanted}")
        if (self.segmentation is not None) != (self.family == "syllable"):
            raise InputError("a syllable codebook needs a segmentation, others have none")
        if self.segmentation is not None and self.segmentation.centre.shape != (self.dim,):
            raise InputError(f"the segmentation is of {self.segmentation.centre.shape}, the centroids of {self.dim}")

    def __repr__(self) -> str:
        return f"Codebook({self.origin})"

    @property
    def num_levels(self) -> int:
        """Codes per frame, Q."""
        return int(self.centroids.shape[0])

    @property
    def num_units(self) -> int:
        """Centroids of a level, K."""
        return int(self.centroids.shape[1])

    @property
    def dim(self) -> int:
        """Numbers per frame, D."""
        return int(self.centroids.shape[2])

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the centroids, their family and origin; the file's name does not matter."""
        facts = f"{self.family}\n{self.features}\n{self.frame_rate}\n{self.encoder}\n{self.centroids.shape}\n"
        digest = hashlib.sha256(facts.encode() + np.ascontiguousarray(self.centroids).tobytes())
        if self.predictor is not None:
            digest.update(np.ascontiguousarray(self.predictor).tobytes())
        if self.segmentation is not None:
            digest.update(f"{self.segmentation.threshold} {self.segmentation.longest}\n".encode())
            digest.update(self.segmentation.centre.tobytes())
        return digest.hexdigest()[:16]

    @property
    def origin(self) -> str:
        """Of the units it makes: ``"tiny/5/km500-0123abcd"``; the digits tell two codebooks of one size apart."""
        levels = "" if self.family in SINGLE else f"{self.num_levels}x"
        return f"{self.features}/{FAMILIES[self.family]}{levels}{self.num_units}-{self.fingerprint[:8]}"

    @kinds.checked
    def codes(self, features: Features) -> NDArray[np.int64]:
        """Codes (N, Q) of every frame, each a pure function of that frame; of all frames for ``syllable``.

        Raises:
            InputError: features of another origin, width or frame rate.
        """
        check_same_origin(features.origin, self.features, what="quantise these features with this codebook")
        if features.dim != self.dim or features.frame_rate != self.frame_rate:
            raise InputError(
                f"features of {features.dim} numbers at {features.frame_rate} Hz; the codebook is of {self.dim} "
                f"numbers at {self.frame_rate} Hz"
            )
        return self.codes_of(features.frames.detach().cpu().float().numpy())

    def codes_of(self, frames: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes (N, Q) of bare frames (N, D) float32 of one recording, whose origin the caller has checked."""
        if self.segmentation is not None:
            quantiser = self.quantiser()
            return np.concatenate([quantiser.push(frames), quantiser.finish()])
        if self.family != "mvq":
            return multicodebook.greedy(frames, self.centroids)
        guess = multicodebook.greedy if self.predictor is None else multicodebook.predict
        start = guess(frames, self.centroids if self.predictor is None else self.predictor)
        return self._search.refine(frames, start)

    @functools.cached_property
    def _search(self) -> multicodebook.Search:
        return multicodebook.Search(self.centroids)

    def quantiser(self) -> Quantiser:
        """For a recording that comes in pieces: the codes are those of the whole."""
        return Quantiser(self)

    @kinds.checked
    def assign(self, features: Features) -> Units:
        """Units with run lengths; for codebooks of one level.

        Raises:
            InputError: as ``codes``; or a codebook of several levels, whose codes are rows.
        """
        if self.num_levels > 1:
            raise InputError(f"{self.origin} has {self.num_levels} codes a frame, not one unit; use codes()")
        ids, durations = runs.collapse(self.codes(features)[:, 0])
        return Units(torch.from_numpy(ids), torch.from_numpy(durations), self.frame_rate, self.origin)

    def reconstruct(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Frames (N, D) float32 that codes (N, Q) stand for: the sum of their centroids.

        Raises:
            InputError: another number of levels, or a code that does not exist.
        """
        if codes.ndim != 2 or codes.shape[1] != self.num_levels:
            raise InputError(f"codes have shape {codes.shape}; (N, {self.num_levels}) needed for {self.origin}")
        if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < self.num_units:
            raise InputError(f"codes from {codes.min()} to {codes.max()}; {self.origin} has 0 to {self.num_units - 1}")
        return multicodebook.total(self.centroids, codes)

    def check_encoder(self, encoder: Encoder) -> None:
        """Refuse an encoder the codebook was not fitted on.

        Raises:
            InputError: another origin, or the same name with other weights.
        """
        check_same_origin(encoder.origin, self.features, what="use this codebook with this encoder")
        found = encoder_fingerprint(encoder)
        if self.encoder and found and found != self.encoder:
            raise InputError(
                f"the codebook was fitted on {self.features!r} with weights {self.encoder}, but this "
                f"{encoder.origin!r} has weights {found}; use the encoder it was fitted on, or fit another codebook"
            )

    def save(self, path: str | Path) -> Path:
        """Write it as one safetensors file.

        Raises:
            CheckpointError: a full disk or an unwritable place.
        """
        header = {
            "kind": KIND,
            "family": self.family,
            "origin": self.features,
            "frame_rate": self.frame_rate,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            "facts": dict(self.facts),
        }
        tensors = {"centroids": torch.from_numpy(self.centroids)}
        if self.predictor is not None:
            tensors["predictor"] = torch.from_numpy(self.predictor)
        if self.segmentation is not None:
            tensors["centre"] = torch.from_numpy(self.segmentation.centre)
            header |= {"threshold": self.segmentation.threshold, "longest": self.segmentation.longest}
        return checkpoints.save(path, tensors, header)

    def with_facts(self, **facts: Any) -> Codebook:
        """The same codebook with more said about it; its fingerprint stays."""
        return dataclasses.replace(self, facts={**self.facts, **facts})


class Quantiser:
    """Codes of a recording that comes in pieces.

    Args:
        codebook: of any family.
    """

    def __init__(self, codebook: Codebook) -> None:
        self._codebook = codebook
        cut = codebook.segmentation
        self._segmenter = Segmenter(cut, codebook.centroids[0]) if cut is not None else None

    def push(self, frames: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes (M, Q) that are certain after frames (N, D); M differs from N where segments are cut."""
        if self._segmenter is None:
            return self._codebook.codes_of(frames)
        return self._segmenter.push(frames)[:, None]

    def finish(self) -> NDArray[np.int64]:
        """The codes that are left when the recording ends."""
        if self._segmenter is None:
            return np.zeros((0, self._codebook.num_levels), np.int64)
        return self._segmenter.finish()[:, None]


@kinds.checked
def load(name_or_path: str | Path) -> Codebook:
    """A codebook from its file, or one that ships with the package.

    Args:
        name_or_path: such as ``"tiny/500"``, or a file.
    Returns:
        The codebook; ``features`` names the encoder and layer that it belongs to.
    Raises:
        InputError: neither a name nor a path.
        CheckpointError: missing, damaged or not a codebook.

    Example:
        >>> import speechssl
        >>> book = speechssl.load_codebook("tiny/100")
        >>> book.num_units, book.features
        (100, 'tiny/4')
    """
    path = find(given.path(name_or_path, "the codebook"))
    if path.is_file() and path.stat().st_size > LARGEST:
        raise CheckpointError(f"{path} has {path.stat().st_size >> 20} MB; a codebook has {LARGEST >> 20} at most")
    checkpoint = checkpoints.load(path, kind=KIND)
    header = checkpoint.header
    try:
        book = Codebook(
            centroids=checkpoint.tensors["centroids"].numpy().copy(),
            features=names.text_field(header["origin"], "origin"),
            frame_rate=float(header["frame_rate"]),
            family=names.text_field(header["family"], "family"),
            encoder=names.text_field(header["encoder"], "encoder", empty=True),
            facts=dict(header["facts"]),
            predictor=checkpoint.tensors["predictor"].numpy().copy() if "predictor" in checkpoint.tensors else None,
            segmentation=_segmentation(checkpoint) if header["family"] == "syllable" else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a usable codebook ({error}); fit or import it again") from error
    if book.fingerprint != header["fingerprint"]:
        raise CheckpointError(f"{path}: its centroids are not the ones its header names; use a fresh copy")
    return book


def _segmentation(checkpoint: checkpoints.Checkpoint) -> Segmentation:
    header = checkpoint.header
    centre = checkpoint.tensors["centre"].numpy().copy()
    return Segmentation(centre, float(header["threshold"]), int(header["longest"]))


def find(name_or_path: str | Path) -> Path:
    """The file a name stands for: ``"tiny/500"`` is in the package, anything else is a path.

    Raises:
        CheckpointError: there is neither; the message names the codebooks that ship.
    """
    name, _, size = str(name_or_path).partition("/")
    packaged = PACKAGED / name / f"codebook-{size}.safetensors"
    if packaged.is_file():
        return packaged
    path = Path(name_or_path)
    if not path.exists():
        shipped = sorted(f"{p.parent.name}/{p.stem.removeprefix('codebook-')}" for p in PACKAGED.glob("*/codebook-*"))
        raise CheckpointError(
            f"no codebook {str(name_or_path)!r}: it is neither a file nor one of the package "
            f"({', '.join(shipped) or 'which has none'}); make one with `speechssl units fit`"
        )
    return path
