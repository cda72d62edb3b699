"""The whole path: encode, retrieve, combine, move the pitch, vocode; what it gives, what it says, what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import math

import numpy as np
import pytest
import torch

from speechssl import audio
from speechssl.conversion import converters, retrieval, steps
from speechssl.conversion.converters import means, runs, shift, transport, widening
from speechssl.conversion.converters.means import Surroundings
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform
from speechssl.vocoders.world import WorldAnalysis, WorldVocoder
from speechssl.voices import building, pitch, spectrum, tempo

RUNS = tuple(row.name for row in converters.TABLE.values() if row.in_runs)


def spoken(system, source, voice, **options):
    """What the vocoder gives, before spectrum and loudness."""
    target = steps.blend(system, voice)
    plan = steps.decide(system, target, ConversionOptions(**options), has_source_values=True)
    return steps.speak(system, source, steps.retrieve(source, target, plan, hears_keys=False), target, plan).waveform


def plan_of(converter, **options):
    return steps.Plan(ConversionOptions(**options), converters.TABLE[converter], "")


def blend_of(*pairs):
    return steps.Blend(*zip(*pairs, strict=True))


class Tones:
    """A vocoder of spectra: frame by frame, 320 samples of a tone as strong as the frame's mean. Takes no F0."""

    sample_rate, frame_rate, needs_f0, key_origin = 16_000, 50.0, False, ""

    def __init__(self, origin="spectra/1"):
        self.origin = origin

    def vocode(self, features, *, f0=None, keys=None, voice=None):
        assert f0 is None
        level = features.frames.mean(dim=1).exp().repeat_interleave(320)
        return Waveform((level * torch.arange(len(level)).mul(0.3).sin()).float(), 16_000)


class Listener(Tones):
    """One that takes keys beside the frames, and remembers what it heard."""

    key_origin = "spectra/1"

    def vocode(self, features, *, f0=None, keys=None, voice=None):
        self.keys, self.voice = keys.frames, voice
        return super().vocode(features)


@pytest.fixture
def system(encoder):
    """One encoder for keys and values."""
    return VoiceConverter(encoder, encoder, Tones())


@pytest.fixture(scope="module")
def world():
    return WorldAnalysis(order=24), WorldVocoder(order=24)


@pytest.fixture
def two(system, speech):
    source, target = speech
    return system.source(source), system.matching_set([target], name="target")


def test_it_is_the_mean_of_the_nearest(system, two):
    source, voice = two
    result = system.convert(source, voice, converter="uniform", k=3)
    distances = np.array(
        [
            [1 - q @ x / math.sqrt((q @ q) * (x @ x)) for x in voice.keys.double().numpy()]
            for q in source.keys.frames.double().numpy()
        ]
    )
    order = distances.argsort(axis=1, kind="stable")[:, :3]
    expected = voice.values.double().numpy()[order].mean(axis=1)
    np.testing.assert_allclose(result.features.frames, expected, atol=1e-5)
    np.testing.assert_allclose(result.similarities, 1 - distances.min(axis=1), atol=1e-12)
    assert result.coverage == pytest.approx(1 - distances.min(axis=1).mean())
    assert len(result.waveform.samples) == len(source.waveform.samples)


@pytest.mark.parametrize("converter", ["uniform", "distance", "continuous", "selection"])
def test_one_neighbour_among_its_own_frames_is_the_identity(system, speech, converter):
    voice = system.matching_set([speech[0]])
    source = system.source(speech[0])
    result = system.convert(source, voice, converter=converter, k=1)
    np.testing.assert_allclose(result.features.frames, source.keys.frames, rtol=2**-11, atol=1e-7)
    assert result.coverage == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("converter", converters.NAMES)
def test_the_order_of_the_references_changes_nothing(system, speech, converter):
    parts = [Waveform(speech[1].samples[a:b].clone(), 16_000) for a, b in ((0, 9000), (9000, 16_000), (16_000, 24_000))]
    source = system.source(speech[0])
    one = system.convert(source, system.matching_set(parts), converter=converter)
    other = system.convert(source, system.matching_set(parts[::-1]), converter=converter)
    torch.testing.assert_close(one.features.frames, other.features.frames, rtol=0, atol=2e-5)


