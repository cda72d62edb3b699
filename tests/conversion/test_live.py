"""Conversion while somebody speaks: the packaged model on packaged clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import speechssl
from speechssl import audio
from speechssl.conversion.live import LATENCY, Layout, LiveConverter
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import InputError
from speechssl.voices.matching_set import MatchingSet


@pytest.fixture(scope="module")
def system() -> VoiceConverter:
    return speechssl.load_bundle("tiny", device="cpu")


@pytest.fixture(scope="module")
def eric(system: VoiceConverter) -> MatchingSet:
    return system.matching_set(speechssl.clip("eric"), name="eric")


@pytest.fixture(scope="module")
def sentence() -> torch.Tensor:
    return audio.read_mono(speechssl.clip("ada", "sentence").path, 16_000).samples


@pytest.fixture(scope="module")
def live(system: VoiceConverter, eric: MatchingSet) -> LiveConverter:
    return LiveConverter(system, eric)


@pytest.fixture(scope="module")
def spoken(live: LiveConverter, sentence: torch.Tensor) -> torch.Tensor:
    """The sentence in the other voice, and the silence behind it."""
    live.reset()
    return torch.cat([live.push(sentence), live.push(torch.zeros(16_000))])


def pushed(live: LiveConverter, samples: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    live.reset()
    blocks = list(samples.split(sizes))
    made = [live.push(block) for block in blocks]
    assert [len(one) for one in made] == sizes
    return torch.cat(made)


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])  # shrinking would take minutes
@given(st.lists(st.integers(1, 16_000), max_size=12), st.integers(0, 2**32 - 1))
def test_blocks_of_any_length_give_the_same_bits(
    live: LiveConverter, sentence: torch.Tensor, spoken: torch.Tensor, sizes: list[int], seed: int
) -> None:
    part = sentence[:14_000]
    edges = np.unique(np.clip(np.cumsum([0, *sizes]), 0, len(part)))
    lengths = np.diff([*edges, len(part)]) if edges[-1] < len(part) else np.diff(edges)
    # some single samples in between
    start = np.random.default_rng(seed).integers(0, len(part) - 100)
    edges = np.unique([*np.cumsum([0, *lengths]), *range(start, start + 100)])
    made = pushed(live, part, np.diff(edges).tolist())
    torch.testing.assert_close(made, spoken[: len(part)], rtol=0, atol=0)


def envelope(samples: torch.Tensor) -> np.ndarray:
    """Loudness in dB, a value a millisecond, less its mean."""
    power = samples.double().square().numpy()
    level = 10 * np.log10(np.convolve(power, np.hanning(480), "same")[::16] + 1e-3)
    return level - level.mean()


@pytest.mark.parametrize("latency", [0.12, LATENCY])
def test_the_delay_is_the_one_that_is_named(
    system: VoiceConverter, eric: MatchingSet, sentence: torch.Tensor, latency: float
) -> None:
    live = LiveConverter(system, eric, latency=latency)
    assert live.latency <= latency * 16_000 < live.latency + 320
    whole = system.convert(speechssl.Waveform(sentence, 16_000), eric).waveform.samples
    rest = torch.zeros(8000)
    first, second = envelope(torch.cat([whole, rest])), envelope(live.push(torch.cat([sentence, rest])))
    lags = np.arange(-20, 400)
    matches = [np.dot(first[100:-500], second[100 + lag : len(second) - 500 + lag]) for lag in lags]
    assert lags[int(np.argmax(matches))] == pytest.approx(live.latency / 16, abs=2)


def test_words_are_spoken_in_the_other_voice(
    system: VoiceConverter, eric: MatchingSet, sentence: torch.Tensor, spoken: torch.Tensor, live: LiveConverter
) -> None:
    made = speechssl.Waveform(spoken[live.latency :][: len(sentence)], 16_000)
    whole = system.convert(speechssl.Waveform(sentence, 16_000), eric).waveform
    embedder = speechssl.load_embedder("tiny")
    target, source = (
        embedder.embed(audio.read(speechssl.clip("eric").path)),
        embedder.embed(speechssl.Waveform(sentence, 16_000)),
    )
    found = embedder.embed(made).vector
    assert float(found @ target.vector) > float(found @ source.vector) + 0.2
    # the words are those that the whole conversion says
    keys = [system.encoder.encode(one).frames for one in (made, whole)]
    count = min(map(len, keys))
    alike = torch.nn.functional.cosine_similarity(keys[0][:count], keys[1][:count], dim=1)
    assert float(alike.mean()) > 0.75
    assert audio.loudness(made) == pytest.approx(audio.loudness(whole), abs=4)


def test_silence_gives_silence(live: LiveConverter, spoken: torch.Tensor, sentence: torch.Tensor) -> None:
    live.reset()
    assert not live.push(torch.zeros(8000)).any()
    # behind the last word
    assert not spoken[len(sentence) + live.latency + 6400 :].any()
    assert spoken.any()


def test_the_noise_of_a_room_is_not_spoken(live: LiveConverter) -> None:
    live.reset()
    noise = 1e-3 * torch.randn(48_000, generator=torch.Generator().manual_seed(0))
    assert float(live.push(noise)[16_000:].abs().max()) == 0.0


def test_there_is_no_step_where_hops_are_joined(live: LiveConverter, spoken: torch.Tensor) -> None:
    bends = spoken.diff().diff().abs()
    # a hop ends at every multiple of its length behind the beginning of the first
    first = (live.latency - 200) % live.hop
    joins = torch.zeros(len(bends), dtype=torch.bool)
    for near in (-2, -1, 0):
        joins[first + near :: live.hop] = True
    assert float(bends[joins].max()) <= float(bends[~joins].max())


def test_flush_gives_the_rest_and_forgets(live: LiveConverter, sentence: torch.Tensor, spoken: torch.Tensor) -> None:
    live.reset()
    before = live.push(sentence[:9000])
    rest = live.flush()
    assert len(rest) == live.latency
    torch.testing.assert_close(before, spoken[:9000], rtol=0, atol=0)
    torch.testing.assert_close(live.push(sentence[:9000]), before, rtol=0, atol=0)


def test_the_voice_changes_while_somebody_speaks(
    system: VoiceConverter, eric: MatchingSet, sentence: torch.Tensor, spoken: torch.Tensor
) -> None:
    live = LiveConverter(system, eric)
    live.push(sentence[:16_000])
    live.change(system.matching_set(speechssl.clip("beth")))
    made = live.push(sentence[16_000:48_000])
    assert bool(made.isfinite().all())
    assert float(made.abs().max()) > 0.02
    assert not torch.equal(made, spoken[16_000:48_000])


def test_a_microphone_that_is_too_loud_is_said(live: LiveConverter, sentence: torch.Tensor) -> None:
    live.reset()
    live.push(sentence[:16_000])
    assert live.clipped == 0
    made = live.push((20 * sentence[16_000:32_000]).clamp(-1, 1))
    assert live.clipped > 100
    assert float(made.abs().max()) < 0.98


def test_a_delay_is_laid_out_in_frames_of_20_ms() -> None:
    assert Layout.within(0.25).latency <= 4000 < Layout.within(0.25).latency + 320
    assert Layout.within(0.12) == Layout(2, 2)
    for seconds in (0.05, 1.0):
        with pytest.raises(InputError, match="88 to 528 ms needed"):
            Layout.within(seconds)


@pytest.mark.parametrize("block", [torch.zeros(2, 100), torch.tensor([0.0, float("nan")])])
def test_blocks_that_cannot_be_used_are_refused_and_nothing_is_lost(
    live: LiveConverter, sentence: torch.Tensor, spoken: torch.Tensor, block: torch.Tensor
) -> None:
    live.reset()
    before = live.push(sentence[:5000])
    with pytest.raises(InputError, match="finite samples of one channel needed"):
        live.push(block)
    made = torch.cat([before, live.push(sentence[5000:9000])])
    torch.testing.assert_close(made, spoken[:9000], rtol=0, atol=0)


def test_blocks_come_as_microphones_give_them(
    live: LiveConverter, sentence: torch.Tensor, spoken: torch.Tensor
) -> None:
    live.reset()
    made = [live.push(sentence[:3000].numpy()), live.push(sentence[3000:6000].tolist()), live.push([])]
    torch.testing.assert_close(torch.cat(made), spoken[:6000], rtol=0, atol=0)
    for wrong, said in ((np.zeros(9, np.int16), "from -1 to 1"), ("sound", "type str"), ([[0.0]], "one channel")):
        with pytest.raises(InputError, match=said):
            live.push(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ConversionOptions(converter="selection"), "needs the whole source"),
        (ConversionOptions(loudness=-23), "contour or level"),
        (ConversionOptions(interpolation=0.5), "cannot be changed live"),
        (ConversionOptions(tempo=1.5), "cannot be changed live"),
        (ConversionOptions(k=100_000), "more than k = 100000 needed"),
    ],
)
def test_options_that_need_the_whole_source_are_refused(
    system: VoiceConverter, eric: MatchingSet, options: ConversionOptions, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        LiveConverter(system, eric, options)


def test_other_models_are_refused(system: VoiceConverter, eric: MatchingSet) -> None:
    with pytest.raises(InputError, match="use the model 'tiny'"):
        LiveConverter(speechssl.load_bundle("tiny", vocoder="world"), eric)
    other = speechssl.load_bundle("tiny", layer=2, vocoder="world").matching_set(speechssl.clip("eric"))
    with pytest.raises(InputError, match="tiny/2"):
        LiveConverter(system, other)
