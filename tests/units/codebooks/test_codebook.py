"""Codebooks: quantising, files, and the refusal of what does not belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl import checkpoints, encoders
from speechssl.encoders.fingerprints import of_encoder
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Features
from speechssl.units.codebooks.codebook import Codebook, load
from speechssl.units.codebooks.fitting import fit
from speechssl.units.codebooks.kmeans import Settings
from speechssl.units.runs import collapse

QUICK = Settings(reservoir=2000, batch=256, batches=20, passes=8, starts=1)


def frames(n: int = 900, dim: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(20, dim))[rng.integers(20, size=n)] + 0.5 * rng.normal(size=(n, dim))).astype(np.float32)


def features(x: np.ndarray, origin: str = "small/2") -> Features:
    return Features(torch.from_numpy(x), 50.0, origin)


def fitted(family: str = "kmeans", levels: int = 1, k: int = 8) -> Codebook:
    x = frames()
    return fit(
        lambda: np.array_split(x, 4), k, features="small/2", frame_rate=50.0, family=family, levels=levels,
        settings=QUICK,
    )  # fmt: skip


@pytest.mark.parametrize(("family", "levels"), [("kmeans", 1), ("rvq", 3), ("mvq", 3), ("syllable", 1)])
def test_save_then_load_is_the_identity(tmp_path: Path, family: str, levels: int) -> None:
    book = fitted(family, levels).with_facts(licence="MIT")
    again = load(book.save(tmp_path / "book.safetensors"))
    assert np.array_equal(again.centroids, book.centroids)
    assert (again.origin, again.fingerprint, again.family) == (book.origin, book.fingerprint, family)
    assert again.facts == book.facts
    assert (again.predictor is None) == (family != "mvq")
    assert again.facts["seed"] == 0
    x = frames(seed=5)
    assert np.array_equal(again.codes(features(x)), book.codes(features(x)))


@pytest.mark.parametrize("family", ["rvq", "mvq"])
def test_more_levels_leave_less_error(family: str) -> None:
    x = frames()
    errors = []
    for levels in (1, 2, 4):
        book = fitted(family, levels)
        errors.append(float(((x - book.reconstruct(book.codes(features(x)))) ** 2).sum(1).mean()))
    assert errors[1] < 0.9 * errors[0]
    assert errors[2] < 0.9 * errors[1]


@pytest.mark.parametrize(("family", "levels"), [("kmeans", 1), ("rvq", 2), ("mvq", 3)])
def test_codes_do_not_depend_on_the_batch(family: str, levels: int) -> None:
    x, book = frames(700, seed=9), fitted(family, levels)
    whole = book.codes(features(x))
    one_by_one = np.concatenate([book.codes(features(row[None])) for row in x[:60]])
    in_pieces = np.concatenate([book.codes(features(part)) for part in np.array_split(x, 13)])
    assert np.array_equal(whole[:60], one_by_one)
    assert np.array_equal(whole, in_pieces)


def test_units_last_as_long_as_the_frames() -> None:
    x, book = frames(333), fitted()
    units = book.assign(features(x))
    assert int(units.durations.sum()) == 333
    assert np.array_equal(units.ids.repeat_interleave(units.durations).numpy(), book.codes(features(x))[:, 0])
    assert units.origin == book.origin
    assert book.origin.startswith("small/2/km8-")


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=60))
def test_collapse_then_repeat_is_the_identity(rows: list[tuple[int, int]]) -> None:
    for codes in (np.array(rows, np.int64), np.array(rows, np.int64)[:, 0]):
        kept, durations = collapse(codes)
        assert np.array_equal(np.repeat(kept, durations, axis=0), codes)
        assert (durations >= 1).all()
        changed = kept[1:] != kept[:-1]
        assert (changed if codes.ndim == 1 else changed.any(1)).all()


def test_what_finds_the_codes_is_part_of_the_fingerprint() -> None:
    mvq, syllable = fitted("mvq", 2), fitted("syllable")
    assert mvq.predictor is not None
    assert syllable.segmentation is not None
    later = replace(syllable.segmentation, longest=7)
    assert replace(mvq, predictor=mvq.predictor + 1).fingerprint != mvq.fingerprint
    assert replace(syllable, segmentation=later).fingerprint != syllable.fingerprint
    assert syllable.origin.startswith("small/2/syl8-")


def test_another_origin_is_refused_with_both_names() -> None:
    book = fitted()
    with pytest.raises(InputError, match=r"'small/1'.*'small/2'"):
        book.codes(features(frames(), "small/1"))
    with pytest.raises(InputError, match="5 numbers"):
        book.codes(features(frames(dim=5)))


def test_the_same_name_with_other_weights_is_refused(encoder_file: Path, tmp_path: Path) -> None:
    encoder = encoders.load(encoder_file)
    other = encoders.load(changed(encoder_file, tmp_path / "small.safetensors"))
    digits = of_encoder(encoder)
    assert of_encoder(encoders.load(encoder_file, precision="bfloat16")) == digits
    assert of_encoder(other) != digits
    x = frames(dim=32)
    book = fit(lambda: [x], 4, features="small/2", frame_rate=50.0, encoder=digits, settings=QUICK)
    book.check_encoder(encoder)
    with pytest.raises(InputError, match=digits):
        book.check_encoder(other)


def changed(encoder_file: Path, path: Path) -> Path:
    """The small encoder with one weight changed."""
    found = checkpoints.load(encoder_file, kind="encoder")
    tensors = {name: tensor.clone() for name, tensor in found.tensors.items()}
    next(t for n, t in tensors.items() if n.startswith("encoder.layers.0") and t.ndim == 2)[0, 0] += 1
    return checkpoints.save(path, tensors, found.header)


def test_what_is_no_codebook_is_refused(tmp_path: Path, encoder_file: Path) -> None:
    with pytest.raises(CheckpointError, match="no codebook 'nothing/500'"):
        load("nothing/500")
    with pytest.raises(CheckpointError, match="kind 'encoder'"):
        load(encoder_file)
    with pytest.raises(InputError, match="levels is 2; kmeans needs 1"):
        fitted(levels=2)
    with pytest.raises(InputError, match="levels is 2; syllable needs 1"):
        fitted("syllable", 2)
    with pytest.raises(InputError, match="kind is 'pq'; one of kmeans"):
        fitted("pq")
    with pytest.raises(InputError, match="needs a segmentation"):
        Codebook(np.zeros((1, 2, 3), np.float32), "a", 50.0, "syllable")
    with pytest.raises(InputError, match="predictor"):
        Codebook(np.zeros((1, 2, 3), np.float32), "a", 50.0, predictor=np.zeros((1, 2, 4), np.float32))
    with pytest.raises(InputError, match="NaN"):
        Codebook(np.full((1, 2, 3), np.nan, np.float32), "a", 50.0)


def test_the_codebooks_of_the_package_fit_its_encoder() -> None:
    """The digits depend on names in the code, too: who renames what holds weights makes every file strange."""
    from speechssl.conversion import bundles

    digits = of_encoder(bundles.load_bundle("tiny", device="cpu").encoder)
    assert digits
    assert {load(f"tiny/{size}").encoder for size in (100, 200, 500)} == {digits}
