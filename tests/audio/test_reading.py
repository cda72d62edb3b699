"""Audio in: every format and rate read right, every bad input named."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import RATE, assert_message, encode_with_ffmpeg, noise, tone

from speechssl import audio
from speechssl.errors import InputError
from speechssl.signals import Waveform

# ---- reading: formats


@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "DOUBLE", 1e-7),
        ("a.wav", "ULAW", 0.02),
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
        ("a.aiff", "PCM_16", 2**-15),
    ],
)
def test_plain_formats_keep_every_sample(tmp_path: Path, name: str, subtype: str, step: float) -> None:
    samples = tone()
    soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    found = audio.read(tmp_path / name)
    assert found.sample_rate == RATE
    assert found.samples.dtype == torch.float32
    np.testing.assert_allclose(found.samples, samples, atol=step, rtol=0)
    assert audio.info(tmp_path / name) == audio.AudioInfo(RATE, 1, 1.0, subtype)


def test_24_bit_is_exact(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(-(2**23), 2**23, 5000)
    soundfile.write(tmp_path / "a.wav", (whole << 8).astype(np.int32), RATE, subtype="PCM_24")
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav").samples.double() * 2**23, whole)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_becomes_16_khz_without_a_shift(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate=rate), rate, subtype="FLOAT")
    assert audio.read(tmp_path / "a.wav").sample_rate == rate
    found = audio.read_mono(tmp_path / "a.wav", RATE)
    assert found.sample_rate == RATE
    np.testing.assert_allclose(found.samples, tone(), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "container", "subtype"), [("a.ogg", "OGG", "OPUS"), ("a.mp3", "MP3", "MPEG_LAYER_III")]
)
def test_lossy_formats_keep_length_and_time(tmp_path: Path, name: str, container: str, subtype: str) -> None:
    samples = tone(2.0, 48_000)
    soundfile.write(tmp_path / name, samples, 48_000, format=container, subtype=subtype)
    found = audio.read(tmp_path / name)
    assert found.samples.shape == samples.shape
    np.testing.assert_allclose(found.samples, samples, atol=0.02)
    assert audio.info(tmp_path / name).subtype == subtype


def test_m4a_keeps_length_and_time(tmp_path: Path) -> None:
    samples = tone(2.0, 44_100)
    encode_with_ffmpeg(tmp_path / "a.m4a", samples[None], 44_100, "aac")
    found = audio.read(tmp_path / "a.m4a")
    assert found.sample_rate == 44_100
    assert found.samples.shape == samples.shape
    np.testing.assert_allclose(found.samples, samples, atol=0.03)
    assert audio.info(tmp_path / "a.m4a") == audio.AudioInfo(44_100, 1, 2.0, "aac")


@pytest.mark.parametrize(
    ("name", "codec", "rate"), [("a.aac", "aac", 44_100), ("a.mp4", "aac", 48_000), ("a.webm", "libopus", 48_000)]
)
def test_other_containers_are_read_by_ffmpeg(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    stereo = np.stack([tone(2.0, rate), 0.5 * tone(2.0, rate)])
    encode_with_ffmpeg(tmp_path / name, stereo, rate, codec)
    found = audio.read(tmp_path / name)
    # raw AAC and Matroska do not say how much of the first and last packet is padding
    assert found.seconds == pytest.approx(2.0, abs=0.06)
    assert audio.info(tmp_path / name).channels == 2
    assert float(found.samples.abs().max()) == pytest.approx(0.225, abs=0.03)


def test_the_picture_of_a_video_does_not_matter(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        picture = container.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        track = container.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(5):
            image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(picture.encode(image))
        frame = av.AudioFrame.from_ndarray(tone()[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(track.encode(frame))
        for stream in (track, picture):
            container.mux(stream.encode(None))
    np.testing.assert_allclose(audio.read(tmp_path / "a.mp4").samples, tone(), atol=0.03)


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        picture = container.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(picture.encode(None))
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / "a.mp4")
    assert_message(error, tmp_path / "a.mp4", "no audio track")


def test_blocks_of_an_mp3_are_decoded_as_one(tmp_path: Path) -> None:
    # longer than one block, with sound loud enough everywhere that a lost frame shows
    samples = noise(200_000)
    soundfile.write(tmp_path / "a.mp3", samples, 44_100)
    at_once, _ = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    np.testing.assert_array_equal(audio.read(tmp_path / "a.mp3").samples, at_once)


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_become_their_mean(tmp_path: Path, channels: int) -> None:
    samples = np.stack([noise(3000, seed) for seed in range(channels)], axis=1)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav").samples, samples.mean(axis=1), atol=1e-8)
    assert audio.info(tmp_path / "a.wav").channels == channels


@pytest.mark.parametrize("name", ["a.wav", "a.mka"])
def test_one_channel_is_read_alone(tmp_path: Path, name: str) -> None:
    samples = np.stack([noise(20_000, seed) for seed in range(2)], axis=1)
    if name == "a.wav":
        soundfile.write(tmp_path / name, samples, RATE, subtype="FLOAT")
    else:  # by FFmpeg
        av = pytest.importorskip("av")
        with av.open(str(tmp_path / name), "w", format="matroska") as container:
            track = container.add_stream("pcm_f32le", rate=RATE, layout="stereo")
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.reshape(1, -1), np.float32), format="flt", layout="stereo"
            )
            frame.sample_rate = RATE
            for packet in (*track.encode(frame), *track.encode(None)):
                container.mux(packet)
    for channel in (0, 1):
        np.testing.assert_allclose(audio.read_channel(tmp_path / name, channel).samples, samples[:, channel], atol=1e-7)
    for channel in (2, -1):
        with pytest.raises(InputError, match=r"has 2 channel\(s\)"):
            audio.read_channel(tmp_path / name, channel)


def test_silence_and_a_single_sample_are_audio(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    assert not audio.read(tmp_path / "silence.wav").samples.any()
    soundfile.write(tmp_path / "one.wav", np.array([0.5]), RATE, subtype="FLOAT")
    assert audio.read(tmp_path / "one.wav").samples.tolist() == [0.5]


def test_the_name_does_not_decide_what_a_file_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.txt", tone(), RATE, format="FLAC")
    np.testing.assert_allclose(audio.read(tmp_path / "a.txt").samples, tone(), atol=2**-15)


def test_a_wav_from_a_pipe_with_no_length_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav").samples, tone(), atol=2**-15)


# ---- reading: bad input


def test_missing_file(tmp_path: Path) -> None:
    for call in (audio.read, audio.info):
        with pytest.raises(InputError) as error:
            call(tmp_path / "none.wav")
        assert_message(error, tmp_path / "none.wav", "does not exist", "check the path")


def test_stream_finds_a_missing_file_when_called(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        audio.stream(tmp_path / "none.wav", RATE)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        audio.read(tmp_path)
    assert_message(error, tmp_path, "is a folder", "audio file needed")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / "a.wav")
    assert_message(error, tmp_path / "a.wav", "pipe", "save it")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / "a.wav")
    assert_message(error, tmp_path / "a.wav", "Permission denied", "make it readable")


def test_impossible_name() -> None:
    with pytest.raises(InputError, match="cannot read"):
        audio.read("a\0.wav")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / "a.wav")
    assert_message(error, tmp_path / "a.wav", "empty (0 bytes)")


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_a_header_without_samples(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.zeros(0), RATE)
    for call in (audio.read, lambda path: audio.read_mono(path, RATE), lambda path: list(audio.stream(path, 8000))):
        with pytest.raises(InputError) as error:
            call(tmp_path / name)
        assert_message(error, tmp_path / name, "no samples")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rate", [RATE, 8000])
def test_nan_and_infinity_are_named_with_their_time(tmp_path: Path, bad: float, rate: int) -> None:
    samples = tone(10.0)
    samples[8 * RATE] = bad
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    for call in (audio.read, lambda path: audio.read_mono(path, rate), lambda path: list(audio.stream(path, rate))):
        with pytest.raises(InputError) as error:
            call(tmp_path / "a.wav")
        assert_message(error, tmp_path / "a.wav", "NaN or infinite", "8.000 s")


def test_whole_numbers_that_were_stored_as_floating_point_are_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 20_000 * tone(0.5), RATE, subtype="FLOAT")
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / "a.wav")
    assert_message(error, tmp_path / "a.wav", "divide those of 16 bits by 32768")
    soundfile.write(tmp_path / "b.wav", 20 * tone(0.5), RATE, subtype="FLOAT")
    assert float(audio.read(tmp_path / "b.wav").samples.max()) > 1


def test_a_double_beyond_float32_is_infinite(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.1, 1e300]), RATE, subtype="DOUBLE")
    with pytest.raises(InputError, match="infinite"):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "content",
    [
        b"this is a letter, not a recording\n" * 100,
        bytes(10_000),
        b"RIFF\x00\x00\x00\x00WAVE",
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.aac\n",
        np.random.default_rng(0).bytes(10_000),
    ],
    ids=["text", "zeros", "header only", "playlist", "random"],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.raw"])
def test_what_is_not_audio_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / name)
    assert_message(error, tmp_path / name)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.mp3"])
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, noise(5 * RATE), RATE)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / name)
    assert_message(error, tmp_path / name, "copy it again")


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["index at the end", "index in front"])
def test_an_m4a_cut_short_is_refused(tmp_path: Path, options: dict[str, str]) -> None:
    encode_with_ffmpeg(tmp_path / "a.m4a", noise(5 * 44_100)[None], 44_100, "aac", options)
    content = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / "a.m4a")
    assert_message(error, tmp_path / "a.m4a")


def test_damage_in_the_middle_is_named_with_its_time(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(20 * RATE), RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    half = len(content) // 2
    content[half:] = bytes(len(content) - half)
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / "a.flac")
    assert_message(error, tmp_path / "a.flac", "damaged")


def test_an_impossible_sample_rate_is_damage(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = (7).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError) as error:
        audio.read(tmp_path / "a.wav")
    assert_message(error, tmp_path / "a.wav", "7 Hz", "header")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(["a.wav", "a.flac", "a.ogg"]))
def test_flipped_bytes_never_give_anything_but_audio_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    path = tmp_path_factory.mktemp("flipped") / name
    format_ = {"a.ogg": {"format": "OGG", "subtype": "OPUS"}}.get(name, {})
    soundfile.write(path, tone(0.2), RATE, **format_)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content) - 1, 400)))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    assert outcome(path) in ("finite audio", "InputError with the path")


def outcome(path: Path) -> str:
    try:
        found = audio.read(path)
    except InputError as error:
        return "InputError with the path" if str(path) in str(error) else str(error)
    return "finite audio" if bool(found.samples.isfinite().all()) else "NaN"


def test_too_short_for_the_new_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5]), 48_000)
    for call in (lambda path: audio.read_mono(path, RATE), lambda path: list(audio.stream(path, RATE))):
        with pytest.raises(InputError) as error:
            call(tmp_path / "a.wav")
        assert_message(error, tmp_path / "a.wav", "too short", "16000 Hz")
    with pytest.raises(InputError, match="too short"):
        audio.resample(audio.read(tmp_path / "a.wav"), RATE)


@pytest.mark.skipif(os.name != "posix", reason="names are no bytes")
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".opus", ".m4a"])
def test_a_name_that_is_no_utf8_is_read_and_written(tmp_path: Path, suffix: str) -> None:
    plain, path = tmp_path / f"plain{suffix}", tmp_path / os.fsdecode(b"caf\xe9" + suffix.encode())
    if suffix == ".m4a":
        encode_with_ffmpeg(plain, tone()[None], RATE, "aac")
        plain.rename(path)
    else:
        audio.write(path, Waveform(torch.from_numpy(tone()).float(), RATE))
    assert audio.info(path).sample_rate == RATE
    assert audio.read_mono(path, RATE).seconds == pytest.approx(len(tone()) / RATE, abs=0.1)