@pytest.mark.parametrize("converter", converters.NAMES)
def test_in_parts_equals_whole(system, two, converter, monkeypatch):
    whole = system.convert(*two, converter=converter)
    monkeypatch.setattr(retrieval, "BLOCK_KEYS", 16)
    monkeypatch.setattr(retrieval, "BLOCK_QUERIES", 5)
    monkeypatch.setattr(retrieval, "BLOCK_PAIRS", 3)
    monkeypatch.setattr(means, "GATHERED", 100)
    parts = system.convert(*two, converter=converter)
    torch.testing.assert_close(parts.features.frames, whole.features.frames, rtol=0, atol=1e-5)
    assert torch.equal(parts.attributions[0].seconds, whole.attributions[0].seconds)


@pytest.mark.parametrize("converter", RUNS)
def test_a_vocoder_that_takes_keys_hears_those_of_the_frames_taken(encoder, two, converter):
    source, voice = two
    system = VoiceConverter(encoder, encoder, Listener())
    frames = system.convert(source, voice, converter=converter, tempo="source").features.frames
    _, trace, _ = steps.convert_frames(source, voice, plan_of(converter))
    mixed = 0.7 * source.keys.frames + 0.3 * voice.keys[trace.indices[:, 0]].float()
    torch.testing.assert_close(system.vocoder.keys, mixed, rtol=0, atol=1e-5)
    assert torch.equal(system.vocoder.voice, voice.values)
    halves = [(voice, 0.5), (voice.named("again"), 0.5)]
    blend = system.convert(source, halves, converter=converter, tempo="source")
    torch.testing.assert_close(system.vocoder.keys, mixed, rtol=0, atol=1e-5)
    torch.testing.assert_close(blend.features.frames, frames, rtol=0, atol=1e-5)
    # nobody's in particular
    assert system.vocoder.voice is None
    system.convert(source, voice, converter=converter, interpolation=0.0)
    assert torch.equal(system.vocoder.keys, source.keys.frames)
    assert system.vocoder.voice is None


@pytest.mark.parametrize("converter", sorted(set(converters.NAMES) - set(RUNS)))
def test_other_converters_keep_the_keys_of_the_source(encoder, two, converter):
    system = VoiceConverter(encoder, encoder, Listener())
    system.convert(*two, converter=converter)
    assert torch.equal(system.vocoder.keys, two[0].keys.frames)
    assert system.vocoder.voice is None


def test_variance_gives_the_sound_the_spectrum_of_the_voice(system, two):
    source, voice = two
    plain, result = (
        system.convert(source, voice, converter=name, loudness="level") for name in ("uniform", "variance")
    )

    def away(one):
        return np.abs(np.subtract(spectrum.measure(one.waveform).levels, voice.spectrum.levels)).clip(max=6).mean()

    raw = spoken(system, source, voice, converter="variance")
    own = spectrum.measure(raw)
    expected = spectrum.equalise(raw, own, voice.spectrum).samples
    scale = float(result.waveform.samples.abs().max() / expected.abs().max())
    # both ends are faded for 10 ms
    inside = slice(160, len(expected) - 160)
    torch.testing.assert_close(result.waveform.samples[inside], scale * expected[inside], rtol=0, atol=1e-5)
    assert away(result) < away(plain)
    # half of it where the voice is half
    half = spoken(system, system.source(source.waveform), voice, converter="variance", interpolation=0.5)
    expected = spectrum.equalise(half, spectrum.measure(half), voice.spectrum, 0.5).samples
    half_source = system.source(source.waveform)
    result = system.convert(half_source, voice, converter="variance", interpolation=0.5, loudness="level")
    scale = float(result.waveform.samples.abs().max() / expected.abs().max())
    torch.testing.assert_close(result.waveform.samples[inside], scale * expected[inside], rtol=0, atol=1e-5)


