"""Conversion of sound while it is spoken, with a delay that is known and kept.

All computing is done on hops of 20 to 80 ms of the source, however long the blocks are that come: the result is the
same, bit for bit. Each hop is encoded with what was said before and a few frames ahead, its frames are retrieved, and
the vocoder goes on from where it was.

What a conversion of a recording measures over the whole (pitch, loudness and spectrum of the speaker, the spread of the
frames) is measured over what was heard so far.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from speechssl.audio.live_f0 import LiveF0
from speechssl.conversion import loudness, steps
from speechssl.conversion.converters import means, widening
from speechssl.conversion.live_levels import HOP, RATE, WINDOW, Colour, Levels
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.retrieval import Neighbours
from speechssl.conversion.steps import Plan, System, Voices
from speechssl.encoders.encoder import SSLEncoder
from speechssl.encoders.live import LiveEncoder
from speechssl.errors import InputError
from speechssl.vocoders.live import F0_AHEAD, LEAD, LiveVocoder
from speechssl.vocoders.source_filter import SourceFilterVocoder, voice_statistics
from speechssl.voices import pitch
from speechssl.voices.matching_set import MatchingSet

FRAME = 320  # samples, 20 ms
EDGE = 560  # samples that the last frame heard reaches beyond its own beginning
LEAST, MOST = 3, 25  # frames of hop and look-ahead
LONGEST_HOP = 4  # frames; a longer one costs less a second, and more delay
PITCH_HEARD = 6000  # values, 30 s, of the speaker's pitch
CLIPPED = 0.999  # of full scale
SAMPLED = 200  # frames of a voice that tell how much averaging narrows its frames
TRUSTED = 50.0  # frames of a source that count as much as those
LATENCY = 0.22  # seconds


@dataclass(frozen=True)
class Layout:
    """How a stream is cut.

    Args:
        hop: frames converted at a time.
        ahead: frames that are heard beyond them.
    """

    hop: int
    ahead: int

    @property
    def latency(self) -> int:
        """Samples at 16 kHz from one that is heard to the same one spoken."""
        return FRAME * (self.hop + self.ahead) + EDGE - FRAME + LEAD

    @classmethod
    def within(cls, seconds: float) -> Layout:
        """The one with the longest delay that is not above so many seconds.

        Raises:
            InputError: less than 88 ms, or more than half a second.
        """
        frames = math.floor((seconds * RATE - (EDGE - FRAME + LEAD)) / FRAME + 1e-6)
        if not LEAST <= frames <= MOST:
            least, most = (round(1000 * cls(n, 0).latency / RATE + 0.49) for n in (LEAST, MOST))
            raise InputError(f"latency is {1000 * seconds:.0f} ms; {least} to {most} ms needed")
        hop = min(LONGEST_HOP, frames // 2)
        return cls(hop, frames - hop)


class LiveConverter:
    """Says what comes in in another voice, a fixed time later.

    Args:
        system: ``load_bundle("tiny")``, on the CPU.
        voice: one voice, or several with weights; see ``change``.
        options: k, pitch and loudness (``contour`` or ``level``) as in ``convert``; the converter is ``variance``,
            ``uniform`` or ``distance``, and ``auto`` the first of these.
        latency: seconds, 0.09 to 0.5; the delay is the longest possible one that is not above it. Longer delays cost
            less time and words are clearer.
    Raises:
        InputError: a model that cannot be used live, a voice of another model, or an option out of range.

    Example:
        >>> import speechssl, torch
        >>> system = speechssl.load_bundle("tiny")
        >>> live = speechssl.LiveConverter(system, system.matching_set(speechssl.clip("eric")))
        >>> live.latency, live.push(torch.zeros(441)).shape
        (3320, torch.Size([441]))
    """

    sample_rate = RATE

    def __init__(
        self,
        system: System,
        voice: Voices,
        options: ConversionOptions | None = None,
        *,
        latency: float = LATENCY,
    ) -> None:
        self._options = options or ConversionOptions()
        self._options.check()
        share = _followed(self._options)
        self._layout = Layout.within(latency)
        if not isinstance(system.vocoder, SourceFilterVocoder) or not isinstance(system.encoder, SSLEncoder):
            raise InputError(f"{system.encoder.origin} cannot be used live; use the model 'tiny'")
        if str(system.vocoder.device) != "cpu":
            raise InputError("live conversion runs on the CPU; load the model with device='cpu'")
        self._system = system
        self._share = share
        self._encoder, self._tracker = LiveEncoder(system.encoder), LiveF0()
        self._order = system.vocoder.network.config.order
        self._vocoder = LiveVocoder(system.vocoder, torch.zeros(2 * (self._order + 1)))
        self._colour = Colour(None)
        self.change(voice)
        self.reset()
        # the first products of a process take longer
        self.push(torch.zeros(2 * self.hop + self.latency))
        self.reset()

    @property
    def latency(self) -> int:
        """Samples from one that is heard to the same one spoken: exactly so many."""
        return self._layout.latency

    @property
    def hop(self) -> int:
        """Samples that are converted at a time; blocks of this length share the work evenly."""
        return FRAME * self._layout.hop

    @property
    def clipped(self) -> int:
        """Samples so far that were at full scale: the microphone is too loud."""
        return self._clipped

    def change(self, voice: Voices) -> None:
        """Speak in another voice from the next hop on; what was heard of the speaker is kept.

        Raises:
            InputError: a voice of another model.
        """
        target = steps.blend(self._system, voice)
        plan = steps.decide(self._system, target, self._options, has_source_values=False)
        if not plan.converter.streams:
            raise InputError(f"{plan.converter.name!r} needs the whole source; variance can be used live")
        self._target, self._parts = target, [_Part(one, plan) for one in target.voices]
        self._colour.wanted = steps.wanted_spectrum(target, plan)
        statistics = [voice_statistics(one.values, self._order) for one in target.voices]
        self._vocoder.voice = means.blend(statistics, target.shares)

    def reset(self) -> None:
        """Forget everything that was heard; the next sample is the first."""
        self._encoder.reset()
        self._tracker.reset()
        self._vocoder.reset()
        for part in self._parts:
            part.reset()
        self._levels, self._colour = Levels(self._share), Colour(self._colour.wanted)
        # the first window of loudness begins where the sound begins
        self._heard: NDArray[np.float32] = np.zeros(LEAD, np.float32)
        self._waiting = torch.zeros(0)
        self._due = FRAME * (self._layout.hop + self._layout.ahead - 1) + EDGE
        self._ready = torch.zeros(self._due)
        self._contour: NDArray[np.float64] | None = None
        self._own_f0 = torch.zeros(0)
        self._clipped = 0

    def push(self, block: Tensor | NDArray[np.floating] | Sequence[float]) -> Tensor:
        """As many samples of speech as are given, ``latency`` samples later; the first are silent.

        Args:
            block: (n,) mono at 16 kHz, nominal [-1, 1], n >= 0.
        Returns:
            (n,) float32, within [-0.97, 0.97].
        Raises:
            InputError: NaN or infinite samples, whole numbers, or more than one channel.
        """
        try:
            block = torch.as_tensor(block)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"a block of the type {type(block).__name__}; samples of one channel needed") from None
        if not block.is_floating_point() and block.numel():
            raise InputError(f"a block of {block.dtype} numbers; samples from -1 to 1 needed")
        if block.ndim != 1 or not bool(block.isfinite().all()):
            raise InputError(f"a block of shape {tuple(block.shape)}; finite samples of one channel needed")
        self._waiting = torch.cat([self._waiting, block.float().cpu()])
        while len(self._waiting) >= self._due:
            samples, self._waiting = self._waiting[: self._due].clone(), self._waiting[self._due :]
            self._ready = torch.cat([self._ready, self._converted(samples)])
            self._due = self.hop
        given, self._ready = self._ready[: len(block)], self._ready[len(block) :]
        return given.clone()

    def flush(self) -> Tensor:
        """The last ``latency`` samples, as if silence followed; then everything is forgotten, as by ``reset``."""
        rest = self.push(torch.zeros(self.latency))
        self.reset()
        return rest

    @torch.no_grad()
    def _converted(self, samples: Tensor) -> Tensor:
        """The sound of one hop: the frames that were waiting, heard with these samples ahead."""
        hop = self._layout.hop
        self._clipped += int((samples.abs() >= CLIPPED).sum())
        keys = self._encoder.step(samples, hop)
        contour = self._moved(samples.numpy(), len(keys))
        frames = means.blend([part.frames(keys, hop) for part in self._parts], self._target.shares)
        spectra = self._vocoder.spectra(frames, keys, contour, hop)
        self._heard = np.concatenate([self._heard, samples.numpy()])
        frames_heard = (len(self._heard) - WINDOW) // HOP + 1
        self._levels.hear(self._heard[: HOP * (frames_heard - 1) + WINDOW])
        self._heard = self._heard[HOP * frames_heard :]
        active = self._levels.active(2 * hop)
        spectra = self._colour.given(spectra, active)
        return self._levels.applied(self._vocoder.sound(spectra), spectra, active)

    def _moved(self, samples: NDArray[np.float32], num_frames: int) -> NDArray[np.float64]:
        """F0 of the voice (4 N + 1,) Hz, from the beginning of the first frame that is not past on."""
        hop, before = 4 * self._layout.hop, self._contour
        keep = hop if before is not None else hop + F0_AHEAD
        found = torch.from_numpy(self._tracker.step(samples, keep))
        own = pitch.statistics(torch.cat([self._own_f0, found]))
        self._own_f0 = torch.cat([self._own_f0, found[:keep]])[-PITCH_HEARD:]
        moved = steps.moved_f0(found, self._target, self._options, own).numpy()
        whole = moved if before is None else np.concatenate([before, moved])
        self._contour = whole[hop : hop + F0_AHEAD]
        wanted = 4 * num_frames + 1
        return np.pad(whole, (0, max(0, wanted - len(whole))), mode="edge")[:wanted]


class _Part:
    """One voice of those that are spoken: its keys, its values, and how much its means have to be widened."""

    def __init__(self, voice: MatchingSet, plan: Plan) -> None:
        if len(voice) <= plan.k:
            raise InputError(f"the voice has {len(voice)} frames; more than k = {plan.k} needed")
        self._plan, self._values = plan, voice.values
        self._keys = functional.normalize(voice.keys.float(), dim=1)
        self._centre = means.centre_of(voice.values).float()
        self._spreads = _Spreads(self._centre)
        chosen = torch.linspace(0, len(voice) - 1, min(SAMPLED, len(voice))).long()
        near = self._nearest(self._keys[chosen], plan.k + 1)
        # each frame is its own nearest
        others = Neighbours(near.indices[:, 1:], near.distances[:, 1:])
        self._spreads.add(self._mean(others), self._values[others.indices].float(), weight=TRUSTED / len(chosen))
        self._before = copy.copy(self._spreads)

    def reset(self) -> None:
        """Forget the frames that were heard."""
        self._spreads = copy.copy(self._before)

    def frames(self, keys: Tensor, keep: int) -> Tensor:
        """Values (N, V) for keys (N, Dk); the first ``keep`` count for what is known of the spread."""
        near = self._nearest(functional.normalize(keys, dim=1), self._plan.k)
        found = self._mean(near)
        if not self._plan.converter.widened:
            return found
        self._spreads.add(found[:keep], self._values[near.indices[:keep]].float())
        return (found - self._centre) * self._spreads.ratio + self._centre

    def _nearest(self, keys: Tensor, k: int) -> Neighbours:
        found = (keys @ self._keys.T).topk(k, dim=1)
        return Neighbours(found.indices, 1.0 - found.values.double())

    def _mean(self, near: Neighbours) -> Tensor:
        by_distance = self._plan.converter.name == "distance"
        weights = means.distance_weights(near) if by_distance else means.uniform_weights(near)
        return means.weighted_mean(self._values, near.indices, weights)


class _Spreads:
    """Spread of single frames over that of their means, of what was heard so far."""

    def __init__(self, centre: Tensor) -> None:
        self._centre, self._sums, self._count = centre, torch.zeros(4, len(centre), dtype=torch.float64), 0.0

    def add(self, found: Tensor, single: Tensor, weight: float = 1.0) -> None:
        """Means (N, V), and the frames (N, k, V) that they are made of."""
        moments = []
        for values in (found, single):
            away = (values - self._centre).double()
            dims = tuple(range(away.ndim - 1))
            moments += [away.mean(dims), away.square().mean(dims)]
        added = len(found) * weight
        self._sums = self._sums + torch.stack(moments) * added
        self._count += added

    @property
    def ratio(self) -> Tensor:
        """(V,) within 1 and ``widening.WIDEST``."""
        mean, square, mean_single, square_single = self._sums / self._count
        variance, single = (square - mean**2).clamp(min=1e-12), (square_single - mean_single**2).clamp(min=0)
        return (single / variance).sqrt().clamp(1.0, widening.WIDEST).float()


def _followed(options: ConversionOptions) -> float:
    """Share of the source's contour of loudness that is followed.

    Raises:
        InputError: an option that needs the whole source.
    """
    wanted = loudness.parse(options.loudness)
    if wanted.is_off or wanted.lufs is not None:
        raise InputError(f"loudness is {options.loudness!r}; contour or level can be used live")
    if options.interpolation != 1 or str(options.tempo) not in ("auto", "source") or options.sample_rate is not None:
        raise InputError("interpolation, tempo and sample rate cannot be changed live; leave them out")
    return wanted.share
