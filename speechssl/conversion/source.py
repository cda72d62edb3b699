"""The source of a conversion: a recording whose words are kept, as the encoder hears it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from speechssl.errors import InputError
from speechssl.signals import Features, Waveform
from speechssl.voices import tempo
from speechssl.voices.matching_set import MatchingSet
from speechssl.voices.pitch import FRAME_PERIOD

if TYPE_CHECKING:
    from torch import Tensor


class Length(NamedTuple):
    """How long a recording is, exactly: ``samples`` at ``sample_rate`` Hz."""

    samples: int
    sample_rate: int


@dataclass(frozen=True, eq=False)
class Source:
    """What a conversion needs to know of the recording whose words are kept.

    Args:
        waveform: as the encoder hears it, at its sample rate; None for words that were never spoken, as in speech
            synthesis.
        keys: (N, Dk).
        values: (N, Dv) of the source's own voice; None if no converter needs them.
        f0: (F,) Hz every 5 ms, 0 where unvoiced.
        more: a matching set of further recordings of the same speaker, for the ``shift`` converter.
        raised: dB by which the waveform is louder than the recording, which was too soft to be heard.
        length: of the recording; None for that of the waveform.
        sounding: (N,) whether there is more than digital silence in a frame; None if nobody looked.
    """

    waveform: Waveform | None
    keys: Features
    values: Features | None
    f0: Tensor
    more: MatchingSet | None = None
    raised: float = 0.0
    length: Length | None = None
    sounding: Tensor | None = None

    @property
    def own_values(self) -> Features:
        """The values.

        Raises:
            InputError: the source was encoded without values.
        """
        if self.values is None:
            raise InputError("the source was encoded without values, which this conversion needs; encode it with them")
        return self.values

    def stretched(self, times: float) -> Source:
        """The same words so many times as long, at the same pitch; the waveform, for its loudness, is left as it is."""
        if times == 1:
            return self
        length = max(1, round(len(self.keys) * times))

        def frames(features: Features) -> Features:
            return dataclasses.replace(features, frames=tempo.stretched(features.frames, length))

        values = None if self.values is None else frames(self.values)
        contour = tempo.stretched_f0(self.f0, max(1, round(len(self.f0) * times)))
        keys, sounding = frames(self.keys), self.sounding
        if sounding is not None:
            sounding = sounding[[frame * len(sounding) // length for frame in range(length)]]
        return dataclasses.replace(self, keys=keys, values=values, f0=contour, sounding=sounding)

    def part(self, first: int, last: int) -> Source:
        """The frames from ``first`` to before ``last``, without the waveform."""

        def frames(features: Features) -> Features:
            return dataclasses.replace(features, frames=features.frames[first:last])

        values = None if self.values is None else frames(self.values)
        per_frame = contour_step(self.keys.frame_rate)
        # two values more: a frame is 5 ms longer than its hop, and a contour has a value at its beginning too
        f0 = self.f0[first * per_frame : last * per_frame + 2]
        sounding = None if self.sounding is None else self.sounding[first:last]
        return Source(None, frames(self.keys), values, f0, sounding=sounding)


def contour_step(frame_rate: float) -> int:
    """Values of an F0 contour for each frame."""
    return round(1 / (frame_rate * FRAME_PERIOD))
