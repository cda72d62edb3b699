"""A live conversion from device to device: simulated devices in real time, and a converter that only delays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from conversion.test_live_pipe import Later

from speechssl.audio.devices import Device, Fill, Heard
from speechssl.audio.simulated_devices import Clock, SimulatedDevices
from speechssl.conversion import live_session
from speechssl.conversion.live_session import LiveSession, check_speed
from speechssl.errors import InputError

TONE = (0.5 * np.sin(2 * np.pi * 200 * np.arange(44_100) / 44_100)).astype(np.float32)


class Converter(Later):
    def reset(self) -> None:
        self.__init__()


@contextmanager
def session(devices: SimulatedDevices, **options: object) -> Iterator[LiveSession]:
    microphone, loudspeaker = devices.all()
    found = LiveSession(Converter(), devices, microphone, [loudspeaker], **options)
    try:
        yield found
    finally:
        found.stop()


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_heard_is_spoken_and_recorded() -> None:
    devices, recorded = SimulatedDevices(TONE, jitter=0.0), list[np.ndarray]()
    with session(devices, recorded=recorded.append) as found:
        until(lambda: len(devices.heard) > 150)
        assert found.latency == pytest.approx(0.5 + live_session.BUFFERS, abs=0.03)
        assert found.mend() == []
    sound = np.concatenate(devices.heard)
    assert np.abs(sound[:20_000]).max() == 0
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.concatenate(recorded)).max() == pytest.approx(0.5, abs=0.02)


class Unplugged(SimulatedDevices):
    """Devices whose microphone goes away, and can be opened again a while later."""

    microphones: list[Clock]
    away = False

    def listen(self, device: Device, heard: Heard) -> Clock:
        if self.away:
            raise InputError("no such device")
        self.microphones = [*getattr(self, "microphones", []), super().listen(device, heard)]
        return self.microphones[-1]

    def play(self, device: Device, fill: Fill) -> Clock:
        return super().play(device, fill)


def test_a_device_that_vanishes_and_comes_back_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_session, "AGAIN", 0.05)
    devices = Unplugged(TONE)
    with session(devices) as found:
        until(lambda: np.abs(np.concatenate([*devices.heard, np.zeros(1)])).max() > 0.4)
        devices.away = True
        devices.microphones[0].close()
        assert found.mend() == ["microphone"]
        time.sleep(0.1)
        assert found.mend() == ["microphone"]
        devices.away, heard = False, len(devices.heard)
        until(lambda: found.mend() == [])
        assert len(devices.microphones) == 2
        until(lambda: len(devices.heard) > heard + 120)
        assert np.abs(np.concatenate(devices.heard[heard + 60 :])).max() > 0.4


class Broken(SimulatedDevices):
    def play(self, device: Device, fill: Fill) -> Clock:
        raise InputError("simulated cannot be opened")


def test_a_microphone_that_falls_silent_is_taken_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_session, "SILENT", 0.2)

    class Mute(SimulatedDevices):
        def listen(self, device: Device, heard: Heard) -> Clock:
            return super().listen(device, lambda samples: None)

    with session(Mute(TONE)) as found:
        until(lambda: found.mend() == ["microphone"])


def test_a_loudspeaker_that_cannot_be_opened_leaves_no_microphone_open() -> None:
    devices = Broken(TONE)
    opened: list[Clock] = []
    usual = devices.listen
    devices.listen = lambda device, heard: opened.append(usual(device, heard)) or opened[-1]  # type: ignore[method-assign]
    with pytest.raises(InputError, match="cannot be opened"):
        LiveSession(Converter(), devices, devices.all()[0], devices.all()[1:])
    assert not opened[0].is_open()


def test_sound_that_cannot_be_converted_ends_the_session_with_the_reason() -> None:
    devices = SimulatedDevices(TONE)

    class Failing(Converter):
        def push(self, block: torch.Tensor) -> torch.Tensor:
            if bool(block.any()):
                raise InputError("it holds NaN")
            return super().push(block)

    microphone, loudspeaker = devices.all()
    found = LiveSession(Failing(), devices, microphone, [loudspeaker])
    until(lambda: found.failure is not None)
    found.stop()
    assert str(found.failure) == "it holds NaN"


def test_a_processor_that_is_too_slow_hears_which_latency_would_do() -> None:
    check_speed(Converter(), 0.03)
    with pytest.raises(InputError, match="takes 60 ms for 40 ms of sound; use --latency 168 or more"):
        check_speed(Converter(), 0.06)
    with pytest.raises(InputError, match="takes 100 ms for 40 ms of sound, too long to convert live"):
        check_speed(Converter(), 0.1)
