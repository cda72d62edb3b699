"""The voice that is wanted: recordings or stored voices, their consent, their frames, and whether a result passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechssl import checkpoints
from speechssl.app.handlers import recordings
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused, blaming
from speechssl.app.state import Models, Settings, Store
from speechssl.checkpoints.names import some
from speechssl.errors import InputError
from speechssl.verification import decisions
from speechssl.verification.decisions import Decision, Utterance
from speechssl.voices.clips import clip, clips
from speechssl.voices.consent import STATEMENT, Consent
from speechssl.voices.matching_set import MatchingSet, Reference

BUNDLED = "bundled: "  # before the names of the voices that ship with the package


@dataclass(frozen=True)
class Target:
    """The wanted voice.

    Args:
        files: recordings of it; or
        voices: names of stored or bundled voices (``"bundled: ada"``), each with its share.
    """

    files: tuple[Path, ...] = ()
    voices: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """A name for results."""
        return "-".join(plain(name) for name, _ in self.voices) if self.voices else self.files[0].stem

    @property
    def spoken(self) -> str:
        """The voice as a sentence names it."""
        named = [plain(name) for name, _ in self.voices]
        return " and ".join(name[:1].upper() + name[1:] for name in named) or "the recordings"

    @property
    def spoken_voice(self) -> str:
        """Whose voice a result has, as the beginning of a sentence."""
        if len(self.voices) > 1:
            return f"A blend of {self.spoken}"
        return f"{self.spoken}'s voice" if self.voices else "The voice of the recordings"

    @property
    def parts(self) -> list[str]:
        """What the name leaves out, in a few words: how many recordings, how much of each voice."""
        if len(self.voices) > 1:
            return [f"{self.voices[-1][1] / sum(share for _, share in self.voices):.0%} of the second voice"]
        return [f"{len(self.files)} recordings"] if len(self.files) > 1 else []

    @property
    def audible(self) -> list[Path]:
        """Recordings of the target that are at hand: those given, and those of bundled voices."""
        bundled = [clip(plain(name)).path for name, _ in self.voices if is_bundled(name)]
        return [*self.files, *bundled]


def is_bundled(name: str) -> bool:
    """Whether the voice of this name ships with the package."""
    return name.startswith(BUNDLED)


def plain(name: str) -> str:
    """The name of a stored or bundled voice as people say it."""
    return name.removeprefix(BUNDLED)


def names(store: Store, user: str = "") -> list[str]:
    """List the stored voices of a user, then the bundled ones."""
    return [voice.name for voice in store.library(user).list()] + sorted({f"{BUNDLED}{one.voice}" for one in clips()})


def named(store: Store, user: str, text: str) -> Target:
    """The stored or bundled voice of this name, or several with weights: ``"ada=0.7, eric=0.3"``.

    Raises:
        Refused: a weight that is no number, or an impossible name.
    """
    found = []
    for one in text.split(",") if text.strip() else []:
        name, _, share = one.strip().partition("=")
        try:
            weight = float(share) if share else 1.0
        except ValueError:
            raise Refused("target", f"the weight of the voice in {one!r} is no number; write NAME=0.7") from None
        with blaming("voice"):
            known = is_bundled(name) or name in store.library(user)
        found.append((name if known else f"{BUNDLED}{name}", weight))
    return Target(voices=tuple(found))


def check(settings: Settings, target: Target) -> None:
    """Refuse a target without a voice, or with more recordings than are allowed.

    Raises:
        Refused: that, for the field ``target``.
    """
    if not target.files and not target.voices:
        raise Refused("target", "Whose voice? Give recordings of it, or choose a stored voice.")
    if len(target.files) > settings.references:
        raise Refused("target", f"{len(target.files)} recordings; at most {settings.references} here.")
    with blaming("target"):
        recordings.check(target.files, most=settings.reference_seconds, what="the references")


def check_consent(settings: Settings, consent: Consent | None) -> None:
    """Refuse to go on without an attestation, if this service needs one.

    Raises:
        Refused: that, for the field ``consent``.
    """
    if consent is None and settings.consent:
        raise Refused("consent", f"Attest first: “{STATEMENT}” Give your name and what the voice is used for.")


def consents_of(
    settings: Settings, store: Store, user: str, target: Target, consent: Consent | None
) -> list[dict[str, Any]]:
    """Consent records for the receipt.

    Raises:
        Refused: consent is required and missing.
    """
    if target.files:
        given = [checkpoints.sha256_of(path) for path in target.files]
        return [consent.of(given).as_dict()] if consent else _without_consent(settings, given)
    found: list[dict[str, Any]] = []
    lacking: list[Reference] = []
    for name, _ in target.voices:
        if is_bundled(name):
            found.append({"voice": name, "statement": "a synthetic voice that ships with speechssl, CC0"})
            continue
        with blaming("target"):
            stored = store.library(user).show(name)
        found += [one.as_dict() for one in stored.consents if one.recordings]
        lacking += stored.uncovered
    if consent is not None:
        return [*found, consent.of(one.sha256 for one in lacking).as_dict()]
    if lacking:
        check_covered(settings, lacking)
        found += _without_consent(settings, [one.sha256 for one in lacking])
    return found


def _without_consent(settings: Settings, recordings: list[str]) -> list[dict[str, Any]]:
    check_consent(settings, None)
    return [{"statement": "not asked for: this service is configured without consent", "recordings": recordings}]


def check_covered(settings: Settings, lacking: Sequence[Reference]) -> None:
    """Refuse a stored voice with recordings that nobody's consent covers, if this service needs consent.

    Raises:
        Refused: that, for the field ``consent``; the recordings are named.
    """
    if lacking and settings.consent:
        whose = some([one.name for one in lacking])
        raise Refused(
            "consent",
            f"Attest first: “{STATEMENT}” Give your name and what the voice is used for. Nobody attested for {whose}.",
        )


def encoded(models: Models, store: Store, job: Job, target: Target, model: str) -> list[tuple[MatchingSet, float]]:
    """The voices of a target and their shares; recordings are encoded once.

    Raises:
        Refused: a voice that cannot be used, for the field ``target``.
    """
    with blaming("target"):
        system = models.system(model)
        if not target.files:
            return [(stored(models, store, job.session.user, name, model), share) for name, share in target.voices]
        key = ("voice", model, tuple(checkpoints.sha256_of(path) for path in target.files))
        voice = models.cache.get(key, lambda: system.matching_set(target.files), _bytes_of)
        return [(voice, 1.0)]


def stored(models: Models, store: Store, user: str, name: str, model: str) -> MatchingSet:
    """Load a voice of the user's library, or encode a bundled one once."""
    if not is_bundled(name):
        return store.library(user).load(name)
    system = models.system(model)
    return models.cache.get(
        ("bundled", model, name), lambda: system.matching_set([clip(plain(name)).path], name=plain(name)), _bytes_of
    )


