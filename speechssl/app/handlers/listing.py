"""Voices: make, list, rename, take apart, give away, take in; and who is enrolled."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl.app.handlers.conversions import BUNDLED, check_recordings
from speechssl.app.jobs import Tell
from speechssl.app.sessions import Session, harmless
from speechssl.app.state import Refused, Workshop, field
from speechssl.errors import InputError, SpeechSSLError
from speechssl.verification import decisions
from speechssl.verification.database import Enrolment
from speechssl.voices import reference_report
from speechssl.voices.consent import STATEMENT, Consent

if TYPE_CHECKING:
    from speechssl.verification.decisions import Decision
    from speechssl.voices import VoiceInfo
    from speechssl.voices.reference_report import ReferenceReport


def names(shop: Workshop, user: str = "") -> list[str]:
    """Stored voices, then those that ship with the package."""
    from speechssl.voices.clips import clips

    bundled = sorted({f"{BUNDLED}{clip.voice}" for clip in clips()})
    return [voice.name for voice in shop.library(user).list()] + bundled


def voices(shop: Workshop, user: str = "") -> list[dict[str, Any]]:
    """The stored voices."""
    return [voice_facts(info) for info in shop.library(user).list()]


def voice_facts(info: VoiceInfo) -> dict[str, Any]:
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
    }


def add_voice(
    shop: Workshop,
    session: Session,
    name: str,
    files: Sequence[Path],
    leave: Consent | None,
    *,
    model: str = "tiny",
    tell: Tell = lambda share, text: None,
) -> dict[str, Any]:
    """Make a voice of recordings, or add recordings to it.

    Raises:
        Refused: no leave, a bad name, recordings that cannot be used.
    """
    from speechssl.voices import check_name

    with field("name"):
        check_name(name.strip())
        if name.startswith(BUNDLED):
            raise InputError(f"{name!r}: choose another name")
    if not files:
        raise Refused("files", "Give at least one recording of the voice.")
    if leave is None and shop.settings.consent:
        raise Refused("consent", f"Attest first: “{STATEMENT}” — with your name and what it is for.")
    with shop.job(session, tell) as step, field("files"):
        check_recordings(shop, list(files), most=shop.settings.reference_seconds, what="the recordings")
        step(0.1, "loading the model")
        system = shop.system(model)
        step(0.3, "encoding the recordings")
        with shop.library_lock:
            library = shop.library(session.user)
            info = library.add(name.strip(), list(files), system.encoder, system.value_encoder, consent=leave)
        step(0.8, "measuring the voice")
        _remember_print(shop, session.user, name.strip(), files)
    return voice_facts(info)


def _remember_print(shop: Workshop, user: str, name: str, files: Sequence[Path]) -> None:
    """Keep embeddings, so that results can be verified; recordings with too little speech are left out."""
    rows = []
    for file in files:
        try:
            one = decisions.embed(file, shop.embedder())
        except InputError:
            continue
        rows.append(Enrolment(one.embedding, file.name, one.sha256, one.seconds))
    if rows:
        with shop.prints(user) as store:
            store.enrol(name, rows)


def remove_voice(shop: Workshop, user: str, name: str, recording: str = "") -> None:
    """Delete a voice, or one of its recordings.

    Raises:
        Refused: no such voice or recording.
    """
    with field("name"), shop.library_lock:
        shop.library(user).remove(name, recording.strip() or None)
    if not recording.strip():
        _forget_print(shop, user, name)


def _forget_print(shop: Workshop, user: str, name: str) -> None:
    with shop.prints(user) as store:
        if any(row["speaker"] == name for row in store.speakers()):
            store.remove(name)


def rename_voice(shop: Workshop, user: str, name: str, new: str) -> dict[str, Any]:
    """Give a voice another name.

    Raises:
        Refused: no such voice, or a name that is bad or taken.
    """
    with field("name"), shop.library_lock:
        library = shop.library(user)
        path = library.show(name).path
        info = library.import_(path, new.strip())
        library.remove(name)
    with shop.prints(user) as store:
        if known := store.enrolled(shop.embedder().origin).get(name, []):
            store.enrol(new.strip(), known)
    _forget_print(shop, user, name)
    return voice_facts(info)


def export_voice(shop: Workshop, session: Session, name: str) -> Path:
    """A copy of a voice to download.

    Raises:
        Refused: no such voice.
    """
    with field("name"):
        place = session.place(name, ".safetensors")
        return shop.library(session.user).export(name, place)


def import_voice(shop: Workshop, user: str, file: Path | None, name: str = "") -> dict[str, Any]:
    """Take in a voice file, after checking every byte of it.

    Raises:
        Refused: no voice file, damaged, or a name that is bad or taken.
    """
    if file is None:
        raise Refused("file", "Give a voice file (.safetensors) that speechssl exported.")
    with field("file"), shop.library_lock:
        return voice_facts(shop.library(user).import_(file, name.strip() or None))


def report(shop: Workshop, files: Sequence[Path]) -> ReferenceReport:
    """What recordings are worth as references.

    Raises:
        Refused: one that cannot be read, or too long.
    """
    from speechssl import audio

    if not files:
        raise Refused("target", "Give at least one recording.")
    with field("target"):
        check_recordings(shop, list(files), most=shop.settings.reference_seconds, what="the references")
        waveforms = [audio.read_mono(file, 16_000) for file in files]
        return reference_report.report(waveforms, names=[file.name for file in files])


# ---- who is speaking


def verify(
    shop: Workshop, session: Session, enrolment: Sequence[Path], test: Path | None, *, tell: Tell = lambda *_: None
) -> Decision:
    """Whether the test is by the speaker of the others.

    Raises:
        Refused: nothing to compare, or a recording that cannot be used.
    """
    if not enrolment:
        raise Refused("enrolment", "Give one or more recordings of the speaker.")
    if test is None:
        raise Refused("test", "Give the recording that is asked about.")
    embedder, calibration = shop.embedder(), shop.calibration(session.user)
    with shop.job(session, tell) as step:
        known = []
        with field("enrolment"):
            check_recordings(shop, list(enrolment), most=shop.settings.reference_seconds, what="the recordings")
            for number, path in enumerate(enrolment):
                step(0.1 + 0.6 * number / len(enrolment), f"listening to {path.name}")
                known.append(_named(decisions.embed(path, embedder, calibration=calibration), path))
        with field("test"):
            check_recordings(shop, [test], most=shop.settings.source_seconds, what="the recording")
            step(0.8, f"listening to {test.name}")
            asked = _named(decisions.embed(test, embedder, calibration=calibration), test)
        return decisions.verify(known, asked, calibration=calibration, cohort=embedder.cohort)


def enrol(shop: Workshop, session: Session, name: str, files: Sequence[Path]) -> dict[str, Any]:
    """Add recordings to a speaker, all or none.

    Raises:
        Refused: no name, no recordings, or one that cannot be used.
    """
    if not name.strip() or len(name) > 100:
        raise Refused("name", "Give the speaker's name, up to 100 characters.")
    if not files:
        raise Refused("files", "Give one or more recordings of the speaker.")
    with shop.job(session), field("files"):
        check_recordings(shop, list(files), most=shop.settings.reference_seconds, what="the recordings")
        found = [decisions.embed(path, shop.embedder()) for path in files]
        rows = [
            Enrolment(one.embedding, path.name, one.sha256, one.seconds) for one, path in zip(found, files, strict=True)
        ]
        with shop.speakers(session.user) as store:
            new = store.enrol(name.strip(), rows)
    return {"speaker": name.strip(), "new": new, "known": len(rows) - new, "model": shop.embedder().origin}


def speakers(shop: Workshop, user: str = "") -> list[dict[str, Any]]:
    """Who is enrolled."""
    with shop.speakers(user) as store:
        return store.speakers()


def remove_speaker(shop: Workshop, user: str, name: str) -> int:
    """Forget a speaker.

    Raises:
        Refused: nobody of that name.
    """
    with field("name"), shop.speakers(user) as store:
        return store.remove(name)


def identify(shop: Workshop, session: Session, test: Path | None) -> dict[str, Any]:
    """Which enrolled speaker it is, or nobody.

    Raises:
        Refused: no recording, one that cannot be used, or nobody enrolled.
    """
    if test is None:
        raise Refused("test", "Give the recording that is asked about.")
    calibration = shop.calibration(session.user)
    with shop.job(session), field("test"), shop.speakers(session.user) as store:
        check_recordings(shop, [test], most=shop.settings.source_seconds, what="the recording")
        asked = decisions.embed(test, shop.embedder(), calibration=calibration)
        if not store.speakers():
            raise InputError("nobody is enrolled yet; enrol a speaker first")
        cohort = getattr(shop.embedder(), "cohort", None)
        ranked = decisions.identify(asked, store, calibration=calibration, cohort=cohort)
    rows = [dataclasses.asdict(row) for row in ranked]
    return {"speaker": ranked[0].speaker if ranked[0].accepted else None, "ranked": rows, "remarks": asked.remarks}


def _named(utterance: decisions.Utterance, path: Path) -> decisions.Utterance:
    """With the name the person knows, not a path of this machine."""
    return dataclasses.replace(utterance, name=path.name)


def said(error: SpeechSSLError, shop: Workshop) -> str:
    """What went wrong, without paths of this machine."""
    text = str(error)
    for place in (shop.folder, shop.library().folder):
        # folders below have names that mean nothing to a person
        text = re.sub(rf"(?i){re.escape(str(place))}(/[0-9a-f]{{16,}}|/gradio|/users)*(/|\b)", "", text)
    # whatever else is absolute keeps its last part; addresses of the web stay whole
    return re.sub(r"(?<![\w/:.])/(?:[^/\s:]+/)+", "", text) or "something went wrong"


__all__ = [
    "add_voice", "enrol", "export_voice", "harmless", "identify", "import_voice", "names", "remove_speaker",
    "remove_voice", "rename_voice", "report", "said", "speakers", "verify", "voice_facts", "voices",
]  # fmt: skip
