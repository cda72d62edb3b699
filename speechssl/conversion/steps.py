"""The steps of a conversion, in order: encode, blend, decide, retrieve, speak, finish.

Each step takes what the steps before it made. ``VoiceConverter`` runs them on a whole recording, ``streaming`` on one
piece after the other.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from speechssl import audio
from speechssl.audio import reverberation
from speechssl.audio.activity import SILENCE
from speechssl.audio.given import Recording
from speechssl.conversion import converters
from speechssl.conversion.converters import Converter, means, widening
from speechssl.conversion.converters.means import Candidates, Trace
from speechssl.conversion.converters.runs import HEARD
from speechssl.conversion.options import HIGHEST_RATE, LOWEST_RATE, ConversionOptions
from speechssl.conversion.predictor import ValuePredictor
from speechssl.conversion.result import Attribution, Conversion
from speechssl.conversion.retrieval import nearest
from speechssl.conversion.source import Length, Source
from speechssl.encoders import fingerprints
from speechssl.errors import InputError
from speechssl.signals import Encoder, Features, Vocoder, Waveform, check_same_origin
from speechssl.voices import building, pitch, spectrum, tempo
from speechssl.voices.matching_set import MatchingSet
from speechssl.voices.pitch import PitchStatistics
from speechssl.voices.spectrum import Spectrum

Voices: TypeAlias = "MatchingSet | Sequence[tuple[MatchingSet, float]]"


class System(Protocol):
    """Encoder of keys, encoder of values and vocoder that belong together, such as a ``VoiceConverter``."""

    @property
    def encoder(self) -> Encoder: ...
    @property
    def value_encoder(self) -> Encoder: ...
    @property
    def vocoder(self) -> Vocoder: ...
    @property
    def predictor(self) -> ValuePredictor | None: ...


@dataclass(frozen=True, eq=False)
class Blend:
    """Voices and their shares in the result, which add up to 1. Made by ``blend``."""

    voices: tuple[MatchingSet, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Plan:
    """Options with the converter that they stand for. Made by ``decide``.

    Args:
        options: checked.
        converter: the one that is used.
        reason: why.
    """

    options: ConversionOptions
    converter: Converter
    reason: str

    @property
    def k(self) -> int:
        """Neighbours that are averaged."""
        return self.converter.neighbours(self.options.k)

    @property
    def needs_source_values(self) -> bool:
        """Whether the source has to be encoded with values."""
        return self.converter.needs_source_values or self.options.interpolation < 1


@dataclass(frozen=True, eq=False)
class Retrieved:
    """What was found for the frames of a source. Made by ``retrieve``.

    Args:
        frames: (N, V) float32 to be vocoded, interpolated with the source.
        traces: what they are made of, one for each voice of the blend.
        similarities: (N,) float64 cosine between each source frame and the nearest frame of any of the voices.
    """

    frames: Tensor
    traces: tuple[Trace, ...]
    similarities: Tensor


# ---- encode


def encode(system: System, recording: Recording, *, with_values: bool = True) -> Source:
    """Encode a recording that is to be converted, without the echo of its room.

    Raises:
        InputError: the recording cannot be read, or is too short for a frame.
    """
    recording = audio.recording(recording)
    recorded, length = _heard(recording, system.encoder.sample_rate)
    audible, raised = audio.audible(recorded)
    waveform = reverberation.dry(audible)
    try:
        keys, contour = building.keys_and_f0(waveform, system.encoder)
        values = None
        if with_values:
            own = system.value_encoder is system.encoder
            values = keys if own else building.encode_values(waveform, system.value_encoder, keys, contour)
    except InputError as error:
        raise error if isinstance(recording, Waveform) else InputError(f"{recording}: {error}") from error
    sounding = _sounding(audible, keys)
    return Source(waveform, keys, values, contour, raised=raised, length=length, sounding=sounding)


def _sounding(waveform: Waveform, keys: Features) -> Tensor:
    """(N,) whether there is more than digital silence in each frame."""
    samples, hop = waveform.samples, round(waveform.sample_rate / keys.frame_rate)
    padded = functional.pad(samples, (0, max(0, hop * len(keys) - len(samples))))[: hop * len(keys)]
    return padded.reshape(-1, hop).square().mean(1) > SILENCE


def _heard(recording: str | Path | Waveform, sample_rate: int) -> tuple[Waveform, Length]:
    """The recording at another sample rate, and its own length."""
    if isinstance(recording, Waveform):
        own = Length(len(recording.samples), recording.sample_rate)
        return audio.resample(recording, sample_rate), own
    counts: list[int] = []
    waveform = audio.read_mono(recording, sample_rate, on_read=counts.append)
    return waveform, Length(sum(counts), audio.info(recording).sample_rate)


# ---- blend and decide


def blend(system: System, voice: Voices) -> Blend:
    """One voice, or several with weights, as a blend.

    Raises:
        InputError: no voice, a voice of another encoder, or weights without a sum above 0.
    """
    pairs = [(voice, 1.0)] if isinstance(voice, MatchingSet) else list(voice) if _is_blend(voice) else []
    if not pairs:
        raise InputError(
            f"voice: got {reprlib.repr(voice)}; a MatchingSet needed, as matching_set([...]) of the system makes it, "
            "or pairs of one and its weight"
        )
    for one, _ in pairs:
        what = f"convert to the voice {one.name!r}" if one.name else "convert to this voice"
        check_same_origin(system.encoder.origin, one.key_origin, what=what)
        check_same_origin(system.value_encoder.origin, one.value_origin, what=f"{what} by its values")
        weights = fingerprints.remembered(system.encoder) if one.key_encoder else ""
        fingerprints.check_same_weights(one.key_encoder, weights, one.key_origin, what=what)
    shares = means.blend_shares([weight for _, weight in pairs])
    return Blend(tuple(one for one, _ in pairs), tuple(shares))


def _is_blend(voice: Any) -> bool:
    return isinstance(voice, list | tuple) and all(
        isinstance(one, list | tuple) and len(one) == 2 and isinstance(one[0], MatchingSet) for one in voice
    )


def decide(system: System, target: Blend, options: ConversionOptions, *, has_source_values: bool) -> Plan:
    """The plan for checked options: ``auto`` is resolved.

    Raises:
        InputError: a pitch that the vocoder cannot change.
    """
    if options.pitch != "target" and not system.vocoder.needs_f0:
        raise InputError(
            f"pitch is {options.pitch!r}, but the vocoder of {system.vocoder.origin} takes no F0: pitch is in the "
            "features; use 'target', or a model with the WORLD vocoder"
        )
    name, reason = options.converter, "as asked"
    if name == "auto":
        name, reason = converters.choose(
            min(voice.seconds for voice in target.voices),
            has_source_values=has_source_values,
            speaks_means=not any(voice.has_own_values for voice in target.voices),
            hears_keys=bool(system.vocoder.key_origin),
        )
    return Plan(options, converters.TABLE[name], reason)


def stretch_of(source: Source, target: Blend, plan: Plan) -> float:
    """How many times as long as the source the conversion is to be.

    Raises:
        InputError: the tempo of the voice was asked for, and the source has none.
    """
    wanted = tempo.parse_mode(str(plan.options.tempo))
    if isinstance(wanted, float):
        return 1 / wanted
    if wanted == "source" or (wanted == "auto" and not plan.converter.own_prosody):
        return 1.0
    if source.waveform is None:
        raise InputError("text has no source tempo; use tempo='source' or a number")
    own = tempo.measure(source.keys.frames, audio.speech_activity(source.waveform), source.keys.frame_rate)
    return tempo.stretch(own, [voice.tempo for voice in target.voices], target.shares, plan.options.interpolation)


# ---- retrieve


def retrieve(system: System, source: Source, target: Blend, plan: Plan) -> Retrieved:
    """Find frames of the voices for the frames of a source, combine and interpolate them.

    Args:
        system: with the vocoder that is to speak them.
        source: with values, if the plan needs them.
        target: of the same origins as the source.
        plan: converter, k and interpolation.
    Raises:
        InputError: k above the number of frames of a voice, or a source or voice too short for the converter.
    """
    parts = [convert_frames(system, source, voice, plan) for voice in target.voices]
    frames = means.blend([part for part, _, _ in parts], target.shares)
    if plan.options.interpolation < 1:
        frames = means.interpolate(source.own_values.frames, frames, plan.options.interpolation)
    similarities = torch.stack([similarity for _, _, similarity in parts]).amax(dim=0)
    return Retrieved(frames, tuple(trace for _, trace, _ in parts), similarities)


def convert_frames(system: System, source: Source, voice: MatchingSet, plan: Plan) -> tuple[Tensor, Trace, Tensor]:
    """Retrieve and combine with one voice.

    Returns:
        Frames (N, V) float32; what they are made of; and (N,) the cosine of each source frame and the nearest.
    Raises:
        InputError: see ``retrieve``.
    """
    k, converter = plan.k, plan.converter
    # a small voice has fewer candidates, but never fewer than the k that was asked for
    count = max(k, min(converter.least, len(voice)))
    near, hears_keys = nearest(source.keys.frames, voice.keys, k=count), bool(system.vocoder.key_origin)
    candidates = Candidates(source, voice, near, k, hears_keys, system.predictor)
    frames, trace = converter.combine(candidates)
    if converter.widened:
        frames = widening.widened(frames, means.Surroundings(voice.values, candidates.nearest))
    return frames, trace, 1.0 - candidates.neighbours.distances[:, 0]


# ---- speak


def speak(
    system: System,
    source: Source,
    found: Retrieved,
    target: Blend,
    plan: Plan,
    own: PitchStatistics | None = None,
) -> Conversion:
    """Vocode what was retrieved, at the loudness that the vocoder gives.

    Args:
        system: with the vocoder.
        source: keys and F0 of the words.
        found: by ``retrieve``.
        target: the voices.
        plan: pitch and interpolation.
        own: pitch statistics of the source's speaker; None to measure them on the source.
    """
    vocoder, interpolation = system.vocoder, plan.options.interpolation
    features = Features(found.frames, vocoder.frame_rate, vocoder.origin)
    contour = None
    if vocoder.needs_f0 and plan.converter.own_prosody and plan.options.pitch == "target":
        contour = selected_f0(source, found.traces, target, interpolation)
    elif vocoder.needs_f0:
        contour = moved_f0(source.f0, target, plan.options, own)
    # a vocoder that hears keys hears part of those of a run, as the voice spoke it, and the voice itself
    keys, voice = source.keys, None
    if plan.converter.in_runs and vocoder.key_origin:
        keys = heard_keys(source.keys, found.traces, target, HEARD * interpolation)
        voice = target.voices[0].values if len(target.voices) == 1 and interpolation == 1 else None
    return Conversion(
        waveform=vocoder.vocode(features, f0=contour, keys=keys, voice=voice),
        made_at=vocoder.sample_rate,
        features=features,
        converter=plan.converter.name,
        reason=plan.reason,
        attributions=tuple(map(_attribution, target.voices, found.traces, target.shares)),
        similarities=found.similarities,
        sounding=source.sounding,
        key_origin=source.keys.origin,
    )


def heard_keys(keys: Features, traces: Sequence[Trace], target: Blend, share: float) -> Features:
    """Keys of the source (N, Dk), moved by ``share`` (0 ... 1) to the keys of the frames taken."""
    taken = [voice.keys[trace.indices[:, 0]].float() for voice, trace in zip(target.voices, traces, strict=True)]
    mixed = means.interpolate(keys.frames, means.blend(taken, target.shares), share)
    return dataclasses.replace(keys, frames=mixed)


def selected_f0(source: Source, traces: Sequence[Trace], target: Blend, interpolation: float) -> Tensor:
    """F0 (F,) Hz of the frames taken, mixed with the source's own as far as interpolation is below 1."""
    contours, shares = [], []
    for voice, trace, share in zip(target.voices, traces, target.shares, strict=True):
        contours.append(voice.f0[trace.indices[:, 0]].float().flatten())
        shares.append(share * interpolation)
    if interpolation < 1:
        contours.append(pitch.of_frames(source.f0, len(source.keys), source.keys.frame_rate).float().flatten())
        shares.append(1 - interpolation)
    contour = pitch.mixed(contours, shares)
    # a contour begins at sample 0, which lies before the first value of the first frame
    return torch.cat([contour[:1], contour])


