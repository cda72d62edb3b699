"""Convert a recording to another voice: encode, retrieve, combine, vocode."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechssl.conversion import converters
from speechssl.conversion.result import Conversion
from speechssl.encoders import fingerprints
from speechssl.errors import InputError
from speechssl.signals import Features, Waveform, check_same_origin
from speechssl.voices import building, spectrum
from speechssl.voices.matching_set import MatchingSet, Recording
from speechssl.voices.pitch import PitchStatistics

if TYPE_CHECKING:
    from torch import Tensor

    from speechssl.signals import Encoder, Vocoder
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.steps import (
    Source,
    Voices,
    attribution,
    convert_frames,
    heard_keys,
    highest,
    moved_f0,
    selected_f0,
    set_loudness,
    stretch_of,
    wanted_spectrum,
)


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
        return building.build(recordings, self.encoder, self.value_encoder, name=name, keep_silence=keep_silence)

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
        waveform = building.heard(recording, self.encoder)
        try:
            keys, contour = self.encoder.encode(waveform), building.f0_of(waveform)
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
        Raises:
            InputError: a voice of another encoder, or stored without the pitch of its frames, which ``selection``
                takes, or without its tempo, if that is asked for; k above its frames, an option out of range, an
                unreadable source.
        """
        return self.run(source, voice, ConversionOptions(k, converter, interpolation, pitch, tempo, loudness))

    def run(self, source: Recording | Source, voice: Voices, options: ConversionOptions) -> Conversion:
        """Convert with options that were made before; ``convert`` describes the source, the voice and each option.

        Raises:
            InputError: as ``convert``.
        """
        options.check()
        voices, shares = self.blend(voice)
        self._check_pitch(options.pitch)
        known = source.values is not None if isinstance(source, Source) else True
        name, reason = self.choose(options.converter, voices, known)
        needed = name in converters.NEED_SOURCE_VALUES or options.interpolation < 1
        given = source if isinstance(source, Source) else self.source(source, with_values=needed)
        if needed and given.values is None:
            raise InputError(f"the source was encoded without values, which {name!r} at {options.interpolation} needs")
        times = stretch_of(given, voices, shares, name, options.tempo, options.interpolation)
        raw = self.speak(
            given if times == 1 else given.stretched(times),
            voices, shares, name, k=converters.neighbours_of(name, options.k), interpolation=options.interpolation,
            pitch=options.pitch,
        )  # fmt: skip
        wanted = wanted_spectrum(name, voices, shares)
        if wanted is not None and (made := spectrum.measure(raw.waveform)) is not None:
            # one hour of sound after the other, not both
            raw = dataclasses.replace(
                raw, waveform=spectrum.equalise(raw.waveform, made, wanted, options.interpolation)
            )
        sound = set_loudness(raw.waveform, given.waveform, options.loudness)
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
        return self.stream_with(source, voice, ConversionOptions(k, converter, interpolation, pitch, tempo, loudness))

    def stream_with(self, source: Recording, voice: Voices, options: ConversionOptions) -> Iterator[Conversion]:
        """Convert piece by piece with options that were made before; see ``stream``.

        Raises:
            InputError: as ``stream``.
        """
        from speechssl.conversion import streaming

        self._check_pitch(options.pitch)
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
        parts = [convert_frames(source, one, converter, k=k, detail=detail) for one in voices]
        frames = converters.blend([part for part, _, _ in parts], shares)
        if interpolation < 1 and source.values is not None:
            frames = converters.interpolate(source.values.frames, frames, interpolation)
        features = Features(frames, self.vocoder.frame_rate, self.vocoder.origin)
        found = [(one, trace, share) for one, (_, trace, _), share in zip(voices, parts, shares, strict=True)]
        if converter == "selection" and pitch == "target" and self.vocoder.needs_f0:
            contour: Tensor | None = selected_f0(source, found, interpolation)
        else:
            contour = moved_f0(source.f0, voices, shares, pitch, interpolation, self.vocoder, own)
        # frames in runs, as the voice spoke them, are worth hearing more of
        heard = converters.HEARD if converter in converters.RUNS and self.vocoder.key_origin else 0.0
        keys = heard_keys(source.keys, found, heard * interpolation) if heard else source.keys
        alone = heard > 0 and len(voices) == 1 and interpolation == 1
        return Conversion(
            waveform=self.vocoder.vocode(features, f0=contour, keys=keys, voice=voices[0].values if alone else None),
            features=features,
            converter=converter,
            reason="",
            attributions=tuple(attribution(*one) for one in found),
            similarities=highest([similarity for _, _, similarity in parts]),
        )

    def _values(self, waveform: Waveform, keys: Features, contour: Tensor) -> Features:
        if self.value_encoder is self.encoder:
            return keys
        return building.encode_values(waveform, self.value_encoder, keys, contour)

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