def test_only_widened_converters_want_a_spectrum(two):
    _, voice = two
    assert steps.wanted_spectrum(blend_of((voice, 1.0)), plan_of("uniform")) is None
    assert steps.wanted_spectrum(blend_of((voice, 1.0)), plan_of("variance")) == voice.spectrum


def test_silence_has_no_spectrum_to_move(system, two):
    result = system.convert(Waveform(torch.zeros(16_000), 16_000), two[1], converter="variance")
    assert float(result.waveform.samples.abs().max()) == 0


def test_files_waveforms_and_encoded_sources_are_the_same(system, files, speech):
    voice = system.matching_set(files[1:])
    results = [system.convert(one, voice) for one in (files[0], audio.read(files[0]), system.source(files[0]))]
    for other in results[1:]:
        assert torch.equal(other.waveform.samples, results[0].waveform.samples)
    # another rate is resampled first
    fast = audio.resample(speech[0], 44_100)
    assert len(system.convert(fast, voice).features) == len(results[0].features)


def test_each_converter_is_its_function(system, two):
    source, voice = two
    keys, values = source.keys.frames, source.values.frames
    near, three = (retrieval.nearest(keys, voice.keys, k=k) for k in (4, 3))
    wide = retrieval.nearest(keys, voice.keys, k=16)
    path = runs.best_path(voice.keys, wide, voice.follows())
    taken = runs.with_nearest(path, wide, 4)
    mean = means.weighted_mean(voice.values, three.indices, means.uniform_weights(three))
    mixed = means.weighted_mean(voice.values, taken.indices, taken.weights)
    expected = {
        "distance": means.weighted_mean(voice.values, near.indices, means.distance_weights(near)),
        "variance": widening.widened(mean, Surroundings(voice.values, three)),
        "continuous": widening.widened(mixed, Surroundings(voice.values, near)),
        "transport": transport.fit_transport(values, voice.values)(values),
        "shift": shift.moved(
            values,
            Surroundings(values, retrieval.nearest(keys, keys, k=16)),
            Surroundings(voice.values, wide),
        ),
    }
    for name, frames in expected.items():
        result = system.convert(source, voice, converter=name)
        torch.testing.assert_close(result.features.frames, frames)
        assert (result.converter, result.reason) == (name, "as asked")


def test_shift_takes_further_recordings_of_the_source(system, speech, two):
    halves = [Waveform(speech[0].samples[a:b].clone(), 16_000) for a, b in ((0, 12_000), (12_000, 24_000))]
    alone = system.convert(system.source(halves[0]), two[1], converter="shift")
    more = system.convert(system.source(halves[0], more=halves[1:]), two[1], converter="shift")
    same = system.convert(system.source(halves[0], more=system.matching_set(halves[1:])), two[1], converter="shift")
    assert not torch.allclose(alone.features.frames, more.features.frames)
    assert torch.equal(same.features.frames, more.features.frames)


def test_auto_says_what_it_chose(system, two):
    result = system.convert(*two)
    assert result.converter == "transport"
    assert "1.5 s of reference" in result.reason
    bare = system.source(two[0].waveform, with_values=False)
    assert system.convert(bare, two[1]).converter == "distance"
    with pytest.raises(InputError, match="without values"):
        system.convert(bare, two[1], converter="shift")


def test_interpolation_goes_from_the_source_to_the_target(system, two):
    source, voice = two
    ends = [system.convert(source, voice, converter="uniform", interpolation=x).features.frames for x in (0, 0.25, 1)]
    assert torch.equal(ends[0], source.values.frames)
    torch.testing.assert_close(ends[1], 0.75 * ends[0] + 0.25 * ends[2])


def test_blends_of_voices(system, two, speech):
    source, voice = two
    other = system.matching_set([Waveform(speech[0].samples[:12_000].clone(), 16_000)], name="other")
    one, two_ = (system.convert(source, v, converter="uniform") for v in (voice, other))
    both = system.convert(source, [(voice, 1), (other, 3)], converter="uniform")
    torch.testing.assert_close(both.features.frames, 0.25 * one.features.frames + 0.75 * two_.features.frames)
    assert [a.voice for a in both.attributions] == ["target", "other"]
    np.testing.assert_allclose([float(a.weights.sum(dim=1)[0]) for a in both.attributions], [0.25, 0.75])
    torch.testing.assert_close(both.similarities, torch.maximum(one.similarities, two_.similarities))


