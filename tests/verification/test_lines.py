"""What verification answers over lines: enrolment at a microphone, the test over ten lines; and bad recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import signal

import speechssl
from speechssl import audio, checkpoints
from speechssl.errors import InputError
from speechssl.signals import Embedder, Waveform
from speechssl.training import distort
from speechssl.verification import decisions
from speechssl.verification.database import Enrolment, SpeakerDatabase

CLIPS = checkpoints.PACKAGED / "clips"
RATE = 16000
Samples = NDArray[np.float32]


def filtered(samples: Samples, edges: float | list[float], kind: str) -> Samples:
    found: Samples = signal.sosfilt(signal.butter(8, edges, kind, fs=RATE, output="sos"), samples)
    return found.astype(np.float32)


LINES: dict[str, Callable[[Samples], Samples]] = {
    "telephone": lambda x: filtered(x, [300, 3400], "bandpass"),
    "G.711": lambda x: distort.mu_law(distort.through_line(x, 300, 3400)),
    "Opus, 6 kbit/s": lambda x: distort.coded(x, "opus", 0.0),
    "MP3, 8 kbit/s": lambda x: distort.coded(x, "mp3", 0.01),
    "MP3, 16 kbit/s": lambda x: distort.coded(x, "mp3", 0.05),
    "low-pass, 2 kHz": lambda x: filtered(x, 2000, "lowpass"),
    "low-pass, 4 kHz": lambda x: filtered(x, 4000, "lowpass"),
    "low-pass, 7 kHz": lambda x: filtered(x, 7000, "lowpass"),
    "high-pass, 300 Hz": lambda x: filtered(x, 300, "highpass"),
    "a band of 1 kHz": lambda x: filtered(x, [500, 1500], "bandpass"),
}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return speechssl.load_embedder("tiny", device="cpu")


@pytest.fixture(scope="module")
def speech() -> Samples:
    found: Samples = audio.read_mono(CLIPS / "ada_sentence.opus", RATE).samples.numpy()[: 5 * RATE]
    return found


def embedded(samples: Samples, folder: Path, embedder: Embedder) -> decisions.Utterance:
    path = folder / "x.wav"
    audio.write(path, Waveform(torch.from_numpy(np.ascontiguousarray(samples)), RATE))
    return speechssl.embed(path, embedder)


@pytest.mark.parametrize("line", LINES)
def test_enrolment_at_a_microphone_and_a_test_on_a_line(
    line: str, speech: Samples, embedder: Embedder, tmp_path: Path
) -> None:
    calibration = decisions.shipped_calibration(embedder)
    clean, heard = (embedded(x, tmp_path, embedder) for x in (speech, LINES[line](speech)))
    other = audio.read_mono(CLIPS / "eric_sentence.opus", RATE).samples.numpy()[: 5 * RATE]
    stranger = embedded(LINES[line](other), tmp_path, embedder)
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        row = Enrolment(clean.embedding, clean.name, clean.sha256, clean.seconds, clean.band)
        database.enrol("ada", [row])
        ranked = decisions.identify(heard, database, calibration=calibration, cohort=embedder.cohort)
        of_stranger = decisions.identify(stranger, database, calibration=calibration, cohort=embedder.cohort)
    # a person is never said to be another, and a stranger never to be the person; nothing over a line is quite sure
    assert decisions.outcome(ranked)[0] in ("known", "none")
    assert decisions.outcome(of_stranger)[0] in ("unknown", "none")
    for enrolment in ([clean], [heard], [clean, heard]):
        found = decisions.verify(enrolment, heard, calibration=calibration, cohort=embedder.cohort)
        assert found.decision in ("same", "none")
        assert (found.probability is None) is (found.decision == "none")
        assert (found.probability or 0.0) <= 0.9901
        found = decisions.verify(enrolment, stranger, calibration=calibration, cohort=embedder.cohort)
        assert found.decision in ("different", "none")
        assert (found.probability or 0.0) < 0.5
    assert decisions.verify([clean], clean, calibration=calibration, cohort=embedder.cohort).decision == "same"


def test_a_woman_and_a_man_on_the_telephone_differ_and_a_person_is_never_another(
    speech: Samples, embedder: Embedder, tmp_path: Path
) -> None:
    calibration = decisions.shipped_calibration(embedder)
    ada, more, eric = (
        embedded(LINES["telephone"](audio.read_mono(CLIPS / name, RATE).samples.numpy()), tmp_path, embedder)
        for name in ("ada_sentence.opus", "ada_reference.opus", "eric_reference.opus")
    )
    assert decisions.verify([ada], eric, calibration=calibration, cohort=embedder.cohort).decision == "different"
    assert decisions.verify([ada], more, calibration=calibration, cohort=embedder.cohort).decision in ("same", "none")


def test_lines_that_share_no_band(speech: Samples, embedder: Embedder, tmp_path: Path) -> None:
    low, high = (
        embedded(filtered(speech, *line), tmp_path, embedder) for line in ((900, "lowpass"), (3000, "highpass"))
    )
    found = decisions.verify([low], high, calibration=decisions.shipped_calibration(embedder), cohort=embedder.cohort)
    assert found.decision == "none"
    assert found.remarks[0].startswith("no decision: the recordings share no frequencies: ")


def test_half_a_second_is_refused(speech: Samples, embedder: Embedder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not enough speech"):
        embedded(speech[RATE : RATE + RATE // 2], tmp_path, embedder)


def test_stereo_of_inverted_polarity_is_heard(speech: Samples, embedder: Embedder, tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "inverted.wav"
    soundfile.write(path, np.stack([speech, -speech], axis=1), RATE)
    heard, plain = speechssl.embed(path, embedder), embedded(speech, tmp_path, embedder)
    assert any("cancel" in remark for remark in heard.remarks)
    found = decisions.verify(
        [plain], heard, calibration=decisions.shipped_calibration(embedder), cohort=embedder.cohort
    )
    assert found.decision == "same"


def test_noise_on_both_sides_makes_nobody_the_same_and_on_one_side_does_no_harm(
    speech: Samples, embedder: Embedder, tmp_path: Path
) -> None:
    calibration = decisions.shipped_calibration(embedder)
    other = audio.read_mono(CLIPS / "finn_sentence.opus", RATE).samples.numpy()[: 5 * RATE]

    def noisy(samples: Samples, decibels: float, seed: int) -> decisions.Utterance:
        noise = np.random.default_rng(seed).normal(size=len(samples)).astype(np.float32)
        return embedded(distort.with_noise(samples, noise, decibels), tmp_path, embedder)

    clean = embedded(speech, tmp_path, embedder)
    for decibels in (15, 10):
        one, again, stranger = noisy(speech, decibels, 0), noisy(speech, decibels, 1), noisy(other, decibels, 2)
        found = decisions.verify([one], again, calibration=calibration, cohort=embedder.cohort)
        assert found.decision in ("same", "none")
        assert (found.probability or 0.0) <= 0.9901
        found = decisions.verify([one], stranger, calibration=calibration, cohort=embedder.cohort)
        assert found.decision in ("different", "none")
        for other_one, answers in ((stranger, ("different", "none")), (again, ("same", "none"))):
            found = decisions.verify([clean], other_one, calibration=calibration, cohort=embedder.cohort)
            assert found.decision in answers
            assert (found.probability or 0.0) <= 0.9901
    worst = [noisy(samples, 6, seed) for seed, samples in enumerate((speech, other))]
    found = decisions.verify(worst[:1], worst[1], calibration=calibration, cohort=embedder.cohort)
    assert found.decision == "none"
    assert "both recordings are under noise" in found.remarks[0]
