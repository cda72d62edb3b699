"""Stored voices: add, list, describe, hear, rename, take apart, export, import; recordings are measured before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechssl import audio
from speechssl.app.handlers import recordings, targets
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused, blaming
from speechssl.app.sessions import Session
from speechssl.app.state import Models, Settings, Store
from speechssl.errors import InputError
from speechssl.receipts import contents, signing
from speechssl.verification import decisions, speech_classifier
from speechssl.verification.database import Enrolment
from speechssl.voices import VoiceInfo, check_name, preview, reference_report
from speechssl.voices.clips import clip, clips
from speechssl.voices.consent import Consent
from speechssl.voices.notes import Notes
from speechssl.voices.reference_report import ReferenceReport


def listed(store: Store, user: str = "") -> list[dict[str, Any]]:
    """List the stored voices of a user."""
    return [_facts(info) for info in store.library(user).list()]


def _facts(info: VoiceInfo) -> dict[str, Any]:
    """What is known of a stored voice, without paths of this machine."""
    return {
        "name": info.name,
        "seconds": round(info.seconds, 1),
        "frames": info.frames,
        "model": info.key_origin,
        "megabytes": round(info.megabytes, 2),
        "created": info.created,
        "recordings": [
            {"name": one.name, "seconds": round(one.seconds, 1), "f0": round(one.pitch.hertz), "sha256": one.sha256}
            for one in info.references
        ],
        "consents": [one.as_dict() for one in info.consents],
        "uncovered": [one.name for one in info.uncovered],
        "description": info.notes.description,
        "tags": list(info.notes.tags),
        "settings": dict(info.notes.settings),
        "quality": quality(info.notes),
    }


def bundled() -> list[dict[str, Any]]:
    """What a card says of the voices that ship with the package."""
    return [
        {"name": f"{targets.BUNDLED}{one.voice}", "seconds": round(one.seconds, 1), "tags": ["bundled"],
         "description": "A synthetic voice that ships with speechssl."}
        for one in clips() if one.role == "reference"
    ]  # fmt: skip


def quality(notes: Notes) -> dict[str, str]:
    """How good the recordings of a voice were found: ``grade`` (good, fair, poor, or unknown), and the reason."""
    seconds = notes.speech_seconds
    if not seconds:
        return {"grade": "unknown", "reason": "its recordings were not measured when they were stored"}
    amount = f"{seconds:.0f} s of speech"
    more = f"{amount}; {reference_report.ENOUGH_SPEECH:.0f} s or more would help"
    few = (more,) if seconds < reference_report.ENOUGH_SPEECH else ()
    poor = seconds < reference_report.LITTLE_SPEECH or bool(notes.remarks)
    grade = "poor" if poor else "fair" if few else "good"
    return {"grade": grade, "reason": "; ".join((*few, *notes.remarks)) or f"{amount} without noise or clipping"}


def in_words(settings: Mapping[str, str]) -> str:
    """Settings of a conversion as a person reads them."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def add(
    models: Models,
    store: Store,
    settings: Settings,
    job: Job,
    name: str,
    files: Sequence[Path],
    consent: Consent | None,
    *,
    model: str = "tiny",
) -> dict[str, Any]:
    """Make a voice of recordings, or add recordings to a stored voice.

    Raises:
        Refused: consent is missing, the name is bad, or a recording cannot be used.
    """
    name = name.strip()
    with blaming("name"):
        check_name(name)
        if targets.is_bundled(name):
            raise InputError(f"{name!r}: choose another name")
    if not files:
        raise Refused("files", "Give at least one recording of the voice.")
    targets.check_consent(settings, consent)
    with blaming("files"):
        recordings.check(files, most=settings.reference_seconds, what="the recordings")
        job(0.1, "loading the model")
        system = models.system(model)
        job(0.3, "encoding the recordings")
        library = store.library(job.session.user)
        notes = Notes().measured(report(settings, files))
        info = library.add(name, list(files), system.encoder, system.value_encoder, consent=consent, notes=notes)
        job(0.8, "measuring the voice")
        _remember_prints(models, store, job.session.user, name, files)
    return _facts(info)


def _remember_prints(models: Models, store: Store, user: str, name: str, files: Sequence[Path]) -> None:
    """Keep embeddings, so that results can be verified; recordings with too little speech are left out."""
    rows = []
    for file in files:
        try:
            one = decisions.embed(file, models.embedder())
        except InputError:
            continue
        rows.append(Enrolment(one.embedding, file.name, one.sha256, one.seconds, one.band))
    if rows:
        with store.library(user).prints() as prints:
            prints.enrol(name, rows)


