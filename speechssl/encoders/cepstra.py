"""MFCC as an encoder: what any learnt encoder is measured against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechssl import errors
from speechssl.encoders.blocks import Trunk
from speechssl.encoders.encoder import SAMPLE_RATE, SSLEncoder
from speechssl.encoders.frontends import BLOCK_FRAMES, Blocks, FrontEnd
from speechssl.encoders.windows import cut_samples
from speechssl.errors import InputError

WINDOW = 400  # samples, 25 ms: a frame covers what a frame of the learnt encoders covers
COEFFICIENTS, BANDS = 13, 40  # with first and second differences 39 numbers, as HuBERT's first clusters were made of


def load(layer: int | None) -> SSLEncoder:
    """The encoder ``mfcc``: 13 coefficients and their first and second differences, 50 frames a second.

    Raises:
        InputError: a layer other than 0, or librosa is not installed.
    """
    if layer not in (None, 0):
        raise InputError(f"mfcc has no layer {layer}; 0 needed")
    errors.require("librosa", purpose="mfcc", extra="probing")
    return SSLEncoder("mfcc/0", 3 * COEFFICIENTS, 0, 0, CepstraFrontEnd(), _Nothing(), origins=("mfcc/0",))


class CepstraFrontEnd(FrontEnd):
    """Samples to cepstra by librosa, block by block; the differences are taken over the whole recording."""

    hop_length = 320  # 20 ms

    def num_frames(self, num_samples: int) -> int:
        """Exact count; no padding."""
        return max(0, 1 + (num_samples - WINDOW) // self.hop_length)

    def frames(self, blocks: Blocks) -> Iterator[Tensor]:
        """(N, 39) float32 at once: an hour has 28 MB."""
        import librosa

        size: dict[str, Any] = {"n_fft": WINDOW, "hop_length": self.hop_length, "center": False, "n_mels": BANDS}
        parts = []
        for block in cut_samples(blocks(), hop=BLOCK_FRAMES * self.hop_length, overlap=WINDOW - self.hop_length):
            if block.shape[0] >= WINDOW:
                power = librosa.feature.melspectrogram(y=block.cpu().numpy(), sr=SAMPLE_RATE, **size)
                # no floor below the loudest sound, which would differ between blocks
                decibels = librosa.power_to_db(power, top_db=None)
                parts.append(librosa.feature.mfcc(S=decibels, n_mfcc=COEFFICIENTS))
        if parts:
            cepstra = np.concatenate(parts, axis=1)
            slopes = [librosa.feature.delta(cepstra, order=order, mode="nearest") for order in (1, 2)]
            yield torch.from_numpy(np.concatenate([cepstra, *slopes]).T.astype(np.float32).copy())


class _Nothing(Trunk):
    """The trunk of an encoder without blocks."""

    blocks: list[Any] = []  # noqa: RUF012

    def states(self, frames: Tensor, *, num_valid: int) -> Iterator[Tensor]:
        yield frames
