"""Audio in and out: every format and rate read right, every bad input named, every file written whole or not at all."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyloudnorm
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl import audio
from speechssl.errors import InputError
from speechssl.signals import Waveform

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0, level: float = 0.3) -> np.ndarray:
    """A tone that swells and fades, so that a shift in time or a lost piece shows."""
    time = np.arange(round(seconds * rate)) / rate
    return level * np.sin(2 * np.pi * hertz * time) * np.sin(np.pi * time / seconds) ** 2


def noise(samples: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def waveform(samples: np.ndarray, rate: int = RATE) -> Waveform:
    return Waveform(torch.from_numpy(np.asarray(samples, dtype=np.float32)), rate)


def encode_with_ffmpeg(
    path: Path, samples: np.ndarray, rate: int, codec: str, options: dict[str, str] | None = None
) -> None:
    """Samples (C, T) float32 through PyAV, as a phone or a video camera would write them."""
    layout = {1: "mono", 2: "stereo"}[len(samples)]
    with av.open(str(path), "w", options=options or {}) as container:
        track = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(track.encode(frame))
        container.mux(track.encode(None))


def assert_message(error: pytest.ExceptionInfo[InputError], path: Path, *words: str) -> None:
    text = str(error.value)
    for word in (str(path), *words):
        assert word in text, text


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


# ---- streams


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(20, 150_000),
    rates=st.sampled_from([(16_000, 16_000), (44_100, 16_000), (8000, 16_000), (48_000, 22_050), (96_000, 16_000)]),
    block_seconds=st.sampled_from([0.01, 0.37, 1.0, 10.0]),
)
def test_a_stream_equals_the_whole_sample_for_sample(
    tmp_path_factory: pytest.TempPathFactory, samples: int, rates: tuple[int, int], block_seconds: float
) -> None:
    path = tmp_path_factory.mktemp("stream") / "a.wav"
    soundfile.write(path, np.stack([noise(samples, 1), noise(samples, 2)], axis=1), rates[0], subtype="FLOAT")
    whole = audio.resample(audio.read(path), rates[1])
    blocks = list(audio.stream(path, rates[1], block_seconds))
    size = round(block_seconds * rates[1])
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert 1 <= len(blocks[-1]) <= size
    assert torch.equal(torch.cat(blocks), whole.samples)
    assert torch.equal(audio.read_mono(path, rates[1]).samples, whole.samples)


def test_a_stream_of_m4a_equals_the_whole(tmp_path: Path) -> None:
    encode_with_ffmpeg(tmp_path / "a.m4a", noise(4 * 44_100)[None], 44_100, "aac")
    whole = audio.read_mono(tmp_path / "a.m4a", RATE).samples
    assert torch.equal(torch.cat(list(audio.stream(tmp_path / "a.m4a", RATE, 0.5))), whole)


def test_blocks_of_a_stream_are_independent(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(3 * RATE), RATE, subtype="FLOAT")
    whole = audio.read(tmp_path / "a.wav").samples
    for index, block in enumerate(audio.stream(tmp_path / "a.wav", RATE, 1.0)):
        assert torch.equal(block, whole[index * RATE : (index + 1) * RATE])
        block.zero_()


@pytest.mark.parametrize(("rate", "seconds"), [(RATE, 0.0), (RATE, -1.0), (0, 1.0), (-16_000, 1.0)])
def test_impossible_streams(tmp_path: Path, rate: int, seconds: float) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    with pytest.raises(InputError):
        audio.stream(tmp_path / "a.wav", rate, seconds)


@pytest.mark.skipif(sys.platform == "win32", reason="measures memory the POSIX way")
def test_three_hours_are_streamed_in_flat_memory(tmp_path: Path) -> None:
    # a sparse file: 3 hours of 16 kHz silence that take no room on the disk
    for name, seconds in (("short.wav", 60), ("long.wav", 3 * 3600)):
        soundfile.write(tmp_path / name, np.zeros(0), RATE)
        header = bytearray((tmp_path / name).read_bytes())
        size = seconds * RATE * 2
        header[4:8], header[40:44] = (size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")
        (tmp_path / name).write_bytes(header)
        os.truncate(tmp_path / name, len(header) + size)
    program = textwrap.dedent("""
        import resource, sys
        from speechssl import audio
        def streamed(path):
            total = sum(len(block) for block in audio.stream(path, 8000))
            return total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(*streamed(sys.argv[1]), *streamed(sys.argv[2]))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "short.wav"), str(tmp_path / "long.wav")],
        capture_output=True,
        text=True,
        check=True,
    )
    short, before, long, after = map(int, done.stdout.split())
    assert (short, long) == (60 * 8000, 3 * 3600 * 8000)
    kilobytes = 1024 if sys.platform == "darwin" else 1
    assert (after - before) / kilobytes < 20_000