def _bytes_of(voice: MatchingSet) -> int:
    parts = [voice.keys, voice.values] if voice.has_own_values else [voice.keys]
    return sum(part.numel() * part.element_size() for part in parts)


def verify(models: Models, store: Store, user: str, target: Target, result: Path) -> Decision | str:
    """Decide whether a result passes as the target; without a decision, say why."""
    embedder = models.embedder()
    try:
        # remarks begin with this name
        test = dataclasses.replace(decisions.embed(result, embedder), name="the result")
    except InputError:
        return "The result has less than a second of speech."
    try:
        enrolled = _enrolled(models, store, user, target)
    except InputError:
        return "A recording of the voice has less than a second of speech."
    if not enrolled:
        return "No recording of this voice is kept to compare the result with."
    calibration, cohort = store.calibration(embedder, user), embedder.cohort
    try:
        found = decisions.verify(enrolled, test, calibration=calibration, cohort=cohort)
    except InputError as error:
        return str(error)
    # what was made here is neither music nor noise once it passes as a voice
    kept = tuple(one for one in found.remarks if not (found.accepted and one.endswith(decisions.UNLIKE)))
    return dataclasses.replace(found, remarks=kept)


def _enrolled(models: Models, store: Store, user: str, target: Target) -> list[Utterance]:
    if files := target.audible:
        return [dataclasses.replace(_utterance(models, file), name="", remarks=()) for file in files]
    library = store.library(user)
    with library.prints() as prints:
        known = prints.enrolled(models.embedder().origin)
    rows = []
    for name, _ in target.voices:
        # whoever had this name before is somebody else
        if name in known and name in library:
            kept = {one.sha256 for one in library.show(name).references}
            rows += [row for row in known[name] if row.sha256 in kept]
    return [decisions.Utterance("", row.embedding, row.seconds, row.sha256, band=row.band) for row in rows]


def _utterance(models: Models, path: Path) -> Utterance:
    key = ("utterance", checkpoints.sha256_of(path))
    return models.cache.get(key, lambda: decisions.embed(path, models.embedder()), lambda _: 4096)


def decision_facts(decision: Decision | str) -> dict[str, Any] | None:
    """The numbers of a decision, JSON-able; None without a decision."""
    if isinstance(decision, str):
        return None
    return {
        "decision": decision.decision,
        "accepted": decision.accepted,
        "score": round(decision.score, 4),
        "threshold": None if decision.threshold is None else round(decision.threshold, 4),
        "probability": None if decision.probability is None else round(decision.probability, 4),
        "model": decision.origin,
    }
