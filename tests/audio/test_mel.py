"""The one filter bank against librosa's, transformers' and torchaudio's, and Kaldi's energies on real speech."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dct

from speechssl import audio, checkpoints
from speechssl.audio import mel

CLIPS = sorted((checkpoints.PACKAGED / "clips").glob("*.opus"))


def speech() -> list[torch.Tensor]:
    found = [audio.read_mono(path, 16000).samples for path in CLIPS]
    assert sum(map(len, found)) > 60 * 16000
    return found


@pytest.mark.parametrize(("bands", "size", "low", "high"), [(40, 512, 0.0, 8000.0), (24, 512, 100.0, 7600.0)])
def test_straight_in_hertz_equals_librosa(bands: int, size: int, low: float, high: float) -> None:
    librosa = pytest.importorskip("librosa")
    theirs = librosa.filters.mel(sr=16000, n_fft=size, n_mels=bands, fmin=low, fmax=high, htk=True, norm=None)
    ours = mel.filters(bands, size, sample_rate=16000, low=low, high=high)
    # librosa's are float32
    assert np.abs(ours - theirs.T).max() < 1e-6


def test_straight_in_mel_equals_transformers() -> None:
    checkpoints.transformers()
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(
        257, 80, 20.0, 8000.0, 16000, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    ours = mel.filters(80, 512, sample_rate=16000, low=20.0, high=8000.0, straight="mel")
    assert np.abs(ours - theirs).max() < 1e-9


def test_sides_as_wide_as_the_left_one() -> None:
    left = mel.filters(80, 400, sample_rate=16000, high=8000.0, straight="left")
    both = mel.filters(80, 400, sample_rate=16000, high=8000.0)
    centres = 700 * np.expm1(np.linspace(0, np.log1p(8000 / 700), 82)[1:-1])
    rising = np.fft.rfftfreq(400, 1 / 16000)[:, None] <= centres
    assert np.allclose(left[rising], both[rising])
    # a triangle is wider to the right in hertz; here it is not
    assert (left <= both + 1e-12).all()
    assert left.sum() < both.sum()


def test_filters_are_made_once_and_cannot_be_changed() -> None:
    first = mel.filters(40, 512, sample_rate=16000, high=8000.0)
    assert mel.filters(40, 512, sample_rate=16000, high=8000.0) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


def test_kaldi_energies_of_real_speech_equal_torchaudio(torchaudio: Any) -> None:
    """On the bundled clips: 0.0075 at most, in bands at the floor, 4e-6 in the mean."""
    fbank = torchaudio.compliance.kaldi.fbank
    gaps = []
    for samples in speech():
        options: Any = {"num_mel_bins": 80, "sample_frequency": 16000.0, "window_type": "povey", "dither": 0.0}
        gaps.append((fbank(samples[None] * 2**15, **options) - mel.kaldi(samples)).abs().flatten())
    found = torch.cat(gaps)
    assert float(found.max()) < 0.02
    assert float(found.mean()) < 2e-5


def test_single_and_double_precision_agree_on_real_speech() -> None:
    found = torch.cat([(mel.kaldi(s) - mel.kaldi(s, double=True)).abs().flatten() for s in speech()])
    assert float(found.mean()) < 2e-5
    assert float(found.max()) < 0.02


def test_a_batch_is_its_rows_and_too_little_is_no_frame() -> None:
    samples = torch.stack([s[:4000] for s in speech()[:3]])
    assert torch.allclose(mel.kaldi(samples), torch.stack([mel.kaldi(row) for row in samples]), atol=1e-4)
    assert mel.kaldi(samples).shape == (3, 1 + (4000 - 400) // 160, 80)
    assert mel.kaldi(samples[:, :399]).shape == (3, 0, 80)


def test_constants_made_where_nothing_has_memory_hold_numbers() -> None:
    mel._constants.cache_clear()
    with torch.device("meta"):
        window, bank = mel._constants(torch.float32, torch.device("cpu"))
    assert float(window.sum()) > 100
    assert float(bank.sum()) > 100


def test_cepstra_equal_scipys_transform() -> None:
    bands = np.random.default_rng(0).standard_normal((7, 80))
    np.testing.assert_allclose(mel.cepstra(bands, 20), dct(bands, norm="ortho", axis=1)[:, :20], atol=1e-12)


def test_cepstra_of_a_flat_spectrum_are_its_level() -> None:
    found = mel.cepstra(np.full((5, 80), 2.0), 13)
    assert found.shape == (5, 13)
    assert np.allclose(found[:, 0], 2 * np.sqrt(80))
    assert np.allclose(found[:, 1:], 0)
