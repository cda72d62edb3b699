"""Units back to speech: in the voice's own frames, as long as the units say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from speechssl import encoders
from speechssl.errors import InputError
from speechssl.signals import Units
from speechssl.units.codebooks import kmeans
from speechssl.units.codebooks.codebook import Codebook
from speechssl.units.codebooks.fitting import fit_encoder
from speechssl.units.decode import contour, decode, retrieve, typical_durations, units_of
from speechssl.vocoders.world import WorldAnalysis, WorldVocoder
from speechssl.voices import building, matching_set
from speechssl.voices.clips import clip


@pytest.fixture(scope="module")
def voice(encoder_file: Path) -> matching_set.MatchingSet:
    from speechssl import audio
    from speechssl.signals import Waveform

    waveform = audio.read_mono(clip("ada", "sentence").path, 16000)
    encoder = encoders.load(encoder_file)
    return building.build([Waveform(waveform.samples[:48000], 16000)], encoder, WorldAnalysis())


@pytest.fixture(scope="module")
def book(encoder_file: Path) -> Codebook:
    encoder = encoders.load(encoder_file)
    settings = kmeans.Settings(batches=5, starts=1, passes=3)
    return fit_encoder(encoder, [clip("dan", "sentence").path], 30, settings=settings)


def units(book: Codebook, seed: int = 0) -> Units:
    rng = np.random.default_rng(seed)
    return units_of(rng.integers(0, 30, 25), book, durations=rng.integers(1, 6, 25))


def test_every_frame_is_one_of_the_voice_near_its_unit(book: Codebook, voice: matching_set.MatchingSet) -> None:
    wanted = units(book)
    frames = retrieve(wanted, book, voice, k=8)
    assert len(frames) == int(wanted.durations.sum())
    keys = torch.nn.functional.normalize(voice.keys.double(), dim=1)
    ids = wanted.ids.repeat_interleave(wanted.durations)
    for frame, unit in zip(frames, ids, strict=True):
        (place,) = torch.nonzero((voice.values.float() == frame).all(1))[0]
        centroid = torch.nn.functional.normalize(torch.from_numpy(book.centroids[0][unit]).double(), dim=0)
        better = int((keys @ centroid > keys[place] @ centroid + 1e-9).sum())
        assert better < 8


def test_speech_of_the_right_length_in_any_voice(book: Codebook, voice: matching_set.MatchingSet) -> None:
    wanted = units(book)
    spoken = decode(wanted, book, voice, WorldVocoder())
    assert spoken.seconds == pytest.approx(int(wanted.durations.sum()) / 50, abs=0.02)
    assert float(spoken.samples.abs().max()) > 0.01
    higher = contour(retrieve(wanted, book, voice), voice, 12.0)
    level = contour(retrieve(wanted, book, voice), voice, 0.0)
    voiced = level > 0
    assert bool(voiced.any())
    assert torch.allclose(higher[voiced] / level[voiced], torch.tensor(2.0), rtol=1e-4)
    middle = float(level[voiced].log().mean())
    assert abs(middle - voice.pitch.mean) < 0.15


def test_units_of_another_codebook_or_voice_are_refused(book: Codebook, voice: matching_set.MatchingSet) -> None:
    from dataclasses import replace

    other = replace(book, centroids=book.centroids + np.float32(1))
    with pytest.raises(InputError, match=other.origin):
        decode(units(book), other, voice, WorldVocoder())
    with pytest.raises(InputError, match="other/3"):
        decode(units(book), book, replace(voice, key_origin="other/3"), WorldVocoder())
    with pytest.raises(InputError, match=r"unit 30; .* has 0 to 29"):
        units_of([1, 30], book)
    with pytest.raises(InputError, match="weights"):
        decode(units(book), book, replace(voice, key_encoder="1" * 16), WorldVocoder())
    two = replace(book, centroids=np.concatenate([book.centroids, book.centroids]), family="rvq")
    with pytest.raises(InputError, match="2 codes a frame"):
        units_of([1, 2], two)


def test_durations_are_the_usual_ones() -> None:
    lengths = typical_durations([([0, 1, 0], [4, 1, 6]), ([0, 1], [5, 2])], 4)
    # medians of 4 6 5 and of 1 2 (rounded to even), and of all for units never seen
    assert lengths.tolist() == [5, 2, 4, 4]
    with pytest.raises(InputError):
        typical_durations([], 4)


def test_bare_ids_last_as_told(book: Codebook) -> None:
    assert units_of([3, 3, 5], book).durations.tolist() == [1, 1, 1]
    lengths = np.arange(30) + 1
    assert units_of([3, 5], book, lengths=lengths).durations.tolist() == [4, 6]
