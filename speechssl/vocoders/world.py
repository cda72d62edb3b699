"""WORLD as an encoder of values and a vocoder without training: spectral envelope and aperiodicity; F0 from the source.

Time: WORLD frame j lies at sample 80 (j + 1) of 16 kHz audio, and value frame i of 20 ms stacks the four WORLD frames
4i ... 4i + 3, at samples 320 i + 80, 160, 240 and 320: centred on sample 320 i + 200, as frame i of HuBERT, WavLM and
their kind (a window of 400 samples every 320). The sound of N frames is the 320 (N - 1) + 400 samples those windows
cover: a conversion is as long as its source to within one frame, and sample n of it belongs to sample n of the source.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechssl import audio
from speechssl.audio.f0_tracker import pyworld
from speechssl.errors import InputError
from speechssl.signals import Features, Waveform, check_same_origin
from speechssl.vocoders import pulses

Array = NDArray[Any]

SAMPLE_RATE = 16_000  # Hz
HOP_LENGTH = 320  # 20 ms: the hop of the SSL encoders
WINDOW_LENGTH = 400  # 25 ms: their receptive field
STEP = 80  # 5 ms: the step of WORLD
STACK = HOP_LENGTH // STEP
# numbers of the envelope. Resynthesis of 121 s of read speech with 24, 40 and 60, all with the same F0: mel-cepstral
# distortion 3.60, 3.48, 3.49 dB, STOI 0.921, 0.925, 0.925; pyworld's own from the uncoded envelope: 3.42 dB, 0.926
ORDER = 40
BANDS = 1  # bands of aperiodicity at 16 kHz: one at 3 kHz
ENVELOPE_FLOOR = 1e-12  # power; digital silence has a level, so that means of frames mean something
CHUNK = 2000  # WORLD frames analysed at once (even, see ``_aperiodicity``): 10 s, some 50 MB
CONTEXT = 4096  # samples around a chunk; the longest window of the analysis spans four periods of 47 Hz


def origin(order: int = ORDER) -> str:
    """Name of the values: ``"world/16k-40"``."""
    return f"world/{SAMPLE_RATE // 1000}k-{order}"


@dataclass(frozen=True)
class World:
    """What analysis and synthesis have in common.

    Args:
        order: numbers of the envelope's mel-cepstrum, 2 ... 100.
    """

    order: int = ORDER

    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / HOP_LENGTH

    def __post_init__(self) -> None:
        if not 2 <= self.order <= 100:
            raise InputError(f"WORLD order is {self.order}; 2 to 100 needed")

    @property
    def origin(self) -> str:
        """Of the values; see ``origin``."""
        return origin(self.order)


class WorldAnalysis(World):
    """Waveform to WORLD values: an ``Encoder`` whose frames can be vocoded without training."""

    @property
    def dim(self) -> int:
        """Four WORLD frames of ``order`` cepstra and the aperiodicity."""
        return STACK * (self.order + BANDS)

    def num_frames(self, num_samples: int) -> int:
        """1 + (T - 400) // 320, as the SSL encoders; 0 below 400 samples."""
        return 1 + (num_samples - WINDOW_LENGTH) // HOP_LENGTH if num_samples >= WINDOW_LENGTH else 0

    def encode(self, waveform: Waveform, *, f0: Tensor | None = None) -> Features:
        """Values (N, dim): per WORLD frame ``order`` cepstra, then the aperiodicity in dB (0 where unvoiced).

        Args:
            waveform: any length from 400 samples at 16 kHz; analysed in chunks, as many at once as PyTorch has
                threads, in flat memory.
            f0: (F,) Hz every 5 ms of the waveform; None to measure it.
        Raises:
            InputError: shorter than one frame.
        """
        heard = audio.resample(waveform, SAMPLE_RATE)
        count = self.num_frames(len(heard.samples))
        if count < 1:
            raise InputError(
                f"the audio has {len(heard.samples)} samples at 16 kHz; {WINDOW_LENGTH} (25 ms) or more needed"
            )
        contour = (audio.f0(heard) if f0 is None else f0).double().cpu().numpy()
        values = self._analyse(heard.samples.cpu().numpy(), fitted(contour, count))
        return Features(torch.from_numpy(values).reshape(count, self.dim), self.frame_rate, self.origin)

    def _analyse(self, samples: Array, f0: Array, *, chunk: int = CHUNK) -> Array:
        """(M, order + 1) float32 of WORLD frames 0 ... M - 1; ``f0`` (M,) is theirs."""
        values = np.empty((len(f0), self.order + BANDS), dtype=np.float32)

        def analyse(start: int) -> None:
            stop = min(start + chunk, len(f0))
            begin = max(0, STEP * (start + 1) - CONTEXT)
            piece = samples[begin : STEP * stop + CONTEXT].astype(np.float64)
            times = (STEP * np.arange(start + 1, stop + 1) - begin) / SAMPLE_RATE
            values[start:stop] = _coded(piece, f0[start:stop], times, self.order)

        # pyworld lets other threads run, and draws its noise anew for each chunk
        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            list(pool.map(analyse, range(0, len(f0), chunk)))
        return values


