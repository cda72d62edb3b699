"""A live conversion from device to device, until it is stopped."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl.conversion.live_pipe import LivePipe, Outlet
from speechssl.encoders.precision import one_thread
from speechssl.errors import InputError, SpeechSSLError

if TYPE_CHECKING:
    from speechssl.audio.devices import Device, Devices, Stream
    from speechssl.conversion.live import LiveConverter

TRIED = 12  # hops that are timed before the first block
BUFFERS = 0.04  # seconds that wait for a loudspeaker beside what a hop takes: blocks may come late, or 30 ms at once
SPARE, LONGEST = 1.3, 0.3  # times the time of a slow hop, and seconds at most
AGAIN = 1.0  # seconds between two attempts to open a device that is gone
SILENT = 3.0  # seconds without a block of the microphone after which it is taken to be gone
LONGEST_HOP = 168  # ms of latency from which hops are as long as they get


class LiveSession:
    """Listens, converts and plays in threads of its own.

    Args:
        converter: of the voice.
        devices: the back end.
        microphone: of ``devices``.
        loudspeakers: of ``devices``; the delay is that of the first.
        recorded: is given what is spoken, (n,) at 16 kHz.
    Raises:
        InputError: a device that cannot be opened, or a processor that is too slow.
    """

    def __init__(
        self,
        converter: LiveConverter,
        devices: Devices,
        microphone: Device,
        loudspeakers: Sequence[Device],
        *,
        recorded: Callable[[NDArray[np.float32]], None] | None = None,
    ) -> None:
        self._devices, self._microphone, self._loudspeakers = devices, microphone, list(loudspeakers)
        usual, slow = hop_seconds(converter)
        check_speed(converter, usual)
        self.load = usual / (converter.hop / converter.sample_rate)
        waiting = BUFFERS + min(SPARE * slow, LONGEST)
        outlets = [Outlet(converter.sample_rate, one.sample_rate, waiting) for one in self._loudspeakers]
        self.pipe = LivePipe(converter, microphone.sample_rate, outlets, recorded=recorded)
        self._stopped = threading.Event()
        self._gone: list[str] = []
        self._streams: list[Stream] = []
        self.failure: SpeechSSLError | None = None
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._tried = time.monotonic()
        self._open()
        self._worker.start()

    @property
    def latency(self) -> float:
        """Seconds from mouth to ear, as far as the devices say theirs."""
        return self.pipe.latency + sum(one.latency for one in self._streams[:2])

    def mend(self) -> list[str]:
        """Open the devices again if one was unplugged; call it now and then.

        Returns:
            Names of devices that are gone.
        """
        if not self._gone:
            self._gone = self._missing()
            if not self._gone:
                return []
            self._close()
        if time.monotonic() - self._tried > AGAIN:
            self._tried = time.monotonic()
            with contextlib.suppress(InputError):
                # a device that is back may have another number
                known = {one.name: one for one in self._devices.all()}
                if all(one.name in known for one in (self._microphone, *self._loudspeakers)):
                    self._microphone = known[self._microphone.name]
                    self._loudspeakers = [known[one.name] for one in self._loudspeakers]
                    self._open()
                    self._gone = []
        return self._gone

    def _missing(self) -> list[str]:
        silent = time.monotonic() - max(self.pipe.last_heard, self._tried) > SILENT
        devices = (self._microphone, *self._loudspeakers)
        return [
            device.name
            for number, (device, stream) in enumerate(zip(devices, self._streams, strict=True))
            if not stream.is_open() or (number == 0 and silent)
        ]

    def stop(self) -> None:
        """Close the devices."""
        self._stopped.set()
        self._close()
        if self._worker.is_alive():
            self._worker.join()

    def _open(self) -> None:
        """Open all devices, or none."""
        try:
            self._streams = [self._devices.listen(self._microphone, self.pipe.heard)]
            for device, outlet in zip(self._loudspeakers, self.pipe.outlets, strict=True):
                self._streams.append(self._devices.play(device, outlet.fill))
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        for stream in self._streams:
            # a device that is gone may not even be closed
            with contextlib.suppress(Exception):
                stream.close()
        self._streams = []

    def _work(self) -> None:
        with one_thread():
            while not self._stopped.is_set():
                try:
                    if not self.pipe.work():
                        self.pipe.wait(0.1)
                except SpeechSSLError as error:
                    self.failure = error
                    return


def hop_seconds(converter: LiveConverter) -> tuple[float, float]:
    """Seconds that a hop takes usually, and at times; measured on silence. What the converter heard is forgotten."""
    took = []
    with one_thread():
        for _ in range(TRIED):
            start = time.perf_counter()
            converter.push(torch.zeros(converter.hop))
            took.append(time.perf_counter() - start)
    converter.reset()
    took.sort()
    return took[len(took) // 2], took[-2]


def check_speed(converter: LiveConverter, seconds: float, option: str = "--latency") -> None:
    """Refuse a processor that takes too long.

    Args:
        converter: of the session.
        seconds: that a hop takes.
        option: name of the latency, for the message.
    Raises:
        InputError: hops take longer than they last; names the latency that would do, if there is one.
    """
    hop = converter.hop / converter.sample_rate
    if seconds < hop:
        return
    slow = f"this processor takes {1000 * seconds:.0f} ms for {1000 * hop:.0f} ms of sound"
    if seconds < 0.08 and hop < 0.08:
        # a hop costs nearly the same whatever its length
        raise InputError(f"{slow}; use {option} {LONGEST_HOP} or more, whose blocks are of 80 ms")
    raise InputError(f"{slow}, too long to convert live; close other programs, or convert recordings")
