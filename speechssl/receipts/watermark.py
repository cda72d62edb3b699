"""An inaudible mark that says: this was synthesised. Through Resemble AI's Perth (MIT), whose wheel has its weights.

Optional (``pip install 'speechssl[watermark]'``). The mark is a change of the magnitudes below 2 kHz that a second
network finds again; measured in ``recipes/watermark/RESULTS.md``. It carries no message: what a file was made of is in
its receipt.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import threading
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechssl import audio, errors
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform

NAME = "perth-implicit"
RATE = 32_000  # Hz that Perth works at
PRESENT = 0.5  # confidence from which the mark counts as found
PEAK = 0.99  # the mark may lift a peak above full scale
_LOCK = threading.Lock()


def available() -> bool:
    """Whether the package is installed and torchaudio, which it imports, loads."""
    return _installed() and _torchaudio_loads()


@functools.cache
def _torchaudio_loads() -> bool:
    try:
        errors.require("torchaudio", purpose="the watermark", extra="watermark")
    except InputError:
        return False
    return True


def _installed() -> bool:
    return importlib.util.find_spec("perth") is not None and importlib.util.find_spec("pkg_resources") is not None


def mark(waveform: Waveform) -> Waveform:
    """The same sound with the mark, of the same length and rate.

    Raises:
        CheckpointError: Perth is not installed, or its weights cannot be read.
        InputError: Perth, or torchaudio, which it imports, cannot be loaded.
    """
    import torch

    samples = audio.resample(waveform, RATE).samples.detach().cpu().numpy()
    with torch.inference_mode():
        marked = Waveform(torch.from_numpy(_network().apply_watermark(samples, RATE).copy()), RATE)
    back = audio.resample(marked, waveform.sample_rate).samples
    # the transform drops what is less than one hop
    missing = waveform.samples.shape[0] - back.shape[0]
    back = torch.nn.functional.pad(back, (0, missing)) if missing > 0 else back[: waveform.samples.shape[0]]
    top = float(back.abs().max())
    return Waveform(back * min(1.0, PEAK / top) if top > 0 else back, waveform.sample_rate)


def confidence(waveform: Waveform) -> float:
    """How surely the mark is in this sound, 0 to 1; ``PRESENT`` and more counts as found.

    Raises:
        CheckpointError: Perth is not installed, or its weights cannot be read.
        InputError: Perth, or torchaudio, which it imports, cannot be loaded.
    """
    import torch

    samples = audio.resample(waveform, RATE).samples.detach().cpu().numpy()
    if not samples.any():
        return 0.0
    with torch.inference_mode():
        found: NDArray[np.float32] = _network().get_watermark(samples, RATE, round=False)
    return float(found.mean())


def _network() -> Any:
    with _LOCK:
        return _loaded()


@functools.cache
def _loaded() -> Any:
    if not _installed():
        raise CheckpointError("the watermark needs Perth; install it with: pip install 'speechssl[watermark]'")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # it announces its deprecated imports and its loading
        warnings.simplefilter("ignore")
        with errors.importing("perth", purpose="the watermark", extra="watermark"):
            from perth.perth_net.perth_net_implicit.perth_watermarker import PerthImplicitWatermarker

        found = PerthImplicitWatermarker(device="cpu")
    found.perth_net.eval()
    return found
