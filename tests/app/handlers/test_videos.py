"""The sound of a video, and the video with another sound."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from speechssl import audio
from speechssl.app.handlers import videos
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused
from speechssl.app.state import State
from speechssl.errors import InputError
from speechssl.signals import Waveform

SECONDS = 3


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Three seconds of a brightening picture at ten a second, with a tone of 440 Hz."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(SECONDS * 48_000) / 48_000).astype(np.float32)
    with av.open(str(tmp_path / "film.mp4"), "w") as made:
        shown = made.add_stream("mpeg4", rate=10)
        shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
        heard = made.add_stream("aac", rate=48_000, layout="mono")
        for number in range(SECONDS * 10):
            picture = np.full((48, 64, 3), 8 * number, np.uint8)
            made.mux(shown.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        made.mux(heard.encode(frame))
        made.mux([*shown.encode(None), *heard.encode(None)])
    return tmp_path / "film.mp4"


def _brightness(path: Path) -> list[int]:
    with av.open(str(path)) as opened:
        return [int(frame.to_ndarray(format="gray").mean()) for frame in opened.decode(video=0)]


def _loudest(waveform: Waveform) -> float:
    """Hz."""
    power = torch.fft.rfft(waveform.samples).abs()
    return float(power.argmax()) * waveform.sample_rate / len(waveform.samples)


def test_the_sound_of_a_video_is_a_source(state: State, job: Job, video: Path, tmp_path: Path) -> None:
    sound = videos.sound_of(state.settings, job, video)
    assert sound.name == "film.wav"
    assert audio.info(sound).seconds == pytest.approx(SECONDS, abs=0.1)
    assert _loudest(audio.read(sound)) == pytest.approx(440, abs=3)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(Refused, match="not audio") as caught:
        videos.sound_of(state.settings, job, tmp_path / "broken.mp4")
    assert caught.value.field == "source"


def test_the_pictures_stay_and_the_sound_is_the_new_one(video: Path, tmp_path: Path) -> None:
    new = 0.3 * torch.sin(2 * torch.pi * 1000 * torch.arange(SECONDS * 16_000) / 16_000)
    audio.write(tmp_path / "new.wav", Waveform(new, 16_000))
    made = videos.with_sound(video, tmp_path / "new.wav", tmp_path / "made")
    assert made.name == "made.mp4"
    assert _brightness(made) == _brightness(video)
    heard = audio.read(made)
    assert heard.seconds == pytest.approx(SECONDS, abs=0.1)
    assert _loudest(heard) == pytest.approx(1000, abs=3)
    with pytest.raises(InputError, match="no pictures"):
        videos.with_sound(tmp_path / "new.wav", tmp_path / "new.wav", tmp_path / "other")