def moved_f0(f0: Tensor, target: Blend, options: ConversionOptions, own: PitchStatistics | None = None) -> Tensor:
    """F0 (F,) Hz of the source, moved as ``options.pitch`` says; ``"target"`` is the blend of the voices' statistics.

    Args:
        f0: (F,) Hz of the source.
        target: the voices.
        options: pitch and interpolation.
        own: statistics of the source's speaker; None to measure them on ``f0``.
    """
    own = own or pitch.statistics(f0)
    pairs = zip(target.voices, target.shares, strict=True)
    voiced = [(voice.pitch, share) for voice, share in pairs if voice.pitch.voiced_seconds > 0]
    wanted = _blended(voiced) if voiced else own
    if options.interpolation < 1 and own.voiced_seconds > 0:
        wanted = _blended([(wanted, options.interpolation), (own, 1 - options.interpolation)])
    return pitch.transform(f0, own, wanted, options.pitch)


def _blended(parts: Sequence[tuple[PitchStatistics, float]]) -> PitchStatistics:
    """Means and spreads averaged: the voice between voices, not the mixture of both."""
    total = sum(share for _, share in parts) or 1.0
    average, spread, seconds = (
        sum(getattr(part, name) * share for part, share in parts) / total for name in ("mean", "sd", "voiced_seconds")
    )
    return PitchStatistics(average, spread, seconds)


