"""Is this the same speaker? Scores, calibrated decisions, and who of the enrolled it is, or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl import audio, checkpoints, embedders, speechlike
from speechssl.calibration import Calibration, probability
from speechssl.errors import InputError
from speechssl.metrics import bayes_threshold
from speechssl.signals import Embedding, Waveform, check_same_origin

if TYPE_CHECKING:
    from torch import Tensor

    from speechssl.interfaces import Embedder
    from speechssl.speakers import SpeakerDatabase

MIN_SPEECH = 1.0  # seconds of speech below which no score is given
FEW_SPEECH = 3.0  # seconds below which a score is given with a remark
APART = 0.1  # power of the difference of two channels, by that of both, above which they are heard apart
CLIPPED = 0.001  # share of clipped samples that is heard
PIECE = 2.0  # seconds of the pieces in which two speakers are looked for
SUSPICION = -4.0  # log-likelihood ratio of two parts being one speaker, below which two speakers are suspected
COHORT = 200  # most similar cohort members that normalise a score


@dataclass(frozen=True, eq=False)
class Utterance:
    """A recording that may be scored.

    Args:
        embedding: of the whole recording.
        seconds: of speech in it.
        remarks: what a person should know before trusting a decision; empty if nothing.
    """

    name: str
    embedding: Embedding
    seconds: float
    sha256: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What ``verify`` found.

    Args:
        score: higher = rather the same speaker; ``scoring`` says on which scale.
        llr: calibrated natural-log likelihood ratio, which may hang on the seconds of speech as well; None without a
            calibration. Several enrolled recordings count as one of their seconds together.
        probability: of one speaker at ``prior``; None without a calibration.
        accepted: None without a calibration and without a threshold of the caller's.
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


@dataclass(frozen=True)
class Candidate:
    """An enrolled speaker and how well a recording fits."""

    speaker: str
    score: float
    llr: float | None
    accepted: bool | None


def embed(
    path: str | Path, embedder: Embedder | str | Path = "tiny", *, calibration: Calibration | None = None
) -> Utterance:
    """Read a recording, check that it can carry a decision, and embed it.

    Args:
        path: any format, rate and number of channels. Their mean is taken; the first two are also heard apart, if they
            differ: for one that speaks where the mean does not (channels that cancel), and for a voice in each.
        embedder: or what ``embedders.load`` makes one from; load it once for many recordings.
        calibration: of this embedder; lets the recording be searched for a second speaker.
    Raises:
        InputError: unreadable, or less than 1 s of speech: silence, noise, music, a click.
    """
    embedder = embedders.load(embedder) if isinstance(embedder, (str, Path)) else embedder
    waveform = audio.read(path)
    heard = speechlike.hear(waveform)
    remarks = []
    channels = _apart(path)
    if heard.likely < MIN_SPEECH and channels:
        number, (waveform, heard) = max(enumerate(channels, 1), key=lambda numbered: numbered[1][1].likely)
        remarks.append(f"the channels together hold no speech; channel {number} was taken")
    if heard.likely < MIN_SPEECH:
        rest = ": most of what is heard sounds like music or noise" if heard.active >= MIN_SPEECH else ""
        raise InputError(
            f"{path}: not enough speech ({min(heard.likely, heard.active):.1f} s, {MIN_SPEECH:.0f} s needed){rest}; "
            "give a better recording"
        )
    embedding = embedder.embed(waveform)
    remarks += _remarks(waveform, heard, channels, embedder, calibration)
    if unlike_speech(embedding, getattr(embedder, "cohort", None)):
        remarks.append(
            "sounds unlike the speech this model knows (music or noise?); listen to it before trusting a score"
        )
    return Utterance(str(path), embedding, heard.active, checkpoints.sha256_of(Path(path)), tuple(remarks))


def score(enrolment: Sequence[Embedding], test: Embedding, *, cohort: Tensor | None = None) -> float:
    """Cosine of the test with the mean of the enrolment embeddings, or AS-norm of it with a cohort.

    Args:
        enrolment: one or more utterances of one speaker; their mean is brought to unit norm again.
        cohort: (K, E) unit embeddings of other speakers, K >= 2: the score is taken relative to those the enrolment,
            and those the test, is most similar to (200 at most).
    Raises:
        InputError: nothing enrolled, or embeddings of different models.
    Source: AS-norm: Matejka et al. 2017, "Analysis of score normalization in multilingual speaker recognition".
    """
    import torch

    if not enrolment:
        raise InputError("nothing enrolled to compare with")
    for embedding in enrolment:
        check_same_origin(embedding.origin, test.origin, what="compare two recordings")
    mean = torch.stack([embedding.vector.double() for embedding in enrolment]).mean(0)
    sides = [mean / mean.norm().clamp(min=1e-12), test.vector.double() / test.vector.double().norm()]
    cosine = float(sides[0] @ sides[1])
    if cohort is None:
        return cosine
    return sum((cosine - centre) / spread for centre, spread in (_against(side, cohort) for side in sides)) / 2


def verify(
    enrolment: Sequence[Utterance],
    test: Utterance,
    *,
    calibration: Calibration | None = None,
    cohort: Tensor | None = None,
    prior: float | None = None,
    threshold: float | None = None,
) -> Decision:
    """Decide whether the test is by the enrolled speaker.

    Args:
        enrolment: one or more recordings of the speaker.
        calibration: of this model; without it there is a score, but no probability, and no decision.
        cohort: for AS-norm, if the calibration was fitted on such scores.
        prior: probability of one speaker before hearing anything, in (0, 1); sets the Bayes threshold. None: 0.5 for
            the probability, and the calibration's own threshold for the decision.
        threshold: on the score; overrides everything.
    Raises:
        InputError: embeddings of different models, or a calibration of another.
    """
    scoring = _check_calibration(test.embedding.origin, calibration, cohort)
    found = score(
        [item.embedding for item in enrolment], test.embedding, cohort=cohort if scoring == "as-norm" else None
    )
    seconds = (sum(item.seconds for item in enrolment), test.seconds)
    limit, source = _threshold(calibration, prior, threshold, seconds)
    llr = calibration.llr(found, seconds) if calibration else None
    return Decision(
        score=found,
        scoring=scoring,
        llr=llr,
        prior=0.5 if prior is None else prior,
        probability=None if llr is None else probability(llr, 0.5 if prior is None else prior),
        accepted=None if limit is None else found >= limit,
        threshold=limit,
        threshold_source=source,
        origin=test.embedding.origin,
        remarks=tuple(f"{item.name}: {remark}" for item in (*enrolment, test) for remark in item.remarks),
    )


def verify_files(
    enrolment: str | Path | Sequence[str | Path],
    test: str | Path,
    *,
    model: str | Path | Embedder = "tiny",
    database: SpeakerDatabase | None = None,
    prior: float | None = None,
    threshold: float | None = None,
) -> Decision:
    """Decide whether a recording is by the speaker of one or several others; ``speechssl.verify``.

    Args:
        enrolment: recordings of the speaker.
        model: for ``embedders.load``, or an embedder.
        database: whose calibration of this model is taken; without one, the calibration that came with the model.
        prior, threshold: as ``verify``.
    Raises:
        InputError: a recording that cannot be read or holds less than 1 s of speech.
    """
    embedder = embedders.load(model) if isinstance(model, (str, Path)) else model
    own = None if database is None else database.calibration(embedder.origin)
    calibration = own or shipped_calibration(embedder)
    paths = [enrolment] if isinstance(enrolment, (str, Path)) else list(enrolment)
    *known, asked = (embed(path, embedder, calibration=calibration) for path in (*paths, test))
    cohort = getattr(embedder, "cohort", None)
    return verify(known, asked, calibration=calibration, cohort=cohort, prior=prior, threshold=threshold)


def identify(
    test: Utterance,
    database: SpeakerDatabase,
    *,
    calibration: Calibration | None = None,
    cohort: Tensor | None = None,
    prior: float | None = None,
    threshold: float | None = None,
) -> list[Candidate]:
    """Enrolled speakers, best first; the speaker is unknown if the first is not ``accepted``.

    They are ranked by their likelihood ratios, by their scores without a calibration or with a threshold given.

    Raises:
        InputError: nobody is enrolled with this model; the message says which models there are.
    """
    origin = test.embedding.origin
    enrolled = database.enrolled(origin)
    if not enrolled:
        others = ", ".join(f"{count} with {name}" for name, count in database.origins().items()) or "nobody at all"
        raise InputError(f"nobody is enrolled in {database.path} with {origin} ({others}); enrol with this model first")
    scoring = _check_calibration(origin, calibration, cohort)
    candidates = []
    for name, rows in enrolled.items():
        embeddings = [row.embedding for row in rows]
        value = score(embeddings, test.embedding, cohort=cohort if scoring == "as-norm" else None)
        seconds = (sum(row.seconds for row in rows), test.seconds)
        limit, _ = _threshold(calibration, prior, threshold, seconds)
        llr = calibration.llr(value, seconds) if calibration else None
        candidates.append(Candidate(name, value, llr, None if limit is None else value >= limit))
    by_ratio = calibration is not None and threshold is None
    return sorted(candidates, key=lambda row: (-(row.llr or 0.0) if by_ratio else 0.0, -row.score, row.speaker))


def shipped_calibration(embedder: Embedder) -> Calibration | None:
    """The calibration that came with the model's file, if one did."""
    values: dict[str, Any] | None = getattr(embedder, "calibration", None)
    if values is None:
        return None
    return Calibration.from_dict({**values, "origin": embedder.origin}, source=embedder.origin)


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


