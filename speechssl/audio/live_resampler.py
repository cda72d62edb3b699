"""Resampling of a stream whose ratio may change a little at any time, so that two clocks that drift can be joined."""

from __future__ import annotations

import numpy as np

from speechssl.audio.f0_tracker import Array

ZEROS = 12  # crossings of zero of the kernel on either side
STEPS = 512  # of the table between two of them


class LiveResampler:
    """Samples of one rate to samples of another, by a windowed sinc.

    Args:
        source, wanted: Hz.

    ``speed`` is the factor by which the source is played faster; it may be changed between calls, without a click.
    """

    def __init__(self, source: int, wanted: int) -> None:
        self._step = source / wanted
        # above half of the lower rate nothing may pass
        self._cutoff = min(1.0, wanted / source) * 0.95
        self._reach = int(np.ceil(ZEROS / self._cutoff))
        self.speed = 1.0
        places = np.arange(ZEROS * STEPS + 2) / STEPS
        # a Kaiser window: 80 dB
        window = np.i0(8.0 * np.sqrt(np.clip(1 - (places / ZEROS) ** 2, 0, 1))) / np.i0(8.0)
        self._kernel = np.sinc(places) * window * self._cutoff
        self._samples = np.zeros(self._reach, np.float32)
        self._place = float(self._reach)

    @property
    def delay(self) -> int:
        """Samples of the source that have to be known beyond the present."""
        return self._reach

    def push(self, block: Array) -> Array:
        """The samples (m,) float32 that a block (n,) completes."""
        self._samples = np.concatenate([self._samples, block])
        step = self._step * self.speed
        count = max(0, int(np.floor((len(self._samples) - self._reach - 1 - self._place) / step)) + 1)
        places = self._place + step * np.arange(count)
        first = np.floor(places).astype(np.int64)
        around = first[:, None] + np.arange(1 - self._reach, self._reach + 1)
        away = np.abs(around - places[:, None]) * (self._cutoff * STEPS)
        index = np.minimum(away.astype(np.int64), len(self._kernel) - 2)
        share = np.minimum(away - index, 1.0)
        weights = self._kernel[index] * (1 - share) + self._kernel[index + 1] * share
        made: Array = (self._samples[around] * weights).sum(axis=1).astype(np.float32)
        self._place += step * count
        surplus = max(0, int(self._place) - self._reach)
        self._samples, self._place = self._samples[surplus:], self._place - surplus
        return made