def _attribution(voice: MatchingSet, trace: Trace, share: float) -> Attribution:
    return Attribution(
        voice=voice.name,
        references=tuple(reference.name for reference in voice.references),
        files=voice.file_index[trace.indices],
        seconds=voice.times(trace.indices),
        distances=trace.distances,
        weights=trace.weights * share,
    )


# ---- finish


def wanted_spectrum(target: Blend, plan: Plan) -> Spectrum | None:
    """The long-term spectrum that the result is to have; None with converters that do not widen."""
    return spectrum.pool([voice.spectrum for voice in target.voices], target.shares) if plan.converter.widened else None


def coloured(waveform: Waveform, target: Blend, plan: Plan) -> Waveform:
    """The waveform with the long-term spectrum that the plan wants."""
    wanted = wanted_spectrum(target, plan)
    if wanted is None or (own := spectrum.measure(waveform)) is None:
        return waveform
    return spectrum.equalise(waveform, own, wanted, plan.options.interpolation)


def length_of(recording: Length, sample_rate: int, stretch: float = 1.0) -> int:
    """Samples that the conversion of a recording has at ``sample_rate`` Hz."""
    # halves upwards, as soxr does
    return max(1, math.floor(recording.samples * sample_rate / recording.sample_rate * stretch + 0.5))


def rate_of(wanted: int | str | None, recording: Length | None, vocoder: Vocoder) -> int:
    """The sample rate of the result, Hz, for ``ConversionOptions.sample_rate``."""
    if isinstance(wanted, int):
        return wanted
    if wanted == "source" and recording is not None:
        return min(max(recording.sample_rate, LOWEST_RATE), HIGHEST_RATE)
    return vocoder.sample_rate
