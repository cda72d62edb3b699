"""One conversion as the front end does it: leave, encode (or remember), convert, mark, verify, receipt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speechssl import audio, checkpoints
from speechssl.app import state as shop
from speechssl.app.jobs import Job, Tell
from speechssl.app.sessions import Session
from speechssl.app.state import Refused, Workshop
from speechssl.conversion import converters, streaming
from speechssl.conversion.options import ConversionOptions
from speechssl.errors import InputError, SpeechSSLError
from speechssl.receipts import contents, signing, watermark
from speechssl.signals import Waveform
from speechssl.verification import decisions
from speechssl.voices import consent
from speechssl.voices.consent import Consent

if TYPE_CHECKING:
    from speechssl.conversion.result import Conversion
    from speechssl.conversion.voice_converter import VoiceConverter
    from speechssl.verification.decisions import Decision
    from speechssl.voices.matching_set import MatchingSet

FORMATS = ("wav", "flac", "mp3")
STREAMED_FROM = 30.0  # seconds of a source that one would not wait for
BUNDLED = "bundled: "  # before the names of the voices that ship with the package
MP3_RATES = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000)


@dataclass(frozen=True)
class Target:
    """Whose voice is wanted.

    Args:
        files: recordings; or
        voices: names of stored voices, or ``"bundled: ada"``, each with its share.
    """

    files: tuple[Path, ...] = ()
    voices: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Options:
    """How it is converted; see ``VoiceConverter.convert``.

    Args:
        k: None for what the converter has by itself.
        pitch: ``"target"``, ``"source"`` or semitones.
        tempo: ``"auto"``, ``"source"``, ``"target"`` or times as fast; streams keep the source's.
        form: one of ``FORMATS``.
    """

    k: int | None = None
    converter: str = "auto"
    interpolation: float = 1.0
    pitch: str | float = "target"
    tempo: str | float = "auto"
    form: str = "wav"
    model: str = "tiny"


@dataclass(frozen=True, eq=False)
class Made:
    """What came out.

    Args:
        path: of the recording.
        receipt: signed.
        conversion: with the attribution; its waveform is before the watermark.
        decision: whether it passes verification as the target; None where the voice has nothing to compare with.
        source: path of the source.
        reference: path of a recording of the target; None where none is kept.
        label: how it was made, in a few words.
    """

    path: Path
    receipt: dict[str, Any]
    conversion: Conversion
    decision: Decision | None
    source: Path
    reference: Path | None
    label: str
    remarks: tuple[str, ...] = field(default=())

    def facts(self) -> dict[str, Any]:
        """The numbers, JSON-able."""
        return {
            "seconds": round(self.conversion.waveform.seconds, 3),
            "sample_rate": self.conversion.waveform.sample_rate,
            "converter": self.conversion.converter,
            "reason": self.conversion.reason,
            "coverage": round(self.conversion.coverage, 4),
            "stretch": round(self.conversion.stretch, 4),
            "similarity": None if self.decision is None else decision_facts(self.decision),
            "receipt": self.receipt,
        }


def convert(
    shop: Workshop,
    session: Session,
    source: str | Path | None,
    target: Target,
    options: Options | None = None,
    *,
    leave: Consent | None = None,
    tell: Tell = lambda share, text: None,
) -> Made:
    """Say what the source says in the voice of the target.

    Args:
        shop: models, voices, limits.
        session: whose folder the result goes to, and whose wish to stop is heard.
        source: a recording.
        target: recordings or stored voices.
        options: None for the defaults.
        leave: the attestation; recordings and voices stored without one need it.
        tell: progress, 0 to 1, and what is being done.
    Raises:
        Refused: a field that cannot be used; it names the field.
        Stopped: cancelled, or over the time.
    """
    chosen = options or Options()
    with shop.job(session, tell) as step:
        ready = _prepare(shop, session, source, target, chosen, leave, step)
        step(0.1, "encoding the source")
        with _blame("source"):
            heard = _source(shop, ready, step)
        step(0.35, "encoding the voice")
        with _blame("target"):
            voices = voices_of(shop, session, ready.system, target, chosen.model, step)
        step(0.6, "converting")
        with _blame("options"):
            result = step.run(
                lambda: ready.system.convert(
                    heard, voices, k=chosen.k, converter=chosen.converter, interpolation=chosen.interpolation,
                    pitch=chosen.pitch, tempo=chosen.tempo,
                )
            )  # fmt: skip
        step(0.85, "writing")
        path = _place(session, ready)
        mark = step.run(lambda: write(shop, path, [marked(shop, result.waveform)]))
        return _finish(shop, session, ready, voices, result, path, mark, step)


def streamable(shop: Workshop, source: str | Path | None, options: Options) -> bool:
    """Whether a recording is so long that one would listen before it is done, and its conversion can be streamed."""
    try:
        if not source or audio.info(source).seconds < STREAMED_FROM:
            return False
        if options.tempo not in streaming.TEMPOS:
            return False
        if options.converter != "auto":
            row = converters.TABLE.get(options.converter)
            return row is not None and row.streams
        # where the vocoder does not hear the words, auto is a converter that needs the whole source
        return bool(shop.system(options.model).vocoder.key_origin)
    except SpeechSSLError:
        return False  # the conversion says what is wrong, and with which field


def stream(
    shop: Workshop,
    session: Session,
    source: str | Path | None,
    target: Target,
    options: Options | None = None,
    *,
    leave: Consent | None = None,
    tell: Tell = lambda share, text: None,
) -> Iterator[Waveform | Made]:
    """Convert piece by piece: see ``convert`` for the arguments, ``streaming.stream`` for what differs.

    Returns:
        The pieces, marked, as they are ready; at last what was made of them, whose receipt says that it was streamed.
    """
    chosen = options or Options()
    with shop.job(session, tell) as step:
        ready = _prepare(shop, session, source, target, chosen, leave, step)
        step(0.1, "encoding the voice")
        with _blame("target"):
            voices = voices_of(shop, session, ready.system, target, chosen.model, step)
        with _blame("options"):
            coming = ready.system.stream(
                ready.source, voices, k=chosen.k, converter=chosen.converter, interpolation=chosen.interpolation,
                pitch=chosen.pitch, tempo=chosen.tempo,
            )  # fmt: skip
        total = max(audio.info(ready.source).seconds, 0.1)
        pieces: list[Conversion] = []
        heard: list[Waveform] = []
        done = 0.0
        while True:
            step(0.15 + 0.7 * min(done / total, 1.0), f"converting, {done:.0f} of {total:.0f} s")
            with _blame("source"):
                piece = step.run(lambda: next(coming, None))
            if piece is None:
                break
            sound = step.run(lambda: marked(shop, piece.waveform))  # noqa: B023  it runs at once
            pieces.append(piece)
            heard.append(sound)
            done += sound.seconds
            yield sound
        step(0.85, "writing")
        path = _place(session, ready)
        mark = step.run(lambda: write(shop, path, heard))
        made = _finish(shop, session, ready, voices, streaming.join(pieces), path, mark, step, streamed=True)
    yield made


def write_piece(shop: Workshop, session: Session, sound: Waveform, facts: dict[str, Any]) -> Path:
    """A piece of a stream as a file of its own, with a short receipt; that of the whole says the rest."""
    path = session.place(f"piece-{facts['piece']}", ".wav")
    audio.write(path, sound)
    signing.issue(path, {"what": "a piece of a voice conversion", **facts}, shop.signer())
    return path


@dataclass(frozen=True, eq=False)
class _Ready:
    """What was checked and loaded."""

    source: Path
    target: Target
    options: Options
    system: VoiceConverter
    consents: list[dict[str, Any]]


def _prepare(
    shop: Workshop, session: Session, source: str | Path | None, target: Target, options: Options,
    leave: Consent | None, step: Job,
) -> _Ready:  # fmt: skip
    step(0.02, "checking")
    _check(shop, source, target, options)
    consents = consents_of(shop, session, target, leave)
    step(0.05, f"loading the model {options.model}")
    with _blame("model"):
        system = shop.system(options.model)
    return _Ready(Path(str(source)), target, options, system, consents)


def _finish(
    shop: Workshop, session: Session, ready: _Ready, voices: list[tuple[MatchingSet, float]], result: Conversion,
    path: Path, mark: dict[str, Any] | None, step: Job, *, streamed: bool = False,
) -> Made:  # fmt: skip
    """Verify, sign, remember."""
    step(0.9, "verifying")
    target, options = ready.target, ready.options
    decision = step.run(lambda: verify_as(shop, session, target, path))
    k = converters.TABLE[result.converter].neighbours(options.k)
    settings = {
        "k": k, "interpolation": options.interpolation, "pitch": options.pitch, "tempo": options.tempo,
    }  # fmt: skip
    facts = contents.of_conversion(
        ready.source, voices, result, model=options.model, consent=ready.consents,
        settings={**settings, "streamed": True} if streamed else settings,
    )  # fmt: skip
    similarity = None if decision is None else decision_facts(decision)
    receipt = signing.issue(path, {**facts, "similarity": similarity, "watermark": mark}, shop.signer())
    blend = "" if options.interpolation == 1 else f", {100 * options.interpolation:.0f} %"
    label = f"{called(target)[:24]}, {result.converter}, k {k}{blend}"
    made = Made(path, receipt, result, decision, ready.source, _a_reference(target), label)
    session.remember({"what": "conversion", "path": path, "label": label, "made": receipt["created"], **made.facts()})
    return made


def _place(session: Session, ready: _Ready) -> Path:
    return session.place(f"{ready.source.stem[:40]}-as-{called(ready.target)}", f".{ready.options.form}")


def files_of(target: Target) -> list[Path]:
    """Recordings of the target that may be listened to: those given, or of bundled voices."""
    from speechssl.voices.clips import clip

    bundled = [clip(name.removeprefix(BUNDLED)).path for name, _ in target.voices if name.startswith(BUNDLED)]
    return [*target.files, *bundled]


def decision_facts(decision: Decision) -> dict[str, Any]:
    """A decision for people and programs."""
    return {
        "accepted": decision.accepted,
        "score": round(decision.score, 4),
        "threshold": None if decision.threshold is None else round(decision.threshold, 4),
        "probability": None if decision.probability is None else round(decision.probability, 4),
        "model": decision.origin,
    }


def check_recordings(shop: Workshop, files: list[Path] | tuple[Path, ...], *, most: float, what: str) -> float:
    """Refuse recordings that cannot be read or are longer together than is allowed; returns their seconds."""
    total = sum(audio.info(path).seconds for path in files)
    if total > most:
        raise InputError(f"{what}: {total:.0f} s; at most {most:.0f} s here")
    return total


_blame = shop.field


def _check(shop: Workshop, source: str | Path | None, target: Target, options: Options) -> None:
    limits = shop.settings
    if not source:
        raise Refused("source", "Give a recording whose words are kept: upload one or use the microphone.")
    with _blame("source"):
        check_recordings(shop, [Path(source)], most=limits.source_seconds, what="the source")
    check_target(shop, target)
    if options.form not in FORMATS:
        raise Refused("options", f"format {options.form!r}; one of {', '.join(FORMATS)} needed")
    with _blame("options"):
        ConversionOptions(options.k, options.converter, options.interpolation, options.pitch, options.tempo).check()


def check_target(shop: Workshop, target: Target) -> None:
    """Refuse a target that is none, or more than is allowed."""
    limits = shop.settings
    if not target.files and not target.voices:
        raise Refused("target", "Whose voice? Give recordings of it, or choose a stored voice.")
    if len(target.files) > limits.references:
        raise Refused("target", f"{len(target.files)} recordings; at most {limits.references} here.")
    with _blame("target"):
        check_recordings(shop, target.files, most=limits.reference_seconds, what="the references")


def consents_of(shop: Workshop, session: Session, target: Target, leave: Consent | None) -> list[dict[str, Any]]:
    """By whose leave, for the receipt; refused where somebody has to attest and did not."""
    if leave is not None:
        return [leave.as_dict()]
    if target.files or not target.voices:
        return _nobody(shop)
    found: list[dict[str, Any]] = []
    for name, _ in target.voices:
        if name.startswith(BUNDLED):
            found.append({"voice": name, "statement": "a synthetic voice that ships with speechssl, CC0"})
            continue
        with _blame("target"):
            stored = shop.library(session.user).show(name).consents
        found += [one.as_dict() for one in stored] if stored else _nobody(shop)
    return found


def _nobody(shop: Workshop) -> list[dict[str, Any]]:
    if shop.settings.consent:
        raise Refused("consent", f"Attest first: “{consent.STATEMENT}” — with your name and what it is for.")
    return [{"statement": "not asked for: this service is configured without consent"}]


def _source(shop: Workshop, ready: _Ready, step: Job) -> Any:
    """Encoded; with its own values, which take longer than the rest, only where the options need them."""
    options, system = ready.options, ready.system
    row = converters.TABLE.get(options.converter)
    asked = options.interpolation < 1 or (row is not None and row.needs_source_values)
    # for a vocoder that does not hear the words, auto may need them too
    with_values = asked or (options.converter == "auto" and not system.vocoder.key_origin)
    key = ("source", options.model, with_values, checkpoints.sha256_of(ready.source))
    make = lambda: step.run(lambda: system.source(ready.source, with_values=with_values))  # noqa: E731
    return shop.cached(key, make, _source_bytes)


def _source_bytes(source: Any) -> int:
    parts = [source.keys.frames, source.f0, source.waveform.samples]
    parts += [] if source.values is None else [source.values.frames]
    return sum(part.numel() * part.element_size() for part in parts)


def voices_of(
    shop: Workshop, session: Session, system: VoiceConverter, target: Target, model: str, step: Job
) -> list[tuple[MatchingSet, float]]:
    """The voices of a target and their shares; those of recordings are encoded once."""
    if target.files:
        key = ("voice", model, tuple(checkpoints.sha256_of(path) for path in target.files))
        voice = shop.cached(key, lambda: step.run(lambda: system.matching_set(target.files)), _voice_bytes)
        return [(voice, 1.0)]
    return [(stored_voice(shop, session.user, system, name, model), share) for name, share in target.voices]


def stored_voice(shop: Workshop, user: str, system: VoiceConverter, name: str, model: str) -> MatchingSet:
    """A voice of the library, or one that ships with the package."""
    from speechssl.voices.clips import clip

    if not name.startswith(BUNDLED):
        return shop.library(user).load(name)
    spoken = clip(name.removeprefix(BUNDLED)).path
    voice: MatchingSet = shop.cached(
        ("bundled", model, name), lambda: system.matching_set([spoken], name=name.removeprefix(BUNDLED)), _voice_bytes
    )
    return voice


def _voice_bytes(voice: MatchingSet) -> int:
    parts = [voice.keys, voice.values] if voice.has_own_values else [voice.keys]
    return sum(part.numel() * part.element_size() for part in parts)


def marks(shop: Workshop) -> bool:
    """Whether what is made here is marked."""
    return shop.settings.watermark and watermark.available()


def marked(shop: Workshop, waveform: Waveform) -> Waveform:
    """With the watermark, where there is one."""
    return watermark.mark(waveform) if marks(shop) else waveform


def write(shop: Workshop, path: Path, pieces: Sequence[Waveform]) -> dict[str, Any] | None:
    """Write marked pieces as one recording.

    Returns:
        What the receipt says of the mark: how surely it is found again, on average over the seconds; None without one.
    """
    whole = Waveform(torch.cat([one.samples for one in pieces]), pieces[0].sample_rate)
    if path.suffix == ".mp3" and whole.sample_rate not in MP3_RATES:
        audio.write(path, audio.resample(whole, 44_100))
    else:
        audio.write(path, whole)
    if not marks(shop):
        return None
    sure = sum(watermark.confidence(one) * one.seconds for one in pieces) / whole.seconds
    return {"name": watermark.NAME, "confidence": round(sure, 3)}


def verify_as(shop: Workshop, session: Session, target: Target, path: Path) -> Decision | None:
    """Whether the result passes as the target; None without anything to compare with, or with too little speech."""
    embedder = shop.embedder()
    try:
        # remarks begin with the name, which is a path otherwise
        test = dataclasses.replace(decisions.embed(path, embedder), name="the result")
        if files := files_of(target):
            enrolled = [dataclasses.replace(_utterance(shop, file), name="", remarks=()) for file in files]
        else:
            with shop.prints(session.user) as store:
                known = store.enrolled(embedder.origin)
            rows = [row for name, _ in target.voices for row in known.get(name, [])]
            enrolled = [decisions.Utterance("", row.embedding, row.seconds, row.sha256) for row in rows]
        if not enrolled:
            return None
        calibration = shop.calibration(session.user)
        return decisions.verify(enrolled, test, calibration=calibration, cohort=embedder.cohort)
    except InputError:
        return None


def _utterance(shop: Workshop, path: Path) -> Any:
    key = ("utterance", checkpoints.sha256_of(path))
    return shop.cached(key, lambda: decisions.embed(path, shop.embedder()), lambda _: 4096)


def _a_reference(target: Target) -> Path | None:
    files = files_of(target)
    return files[0] if files else None


def called(target: Target) -> str:
    """A name for the target."""
    if target.voices:
        return "-".join(name.removeprefix(BUNDLED) for name, _ in target.voices)
    return target.files[0].stem
