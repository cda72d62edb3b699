"""Between a microphone and loudspeakers: rates are joined, and what a late block would tear open is faded.

``heard`` and ``fill`` are called by the devices and only copy; ``work`` converts, in a thread of its own. Two clocks
are never the same: a loudspeaker is fed a little faster or slower, by how much sound is waiting for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl.audio.live_resampler import LiveResampler

if TYPE_CHECKING:
    from speechssl.conversion.live import LiveConverter

    Array = NDArray[np.float32]

FADE = 0.005  # seconds over which sound ends and begins where some is missing
LONGEST = 1.0  # seconds of the microphone that may wait
CORRECTED, MOST = 0.05, 0.002  # speed for each second too much that waits, and the largest change of it
SLOW = 0.02  # share of a new measurement in what is taken to be waiting
GROWS, GROWN = 0.01, 0.05  # seconds that more sound waits after each gap, and at most
TOO_MUCH = 0.1  # seconds beyond what is wanted at which some is left out
REMEMBERED = 2000  # blocks whose cost is kept


class Outlet:
    """Sound that waits for a loudspeaker.

    Args:
        source, wanted: sample rates of the sound and of the loudspeaker, Hz.
        waiting: seconds of sound that wait, so that what comes may be so late; a little more after each gap.
    """

    def __init__(self, source: int, wanted: int, waiting: float) -> None:
        self.waiting, self._rate, self._source = waiting, wanted, source
        self._most = waiting + GROWN
        self._resampler = LiveResampler(source, wanted)
        self._ready: Array = np.zeros(0, np.float32)
        self._lock = threading.Lock()
        self._is_playing, self._average = False, waiting
        self._last = np.float32(0)
        self.xruns = 0
        self.level = 0.0  # highest sample of the last block

    @property
    def latency(self) -> float:
        """Seconds that a sample waits."""
        return self._average + self._resampler.delay / self._source

    def put(self, samples: Array) -> None:
        """Sound that comes next."""
        with self._lock:
            excess = self._average - self.waiting
            self._resampler.speed = 1 + min(max(CORRECTED * excess, -MOST), MOST)
            self._ready = np.concatenate([self._ready, self._resampler.push(samples)])

    def fill(self, count: int) -> Array:
        """A block (count,) for the loudspeaker; silence where nothing is ready."""
        with self._lock:
            made = self._filled(count)
        self.level = float(np.abs(made).max(initial=0.0))
        return made

    def _filled(self, count: int) -> Array:
        fade = round(FADE * self._rate)
        if not self._is_playing:
            if len(self._ready) < self.waiting * self._rate + count:
                return np.zeros(count, np.float32)
            self._is_playing, self._average = True, self.waiting
            self._ready = np.concatenate([_risen(self._ready[:fade]), self._ready[fade:]])
        elif len(self._ready) > (self.waiting + TOO_MUCH) * self._rate + count + fade:
            # a stall is over: what came too late is left out, from one sound into the other
            rest = self._ready[-round(self.waiting * self._rate) - count - fade :]
            self.xruns += 1
            self._ready = np.concatenate([_fallen(self._ready[:fade]) + _risen(rest[:fade]), rest[fade:]])
            self._average = self.waiting
        given, self._ready = self._ready[:count], self._ready[count:]
        self._average += SLOW * (len(self._ready) / self._rate - self._average)
        if len(given) == count:
            self._last = given[-1]
            return given
        self.xruns += 1
        self._is_playing = False
        self.waiting = min(self.waiting + GROWS, self._most)
        # the sound that there is ends softly; if there is none, the last sample does
        tail = given if len(given) else np.full(min(fade, count), self._last, np.float32)
        ending = max(0, len(tail) - fade)
        self._last = np.float32(0)
        silence = np.zeros(count - len(tail), np.float32)
        return np.concatenate([tail[:ending], _fallen(tail[ending:]), silence])


class LivePipe:
    """Carries sound from a microphone through a converter to loudspeakers.

    Args:
        converter: at 16 kHz.
        source: sample rate of the microphone, Hz.
        outlets: of the loudspeakers, at 16 kHz.
        recorded: is given what is spoken, (n,) at 16 kHz.
    """

    def __init__(
        self,
        converter: LiveConverter,
        source: int,
        outlets: Sequence[Outlet],
        *,
        recorded: Callable[[Array], None] | None = None,
    ) -> None:
        self.converter, self.outlets = converter, list(outlets)
        self._rate, self._recorded = source, recorded
        self._resampler = LiveResampler(source, converter.sample_rate)
        self._heard: deque[Array] = deque()
        self._lock, self._news = threading.Lock(), threading.Event()
        self._lost = 0
        self.last_heard = 0.0  # time.monotonic() of the last block
        self.level = 0.0  # highest sample of the last block of the microphone
        self.loads: deque[float] = deque(maxlen=REMEMBERED)  # time over length, of every block that was worked on

    @property
    def xruns(self) -> int:
        """How often sound was missing or left out."""
        return self._lost + sum(one.xruns for one in self.outlets)

    @property
    def latency(self) -> float:
        """Seconds from the microphone's block to the first loudspeaker's, without what the devices add."""
        inside = self.converter.latency / self.converter.sample_rate
        return inside + self._resampler.delay / self._rate + self.outlets[0].latency

    def heard(self, samples: Array) -> None:
        """A block (n,) of the microphone."""
        self.level, self.last_heard = float(np.abs(samples).max(initial=0.0)), time.monotonic()
        with self._lock:
            self._heard.append(samples)
            while sum(map(len, self._heard)) > LONGEST * self._rate:
                self._heard.popleft()
                self._lost += 1
        self._news.set()

    def wait(self, seconds: float) -> None:
        """Until something was heard."""
        self._news.wait(seconds)
        self._news.clear()

    def work(self) -> bool:
        """Convert what was heard; False if there was nothing."""
        with self._lock:
            blocks = list(self._heard)
            self._heard.clear()
        if not blocks:
            return False
        samples = np.concatenate(blocks)
        start = time.perf_counter()
        spoken = self.converter.push(torch.from_numpy(self._resampler.push(samples))).numpy()
        self.loads.append((time.perf_counter() - start) / (len(samples) / self._rate))
        if self._recorded is not None:
            self._recorded(spoken)
        for outlet in self.outlets:
            outlet.put(spoken)
        return True


def _risen(samples: Array) -> Array:
    """Samples that rise from silence."""
    rise = np.sin(np.linspace(0, np.pi / 2, len(samples), endpoint=False)) ** 2
    return (samples * rise).astype(np.float32)


def _fallen(samples: Array) -> Array:
    """Samples that fall to silence."""
    return _risen(samples[::-1])[::-1]
