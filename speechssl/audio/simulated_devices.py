"""Simulated devices for tests and benchmarks: two clocks that drift, late blocks and stalls."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from speechssl.audio.devices import Device, Fill, Heard
from speechssl.audio.f0_tracker import Array


@dataclass
class SimulatedDevices:
    """Devices in real time.

    Args:
        said: (n,) float32 that the microphone hears, again and again.
        rates: Hz of microphone and loudspeaker.
        drift: by how much each clock is fast, as a share: 1e-4 is 100 ppm.
        block: seconds of a block.
        jitter: seconds by which a block may be late.
        stalls: seconds between two stalls of the microphone, and their length; its blocks then come all at once.
        heard: what the loudspeaker was given.
    """

    said: Array
    rates: tuple[int, int] = (44_100, 48_000)
    drift: tuple[float, float] = (1e-4, -1e-4)
    block: float = 0.01
    jitter: float = 0.003
    stalls: tuple[float, float] = (20.0, 0.03)
    heard: list[Array] = field(default_factory=list)
    keeps: bool = True

    def all(self) -> list[Device]:
        """A microphone and a loudspeaker."""
        return [
            Device(0, "microphone", 1, 0, self.rates[0], (True, False)),
            Device(1, "loudspeaker", 0, 2, self.rates[1], (False, True)),
        ]

    def listen(self, device: Device, heard: Heard) -> Clock:
        """Open the microphone."""
        size, place = round(self.block * self.rates[0]), 0

        def tick() -> None:
            nonlocal place
            heard(np.take(self.said, np.arange(place, place + size), mode="wrap"))
            place = (place + size) % len(self.said)

        return Clock(tick, self.rates[0], size / self.rates[0] / (1 + self.drift[0]), self.jitter, self.stalls)

    def play(self, device: Device, fill: Fill) -> Clock:
        """Open the loudspeaker."""
        size = round(self.block * self.rates[1])

        def tick() -> None:
            made = fill(size)
            if self.keeps:
                self.heard.append(made)

        return Clock(tick, self.rates[1], size / self.rates[1] / (1 + self.drift[1]), self.jitter, (1e9, 0.0))


class Clock:
    """Calls a function at the times of a device's own clock, until it is closed."""

    latency = 0.0

    def __init__(
        self, tick: Callable[[], None], rate: int, period: float, jitter: float, stalls: tuple[float, float]
    ) -> None:
        self.sample_rate, self._tick, self._period, self._jitter, self._stalls = rate, tick, period, jitter, stalls
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_open(self) -> bool:
        """Until it is closed."""
        return not self._closed.is_set()

    def close(self) -> None:
        """Stop."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        chance = random.Random(0)
        begin, count, stall = time.perf_counter(), 0, self._stalls[0]
        while not self._closed.is_set():
            count += 1
            due = count * self._period + chance.random() * self._jitter
            if count * self._period > stall:
                due += self._stalls[1]
                stall += self._stalls[0]
            if (left := begin + due - time.perf_counter()) > 0:
                time.sleep(left)
            self._tick()
