"""Conversion piece by piece: the first sound of a long recording is there before the rest is read.

Pieces end where the source is quiet, so that a change of loudness or pitch falls into a pause. Each piece is encoded
with seconds of the recording on either side, whose output is dropped, and is faded into the piece before it for 10 ms.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soxr
import torch
from torch import Tensor
from torch.nn import functional

from speechssl import audio
from speechssl.audio import levels
from speechssl.audio.given import Recording
from speechssl.conversion import converters, loudness, steps
from speechssl.conversion.loudness import Loudness
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.result import Conversion, join
from speechssl.conversion.source import Length, contour_step
from speechssl.conversion.steps import Blend, Plan, System, Voices
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices import pitch, spectrum
from speechssl.voices.pitch import PitchStatistics
from speechssl.voices.spectrum import Spectrum

__all__ = ["TEMPOS", "Lengths", "join", "stream", "windows"]

TEMPOS = ("auto", "source")  # any other tempo needs the whole source
MARGIN = 0.5  # seconds vocoded on either side of a piece; no vocoder of this package hears further
RAMP = 0.2  # seconds over which the gain moves to that of the next piece
HISTORY = 20.0  # seconds of sound against which a burst is measured


@dataclass(frozen=True)
class Lengths:
    """How long pieces are, in seconds.

    Args:
        first: length of the first piece, which has to be converted before anything is heard.
        piece: length of the other pieces.
        reach: how much shorter or longer a piece may be, to end in a pause.
        context: sound that is encoded on either side of a piece. Encoders that normalise over the utterance need
            seconds.
    Raises:
        InputError: a piece that could be empty.
    """

    first: float = 4.0
    piece: float = 10.0
    reach: float = 1.0
    context: float = 5.0

    def __post_init__(self) -> None:
        if not (min(self.first, self.piece) > self.reach >= 0.1 and self.context >= MARGIN):
            raise InputError(f"{self}: pieces longer than their reach, and {MARGIN} s of context or more needed")


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of the source, and the piece within it.

    Args:
        samples: (n,).
        start: frame of the source at which the window begins.
        keep: frames of the window that are the piece; for the last piece the slice has no stop.
    """

    samples: Tensor
    start: int
    keep: slice


def stream(
    system: System,
    source: Recording,
    voice: Voices,
    options: ConversionOptions | None = None,
    *,
    lengths: Lengths | None = None,
) -> Iterator[Conversion]:
    """Say what the source says in another voice, piece by piece, in memory that does not grow with the recording.

    A whole conversion measures three things over the whole source. A stream measures them up to the end of the window
    of each piece, which is 15 s for the first piece: the pitch of the speaker, the loudness of the source, and the
    loudness of the vocoder's output. The ratio of the two is the gain. (Loudness over pieces is the mean of their
    powers; pieces in which the source is silent do not count.) If a piece would clip, only that piece gets quieter.
    With converters that widen, the long-term spectrum is that of all pieces so far, and the spread of the frames is
    that of the piece. Encoders and vocoders that normalise over an utterance do so over the window.

    Args:
        system: encoder, values and vocoder.
        source: a file, which is read as it is needed, or a waveform.
        voice: one voice, or several with weights.
        options: if ``auto`` stands for a converter that cannot be streamed, ``uniform`` is used, or ``distance`` below
            30 s of reference.
        lengths: of the pieces.
    Returns:
        Conversions of consecutive pieces; ``join`` makes them one.
    Raises:
        InputError: at once for an option or voice that cannot be used; with the pieces for a source that is unreadable
            or too short.
    """
    source = audio.recording(source)
    chosen = options or ConversionOptions()
    chosen.check()
    if chosen.tempo not in TEMPOS:
        raise InputError(f"a tempo of {chosen.tempo!r} needs the whole source; 'source' can be streamed")
    target = steps.blend(system, voice)
    plan = _streamable(steps.decide(system, target, chosen, has_source_values=True), target)
    rates = (system.encoder.sample_rate, system.vocoder.sample_rate)
    hops = [rate / system.encoder.frame_rate for rate in rates]
    if any(hop != round(hop) for hop in hops):
        raise InputError(f"{system.encoder.origin} has frames of {hops[0]} samples; whole numbers needed to stream")
    colour = _Colour(steps.wanted_spectrum(target, plan), chosen.interpolation)
    sources = _Blocks(source, rates[0])
    wanted = loudness.parse(chosen.loudness)
    run = _Run(system, target, plan, sources, _Level(wanted), audio.Follower(wanted.share), colour)
    return run.pieces(windows(sources, rates[0], round(hops[0]), lengths or Lengths()))


