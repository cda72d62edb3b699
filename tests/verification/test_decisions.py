"""Scores and decisions: verification and identification, on the clips that ship with the package."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import by_seconds

from speechssl import audio, checkpoints
from speechssl.errors import InputError
from speechssl.signals import Embedding, Waveform
from speechssl.verification import decisions, embedders, evaluation, screening
from speechssl.verification import scoring as scoring_module
from speechssl.verification.band import Band, KnownBands
from speechssl.verification.calibration import Calibration
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.verification.trials import Trial

CLIPS = checkpoints.PACKAGED / "clips"
CONFIG = {"input_dim": 160, "channels": 16, "dim": 12, "bottleneck": 8, "scale": 4, "padding": "zeros"}
NAMES = ("ada", "beth", "cleo", "dan", "eric", "finn")
WIDE, PHONE = Band(0.0, 8000.0), Band(187.5, 3875.0)


def calibration(origin: str, *, scoring: str = "cosine") -> Calibration:
    return Calibration(origin, 10.0, -5.0, 0.6, 0.5, 0.7, 0.01, 0.0, 0.02, "my trials", scoring)


def embedding(*values: float, origin: str = "m@1") -> Embedding:
    return Embedding(torch.nn.functional.normalize(torch.tensor(values, dtype=torch.float32), dim=0), origin)


def utterance(*values: float, origin: str = "m@1") -> decisions.Utterance:
    return decisions.Utterance("x.wav", embedding(*values, origin=origin), 5.0, f"sha of {values}", ("quiet",), WIDE)


def test_score_is_the_cosine_with_the_mean_of_the_enrolment() -> None:
    one, two, test = embedding(1, 0, 0), embedding(0, 1, 0), embedding(1, 0, 1)
    assert scoring_module.score([one], test) == pytest.approx(2**-0.5)
    assert scoring_module.score([one, two], test) == pytest.approx(0.5)
    assert scoring_module.score([two, one], test) == scoring_module.score([one, two], test)


def test_normalised_score_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    cohort = rng.normal(size=(300, 3))
    cohort /= np.linalg.norm(cohort, axis=1, keepdims=True)
    one, test = embedding(1, 2, 0), embedding(0, 1, 1)
    cosine = float(one.vector.double() @ test.vector.double())
    expected = 0.0
    for side in (one, test):
        nearest = np.sort(cohort @ side.vector.double().numpy())[-200:]
        expected += (cosine - nearest.mean()) / nearest.std(ddof=1) / 2
    assert scoring_module.score([one], test, cohort=torch.from_numpy(cohort)) == pytest.approx(expected, rel=1e-5)
    stack = {"a": one.vector.double().numpy(), "b": test.vector.double().numpy()}
    found = evaluation.score_trials([Trial("a", "b", True)], stack, cohort=cohort)
    assert found[0] == pytest.approx(expected, rel=1e-5)


def test_models_are_never_mixed() -> None:
    with pytest.raises(InputError, match=r"m@1.*n@2|n@2.*m@1"):
        scoring_module.score([embedding(1, 0)], embedding(1, 0, origin="n@2"))
    with pytest.raises(InputError, match="use this calibration"):
        decisions.verify([utterance(1, 0)], utterance(1, 0), calibration=calibration("n@2"))
    with pytest.raises(InputError, match="nothing enrolled"):
        scoring_module.score([], embedding(1, 0))
    with pytest.raises(InputError, match="that need the model"):
        decisions.verify([utterance(1, 0)], utterance(1, 0), calibration=calibration("m@1", scoring="as-norm"))


def test_decision_follows_the_calibration_the_prior_and_the_threshold_given() -> None:
    sides = [utterance(1, 0)], utterance(0.55, (1 - 0.55**2) ** 0.5)  # cosine 0.55
    plain = decisions.verify(*sides)
    assert (plain.accepted, plain.llr, plain.probability) == (None, None, None)
    assert "not calibrated" in plain.threshold_source
    kept = decisions.verify(*sides, calibration=calibration("m@1"))
    assert kept.score == pytest.approx(0.55)
    assert kept.llr == pytest.approx(0.5)
    assert kept.accepted is False  # threshold 0.6
    assert kept.threshold_source == "for a false-alarm rate of 0.01, by the calibration on my trials"
    even = decisions.verify(*sides, calibration=calibration("m@1"), prior=0.5)
    assert even.accepted is True
    assert even.probability == pytest.approx(1 / (1 + np.exp(-0.5)))
    rare = decisions.verify(*sides, calibration=calibration("m@1"), prior=0.01)
    assert rare.accepted is False
    assert rare.probability == pytest.approx(1 / (1 + 99 * np.exp(-0.5)))
    assert decisions.verify(*sides, calibration=calibration("m@1"), threshold=0.5).accepted is True
    assert kept.remarks == ("x.wav: quiet", "x.wav: quiet")


def test_identify_ranks_and_says_unknown(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        for name, values in (("ada", (1.0, 0.0)), ("bob", (0.0, 1.0))):
            given = Enrolment(embedding(*values), "x.wav", name.encode().hex().rjust(64, "0"), 2.0, WIDE)
            database.enrol(name, [given])
        database.enrol("eve", [Enrolment(embedding(1.0, 0.1, origin="n@2"), "x.wav", "e" * 64, 2.0)])
        near, far = utterance(1, 0.1), utterance(-1, 0.6)
        ranked = decisions.identify(near, database, calibration=calibration("m@1"))
        assert [row.speaker for row in ranked] == ["ada", "bob"]
        assert [row.accepted for row in ranked] == [True, False]
        assert not any(row.accepted for row in decisions.identify(far, database, calibration=calibration("m@1")))
        with pytest.raises(InputError, match=r"nobody is enrolled .* with third@3 .*2 with m@1, 1 with n@2"):
            decisions.identify(utterance(1, 0, origin="third@3"), database)


def lasting(seconds: float, *values: float) -> decisions.Utterance:
    return decisions.Utterance("x.wav", embedding(*values), seconds, "sha", band=WIDE)


def test_decision_follows_the_seconds_of_speech_of_both_sides() -> None:
    half = 0.5, 0.75**0.5  # cosine 0.5 with (1, 0)
    typical = decisions.verify([lasting(10, 1, 0)], lasting(4, *half), calibration=by_seconds())
    assert (typical.llr, typical.threshold) == (pytest.approx(0.0, abs=1e-5), pytest.approx(0.6))
    assert typical.threshold_source == (
        "where the likelihood ratio is 1, by the calibration on my trials, for 10.0 s and 4.0 s of speech"
    )
    longer = decisions.verify([lasting(20, 1, 0)], lasting(8, *half), calibration=by_seconds())
    expected = 10 + 5 * np.log(2), -5 - np.log(2)
    assert longer.llr == pytest.approx(0.5 * expected[0] + expected[1])
    assert longer.threshold == pytest.approx((1.0 - expected[1]) / expected[0])  # ratio of the threshold, 10 * 0.6 - 5
    # several recordings count as one of their seconds together
    parts = [lasting(15, 1, 0), lasting(5, 1, 0)]
    assert decisions.verify(parts, lasting(8, *half), calibration=by_seconds()).llr == pytest.approx(longer.llr)
    rare = decisions.verify([lasting(20, 1, 0)], lasting(8, *half), calibration=by_seconds(), prior=0.01)
    assert rare.threshold == pytest.approx((np.log(99) - expected[1]) / expected[0])
    assert rare.probability == pytest.approx(1 / (1 + 99 * np.exp(-rare.llr)))


def test_identification_ranks_by_the_ratio_where_seconds_count(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        database.enrol("brief", [Enrolment(embedding(1.0, 0.1), "a.wav", "a" * 64, 2.0, WIDE)])
        database.enrol("long", [Enrolment(embedding(1.0, 0.2), name, name * 64, 30.0, WIDE) for name in "bc"])
        test = lasting(6, 1, 0)
        ranked = decisions.identify(test, database, calibration=by_seconds())
        assert [row.speaker for row in ranked] == ["long", "brief"]
        assert ranked[0].llr > ranked[1].llr
        assert ranked[0].score < ranked[1].score
        pairs = {"long": [lasting(60, 1, 0.2)], "brief": [lasting(2, 1, 0.1)]}
        for row in ranked:
            assert row.llr == pytest.approx(decisions.verify(pairs[row.speaker], test, calibration=by_seconds()).llr)
        given = decisions.identify(test, database, calibration=by_seconds(), threshold=0.99)
        assert [(row.speaker, row.accepted) for row in given] == [("brief", True), ("long", False)]


# -- recordings


def write(path: Path, samples: torch.Tensor, rate: int = 16000) -> Path:
    audio.write(path, Waveform(samples.float().contiguous(), rate))
    return path


def music(seconds: float = 6.0) -> torch.Tensor:
    """Chords of plucked strings, two a second, and a drum."""
    time = torch.arange(round(16000 * seconds)) / 16000
    since, chord = time % 0.5, (time * 2).long() % 4
    root = torch.tensor([220.0, 174.6, 261.6, 196.0])[chord]
    strings = sum(torch.sin(2 * torch.pi * root * r * h * time) / h for r in (1, 1.26, 1.5) for h in (1, 2, 3, 4, 5))
    drum = torch.sin(2 * torch.pi * 60 * since) * torch.exp(-20 * since)
    return 0.05 * strings * torch.exp(-3 * since) + 0.2 * drum


@pytest.mark.parametrize("kind", ["silence", "hum", "noise", "short", "music"])
def test_too_little_speech_gives_no_score(kind: str, tmp_path: Path, model: Path) -> None:
    clip = audio.read_mono(CLIPS / "ada_reference.opus", 16000).samples
    time = torch.arange(48000) / 16000
    generator = torch.Generator().manual_seed(0)
    samples = {
        "silence": torch.zeros(48000),
        "hum": 0.1 * torch.sin(2 * torch.pi * 100 * time),
        "noise": 0.05 * torch.randn(48000, generator=generator),
        "short": torch.cat([torch.zeros(16000), clip[8000:14000], torch.zeros(16000)]),
        "music": music(),
    }[kind]
    with pytest.raises(InputError, match=r"not enough speech \(0\.\d s, 1 s needed\)"):
        decisions.embed(write(tmp_path / "x.wav", samples), embedders.load(model, device="cpu"))


def test_what_makes_a_decision_doubtful_is_said(tmp_path: Path, model: Path) -> None:
    embedder = embedders.load(model, device="cpu")
    clip = audio.read_mono(CLIPS / "ada_reference.opus", 16000).samples
    clipped = (clip / clip.abs().max() * 4).clamp(-0.9, 0.9)
    assert any("clipped" in remark for remark in decisions.embed(write(tmp_path / "c.wav", clipped), embedder).remarks)
    brief = decisions.embed(write(tmp_path / "b.wav", clip[: int(2.2 * 16000)]), embedder)
    assert any("of speech; 3 s make a surer decision" in remark for remark in brief.remarks)


def test_other_rates_and_stereo_give_nearly_the_same_embedding(tmp_path: Path, model: Path) -> None:
    import soundfile

    embedder = embedders.load(model, device="cpu")
    clip = audio.read_mono(CLIPS / "ada_reference.opus", 16000)
    plain = decisions.embed(write(tmp_path / "a.wav", clip.samples), embedder).embedding.vector
    other = audio.resample(clip, 48000)
    high = decisions.embed(write(tmp_path / "b.wav", other.samples, 48000), embedder).embedding.vector
    assert float(plain @ high) > 0.99
    # speech in the right channel alone counts as well
    right = np.stack([np.zeros(len(clip.samples)), clip.samples.numpy()], axis=1)
    soundfile.write(tmp_path / "c.wav", right, 16000, subtype="FLOAT")
    stereo = decisions.embed(tmp_path / "c.wav", embedder).embedding.vector
    assert float(plain @ stereo) > 0.99


class Pitch:
    """Hears nothing but pitch, so that findings do not depend on weights."""

    origin, sample_rate, dim = "pitch@1", 16000, 2
    cohort = calibration = None

    def embed(self, waveform: Waveform) -> Embedding:
        contour = audio.f0(waveform)
        angle = float(contour[contour > 0].median()) / 100
        return embedding(np.cos(angle), np.sin(angle), origin=self.origin)


def write_stereo(path: Path, left: torch.Tensor, right: torch.Tensor) -> Path:
    import soundfile

    soundfile.write(path, torch.stack([left, right], dim=1).numpy(), 16000, subtype="FLOAT")
    return path


def test_channels_are_heard_apart_where_they_differ(tmp_path: Path) -> None:
    one, two = (audio.read_mono(CLIPS / f"{name}_reference.opus", 16000).samples[:64000] for name in ("ada", "eric"))
    plain = decisions.embed(write(tmp_path / "a.wav", one), Pitch())
    # channels that cancel: their mean is silence
    against = decisions.embed(write_stereo(tmp_path / "b.wav", one, -one), Pitch())
    assert float(plain.embedding.vector @ against.embedding.vector) > 0.9999
    assert against.remarks == ("its channels cancel each other; channel 1 was taken", *plain.remarks)
    # a voice in each, as calls are recorded
    sharp = Calibration("pitch@1", 40.0, -36.0, 0.9, 0.9, 0.9, None, 0.0, 0.1, "x")
    suspected = "two speakers suspected, one in each channel; give the channel of one speaker"
    both = decisions.embed(write_stereo(tmp_path / "c.wav", one, two), Pitch(), calibration=sharp)
    assert suspected in both.remarks
    # a pair that is decided to be of two, though the ratio is above what a search for the worst parting needs
    mild = dataclasses.replace(sharp, scale=2.0, offset=-1.8)
    assert suspected in decisions.embed(tmp_path / "c.wav", Pitch(), calibration=mild).remarks
    for name, right in (("d", one), ("e", 0 * one), ("f", one.roll(160) * 0.3)):
        same = decisions.embed(write_stereo(tmp_path / f"{name}.wav", one, right), Pitch(), calibration=sharp)
        assert suspected not in same.remarks
    with pytest.raises(InputError, match=r"not enough speech \(0\.0 s"):
        decisions.embed(write_stereo(tmp_path / "g.wav", 0 * one, 0.01 * one.sign()), Pitch())


def test_a_rate_below_the_models_is_remarked_on(tmp_path: Path, model: Path) -> None:
    clip = audio.resample(audio.read_mono(CLIPS / "ada_reference.opus", 16000), 8000).samples[:40000]
    low = decisions.embed(write(tmp_path / "low.wav", clip, 8000), embedders.load(model, device="cpu"))
    assert any(remark.startswith("sampled at 8000 Hz, 16000 Hz needed") for remark in low.remarks)
    assert not any("music or noise" in remark for remark in low.remarks)  # the rate says why


def test_two_speakers_are_suspected_where_parts_of_a_recording_differ(model: Path) -> None:
    one = audio.read_mono(CLIPS / "ada_reference.opus", 16000).samples
    two = audio.read_mono(CLIPS / "eric_reference.opus", 16000).samples
    size = min(len(one), len(two), 6 * 16000)
    both = Waveform(torch.cat([one[:size], two[:size]]), 16000)
    alone = Waveform(torch.cat([one[:size], one[:size]]), 16000)
    measure = calibration("pitch@1")
    mixed, single = (screening.two_speaker_llr(w, Pitch(), measure) for w in (both, alone))
    assert mixed is not None
    assert single is None or single > mixed
    assert screening.two_speaker_llr(Waveform(one[: 5 * 16000], 16000), Pitch(), measure) is None
    # whoever speaks after two minutes is heard as well
    late = Waveform(torch.cat([one[:size].repeat(22), two[:size].repeat(22)]), 16000)
    found = screening.two_speaker_llr(late, Pitch(), measure)
    assert found is not None
    assert found < (single or 0.0)


def test_verification_of_files_follows_the_model_the_database_and_the_prior(tmp_path: Path, model: Path) -> None:
    import speechssl

    one, two = CLIPS / "ada_reference.opus", CLIPS / "ada_sentence.opus"
    found = speechssl.verify(one, two, model=model, threshold=-1)
    utterance = speechssl.embed(two, model)
    assert found.origin == utterance.embedding.origin == speechssl.load_embedder(model).origin
    assert found.accepted is True
    cohort = speechssl.load_embedder(model).cohort
    enrolled = [speechssl.embed(path, model).embedding for path in (one, two)]
    several = speechssl.verify([one, two], two, model=speechssl.load_embedder(model))
    assert several.score == pytest.approx(scoring_module.score(enrolled, utterance.embedding, cohort=cohort))
    with speechssl.SpeakerDatabase(tmp_path / "x.sqlite") as database:
        database.set_calibration(calibration(found.origin))
        decided = speechssl.verify(one, two, model=model, database=database, prior=0.5)
    assert decided.llr == pytest.approx(10 * decided.score - 5)
    assert decided.accepted is (decided.score >= 0.5)


def over(band: Band | None, *values: float) -> decisions.Utterance:
    return decisions.Utterance("x.wav", embedding(*values), 5.0, "sha", band=band)


@pytest.mark.parametrize(("one", "two"), [(PHONE, PHONE), (WIDE, PHONE), (PHONE, WIDE), (None, WIDE)])
def test_lines_that_the_calibration_does_not_know_get_no_decision(one: Band | None, two: Band) -> None:
    sides = [over(one, 1, 0)], over(two, 1, 0)
    for prior in (None, 0.01):
        found = decisions.verify(*sides, calibration=calibration("m@1"), prior=prior)
        assert (found.accepted, found.llr, found.probability, found.threshold) == (None, None, None, None)
        assert found.decision == found.as_dict()["decision"] == "none"
        assert found.remarks[0].startswith("no decision: ")
    # a threshold of the caller's decides on the score, without a probability
    given = decisions.verify(*sides, calibration=calibration("m@1"), threshold=0.5)
    assert (given.accepted, given.probability, given.decision) == (True, None, "same")
    assert given.remarks[0].startswith("decided by the threshold given")


def test_a_calibration_on_a_line_decides_on_that_line_only() -> None:
    own = dataclasses.replace(calibration("m@1"), bands=KnownBands(3300.0, 4400.0))
    same = decisions.verify([over(PHONE, 1, 0)], over(PHONE, 1, 0), calibration=own)
    assert (same.accepted, same.decision) == (True, "same")
    assert decisions.verify([over(PHONE, 1, 0)], over(PHONE, -1, 0), calibration=own).decision == "different"
    for one, two in ((WIDE, PHONE), (WIDE, WIDE)):
        assert decisions.verify([over(one, 1, 0)], over(two, 1, 0), calibration=own).decision == "none"


def test_over_lines_that_came_with_the_model_nothing_is_quite_sure() -> None:
    line = dataclasses.replace(calibration("m@1"), bands=KnownBands(3300.0, 4400.0), scale=100.0)
    whole = dataclasses.replace(calibration("m@1"), scale=100.0, lines=(line,))
    over_line = decisions.verify([over(PHONE, 1, 0)], over(PHONE, 1, 0), calibration=whole)
    assert over_line.decision == "same"
    assert over_line.probability == pytest.approx(0.99, abs=1e-4)
    assert decisions.verify([over(WIDE, 1, 0)], over(WIDE, 1, 0), calibration=whole).probability > 0.999
    assert decisions.verify([over(PHONE, 1, 0)], over(PHONE, -1, 0), calibration=whole).probability < 1e-6


def test_identification_over_an_unknown_line_names_nobody(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        database.enrol("ada", [Enrolment(embedding(1.0, 0.0), "a.wav", "a" * 64, 5.0, WIDE)])
        database.enrol("bob", [Enrolment(embedding(0.0, 1.0), "b.wav", "b" * 64, 5.0, WIDE)])
        ranked = decisions.identify(over(PHONE, 1, 0), database, calibration=calibration("m@1"))
        assert decisions.outcome(ranked) == ("none", None)
        assert [(row.accepted, row.llr) for row in ranked] == [(None, None)] * 2
        (remark,) = decisions.remarks_of(ranked)
        assert remark.startswith("no decision: the test recording carries speech from 188 to 3875 Hz")
        near, far = (over(WIDE, *values) for values in ((1.0, 0.1), (-1.0, -0.6)))
        assert decisions.outcome(decisions.identify(near, database, calibration=calibration("m@1"))) == ("known", "ada")
        assert decisions.outcome(decisions.identify(far, database, calibration=calibration("m@1"))) == ("unknown", None)
        # of somebody enrolled over a telephone nothing is known: they come last, and may be the one who speaks
        database.enrol("cleo", [Enrolment(embedding(1.0, 0.05), "c.wav", "c" * 64, 5.0, PHONE)])
        ranked = decisions.identify(near, database, calibration=calibration("m@1"))
        assert [row.speaker for row in ranked] == ["ada", "bob", "cleo"]
        assert decisions.outcome(ranked) == ("known", "ada")
        ranked = decisions.identify(far, database, calibration=calibration("m@1"))
        assert decisions.outcome(ranked) == ("none", None)
        assert decisions.remarks_of(ranked)[0].startswith("cleo: no decision: an enrolled recording")


def test_where_only_the_prior_leaves_it_open_the_ratio_is_told_and_the_best_stays_first(tmp_path: Path) -> None:
    cautious = dataclasses.replace(calibration("m@1"), cautious=True)
    strict = {"calibration": cautious, "prior": 1e-4}
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        for name, values in (("ada", (0.0, 1.0)), ("beth", (1.0, 0.0))):
            database.enrol(name, [Enrolment(embedding(*values), name, name.encode().hex().rjust(64, "0"), 5.0, WIDE)])
        test = utterance(1, 0.1)
        ranked = decisions.identify(test, database, **strict)
        assert [(row.speaker, row.accepted) for row in ranked] == [("beth", None), ("ada", False)]
        assert decisions.outcome(ranked) == ("none", None)
    found = decisions.verify([utterance(1, 0)], test, **strict)
    assert (found.accepted, found.decision) == (None, "none")
    assert found.llr == ranked[0].llr == pytest.approx(10 * found.score - 5)
    assert found.threshold == pytest.approx((np.log(9999) + 5) / 10)
    assert found.probability == pytest.approx(1 / (1 + 9999 * np.exp(-found.llr)))
    assert found.remarks[0].startswith("no decision, because of the prior of 0.0001: the log-likelihood ratio of 4.95")
    # the recordings are the cause: without a prior nothing is decided either
    close = utterance(0.55, (1 - 0.55**2) ** 0.5)
    found = decisions.verify([utterance(1, 0)], close, **strict)
    assert (found.llr, found.probability, found.threshold) == (None, None, None)
    assert found.remarks[0] == decisions.UNSURE


def test_an_undecided_candidate_ranks_by_the_ratio_and_is_mentioned_only_if_nobody_is_named(tmp_path: Path) -> None:
    line = dataclasses.replace(calibration("m@1"), bands=KnownBands(3300.0, 4400.0), cautious=True)
    whole = dataclasses.replace(calibration("m@1"), lines=(line,))
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        for name, values in (("ada", (0.0, 1.0)), ("beth", (0.55, 0.835)), ("cleo", (1.0, 0.0))):
            row = Enrolment(embedding(*values), name, name.encode().hex().rjust(64, "0"), 5.0, PHONE)
            database.enrol(name, [row])
        ranked = decisions.identify(over(PHONE, 1, 0), database, calibration=whole)
        assert [(row.speaker, row.accepted) for row in ranked] == [("cleo", True), ("beth", None), ("ada", False)]
        assert (decisions.outcome(ranked), decisions.remarks_of(ranked)) == (("known", "cleo"), [])
        database.remove("cleo")
        ranked = decisions.identify(over(PHONE, 1, 0), database, calibration=whole)
    assert [(row.speaker, row.accepted) for row in ranked] == [("beth", None), ("ada", False)]
    assert decisions.remarks_of(ranked) == [f"beth: {decisions.UNSURE_OVER_LINES}"]


def test_the_same_recording_on_both_sides_or_under_two_names_is_said(tmp_path: Path) -> None:
    known = calibration("m@1")
    assert decisions.ENROLLED in decisions.verify([utterance(1, 0)], utterance(1, 0), calibration=known).remarks
    assert decisions.ENROLLED not in decisions.verify([utterance(1, 0)], utterance(1, 0.1), calibration=known).remarks
    row = Enrolment(embedding(1.0, 0.0), "a.wav", "a" * 64, 5.0, WIDE)
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        for name in ("zoe", "ada"):
            database.enrol(name, [row])
        ranked = decisions.identify(utterance(1, 0.1), database, calibration=known)
        same = decisions.identify(dataclasses.replace(utterance(1, 0), sha256="a" * 64), database, calibration=known)
    assert decisions.remarks_of(ranked) == [decisions.TIED.format("zoe", "ada")]
    assert decisions.remarks_of(same) == [decisions.TIED.format("zoe", "ada"), decisions.ENROLLED]


def test_strangers_on_the_telephone_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """The model and calibration that ship, over G.711 at 8 kHz: the pair of strangers that passed with p = 0.9956."""
    import soundfile

    import speechssl

    files = {}
    for name in ("ada", "eric"):
        clip = audio.resample(audio.read_mono(CLIPS / f"{name}_reference.opus", 16000), 8000)
        files[name] = tmp_path / f"{name}.wav"
        soundfile.write(files[name], clip.samples.numpy(), 8000, subtype="ULAW")
    wide = CLIPS / "ada_sentence.opus"
    for one, two in ((files["ada"], files["eric"]), (wide, files["eric"])):
        found = speechssl.verify(one, two)
        assert found.decision in ("none", "different")
        assert found.probability is None or found.probability < 0.1
    found = speechssl.verify(files["ada"], wide)
    assert found.decision in ("none", "same")
    assert (found.probability or 0.0) < 0.9901
    assert speechssl.verify(CLIPS / "ada_reference.opus", wide).decision == "same"


def test_each_bundled_voice_is_known_and_taken_for_no_other(tmp_path: Path) -> None:
    import speechssl

    database = tmp_path / "six.sqlite"
    for name in NAMES:
        speechssl.enrol(name, speechssl.clip(name), database=database)
    for name in NAMES:
        ranked = speechssl.identify(speechssl.clip(name, "sentence"), database=database)
        assert [row.speaker for row in ranked if row.accepted] == [name]


def test_evaluation_scores_decide_nothing_in_use() -> None:
    with pytest.raises(InputError, match="plda scores"):
        decisions.verify([utterance(1, 0)], utterance(1, 0), calibration=calibration("m@1", scoring="plda"))