# ---- pitch and loudness


def world_system(encoder, world):
    return VoiceConverter(encoder, *world)


def test_pitch_moves_to_the_target(encoder, world, speech):
    system = world_system(encoder, world)
    source, voice = system.source(speech[1]), system.matching_set(speech[:1])
    own = pitch.statistics(source.f0)
    heard = {
        mode: pitch.statistics(audio.f0(system.convert(source, voice, converter="uniform", pitch=mode).waveform))
        for mode in ("target", "source", 3, "-2")
    }
    assert abs(voice.pitch.mean - own.mean) > 0.3
    # a tenth is less than two semitones: the tracker reads vocoded speech a little differently
    assert heard["target"].mean == pytest.approx(voice.pitch.mean, abs=0.1)
    assert heard["source"].mean == pytest.approx(own.mean, abs=0.1)
    assert heard[3].mean == pytest.approx(own.mean + 3 * math.log(2) / 12, abs=0.1)
    assert heard["-2"].mean == pytest.approx(own.mean - 2 * math.log(2) / 12, abs=0.1)


def test_pitch_is_interpolated_and_blended(encoder, world, speech):
    system = world_system(encoder, world)
    source, voice = system.source(speech[1]), system.matching_set(speech[:1])
    own = pitch.statistics(source.f0)
    half = steps.moved_f0(source.f0, blend_of((voice, 1.0)), ConversionOptions(interpolation=0.5))
    assert pitch.statistics(half).mean == pytest.approx((own.mean + voice.pitch.mean) / 2, abs=0.02)
    itself = system.matching_set(speech[1:])
    mixed = steps.moved_f0(source.f0, blend_of((voice, 0.25), (itself, 0.75)), ConversionOptions())
    assert pitch.statistics(mixed).mean == pytest.approx(0.25 * voice.pitch.mean + 0.75 * itself.pitch.mean, abs=0.02)


def test_selection_takes_the_pitch_of_the_frames(encoder, world, speech, tmp_path):
    system = world_system(encoder, world)
    source, voice = system.source(speech[1]), system.matching_set(speech[:1])
    result = system.convert(source, voice, converter="selection", tempo="source")
    taken = voice.f0[(result.attributions[0].seconds[:, 0] * 50).round().long()].float().flatten()
    assert taken.shape == (4 * len(source.keys),)
    contour = steps.selected_f0(source, [_trace(result, voice)], blend_of((voice, 1.0)), 1.0)
    assert len(contour) == len(taken) + 1
    assert torch.equal(contour[1:] > 0, taken > 0)
    # inside runs, jumps of joins aside, it is what was found
    ratio = (contour[1:] / taken)[taken > 0].log().abs()
    assert float(ratio.median()) < 0.02
    assert pitch.statistics(contour).mean == pytest.approx(voice.pitch.mean, abs=0.15)
    # half way, half of the source's
    half = steps.selected_f0(source, [_trace(result, voice)], blend_of((voice, 1.0)), 0.5)
    own = pitch.of_frames(source.f0, len(source.keys), 50.0).flatten()
    both = (own > 0) & (taken > 0)
    means = [float(one[both].log().mean()) for one in (half[1:], own, taken)]
    assert means[0] == pytest.approx((means[1] + means[2]) / 2, abs=0.03)
    # what was asked for is done
    shifted = system.convert(source, voice, converter="selection", pitch="source", tempo="source").waveform
    assert pitch.statistics(audio.f0(shifted)).mean == pytest.approx(pitch.statistics(source.f0).mean, abs=0.1)