# ---- resampling


def test_the_same_rate_is_the_same_object() -> None:
    sound = waveform(tone())
    assert audio.resample(sound, RATE) is sound


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(10, 5000), rates=st.tuples(*[st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000])] * 2))
def test_resampled_length(samples: int, rates: tuple[int, int]) -> None:
    found = audio.resample(waveform(noise(samples), rates[0]), rates[1])
    assert abs(len(found.samples) - samples * rates[1] / rates[0]) <= 0.5 + 1e-9


def test_what_lies_above_the_new_band_is_removed() -> None:
    high = waveform(0.5 * np.sin(2 * np.pi * 9000 * np.arange(48_000) / 48_000), 48_000)
    assert float(audio.resample(high, RATE).samples[1000:-1000].abs().max()) < 1e-4


# ---- writing


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "A.WAV"])
def test_whole_numbers_come_back_exactly(tmp_path: Path, name: str) -> None:
    whole = np.random.default_rng(0).integers(-(2**15), 2**15, 5000)
    audio.write(tmp_path / name, waveform(whole / 2**15))
    np.testing.assert_array_equal(audio.read(tmp_path / name).samples.double() * 2**15, whole)
    assert audio.info(tmp_path / name).subtype == "PCM_16"


@pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0.0)])
def test_subtypes(tmp_path: Path, subtype: str, step: float) -> None:
    sound = waveform(tone())
    audio.write(tmp_path / "a.wav", sound, subtype=subtype)
    assert audio.info(tmp_path / "a.wav").subtype == subtype
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav").samples, sound.samples, atol=step / 2, rtol=0)


def test_full_scale_does_not_wrap(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", waveform(np.array([1.0, -1.0, 0.0])))
    assert audio.read(tmp_path / "a.wav").samples.tolist() == [1 - 2**-15, -1.0, 0.0]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "a.flac", "b.flac"):
        audio.write(tmp_path / name, waveform(tone()))
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


@pytest.mark.parametrize("name", ["a.ogg", "a.opus", "a.mp3"])
@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_lossy_files_come_back(tmp_path: Path, name: str, rate: int) -> None:
    sound = waveform(tone(2.0, rate), rate)
    audio.write(tmp_path / name, sound)
    found = audio.read(tmp_path / name)
    assert (found.sample_rate, found.samples.shape) == (rate, sound.samples.shape)
    np.testing.assert_allclose(found.samples, sound.samples, atol=0.03)


def test_a_link_keeps_pointing_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    audio.write(tmp_path / "there/a.wav", waveform(tone()))
    (tmp_path / "a.wav").symlink_to(tmp_path / "there/a.wav")
    audio.write(tmp_path / "a.wav", waveform(tone(2.0)))
    assert (tmp_path / "a.wav").is_symlink()
    assert audio.read(tmp_path / "there/a.wav").seconds == 2.0


@pytest.mark.parametrize("name", ["a.m4a", "a.xyz", "a"])
def test_unknown_extension(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as error:
        audio.write(tmp_path / name, waveform(tone()))
    assert_message(error, tmp_path / name, ".wav, .flac, .ogg, .opus, .mp3 needed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_12"), ("a.flac", "FLOAT"), ("a.mp3", "PCM_16")])
