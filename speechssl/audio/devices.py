"""Microphones and loudspeakers: what a back end has to offer, and the one that sounddevice (PortAudio) gives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from speechssl import errors
from speechssl.audio.f0_tracker import Array
from speechssl.errors import InputError

Heard = Callable[[Array], None]  # takes mono samples (n,) float32
Fill = Callable[[int], Array]  # gives so many


@dataclass(frozen=True)
class Device:
    """A microphone or a loudspeaker, or both.

    Args:
        number: by which it can be chosen.
        name: as the system calls it; a part of it chooses it, too.
        inputs, outputs: channels.
        sample_rate: its own, Hz.
        is_default: whether it is used if none is named, for input and for output.
    """

    number: int
    name: str
    inputs: int
    outputs: int
    sample_rate: int
    is_default: tuple[bool, bool] = (False, False)


class Stream(Protocol):
    """An open microphone or loudspeaker."""

    sample_rate: int
    latency: float  # seconds in the device, as far as it says

    def is_open(self) -> bool:
        """False once the device is gone."""

    def close(self) -> None:
        """Stop."""


class Devices(Protocol):
    """A back end. Functions that are given are called from threads of its own, and must be quick."""

    def all(self) -> list[Device]:
        """What there is now."""

    def listen(self, device: Device, heard: Heard) -> Stream:
        """Open a microphone."""

    def play(self, device: Device, fill: Fill) -> Stream:
        """Open a loudspeaker."""


def choose(devices: list[Device], wanted: str | None, *, output: bool = False) -> Device:
    """The device with a number, or whose name holds a text; None for the default one.

    Raises:
        InputError: none, or several.
    """
    what = "output" if output else "input"
    able = [one for one in devices if (one.outputs if output else one.inputs)]
    if not able:
        raise InputError(f"no {what} device found; connect one, and see `speechssl live --list-devices`")
    if wanted is None:
        return next((one for one in able if one.is_default[output]), able[0])
    found = [one for one in able if str(one.number) == wanted or one.name == wanted]
    found = found or [one for one in able if wanted.lower() in one.name.lower()]
    if len(found) != 1:
        names = ", ".join(f"{one.number} {one.name}" for one in (found or able))
        raise InputError(f"--{what} {wanted!r} names {len(found)} devices; give one of: {names}")
    return found[0]


class SoundDevices:
    """PortAudio, through sounddevice.

    Raises:
        InputError: sounddevice or PortAudio is not installed.
    """

    def __init__(self) -> None:
        self._library = _library()

    def all(self) -> list[Device]:
        """What there is now."""
        # PortAudio looks for devices once, when it begins
        self._library._terminate()
        self._library._initialize()
        chosen = self._library.default.device
        return [
            Device(
                one["index"],
                one["name"],
                one["max_input_channels"],
                one["max_output_channels"],
                round(one["default_samplerate"]),
                (one["index"] == chosen[0], one["index"] == chosen[1]),
            )
            for one in self._library.query_devices()
        ]

    def listen(self, device: Device, heard: Heard) -> Stream:
        """Open a microphone; channels are averaged."""

        def called(samples: Any, *_: Any) -> None:
            heard(samples.mean(axis=1, dtype=np.float32))

        return self._opened(self._library.InputStream, device, min(device.inputs, 2), called)

    def play(self, device: Device, fill: Fill) -> Stream:
        """Open a loudspeaker; all its channels say the same."""

        def called(samples: Any, *_: Any) -> None:
            samples[:] = fill(len(samples))[:, None]

        return self._opened(self._library.OutputStream, device, min(device.outputs, 2), called)

    def _opened(self, kind: Any, device: Device, channels: int, called: Any) -> Stream:
        common = {"device": device.number, "channels": channels, "dtype": "float32", "callback": called}
        failed = ""
        # a device may refuse the short buffer
        for latency in ("low", "high"):
            try:
                stream = kind(samplerate=device.sample_rate, latency=latency, **common)
                stream.start()
            except self._library.PortAudioError as error:
                failed = str(error)
                continue
            return _Opened(stream)
        raise InputError(
            f"{device.name} cannot be opened ({failed}); close other programs that use it, or name another"
        )


class _Opened:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.sample_rate, self.latency = round(stream.samplerate), float(stream.latency)

    def is_open(self) -> bool:
        return bool(self._stream.active)

    def close(self) -> None:
        self._stream.close()


def _library() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise InputError(errors.not_loaded(error, "sounddevice", purpose="live sound", extra="live")) from error
    except OSError as error:
        how = "apt-get install libportaudio2" if sys.platform.startswith("linux") else "pip install -U sounddevice"
        raise InputError(f"live sound: PortAudio is not installed; run: {how}") from error
    return sounddevice