def remove(store: Store, user: str, name: str, recording: str = "") -> None:
    """Delete a voice, or one of its recordings.

    Raises:
        Refused: no such voice or recording.
    """
    with blaming("name"):
        store.library(user).remove(name, recording.strip() or None)


def note(store: Store, user: str, name: str, change: Callable[[Notes], Notes]) -> dict[str, Any]:
    """Change the description, the tags or the settings of a voice.

    Raises:
        Refused: no such voice, or notes that cannot be kept.
    """
    with blaming("name"):
        return _facts(store.library(user).note(name, change))


def tags_in(text: str) -> list[str]:
    """Tags that a person wrote with commas between them."""
    return text.split(",")


def settings_in(text: str) -> dict[str, str]:
    """Settings that a client wrote as JSON.

    Raises:
        Refused: no object.
    """
    try:
        return dict(json.loads(text or "{}"))
    except (ValueError, TypeError, RecursionError):
        raise Refused("settings", f'{text:.40} is no JSON object such as {{"pitch": "-2"}}') from None


def sample(models: Models, store: Store, settings: Settings, job: Job, name: str) -> Path:
    """A few seconds of a voice: a recording of a bundled one; a stored one, which keeps none, is vocoded again.

    Raises:
        Refused: no such voice, one that nobody's consent covers if this service needs consent, or one of a model that
            is not offered here.
    """
    if targets.is_bundled(name):
        return clip(targets.plain(name)).path
    with blaming("name"):
        library = store.library(job.session.user)
        info = library.show(name)
        targets.check_covered(settings, info.uncovered)
        job(0.1, "loading the model")
        system = models.system(info.key_origin.partition("/")[0])
        sound = models.cache.get(
            ("sample", info.name, info.created, str(info.path)),
            lambda: recordings.marked(settings, preview.preview(library.load(name), system.vocoder)),
            lambda made: made.samples.numel() * 4,
        )
    path = job.session.place(f"{name}-sample", ".wav")
    audio.write(path, sound)
    signing.issue(path, contents.of_piece({"sample": name, "seconds": round(sound.seconds, 3)}), store.signer())
    return path


def rename(store: Store, user: str, name: str, new: str) -> dict[str, Any]:
    """Give a voice another name.

    Raises:
        Refused: no such voice, or the new name is bad or taken.
    """
    with blaming("name"):
        info = store.library(user).rename(name, new.strip())
    return _facts(info)


def export(store: Store, settings: Settings, session: Session, name: str) -> Path:
    """Copy a voice to a file to download.

    Raises:
        Refused: no such voice, or one with recordings that nobody's consent covers, if this service needs consent.
    """
    with blaming("name"):
        targets.check_covered(settings, store.library(session.user).show(name).uncovered)
        place = session.place(name, ".safetensors")
        return store.library(session.user).export(name, place)


def take_in(store: Store, user: str, file: Path | None, name: str = "") -> dict[str, Any]:
    """Import a voice file after checking every byte of it.

    Raises:
        Refused: no voice file, a damaged one, or the name is bad or taken.
    """
    if file is None:
        raise Refused("file", "Give a voice file (.safetensors) that speechssl exported.")
    with blaming("file"):
        return _facts(store.library(user).import_(file, name.strip() or None))


def report(settings: Settings, files: Sequence[Path]) -> ReferenceReport:
    """Measure recordings that might become references.

    Raises:
        Refused: no recording, an unreadable one, or too long ones.
    """
    if not files:
        raise Refused("target", "Give at least one recording.")
    with blaming("target"):
        recordings.check(files, most=settings.reference_seconds, what="the references")
        waveforms = [audio.read_mono(file, 16_000) for file in files]
        return reference_report.report(waveforms, names=audio.told_apart(files))


def source_remarks(settings: Settings, files: Sequence[Path]) -> tuple[str, ...]:
    """What to know of a source before it is converted; nothing if it is clean speech.

    Raises:
        Refused: an unreadable or a too long one.
    """
    with blaming("source"):
        recordings.check(files, most=settings.source_seconds, what="the source")
        if remark := speech_classifier.remark_on(files[0]):
            return (remark,)
        return reference_report.report([audio.read_mono(files[0], 16_000)]).sound_remarks