def suits(system: System, voice: Voices, options: ConversionOptions) -> bool:
    """Whether a conversion with these options can be made piece by piece by the converter that makes the whole.

    Raises:
        InputError: an option or voice that cannot be used.
    """
    plan = steps.decide(system, steps.blend(system, voice), options, has_source_values=True)
    return plan.converter.streams and options.tempo in TEMPOS


def windows(blocks: Iterable[Tensor], sample_rate: int, hop: int, lengths: Lengths) -> Iterator[Window]:
    """Cut a source into pieces that end in pauses, with context.

    Args:
        blocks: (n,) consecutive samples, of any lengths.
        sample_rate: of the samples, Hz.
        hop: samples of a frame.
        lengths: of the pieces.
    """
    frames = {
        name: round(getattr(lengths, name) * sample_rate / hop) for name in ("first", "piece", "reach", "context")
    }
    reach, context = frames["reach"], frames["context"]
    waiting, held = iter(blocks), torch.zeros(0)
    # all three in frames of the source
    begin, edge, wanted = 0, 0, frames["first"]
    while True:
        # the first piece has nothing before it, and sees more of what follows
        ahead = context if begin < edge else 2 * context
        needed = (edge - begin + wanted + 2 * reach + ahead) * hop
        while len(held) < needed and (block := next(waiting, None)) is not None:
            held = torch.cat([held, block])
        if len(held) <= (edge - begin + wanted + 2 * reach) * hop:
            yield Window(held, begin, slice(edge - begin, None))
            return
        after = edge + _quietest(held[(edge - begin) * hop :], hop, wanted, reach)
        yield Window(held[: (after - begin + ahead) * hop], begin, slice(edge - begin, after - begin))
        first = max(begin, after - context)
        held, begin, edge, wanted = held[(first - begin) * hop :], first, after, frames["piece"]


def _quietest(samples: Tensor, hop: int, wanted: int, reach: int) -> int:
    """The frame near the wanted one around whose beginning 100 ms of sound are weakest."""
    around = samples[(wanted - reach) * hop : (wanted + reach) * hop].unfold(0, hop, hop).square().mean(1)
    smooth = functional.avg_pool1d(around[None], 4, stride=1)[0]
    # pooled value i is of frames i to i + 3, whose middle is the beginning of frame i + 2
    return wanted - reach + 2 + int(smooth.argmin())


@dataclass
class _Blocks:
    """Samples of a source at the encoder's rate, block by block, and how many were read."""

    source: str | Path | Waveform
    sample_rate: int
    read: int = 0  # samples at the source's own rate

    def __iter__(self) -> Iterator[Tensor]:
        if isinstance(self.source, Waveform):
            self._count(len(self.source.samples))
            yield audio.resample(self.source, self.sample_rate).samples
        else:
            yield from audio.stream(self.source, self.sample_rate, block_seconds=2.0, on_read=self._count)

    @property
    def length(self) -> Length:
        """Of what was read so far."""
        own = self.source if isinstance(self.source, Waveform) else audio.info(self.source)
        return Length(self.read, own.sample_rate)

    def _count(self, samples: int) -> None:
        self.read += samples


def _streamable(plan: Plan, target: Blend) -> Plan:
    """The plan, or if ``auto`` stands for a converter that cannot be streamed, a plan with one that can.

    Raises:
        InputError: a converter that cannot be streamed was asked for.
    """
    name = plan.converter.name
    if plan.converter.streams:
        return plan
    if plan.options.converter != "auto":
        able = " or ".join(row.name for row in converters.TABLE.values() if row.streams)
        raise InputError(f"{name!r} needs the whole source; {able} can be streamed")
    seconds = min(voice.seconds for voice in target.voices)
    instead = converters.TABLE["uniform" if seconds >= converters.SHORT else "distance"]
    return Plan(plan.options, instead, f"{name} needs the whole source, which is streamed")


