"""Vocoders: ``load`` makes one from a short name or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechssl import checkpoints
from speechssl.checkpoints import PACKAGED, kinds
from speechssl.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from speechssl.signals import Vocoder

__all__ = ["NAMES", "load"]

TINY = PACKAGED / "tiny" / "vocoder.safetensors"

NAMES = ("tiny", "world", "knn-vc-prematched", "knn-vc")


@kinds.checked
def load(
    name_or_path: str | Path, *, origin: str | None = None, device: str = "auto", sha256: str | None = None
) -> Vocoder:
    """A vocoder.

    Args:
        name_or_path: one of ``NAMES`` (the kNN-VC ones are fetched once, 66 MB), one of our ``.safetensors``, or a
            ``.pt`` in kNN-VC's layout.
        origin: of the features that a ``.pt`` was trained on, which such a file does not name; None for kNN-VC's own.
        device: ``auto`` (CUDA, else Apple's GPU, else CPU), ``cpu``, ``cuda`` or ``mps``.
        sha256: checksum that a fetched file must have, instead of the pinned one.
    Returns:
        The vocoder; ``origin`` names the features that it takes.
    Raises:
        InputError: an unknown name or device.
        CheckpointError: a file that is missing, damaged, of another kind, or not available offline.

    Example:
        >>> import speechssl
        >>> speechssl.load_vocoder("tiny").sample_rate
        16000
    """
    wanted, path = str(name_or_path), Path(name_or_path)
    if wanted == "world":
        from speechssl.vocoders.world import WorldVocoder

        return WorldVocoder()
    if wanted == "tiny":
        return _own(TINY, device)
    # torch takes seconds to import
    from speechssl.vocoders import hifigan

    if wanted in hifigan.PUBLISHED:
        return hifigan.fetch_published(wanted, sha256=sha256, device=device)
    if path.suffix == ".safetensors":
        return _own(path, device)
    if path.suffix in (".pt", ".pth"):
        return hifigan.load_published(path, origin=origin or hifigan.KNN_VC_ORIGIN, device=device)
    raise InputError(f"no vocoder {wanted!r}: give one of {', '.join(NAMES)}, or an existing .safetensors or .pt file")


def _own(path: Path, device: str) -> Vocoder:
    """A vocoder in a file of this package; the header names its family."""
    from speechssl.vocoders import hifigan, source_filter

    header = checkpoints.peek(path)
    family = header.get("family")
    if header["kind"] == "vocoder" and family not in ("hifigan", source_filter.FAMILY):
        raise CheckpointError(
            f"{path} is a vocoder of family {family!r}; update speechssl, it reads hifigan and {source_filter.FAMILY}"
        )
    return (
        source_filter.load(path, device=device) if family == source_filter.FAMILY else hifigan.load(path, device=device)
    )