def test_selection_from_a_voice_that_whispers(encoder, world, speech):
    system = world_system(encoder, world)
    noise = torch.randn(32_000, generator=torch.Generator().manual_seed(0)) * (
        1.2 + torch.sin(torch.arange(32_000) / 2000)
    )
    voice = system.matching_set([Waveform(0.05 * noise, 16_000)])
    assert not (voice.f0 > 0).any()
    said = system.convert(speech[1], voice, converter="selection").waveform
    assert torch.isfinite(said.samples).all()
    assert (audio.f0(said) > 0).float().mean() < 0.1


# ---- tempo


@pytest.mark.parametrize("converter", ["uniform", "selection"])
def test_a_factor_changes_the_length_and_nothing_else(system, two, converter):
    source, voice = two
    result = system.convert(source, voice, converter=converter, tempo=0.8, k=1)
    assert len(result.features) == round(len(source.keys) / 0.8)
    assert result.stretch == pytest.approx(1.25)
    assert result.attributions[0].seconds.shape[0] == len(result.features)
    # every fifth of the longer frames is one of the source's: its neighbour is the same
    if converter == "uniform":
        plain = system.convert(source, voice, converter=converter, k=1)
        longer = tempo.stretched(source.keys.frames, len(result.features))
        near = retrieval.nearest(longer, voice.keys, k=1)
        torch.testing.assert_close(result.features.frames, voice.values[near.indices[:, 0]].float())
        assert torch.equal(result.features.frames[0], plain.features.frames[0])
        assert torch.equal(result.features.frames[-1], plain.features.frames[-1])


def test_the_tempo_is_half_way_to_that_of_the_voice(system, two):
    source, voice = two
    own = tempo.measure(source.keys.frames, audio.speech_activity(source.waveform), 50.0)
    slower = dataclasses.replace(own, change=own.change / 1.44)
    voice = dataclasses.replace(voice, references=(dataclasses.replace(voice.references[0], tempo=slower),))
    expected = 1.2
    for converter, mode in (("uniform", "target"), ("selection", "auto"), ("selection", "target")):
        result = system.convert(source, voice, converter=converter, tempo=mode)
        assert result.stretch == pytest.approx(expected)
        assert len(result.features) == round(len(source.keys) * expected)
    for converter, mode in (("uniform", "auto"), ("variance", "auto"), ("continuous", "auto"), ("selection", "source")):
        result = system.convert(source, voice, converter=converter, tempo=mode)
        assert (result.stretch, len(result.features)) == (1.0, len(source.keys))
    half = system.convert(source, voice, converter="uniform", tempo="target", interpolation=0.5)
    assert half.stretch == pytest.approx(math.sqrt(expected))
    assert system.convert(source, voice, converter="uniform", tempo="target", interpolation=0.0).stretch == 1.0


def test_values_and_pitch_follow_the_tempo(encoder, world, speech):
    system = world_system(encoder, world)
    source, voice = system.source(speech[1]), system.matching_set(speech[:1])
    plain = system.convert(source, voice, converter="shift", pitch="source")
    slow = system.convert(source, voice, converter="shift", pitch="source", tempo=0.75)
    assert slow.waveform.seconds == pytest.approx(plain.waveform.seconds / 0.75, abs=0.03)
    means = [pitch.statistics(audio.f0(one.waveform)).mean for one in (plain, slow)]
    assert means[1] == pytest.approx(means[0], abs=0.05)
    assert audio.loudness(slow.waveform) == pytest.approx(audio.loudness(plain.waveform), abs=0.5)


def test_words_that_were_never_spoken_have_no_tempo(system, two):
    source, voice = two
    with pytest.raises(InputError, match="text has no source tempo"):
        system.convert(dataclasses.replace(source, waveform=None), voice, tempo="target", loudness=-23)


def _trace(result, voice):
    indices = (result.attributions[0].seconds * 50).round().long()
    return converters.Trace(indices, torch.ones(indices.shape), result.attributions[0].distances)


def test_pitch_for_a_vocoder_without_f0_is_refused(system, two):
    with pytest.raises(InputError, match="takes no F0"):
        system.convert(*two, pitch=2)


def test_silence_stays_silence(encoder, world, speech):
    system = world_system(encoder, world)
    voice = system.matching_set(speech[:1])
    result = system.convert(Waveform(torch.zeros(16_000), 16_000), voice)
    assert not result.waveform.samples.any()


