"""Published codebooks: arrays only. What a file would execute when it is loaded is never run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechssl.errors import CheckpointError, InputError
from speechssl.units.addresses import local_copy
from speechssl.units.codebooks.codebook import LARGEST, Codebook

# fairseq, textless and minimal_hubert publish joblib pickles of scikit-learn's k-means
CONVERT = (
    "it is a Python pickle, which can run code; convert it once, where you trust it, with the program that made it: "
    'python -c "import joblib, numpy, sys; numpy.save(sys.argv[2], joblib.load(sys.argv[1]).cluster_centers_)" '
    "{name} centroids.npy, and import centroids.npy"
)
KEYS = ("centroids", "cluster_centers_", "cluster_centers", "codebook", "C")


def read_centroids(path: str | Path, key: str = "") -> NDArray[np.float32]:
    """Centroids (Q, K, D) from ``.npy``, ``.npz`` or ``.safetensors``.

    Args:
        path: the file.
        key: array in it; empty for the only one, or one of ``KEYS``; ``C`` is fairseq's, (D, K), and is turned.
    Raises:
        CheckpointError: missing, damaged, a pickle, objects instead of numbers, or of another shape.
        InputError: several arrays, and none of them known.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give the file of a codebook")
    arrays = _arrays(path)
    name = key or (next(iter(arrays)) if len(arrays) == 1 else next((k for k in KEYS if k in arrays), ""))
    if name not in arrays:
        raise InputError(f"{path} holds the arrays {', '.join(arrays)}; say which with --key")
    found = arrays[name]
    if found.dtype.kind not in "fiu" or found.ndim not in (2, 3):
        raise CheckpointError(f"{path}: {name} is {found.dtype} {found.shape}; numbers (K, D) or (Q, K, D) needed")
    turned = found.T if name == "C" and found.ndim == 2 else found
    return np.ascontiguousarray(turned if turned.ndim == 3 else turned[None], np.float32)


def import_codebook(
    path: str | Path,
    *,
    features: str,
    frame_rate: float = 50.0,
    family: str = "",
    key: str = "",
    licence: str = "",
) -> Codebook:
    """A codebook of ours from published centroids.

    Args:
        path: see ``read_centroids``; or an address, such as ``hf://OWNER/NAME/centroids.safetensors`` on the hub.
        features: origin of the features it was fitted on, e.g. ``"hubert-base/6"``; the file does not say.
        frame_rate: Hz of these features.
        family: ``kmeans`` or ``rvq``; by the number of levels if empty.
        key: see ``read_centroids``.
        licence: of the centroids.
    Raises:
        CheckpointError: as ``read_centroids``.
        InputError: as ``read_centroids``; NaN; or an address that cannot be read.
    """
    with local_copy(str(path)) as file:
        centroids = read_centroids(file, key)
    chosen = family or ("kmeans" if len(centroids) == 1 else "rvq")
    facts = {"imported": Path(path).name, "licence": licence}
    return Codebook(centroids, features, frame_rate, chosen, facts=facts)


def _unpacked(path: Path) -> int:
    """Bytes of a zip's files; reading one gives no more than it announces."""
    with zipfile.ZipFile(path) as archive:
        return sum(one.file_size for one in archive.infolist())


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        start = file.read(8)
    try:
        if path.stat().st_size > LARGEST or (start.startswith(b"PK") and _unpacked(path) > LARGEST):
            raise ValueError(f"more than {LARGEST >> 20} MB")
        if start.startswith(b"\x93NUMPY"):
            return {"array": np.load(path, allow_pickle=False)}
        if start.startswith(b"PK"):
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
    # numpy and safetensors raise errors of many kinds on damaged files
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as arrays ({error}); get it again from its publisher") from error
    if start[:1] == b"\x80" or path.suffix in (".bin", ".pkl", ".joblib", ".pt", ".km"):
        raise CheckpointError(f"{path} is not read: {CONVERT.format(name=path.name)}")
    raise CheckpointError(f"{path} is none of .npy, .npz and .safetensors; save its centroids as one of them")
