"""Centroids of others: arrays in, pickles refused with the way out."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from speechssl.errors import CheckpointError, InputError
from speechssl.units.codebooks.importing import import_codebook, read_centroids


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_arrays_of_every_kind(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    x = np.random.default_rng(0).normal(size=(5, 3))
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "b.npz", cluster_centers_=x, labels=np.arange(9))
    np.savez(tmp_path / "c.npz", C=x.T, Cnorm=np.ones((1, 5)))
    save_file({"centroids": x.astype(np.float32)}, tmp_path / "d.safetensors")
    for name in ("a.npy", "b.npz", "c.npz", "d.safetensors"):
        book = import_codebook(tmp_path / name, features="hubert-base/6")
        assert np.array_equal(book.centroids[0], x.astype(np.float32)), name
        assert book.origin.startswith("hubert-base/6/km5-")


def test_pickles_are_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "km.bin").write_bytes(pickle.dumps(Trap(ran)))
    np.save(tmp_path / "objects.npy", np.array([Trap(ran)], dtype=object), allow_pickle=True)
    for name, message in (("km.bin", r"joblib\.load"), ("objects.npy", "cannot be read as arrays")):
        with pytest.raises(CheckpointError, match=message):
            read_centroids(tmp_path / name)
    assert not ran.exists()


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", x=np.ones((2, 2)), y=np.ones((2, 2)))
    with pytest.raises(InputError, match="x, y"):
        read_centroids(tmp_path / "two.npz")
    assert read_centroids(tmp_path / "two.npz", "y").shape == (1, 2, 2)
    np.save(tmp_path / "flat.npy", np.ones(4))
    with pytest.raises(CheckpointError, match=r"\(4,\)"):
        read_centroids(tmp_path / "flat.npy")
    (tmp_path / "sound.wav").write_bytes(b"RIFF and so on")
    with pytest.raises(CheckpointError, match=r"none of \.npy, \.npz and \.safetensors; save"):
        read_centroids(tmp_path / "sound.wav")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_centroids(tmp_path / "none.npy")


def test_an_address_is_fetched(tmp_path: Path) -> None:
    centroids = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    np.savez(tmp_path / "c.npz", centroids=centroids)
    book = import_codebook(f"file://{tmp_path}/c.npz", features="x/1")
    assert np.array_equal(book.centroids[0], centroids)
    assert book.facts["imported"] == "c.npz"
    with pytest.raises(InputError, match=r"gone\.npz"):
        import_codebook(f"file://{tmp_path}/gone.npz", features="x/1")
