"""What the tests of several packages share: speech, an encoder of spectra, recordings of tones, a small codebook."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch

from speechssl import audio, cli
from speechssl.conversion import steps
from speechssl.signals import Features, Waveform
from speechssl.voices import clips


class Answer(NamedTuple):
    """What a command leaves: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def fetched(url: str, seconds: float) -> tuple[int, bytes]:
    """Status and body of a page, whatever its status; OSError if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


GRADIO_WARNS = (
    "ignore::DeprecationWarning",  # Gradio and what it uses warn of their own future
    "ignore::UserWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def ignore_warnings(items: list[pytest.Item], folder: Path, warnings: Iterable[str]) -> None:
    """Let the tests below a folder ignore some warnings."""
    for item in items:
        if folder in item.path.parents:
            for warning in warnings:
                item.add_marker(pytest.mark.filterwarnings(warning))


def takes(waveform: Waveform, folder: Path, names: Iterable[str]) -> list[Path]:
    """Files of half a second each, from other places of a waveform."""
    found = [folder / name for name in names]
    for number, path in enumerate(found):
        audio.write(path, Waveform(waveform.samples[2000 * number :][:8000].clone(), waveform.sample_rate))
    return found


class Spectra:
    """A deterministic encoder: log magnitudes of 25-ms frames in 40 bands, 50 a second, each divided by ``scale``."""

    sample_rate, frame_rate, dim = 16_000, 50.0, 40

    def __init__(self, origin="spectra/1", *, scale=1.0, drop=0):
        self.origin, self.scale, self.drop = origin, scale, drop
        self.calls = 0

    def num_frames(self, num_samples):
        return 1 + (num_samples - 400) // 320 - self.drop if num_samples >= 400 else 0

    def encode(self, waveform, *, f0=None):
        from speechssl.errors import InputError

        self.calls += 1
        samples = audio.resample(waveform, self.sample_rate).samples
        if len(samples) < 400:
            raise InputError(f"the audio has {len(samples)} samples; 400 needed")
        frames = samples.unfold(0, 400, 320) * torch.hann_window(400)
        bands = torch.fft.rfft(frames, 512).abs()[:, :240].reshape(len(frames), 40, 6).mean(dim=2)
        return Features(((bands + 1e-3).log() / self.scale)[: len(frames) - self.drop], 50.0, self.origin)


@pytest.fixture
def make_encoder():
    return Spectra


@pytest.fixture
def encoder():
    return Spectra()


@pytest.fixture(scope="session")
def speech():
    """1.5 seconds of each of two voices."""
    found = []
    for voice in ("ada", "dan"):
        waveform = audio.read_mono(clips.clip(voice, "sentence").path, 16_000)
        found.append(Waveform(waveform.samples[8000:32_000].clone(), 16_000))
    return found


@pytest.fixture
def files(tmp_path, speech):
    for name, waveform in zip(("one.wav", "two.wav"), speech, strict=True):
        audio.write(tmp_path / name, waveform)
    return [tmp_path / "one.wav", tmp_path / "two.wav"]


def random(*shape, seed=0):
    """Normal numbers, always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    """Cosine distance of two vectors, in numpy float64."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return 1 - a @ b / np.sqrt((a @ a) * (b @ b))


def tones(seconds: float, seed: int) -> np.ndarray:
    """Something that changes all the time: tones of random pitch and level, with a little noise, at 16 kHz."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 16000)
    pitch = np.repeat(rng.uniform(100, 2000, count // 1600 + 1), 1600)[:count]
    level = np.repeat(rng.uniform(0.02, 0.4, count // 1600 + 1), 1600)[:count]
    return (level * np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.005 * rng.normal(size=count)).astype(np.float32)


@pytest.fixture(scope="session")
def codebook_file(encoder_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 random frames of the small encoder as centroids."""
    from speechssl import encoders
    from speechssl.encoders.fingerprints import of_encoder
    from speechssl.units.codebooks.codebook import Codebook

    encoder = encoders.load(encoder_file)
    frames = encoder.encode(Waveform(torch.from_numpy(tones(4.0, 99)), 16000)).frames.numpy()
    centroids = frames[np.random.default_rng(0).permutation(len(frames))[:12]][None]
    book = Codebook(centroids.copy(), encoder.origin, 50.0, encoder=of_encoder(encoder))
    return book.save(tmp_path_factory.mktemp("codebook") / "small.safetensors")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of seven short recordings with a manifest; the fifth is no audio."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = []
    for number in range(7):
        path = folder / f"take{number}.wav"
        if number == 4:
            path.write_bytes(b"no audio at all")
        else:
            rate = 8000 if number == 2 else 16000
            soundfile.write(path, tones(0.4 + 0.13 * number, number)[:: 16000 // rate], rate)
        rows.append({"path": path.name, "text": f"words {number}", "speaker": f"s{number % 2}", "seconds": 99})
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def by_seconds():
    """Calibration of the model m@1 for 4 s and 10 s; the shorter side steepens the ratio, the longer one lowers it."""
    from speechssl.verification.by_seconds import BySeconds
    from speechssl.verification.calibration import Calibration

    slopes = BySeconds((1.0, 8.0), (2.0, 40.0), (float(np.log(4)), float(np.log(10))), (5.0, 0.0), (0.0, -1.0))
    return Calibration("m@1", 10.0, -5.0, 0.6, 0.5, 0.7, None, 0.0, 0.02, "my trials", by_seconds=slopes)


def in_process(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs the command line in this process."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


def convert(
    run: Callable[..., Answer], source: object, speech: dict[str, Path], output: object, *more: object
) -> Answer:
    return run("convert", source, "--reference", speech["reference"], "--output", output, *more)


def check_refusal(answer: Answer, message: str) -> None:
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("error: ")
    assert message in answer.err


class Tones:
    """A vocoder of ``Spectra``: frame by frame, 320 samples of a tone as strong as the frame's mean. Takes no F0."""

    sample_rate, frame_rate, needs_f0, key_origin = 16_000, 50.0, False, ""

    def __init__(self, origin="spectra/1"):
        self.origin = origin

    def vocode(self, features, *, f0=None, keys=None, voice=None):
        assert f0 is None
        level = features.frames.mean(dim=1).exp().repeat_interleave(320)
        return Waveform((level * torch.arange(len(level)).mul(0.3).sin()).float(), 16_000)


def blend_of(*pairs):
    return steps.Blend(*zip(*pairs, strict=True))


def scores_of(count: int, seed: int, *, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < share
    return np.where(labels, 0.6, 0.2) + 0.12 * rng.normal(size=count), labels


def timed_scores(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels, seconds (N, 2) and true ratios: those of one speaker lie higher the longer the shorter side is.

    Normal with the means m(q) and 0 and the standard deviation 0.15: llr = (m / 0.15^2) * (score - m / 2). With
    m = 0.3 + 0.1 log(shorter) it is linear in the score, in q, in their product and, slightly, in the square of q.
    """
    rng = np.random.default_rng(seed)
    labels, seconds = rng.random(count) < 0.3, np.exp(rng.uniform(np.log(1), np.log(12), (count, 2)))
    mean = 0.3 + 0.1 * np.log(seconds.min(1))
    scores = mean * labels + 0.15 * rng.normal(size=count)
    return scores, labels, seconds, mean / 0.15**2 * (scores - mean / 2)