# ---- attribution


def test_attribution_names_the_frames(system, speech, tmp_path):
    voice = system.matching_set(speech, name="both")
    result = system.convert(speech[1], voice, converter="distance", k=2)
    one = result.attributions[0]
    assert one.references == ("waveform 1", "waveform 2")
    assert one.files[:, 0].tolist() == [1] * 74  # each frame finds itself
    np.testing.assert_allclose(one.seconds[:, 0], np.arange(74) / 50)
    np.testing.assert_allclose(one.weights.sum(dim=1), 1.0)
    result.write_attribution(tmp_path / "frames.csv")
    with (tmp_path / "frames.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 74
    row = rows[2 * 10]
    assert (row["frame"], row["second"], row["rank"]) == ("10", "0.200", "1")
    assert (row["voice"], row["reference"], row["reference_second"]) == ("both", "waveform 2", "0.200")
    assert float(row["distance"]) < 1e-5
    assert float(row["weight"]) > 0.9
    assert [entry.name for entry in tmp_path.iterdir()] == ["frames.csv"]


def test_attribution_of_transport_has_no_weight(system, two):
    one = system.convert(*two, converter="transport").attributions[0]
    assert not one.weights.any()
    assert one.distances.shape == (74, 4)


def test_attribution_that_cannot_be_written(system, two, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        system.convert(*two).write_attribution(tmp_path / "file" / "frames.csv")


# ---- refusals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 10_000}, "k is 10000, but the voice has 74 frames"),
        ({"k": 75, "converter": "shift"}, "k is 75, but the voice has 74 frames"),
        ({"converter": "best"}, "one of auto, uniform"),
        ({"interpolation": 1.5}, "between 0"),
        ({"pitch": "high"}, "semitones"),
        ({"tempo": "fast"}, "'auto', 'source', 'target' or a factor"),
        ({"tempo": 3.0}, "between 0.5 and 2.0"),
        ({"loudness": "loud"}, "LUFS"),
        ({"loudness": "contour=2"}, "contour=0.5"),
        ({"loudness": math.inf}, "LUFS"),
        ({"sample_rate": 7999}, "8000 to 48000"),
        ({"sample_rate": "high"}, "8000 to 48000"),
    ],
)
def test_options_out_of_range_are_refused(system, two, options, said):
    with pytest.raises(InputError, match=said):
        system.convert(*two, **options)


def test_a_voice_of_another_encoder_is_refused_by_name(system, two, make_encoder, speech):
    other = building.build(speech[1:], make_encoder("spectra/9"), name="elsewhere")
    with pytest.raises(InputError, match=r"elsewhere.*spectra/1.*spectra/9"):
        system.convert(two[0], other)
    values = building.build(speech[1:], make_encoder(), make_encoder("spectra/9"), name="elsewhere")
    with pytest.raises(InputError, match=r"elsewhere.*spectra/1.*spectra/9"):
        system.convert(two[0], values)


def test_parts_that_do_not_belong_together_are_refused(encoder, make_encoder):
    with pytest.raises(InputError, match=r"spectra/1.*spectra/2"):
        VoiceConverter(encoder, encoder, Tones("spectra/2"))
    slow = Tones()
    slow.frame_rate = 25.0
    with pytest.raises(InputError, match="frames per second"):
        VoiceConverter(encoder, encoder, slow)


def test_sources_that_cannot_be_used_are_refused(system, two, tmp_path):
    with pytest.raises(InputError, match=r"none\.wav"):
        system.convert(tmp_path / "none.wav", two[1])
    with pytest.raises(InputError, match=r"^the audio has 1 samples; 400 needed"):
        system.convert(Waveform(torch.ones(1), 16_000), two[1])
    audio.write(tmp_path / "short.wav", Waveform(torch.ones(300) / 2, 16_000))
    with pytest.raises(InputError, match=r"short\.wav: the audio has 300 samples"):
        system.convert(tmp_path / "short.wav", two[1])