@dataclass(eq=False)
class _Run:
    """One stream, and what was heard so far."""

    system: System
    target: Blend
    plan: Plan
    source: _Blocks
    level: _Level
    follower: audio.Follower
    colour: _Colour
    contour: list[Tensor] = field(default_factory=list)
    heard: int = 0  # values of the contour
    given: int = 0  # samples of the pieces so far
    resampler: Any = None

    def pieces(self, cut: Iterable[Window]) -> Iterator[Conversion]:
        for window in cut:
            raw, spoken = self._raw(window)
            sound = self.level.set(raw.waveform, spoken, is_last=window.keep.stop is None)
            yield dataclasses.replace(raw, waveform=self._in_place(sound, window))

    def _in_place(self, sound: Waveform, window: Window) -> Waveform:
        """A piece in the length that it has in the whole, which begins and ends without a pop."""
        begins, is_last = self.given == 0, window.keep.stop is None
        sound = self._resampled(sound, is_last=is_last)
        if is_last:
            total = steps.length_of(self.source.length, sound.sample_rate)
            sound = audio.with_length(sound, total - self.given, begins=begins)
        elif begins:
            sound = Waveform(levels.faded(sound.samples, sound.sample_rate), sound.sample_rate)
        self.given += len(sound.samples)
        return sound

    def _resampled(self, sound: Waveform, *, is_last: bool) -> Waveform:
        """The next piece at the rate that is wanted."""
        wanted = self.plan.options.sample_rate
        rate = steps.rate_of(wanted, self.source.length if wanted == "source" else None, self.system.vocoder)
        if rate == sound.sample_rate:
            return sound
        self.resampler = self.resampler or soxr.ResampleStream(sound.sample_rate, rate, 1, dtype="float32")
        samples = torch.from_numpy(self.resampler.resample_chunk(sound.samples.numpy(), last=is_last))
        return Waveform(samples.clamp(-levels.PEAK, levels.PEAK), rate)

    def _raw(self, window: Window) -> tuple[Conversion, Waveform]:
        """The piece as the vocoder gives it, ``levels.FADE`` longer unless it is the last; and the source's sound."""
        encoder, plan = self.system.encoder, self.plan
        heard = Waveform(window.samples, encoder.sample_rate)
        whole = steps.encode(self.system, heard, with_values=plan.needs_source_values)
        margin, total = round(MARGIN * encoder.frame_rate), len(whole.keys)
        begin, stop = window.keep.start, window.keep.stop or total
        first, last = max(0, begin - margin), min(total, stop + margin)
        part = whole.part(first, last)
        found = steps.retrieve(self.system, part, self.target, plan)
        made = steps.speak(self.system, part, found, self.target, plan, self._pitch(whole.f0, window.start))
        rate = made.waveform.sample_rate
        hop, more = round(rate / encoder.frame_rate), round(levels.FADE * rate)
        until = None if window.keep.stop is None else hop * (stop - first) + more
        kept = slice(hop * (begin - first), until)
        coloured = self.colour.given(made.waveform, kept)
        own = round(encoder.sample_rate / encoder.frame_rate)
        if self.follower.share and whole.waveform is not None:
            around = Waveform(whole.waveform.samples[own * first :], encoder.sample_rate)
            coloured = self.follower.applied(coloured, around, raised=whole.raised)
        sound = Waveform(coloured.samples[kept], rate)
        spoken = window.samples[own * begin : None if until is None else own * stop]
        return made.part(slice(begin - first, stop - first), sound), Waveform(spoken, encoder.sample_rate)

    def _pitch(self, f0: Tensor, start: int) -> PitchStatistics:
        """Pitch of everything heard up to the end of the window whose first frame is ``start``."""
        first = start * contour_step(self.system.encoder.frame_rate)
        self.contour.append(f0[self.heard - first :])
        self.heard = first + len(f0)
        return pitch.statistics(torch.cat(self.contour))


