"""Quality of reference recordings, before converting: amount of speech, noise, number of speakers, coverage.

Only coverage needs an encoder: it compares the keys of the source and of the voice.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechssl import audio
from speechssl.audio import activity, reverberation
from speechssl.audio.given import Recordings
from speechssl.checkpoints import kinds
from speechssl.checkpoints.names import some
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices.second_speaker import HEARD, Piece, Speakers, chunks, evenly, suspected_speakers, unlike

ENOUGH_SPEECH = 30.0  # seconds from which users of kNN conversion stop hearing the difference of more
LITTLE_SPEECH = 10.0  # seconds below which whole sounds are likely to be missing
NOISY, SOME_NOISE = 15.0, 22.0  # dB: noise that is retrieved with the voice; noise that is heard in its pauses
ECHO_LEAVES = 8.0  # dB: of clean speech in halls with two seconds of reverberation, 9 to 35 were measured
ECHOING = 0.03  # share of late echo that is heard; most rooms with half a second of reverberation have more
CLIPPED = 0.001  # share of samples in flat tops that is heard
QUIET = -45.0  # LUFS; speech is recorded at -35 to -15
RATE = 16_000  # Hz at which encoders listen
POOR_SHARE = 0.5  # of source frames, see Coverage


@dataclass(frozen=True)
class RecordingReport:
    """One reference.

    Args:
        name: as given, else its number.
        seconds: duration.
        speech_seconds: of it with speech.
        snr_db: signal-to-noise ratio, dB; nan without speech.
        clipping: share of samples in flat tops.
        loudness: LUFS; -inf for silence.
        sample_rate: Hz, of the recording as it was given.
        echo: share of the power that is late echo of the room.
    """

    name: str
    seconds: float
    speech_seconds: float
    snr_db: float
    clipping: float
    loudness: float
    sample_rate: int = RATE
    echo: float = 0.0


@dataclass(frozen=True)
class Coverage:
    """How near the frames of the source find frames of the voice, by cosine similarity.

    Args:
        mean, p5, p50, p95: mean and percentiles over source frames of the similarity to the best voice frame.
        own_mean, own_p5, own_p50, own_p95: the same for frames of the voice itself, whose best is sought in other
            recordings or more than a second away; nan if there is nowhere else to search.
        covered: share of source frames that find a voice frame at least as near as 95 of 100 voice frames find theirs.
            It tells whether sounds and microphone are alike, not whether there is enough: with the embedded encoder a
            speaker covers himself to 0.9 from 3 s to a minute of voice, other speakers to 0.8, and 0.1 to 0.3 where the
            recordings differ most. The mean rises with the amount: 0.58, 0.72 and 0.79 for 3, 12 and 60 s.
    """

    mean: float
    p5: float
    p50: float
    p95: float
    own_mean: float
    own_p5: float
    own_p50: float
    own_p95: float
    covered: float


@dataclass(frozen=True)
class ReferenceReport:
    """All of it; the totals are over the recordings, ratio and loudness weighted by their seconds of speech."""

    recordings: tuple[RecordingReport, ...]
    speakers: Speakers
    coverage: Coverage | None = None

    @property
    def speech_seconds(self) -> float:
        """Seconds of speech together."""
        return sum(one.speech_seconds for one in self.recordings)

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio, dB; nan without speech."""
        return self._by_speech([one.snr_db for one in self.recordings])

    @property
    def loudness(self) -> float:
        """LUFS; nan without speech."""
        return self._by_speech([one.loudness for one in self.recordings])

    @property
    def clipping(self) -> float:
        """Share of clipped samples."""
        return sum(one.clipping * one.seconds for one in self.recordings) / sum(one.seconds for one in self.recordings)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Problems, each with what would help; empty if there are none."""
        found = (_too_little(self), *self.sound_remarks, _narrow(self), _mixed(self), _uncovered(self))
        return tuple(remark for remark in found if remark)

    @property
    def sound_remarks(self) -> tuple[str, ...]:
        """Problems of the sound alone, which a source has as well as a reference."""
        return tuple(
            remark for remark in (_too_noisy(self), _echoing(self), _clipped(self), _too_quiet(self)) if remark
        )

    @property
    def verdict(self) -> str:
        """One or a few plain sentences."""
        remarks = self.remarks
        good = f"{self.speech_seconds:.0f} s of clean speech of one voice: good."
        return "; ".join(remarks) + "." if remarks else good

    def as_dict(self) -> dict[str, Any]:
        """All numbers, the remarks and the verdict, ready for JSON: what is not finite becomes None."""
        totals = ("speech_seconds", "snr_db", "loudness", "clipping", "remarks", "verdict")
        whole = {**{name: getattr(self, name) for name in totals}, **dataclasses.asdict(self)}
        return _jsonable(whole)

    def _by_speech(self, values: list[float]) -> float:
        pairs = [(v, one.speech_seconds) for v, one in zip(values, self.recordings, strict=True) if math.isfinite(v)]
        weight = sum(seconds for _, seconds in pairs)
        return sum(value * seconds for value, seconds in pairs) / weight if weight else math.nan


@kinds.checked
def report(
    references: Recordings, *, names: Sequence[str] | None = None, coverage: Coverage | None = None
) -> ReferenceReport:
    """Measure the references of one voice: about 3 ms a second of audio on one core, and more for several of them.

    The speaker embedder compares the beginnings of up to eight, a quarter of a second each on one core.

    Args:
        references: at least one, any rate; see ``audio.recording``.
        names: for the report, one each; by default those of the files, or ``"1"``, ``"2"`` ...
        coverage: of a source's frames, see ``cover``.
    Returns:
        What was measured of each, and a verdict.
    Raises:
        InputError: no reference, one that cannot be read, or another number of names.

    Example:
        >>> import speechssl
        >>> speechssl.report(speechssl.clip("ada")).verdict
        '22.7 s of speech; 30 s or more would help.'
    """
    given = audio.recordings(references)
    if not given:
        raise InputError("no references to report on; at least one recording needed")
    if names is not None and len(names) != len(given):
        raise InputError(f"{len(names)} names for {len(given)} references; one each needed")
    files = [one for one in given if not isinstance(one, Waveform)]
    numbers = [str(number) for number in range(1, len(given) + 1)]
    labels = list(names or (audio.told_apart(files) if len(files) == len(given) else numbers))
    measured = [_measured(name, one) for name, one in zip(labels, given, strict=True)]
    pieces = [(piece, index) for index, (_, found, _) in enumerate(measured) for piece in found]
    speakers = suspected_speakers(pieces, labels)
    if not speakers.suspected and len(given) > 1:
        odd = unlike([(one.name, start) for one, _, start in measured])
        speakers = dataclasses.replace(speakers, suspected=True, odd=odd) if odd else speakers
    return ReferenceReport(tuple(one for one, _, _ in measured), speakers, coverage)


def _measured(name: str, recording: str | Path | Waveform) -> tuple[RecordingReport, list[Piece], Waveform]:
    """What is measured of a recording, its pieces of speech, and as much of it as the speaker embedder hears."""
    waveform = recording if isinstance(recording, Waveform) else audio.read_mono(recording, RATE)
    samples = activity.at_16_khz(waveform)
    bands = activity.band_powers(samples)
    active = activity.active_frames(bands)
    measures = RecordingReport(
        name,
        waveform.seconds,
        float(active.sum()) / 100,
        activity.ratio_of_bands(bands, active),
        activity.clipping_fraction(waveform),
        audio.loudness(waveform),
        (recording if isinstance(recording, Waveform) else audio.info(recording)).sample_rate,
        reverberation.echo(waveform),
    )
    pieces = [
        (samples[start * 160 : stop * 160], bands[start:stop], active[start:stop]) for start, stop in chunks(active)
    ]
    return measures, pieces, Waveform(waveform.samples[: HEARD * waveform.sample_rate].clone(), waveform.sample_rate)


def cover(
    source: Tensor, voice: Tensor, *, files: Tensor, seconds: Tensor, most: int = 500, gap: float = 1.0
) -> Coverage:
    """How well a voice covers a source, by exact cosine similarity of keys.

    Args:
        source: (N, D) keys of the source; ``most`` of them, evenly spread, are used.
        voice: (M, D) keys of the voice, any floating type; may be mapped from a file, and is read in blocks.
        files: (M,) which recording each voice frame is from.
        seconds: (M,) when, in it.
        most: frames looked up on either side; 500 give the percentiles to a hundredth or so.
        gap: seconds nearer than which a frame of the same recording does not count as found.
    Raises:
        InputError: shapes that do not fit.
    """
    if source.ndim != 2 or voice.ndim != 2 or source.shape[1] != voice.shape[1] or 0 in (len(source), len(voice)):
        raise InputError(f"keys of shapes {tuple(source.shape)} and {tuple(voice.shape)}; (N, D) and (M, D) needed")
    if files.shape != (len(voice),) or seconds.shape != (len(voice),):
        raise InputError(f"{len(files)} recordings and {len(seconds)} times for {len(voice)} frames; one each needed")
    picked = evenly(len(voice), most)
    own_files, own_seconds = files[picked], seconds[picked]
    asked = _unit(source[evenly(len(source), most)])
    own = _unit(voice[picked])
    best, own_best = torch.full((len(asked),), -1.0), torch.full((len(own),), -math.inf)
    for start in range(0, len(voice), 16_384):
        block = slice(start, start + 16_384)
        keys = _unit(voice[block])
        best = torch.maximum(best, (asked @ keys.T).amax(1))
        near = (own_files[:, None] == files[block]) & ((own_seconds[:, None] - seconds[block]).abs() <= gap)
        own_best = torch.maximum(own_best, (own @ keys.T).masked_fill(near, -math.inf).amax(1))
    return _coverage(best, own_best[own_best.isfinite()])


def _coverage(best: Tensor, own: Tensor) -> Coverage:
    levels = torch.tensor([0.05, 0.5, 0.95])
    p5, p50, p95 = best.quantile(levels).tolist()
    if not len(own):
        return Coverage(float(best.mean()), p5, p50, p95, *[math.nan] * 5)
    own5, own50, own95 = own.quantile(levels).tolist()
    covered = float((best >= own5).float().mean())
    return Coverage(float(best.mean()), p5, p50, p95, float(own.mean()), own5, own50, own95, covered)


def _unit(keys: Tensor) -> Tensor:
    return torch.nn.functional.normalize(keys.float(), dim=1)


# ---- the verdict


def _too_little(report: ReferenceReport) -> str | None:
    seconds = report.speech_seconds
    if seconds == 0:
        return "no speech found, only silence or noise; give recordings of the voice"
    if seconds >= ENOUGH_SPEECH:
        return None
    word = "only " if seconds < LITTLE_SPEECH else ""
    return f"{word}{seconds:.1f} s of speech; {ENOUGH_SPEECH:.0f} s or more would help"


def _too_noisy(report: ReferenceReport) -> str | None:
    if not report.snr_db < SOME_NOISE:
        return None
    # an echo fills the pauses as noise does, but leaves this much
    spoken = [one for one in report.recordings if one.speech_seconds]
    if report.snr_db > ECHO_LEAVES and all(one.echo > ECHOING for one in spoken):
        return None
    if report.snr_db < NOISY:
        return (
            f"noisy (signal-to-noise {report.snr_db:.0f} dB), and the noise is copied with the voice; "
            "record in a quieter place"
        )
    return f"some noise (signal-to-noise {report.snr_db:.0f} dB); {SOME_NOISE:.0f} dB or more would be cleaner"


def _echoing(report: ReferenceReport) -> str | None:
    names = [one.name for one in report.recordings if one.echo > ECHOING and one.speech_seconds]
    if not names:
        return None
    return f"an echo of the room ({some(names, 3)}); record a hand's width from the microphone"


def _clipped(report: ReferenceReport) -> str | None:
    names = [one.name for one in report.recordings if one.clipping > CLIPPED]
    if not names:
        return None
    share = max(one.clipping for one in report.recordings)
    return f"clipped ({some(names, 3)}: up to {100 * share:.1f} % of the samples); record at a lower level"


def _too_quiet(report: ReferenceReport) -> str | None:
    if not report.loudness < QUIET:
        return None
    return f"very quiet ({report.loudness:.0f} LUFS); record nearer to the microphone"


def _narrow(report: ReferenceReport) -> str | None:
    names = [one.name for one in report.recordings if one.sample_rate < RATE]
    if not names:
        return None
    rate = min(one.sample_rate for one in report.recordings)
    return (
        f"sampled at {rate} Hz, as on a telephone ({some(names, 3)}): the frequencies above {rate // 2} Hz will be "
        f"missing from the voice; give recordings of {RATE} Hz or more"
    )


def _mixed(report: ReferenceReport) -> str | None:
    if not report.speakers.suspected:
        return None
    odd = report.speakers.odd
    where = f": {some(odd, 3)} {'stand' if len(odd) > 1 else 'stands'} apart" if odd else ""
    return f"more than one speaker suspected{where}; give recordings of one voice"


def _uncovered(report: ReferenceReport) -> str | None:
    if report.coverage is None or not report.coverage.covered < POOR_SHARE:
        return None
    return (
        f"the source sounds unlike these recordings: only {100 * report.coverage.covered:.0f} % of it finds a sound as "
        "near as they find among themselves; recordings in its language and from a similar microphone would help"
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