class WorldVocoder(World):
    """WORLD values and an F0 contour to sound."""

    needs_f0 = True
    key_origin = ""  # it takes no keys

    def num_samples(self, num_frames: int) -> int:
        """Samples that so many frames cover."""
        return HOP_LENGTH * (num_frames - 1) + WINDOW_LENGTH

    def vocode(
        self,
        features: Features,
        *,
        f0: Tensor | None = None,
        keys: Features | None = None,
        voice: Tensor | None = None,
    ) -> Waveform:
        """The sound of N frames: 320 (N - 1) + 400 samples, in time with the source of ``f0``.

        Args:
            features: values (N, dim).
            f0: (F,) Hz every 5 ms from sample 0 on, 0 where unvoiced, as ``audio.f0`` of the source; decides what is
                voiced.
            keys, voice: not needed, not used.
        Raises:
            InputError: values of another origin, no F0, or an F0 contour of another length than the features.
        """
        check_same_origin(features.origin, self.origin, what="vocode these features with WORLD")
        if f0 is None:
            raise InputError("WORLD needs the F0 contour beside the features: pass f0, one value every 5 ms")
        values = features.frames.reshape(-1, self.order + BANDS).float().cpu().numpy()
        contour = fitted(f0.double().cpu().numpy(), len(features))
        count = self.num_samples(len(features))
        samples = pulses.synthesize(
            values[:, : self.order], values[:, self.order :], contour, count, SAMPLE_RATE, first=STEP
        )
        return Waveform(torch.from_numpy(samples), SAMPLE_RATE)


def _coded(samples: Array, f0: Array, times: Array, order: int) -> Array:
    """(M, order + 1) of the frames at ``times`` seconds of a piece of sound."""
    world = pyworld()
    envelope = world.cheaptrick(samples, f0, times, SAMPLE_RATE, fft_size=pulses.FFT_SIZE)
    cepstra = world.code_spectral_envelope(np.maximum(envelope, ENVELOPE_FLOOR), SAMPLE_RATE, order)
    return np.concatenate([cepstra, _aperiodicity(samples, f0, times)], axis=1)


def _aperiodicity(samples: Array, f0: Array, times: Array) -> Array:
    """(M, 1) dB; inside voiced stretches measured at every other frame and interpolated: it is half the work of all."""
    world = pyworld()
    voiced = np.pad(f0 > 0, 1)
    inside = voiced[:-2] & voiced[1:-1] & voiced[2:]
    measured = np.flatnonzero(~(inside & (np.arange(len(f0)) % 2 == 1)))
    full = world.d4c(samples, f0[measured], times[measured], SAMPLE_RATE, fft_size=pulses.FFT_SIZE)
    coded = world.code_aperiodicity(full, SAMPLE_RATE)
    columns = [np.interp(np.arange(len(f0)), measured, band) for band in coded.T]
    return np.stack(columns, axis=1)


def fitted(f0: Array, num_frames: int) -> Array:
    """The (4 N,) values at the WORLD frames of N value frames; a contour of ``audio.f0`` has a value at sample 0 too.

    Raises:
        InputError: the contour is more than two value frames shorter or longer than the features.
    """
    wanted = STACK * num_frames
    if abs(len(f0) - wanted) > 2 * STACK:
        raise InputError(
            f"F0 has {len(f0)} values ({len(f0) * STEP / SAMPLE_RATE:.2f} s), the features {num_frames} frames "
            f"({num_frames * HOP_LENGTH / SAMPLE_RATE:.2f} s); F0 of the same audio, every 5 ms, needed"
        )
    return f0[np.minimum(np.arange(1, wanted + 1), len(f0) - 1)]
