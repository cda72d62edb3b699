"""Streams and resampling: blocks are what the whole is."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import forking
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import RATE, encode_with_ffmpeg, noise, tone, waveform

from speechssl import audio
from speechssl.errors import InputError

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
    done = forking.run(program, tmp_path / "short.wav", tmp_path / "long.wav")
    assert done.returncode == 0, done.stderr
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
