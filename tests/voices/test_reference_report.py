"""The reference report: numbers against what is known of made-up recordings, coverage against brute force, verdicts."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl import audio, checkpoints
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.training import distort
from speechssl.voices import clips, reference_report, second_speaker
from speechssl.voices.reference_report import Coverage, RecordingReport, ReferenceReport
from speechssl.voices.second_speaker import Speakers

RATE = 16_000
CLIPS = checkpoints.PACKAGED / "clips"
VOICES = sorted(CLIPS.glob("*_reference.opus"))
needs_clips = pytest.mark.skipif(len(VOICES) < 4, reason="no clips of speech here")


def waveform(samples: np.ndarray) -> Waveform:
    return Waveform(torch.from_numpy(np.asarray(samples, dtype=np.float32)), RATE)


def clip(voice: int) -> Waveform:
    return audio.read_mono(VOICES[voice], RATE)


def part(whole: Waveform, start: float, stop: float) -> Waveform:
    return Waveform(whole.samples[round(start * RATE) : round(stop * RATE)], RATE)


def recording(**facts: float) -> RecordingReport:
    values = {"seconds": 50.0, "speech_seconds": 40.0, "snr_db": 35.0, "clipping": 0.0, "loudness": -23.0, **facts}
    return RecordingReport("a.wav", **values)


def made_up(speakers: Speakers | None = None, coverage: Coverage | None = None, **facts: float) -> ReferenceReport:
    return ReferenceReport((recording(**facts),), speakers or Speakers(False, 0.5), coverage)


# ---- the numbers


@needs_clips
def test_the_report_holds_what_the_measurements_say() -> None:
    sounds = [part(clip(0), 0, 6), part(clip(0), 6, 15)]
    report = reference_report.report(sounds, names=["one.wav", "two.wav"])
    assert [one.name for one in report.recordings] == ["one.wav", "two.wav"]
    for one, sound in zip(report.recordings, sounds, strict=True):
        assert one.seconds == sound.seconds
        assert one.speech_seconds == pytest.approx(audio.speech_seconds(sound))
        assert one.snr_db == pytest.approx(audio.snr_db(sound))
        assert one.loudness == pytest.approx(audio.loudness(sound))
        assert one.clipping == audio.clipping_fraction(sound)
    assert report.speech_seconds == pytest.approx(sum(map(audio.speech_seconds, sounds)))


def test_totals_are_weighted_by_speech() -> None:
    parts = (
        recording(speech_seconds=30.0, snr_db=30.0, loudness=-20.0, seconds=40.0, clipping=0.01),
        recording(speech_seconds=10.0, snr_db=10.0, loudness=-30.0, seconds=10.0, clipping=0.0),
        recording(speech_seconds=0.0, snr_db=math.nan, loudness=-math.inf, seconds=50.0, clipping=0.0),
    )
    report = ReferenceReport(parts, Speakers(None, math.nan))
    assert report.speech_seconds == 40
    assert report.snr_db == pytest.approx(25)
    assert report.loudness == pytest.approx(-22.5)
    assert report.clipping == pytest.approx(0.004)


@needs_clips
def test_the_dictionary_is_json_and_complete() -> None:
    report = reference_report.report([part(clip(0), 0, 5), waveform(np.zeros(RATE))])
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert plain["verdict"] == report.verdict
    assert plain["recordings"][1] == {
        "name": "2",
        "seconds": 1.0,
        "speech_seconds": 0.0,
        "snr_db": None,
        "clipping": 0.0,
        "loudness": None,
        "sample_rate": RATE,
        "echo": 0.0,
    }
    assert set(plain) >= {"speech_seconds", "snr_db", "loudness", "clipping", "speakers", "coverage", "remarks"}


def test_any_rate_will_do(tmp_path: Path) -> None:
    found = reference_report.report([Waveform(torch.randn(44_100) * 0.1, 44_100)])
    assert found.recordings[0].seconds == 1.0
    audio.write(tmp_path / "call.wav", Waveform(torch.randn(8000) * 0.1, 8000))
    call = reference_report.report([tmp_path / "call.wav"], names=["call.wav"])
    assert (call.recordings[0].seconds, call.recordings[0].sample_rate) == (1.0, 8000)
    assert any("as on a telephone (call.wav)" in remark for remark in call.remarks)


def test_nothing_to_report_on() -> None:
    with pytest.raises(InputError, match="no references"):
        reference_report.report([])


def test_names_for_each() -> None:
    with pytest.raises(InputError, match="2 names for 1 references"):
        reference_report.report([waveform(np.zeros(RATE))], names=["a", "b"])


# ---- verdicts


def test_good_references_are_called_good() -> None:
    assert made_up().remarks == ()
    assert made_up().verdict == "40 s of clean speech of one voice: good."


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"speech_seconds": 0.0, "snr_db": math.nan, "loudness": -math.inf}, "no speech found"),
        ({"speech_seconds": 4.25}, "only 4.2 s of speech; 30 s or more would help"),
        ({"speech_seconds": 12.0}, "12.0 s of speech; 30 s or more would help"),
        ({"snr_db": 9.0}, "noisy (signal-to-noise 9 dB)"),
        ({"snr_db": 18.0}, "some noise (signal-to-noise 18 dB)"),
        ({"echo": 0.1, "snr_db": 9.0}, "an echo of the room (a.wav); record a hand's width from the microphone"),
        ({"clipping": 0.02}, "clipped (a.wav: up to 2.0 % of the samples)"),
        ({"loudness": -52.0}, "very quiet (-52 LUFS)"),
        ({"sample_rate": 8000}, "sampled at 8000 Hz, as on a telephone (a.wav): the frequencies above 4000 Hz"),
    ],
)
def test_each_fault_has_its_sentence(facts: dict[str, float], words: str) -> None:
    report = made_up(**facts)
    assert len(report.remarks) == 1
    assert report.remarks[0].startswith(words)
    assert report.verdict == report.remarks[0] + "."


def test_a_second_speaker_is_named() -> None:
    report = made_up(Speakers(True, 2.0, ("b.wav", "c.wav", "d.wav", "e.wav")))
    assert "more than one speaker suspected: b.wav, c.wav, d.wav and 1 more stand apart" in report.verdict
    assert "more than one speaker suspected; give" in made_up(Speakers(True, 2.0)).verdict


def test_poor_coverage_is_said_and_good_is_not() -> None:
    numbers = {"mean": 0.5, "p5": 0.3, "p50": 0.5, "p95": 0.7, "own_mean": 0.8, "own_p5": 0.6, "own_p50": 0.8}
    assert "only 20 % of it finds" in made_up(coverage=Coverage(**numbers, own_p95=0.9, covered=0.2)).verdict
    assert made_up(coverage=Coverage(**numbers, own_p95=0.9, covered=0.8)).remarks == ()
    assert made_up(coverage=Coverage(**numbers, own_p95=math.nan, covered=math.nan)).remarks == ()


def test_silence_and_noise_are_reported_not_refused() -> None:
    for samples in (np.zeros(2 * RATE), 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)):
        report = reference_report.report([waveform(samples)])
        assert report.speech_seconds == 0
        assert report.speakers == Speakers(None, pytest.approx(math.nan, nan_ok=True))
        assert report.verdict.startswith("no speech found")


@needs_clips
def test_clipped_and_noisy_recordings_are_called_so() -> None:
    samples = clip(0).samples.numpy()
    limit = np.abs(samples).max() / 4
    assert "clipped" in reference_report.report([waveform(samples.clip(-limit, limit))]).verdict
    noise = np.random.default_rng(0).standard_normal(len(samples)) * samples.std() * 0.5
    assert "noisy" in reference_report.report([waveform(samples + noise)]).verdict


@needs_clips
def test_an_echo_is_called_so() -> None:
    said = clip(0)
    room = distort.simulated_room(np.random.default_rng(0), 1.2, 0.0)
    assert "echo" not in reference_report.report([said]).verdict
    assert (
        "an echo of the room"
        in reference_report.report([waveform(distort.in_room(said.samples.numpy(), room))]).verdict
    )
    noise = np.random.default_rng(0).standard_normal(6 * RATE)
    assert "echo" not in reference_report.report([waveform(0.1 * noise)]).verdict


@needs_clips
def test_two_voices_that_only_the_embedder_tells_apart_are_not_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_report, "suspected_speakers", lambda *_: second_speaker.Speakers(False, 0.5))
    ada, eric, again = (clips.clip(*one).path for one in (("ada",), ("eric",), ("ada", "sentence")))
    assert reference_report.report([ada, again]).speakers.suspected is False
    found = reference_report.report([eric, ada, again])
    assert found.speakers.odd == ("eric_reference.opus",)
    assert "more than one speaker suspected" in found.verdict


@needs_clips
def test_noise_and_a_hum_are_no_echo_and_an_echo_in_the_pauses_is_no_noise() -> None:
    said = clip(0).samples.numpy()
    seconds = np.arange(len(said)) / RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * seconds + k) / k for k in range(1, 20))
    noise = np.random.default_rng(0).standard_normal(len(said))
    for sound in (hum, noise):
        verdict = reference_report.report([waveform(said + 0.5 * said.std() / sound.std() * sound)]).verdict
        assert "nois" in verdict
        assert "echo" not in verdict
    hall = waveform(distort.in_room(said, distort.simulated_room(np.random.default_rng(0), 2.2, -6.0)))
    report = reference_report.report([hall])
    assert report.snr_db < 15
    assert "echo" in report.verdict
    assert "nois" not in report.verdict


# ---- coverage


def brute_force(
    source: np.ndarray, voice: np.ndarray, files: np.ndarray, seconds: np.ndarray, gap: float
) -> tuple[np.ndarray, np.ndarray]:
    """Best similarity of each source frame, and of each voice frame elsewhere, one pair at a time in float64."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (source, voice)]
    best = np.array([max(float(a @ b) for b in unit[1]) for a in unit[0]])
    own = []
    for i, a in enumerate(unit[1]):
        elsewhere = [
            float(a @ b) for j, b in enumerate(unit[1]) if files[j] != files[i] or abs(seconds[j] - seconds[i]) > gap
        ]
        own += [max(elsewhere)] if elsewhere else []
    return best, np.array(own)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), frames=st.integers(1, 40), recordings=st.integers(1, 4))
