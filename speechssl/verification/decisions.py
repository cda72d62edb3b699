"""Decide whether two recordings are by one speaker (``verify``), and which enrolled speaker is heard (``identify``).

The threshold from which a speaker is accepted comes with the calibration: in the header of the embedder's file
(``models/tiny/speaker.safetensors``, made by ``recipes/speaker_verification/calibrate.py``) or in the database.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from speechssl import audio
from speechssl.audio.given import Recording
from speechssl.checkpoints import kinds
from speechssl.checkpoints.names import some
from speechssl.errors import InputError
from speechssl.signals import Embedder, Embedding, Waveform, check_same_origin
from speechssl.verification import band as bands
from speechssl.verification import embedders, speech_classifier
from speechssl.verification.band import Band
from speechssl.verification.by_cohort import ByCohort
from speechssl.verification.calibration import Calibration, probability
from speechssl.verification.metrics import bayes_threshold
from speechssl.verification.scoring import Scorer
from speechssl.verification.screening import MIN_SPEECH, channels_apart, remarks_on, unlike_speech

if TYPE_CHECKING:
    from speechssl.verification.database import Enrolment, SpeakerDatabase

# natural-log likelihood ratio, a probability of 0.99 at even odds: lines of the training were simulated
SUREST_OVER_LINES = 4.595
UNSURE = (
    "no decision: too much alike for two people, and not enough for one; give longer recordings, or recordings from a "
    "better microphone or line"
)
UNSURE_OVER_LINES = (
    "no decision: over such a line, or under such noise, this score neither accepts nor rejects anybody; give longer "
    "recordings, or recordings from a better microphone or line"
)
BY_PRIOR = (
    "no decision, because of the prior of {:g}: the log-likelihood ratio of {:.2f} speaks for one speaker, and the "
    "prior asks for {:.2f}; give longer recordings, or another prior"
)
ENROLLED = "the recording to test is among those of the speaker; give another one, for it fits itself"
TIED = "{} fits exactly as well as {}; are the same recordings enrolled under both names?"
UNLIKE = "sounds unlike the speech this model knows (music or noise?); listen to it before trusting a score"


@dataclass(frozen=True, eq=False)
class Utterance:
    """A recording that may be scored.

    Args:
        embedding: of the whole recording.
        seconds: of speech in it.
        remarks: what a person should know before trusting a decision; empty if nothing.
        band: frequencies that carry speech; None if not measured. A calibration decides nothing without it.
    """

    name: str
    embedding: Embedding
    seconds: float
    sha256: str
    remarks: tuple[str, ...] = ()
    band: Band | None = None


@dataclass(frozen=True)
class Decision:
    """What ``verify`` found.

    Args:
        score: higher = rather the same speaker; ``scoring`` says on which scale. A cosine may have been moved by
            how near both recordings are to other voices (``by_cohort.ByCohort``).
        llr: calibrated natural-log likelihood ratio, which may depend on the seconds of speech as well; 4.595 at most
            over lines and under noise; None without a calibration. Several enrolled recordings count as one of their
            seconds together.
        probability: of one speaker at ``prior``; None without a calibration.
        accepted: None if nothing could be decided: the calibration does not know the band or the noise of a recording,
            it is too close to call, or there is no calibration, and no threshold of the caller's either. Then
            ``llr``, ``probability`` and ``threshold`` are None too, but where only the prior makes it too close.
        threshold: on the score, of recordings as long as these.
        threshold_source: where the threshold came from.
    """

    score: float
    scoring: str
    llr: float | None
    prior: float
    probability: float | None
    accepted: bool | None
    threshold: float | None
    threshold_source: str
    origin: str
    remarks: tuple[str, ...] = field(default=())

    @property
    def decision(self) -> str:
        """``"same"``, ``"different"`` or ``"none"``."""
        return {True: "same", False: "different", None: "none"}[self.accepted]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with ``decision``."""
        return {"decision": self.decision, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class Candidate:
    """An enrolled speaker and how well a recording fits.

    Args:
        accepted: None if nothing could be decided.
        remark: why not, or what else a person should know; empty otherwise.
    """

    speaker: str
    score: float
    llr: float | None
    accepted: bool | None
    remark: str = ""


@kinds.checked
def embed(
    recording: Recording, embedder: Embedder | str | Path = "tiny", *, calibration: Calibration | None = None
) -> Utterance:
    """Read a recording, check that it can carry a decision, and embed it.

    Args:
        recording: see ``audio.recording``; of a file any format, rate and number of channels. The mean of the channels
            is taken, or the loudest if they cancel. The first two are also heard apart, if they differ: for one that
            speaks where the mean does not, and for one in each.
        embedder: or what ``embedders.load`` makes one from; load it once for many recordings.
        calibration: of this embedder; lets the recording be searched for a second speaker and for synthetic speech.
    Returns:
        The embedding with what a decision needs to know of the recording.
    Raises:
        InputError: unreadable, or less than 1 s of speech: silence, noise, music, a click.

    Example:
        >>> import speechssl
        >>> speechssl.embed(speechssl.clip("ada")).embedding.vector.shape
        torch.Size([448])
    """
    embedder = embedders.load(embedder) if isinstance(embedder, (str, Path)) else embedder
    path = audio.recording(recording)
    remarks: list[str] = []
    waveform = _read(path, remarks)
    heard = speech_classifier.hear(waveform)
    channels = [] if isinstance(path, Waveform) else channels_apart(path)
    if heard.likely < MIN_SPEECH and channels:
        number, (waveform, heard) = max(enumerate(channels, 1), key=lambda numbered: numbered[1][1].likely)
        remarks.append(f"the channels together hold no speech; channel {number} was taken")
    if heard.likely < MIN_SPEECH:
        rest = ": most of what is heard sounds like music or noise" if heard.active >= MIN_SPEECH else ""
        seconds = math.floor(10 * min(heard.likely, heard.active)) / 10  # 0.98 s are no "1.0 s, 1 s needed"
        raise InputError(
            f"{path}: not enough speech ({seconds:.1f} s, {MIN_SPEECH:.0f} s needed){rest}; give a better recording"
        )
    embedding = embedder.embed(waveform)
    band = bands.measure(waveform)
    remarks += remarks_on(waveform, heard, channels, band, embedder, calibration)
    # a narrow band makes any voice unlike those the model knows, but for the part that compares narrow bands
    usable = calibration.serving([], band)[0] if calibration else None
    part = usable.part if usable else None
    if (part or waveform.sample_rate >= embedder.sample_rate) and unlike_speech(embedding, embedder.cohort, part=part):
        remarks.append(UNLIKE)
    return Utterance(str(path), embedding, heard.active, audio.checksum(path), tuple(remarks), band)


def _read(path: str | Path | Waveform, remarks: list[str]) -> Waveform:
    if isinstance(path, Waveform):
        return path
    if (taken := audio.channel_taken(path)) is None:
        return audio.read(path)
    remarks.append(f"its channels cancel each other; channel {taken + 1} was taken")
    return audio.read_channel(path, taken)


def verify(
    enrolment: Sequence[Utterance | Enrolment],
    test: Utterance,
    *,
    calibration: Calibration | None = None,
    cohort: Tensor | None = None,
    prior: float | None = None,
    threshold: float | None = None,
) -> Decision:
    """Decide whether the test is by the enrolled speaker.

    A score of recordings whose bands the calibration does not know, such as a band of 1 kHz, measures the line more
    than the speaker: such a pair gets no decision, no ratio and no probability, and a remark that says why.

    Args:
        enrolment: one or more recordings of the speaker, or what ``claimed`` gives.
        calibration: of this model; without it there is a score, but no probability, and no decision.
        cohort: of the model; needed if the calibration was fitted on scores that know it.
        prior: probability of one speaker before hearing anything, in (0, 1); sets the Bayes threshold. None: 0.5 for
            the probability, and the calibration's own threshold for the decision.
        threshold: on the score; overrides everything, bands included.
    Raises:
        InputError: embeddings of different models, or a calibration of another.
    """
    scoring = _check_calibration(test.embedding.origin, calibration, cohort)
    scorer = Scorer(test.embedding, cohort)
    found = _judged(enrolment, test, calibration, scorer, scoring == "as-norm", prior, threshold)
    heard = [item for item in (*enrolment, test) if isinstance(item, Utterance)]
    remarks = [found.remark] if found.remark else []
    if test.sha256 and test.sha256 in {item.sha256 for item in enrolment}:
        remarks.append(ENROLLED)
    remarks += [f"{item.name}: {remark}" for item in heard for remark in item.remarks]
    return Decision(
        score=found.score,
        scoring=scoring,
        llr=found.llr,
        prior=0.5 if prior is None else prior,
        probability=None if found.llr is None else probability(found.llr, 0.5 if prior is None else prior),
        accepted=found.accepted,
        threshold=found.threshold,
        threshold_source=found.threshold_source,
        origin=test.embedding.origin,
        remarks=tuple(remarks),
    )


def identify(
    test: Utterance,
    database: SpeakerDatabase,
    *,
    calibration: Calibration | None = None,
    cohort: Tensor | None = None,
    prior: float | None = None,
    threshold: float | None = None,
) -> list[Candidate]:
    """Enrolled speakers, best first; ``outcome`` says who of them speaks.

    They are ranked by their likelihood ratios, by their scores without a calibration or with a threshold given. Who is
    named comes first; those who were recorded over a line that the calibration does not know come last.

    Raises:
        InputError: nobody is enrolled with this model; the message says which models there are.
    """
    origin = test.embedding.origin
    enrolled = _enrolled(database, origin)
    normed = _check_calibration(origin, calibration, cohort) == "as-norm"
    scorer, by_ratio = Scorer(test.embedding, cohort), calibration is not None and threshold is None
    ranked: list[tuple[tuple[bool, float, float, str], Candidate]] = []
    for name, rows in enrolled.items():
        found = _judged(rows, test, calibration, scorer, normed, prior, threshold)
        remark = found.remark or (ENROLLED if test.sha256 in {row.sha256 for row in rows} else "")
        place = (by_ratio and found.ratio is None, -(found.ratio or 0.0) if by_ratio else 0.0, -found.score, name)
        ranked.append((place, Candidate(name, found.score, found.llr, found.accepted, remark)))
    candidates = [row for _, row in sorted(ranked, key=lambda pair: pair[0])]
    best = _best(candidates)
    return sorted(candidates, key=lambda row: row is not best)


def claimed(name: str, database: SpeakerDatabase, origin: str) -> list[Enrolment]:
    """What is enrolled of the speaker who is said to speak, with the model of this origin; for ``verify``.

    Raises:
        InputError: nobody of that name is enrolled with this model; the message says who is.
    """
    enrolled = _enrolled(database, origin)
    if name not in enrolled:
        raise InputError(
            f"{name!r} is not enrolled in {database.path} with {origin}; enrolled are {some(list(enrolled))}"
        )
    return enrolled[name]


def _enrolled(database: SpeakerDatabase, origin: str) -> dict[str, list[Enrolment]]:
    enrolled = database.enrolled(origin)
    if not enrolled:
        others = ", ".join(f"{count} with {name}" for name, count in database.origins().items()) or "nobody at all"
        raise InputError(f"nobody is enrolled in {database.path} with {origin} ({others}); enrol with this model first")
    return enrolled


def outcome(ranked: Sequence[Candidate]) -> tuple[str, str | None]:
    """What ``identify`` found: ``("known", speaker)``, ``("unknown", None)``, or ``("none", None)`` for no decision.

    There is no decision if nobody is accepted and nothing could be decided about one candidate or more.
    """
    if best := _best(ranked):
        return "known", best.speaker
    return ("none" if any(row.accepted is None for row in ranked) else "unknown"), None


def _best(ranked: Sequence[Candidate]) -> Candidate | None:
    """The first about whom something was decided, if accepted."""
    best = next((row for row in ranked if row.accepted is not None), None)
    return best if best and best.accepted else None


def remarks_of(ranked: Sequence[Candidate]) -> list[str]:
    """What was found of candidates, each remark once, with the names if it is not that of all.

    Why nothing was decided is left out if somebody is named. A candidate who fits exactly as well is mentioned then.
    """
    names: dict[str, list[str]] = {}
    best = _best(ranked)
    for row in ranked:
        if row.remark and not (best and row.accepted is None):
            names.setdefault(row.remark, []).append(row.speaker)
    tied = [row.speaker for row in ranked if best and row is not best and math.isclose(row.score, best.score)]
    found = [TIED.format(some(tied), best.speaker)] if best and tied else []
    return found + [remark if len(who) == len(ranked) else f"{some(who)}: {remark}" for remark, who in names.items()]


def shipped_calibration(embedder: Embedder) -> Calibration | None:
    """The calibration that came with the model's file, if one did."""
    if embedder.calibration is None:
        return None
    return Calibration.from_dict({**embedder.calibration, "origin": embedder.origin}, source=embedder.origin)


def added_by_cohort(embedder: Embedder) -> ByCohort | None:
    """What the calibration that came with the model's file adds to a cosine; a calibration of one's own adds it too."""
    shipped = shipped_calibration(embedder)
    return shipped.by_cohort if shipped else None


def calibration_for(embedder: Embedder, own: Calibration | None) -> Calibration | None:
    """A user's own calibration, with that of the model's file for the lines it does not know; else the file's."""
    shipped = shipped_calibration(embedder)
    if own is None or shipped is None or own.lines or own.scoring != "cosine":
        return own or shipped
    return dataclasses.replace(own, lines=shipped.lines)


@dataclass(frozen=True)
class _Judgement:
    """What a score says; ``ratio`` is ``llr``, and the ratio as well where ``llr`` is not told."""

    score: float
    ratio: float | None
    llr: float | None
    accepted: bool | None
    threshold: float | None
    threshold_source: str
    remark: str


def _judged(
    enrolment: Sequence[Utterance | Enrolment],
    test: Utterance,
    calibration: Calibration | None,
    scorer: Scorer,
    normed: bool,
    prior: float | None,
    threshold: float | None,
) -> _Judgement:
    """What a score says of one speaker, by AS-norm if ``normed``, and a remark where it says nothing."""
    seconds = (sum(item.seconds for item in enrolment), test.seconds)
    usable, why = _serving(calibration, [item.band for item in enrolment], test.band, given=threshold is not None)
    part = usable.part if usable else None
    near = usable.by_cohort if usable else None
    embeddings = [item.embedding for item in enrolment]
    found = scorer.score(embeddings, part=part, by_cohort=near, normed=normed)
    limit, source = _threshold(usable, prior, threshold, seconds)
    if why and limit is None:
        source = "none: the calibration does not know such recordings"
    llr = usable.llr(found, seconds) if usable else None
    if llr is not None and usable is not calibration:
        llr = min(llr, SUREST_OVER_LINES)
    accepted = _decided(found, limit, llr, usable, threshold)
    if accepted is None and limit is not None:
        if prior and usable and llr is not None and usable.decide(found, usable.threshold_at(seconds), llr):
            remark = BY_PRIOR.format(prior, llr, bayes_threshold(prior))  # without it the pair is accepted
            return _Judgement(found, llr, llr, None, limit, source, remark)
        remark = UNSURE if usable is calibration else UNSURE_OVER_LINES
        return _Judgement(found, llr, None, None, None, "none: too close to call", remark)
    return _Judgement(found, llr, llr, accepted, limit, source, why)


def _threshold(
    calibration: Calibration | None, prior: float | None, threshold: float | None, seconds: tuple[float, float]
) -> tuple[float | None, str]:
    if threshold is not None:
        return threshold, "given"
    if calibration is None:
        return None, "none: this model is not calibrated; run speechssl calibrate on recordings of your own"
    origin = f"by the calibration on {calibration.source}"
    if calibration.by_seconds is not None:
        origin += f", for {seconds[0]:.1f} s and {seconds[1]:.1f} s of speech"
    if prior is not None:
        limit = calibration.score_at(bayes_threshold(prior), seconds)
        return limit, f"Bayes threshold at prior {prior:g}, {origin}"
    rate = calibration.false_alarm
    goal = "where the likelihood ratio is 1" if rate is None else f"for a false-alarm rate of {rate:g}"
    return calibration.threshold_at(seconds), f"{goal}, {origin}"


def _decided(
    found: float, limit: float | None, llr: float | None, calibration: Calibration | None, given: float | None
) -> bool | None:
    """Whether a score is accepted; None without a threshold, and where the calibration finds it too close to call.

    Args:
        given: threshold of the caller, which always decides.
    """
    if limit is None:
        return None
    if calibration is None or llr is None or given is not None:
        return found >= limit
    return calibration.decide(found, limit, llr)


def _serving(
    calibration: Calibration | None, enrolment: Sequence[Band | None], test: Band | None, *, given: bool
) -> tuple[Calibration | None, str]:
    """The calibration for recordings of these bands, None where there is none, and a remark why.

    Args:
        given: whether the threshold is the caller's, which decides even then.
    """
    if calibration is None:
        return None, ""
    found, why = calibration.serving(enrolment, test)
    if found is None:
        return None, f"decided by the threshold given, without a probability: {why}" if given else f"no decision: {why}"
    return found, ""


def _check_calibration(origin: str, calibration: Calibration | None, cohort: Tensor | None) -> str:
    if calibration is None:
        return "as-norm" if cohort is not None else "cosine"
    check_same_origin(calibration.origin, origin, what="use this calibration")
    if calibration.scoring not in ("cosine", "as-norm"):
        raise InputError(f"the calibration is of {calibration.scoring} scores, which only evaluations give; calibrate")
    if cohort is None and (calibration.scoring == "as-norm" or calibration.by_cohort):
        raise InputError("the calibration is of scores that need the model's cohort; give it (embedder.cohort)")
    return calibration.scoring
