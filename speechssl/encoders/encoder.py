"""The encoder every family becomes: a front end over the whole utterance, a transformer over a fixed grid of windows.

The features are a pure function of (samples, network, layer). Alone or in a list of sixteen, in any order, held in
memory or streamed from disk: the same blocks and windows are laid by position alone and run one at a time, so the same
machine and number of threads give the same bits. What fits one window (60 s of published networks) equals what
transformers computes for the whole file up to rounding. Longer audio never costs more memory than one window does
(what windows change: ``recipes/ssl_pretraining/windows.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from speechssl import audio
from speechssl.checkpoints import kinds
from speechssl.encoders.blocks import Trunk
from speechssl.encoders.frontends import Blocks, Counted, FrontEnd
from speechssl.encoders.windows import Grid, cut_frames
from speechssl.errors import InputError
from speechssl.signals import Features, Waveform

SAMPLE_RATE = 16_000  # Hz; every published model of these families

# 60 s, with 5 s of context on both sides of what is kept: published networks heard whole utterances, and a minute of
# speech is one window, so that nothing is lost. Our own files say theirs: ``own.OWN_GRID``.
GRID = Grid(window=3000, context=250)

# what is read from a file at a time; no result depends on it
READ_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class SSLEncoder:
    """One layer of a self-supervised network. Made by ``speechssl.encoders.load``.

    Args:
        origin: network, layer and, if it is not the network's own, the input normalisation: ``"wavlm-large/6"``,
            ``"wavlm-large/6/raw"``.
        dim: numbers per frame.
        layer: blocks run; the features are the hidden state after block ``layer``, before any final norm, which is
            ``hidden_states[layer]`` in transformers.
        num_layers: blocks the whole network has.
        front_end: samples to frames.
        trunk: frames of one window to features.
        grid: how long audio is cut.
        origins: of the input of the first block and of every block up to ``layer``; the last is ``origin``.
    """

    origin: str
    dim: int
    layer: int
    num_layers: int
    front_end: FrontEnd
    trunk: Trunk
    grid: Grid = GRID
    origins: tuple[str, ...] = ()

    @property
    def sample_rate(self) -> int:
        """16,000 Hz."""
        return SAMPLE_RATE

    @property
    def frame_rate(self) -> float:
        """Frames per second: 50 at 16 kHz and 320 samples a frame."""
        return SAMPLE_RATE / self.front_end.hop_length

    def num_frames(self, num_samples: int) -> int:
        """Exact number of frames for so many samples at 16 kHz; 0 below the 400 samples under the first frame."""
        return self.front_end.num_frames(num_samples)

    @kinds.checked
    def encode(self, waveform: Waveform, *, f0: Tensor | None = None) -> Features:
        """Features (N, dim) float32 on the CPU, N == num_frames(samples at 16 kHz).

        Raises:
            InputError: shorter than one frame, 25 ms.
        """
        samples = audio.resample(waveform, SAMPLE_RATE).samples
        return self.encode_stream(lambda: [samples])

    @kinds.checked
    def encode_file(self, path: str | Path) -> Features:
        """Features of an audio file, read and resampled block by block; the waveform is never held whole.

        Raises:
            InputError: the file cannot be read, or is shorter than one frame.
        """
        return self.encode_stream(lambda: audio.stream(path, SAMPLE_RATE, READ_SECONDS), name=str(path))

    def encode_stream(self, blocks: Blocks, *, name: str = "the audio") -> Features:
        """Features of a waveform that comes in blocks.

        Args:
            blocks: called once per pass (up to three times), gives an iterator over the (n,) float32 blocks at 16 kHz.
            name: what messages call it.
        Raises:
            InputError: shorter than one frame, NaN or infinite samples.
        """
        return Features(torch.cat(list(self.stream(blocks, name=name))), self.frame_rate, self.origin)

    def layers(self, waveform: Waveform) -> tuple[Features, ...]:
        """Features of layers 0 to ``layer`` in one pass: as many encoders would give, each of one layer, bit for bit.

        Raises:
            InputError: shorter than one frame, 25 ms.
        Example:
            >>> import speechssl, torch
            >>> encoder = speechssl.load_encoder("tiny", layer=2)
            >>> [found.origin for found in encoder.layers(speechssl.Waveform(torch.zeros(16000), 16000))]
            ['tiny/0', 'tiny/1', 'tiny/2']
        """
        samples = audio.resample(waveform, SAMPLE_RATE).samples
        pieces = self._pieces(lambda: [samples], "the audio", lambda x, n: tuple(self.trunk.states(x, num_valid=n)))
        return tuple(
            Features(torch.cat(parts), self.frame_rate, origin)
            for parts, origin in zip(zip(*pieces, strict=True), self.origins, strict=True)
        )

    def stream(self, blocks: Blocks, *, name: str = "the audio") -> Iterator[Tensor]:
        """(n, dim) consecutive pieces of the features, at most one window each: hours of audio in flat memory.

        Args:
            blocks: as for ``encode_stream``.
            name: as for ``encode_stream``.
        Raises:
            InputError: as for ``encode_stream``.
        """
        for (piece,) in self._pieces(blocks, name, lambda x, n: (self.trunk(x, num_valid=n),)):
            yield piece

    @torch.no_grad()
    def _pieces(
        self, blocks: Blocks, name: str, run: Callable[[Tensor, int], tuple[Tensor, ...]]
    ) -> Iterator[tuple[Tensor, ...]]:
        """What ``run`` gives for the frames of each window and the count of valid ones, cut to what is kept."""
        counted = Counted(blocks)
        for window in cut_frames(self.front_end.frames(counted), self.grid):
            # the count is complete once the last window is there
            padded = 0
            if window.is_last:
                padded = self.num_frames(counted.num_samples) - self.front_end.num_valid(counted.num_samples)
            with _exact_convolutions():
                outputs = run(window.frames, len(window.frames) - padded)
            # a copy, so that a kept piece does not keep its whole window
            yield tuple(output[window.keep].cpu().clone() for output in outputs)
        if self.num_frames(counted.num_samples) < 1:
            raise InputError(_too_short(name, counted.num_samples))


def _exact_convolutions() -> AbstractContextManager[None]:
    """On NVIDIA GPUs: always the same algorithm, and no products in 10 bits, PyTorch's default for convolutions."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _too_short(name: str, num_samples: int) -> str:
    return (
        f"{name} has {num_samples} samples at {SAMPLE_RATE} Hz ({num_samples / SAMPLE_RATE:.4f} s); "
        "at least 400 (0.025 s) needed for one frame: give a longer recording"
    )