def test_coverage_equals_brute_force(seed: int, frames: int, recordings: int) -> None:
    rng = np.random.default_rng(seed)
    source, voice = rng.standard_normal((15, 6)), rng.standard_normal((frames, 6))
    files, seconds = rng.integers(0, recordings, frames), rng.integers(0, 150, frames) * 0.02
    found = reference_report.cover(
        torch.from_numpy(source),
        torch.from_numpy(voice),
        files=torch.from_numpy(files),
        seconds=torch.from_numpy(seconds),
    )
    best, own = brute_force(source, voice, files, seconds, gap=1.0)
    assert found.mean == pytest.approx(best.mean(), abs=1e-5)
    assert [found.p5, found.p50, found.p95] == pytest.approx(np.percentile(best, [5, 50, 95]), abs=1e-5)
    if len(own) == 0:
        assert math.isnan(found.own_mean)
        assert math.isnan(found.covered)
        return
    levels = np.percentile(own, [5, 50, 95])
    assert [found.own_mean, found.own_p5, found.own_p50, found.own_p95] == pytest.approx(
        [own.mean(), *levels], abs=1e-5
    )
    assert found.covered == pytest.approx(np.mean(best >= levels[0]), abs=1 / 15 + 1e-6)


def test_a_voice_covers_itself_and_not_what_is_foreign() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 32, generator=generator)
    voice = centres[torch.randint(20, (30_000,), generator=generator)] + 0.2 * torch.randn(
        30_000, 32, generator=generator
    )
    files, seconds = torch.arange(30_000) // 1000, (torch.arange(30_000) % 1000) * 0.02
    same = centres[torch.randint(20, (700,), generator=generator)] + 0.2 * torch.randn(700, 32, generator=generator)
    near = reference_report.cover(same, voice.half(), files=files, seconds=seconds)
    assert near.covered == pytest.approx(0.95, abs=0.04)
    far = reference_report.cover(torch.randn(700, 32, generator=generator), voice, files=files, seconds=seconds)
    assert far.covered < 0.02


