"""Text in, any voice out, sentence by sentence.

The text model predicts the keys of one speaker saying the sentence. Each key is replaced by the nearest frames of a
voice; real frames also make up for predicted keys being too smooth. The vocoder of the bundle speaks the frames.

Source: El Hajal et al. 2024, "SSL-TTS / kNN-TTS", arXiv:2408.10771.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from speechssl.conversion import converters
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.result import Conversion
from speechssl.conversion.source import Source
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import InputError
from speechssl.signals import Waveform, check_same_origin
from speechssl.synthesis.front_end import FrontEnd, Word, tokens
from speechssl.synthesis.lexicon import Lexicon
from speechssl.synthesis.normalise import ENDS
from speechssl.voices.matching_set import MatchingSet

if TYPE_CHECKING:
    from speechssl.synthesis.model import Prediction, TextModel

LOUDNESS = -23.0  # LUFS, of EBU R 128: there is no recording to take it from
SLOWEST, FASTEST = 0.25, 4.0
PAUSE = 0.3  # seconds of silence after a sentence
VARIATION = 0.15  # of sound durations: two readings differ audibly, and no word is harder to understand
FADE = 0.005  # seconds over which a sentence begins and ends


@dataclass(frozen=True)
class TimedWord:
    """A written word, and when it is said.

    Args:
        text: as written, with punctuation.
        start, end: seconds.
        after: what follows: ``"."``, ``"?"`` or ``"!"`` at the end of a sentence, ``","`` at that of a clause.
    """

    text: str
    start: float
    end: float
    after: str = ""


@dataclass(frozen=True, eq=False)
class Speech:
    """One sentence, or several, spoken.

    Args:
        waveform: the sound, with the pause after it.
        text: as written.
        words: with their times from the beginning of the waveform.
        prediction: keys and pitch of the last sentence.
        conversion: the last sentence in the voice.
        remarks: what of the text is not read, or not as its language would have it.
    """

    waveform: Waveform
    text: str
    words: tuple[TimedWord, ...]
    prediction: Prediction
    conversion: Conversion
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Speech({self.text!r}, {self.waveform})"


class Synthesizer:
    """Speaks text in any voice of the encoder whose keys the text model predicts.

    Args:
        model: text to keys.
        system: encoder, values and vocoder.
        speaker: a voice of the speaker the model was trained on, for interpolations below 1.
        front_end: reads the text; None for that of the model's language.
    Raises:
        InputError: a text model of another encoder than the system's.
    """

    def __init__(
        self,
        model: TextModel,
        system: VoiceConverter,
        *,
        speaker: MatchingSet | None = None,
        front_end: FrontEnd | None = None,
    ) -> None:
        check_same_origin(system.encoder.origin, model.origin, what="speak with this text model")
        self.model, self.system, self.speaker = model, system, speaker
        self.front_end = front_end or FrontEnd(model.language)

    def reading(self, lexicon: Lexicon) -> Synthesizer:
        """The same synthesizer with pronunciations, by word, that go before those of the dictionary.

        Raises:
            InputError: one that is not of a single word.
        """
        own = FrontEnd(self.model.language, lexicon=lexicon)
        return Synthesizer(self.model, self.system, speaker=self.speaker, front_end=own)

    def stream(
        self,
        text: str,
        voice: MatchingSet,
        *,
        interpolation: float = 1.0,
        speed: float = 1.0,
        seed: int = 0,
        variation: float = VARIATION,
        k: int | None = None,
        loudness: float = LOUDNESS,
    ) -> Iterator[Speech]:
        """Speak a text sentence by sentence, each as soon as it is ready.

        Args:
            text: any text, with numbers, dates, symbols, emoji and Markdown.
            voice: the target.
            interpolation: 1 is the voice, 0 the speaker the model was trained on, in between a blend of both.
            speed: 0.25 ... 4; 2 is twice as fast.
            seed: random seed for sound durations; change it for another reading.
            variation: of sound durations, in the standard deviations that were learnt; 0 for none.
            k: frames of the voice that are averaged; None for the number of the converter ``uniform``.
            loudness: LUFS.
        Raises:
            InputError: nothing to say, a text mostly in letters of other languages, an option out of range, or a voice
                of another encoder.
        """
        check_options(interpolation=interpolation, speed=speed, variation=variation)
        voices = self._voices(voice, interpolation)
        k = min(converters.TABLE["uniform"].neighbours(k), *(len(one) for one, _ in voices))
        options = ConversionOptions(k=k, converter="uniform", loudness=loudness)
        prepared = self.front_end.prepare(text)
        for number, words in enumerate(self.front_end.sentences(prepared)):
            prediction = self.model.predict(tokens(words), speed=speed, variation=variation, seed=seed + number)
            source = Source(None, prediction.keys, None, prediction.f0)
            spoken = self.system.run(source, voices, options)
            waveform = finished(spoken.waveform, PAUSE / speed, spoken_seconds(prediction))
            written = prepared.text[words[0].start : words[-1].end].strip()
            timed = timed_words(prepared.text, words, prediction)
            yield Speech(waveform, written, timed, prediction, spoken, prepared.remarks if number == 0 else ())

    def say(self, text: str, voice: MatchingSet, **options: float) -> Speech:
        """Speak a whole text; arguments as for ``stream``.

        Raises:
            InputError: as ``stream``.
        """
        return join(list(self.stream(text, voice, **options)), text)  # type: ignore[arg-type]

    def _voices(self, voice: MatchingSet, interpolation: float) -> list[tuple[MatchingSet, float]]:
        if interpolation == 1:
            return [(voice, 1.0)]
        if self.speaker is None:
            raise InputError(
                f"interpolation is {interpolation}, but this text model comes without the voice of its speaker; use 1"
            )
        if interpolation == 0:
            return [(self.speaker, 1.0)]
        return [(voice, interpolation), (self.speaker, 1 - interpolation)]


def check_options(*, interpolation: float = 1.0, speed: float = 1.0, variation: float = 0.0) -> None:
    """Refuse options out of range, before anything is loaded.

    Raises:
        InputError: an option out of range; the message says what is possible.
    """
    if not 0 <= interpolation <= 1:
        raise InputError(f"interpolation is {interpolation}; between 0 (the model's speaker) and 1 (the voice) needed")
    if not SLOWEST <= speed <= FASTEST:
        raise InputError(f"speed is {speed}; between {SLOWEST} and {FASTEST:.0f} needed, 1 as usual")
    if not 0 <= variation <= 2:
        raise InputError(f"variation is {variation}; between 0 and 2 needed")


def spoken_seconds(prediction: Prediction) -> float:
    """When the last sound of a sentence ends."""
    times = prediction.times()
    return float(times[-2]) if len(times) > 1 else float(times[-1])


def finished(waveform: Waveform, pause: float, speech_ends: float) -> Waveform:
    """The waveform with a soft start and end, and silence up to ``pause`` seconds after its last sound."""
    rate, samples = waveform.sample_rate, waveform.samples.clone()
    ramp = torch.linspace(0, 1, min(round(FADE * rate), len(samples)))
    samples[: len(ramp)] *= ramp
    length = max(1, round((speech_ends + pause) * rate))
    samples = samples[:length]
    ramp = ramp[: len(samples)]
    samples[len(samples) - len(ramp) :] *= ramp.flip(0)
    return Waveform(torch.nn.functional.pad(samples, (0, length - len(samples))), rate)


def timed_words(text: str, words: Sequence[Word], prediction: Prediction) -> tuple[TimedWord, ...]:
    """The written words with their times; a number that is read as several words is one written word."""
    ends = prediction.times().tolist()
    starts = [0.0, *ends[:-1]]
    owners = prediction.tokens.words
    spans: list[list[float]] = [[math.inf, 0.0] for _ in words]
    for token, owner in enumerate(owners):
        # the border after a word is its last token, and silence
        if owner >= 0 and not (token + 1 == len(owners) or owners[token + 1] != owner):
            spans[owner][0] = min(spans[owner][0], starts[token])
            spans[owner][1] = max(spans[owner][1], ends[token])
    timed: list[tuple[int, int, float, float, str]] = []
    for word, (start, end) in zip(words, spans, strict=True):
        first, last = _written(text, word)
        if timed and first < timed[-1][1]:
            first, before, start, _, _ = timed.pop()
            last = max(last, before)
        timed.append((first, last, start, end, word.after.strip()))
    if timed and timed[-1][-1] not in ENDS:
        timed[-1] = (*timed[-1][:-1], ".")
    return tuple(
        TimedWord(" ".join(text[first:last].split()), start, end, after) for first, last, start, end, after in timed
    )


def _written(text: str, word: Word) -> tuple[int, int]:
    """First and last place of the text between the spaces around a word."""
    first, last = word.start, word.end
    while first > 0 and not text[first - 1].isspace():
        first -= 1
    while last < len(text) and not text[last].isspace():
        last += 1
    return first, last


def join(parts: Sequence[Speech], text: str) -> Speech:
    """Sentences one after the other as one, with the times of the words in the whole."""
    rate = parts[0].waveform.sample_rate
    words: list[TimedWord] = []
    passed = 0.0
    for part in parts:
        words += shifted(part.words, passed)
        passed += part.waveform.seconds
    samples = torch.cat([part.waveform.samples for part in parts])
    remarks = tuple(remark for part in parts for remark in part.remarks)
    return Speech(Waveform(samples, rate), text, tuple(words), parts[-1].prediction, parts[-1].conversion, remarks)


def shifted(words: Sequence[TimedWord], seconds: float) -> list[TimedWord]:
    """The words, later by some seconds."""
    return [replace(word, start=word.start + seconds, end=word.end + seconds) for word in words]
