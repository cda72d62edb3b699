"""The whole path: encode, retrieve, combine, move the pitch, vocode; what it gives, what it says, what it refuses."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch
from helpers import Tones, blend_of

from speechssl import audio
from speechssl.conversion import converters, retrieval, steps
from speechssl.conversion.converters import means, runs, shift, transport, widening
from speechssl.conversion.converters.means import Surroundings
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.predictor import PredictorConfig, PredictorNetwork, ValuePredictor
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform
from speechssl.voices import building, spectrum

RUNS = tuple(row.name for row in converters.TABLE.values() if row.in_runs)


def spoken(system, source, voice, **options):
    """What the vocoder gives, before spectrum and loudness."""
    target = steps.blend(system, voice)
    plan = steps.decide(system, target, ConversionOptions(**options), has_source_values=True)
    return steps.speak(system, source, steps.retrieve(system, source, target, plan), target, plan).waveform


def plan_of(converter, **options):
    return steps.Plan(ConversionOptions(**options), converters.TABLE[converter], "")


class Listener(Tones):
    """One that takes keys beside the frames, and remembers what it heard."""

    key_origin = "spectra/1"

    def vocode(self, features, *, f0=None, keys=None, voice=None):
        self.keys, self.voice = keys.frames, voice
        return super().vocode(features)


def test_everything_prints_as_one_short_line(system, two):
    source, voice = two
    for one in (system, voice, system.convert(source, voice)):
        assert repr(one).startswith(f"{type(one).__name__}(")
        assert "tensor" not in repr(one)
        assert len(repr(one)) < 100


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
    _, trace, _ = steps.convert_frames(system, source, voice, plan_of(converter))
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
        ({"k": "4"}, "k is '4'; a whole number"),
        ({"k": 4.0}, "k is 4.0; a whole number"),
        ({"k": True}, "k is True; a whole number"),
        ({"interpolation": "1"}, "interpolation is '1'; a number"),
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


@pytest.mark.parametrize("voice", ["eric", ["eric.wav"], [("eric", 1.0)], [], None])
def test_what_is_no_voice_is_refused(system, two, voice):
    with pytest.raises(InputError, match="a MatchingSet needed"):
        system.convert(two[0], voice)


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
    for keys, values in (("spectra/2", "spectra/1"), ("spectra/1", "spectra/2")):
        foreign = ValuePredictor(PredictorNetwork(PredictorConfig()), key_origin=keys, value_origin=values)
        with pytest.raises(InputError, match=r"predict .*values.*spectra/2"):
            VoiceConverter(encoder, encoder, Tones(), foreign)
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