def _check_calibration(origin: str, calibration: Calibration | None, cohort: Tensor | None) -> str:
    if calibration is None:
        return "as-norm" if cohort is not None else "cosine"
    check_same_origin(calibration.origin, origin, what="use this calibration")
    if calibration.scoring not in ("cosine", "as-norm"):
        raise InputError(f"the calibration is of {calibration.scoring} scores, which only evaluations give; calibrate")
    if calibration.scoring == "as-norm" and cohort is None:
        raise InputError("the calibration is of AS-norm scores, which need a cohort; give it, or calibrate on cosines")
    return calibration.scoring


def _against(side: Tensor, cohort: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the highest cosines with the cohort."""
    if cohort.shape[0] < 2:
        raise InputError(f"a cohort of {cohort.shape[0]} speaker(s); at least two needed")
    nearest = (cohort.double() @ side).topk(min(COHORT, cohort.shape[0])).values
    return float(nearest.mean()), max(float(nearest.std()), 1e-6)


def _apart(path: str | Path) -> list[tuple[Waveform, speechlike.Hearing]]:
    """The first two channels with what they sound like, if they differ; else none."""
    if audio.info(path).channels < 2:
        return []
    both = [audio.read_channel(path, number) for number in (0, 1)]
    left, right = (waveform.samples for waveform in both)
    if float((left - right).square().mean()) <= APART * float((left.square() + right.square()).mean()):
        return []
    return [(waveform, speechlike.hear(waveform)) for waveform in both]


def _remarks(
    waveform: Waveform,
    heard: speechlike.Hearing,
    channels: list[tuple[Waveform, speechlike.Hearing]],
    embedder: Embedder,
    calibration: Calibration | None,
) -> list[str]:
    remarks = []
    if waveform.sample_rate < embedder.sample_rate:
        remarks.append(
            f"sampled at {waveform.sample_rate} Hz, {embedder.sample_rate} Hz needed; without the higher frequencies a "
            "voice may not be known again"
        )
    if heard.active < FEW_SPEECH:
        remarks.append(f"only {heard.active:.1f} s of speech; {FEW_SPEECH:.0f} s make a surer decision")
    if (share := audio.clipping_fraction(waveform)) > CLIPPED:
        remarks.append(f"clipped ({100 * share:.1f} % of the samples); record at a lower level")
    if calibration is not None and calibration.scoring == "cosine":
        ratio = two_speaker_llr(waveform, embedder, calibration)
        if ratio is not None and ratio < SUSPICION:
            remarks.append("two speakers suspected; give recordings of one speaker")
        if channels and all(one.likely >= MIN_SPEECH for _, one in channels):
            sides = [embedder.embed(one) for one, _ in channels]
            seconds = (channels[0][1].active, channels[1][1].active)
            if calibration.llr(score(sides[:1], sides[1]), seconds) < SUSPICION:
                remarks.append("two speakers suspected, one in each channel; give the channel of one speaker")
    return remarks


def unlike_speech(embedding: Embedding, cohort: Tensor | None) -> bool:
    """Whether a recording lies farther from the cohort's voices than these lie from each other.

    Compared are means of the ten highest cosines: the recording's with the cohort, and the lowest hundredth of those
    within the cohort, less a fifth, for other microphones. How often music, noise and unseen voices pass is in
    ``recipes/speaker_verification/RESULTS.md``. False without a cohort of at least 50.
    """
    if cohort is None or cohort.shape[0] < 50:
        return False
    voices = cohort.double()
    within = (voices @ voices.T).topk(11).values[:, 1:].mean(1)  # the highest is itself
    found = (voices @ embedding.vector.double()).topk(10).values.mean()
    return bool(found < 0.8 * within.quantile(0.01))


def two_speaker_llr(waveform: Waveform, embedder: Embedder, calibration: Calibration) -> float | None:
    """How well the two most different parts of a recording fit one speaker; None if it is under 8 s long.

    Pieces of 2 s are parted in two groups around the least similar pair; the groups' means are scored like two
    recordings. The search for the worst parting makes the ratio lower than that of two chance halves.
    """
    import torch

    size = round(PIECE * waveform.sample_rate)
    count = min(60, waveform.samples.shape[0] // size)
    if count < 4:
        return None
    pieces = [Waveform(waveform.samples[i * size : (i + 1) * size], waveform.sample_rate) for i in range(count)]
    spoken = [piece for piece in pieces if audio.speech_seconds(piece) >= PIECE / 2]
    if len(spoken) < 4:
        return None
    vectors = torch.stack([embedder.embed(piece).vector for piece in spoken])
    cosines = vectors @ vectors.T
    means = list(vectors[list(divmod(int(cosines.argmin()), len(spoken)))])
    for _ in range(5):
        side = vectors @ means[0] >= vectors @ means[1]
        if min(int(side.sum()), int((~side).sum())) < 2:
            return None
        means = [torch.nn.functional.normalize(vectors[group].mean(0), dim=0) for group in (side, ~side)]
    return calibration.llr(float(means[0] @ means[1]), (PIECE * int(side.sum()), PIECE * int((~side).sum())))
