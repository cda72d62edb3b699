"""Convert a recording to another voice: encode, retrieve, speak."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from speechssl import audio
from speechssl.audio.given import Recording, Recordings
from speechssl.conversion import loudness as loudness_
from speechssl.conversion import steps, streaming
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.predictor import ValuePredictor
from speechssl.conversion.result import Conversion
from speechssl.conversion.source import Length, Source
from speechssl.conversion.steps import Voices
from speechssl.errors import InputError
from speechssl.signals import Encoder, Vocoder, check_same_origin
from speechssl.voices import building
from speechssl.voices.matching_set import MatchingSet


@dataclass(frozen=True, eq=False)
class VoiceConverter:
    """Encoder, values and vocoder that belong together.

    Args:
        encoder: makes the keys.
        value_encoder: makes the values; the same object as the encoder if the vocoder speaks the keys.
        vocoder: speaks the values.
        predictor: of the values of keys, for converters that do not rest on neighbours alone; None without.
    Raises:
        InputError: the vocoder or the predictor takes other keys or values, or another frame rate.
    """

    encoder: Encoder
    value_encoder: Encoder
    vocoder: Vocoder
    predictor: ValuePredictor | None = None

    def __post_init__(self) -> None:
        check_same_origin(self.value_encoder.origin, self.vocoder.origin, what="vocode these values")
        if self.vocoder.key_origin:
            check_same_origin(self.encoder.origin, self.vocoder.key_origin, what="vocode with these keys")
        if self.predictor is not None:
            check_same_origin(self.encoder.origin, self.predictor.key_origin, what="predict values of these keys")
            check_same_origin(self.value_encoder.origin, self.predictor.value_origin, what="predict these values")
        rates = {self.encoder.frame_rate, self.value_encoder.frame_rate, self.vocoder.frame_rate}
        if len(rates) != 1:
            raise InputError(f"encoder, values and vocoder run at {sorted(rates)} frames per second; one rate needed")

    def __repr__(self) -> str:
        return f"VoiceConverter({self.encoder.origin}, {self.vocoder.origin})"

    def matching_set(self, recordings: Recordings, *, name: str = "", keep_silence: bool = True) -> MatchingSet:
        """The voice of some recordings of one speaker; see ``voices.building.build``."""
        return building.build(recordings, self.encoder, self.value_encoder, name=name, keep_silence=keep_silence)

    def source(self, recording: Recording, *, with_values: bool = True, more: Recordings | MatchingSet = ()) -> Source:
        """Encode a recording that is to be converted, perhaps to several voices.

        Args:
            recording: a file or a waveform.
            with_values: whether to encode values too; ``transport``, ``shift`` and interpolation below 1 need them.
            more: further recordings of the speaker, or the matching set of them, for ``shift``.
        Raises:
            InputError: the recording cannot be read, or is too short for a frame.
        """
        encoded = steps.encode(self, recording, with_values=with_values)
        others = more if isinstance(more, MatchingSet) else self.matching_set(more) if more else None
        return dataclasses.replace(encoded, more=others)

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
        loudness: str | float = "contour",
        sample_rate: int | str | None = None,
    ) -> Conversion:
        """Say what the source says in another voice, in exactly its length (but for the tempo).

        Args:
            source: a file, a waveform, or the result of ``source``.
            voice: one voice, or several with weights, whose values (and pitch) are blended.
            k: see ``ConversionOptions``; so are ``converter``, ``interpolation``, ``pitch``, ``tempo``,
                ``loudness`` and ``sample_rate``.
        Raises:
            InputError: a voice of another encoder, k above the number of its frames, an option out of range, or an
                unreadable source.
        """
        return self.run(
            source, voice, ConversionOptions(k, converter, interpolation, pitch, tempo, loudness, sample_rate)
        )

    def run(self, source: Recording | Source, voice: Voices, options: ConversionOptions) -> Conversion:
        """``convert`` with options that were made before.

        Raises:
            InputError: as ``convert``.
        """
        options.check()
        target = steps.blend(self, voice)
        has_values = source.values is not None if isinstance(source, Source) else True
        plan = steps.decide(self, target, options, has_source_values=has_values)
        given = source if isinstance(source, Source) else self.source(source, with_values=plan.needs_source_values)
        stretch = steps.stretch_of(given, target, plan)
        words = given.stretched(stretch)
        found = steps.retrieve(self, words, target, plan)
        raw = steps.speak(self, words, found, target, plan)
        # one hour of sound after the other, not both
        raw = dataclasses.replace(raw, waveform=steps.coloured(raw.waveform, target, plan))
        wanted, rate = loudness_.parse(options.loudness), steps.rate_of(options.sample_rate, given.length, self.vocoder)
        sound = audio.resample(loudness_.shaped(raw.waveform, given, wanted, stretch), rate)
        sound = loudness_.levelled(sound, given, wanted)
        if given.waveform is not None:
            # encoders and vocoders lose what is less than a frame
            length = given.length or Length(len(given.waveform.samples), given.waveform.sample_rate)
            sound = audio.with_length(sound, steps.length_of(length, rate, stretch))
        return dataclasses.replace(raw, waveform=sound, stretch=stretch)

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
        loudness: str | float = "contour",
        sample_rate: int | str | None = None,
    ) -> Iterator[Conversion]:
        """Convert piece by piece: the first sound of a long recording is there after a second, memory is flat.

        The pieces joined (``result.join``) have the length of the whole conversion and nearly its sound;
        ``streaming.stream`` describes the differences and all arguments.

        Raises:
            InputError: as ``convert``; or a converter or tempo that needs the whole source.
        """
        return self.stream_with(
            source, voice, ConversionOptions(k, converter, interpolation, pitch, tempo, loudness, sample_rate)
        )

    def stream_with(self, source: Recording, voice: Voices, options: ConversionOptions) -> Iterator[Conversion]:
        """``stream`` with options that were made before.

        Raises:
            InputError: as ``stream``.
        """
        return streaming.stream(self, source, voice, options)
