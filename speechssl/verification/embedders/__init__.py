"""Speaker embedders: ``load`` makes any of them from a short name, a hub id, a folder or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechssl import checkpoints
from speechssl.checkpoints import PACKAGED, choose_device, kinds
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.signals import Embedder

__all__ = ["NAMES", "load"]

NAMES = {
    "ecapa": "speechbrain/spkrec-ecapa-voxceleb",
    "wavlm-sv": "microsoft/wavlm-base-plus-sv",
}

TINY = PACKAGED / "tiny" / "speaker.safetensors"


@kinds.checked
def load(name_or_path: str | Path = "tiny", *, device: str = "auto") -> Embedder:
    """A speaker embedder.

    Args:
        name_or_path: ``"tiny"`` (in the package), one of our ``.safetensors``, a short name of ``NAMES``, a hub id, or
            a folder: with ``embedding_model.ckpt`` it is speechbrain's ECAPA-TDNN, with ``config.json`` transformers'.
        device: for ``checkpoints.choose_device``; ``"auto"`` takes a GPU if there is one.
    Returns:
        The embedder, for ``embed``, ``enrol``, ``identify`` and ``verify``.
    Raises:
        InputError: an empty name or a file of another type.
        CheckpointError: what the name leads to is missing, damaged or no speaker embedder.

    Example:
        >>> import speechssl
        >>> speechssl.load_embedder("tiny").sample_rate
        16000
    """
    if not str(name_or_path):
        raise InputError("no embedder named; give 'tiny', a hub id, a folder or a .safetensors file")
    place = str(choose_device(device))
    if name_or_path == "tiny" or str(name_or_path).endswith(".safetensors"):
        from speechssl.verification.embedders import log_mel, ssl

        path = TINY if name_or_path == "tiny" else Path(name_or_path)
        if path.is_file() and checkpoints.peek(path).get("family") == "ssl":
            return ssl.read(path, device=place)
        return log_mel.read(path, device=place)
    target = NAMES.get(str(name_or_path), str(name_or_path))
    if Path(target).is_file():
        raise InputError(f"{target} is a file, but not .safetensors; give the folder it lies in, or a hub id")
    if "ecapa" in target.lower() or (Path(target) / "embedding_model.ckpt").exists():
        from speechssl.verification.embedders import published_ecapa

        return published_ecapa.read(target, device=place)
    from speechssl.verification.embedders import published_xvector

    return published_xvector.read(target, device=place)
