"""The steps of a conversion: source, frames, pitch, loudness."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from speechssl.conversion import converters
from speechssl.conversion.converters import Trace
from speechssl.conversion.result import Attribution
from speechssl.conversion.retrieval import Neighbours, nearest
from speechssl.errors import InputError
from speechssl.signals import Features, Waveform, check_same_origin
from speechssl.voices import matching_set, pitch, spectrum, tempo
from speechssl.voices.matching_set import MatchingSet
from speechssl.voices.pitch import PitchStatistics
from speechssl.voices.spectrum import Spectrum
from speechssl.voices.tempo import parse_mode as parse_tempo

if TYPE_CHECKING:
    from torch import Tensor

    from speechssl.signals import Vocoder

Voices: TypeAlias = "MatchingSet | Sequence[tuple[MatchingSet, float]]"


@dataclass(frozen=True, eq=False)
class Source:
    """What a conversion needs to know of the recording whose words are kept.

    Args:
        waveform: at the encoder's sample rate; None where the words were never spoken, as in speech synthesis.
        keys: (N, Dk).
        values: (N, Dv) of its own voice, or None if no converter needs them.
        f0: (F,) Hz every 5 ms, 0 where unvoiced.
        more: a matching set of further recordings of the same speaker, for the ``shift`` converter.
    """

    waveform: Waveform | None
    keys: Features
    values: Features | None
    f0: Tensor
    more: MatchingSet | None = None

    def stretched(self, times: float) -> Source:
        """The same words so many times as long, at the same pitch; the waveform, for its loudness, is left as it is."""
        length = max(1, round(len(self.keys) * times))

        def frames(features: Features) -> Features:
            return dataclasses.replace(features, frames=tempo.stretched(features.frames, length))

        values = None if self.values is None else frames(self.values)
        contour = tempo.stretched_f0(self.f0, max(1, round(len(self.f0) * times)))
        return dataclasses.replace(self, keys=frames(self.keys), values=values, f0=contour)


def wanted_spectrum(converter: str, voices: Sequence[MatchingSet], shares: Sequence[float]) -> Spectrum | None:
    """What the long-term spectrum of the result is to be; None where it is left as it comes.

    So with converters that are not in ``converters.WIDENED``, and with voices that were stored without theirs.
    """
    known = matching_set.complete(voice.spectrum for voice in voices)
    if converter not in converters.WIDENED or known is None:
        return None
    return spectrum.pool(known, shares)


def stretch_of(
    source: Source,
    voices: Sequence[MatchingSet],
    shares: Sequence[float],
    converter: str,
    mode: str | float,
    amount: float,
) -> float:
    """Times as long as the source the conversion is to be."""
    from speechssl import audio

    wanted = parse_tempo(str(mode))
    if isinstance(wanted, float):
        return 1 / wanted
    known = matching_set.complete(voice.tempo for voice in voices)
    if wanted == "source" or (wanted == "auto" and (converter != "selection" or known is None)):
        return 1.0
    if known is None:
        name = next(voice.name for voice in voices if voice.tempo is None)
        raise InputError(
            f"the voice {name!r} was stored without its tempo; make it again from its recordings, or use 'source' or a "
            "number"
        )
    if source.waveform is None:
        raise InputError("words that were never spoken have no tempo; use 'source' or a number")
    own = tempo.measure(source.keys.frames, audio.speech_activity(source.waveform), source.keys.frame_rate)
    return tempo.stretch(own, known, shares, amount)


def convert_frames(
    source: Source,
    voice: MatchingSet,
    converter: str,
    *,
    k: int = 4,
    detail: float = 1.0,
) -> tuple[Tensor, Trace, Tensor]:
    """Retrieve and combine, without sound.

    Args:
        source: with values, for those converters that need them.
        voice: of the same origins.
        converter: a name in ``converters.NAMES``.
        k: neighbours per frame.
        detail: of ``shift``; below 1, only the k nearest frames of the voice are averaged.
    Returns:
        Frames (N, V) float32; what they are made of; and (N,) the cosine of each source frame and the nearest.
    Raises:
        InputError: k above the number of frames of the voice, or a source or voice too short for the converter.
    """
    least = {"shift": converters.SHIFT_K} | dict.fromkeys(converters.RUNS, converters.CANDIDATES)
    wanted = max(k, least.get(converter, k))
    # a small voice has fewer candidates, but never fewer than the k that was asked for
    neighbours = nearest(source.keys.frames, voice.keys, k=max(k, min(wanted, len(voice))))
    if converter == "shift":
        return *_shifted(source, voice, neighbours, k, detail), 1.0 - neighbours.distances[:, 0]
    frames, trace = _combine(source, voice, converter, neighbours, k)
    return frames, trace, 1.0 - neighbours.distances[:, 0]


def _combine(
    source: Source, voice: MatchingSet, converter: str, neighbours: Neighbours, k: int
) -> tuple[Tensor, Trace]:
    near = neighbours.first(k)
    uniform = Trace(near.indices, converters.uniform_weights(near), near.distances)
    if converter == "transport":
        own = _own_values(source, converter)
        moved = converters.fit_transport(own, voice.values)(own)
        return moved, Trace(uniform.indices, uniform.weights * 0.0, uniform.distances)
    trace = uniform
    if converter == "distance":
        trace = Trace(near.indices, converters.distance_weights(near), near.distances)
    elif converter in converters.RUNS:
        f0 = voice.f0 if converter == "selection" else None
        path = converters.best_path(voice.keys, neighbours, voice.follows(), f0=f0)
        trace = converters.with_nearest(path, neighbours, k)
    frames = converters.weighted_mean(voice.values, trace.indices, trace.weights)
    if converter in converters.WIDENED:
        frames = converters.widened(frames, converters.Surroundings(voice.values, near))
    return frames, trace


def _shifted(source: Source, voice: MatchingSet, neighbours: Neighbours, k: int, detail: float) -> tuple[Tensor, Trace]:
    import torch

    keys, values = source.keys.frames, _own_values(source, "shift")
    own_keys, own_values = keys, values
    if source.more is not None:
        check_same_origin(source.keys.origin, source.more.key_origin, what="use further recordings of the source")
        own_keys = torch.cat([keys, source.more.keys.to(keys.dtype)])
        own_values = torch.cat([values, source.more.values.to(values.dtype)])
    own = nearest(keys, own_keys, k=min(neighbours.k, len(own_keys)))
    count = neighbours.k if detail == 1 else k
    frames = converters.shift(
        values,
        converters.Surroundings(own_values, own),
        converters.Surroundings(voice.values, neighbours),
        detail=detail,
        nearest=count,
    )
    some = neighbours.first(count)
    return frames, Trace(some.indices, converters.uniform_weights(some), some.distances)


def heard_keys(keys: Features, traces: Sequence[tuple[MatchingSet, Trace, float]], share: float) -> Features:
    """Keys that are heard beside the retrieved values: those of the source, moved to those of the frames taken.

    Args:
        keys: (N, Dk) of the source.
        traces: voices, what was found in each, and shares of the voices.
        share: 0 ... 1 of the frames found.
    """
    found = [voice.keys[trace.indices[:, 0]].float() for voice, trace, _ in traces]
    mixed = converters.interpolate(keys.frames, converters.blend(found, [part for _, _, part in traces]), share)
    return dataclasses.replace(keys, frames=mixed)


def _own_values(source: Source, converter: str) -> Tensor:
    if source.values is None:
        raise InputError(f"the {converter!r} converter needs the source's own values; encode it with them")
    return source.values.frames


def selected_f0(source: Source, traces: Sequence[tuple[MatchingSet, Trace, float]], interpolation: float) -> Tensor:
    """F0 (F,) Hz of the frames that were taken, with the source's own by what interpolation leaves of it."""
    import torch

    contours, shares = [], []
    for voice, trace, share in traces:
        if voice.f0 is None:
            raise InputError(
                f"the voice {voice.name!r} was stored without the pitch of its frames, which 'selection' takes; make "
                "it again from its recordings, or use 'continuous'"
            )
        contours.append(voice.f0[trace.indices[:, 0]].float().flatten())
        shares.append(share * interpolation)
    if interpolation < 1:
        contours.append(pitch.of_frames(source.f0, len(source.keys), source.keys.frame_rate).float().flatten())
        shares.append(1 - interpolation)
    contour = pitch.mixed(contours, shares)
    # a contour begins at sample 0, which lies before the first value of the first frame
    return torch.cat([contour[:1], contour])


