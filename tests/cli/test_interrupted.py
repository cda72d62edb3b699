"""The program as a process that is interrupted, or whose disk is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forking
import pytest

from speechssl import audio

Speech = dict[str, Path]
# a shell that starts the tests in the background would have told them to ignore Ctrl-C
PROGRAM = """
import resource, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
{first}
from speechssl.cli import main
main()
"""
# a signal in the middle of __del__, whose exceptions Python prints and forgets
WHILE_CLOSING = """
import soundfile
def delete(file, close=soundfile.SoundFile.__del__, left=[20]):
    left.append(left.pop() - 1)
    if left[0] == 0:
        signal.raise_signal({signal})
    close(file)
soundfile.SoundFile.__del__ = delete
"""


# ---- the program as a process


def _environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "SPEECHSSL_VOICES": str(tmp_path / "voices"), "OMP_NUM_THREADS": "1"}


def _process(limit: int, source: Path, reference: Path, output: Path, model: Path, first: str = "") -> forking.Program:
    """``speechssl convert`` in a process, with a limit in bytes on the files it writes; -1 for none."""
    return forking.Program(
        PROGRAM.format(limit=limit, first=first), "convert", source, "--reference", reference, "--output", output,
        "--model", model, "--converter", "uniform", environment=_environment(output.parent),
    )  # fmt: skip


def test_interruption_leaves_no_partial_file_and_the_batch_continues(
    speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    sources, output = tmp_path / "in", tmp_path / "out"
    sources.mkdir()
    for number in range(40):
        (sources / f"{number:02}.wav").write_bytes(speech["reference"].read_bytes())
    program = _process(-1, sources, speech["other"], output, encoder_file)
    while program.process.is_alive() and not (output / "01.wav").exists():
        time.sleep(0.05)
    os.kill(program.process.pid, signal.SIGINT)
    answer = program.ended()
    assert answer.returncode == 130, answer.stderr
    assert "continues" in answer.stderr
    finished = sorted(path for path in output.glob("*") if path.name != ".lock")
    assert {path.suffix for path in finished} == {".wav", ".jsonl"}
    assert 2 <= len(finished) - 1 < 40
    for path in finished:
        if path.suffix == ".wav":
            assert abs(audio.read(path).seconds - 8) < 0.03


@pytest.mark.parametrize(("number", "code"), [("signal.SIGINT", 130), ("signal.SIGTERM", 143)])
def test_an_interruption_while_a_file_is_closed_is_not_lost(
    speech: Speech, encoder_file: Path, tmp_path: Path, number: str, code: int
) -> None:
    sources, output = tmp_path / "in", tmp_path / "out"
    sources.mkdir()
    for name in range(40):
        (sources / f"{name:02}.wav").write_bytes(speech["reference"].read_bytes())
    first = WHILE_CLOSING.format(signal=number)
    answer = _process(-1, sources, speech["other"], output, encoder_file, first).ended()
    assert answer.returncode == code, answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(list(output.glob("*.wav"))) < 40


def test_a_full_disk_leaves_nothing_behind(speech: Speech, encoder_file: Path, tmp_path: Path) -> None:
    # a limit on the size of files stands for the full disk
    answer = _process(4096, speech["source"], speech["other"], tmp_path / "out.wav", encoder_file).ended()
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("error: ")  # a busy machine says what it waits for first
    assert "out.wav" in answer.stderr
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device here that is always full")
@pytest.mark.parametrize(
    ("words", "unbuffered", "named"),
    [
        ("--version", "", "stdout"),
        ("voice list --json", "", "stdout"),
        ("voice list --json", "1", "stdout"),
        ("convert --help", "", "the system"),
        ("voice list --log /dev/full", "", "/dev/full"),
    ],
)
def test_a_full_disk_behind_what_is_printed_is_said_in_words(
    words: str, unbuffered: str, named: str, tmp_path: Path
) -> None:
    program = [sys.executable, "-m", "speechssl", *words.split()]
    environment = {**_environment(tmp_path), "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        answer = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
        assert (answer.returncode, answer.stderr) == (2, f"error: {named}: No space left on device\n")
        assert subprocess.run(program, stdout=full, stderr=full, env=environment).returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="a shell closes it here")
@pytest.mark.parametrize("stderr", ["/dev/full", "&-"])
def test_a_stderr_that_takes_nothing_changes_no_exit_code(stderr: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.wav").write_text("no sound")
    command = f"{sys.executable} -m speechssl enrol ada {tmp_path} 2>{stderr}"
    assert subprocess.run(command, shell=True, env=_environment(tmp_path)).returncode == 2


def test_whoever_stops_reading_ends_it_quietly(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "speechssl", "voice", "list", "--json"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(tmp_path)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
