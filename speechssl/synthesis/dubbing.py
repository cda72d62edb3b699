"""Subtitles spoken in time: each cue begins at its time, and is read as fast or as slowly as its time asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.synthesis.front_end import tokens
from speechssl.synthesis.subtitles import Cue, clock
from speechssl.synthesis.synthesizer import (
    FADE,
    FASTEST,
    PAUSE,
    SLOWEST,
    VARIATION,
    Speech,
    Synthesizer,
    TimedWord,
    check_options,
    join,
    shifted,
    spoken_seconds,
    timed_words,
)
from speechssl.voices.matching_set import MatchingSet

TEMPOS = 0.8, 1.25  # of what is read at the usual rate: beyond these, speech sounds dragged or hurried
TRIES = 4  # to find the tempo: sounds last whole frames, so that a tempo gives about the length that it should
STEP, QUIET = 0.005, 1e-4  # seconds in which loudness is measured; a power below this share of the loudest is silence
ALLOWED = 0.05  # seconds that a cue may end after its time without a remark


def stream(
    synthesizer: Synthesizer,
    cues: Sequence[Cue],
    voices: Sequence[MatchingSet],
    *,
    interpolation: float = 1.0,
    speed: float = 1.0,
    seed: int = 0,
) -> Iterator[Speech]:
    """Speak subtitles, each cue at its time.

    Args:
        synthesizer: speaks.
        cues: from ``subtitles.read``.
        voices: one for each cue.
        interpolation: see ``Synthesizer.stream``; so is ``seed``.
        speed: usual rate; each cue is read at 0.8 to 1.25 times this rate.
    Returns:
        A part for each cue, up to the beginning of the next one; the first begins with the silence before it. A cue
        that ends too late even so runs into the next, and ``remarks`` say by how much.
    Raises:
        InputError: a cue with nothing to say in it, or as ``Synthesizer.stream``.

    Example:
        >>> import speechssl
        >>> from speechssl.synthesis import dubbing, say, subtitles
        >>> cues = subtitles.read("1\\n00:00:01,000 --> 00:00:02,500\\nGood morning.")
        >>> made = say.load_synthesizer()
        >>> voice = made.system.matching_set([speechssl.clip("eric").path])
        >>> next(dubbing.stream(made, cues, [voice])).waveform.seconds > 1.5
        True
    """
    check_options(interpolation=interpolation, speed=speed)
    for cue in cues:  # before the work: a bad cue may be the last
        with _naming(cue):
            next(synthesizer.front_end.sentences(cue.text))
    carried, at = torch.zeros(0), 0.0
    words: list[TimedWord] = []
    remarks: tuple[str, ...] = ()
    for place, (cue, voice) in enumerate(zip(cues, voices, strict=True)):
        with _naming(cue):
            tempo = _tempo(synthesizer, cue, speed, seed)
            sentences = synthesizer.stream(cue.text, voice, interpolation=interpolation, speed=tempo, seed=seed)
            spoken = _without_lead(join(list(sentences), cue.text))
        rate = spoken.waveform.sample_rate
        before = round(cue.start * rate) - round(at * rate)
        samples = _mixed(carried, torch.nn.functional.pad(spoken.waveform.samples, (before, 0)))
        last = place + 1 == len(cues)
        length = len(samples) if last else round(cues[place + 1].start * rate) - round(at * rate)
        carried = samples[length:]
        samples = torch.nn.functional.pad(samples[:length], (0, max(0, length - len(samples))))
        remarks += spoken.remarks + _misfit(cue, spoken.words[-1].end, tempo)
        words += shifted(spoken.words, before / rate)
        if length:  # none if the next cue begins at the same time: both are one part
            yield replace(spoken, waveform=Waveform(samples, rate), words=tuple(words), remarks=remarks)
            words, remarks = [], ()
        at = cue.start if last else cues[place + 1].start


@contextlib.contextmanager
def _naming(cue: Cue) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"cue {cue.number} ({clock(cue.start)}): {error}") from None


def _tempo(synthesizer: Synthesizer, cue: Cue, speed: float, seed: int) -> float:
    """The speaking rate at which a cue lasts as long as it is shown, or the nearest possible one."""
    slowest, fastest = (min(max(speed * one, SLOWEST), FASTEST) for one in TEMPOS)
    tempo = speed
    for _ in range(TRIES):
        needed = tempo * _seconds(synthesizer, cue, tempo, seed) / (cue.end - cue.start)
        wanted = min(max(needed, slowest), fastest)
        if abs(wanted - tempo) < 0.005 * tempo:
            break
        tempo = wanted
    return tempo


def _seconds(synthesizer: Synthesizer, cue: Cue, speed: float, seed: int) -> float:
    """How long the cue is from its first sound to its last, at this rate; no sound has to be made for that."""
    prepared = synthesizer.front_end.prepare(cue.text)
    total, first = 0.0, 0.0
    for number, words in enumerate(synthesizer.front_end.sentences(prepared)):
        prediction = synthesizer.model.predict(tokens(words), speed=speed, variation=VARIATION, seed=seed + number)
        if number:
            total += PAUSE / speed
        else:
            first = timed_words(prepared.text, words, prediction)[0].start
        total += spoken_seconds(prediction)
    return total - first


def _without_lead(spoken: Speech) -> Speech:
    """The speech from its first sound on: before that, the model may be silent, as it is before P and G."""
    rate, samples = spoken.waveform.sample_rate, spoken.waveform.samples
    step = round(STEP * rate)
    level = samples[: len(samples) // step * step].reshape(-1, step).square().mean(dim=1)
    start = step * int((level > level.max() * QUIET).to(torch.uint8).argmax())
    samples = samples[start:].clone()
    ramp = torch.linspace(0, 1, min(round(FADE * rate), len(samples)))
    samples[: len(ramp)] *= ramp
    first, *others = shifted(spoken.words, -start / rate)
    return replace(spoken, waveform=Waveform(samples, rate), words=(replace(first, start=0.0), *others))


def _mixed(one: Tensor, other: Tensor) -> Tensor:
    length = max(len(one), len(other))
    return sum(torch.nn.functional.pad(part, (0, length - len(part))) for part in (one, other))  # type: ignore[return-value]


def _misfit(cue: Cue, seconds: float, tempo: float) -> tuple[str, ...]:
    """A remark on a cue that does not fit."""
    late = seconds - (cue.end - cue.start)
    if late <= ALLOWED:
        return ()
    return (f"cue {cue.number} ({clock(cue.start)}) ends {late:.1f} s late, though read {tempo:.2f} times as fast as "
            f"usual: {cue.end - cue.start:.1f} s is too short for its text",)  # fmt: skip