def test_subtypes_a_format_cannot_hold(tmp_path: Path, name: str, subtype: str) -> None:
    with pytest.raises(InputError) as error:
        audio.write(tmp_path / name, waveform(tone()), subtype=subtype)
    assert_message(error, tmp_path / name, subtype, "needed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "rate"), [("a.opus", 44_100), ("a.mp3", 96_000)])
def test_rates_a_format_cannot_hold(tmp_path: Path, name: str, rate: int) -> None:
    with pytest.raises(InputError) as error:
        audio.write(tmp_path / name, waveform(tone(rate=rate), rate))
    assert_message(error, tmp_path / name, str(rate), "resample")
    assert list(tmp_path.iterdir()) == []


def test_what_would_clip_is_refused_but_kept_as_float(tmp_path: Path) -> None:
    loud = waveform(np.array([0.0, 1.5, -0.3]))
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3"):
        with pytest.raises(InputError) as error:
            audio.write(tmp_path / name, loud)
        assert_message(error, tmp_path / name, "1.500", "set_loudness")
    assert list(tmp_path.iterdir()) == []
    audio.write(tmp_path / "a.wav", loud, subtype="FLOAT")
    assert torch.equal(audio.read(tmp_path / "a.wav").samples, loud.samples)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        audio.write(tmp_path / "none/a.wav", waveform(tone()))
    assert_message(error, tmp_path / "none/a.wav", "does not exist", "make it first")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError) as error:
        audio.write(tmp_path / "file/a.wav", waveform(tone()))
    assert_message(error, tmp_path / "file/a.wav", "cannot write")


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(InputError) as error:
        audio.write(tmp_path / "a.wav", waveform(tone()))
    assert_message(error, tmp_path / "a.wav", "a folder or a device")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError) as error:
        audio.write(tmp_path / "locked/a.wav", waveform(tone()))
    assert_message(error, tmp_path / "locked/a.wav", "Permission denied")


WRITER = """
    import resource, signal, sys
    import torch
    from speechssl import audio
    from speechssl.errors import InputError
    from speechssl.signals import Waveform
    generator = torch.Generator().manual_seed(0)
    sound = Waveform(torch.randn(20 * 16_000, generator=generator).clamp(-3, 3) * 0.3, 16_000)
"""