class _Level:
    """Brings pieces to the loudness wanted and fades each into the next."""

    def __init__(self, wanted: Loudness) -> None:
        self._wanted = wanted
        self._source, self._made, self._gain = _Power(), _Power(), math.nan
        self._history: Tensor | None = None
        self._tail: Tensor | None = None

    def set(self, made: Waveform, source: Waveform, *, is_last: bool) -> Waveform:
        """The next piece at its loudness, without its last ``levels.FADE``, which is mixed into the piece after it."""
        if self._source.add(source):
            self._made.add(made)
        rate = made.sample_rate
        samples = self._limited(made)
        gain = min(self._factor(), levels.PEAK / max(float(samples.abs().max()), 1e-9))
        before = gain if math.isnan(self._gain) else self._gain
        ramp = torch.linspace(before, gain, min(round(RAMP * rate), len(samples)))
        samples = samples * gain
        samples[: len(ramp)] *= ramp / gain if gain else 0.0
        self._gain = gain
        samples = samples.clamp(-levels.PEAK, levels.PEAK)
        if self._tail is not None:
            samples = _faded(self._tail, samples)
        if not is_last:
            held = round(levels.FADE * rate)
            samples, self._tail = samples[:-held], samples[-held:].clone()
        return Waveform(samples, rate)

    def _limited(self, made: Waveform) -> Tensor:
        """Samples without bursts. A piece may be nearly silent, so the last ``HISTORY`` seconds say what a burst is."""
        before = self._history if self._history is not None else made.samples[:0]
        known = torch.cat([before, made.samples])
        limited = audio.limit_bursts(Waveform(known, made.sample_rate)).samples[len(before) :]
        self._history = known[-round(HISTORY * made.sample_rate) :].clone()
        return limited

    def _factor(self) -> float:
        if self._wanted.is_off:
            return 1.0
        wanted = self._source.mean if self._wanted.lufs is None else 10 ** (self._wanted.lufs / 10)
        if self._made.mean == 0:
            return float(wanted > 0)  # silence in, silence out
        return math.sqrt(wanted / self._made.mean)


class _Colour:
    """Gives pieces the long-term spectrum of the voice.

    Args:
        wanted: spectrum of the voice; None to leave pieces as they are.
        amount: share of the difference, 0 ... 1.
    """

    def __init__(self, wanted: Spectrum | None, amount: float) -> None:
        self._wanted, self._amount = wanted, amount
        self._made: Spectrum | None = None

    def given(self, made: Waveform, kept: slice) -> Waveform:
        """A piece with its margins through the filter; only the samples in ``kept`` count for the spectrum so far."""
        if self._wanted is None:
            return made
        of_piece = spectrum.measure(Waveform(made.samples[kept], made.sample_rate))
        parts = [part for part in (self._made, of_piece) if part is not None]
        if not parts:
            return made
        self._made = spectrum.pool(parts)
        return spectrum.equalise(made, self._made, self._wanted, self._amount)


class _Power:
    """Mean power over pieces, by ITU-R BS.1770 within each; pieces of silence do not count."""

    def __init__(self) -> None:
        self._sum, self._seconds = 0.0, 0.0

    def add(self, waveform: Waveform) -> bool:
        """Whether the piece counts."""
        sound, raised = audio.audible(waveform)
        if math.isfinite(level := audio.loudness(sound)):
            self._sum += 10 ** ((level - raised) / 10) * waveform.seconds
            self._seconds += waveform.seconds
        return math.isfinite(level)

    @property
    def mean(self) -> float:
        """0 before anything was heard."""
        return self._sum / self._seconds if self._seconds else 0.0


def _faded(before: Tensor, after: Tensor) -> Tensor:
    """``after`` with ``before`` going out over its beginning."""
    count = min(len(before), len(after))
    phase = torch.linspace(0, math.pi / 2, count)
    mixed = before[:count] * phase.cos() ** 2 + after[:count] * phase.sin() ** 2
    return torch.cat([mixed, after[count:]])
