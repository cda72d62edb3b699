"""What callers give as recordings: a path, a waveform, samples with their rate, a clip; one or several of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from speechssl.audio import channels
from speechssl.audio.decoding import HIGHEST_RATE, LOWEST_RATE, check_height
from speechssl.errors import InputError
from speechssl.signals import Waveform


class Clip(Protocol):
    """A recording that ships with the package, see ``speechssl.clip``."""

    @property
    def path(self) -> Path: ...
    @property
    def voice(self) -> str: ...


if TYPE_CHECKING:
    from torch import Tensor

    Samples: TypeAlias = Tensor | NDArray[Any]

# a file, a waveform, samples with their rate in Hz, or a clip
Recording: TypeAlias = "str | Path | Waveform | tuple[Samples, int] | Clip"
Recordings: TypeAlias = "Recording | Iterable[Recording]"
NEEDED = "a path, a Waveform, (samples, rate) or a clip needed"


def recording(given: Any) -> str | Path | Waveform:
    """One recording as a path or a waveform.

    Args:
        given: a path, a waveform, a pair of samples ((T,), or (T, C) or (C, T) with up to 8 channels, whose mean is
            taken, or the loudest if they cancel each other; whole numbers are scaled to [-1, 1]) and their rate in Hz,
            or a clip of the package.
    Returns:
        The path or the waveform.
    Raises:
        InputError: anything else; the message says what was got.

    Example:
        >>> import numpy as np
        >>> recording((np.zeros(16000), 16000))
        Waveform(1.0 s at 16 kHz)
    """
    if isinstance(given, str | Path | Waveform):
        if str(given) == "":
            raise InputError(f"the name of a recording is empty; {NEEDED}")
        return given
    if isinstance(given, os.PathLike):
        return Path(os.fsdecode(given))
    if _is_pair(given):
        return _waveform(*given)
    if isinstance(path := getattr(given, "path", None), Path) and hasattr(given, "voice"):
        return path
    raise InputError(f"a recording of the type {type(given).__name__}: {NEEDED}{_hint(given)}")


def recordings(given: Any) -> list[str | Path | Waveform]:
    """One or several recordings as a list.

    Args:
        given: what ``recording`` takes, or several of them. A string is one path.
    Returns:
        Paths and waveforms, in order.
    Raises:
        InputError: as ``recording``.

    Example:
        >>> recordings("talk.wav")
        ['talk.wav']
    """
    if isinstance(given, str | os.PathLike | Waveform) or _is_pair(given) or hasattr(given, "voice"):
        return [recording(given)]
    if isinstance(given, Iterable) and not isinstance(given, bytes | bytearray | dict) and not _hint(given):
        return [recording(one) for one in given]
    raise InputError(f"recordings of the type {type(given).__name__}: {NEEDED}, or a list of them{_hint(given)}")


def path(given: Any, what: str) -> Path:
    """A path.

    Raises:
        InputError: no path; the message names ``what`` it is for.
    """
    if not isinstance(given, str | os.PathLike) or not os.fsdecode(given):
        got = "empty" if given == "" else f"of the type {type(given).__name__}"
        raise InputError(f"{what} is {got}; a path needed")
    return Path(os.fsdecode(given))


def _is_array(given: object) -> bool:
    return hasattr(given, "shape") and hasattr(given, "dtype")


def _is_pair(given: object) -> bool:
    # a rate that numpy read has a shape, too, of no dimension
    return isinstance(given, tuple) and len(given) == 2 and _is_array(given[0]) and not getattr(given[1], "shape", ())


def _hint(given: object) -> str:
    """What to do with things that are nearly recordings."""
    if _is_array(given):
        return "; the sample rate is missing"
    if isinstance(given, tuple | list) and len(given) == 2 and any(map(_is_array, given)):
        return "; a tuple with the samples first, then the rate"
    if hasattr(given, "read"):
        return "; soundfile.read(FILE) makes samples and rate of an open file"
    return ""


def _waveform(samples: Any, rate: Any) -> Waveform:
    import torch

    is_number = isinstance(rate, int | float | np.floating | np.integer) and not isinstance(rate, bool)
    if not is_number or float(rate) % 1 or rate < 1:
        raise InputError(f"the rate beside samples is {rate!r}; Hz as a positive whole number needed")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(f"the rate beside samples is {rate} Hz; {LOWEST_RATE} to {HIGHEST_RATE} needed")
    if isinstance(samples, torch.Tensor):
        # numpy knows no bfloat16
        samples = (samples.float() if samples.is_floating_point() else samples).detach().cpu().numpy()
    array = np.asarray(samples)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
        raise InputError(f"samples of shape {array.shape}, type {array.dtype}; numbers of shape (T,) or (T, C) needed")
    if array.dtype.kind in "iu":
        limit = np.iinfo(array.dtype)
        middle = 0 if array.dtype.kind == "i" else (int(limit.max) + 1) / 2
        array = (array.astype(np.float64) - middle) / (int(limit.max) + 1 - middle)
    if array.ndim == 2:
        across = int(array.shape[0] >= array.shape[1])
        if array.shape[across] > 8:
            raise InputError(f"samples of shape {array.shape}; (T,), or two dimensions with up to 8 channels needed")
        array = channels.one(array if across else array.T)
    array = np.require(array, np.float32, ("C", "W"))  # PyTorch warns of what cannot be written to
    check_height("the recording", array)
    return Waveform(torch.from_numpy(array), int(rate))
