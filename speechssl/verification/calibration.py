"""From scores to likelihood ratios and decisions: fitted on labelled trials, kept with the model's fingerprint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechssl.checkpoints import names
from speechssl.errors import CheckpointError, InputError
from speechssl.verification import metrics
from speechssl.verification.band import FULL, Band, KnownBands, noise_of, shared, why_undecided
from speechssl.verification.by_cohort import ByCohort
from speechssl.verification.by_seconds import BySeconds
from speechssl.verification.logistic import PRIOR, fit_by_seconds, fit_logistic, fit_weighted, pair

Floats = NDArray[np.float64]
LONGEST = 1000  # characters of what it was fitted on
HALVES = 10  # random halves of the speakers on which it is tried whether the seconds help the others
NOISY = "{} under noise ({:.0f} dB); give one from a quieter place or nearer to the microphone"


@dataclass(frozen=True)
class Calibration:
    """llr = scale * score + offset, perhaps by the seconds of speech as well, and a threshold on scores.

    Args:
        origin: of the embeddings; scores of another model mean something else.
        scale, offset: natural-log likelihood ratio per score; scale > 0.
        threshold: score from which a trial is accepted; with ``by_seconds``, of recordings of typical length.
        threshold_low, threshold_high: interval of the threshold, over speakers.
        false_alarm: rate the threshold was set for; None: where the ratio is 1.
        false_alarm_low, false_alarm_high: interval of the rate that threshold has with other speakers.
        source: what it was fitted on, for the person who asks where a decision comes from.
        scoring: ``"cosine"``, ``"as-norm"`` or ``"plda"``.
        by_seconds: effect of the seconds of speech; None if the ratio depends only on the score.
        by_cohort: what is added to a cosine before all this; None: nothing. Scores and thresholds are with it.
        bands: of the recordings it was fitted on; it says nothing about other lines.
        wider: of the other recording of each trial, where the two came over different lines; None: ``bands`` too.
        part: of the embeddings whose cosine it is for, from a number to before another; None: all of them.
        cautious: nothing is decided where the ratio speaks for one speaker and the score is below the threshold.
        accepts: whether scores from the threshold on are accepted; if not, nothing is decided about them.
        noisy: how many of the two sides are under noise; where some are, it is among ``lines``, and ``bands.snr`` is
            what the noisy side, or the clearer of two noisy ones, needs.
        lines: calibrations for pairs whose bands or noise this one does not know, such as telephone speech.
    """

    origin: str
    scale: float
    offset: float
    threshold: float
    threshold_low: float
    threshold_high: float
    false_alarm: float | None
    false_alarm_low: float
    false_alarm_high: float
    source: str
    scoring: str = "cosine"
    by_seconds: BySeconds | None = None
    by_cohort: ByCohort | None = None
    bands: KnownBands = FULL
    wider: KnownBands | None = None
    part: tuple[int, int] | None = None
    cautious: bool = False
    accepts: bool = True
    noisy: int = 0
    lines: tuple[Calibration, ...] = ()

    def serving(self, enrolment: Sequence[Band | None], test: Band | None) -> tuple[Calibration | None, str]:
        """The calibration that knows recordings of these bands, this or one of ``lines``; None, and why, if none."""
        why, noise = why_undecided(enrolment, test, self.bands), noise_of(enrolment, test)
        noisy = sum(side < self.bands.snr for side in noise)
        if why is None and not noisy:
            return self, ""
        if why is None:
            heard = noise[0] if noisy == 1 else noise[1]
            fitting = [line for line in self.lines if line.noisy == noisy]
            if noisy == 1 and not fitting:
                return self, ""
        else:
            heard, over = noise[1], [line for line in self.lines if not line.noisy]
            fitting = [line for line in over if shared(enrolment, test, line.bands, line.wider)]
        for line in fitting:
            if heard >= line.bands.snr:
                return line, ""
        said = NOISY.format("both recordings are" if noisy == 2 else "a recording is", heard)
        return None, why if why and noisy < 2 else said

    def decide(self, score: float, limit: float, llr: float) -> bool | None:
        """Whether a score is accepted at a threshold; None where it is too close to call."""
        if score >= limit:
            return True if self.accepts else None
        return None if self.cautious and llr > 0 else False

    def llr(self, score: float, seconds: tuple[float, float] | None = None) -> float:
        """Natural-log likelihood ratio of a score, of recordings with so many seconds of speech; None: typical ones."""
        return float(self.llrs([score], None if seconds is None else [seconds])[0])

    def llrs(self, scores: ArrayLike, seconds: ArrayLike | None = None) -> Floats:
        """Natural-log likelihood ratios (N,) of scores (N,), seconds of speech (N, 2); None: of typical length."""
        scale, offset = self._at(seconds)
        return scale * np.asarray(scores, np.float64) + offset

    def typical(self, scores: ArrayLike, seconds: ArrayLike | None = None) -> Floats:
        """Scores (N,) that recordings of typical length need for the same ratio: those that ``threshold`` is for."""
        if self.by_seconds is None or seconds is None:
            return np.asarray(scores, np.float64)
        return (self.llrs(scores, seconds) - self.offset) / self.scale

    def score_at(self, llr: float, seconds: tuple[float, float] | None = None) -> float:
        """Score at which the likelihood ratio is this."""
        scale, offset = self._at(None if seconds is None else [seconds])
        return float(np.ravel((llr - offset) / scale)[0])

    def threshold_at(self, seconds: tuple[float, float] | None = None) -> float:
        """``threshold`` for recordings with so many seconds of speech."""
        if self.by_seconds is None or seconds is None:
            return self.threshold
        return self.score_at(self.llr(self.threshold), seconds)

    def _at(self, seconds: ArrayLike | None) -> tuple[Floats, Floats]:
        """Scale and offset, each () or (N,)."""
        if self.by_seconds is None or seconds is None:
            return np.asarray(self.scale), np.asarray(self.offset)
        scale, offset = self.by_seconds.slopes(seconds)
        return self.scale + scale, self.offset + offset

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``from_dict`` is the way back."""
        return dataclasses.asdict(self)

    def _check_types(self) -> None:
        for part in dataclasses.fields(self):
            value = getattr(self, part.name)
            if part.type == "str":
                names.text_field(value, part.name, longest=LONGEST)
            elif part.type == "float" or (part.type == "float | None" and value is not None):
                wrong = isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value)
                if wrong:
                    raise ValueError(f"{part.name} is {value!a:.60}; a number needed")

    @staticmethod
    def from_dict(values: dict[str, Any], *, source: str) -> Calibration:
        """Read a calibration as ``as_dict`` gives it.

        Raises:
            CheckpointError: a value is missing, unknown or of another type.
        """
        try:
            slopes = values.get("by_seconds")
            known = None if slopes is None else BySeconds(**{name: pair(value) for name, value in slopes.items()})
            # calibrations written before bands were measured are of full-band recordings
            ends = values.get("bands")
            bands = KnownBands(**{name: float(value) for name, value in ends.items()}) if ends else FULL
            wider = values.get("wider")
            parts: dict[str, Any] = {"by_seconds": known, "bands": bands}
            near = values.get("by_cohort")
            parts["by_cohort"] = near and ByCohort(**{name: pair(value) for name, value in near.items()})
            parts["wider"] = KnownBands(**wider) if wider else None
            part = values.get("part")
            parts["part"] = (int(part[0]), int(part[1])) if part else None
            lines = [{**line, "origin": values["origin"], "lines": ()} for line in values.get("lines", ())]
            parts["lines"] = tuple(Calibration.from_dict(line, source=source) for line in lines)
            found = Calibration(**{**values, **parts})
            found._check_types()
            least = found.scale + (known.least_scale() if known else 0.0)
            good = min(least, found.scale) > 0 and all(
                math.isfinite(x) for x in (least, found.scale, found.offset, found.threshold)
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{source} holds a damaged calibration ({error}); calibrate again") from error
        if not good:
            raise CheckpointError(f"{source} holds a calibration without finite, positive scale; calibrate again")
        return found


def probability(llr: float, prior: float) -> float:
    """Probability of one speaker at a prior in (0, 1): Bayes' rule."""
    logit = llr - metrics.bayes_threshold(prior)
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def calibrate(
    scores: ArrayLike,
    is_target: ArrayLike,
    enrolment_speakers: Any,
    test_speakers: Any,
    *,
    origin: str,
    source: str,
    false_alarm: float | None = None,
    scoring: str = "cosine",
    prior: float = PRIOR,
    seconds: ArrayLike | None = None,
    bands: KnownBands = FULL,
    by_cohort: ByCohort | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Calibration:
    """Fit the ratio and the threshold, with intervals over speakers.

    The threshold's interval is from resampling the speakers. That of its false-alarm rate is what speakers it was not
    set on would show: the threshold is set on a random half of the speakers and its rate seen on the others, ``draws``
    times. It holds for a test with half as many speakers as there are here, or more; under four speakers it is from
    resampling too, and too narrow.

    Args:
        false_alarm: rate the threshold is for; None puts it where the likelihood ratio is 1.
        prior: of ``fit_logistic``.
        seconds: of speech of both sides (N, 2); the ratio then depends on them, if that lowers the cost for speakers
            who were not in the fit (``seconds_help``). Both intervals are those of scores of recordings of typical
            length, and take the slopes as they are.
        bands: of the recordings of the trials (``band.known_bands``).
        by_cohort: what was added to the scores by the cohort.
        draws, seed: of both intervals.
    Raises:
        InputError: as ``fit_logistic``; fewer non-target trials than the rate needs (1 / rate).
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(is_target).astype(bool)
    speakers = (enrolment_speakers, test_speakers)
    by_seconds = None
    if seconds is not None and seconds_help(values, labels, *speakers, seconds, prior=prior, seed=seed):
        scale, offset, by_seconds = fit_by_seconds(values, labels, seconds, prior=prior)
        slopes, shifts = by_seconds.slopes(seconds)
        values = ((scale + slopes) * values + shifts) / scale  # as of recordings of typical length
    else:
        scale, offset = fit_logistic(values, labels, prior=prior)
    _check_enough(false_alarm, int((~labels).sum()))

    def threshold_of(curve: metrics.Roc) -> float:
        return _even_threshold(curve, prior) if false_alarm is None else _rate_threshold(curve, false_alarm)

    sides = (values, labels, *speakers)
    interval = metrics.bootstrap(threshold_of, *sides, draws=draws, seed=seed)
    threshold = -offset / scale if false_alarm is None else interval.value
    low, high = _realised(threshold_of, threshold, *sides, draws=draws, seed=seed)
    return Calibration(
        origin=origin, scale=scale, offset=offset,
        threshold=threshold, threshold_low=min(interval.low, threshold), threshold_high=max(interval.high, threshold),
        false_alarm=false_alarm, false_alarm_low=low, false_alarm_high=high,
        source=source, scoring=scoring, by_seconds=by_seconds, by_cohort=by_cohort, bands=bands,
    )  # fmt: skip


def _check_enough(false_alarm: float | None, others: int) -> None:
    needed = 0 if false_alarm is None else math.ceil(1 / max(false_alarm, 1e-9))
    if needed > others:
        raise InputError(
            f"a false-alarm rate of {false_alarm} needs {needed} non-target trials, {others} are there; give more "
            "recordings or a higher rate"
        )


def seconds_help(
    scores: ArrayLike,
    is_target: ArrayLike,
    enrolment_speakers: Any,
    test_speakers: Any,
    seconds: ArrayLike,
    *,
    prior: float = PRIOR,
    seed: int = 0,
) -> bool:
    """Whether ratios that know the seconds of both sides (N, 2) cost less for speakers who were not in the fit.

    Fitted with and without on random halves of the speakers, ten times; the mean cost of both, at the prior, among the
    other halves decides. No if the speakers are too few for that.
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(is_target).astype(bool)
    known = np.asarray(seconds, np.float64)
    gains = []
    for here, there in _halves(enrolment_speakers, test_speakers, HALVES, [seed, 2]):
        try:
            scale, offset = fit_logistic(values[here], labels[here], prior=prior)
            finer, base, slopes = fit_by_seconds(values[here], labels[here], known[here], prior=prior)
            scales, offsets = slopes.slopes(known[there])
            plain = _cost(scale * values[there] + offset, labels[there], prior)
            gains.append(plain - _cost((finer + scales) * values[there] + base + offsets, labels[there], prior))
        except InputError:  # no targets, or no others, in one of the halves
            continue
    return len(gains) >= HALVES / 2 and float(np.mean(gains)) > 0


def _cost(llrs: Floats, labels: NDArray[np.bool_], prior: float) -> float:
    """What ``fit_logistic`` minimises, in nats."""
    metrics.roc(llrs, labels)
    logits = llrs - metrics.bayes_threshold(prior)
    missed, alarmed = np.logaddexp(0, -logits[labels]).mean(), np.logaddexp(0, logits[~labels]).mean()
    return float(prior * missed + (1 - prior) * alarmed)


def _halves(
    enrolment_speakers: Any, test_speakers: Any, count: int, seed: list[int]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Trials (N,) among a random half of the speakers, and those among the others, ``count`` times.

    None of fewer than four speakers: half of them would have no trials of two.
    """
    both = np.concatenate([np.asarray(enrolment_speakers), np.asarray(test_speakers)])
    names, ids = np.unique(both, return_inverse=True)
    one, two = np.split(ids, 2)
    rng = np.random.default_rng(seed)
    for _ in range(count if len(names) >= 4 else 0):
        first = np.zeros(len(names), bool)
        first[rng.permutation(len(names))[: len(names) // 2]] = True
        yield first[one] & first[two], ~first[one] & ~first[two]


def _realised(
    threshold_of: Callable[[metrics.Roc], float],
    threshold: float,
    values: Floats,
    labels: NDArray[np.bool_],
    enrolment_speakers: Any,
    test_speakers: Any,
    *,
    draws: int,
    seed: int,
) -> tuple[float, float]:
    """Bounds within which 95 % of the false-alarm rates of other speakers lie."""
    rates = []
    for here, others in _halves(enrolment_speakers, test_speakers, draws, [seed, 1]):
        there = others & ~labels
        if labels[here].any() and not labels[here].all() and there.any():
            limit = threshold_of(metrics.roc(values[here], labels[here]))
            rates.append(float((values[there] >= limit).mean()))
    if len(rates) < 2:
        sides = (values, labels, enrolment_speakers, test_speakers)
        found = metrics.bootstrap(lambda c: c.rates_at(threshold)[1], *sides, draws=draws, seed=seed)
        return found.low, found.high
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def _rate_threshold(curve: metrics.Roc, false_alarm: float) -> float:
    """Lowest threshold that keeps the rate; just above all scores if none among them does."""
    found = curve.threshold_at(false_alarm)
    return found if math.isfinite(found) else float(np.nextafter(curve.thresholds[-2], np.inf))


def _even_threshold(curve: metrics.Roc, prior: float) -> float:
    """Score at which the likelihood ratio fitted to a ``Roc`` is 1; scores are put into 2000 bins for speed."""
    counts = np.diff(np.stack([curve.targets, curve.nontargets]))  # (2, D)
    starts = np.arange(0, counts.shape[1], max(1, counts.shape[1] // 2000))
    target, nontarget = np.add.reduceat(counts, starts, axis=1)
    total = target + nontarget
    sums = np.add.reduceat(counts.sum(0) * curve.thresholds[:-1], starts)
    keep = total > 0
    shares = target[keep] / target.sum(), nontarget[keep] / nontarget.sum()
    try:
        scale, offset = fit_weighted(
            sums[keep] / total[keep], *shares, 0.01 / min(target.sum(), nontarget.sum()), prior
        )
    except InputError:
        # the scores do not tell the drawn speakers apart: nobody is accepted
        return float(np.nextafter(curve.thresholds[-2], np.inf))
    return -offset / scale
