"""Streamed conversion: the same length as the whole, nearly the same sound, and nothing lost between pieces."""

from __future__ import annotations

import itertools
from functools import lru_cache

import pytest
import torch
from torch.nn import functional

from speechssl import audio
from speechssl.conversion import bundles, converters, streaming
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.result import Conversion
from speechssl.conversion.streaming import Lengths
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices import clips
from speechssl.voices.matching_set import MatchingSet

SHORT = Lengths(first=2.0, piece=4.0, context=4.0)


@lru_cache(maxsize=1)
def _system() -> VoiceConverter:
    return bundles.load_bundle("tiny", device="cpu")


@lru_cache(maxsize=1)
def _eric() -> MatchingSet:
    return _system().matching_set([clips.clip("eric").path], name="eric")


def _ada(seconds: float) -> Waveform:
    whole = audio.read_mono(clips.clip("ada").path, 16_000)
    return Waveform(whole.samples[: round(seconds * 16_000)].clone(), 16_000)


def _streamed(source: Waveform, **options: object) -> list[Conversion]:
    return list(streaming.stream(_system(), source, _eric(), ConversionOptions(**options), lengths=SHORT))  # type: ignore[arg-type]


def test_streamed_pieces_are_nearly_the_whole_conversion() -> None:
    source = _ada(18.0)
    pieces, whole = _streamed(source), _system().convert(source, _eric())
    assert all(1 <= piece.waveform.seconds <= 6.1 for piece in pieces)
    joined = streaming.join(pieces)
    assert len(joined.waveform.samples) == len(whole.waveform.samples)
    assert joined.features.frames.shape == whole.features.frames.shape
    assert joined.attributions[0].weights.shape == whole.attributions[0].weights.shape
    assert joined.converter == whole.converter == "regression"
    encoded = [_system().encoder.encode(one.waveform).frames for one in (joined, whole)]
    assert float(functional.cosine_similarity(*encoded).mean()) > 0.85
    near = functional.cosine_similarity(joined.features.frames, whole.features.frames)
    assert float(near.mean()) > 0.99
    assert audio.loudness(joined.waveform) == pytest.approx(audio.loudness(whole.waveform), abs=1.5)
    assert joined.coverage == pytest.approx(whole.coverage, abs=0.02)


def test_a_short_source_is_one_piece_and_the_whole_conversion() -> None:
    source = _ada(3.0)
    (piece,) = _streamed(source)
    whole = _system().convert(source, _eric())
    assert torch.equal(piece.features.frames, whole.features.frames)
    assert torch.allclose(piece.waveform.samples, whole.waveform.samples, atol=1e-3)


def test_files_and_waveforms_give_the_same_pieces() -> None:
    path = clips.clip("ada").path
    given = [audio.read_mono(path, 16_000), path]
    first, second = (next(streaming.stream(_system(), one, _eric(), lengths=SHORT)) for one in given)
    assert torch.equal(first.waveform.samples, second.waveform.samples)


@pytest.mark.parametrize("size", [100, 16_000, 10**7])
def test_windows_leave_out_nothing_and_depend_on_no_block(size: int) -> None:
    samples = torch.randn(16_000 * 47 + 123, generator=torch.Generator().manual_seed(0))
    blocks = [samples[start : start + size] for start in range(0, len(samples), size)]
    found = list(streaming.windows(blocks, 16_000, 320, Lengths()))
    kept = [one.samples[320 * one.keep.start : None if one.keep.stop is None else 320 * one.keep.stop] for one in found]
    assert torch.equal(torch.cat(kept), samples)
    assert all(1 <= len(one) / 16_000 <= 12.1 for one in kept)
    edges = [one.start + one.keep.start for one in found]
    again = [one.start + one.keep.start for one in streaming.windows([samples], 16_000, 320, Lengths())]
    assert edges == again
    for one in found[2:-1]:
        assert one.keep.start == 250
        after = len(one.samples) - 320 * one.keep.stop
        assert after == min(250 * 320, len(samples) - 320 * (one.start + one.keep.stop))


def test_pieces_end_in_pauses() -> None:
    samples = torch.randn(16_000 * 40, generator=torch.Generator().manual_seed(0))
    for second in range(40):
        samples[second * 16_000 + 8000 : second * 16_000 + 11_200] = 0
    for one in itertools.islice(streaming.windows([samples], 16_000, 320, Lengths()), 3):
        place = (one.start + one.keep.stop) * 320 % 16_000
        assert 8000 + 640 <= place <= 11_200 - 640


def test_silence_stays_silence_and_loudness_can_be_asked_for() -> None:
    silent = streaming.join(_streamed(Waveform(torch.zeros(16_000 * 9), 16_000)))
    assert float(silent.waveform.samples.abs().max()) == 0
    loud = streaming.join(_streamed(_ada(10.0), loudness=-30.0))
    assert audio.loudness(loud.waveform) == pytest.approx(-30, abs=1.5)


def test_a_long_pause_changes_neither_loudness_nor_coverage() -> None:
    words = _ada(5.0)
    source = Waveform(torch.cat([words.samples, torch.zeros(16_000 * 30), words.samples]), 16_000)
    clean = audio.read_mono(clips.clip("eric").path, 16_000)
    noise = 1e-2 * torch.randn(len(clean.samples), generator=torch.Generator().manual_seed(0))
    # what is made of silence with a noisy voice is above the gate of loudness
    voice = _system().matching_set([Waveform(clean.samples + noise, 16_000)], name="eric")
    streamed = streaming.join(list(streaming.stream(_system(), source, voice, lengths=SHORT)))
    ends = streamed.waveform.samples[: 5 * 16_000], streamed.waveform.samples[-5 * 16_000 :]
    first, last = (audio.loudness(Waveform(end, 16_000)) for end in ends)
    assert last == pytest.approx(first, abs=1.5)
    alone, whole = _system().convert(words, voice), _system().convert(source, voice)
    for one in (whole, streamed):
        assert one.coverage == pytest.approx(alone.coverage, abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"converter": "transport"}, "needs the whole source"),
        ({"converter": "shift"}, "needs the whole source"),
        ({"k": 0}, "k is 0"),
        ({"tempo": "target"}, "a tempo of 'target' needs the whole source"),
        ({"tempo": "1.25"}, "needs the whole source"),
        ({"interpolation": 2.0}, "between 0"),
        ({"loudness": "loud"}, "loudness"),
    ],
)
def test_what_cannot_be_streamed_is_refused_at_once(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _system().stream(_ada(1.0), _eric(), **options)  # type: ignore[arg-type]


def test_sources_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="25 s"):
        list(_system().stream(Waveform(torch.zeros(100), 16_000), _eric()))
    with pytest.raises(InputError, match=r"missing\.wav"):
        list(_system().stream("missing.wav", _eric()))
    with pytest.raises(InputError, match="pieces longer"):
        Lengths(first=0.5)


def test_interpolation_and_models_with_another_converter() -> None:
    half = streaming.join(_streamed(_ada(7.0), interpolation=0.5))
    whole = _system().convert(_ada(7.0), _eric(), interpolation=0.5)
    assert float(functional.cosine_similarity(half.features.frames, whole.features.frames).mean()) > 0.99
    assert [type(one) for one in half.attributions] == [type(one) for one in whole.attributions]
    world = bundles.load_bundle("tiny", vocoder="world", device="cpu")
    voice = world.matching_set([clips.clip("eric").path])
    piece = next(streaming.stream(world, _ada(6.0), voice, lengths=SHORT))
    assert converters.TABLE[piece.converter].streams
    assert "needs the whole source" in piece.reason
