"""A probe finds what is planted and nothing else, and says so with honest numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from speechssl import encoders
from speechssl.errors import InputError
from speechssl.training.probing import classify, heads, labels, pictures
from speechssl.training.rank import rank_me


def _planted(dim: int, place: int, seed: int = 0, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Normal features; of three numbers from ``place`` on, the one of the class is large."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 3, count)
    features = rng.normal(size=(count, dim)).astype(np.float32)
    features[np.arange(count), place + numbers] += 6
    return features, np.array(["a", "b", "c"])[numbers]


def test_the_linear_head_finds_what_is_planted_and_nothing_in_noise() -> None:
    features, names = _planted(20, 7)
    model, strength, inner = heads.linear(features[:60], names[:60], [""] * 60)
    assert model.score(features[60:], names[60:]) > 0.95
    assert inner > 0.9
    assert strength in heads.STRENGTHS
    noise = np.random.default_rng(1).normal(size=features.shape).astype(np.float32)
    model, _, inner = heads.linear(noise[:60], names[:60], [""] * 60)
    assert model.score(noise[60:], names[60:]) < 0.55
    assert inner < 0.6


def test_the_weighted_head_puts_its_weight_on_the_layer_that_knows() -> None:
    features, names = _planted(12, 3)
    noise = [np.random.default_rng(seed).normal(size=features.shape).astype(np.float32) for seed in (1, 2)]
    layers = [noise[0], features, noise[1]]
    answers, weights = heads.weighted([one[:60] for one in layers], names[:60], [one[60:] for one in layers], 0.1)
    assert (answers == names[60:]).mean() > 0.95
    assert sum(weights) == pytest.approx(1)
    assert max(weights) == weights[1] > 0.8


def test_one_layer_with_weights_is_scikit_learns_regression() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(3)
    features, names = _planted(6, 2)
    features += 3 * rng.normal(size=features.shape).astype(np.float32)
    scaler = StandardScaler().fit(features[:80])
    wanted = LogisticRegression(C=0.1, max_iter=1000, tol=1e-8).fit(scaler.transform(features[:80]), names[:80])
    answers, weights = heads.weighted([features[:80]], names[:80], [features[80:]], 0.1)
    assert weights == [1.0]
    assert answers.tolist() == wanted.predict(scaler.transform(features[80:])).tolist()


@pytest.mark.parametrize("contrast", heads.CONTRASTS)
def test_attentive_pooling_finds_a_class_that_a_few_frames_tell(contrast: str) -> None:
    rng = np.random.default_rng(0)
    frames, names = [], []
    for number in range(90):
        sound = rng.normal(size=(int(rng.integers(20, 40)), 8)).astype(np.float32)
        sound[rng.integers(0, len(sound) - 3) :][:3, 5] = 8.0 * (1 if number % 2 else -1)
        frames.append(sound)
        names.append("ab"[number % 2])
    answers = heads.attentive(frames[:60], np.array(names[:60]), frames[60:], contrast=contrast)
    assert (answers == np.array(names[60:])).mean() > 0.9
    again = heads.attentive(frames[:60], np.array(names[:60]), frames[60:], contrast=contrast)
    assert answers.tolist() == again.tolist()


def test_attentive_pooling_does_not_hear_padding() -> None:
    torch.manual_seed(0)
    pool, frames = heads.AttentivePooling(4), [torch.randn(5, 4), torch.randn(9, 4)]
    together = pool(*heads._padded(frames))
    alone = torch.cat([pool(*heads._padded([one])) for one in frames])
    assert torch.allclose(together, alone, atol=1e-6)


def test_a_report_says_what_was_found(planted: Callable[..., Path], encoder_file: Path, tmp_path: Path) -> None:
    recordings = labels.read([planted()], speaker=r"(s\d)-")
    beside = [(encoders.load(encoder_file), [0, 2]), (encoders.load("mfcc"), [0])]
    report = classify.classify(recordings, beside, use=classify.HEADS, contrast="added", cache=tmp_path / "cache")
    assert report["classes"] == {"high": 18, "low": 18}
    assert (report["speakers"], report["speakers_on_both_sides"], report["split"]) == (6, 0, "drawn")
    assert report["train"] + report["test"] == 36
    small, mfcc = report["models"]
    assert mfcc["accuracy"] == 1.0
    assert mfcc["confusion"] == [[report["test"] // 2, 0], [0, report["test"] // 2]]
    assert [row["layer"] for row in small["layers"]] == [0, 2]
    assert set(small["weighted"]["weights"]) == {"0", "2"}
    assert small["attentive"]["layer"] == small["chosen_layer"]
    low, high = mfcc["layers"][0]["interval_95"]
    assert 0.5 < low < high == 1.0
    assert small["attentive"]["contrast"] == "added"
    again = classify.classify(recordings, beside, use=classify.HEADS, contrast="added", cache=tmp_path / "cache")
    assert again == report
    pictures.draw(tmp_path, report)
    assert (tmp_path / "layers.png").read_bytes()[:4] == (tmp_path / "confusion.png").read_bytes()[:4] == b"\x89PNG"


def test_labels_without_meaning_are_not_found(planted: Callable[..., Path], tmp_path: Path) -> None:
    recordings = labels.read([planted(speakers=8, takes=4)])
    rng = np.random.default_rng(0)
    shuffled = [replace(one, label=str(rng.integers(0, 2))) for one in recordings]
    report = classify.classify(shuffled, [(encoders.load("mfcc"), [0])], cache=tmp_path / "cache")
    low, high = report["models"][0]["layers"][0]["interval_95"]
    assert low < 0.5 < high


def test_rank_me_of_a_report_is_that_of_the_means(planted: Callable[..., Path], tmp_path: Path) -> None:
    recordings = labels.read([planted(speakers=2)])
    mfcc = encoders.load("mfcc")
    report = classify.classify(recordings, [(mfcc, [0])], cache=tmp_path / "cache", labels=4)
    assert report["train"] == 4
    train, _ = labels.divide(recordings)
    kept = labels.fewer(recordings, train, 4)
    from speechssl import audio

    means = torch.stack([mfcc.encode(audio.read(recordings[number].file)).frames.mean(0) for number in kept])
    assert report["models"][0]["layers"][0]["rank_me"] == pytest.approx(float(rank_me(means)), rel=1e-4)


def test_an_unknown_head_is_refused(planted: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="no head 'deep'"):
        classify.classify(labels.read([planted()]), [(encoders.load("mfcc"), [0])], use=["deep"])
