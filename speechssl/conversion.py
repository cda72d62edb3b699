"""Convert a recording to another voice: encode, retrieve, combine, vocode."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from speechssl import converters, fingerprints, matching, pitch, spectrum, tempo
from speechssl.converted import Attribution, Conversion
from speechssl.converters import Trace
from speechssl.errors import InputError
from speechssl.matching import MatchingSet, Recording, Reference
from speechssl.pitch import PitchStatistics, parse_mode
from speechssl.retrieval import Neighbours, nearest
from speechssl.signals import Features, Waveform, check_same_origin
from speechssl.spectrum import Spectrum
from speechssl.tempo import parse_mode as parse_tempo

if TYPE_CHECKING:
    from torch import Tensor

    from speechssl.interfaces import Encoder, Vocoder

__all__ = ["Attribution", "Conversion", "MatchingSet", "Reference", "Source", "VoiceConverter"]

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


@dataclass(frozen=True, eq=False)
class VoiceConverter:
    """Encoder, values and vocoder that belong together.

    Args:
        encoder: makes the keys.
        value_encoder: makes the values; the same object where the vocoder speaks the keys.
        vocoder: of the values.
    Raises:
        InputError: the vocoder takes other values, or another frame rate.
    """

    encoder: Encoder
    value_encoder: Encoder
    vocoder: Vocoder

    def __post_init__(self) -> None:
        check_same_origin(self.value_encoder.origin, self.vocoder.origin, what="vocode these values")
        if self.vocoder.key_origin:
            check_same_origin(self.encoder.origin, self.vocoder.key_origin, what="vocode with these keys")
        rates = {self.encoder.frame_rate, self.value_encoder.frame_rate, self.vocoder.frame_rate}
        if len(rates) != 1:
            raise InputError(f"encoder, values and vocoder run at {sorted(rates)} frames per second; one rate needed")

    def matching_set(
        self, recordings: Sequence[Recording], *, name: str = "", keep_silence: bool = True
    ) -> MatchingSet:
        """The voice of some recordings of one speaker; see ``matching.build``."""
        return matching.build(recordings, self.encoder, self.value_encoder, name=name, keep_silence=keep_silence)

    def source(
        self, recording: Recording, *, with_values: bool = True, more: Sequence[Recording] | MatchingSet = ()
    ) -> Source:
        """Encode a recording that is to be converted, perhaps to several voices.

        Args:
            recording: a file or a waveform.
            with_values: whether its own values are wanted: for ``transport``, ``shift`` and interpolation below 1.
            more: further recordings of the speaker, or the matching set of them, for ``shift``.
        Raises:
            InputError: it cannot be read, or is too short for a frame.
        """
        waveform = matching.heard(recording, self.encoder)
        try:
            keys, contour = self.encoder.encode(waveform), matching.f0_of(waveform)
            values = self._values(waveform, keys, contour) if with_values else None
        except InputError as error:
            raise error if isinstance(recording, Waveform) else InputError(f"{recording}: {error}") from error
        others = more if isinstance(more, MatchingSet) else self.matching_set(more) if more else None
        return Source(waveform, keys, values, contour, others)

    def convert(
        self,
        source: Recording | Source,
        voice: Voices,
        *,
        k: int | None = None,
        converter: str = "auto",
        interpolation: float = 1.0,
        pitch: str | float = "target",
        tempo: str | float = "auto",
        loudness: str | float = "source",
        join_weight: float = converters.JOIN_WEIGHT,
    ) -> Conversion:
        """Say what the source says in another voice.

        Args:
            source: a file, a waveform, or what ``source`` made of one.
            voice: one voice, or several with weights, whose values (and pitch) are blended.
            k: neighbours per frame; None for 3 with ``variance`` and 4, as in kNN-VC, with all others. ``shift`` takes
                16 or more where the vocoder does not hear the keys, ``continuous`` and ``selection`` choose among 16 or
                more.
            converter: ``uniform``, ``distance``, ``variance``, ``continuous``, ``selection``, ``transport``, ``shift``,
                or ``auto``, which chooses by the length of the reference. With ``tiny``, ``auto`` is ``variance``: the
                plain mean of ``uniform`` with the spread that averaging takes away and the long-term spectrum of the
                voice. ``selection`` comes nearest to the voice, for it takes single frames, in runs and with the pitch
                they had instead of the source's, and the keys of these frames are heard, too; with words less clear.
            interpolation: 1 is the voice, 0 the source, in between a blend of both, pitch included.
            pitch: ``"target"`` moves F0 to the mean and spread of the voice (with ``selection`` it is that of the
                frames taken), ``"source"`` leaves it, a number shifts it by semitones. Only for vocoders that take F0.
            tempo: ``"source"`` keeps the timing of the source, ``"target"`` brings its tempo to that of the voice (see
                ``tempo.stretch``), a number is so many times as fast (0.5 to 2); ``"auto"`` is the target's with
                ``selection`` and the source's with all others.
            loudness: ``"source"`` or LUFS, which a source without a waveform needs. Never so loud that it would clip.
            join_weight: of ``continuous`` and ``selection``; see ``converters.best_path``.
        Raises:
            InputError: a voice of another encoder, or stored without the pitch of its frames, which ``selection``
                takes, or without its tempo, if that is asked for; k above its frames, an option out of range, an
                unreadable source.
        """
        voices, shares = self.blend(voice)
        check_options(
            k=k, converter=converter, interpolation=interpolation, pitch=pitch, tempo=tempo, loudness=loudness
        )
        self._check_pitch(pitch)
        known = source.values is not None if isinstance(source, Source) else True
        name, reason = self.choose(converter, voices, known)
        needed = name in converters.NEED_SOURCE_VALUES or interpolation < 1
        given = source if isinstance(source, Source) else self.source(source, with_values=needed)
        if needed and given.values is None:
            raise InputError(f"the source was encoded without values, which {name!r} at {interpolation} needs")
        times = _stretch(given, voices, shares, name, tempo, interpolation)
        raw = self.speak(
            given if times == 1 else given.stretched(times),
            voices, shares, name, k=converters.neighbours_of(name, k), interpolation=interpolation, pitch=pitch,
            join_weight=join_weight,
        )  # fmt: skip
        wanted = wanted_spectrum(name, voices, shares)
        if wanted is not None and (made := spectrum.measure(raw.waveform)) is not None:
            # one hour of sound after the other, not both
            raw = dataclasses.replace(raw, waveform=spectrum.equalise(raw.waveform, made, wanted, interpolation))
        sound = _set_loudness(raw.waveform, given.waveform, loudness)
        return dataclasses.replace(raw, waveform=sound, reason=reason, stretch=times)

    def stream(
        self,
        source: Recording,
        voice: Voices,
        *,
        k: int | None = None,
        converter: str = "auto",
        interpolation: float = 1.0,
        pitch: str | float = "target",
        tempo: str | float = "auto",
        loudness: str | float = "source",
    ) -> Iterator[Conversion]:
        """Convert piece by piece: the first sound of a long recording is there after a second, memory is flat.

        The pieces joined (``streaming.join``) have the length of the whole conversion and nearly its sound; what they
        cannot know of the rest of the recording is described in ``streaming.stream``, which see for all arguments.

        Raises:
            InputError: as ``convert``; or a converter or tempo that needs the whole source.
        """
        from speechssl import streaming

        options = streaming.Options(k, converter, interpolation, pitch, tempo, loudness)
        self._check_pitch(pitch)
        return streaming.stream(self, source, voice, options)

    def speak(
        self,
        source: Source,
        voices: Sequence[MatchingSet],
        shares: Sequence[float],
        converter: str,
        *,
        k: int,
        interpolation: float,
        pitch: str | float,
        join_weight: float = converters.JOIN_WEIGHT,
        own: PitchStatistics | None = None,
    ) -> Conversion:
        """Retrieve, combine and vocode, at the loudness the vocoder gives.

        Args:
            source: with values, where the converter or the interpolation needs them.
            voices: from ``blend``, with their shares.
            converter: not ``auto``; see ``convert`` for it and the other options, which are not checked here.
            own: pitch statistics of the source's speaker; None for those of the source.
        """
        detail = converters.SHIFT_DETAIL if self.vocoder.key_origin else 1.0
        parts = [convert_frames(source, one, converter, k=k, join_weight=join_weight, detail=detail) for one in voices]
        frames = converters.blend([part for part, _, _ in parts], shares)
        if interpolation < 1 and source.values is not None:
            frames = converters.interpolate(source.values.frames, frames, interpolation)
        features = Features(frames, self.vocoder.frame_rate, self.vocoder.origin)
        found = [(one, trace, share) for one, (_, trace, _), share in zip(voices, parts, shares, strict=True)]
        if converter == "selection" and pitch == "target" and self.vocoder.needs_f0:
            contour: Tensor | None = _selected(source, found, interpolation)
        else:
            contour = _moved(source.f0, voices, shares, pitch, interpolation, self.vocoder, own)
        # frames in runs, as the voice spoke them, are worth hearing more of
        heard = converters.HEARD if converter in converters.RUNS and self.vocoder.key_origin else 0.0
        keys = _heard(source.keys, found, heard * interpolation) if heard else source.keys
        alone = heard > 0 and len(voices) == 1 and interpolation == 1
        return Conversion(
            waveform=self.vocoder.vocode(features, f0=contour, keys=keys, voice=voices[0].values if alone else None),
            features=features,
            converter=converter,
            reason="",
            attributions=tuple(_attribution(*one) for one in found),
            similarities=_highest([similarity for _, _, similarity in parts]),
        )

    def _values(self, waveform: Waveform, keys: Features, contour: Tensor) -> Features:
        if self.value_encoder is self.encoder:
            return keys
        return matching.encode_values(waveform, self.value_encoder, keys, contour)

    def blend(self, voice: Voices) -> tuple[list[MatchingSet], list[float]]:
        """The voices and their shares, which add up to 1.

        Raises:
            InputError: a voice of another encoder, or weights that are none.
        """
        pairs = [(voice, 1.0)] if isinstance(voice, MatchingSet) else list(voice)
        for one, _ in pairs:
            called = f"convert to the voice {one.name!r}" if one.name else "convert to this voice"
            check_same_origin(self.encoder.origin, one.key_origin, what=called)
            check_same_origin(self.value_encoder.origin, one.value_origin, what=f"{called} by its values")
            weights = fingerprints.remembered(self.encoder) if one.key_encoder else ""
            fingerprints.check_same_weights(one.key_encoder, weights, one.key_origin, what=called)
        return [one for one, _ in pairs], converters.blend_shares([weight for _, weight in pairs])

    def choose(self, converter: str, voices: Sequence[MatchingSet], has_source_values: bool) -> tuple[str, str]:
        """The converter, ``auto`` resolved, and why."""
        if converter != "auto":
            return converter, "as asked"
        shortest = min(voice.seconds for voice in voices)
        return converters.choose(
            shortest,
            has_source_values=has_source_values,
            speaks_means=not any(voice.has_own_values for voice in voices),
            hears_keys=bool(self.vocoder.key_origin),
        )

    def _check_pitch(self, mode: str | float) -> None:
        if mode != "target" and not self.vocoder.needs_f0:
            raise InputError(
                f"pitch is {mode!r}, but the vocoder of {self.vocoder.origin} takes no F0: pitch is in the features; "
                "use 'target', or a model with the WORLD vocoder"
            )


def wanted_spectrum(converter: str, voices: Sequence[MatchingSet], shares: Sequence[float]) -> Spectrum | None:
    """What the long-term spectrum of the result is to be; None where it is left as it comes.

    So with converters that are not in ``converters.WIDENED``, and with voices that were stored without theirs.
    """
    known = matching.complete(voice.spectrum for voice in voices)
    if converter not in converters.WIDENED or known is None:
        return None
    return spectrum.pool(known, shares)


def _stretch(
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
    known = matching.complete(voice.tempo for voice in voices)
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


def check_options(
    *,
    k: int | None = None,
    converter: str = "auto",
    interpolation: float = 1.0,
    pitch: str | float = "target",
    tempo: str | float = "auto",
    loudness: str | float = "source",
) -> None:
    """Refuse options of ``VoiceConverter.convert`` that no voice could be converted with, before anything is loaded.

    Raises:
        InputError: one out of range; the message says which are possible.
    """
    if k is not None and k < 1:
        raise InputError(f"k is {k}; 1 neighbour or more needed")
    if converter not in ("auto", *converters.NAMES):
        raise InputError(f"converter is {converter!r}; one of auto, {', '.join(converters.NAMES)} needed")
    if not 0 <= interpolation <= 1:
        raise InputError(f"interpolation is {interpolation}; between 0 (the source) and 1 (the target) needed")
    parse_mode(str(pitch))
    parse_tempo(str(tempo))
    if loudness != "source" and not (isinstance(loudness, (int, float)) and math.isfinite(loudness)):
        raise InputError(f"loudness is {loudness!r}; 'source' or a number of LUFS such as -23 needed")


def convert_frames(
    source: Source,
    voice: MatchingSet,
    converter: str,
    *,
    k: int = 4,
    join_weight: float = converters.JOIN_WEIGHT,
    detail: float = 1.0,
) -> tuple[Tensor, Trace, Tensor]:
    """Retrieve and combine, without sound.

    Args:
        source: with values, for those converters that need them.
        voice: of the same origins.
        converter: a name in ``converters.NAMES``.
        k: neighbours per frame.
        join_weight: of ``continuous`` and ``selection``.
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
    frames, trace = _combine(source, voice, converter, neighbours, k, join_weight)
    return frames, trace, 1.0 - neighbours.distances[:, 0]


def _combine(
    source: Source, voice: MatchingSet, converter: str, neighbours: Neighbours, k: int, join_weight: float
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
        path = converters.best_path(voice.keys, neighbours, voice.follows(), join_weight=join_weight, f0=f0)
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


def _heard(keys: Features, traces: Sequence[tuple[MatchingSet, Trace, float]], share: float) -> Features:
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


def _selected(source: Source, traces: Sequence[tuple[MatchingSet, Trace, float]], interpolation: float) -> Tensor:
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


def _moved(
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


def _set_loudness(waveform: Waveform, source: Waveform | None, wanted: str | float) -> Waveform:
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


def _attribution(voice: MatchingSet, trace: Trace, share: float) -> Attribution:
    return Attribution(
        voice=voice.name,
        references=tuple(reference.name for reference in voice.references),
        files=voice.file_index[trace.indices],
        seconds=voice.times(trace.indices),
        distances=trace.distances,
        weights=trace.weights * share,
    )


def _highest(similarities: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.stack(list(similarities)).amax(dim=0)
