"""F0 of sound that is still being spoken: the tracker of ``f0_tracker``, whose path is decided a little later.

Peaks of the autocorrelation are found once for each moment, as soon as its window is full. The best path through them
goes on from moment to moment; a moment that is given has the value of the path that is best so far.
"""

from __future__ import annotations

import numpy as np

from speechssl.audio import f0_tracker
from speechssl.audio.activity import RATE
from speechssl.audio.f0_tracker import CANDIDATES, ENOUGH, LOUD, LOW_RATE, RANGE, SURE, WINDOW, Array

STEP = 80  # samples between values, 5 ms
REACH = int(WINDOW * RATE) // 2 + 24  # samples heard on either side of a moment, with those of the low-pass
HELD = 4000  # samples before the next moment that are filtered again, so that rumble is told from voices
REMEMBERED = 6000  # moments, 30 s, that tell how loud the voice is and where it lies
FAINT = 0.003  # of full scale: no softer are the loud peaks taken to be


class LiveF0:
    """Values every 5 ms from sample 0 on, as ``audio.f0`` has them; equal calls give equal bits."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything that was heard."""
        self._samples, self._begin = np.zeros(0, np.float32), 0
        # moments with candidates, and moments given
        self._done = self._given = 0
        self._peaks, self._sure = np.zeros(0), np.zeros(0)
        self._total = np.zeros(CANDIDATES + 1)
        # of the last moment given and those after it
        self._hertz, self._strength = np.ones((1, CANDIDATES)), np.zeros((1, CANDIDATES))
        self._loud, self._back = np.zeros(1), np.zeros((1, CANDIDATES + 1), np.int64)

    def step(self, samples: Array, keep: int) -> Array:
        """Hz (F,), 0 where unvoiced, of the moments that follow those given so far, as far as the sound goes.

        Args:
            samples: (T,) float32 at 16 kHz, which follow those of the last step.
            keep: moments that are given from now on, at most F; the others come again.
        """
        self._samples = np.concatenate([self._samples, samples])
        cleared = f0_tracker.without_hum(self._samples.astype(np.float64))
        last = max(self._done, (self._begin + len(self._samples) - REACH) // STEP + 1)
        if last > self._done:
            self._hear(cleared, (np.arange(self._done, last) * STEP - self._begin) / RATE)
        self._done = last
        coarse = self._path()
        found = coarse
        if coarse.any():
            moments = (np.arange(self._given, self._done) * STEP - self._begin) / RATE
            found = f0_tracker.refined(cleared, coarse, moments)
        self._give(coarse[:keep])
        surplus = max(0, self._given * STEP - HELD - self._begin)
        self._samples, self._begin = self._samples[surplus:], self._begin + surplus
        return found

    def _hear(self, cleared: Array, times: Array) -> None:
        """Add the candidates of moments at ``times`` seconds of the sound held, and go on with the path."""
        low = f0_tracker.at_low_rate(cleared).astype(np.float32)
        correlation, peaks = f0_tracker.autocorrelation(low, np.round(times * LOW_RATE).astype(np.int64))
        hertz, strength = f0_tracker.candidates_of(correlation)
        self._peaks = np.concatenate([self._peaks, peaks])[-REMEMBERED:]
        relative = peaks / max(float(np.percentile(self._peaks, 99)), FAINT)
        if len(self._sure) >= ENOUGH:
            lowest, highest = (bound * np.median(self._sure) for bound in RANGE)
            strength = np.where((hertz >= lowest) & (hertz <= highest), strength, -1.0)
        gain = np.concatenate([f0_tracker.unvoiced_strength(relative)[:, None], strength], axis=1)
        cost = f0_tracker.jump_costs(np.concatenate([self._hertz[-1:], hertz]))
        back = np.zeros(gain.shape, dtype=np.int64)
        for index in range(len(gain)):
            arriving = self._total[:, None] + cost[index]
            back[index] = arriving.argmin(axis=0)
            self._total = arriving.min(axis=0) - gain[index]
        # sums of hours would lose what tells paths apart
        self._total = self._total - self._total.min()
        self._hertz, self._strength = np.concatenate([self._hertz, hertz]), np.concatenate([self._strength, strength])
        self._loud, self._back = np.concatenate([self._loud, relative]), np.concatenate([self._back, back])

    def _path(self) -> Array:
        """Hz (F,) along the best path, of the moments that are not given."""
        chosen = np.zeros(len(self._back), dtype=np.int64)
        chosen[-1] = int(self._total.argmin())
        for index in range(len(chosen) - 1, 0, -1):
            chosen[index - 1] = self._back[index, chosen[index]]
        voiced = np.concatenate([np.zeros((len(self._hertz), 1)), self._hertz], axis=1)
        return voiced[np.arange(len(chosen)), chosen][1:]

    def _give(self, coarse: Array) -> None:
        keep = len(coarse)
        rows = slice(1, keep + 1)
        is_sure = ((self._hertz[rows] == coarse[:, None]) & (self._strength[rows] > SURE)).any(axis=1)
        sure = coarse[is_sure & (self._loud[rows] > LOUD)]
        self._sure = np.concatenate([self._sure, sure])[-REMEMBERED:]
        self._given += keep
        self._hertz, self._strength = self._hertz[keep:], self._strength[keep:]
        self._loud, self._back = self._loud[keep:], self._back[keep:]
