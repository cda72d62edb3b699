"""``speechssl live`` with simulated devices."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import Answer

import speechssl
from speechssl import audio
from speechssl.audio.devices import Device
from speechssl.audio.simulated_devices import SimulatedDevices
from speechssl.cli import live
from speechssl.receipts import signing

Command = Callable[..., Answer]


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> SimulatedDevices:
    said = audio.read_mono(speechssl.clip("ada", "sentence").path, 44_100).samples.numpy()
    found = SimulatedDevices(said)
    monkeypatch.setattr(live, "_devices", lambda: found)
    # a busy machine may be slower than its own sound
    monkeypatch.setattr("speechssl.conversion.live_session.check_speed", lambda converter, seconds: None)
    return found


def test_devices_are_listed(command: Command, devices: SimulatedDevices) -> None:
    answer = command("live", "--list-devices")
    assert answer.code == 0
    headings, *rows = answer.out.splitlines()
    assert headings.split() == ["number", "inputs", "outputs", "Hz", "default", "name"]
    assert [row.split() for row in rows] == [
        ["0", "1", "44100", "input", "microphone"],
        ["1", "2", "48000", "output", "loudspeaker"],
    ]
    found, _ = json.loads(command("live", "--list-devices", "--json").out)
    assert (found["name"], found["sample_rate"]) == ("microphone", 44_100)


def test_what_is_said_is_spoken_recorded_and_signed(
    command: Command, devices: SimulatedDevices, tmp_path: Path
) -> None:
    file = tmp_path / "talk.wav"
    answer = command("live", "--voice", "eric", "--record", file, "--seconds", 8, "--receipt", "--json")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    assert facts["output"] == str(file)
    assert facts["delay_ms"] > 207.5
    assert "Wear headphones" in answer.err
    assert "microphone (44100 Hz) -> eric -> loudspeaker" in answer.err
    recorded = audio.read(file)
    assert recorded.seconds > 0.5
    assert float(recorded.samples.abs().max()) > 0.01
    assert np.abs(np.concatenate(devices.heard)).max() > 0.01
    assert signing.check(file).genuine
    assert signing.show(file)["voices"][0]["name"] == "eric"


def test_a_program_that_is_told_to_end_keeps_its_recording(
    command: Command, devices: SimulatedDevices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = time.monotonic() + 60

    def sleep(seconds: float) -> None:
        while not devices.heard and time.monotonic() < end:
            os.sched_yield()
        # what the handler of SIGTERM does
        raise SystemExit(143)

    monkeypatch.setattr(live, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    answer = command("live", "--voice", "eric", "--record", tmp_path / "talk.wav", "--quiet")
    assert answer.code == 0
    assert (tmp_path / "talk.wav").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no --voice; whose voice is wanted?"),
        (["--voice", "nobody"], "nobody"),
        (["--voice", "eric", "--input", "seven"], "--input 'seven' names 0 devices; give one of: 0 microphone"),
        (["--voice", "eric", "--latency", "50"], "latency is 50 ms; 88 to 528 ms needed"),
        (["--voice", "eric", "--record", "taken.wav"], "taken.wav exists"),
        (["--voice", "eric", "--record", "none/talk.wav"], "none is no folder"),
        (["--voice", "eric", "--virtual-mic", "--output", "0"], "leave --output out"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    command: Command,
    devices: SimulatedDevices,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.wav").write_bytes(b"mine")
    answer = command("live", *words)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("error:") == 1
    assert (tmp_path / "taken.wav").read_bytes() == b"mine"


def test_without_a_microphone_nothing_is_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(SimulatedDevices):
        def all(self) -> list[Device]:
            return [Device(0, "loudspeaker", 0, 2, 48_000)]

    monkeypatch.setattr(live, "_devices", lambda: Deaf(np.zeros(10, np.float32)))
    answer = command("live", "--voice", "eric", "--record", tmp_path / "talk.wav")
    assert (answer.code, list(tmp_path.glob("talk*"))) == (2, [])
    assert "no input device found; connect one" in answer.err


PACTL = """#!/bin/sh
echo "$@" >> "$LOG"
case "$1" in load-module) echo 7;; esac
"""


def test_a_virtual_microphone_is_made_and_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pactl").write_text(PACTL)
    (tmp_path / "pactl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.delenv("PULSE_SINK", raising=False)
    with live.virtual_microphone(monitor=True):
        assert os.environ["PULSE_SINK"] == "speechssl_out"
        made = (tmp_path / "log").read_text().split("\n")
    assert [line.split()[1] for line in made if line] == ["module-null-sink", "module-remap-source", "module-loopback"]
    assert "PULSE_SINK" not in os.environ
    assert (tmp_path / "log").read_text().count("unload-module 7") == 3


def test_without_a_sound_server_there_is_no_virtual_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(speechssl.InputError, match="--virtual-mic needs Linux with pactl"),
        live.virtual_microphone(monitor=False),
    ):
        pass