def test_keys_that_do_not_fit() -> None:
    keys, files = torch.randn(5, 4), torch.zeros(5)
    with pytest.raises(InputError, match="keys of shapes"):
        reference_report.cover(torch.randn(5, 3), keys, files=files, seconds=files)
    with pytest.raises(InputError, match="keys of shapes"):
        reference_report.cover(torch.randn(0, 4), keys, files=files, seconds=files)
    with pytest.raises(InputError, match="for 5 frames"):
        reference_report.cover(keys, keys, files=files[:2], seconds=files)


# ---- more than one speaker


@settings(max_examples=50, deadline=None)
@given(flags=st.lists(st.booleans(), max_size=3000), seed=st.integers(0, 100))
def test_chunks_hold_two_seconds_of_speech_each(flags: list[bool], seed: int) -> None:
    active = np.repeat(np.array(flags, dtype=bool), np.random.default_rng(seed).integers(1, 5, len(flags)))
    found = second_speaker.chunks(active)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(found))
    assert all(active[start:stop].sum() == 200 for start, stop in found[:-1])
    if found:
        assert 100 <= active[found[-1][0] : found[-1][1]].sum() <= 200
    left = active.sum() - sum(active[start:stop].sum() for start, stop in found)
    assert 0 <= left < 100


def test_two_groups_are_found_and_scored() -> None:
    rng = np.random.default_rng(0)
    centre = np.array([4.0, 0.0, 0.0])
    points = np.concatenate([rng.standard_normal((12, 3)) * 0.1, centre + rng.standard_normal((4, 3)) * 0.1])
    score, smaller = second_speaker.two_groups(points)
    assert smaller.tolist() == [False] * 12 + [True] * 4
    means = points[:12].mean(0) - points[12:].mean(0)
    assert score == pytest.approx((means**2).sum() * 12 * 4 / 16 / 3)
    order = rng.permutation(16)
    shuffled, again = second_speaker.two_groups(points[order])
    assert shuffled == pytest.approx(score)
    assert (again == smaller[order]).all()