def run_writer(*program: str, arguments: tuple[str, ...], before: tuple[str, ...] = ()) -> str:
    text = textwrap.dedent(WRITER) + "\n".join(program)
    done = subprocess.run([*before, sys.executable, "-c", text, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files the POSIX way")
def test_a_file_that_cannot_grow_leaves_the_old_one(tmp_path: Path) -> None:
    names = ["a.flac", "a.mp3", "a.ogg", "a.wav"]
    for name in names:
        (tmp_path / name).write_text("old")
    said = run_writer(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))",
        "for path in sys.argv[1:]:",
        "    try: audio.write(path, sound)",
        "    except InputError as error: print(error)",
        arguments=tuple(str(tmp_path / name) for name in names),
    )
    for name, line in zip(names, said.splitlines(), strict=True):
        assert f"cannot write {tmp_path / name}: File too large" in line
        assert (tmp_path / name).read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def mounts_allowed() -> bool:
    if sys.platform != "linux" or not shutil.which("unshare"):
        return False
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif("not mounts_allowed()", reason="needs a small file system of its own")
def test_full_disk(tmp_path: Path) -> None:
    said = run_writer(
        "import os",
        "for name in ('a.wav', 'a.flac', 'a.ogg', 'a.mp3'):",
        "    try: audio.write(f'{sys.argv[1]}/{name}', sound)",
        "    except InputError as error: print(error)",
        "print(os.listdir(sys.argv[1]))",
        arguments=(str(tmp_path),),
        before=("unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=20k tmpfs {tmp_path} && exec "$@"', "sh"),
    )
    lines = said.splitlines()
    assert len(lines) == 5
    for name, line in zip(("a.wav", "a.flac", "a.ogg", "a.mp3"), lines, strict=False):
        assert f"cannot write {tmp_path / name}: the disk is full" in line
        assert "free some space" in line
    assert lines[-1] == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    names = ["a.mp3", "a.wav"]
    for name in names:
        (tmp_path / name).write_text("old")
    said = run_writer(
        # a shell starts what it runs in the background with this signal ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        # an alarm that goes off while a long waveform is being written, after all imports
        "signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))",
        "long = Waveform(sound.samples.repeat(30), 16_000)",
        "audio.write(sys.argv[1] + '.warm.wav', sound)",
        "from speechssl.audio import files; coded = files._as_coded",
        "for path in sys.argv[1:]:",
        "    blocks = iter(range(1000))",
        "    def interrupted(*arguments):",
        "        if next(blocks) == 3: signal.setitimer(signal.ITIMER_REAL, 0.001)",
        "        return coded(*arguments)",
        "    files._as_coded = interrupted",
        "    try: audio.write(path, long)",
        "    except KeyboardInterrupt: print('interrupted', next(blocks) > 3)",
        arguments=tuple(str(tmp_path / name) for name in names),
    )
    assert said.splitlines() == ["interrupted True"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp3", "a.mp3.warm.wav", "a.wav"]
    for name in names:
        assert (tmp_path / name).read_text() == "old"


# ---- loudness


def speechlike(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Bursts of noise of changing level with pauses: enough for both gates to act."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(round(seconds * rate))
    syllables = np.repeat(10 ** generator.uniform(-5, -0.8, int(seconds * 4) + 1), rate // 4)
    return (samples * syllables[: len(samples)]).clip(-1, 1)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.4, 0.75, 3.0, 21.3])
def test_loudness_equals_pyloudnorm(rate: int, seconds: float) -> None:
    samples = speechlike(seconds, rate).astype(np.float32)
    expected = pyloudnorm.Meter(rate).integrated_loudness(samples.astype(np.float64))
    assert audio.loudness(waveform(samples, rate)) == pytest.approx(expected, abs=1e-6)


def test_loudness_of_a_full_scale_tone_is_known() -> None:
    # BS.1770: a 997 Hz sine of full scale in one channel is -3.01 LKFS
    time = np.arange(10 * 48_000) / 48_000
    assert audio.loudness(waveform(np.sin(2 * np.pi * 997 * time), 48_000)) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("samples", [1, 2, 100, 4000, 6399])
def test_loudness_below_one_block(samples: int) -> None:
    found = audio.loudness(waveform(noise(samples)))
    assert math.isfinite(found)
    assert found == pytest.approx(audio.loudness(waveform(2 * noise(samples))) - 20 * math.log10(2), abs=1e-4)


def test_loudness_of_silence() -> None:
    assert audio.loudness(waveform(np.zeros(RATE))) == -math.inf
    assert audio.loudness(waveform(np.zeros(5))) == -math.inf


@settings(max_examples=30, deadline=None)
@given(lufs=st.floats(-50, -5), seconds=st.sampled_from([0.2, 1.0, 3.0]), peak=st.sampled_from([0.5, 0.97, 1.0]))
def test_set_loudness_reaches_the_target_or_the_peak_and_never_clips(lufs: float, seconds: float, peak: float) -> None:
    sound = audio.set_loudness(waveform(speechlike(seconds, RATE)), lufs, peak=peak)
    top = float(sound.samples.abs().max())
    assert top <= float(np.float32(peak))
    reached = audio.loudness(sound)
    assert reached == pytest.approx(lufs, abs=0.01) or (top == pytest.approx(peak) and reached < lufs)


def test_a_burst_is_turned_down_and_the_rest_left_alone() -> None:
    samples = speechlike(4.0, RATE).astype(np.float32) * 0.1
    usual = float(np.sort(np.abs(samples))[int(0.995 * len(samples))])
    samples = samples.clip(-1.5 * usual, 1.5 * usual)
    burst = samples.copy()
    burst[30_000:30_040] = 0.9
    held = audio.limit_bursts(waveform(burst))
    assert float(held.samples.abs().max()) <= 2.2 * usual
    reach = int(0.011 * RATE)
    for part in (slice(0, 30_000 - reach), slice(30_040 + reach, None)):
        assert torch.equal(held.samples[part], torch.from_numpy(burst[part]))
    assert audio.loudness(audio.set_loudness(held, -20.0)) == pytest.approx(-20.0, abs=0.01)


def test_bursts_are_limited_alike_in_blocks() -> None:
    noise = torch.randn(5000, generator=torch.Generator().manual_seed(0)) ** 3 * 0.01
    whole = audio.limit_bursts(waveform(noise.numpy()))
    pieces = audio.limit_bursts(waveform(noise.numpy()), block=1000)
    torch.testing.assert_close(whole.samples, pieces.samples)
    assert not torch.equal(whole.samples, noise)
    silence = waveform(np.zeros(RATE))
    assert audio.limit_bursts(silence) is silence


def test_set_loudness_leaves_silence() -> None:
    silence = waveform(np.zeros(RATE))
    assert audio.set_loudness(silence, -23.0) is silence


@pytest.mark.parametrize(
    "call",
    [{"lufs": math.nan}, {"lufs": -math.inf}, {"lufs": -70}, {"lufs": -20, "peak": 0.0}, {"lufs": -20, "peak": 1.1}],
)
def test_impossible_loudness(call: dict[str, float]) -> None:
    with pytest.raises(InputError, match="needed"):
        audio.set_loudness(waveform(tone()), **call)


def test_measurements_can_be_reached_from_audio() -> None:
    names: list[Callable[..., object]] = [audio.f0, audio.speech_activity, audio.speech_seconds, audio.snr_db]
    assert {function.__module__ for function in names} == {"speechssl.audio.f0_tracker", "speechssl.audio.activity"}
    assert set(audio.__all__) <= set(dir(audio))
