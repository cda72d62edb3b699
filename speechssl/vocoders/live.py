"""The packaged vocoder on frames that are still coming: a few at a time, with what was spoken before kept.

Pulses and noise are made once, up to where the filters of a step reach. The convolutions keep their last inputs, and
see the frames ahead, which come again in the next step. So there is nothing to fade at the joins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from speechssl.audio.f0_tracker import Array
from speechssl.checkpoints.eight_bits import in_eight_bits
from speechssl.vocoders import pulses, source_filter, world
from speechssl.vocoders.source_filter import FIRST, FRAMES, HOP, TAPS, SourceFilterVocoder

# values of F0 that have to be known beyond those of the frames kept: where the last window ends, and a pulse's own taps
F0_AHEAD = 5
LEAD = 200  # samples before the first sample of the source at which the sound begins: half a window


class LiveVocoder:
    """Sound of a stream; equal calls give equal bits.

    Args:
        vocoder: with its weights, on the CPU.
        voice: statistics of whoever speaks, as ``source_filter.voice_statistics``.
    """

    def __init__(self, vocoder: SourceFilterVocoder, voice: Tensor) -> None:
        self._network, self.voice = vocoder.network, voice
        self._layers: list[Any] = list(vocoder.network.layers)
        self._side = self._network.config.window // 2
        self._products = [
            [in_eight_bits(one.weight, one.bias) for one in (layer.widen, layer.narrow)] for layer in self._layers
        ]
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        config = self._network.config
        past = torch.zeros(1, config.kernel // 2, config.width)
        self._past = [past.clone() for _ in self._layers]
        self._frames = 0  # kept so far
        self._phase = 0.0
        # excitation from the sample on at which the next window begins; a pulse reaches TAPS // 2 samples back
        self._pulse = np.zeros(LEAD - TAPS // 2, np.float32)
        self._pulse_to = 0
        self._tail = np.zeros(TAPS // 2 + TAPS, np.float32)
        self._noise = np.zeros(LEAD, np.float32)
        self._sound = torch.zeros(2 * self._side - HOP)

    @torch.no_grad()
    def spectra(self, values: Tensor, keys: Tensor, f0: Array, keep: int) -> Tensor:
        """Spectra (2 keep, bins), complex, of the sound of the next ``keep`` frames, for ``sound``.

        Args:
            values: (N, V) of the frames that follow those kept so far, and of those ahead.
            keys: (N, Dk) of what is said.
            f0: (4 N + 1,) Hz every 5 ms, the first at the beginning of the first frame; 0 where unvoiced.
            keep: frames that are past from now on; the others come again.
        """
        network, contour = self._network, torch.from_numpy(f0[1:]).float()[None]
        side = network.config.kernel // 2
        x = network.entered(values[None].float(), keys[None].float(), contour, self.voice[None])
        for number, layer in enumerate(self._layers):
            wide = torch.cat([self._past[number], x], dim=1)
            self._past[number] = wide[:, FRAMES * keep : FRAMES * keep + side]
            padded = functional.pad(wide.transpose(1, 2), (0, side))
            convolution = layer.depthwise
            seen = functional.conv1d(padded, convolution.weight, convolution.bias, groups=convolution.groups)
            widen, narrow = self._products[number]
            hidden = functional.gelu(widen(layer.norm(seen.transpose(1, 2))[0]))
            x = x + layer.scale * narrow(hidden)
        kept = FRAMES * keep
        correction = network.exit(network.norm(x[:, :kept]))
        envelope = network.world_gains(values[None, :keep].float(), contour[:, : world.STACK * keep])
        pulse, noise = self._excitation(f0, keep)
        return network.filtered(correction, envelope, pulse, noise)[0]

    @torch.no_grad()
    def sound(self, spectra: Tensor) -> Tensor:
        """Samples (160 F,) that the spectra (F, bins) complete; those of the first step begin ``LEAD`` before 0."""
        size = 2 * self._side
        window = self._network.window
        pieces = torch.fft.irfft(spectra, size, dim=-1) * window
        mixed = torch.cat([self._sound, torch.zeros(HOP * len(pieces))])
        for index, piece in enumerate(pieces):
            mixed[HOP * index : HOP * index + size] += piece
        self._sound = mixed[HOP * len(pieces) :]
        # squares of Hann windows a quarter apart add up to a constant
        return mixed[: HOP * len(pieces)] / (window.square().sum() / HOP)

    def _excitation(self, f0: Array, keep: int) -> tuple[Tensor, Tensor]:
        """Spectra (1, 2 keep, bins) of pulses and noise around the filters of the frames kept."""
        first = self._frames
        self._frames += keep
        until = world.HOP_LENGTH * self._frames - HOP + FIRST + self._side
        self._make_pulses(f0, world.HOP_LENGTH * first, until)
        begin = world.HOP_LENGTH * first - LEAD
        known = begin + len(self._noise)
        self._noise = np.concatenate([self._noise, source_filter.noise(known, until)])
        found = [self._analysed(made, FRAMES * keep) for made in (self._pulse, self._noise)]
        used = world.HOP_LENGTH * keep
        self._pulse, self._noise = self._pulse[used:], self._noise[used:]
        return found[0], found[1]

    def _analysed(self, samples: Array, count: int) -> Tensor:
        windows = torch.from_numpy(samples).unfold(0, 2 * self._side, HOP)[:count]
        return torch.fft.rfft(windows * self._network.window, dim=-1)[None]

    def _make_pulses(self, f0: Array, begin: int, until: int) -> None:
        """Complete the pulses up to ``until``; ``f0`` begins at sample ``begin``."""
        places = np.arange(self._pulse_to, until + TAPS // 2)
        pitch, voiced = pulses.pitch_at(f0, (places - begin) / world.STEP)
        found, self._phase = pulses.crossings(places, pitch / world.SAMPLE_RATE, voiced, self._phase)
        made = np.concatenate([self._tail, np.zeros(len(places), np.float32)])
        chosen = np.flatnonzero(found.voiced)
        if len(chosen):
            places_in = found.sample[chosen] - self._pulse_to
            height = np.sqrt(world.SAMPLE_RATE / np.maximum(pitch[places_in], 40))[:, None]
            shape = (height * source_filter.pulse_shapes(found.delay[chosen])).astype(np.float32)
            # the middle tap lies on the pulse, TAPS // 2 samples behind where the tail begins
            np.add.at(made, places_in[:, None] + np.arange(TAPS) + 1, shape)
        self._pulse = np.concatenate([self._pulse, made[: len(places)]])
        self._tail = made[len(places) :]
        self._pulse_to += len(places)