def test_equal_points_are_one_group() -> None:
    score, smaller = second_speaker.two_groups(np.ones((5, 3)))
    assert score == 0
    assert not smaller.any()


@needs_clips
@pytest.mark.parametrize("voice", range(4))
def test_one_voice_is_not_suspected(voice: int) -> None:
    whole = clip(voice)
    found = reference_report.report([part(whole, 0, 8), part(whole, 8, 20)]).speakers
    assert found.suspected is False
    assert found.odd == ()


@needs_clips
def test_a_recording_of_another_voice_is_suspected_and_named() -> None:
    sounds = [part(clip(0), 0, 8), part(clip(0), 8, 16), part(clip(5), 0, 8)]
    found = reference_report.report(sounds, names=["a", "b", "c"]).speakers
    assert found.suspected is True
    assert found.odd == ("c",)


@needs_clips
def test_recordings_have_the_names_of_their_files() -> None:
    files = [clips.clip("ada", "sentence").path, clips.clip("beth", "sentence").path]
    found = reference_report.report(files).recordings
    assert [one.name for one in found] == ["ada_sentence.opus", "beth_sentence.opus"]
    found = reference_report.report([audio.read(file) for file in files]).recordings
    assert [one.name for one in found] == ["1", "2"]


@needs_clips
def test_another_voice_within_one_recording_is_suspected() -> None:
    both = torch.cat([part(clip(0), 0, 12).samples, part(clip(5), 0, 12).samples])
    assert reference_report.report([Waveform(both, RATE)]).speakers.suspected is True


@needs_clips
def test_too_little_speech_to_say() -> None:
    found = reference_report.report([part(clip(0), 0, 2)]).speakers
    assert found.suspected is None
    assert math.isnan(found.score)
