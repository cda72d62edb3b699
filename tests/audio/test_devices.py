"""Microphones and loudspeakers, and the resampling between their clocks."""

from __future__ import annotations

import builtins
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soxr

from speechssl.audio import devices
from speechssl.audio.devices import Device, SoundDevices, choose
from speechssl.audio.live_resampler import LiveResampler
from speechssl.errors import InputError

MICROPHONE = Device(0, "USB Microphone", 1, 0, 44_100, (True, False))
LOUDSPEAKER = Device(1, "USB Headphones", 0, 2, 48_000, (False, True))
BOTH = Device(2, "Studio Interface", 4, 4, 96_000)


def test_devices_are_chosen_by_number_and_by_a_part_of_their_names() -> None:
    known = [MICROPHONE, LOUDSPEAKER, BOTH]
    assert choose(known, None) is MICROPHONE
    assert choose(known, None, output=True) is LOUDSPEAKER
    assert choose(known, "2", output=True) is BOTH
    assert choose(known, "studio") is BOTH
    # only one of the two that are named so is a microphone
    assert choose(known, "usb") is MICROPHONE


@pytest.mark.parametrize(
    ("known", "wanted", "message"),
    [
        ([LOUDSPEAKER], None, "no input device found"),
        ([MICROPHONE, BOTH], "phone 7", "names 0 devices; give one of: 0 USB Microphone, 2 Studio Interface"),
        ([MICROPHONE, BOTH], "i", "names 2 devices"),
    ],
)
def test_a_device_that_there_is_not_is_said(known: list[Device], wanted: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(known, wanted)


class Library:
    """sounddevice with one device, which may refuse to open."""

    PortAudioError = OSError
    default = SimpleNamespace(device=(0, 0))

    def __init__(self, refuses: tuple[str, ...] = ()) -> None:
        self.refuses, self.opened = refuses, dict[str, Any]()

    def _terminate(self) -> None: ...
    def _initialize(self) -> None: ...

    def query_devices(self) -> list[dict[str, Any]]:
        names = ("index", "name", "max_input_channels", "max_output_channels", "default_samplerate")
        return [dict(zip(names, (0, "card", 2, 6, 44_100.0), strict=True))]

    def _stream(self, **options: Any) -> Any:
        self.opened = options
        if options["latency"] in self.refuses:
            raise OSError("Invalid sample rate or buffer")
        nothing = lambda: None  # noqa: E731
        return SimpleNamespace(start=nothing, close=nothing, active=True, samplerate=44_100.0, latency=0.01)

    InputStream = OutputStream = _stream


def opened(monkeypatch: pytest.MonkeyPatch, library: Library) -> SoundDevices:
    monkeypatch.setattr(devices, "_library", lambda: library)
    return SoundDevices()


def test_two_channels_are_averaged_and_spoken_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(refuses=("low",))
    found = opened(monkeypatch, library)
    (card,) = found.all()
    assert card == Device(0, "card", 2, 6, 44_100, (True, True))
    heard: list[np.ndarray] = []
    stream = found.listen(card, heard.append)
    # a short buffer is refused, so a longer one is used
    assert (library.opened["latency"], library.opened["channels"], stream.is_open()) == ("high", 2, True)
    library.opened["callback"](np.array([[0.2, 0.4], [0.0, -0.2]], np.float32), 2, None, None)
    np.testing.assert_allclose(heard[0], [0.3, -0.1], atol=1e-7)
    found.play(card, lambda count: np.arange(count, dtype=np.float32))
    played = np.zeros((3, 2), np.float32)
    library.opened["callback"](played, 3, None, None)
    np.testing.assert_array_equal(played, [[0, 0], [1, 1], [2, 2]])


def test_a_device_that_refuses_every_buffer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(monkeypatch, Library(refuses=("low", "high")))
    with pytest.raises(
        InputError, match=r"card cannot be opened \(Invalid sample rate or buffer\); close other programs"
    ):
        found.listen(found.all()[0], lambda samples: None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'sounddevice'", name="sounddevice"), r"pip install 'speechssl\[live\]'"),
        (OSError("PortAudio library not found"), "apt-get install libportaudio2"),
    ],
)
def test_a_library_that_is_absent_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    usual = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "sounddevice":
            raise error
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(InputError, match=message):
        SoundDevices()


@pytest.mark.parametrize(("source", "wanted"), [(44_100, 16_000), (16_000, 48_000), (48_000, 16_000)])
def test_a_stream_is_resampled_as_the_whole(source: int, wanted: int) -> None:
    times = np.arange(source) / source
    samples = (np.sin(2 * np.pi * 440 * times) + 0.3 * np.sin(2 * np.pi * 3000 * times)).astype(np.float32)
    resampler = LiveResampler(source, wanted)
    made = np.concatenate([resampler.push(block) for block in np.array_split(samples, 97)])
    expected = soxr.resample(samples, source, wanted)
    assert 0 <= wanted - len(made) < 0.005 * wanted
    middle = slice(wanted // 10, len(made) - wanted // 10)
    assert np.abs(made[middle] - expected[middle]).max() < 2e-3


def test_nothing_above_half_the_lower_rate_passes() -> None:
    tone = np.sin(2 * np.pi * 11_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert np.abs(LiveResampler(48_000, 16_000).push(tone)[500:-500]).max() < 1e-3


def test_the_speed_may_change_without_a_click() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000).astype(np.float32)
    resampler, made = LiveResampler(16_000, 16_000), []
    for number, block in enumerate(np.array_split(tone, 50)):
        resampler.speed = 1.002 if number % 2 else 0.998
        made.append(resampler.push(block))
    sound = np.concatenate(made)[100:]
    bends = np.abs(np.diff(sound, 2))
    assert bends.max() < 1.05 * (2 * np.pi * 200 / 16_000) ** 2