def moved_f0(
    f0: Tensor,
    voices: Sequence[MatchingSet],
    shares: Sequence[float],
    mode: str | float,
    interpolation: float,
    vocoder: Vocoder,
    own: PitchStatistics | None = None,
) -> Tensor | None:
    """F0 for the vocoder; with ``"target"``, towards the blend of the voices' log-F0 statistics."""
    if not vocoder.needs_f0:
        return None
    own = own or pitch.statistics(f0)
    voiced = [
        (voice.pitch, share) for voice, share in zip(voices, shares, strict=True) if voice.pitch.voiced_seconds > 0
    ]
    target = _blended(voiced) if voiced else own
    if interpolation < 1 and own.voiced_seconds > 0:
        target = _blended([(target, interpolation), (own, 1 - interpolation)])
    return pitch.transform(f0, own, target, mode)


def _blended(parts: Sequence[tuple[PitchStatistics, float]]) -> PitchStatistics:
    """Means and spreads averaged: the voice between voices, not the mixture of both."""
    total = sum(share for _, share in parts) or 1.0
    means, spreads, seconds = (
        sum(getattr(part, name) * share for part, share in parts) / total for name in ("mean", "sd", "voiced_seconds")
    )
    return PitchStatistics(means, spreads, seconds)


def set_loudness(waveform: Waveform, source: Waveform | None, wanted: str | float) -> Waveform:
    import torch

    from speechssl import audio

    if wanted == "source":
        if source is None:
            raise InputError("loudness is that of the source, which has no sound; give LUFS such as -23")
        level = audio.loudness(source)
    else:
        level = float(wanted)
    if not math.isfinite(level):
        # silence in, silence out
        return Waveform(torch.zeros_like(waveform.samples), waveform.sample_rate)
    return audio.set_loudness(audio.limit_bursts(waveform), level)


def attribution(voice: MatchingSet, trace: Trace, share: float) -> Attribution:
    return Attribution(
        voice=voice.name,
        references=tuple(reference.name for reference in voice.references),
        files=voice.file_index[trace.indices],
        seconds=voice.times(trace.indices),
        distances=trace.distances,
        weights=trace.weights * share,
    )


def highest(similarities: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.stack(list(similarities)).amax(dim=0)
