"""Which sound the channels of a recording make together: their mean, unless they cancel each other.

Microphones and cables with inverted polarity give channels whose mean is silence. The loudest channel is taken then.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechssl.audio import decoding
from speechssl.audio.decoding import Mix, Samples
from speechssl.errors import InputError

LOOKED_AT = 600.0  # seconds from the start of a file that decide; the first sound of a long one does not wait for all
# power of the mean by that of the mean of unrelated channels, below which the channels cancel: 1 for unrelated channels
# and for one channel among silent ones, 2 for two equal channels, 0 for two of inverted polarity
CANCELLED = 0.1


def mixed(path: Path) -> Mix:
    """What makes one channel of a file; a channel that is taken for all is logged as a warning, once for each file.

    Raises:
        InputError: no audio file.
    """
    taken = _announced(path, *_version(path))
    return decoding.mean if taken is None else only(taken)


def only(channel: int) -> Mix:
    """What takes one channel, counted from 0."""

    def take(block: Samples) -> Samples:
        return np.ascontiguousarray(block[:, channel])

    return take


def taken(path: str | Path) -> int | None:
    """The channel, counted from 0, that stands for all because they cancel each other; None for the mean of all.

    Raises:
        InputError: no audio file.
    """
    return _taken(Path(path), *_version(Path(path)))


def _version(path: Path) -> tuple[int, int]:
    """Changes with the file, so that what is remembered of it is still true."""
    decoding.check_file(path)
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=1024)
def _announced(path: Path, changed: int, size: int) -> int | None:
    found = _taken(path, changed, size)
    if found is not None:
        logging.getLogger("speechssl").warning(
            "%s: its channels cancel each other; channel %d was taken", path, found + 1
        )
    return found


@functools.lru_cache(maxsize=1024)
def _taken(path: Path, changed: int, size: int) -> int | None:
    """See ``taken``; ``changed`` and ``size`` tell versions of the file apart."""
    with decoding.opened(path, lambda block: block) as source:
        count, left = source.info.channels, round(LOOKED_AT * source.info.sample_rate)
        if count < 2:
            return None
        powers, together = np.zeros(count), 0.0
        try:
            for block in source.blocks:
                part = block[:left].astype(np.float64)
                powers += np.square(part).sum(axis=0)
                together += float(np.square(part.mean(axis=1)).sum())
                left -= len(part)
                if left <= 0:
                    break
        except InputError:
            pass  # whoever reads the file meets what is wrong with it, and says where
    return _standing(powers, together)


def one(samples: Samples) -> Samples:
    """Samples (T, C) as one channel (T,)."""
    mean = samples.mean(axis=1)
    powers = np.square(samples, dtype=np.float64).sum(axis=0)
    taken = _standing(powers, float(np.square(mean, dtype=np.float64).sum()))
    return mean if taken is None else samples[:, taken]


def _standing(powers: NDArray[np.float64], together: float) -> int | None:
    """The channel of most power, where the power of the mean is that of channels that cancel each other."""
    return int(powers.argmax()) if together < CANCELLED * powers.sum() / len(powers) ** 2 else None
