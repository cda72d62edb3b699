"""Audio out: every file written whole or not at all, in formats that hold it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import forking
import numpy as np
import pytest
import torch
from sounds import assert_message, tone, waveform

from speechssl import audio
from speechssl.errors import InputError

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
    if before:
        done = subprocess.run([*before, sys.executable, "-c", text, *arguments], capture_output=True, text=True)
    else:
        done = forking.run(text, *arguments)
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
