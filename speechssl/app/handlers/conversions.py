"""One conversion: check, encode (or remember), convert, watermark, verify, sign a receipt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from speechssl import audio, checkpoints
from speechssl.app.handlers import recordings, targets
from speechssl.app.handlers.targets import Target, decision_facts
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused, blaming
from speechssl.app.sessions import Session
from speechssl.app.state import Models, Settings, Store
from speechssl.audio import files
from speechssl.conversion import converters, streaming
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.result import Conversion
from speechssl.conversion.source import Source
from speechssl.errors import SpeechSSLError
from speechssl.receipts import contents, signing
from speechssl.signals import Waveform
from speechssl.verification import speech_classifier
from speechssl.verification.decisions import Decision
from speechssl.voices.consent import Consent
from speechssl.voices.matching_set import MatchingSet

STREAMED_FROM = 30.0  # seconds; shorter sources are converted before a person grows impatient


@dataclass(frozen=True)
class Options(ConversionOptions):
    """How a recording is converted, and what the result is written as.

    Args:
        form: one of ``recordings.FORMATS``.
        model: name of the encoder and the vocoder.
    """

    form: str = "wav"
    model: str = "tiny"

    @property
    def changed(self) -> list[str]:
        """What differs from the defaults, in a few words each; converter and k are named with the result."""
        usual, found = Options(), []
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if value != getattr(usual, name):
                found.append(words.format(value if isinstance(value, str) else float(value)))
        return found


_WORDS = {"pitch": "pitch {}", "tempo": "rate {}", "loudness": "loudness {}", "interpolation": "{:.0%} of the voice",
          "form": "{}", "model": "{}"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Made:
    """A converted recording.

    Args:
        path: of the recording.
        receipt: signed.
        conversion: with the attribution; its waveform has no watermark.
        decision: whether the result passes verification as the target; a sentence if nothing could be decided.
        source: path of the source.
        reference: path of a recording of the target; None if none is kept.
        label: how the recording was made, in a few words.
    """

    path: Path
    receipt: dict[str, Any]
    conversion: Conversion
    decision: Decision | str
    source: Path
    reference: Path | None
    label: str

    def facts(self) -> dict[str, Any]:
        """The numbers, JSON-able."""
        return {
            "seconds": round(self.conversion.waveform.seconds, 3),
            "sample_rate": self.conversion.waveform.sample_rate,
            "converter": self.conversion.converter,
            "reason": self.conversion.reason,
            "coverage": round(self.conversion.coverage, 4),
            "stretch": round(self.conversion.stretch, 4),
            "remark": self.conversion.remark,
            "similarity": decision_facts(self.decision),
            "receipt": self.receipt,
        }


def beginning(session: Session, source: str | Path | None, seconds: float) -> Path | None:
    """The first seconds of a source, as a recording of their own.

    Raises:
        Refused: an unreadable one.
    """
    if not source:
        return None
    with blaming("source"):
        rate = audio.info(source).sample_rate
        samples = next(files.stream(source, rate, seconds))
    place = session.place(f"{Path(source).stem[:40]}-preview", ".wav")
    audio.write(place, Waveform(samples, rate))
    return place


def unjudged(target: Target, options: Options) -> str:
    """Why a result is not judged as a copy of one voice: it was asked to be something else; empty if it is judged."""
    asked = "a blend of voices" if len(target.voices) > 1 else ""
    asked = "a blend with the source" if options.interpolation < 1 else asked
    asked = "another pitch than the voice has" if options.pitch != "target" else asked
    return f"not judged as a copy of the voice: {asked} was asked for" if asked else ""


def streamable(models: Models, source: str | Path | None, options: Options) -> bool:
    """Whether the source is long enough to be heard while it is converted, and the options allow that."""
    try:
        if not source or audio.info(source).seconds < STREAMED_FROM:
            return False
        if options.tempo not in streaming.TEMPOS:
            return False
        if options.converter != "auto":
            row = converters.TABLE.get(options.converter)
            return row is not None and row.streams
        # if the vocoder does not take the keys, auto chooses a converter that needs the whole source
        return bool(models.system(options.model).vocoder.key_origin)
    except SpeechSSLError:
        return False  # the conversion will raise the error and name the field


def write_piece(store: Store, session: Session, sound: Waveform, number: int) -> Path:
    """Write a piece of a stream as a file with a short receipt; the receipt of the whole has all facts."""
    path = session.place(f"piece-{number}", ".wav")
    audio.write(path, sound)
    signing.issue(path, contents.of_piece({"piece": number, "seconds": round(sound.seconds, 3)}), store.signer())
    return path


def encoded_source(models: Models, source: Path, options: Options) -> Source:
    """Encode a source once; with its own values, which take longest, only if the options need them."""
    system = models.system(options.model)
    row = converters.TABLE.get(options.converter)
    asked = options.interpolation < 1 or (row is not None and row.needs_source_values)
    # for a vocoder that does not take the keys, auto may choose a converter that needs them
    with_values = asked or (options.converter == "auto" and not system.vocoder.key_origin)
    return models.cache.get(
        ("source", options.model, with_values, checkpoints.sha256_of(source)),
        lambda: system.source(source, with_values=with_values),
        _bytes_of,
    )


def _bytes_of(source: Source) -> int:
    parts = [source.keys.frames, source.f0]
    parts += [] if source.waveform is None else [source.waveform.samples]
    parts += [] if source.values is None else [source.values.frames]
    return sum(part.numel() * part.element_size() for part in parts)


def begin(
    models: Models,
    store: Store,
    settings: Settings,
    job: Job,
    source: str | Path | None,
    target: Target,
    options: Options | None = None,
    *,
    consent: Consent | None = None,
) -> Work:
    """Check everything that can be checked before the model is loaded, then load it.

    Args:
        models: encoders and vocoders.
        store: stored voices, and the key that signs.
        settings: limits of this service.
        job: takes the result; its person may cancel.
        source: a recording.
        target: recordings or stored voices.
        options: None for the defaults.
        consent: the attestation; recordings, and voices that were stored without one, need it.
    Raises:
        Refused: a field cannot be used; the error names the field.
        Stopped: cancelled, or the time is over.
    """
    job(0.02, "checking")
    options = options or Options()
    if not source:
        raise Refused("source", "Give a recording whose words are kept: upload one or use the microphone.")
    with blaming("source"):
        recordings.check([Path(source)], most=settings.source_seconds, what="the source")
    targets.check(settings, target)
    recordings.check_format(options.form)
    with blaming("options"):
        options.check()
    consents = targets.consents_of(settings, store, job.session.user, target, consent)
    job(0.05, f"loading the model {options.model}")
    with blaming("model"):
        models.system(options.model)
    return Work(models, store, settings, job, Path(source), target, options, consents)


@dataclass(frozen=True, eq=False)
class Work:
    """A conversion that was checked and whose model is loaded; all ways to do it raise as ``begin`` does."""

    models: Models
    store: Store
    settings: Settings
    job: Job
    source: Path
    target: Target
    options: Options
    consents: list[dict[str, Any]]

    def convert(self) -> Made:
        """Say the words of the source in the voice of the target."""
        *_, made = self.heard_first()
        assert isinstance(made, Made)
        return made

    def heard_first(self) -> Iterator[Waveform | Made]:
        """As ``convert``, with the watermarked sound before its verification, which takes as long as the conversion."""
        self.job(0.1, "encoding the source")
        with blaming("source"):
            heard = encoded_source(self.models, self.source, self.options)
        self.job(0.35, "encoding the voice")
        voices = self._voices()
        self.job(0.6, "converting")
        system = self.models.system(self.options.model)
        with blaming("options"):
            result = system.run(heard, voices, self.options)
        sound = recordings.marked(self.settings, result.waveform)
        yield sound
        yield self._finish(voices, result, [sound])

    def stream(self) -> Iterator[Waveform | Made]:
        """Convert piece by piece; ``streaming.stream`` says what differs.

        Returns:
            The watermarked pieces as they are ready, then the whole; its receipt says that it was streamed.
        """
        job = self.job
        job(0.1, "encoding the voice")
        voices = self._voices()
        with blaming("options"):
            coming = self.models.system(self.options.model).stream_with(self.source, voices, self.options)
        total = max(audio.info(self.source).seconds, 0.1)
        pieces: list[Conversion] = []
        sounds: list[Waveform] = []
        while True:
            done = sum(sound.seconds for sound in sounds)
            job(0.15 + 0.7 * min(done / total, 1.0), f"converting, {done:.0f} of {total:.0f} s")
            with blaming("source"):
                piece = next(coming, None)
            if piece is None:
                break
            pieces.append(piece)
            sounds.append(recordings.marked(self.settings, piece.waveform))
            yield sounds[-1]
        yield self._finish(voices, streaming.join(pieces), sounds, streamed=True)

    def _voices(self) -> list[tuple[MatchingSet, float]]:
        return targets.encoded(self.models, self.store, self.job, self.target, self.options.model)

    def _finish(
        self, voices: list[tuple[MatchingSet, float]], result: Conversion, sounds: list[Waveform], *,
        streamed: bool = False,
    ) -> Made:  # fmt: skip
        """Write, verify, sign, remember."""
        options, target, session = self.options, self.target, self.job.session
        self.job(0.85, "writing")
        path = session.place(f"{self.source.stem[:40]}-as-{target.name}", f".{options.form}")
        mark = recordings.write(self.settings, path, sounds)
        self.job(0.9, "verifying")
        decision = unjudged(target, options) or targets.verify(self.models, self.store, session.user, target, path)
        k = converters.TABLE[result.converter].neighbours(options.k)
        settings: dict[str, Any] = {
            "k": k, "interpolation": options.interpolation, "pitch": options.pitch, "tempo": options.tempo,
            "loudness": options.loudness,
        }  # fmt: skip
        facts = contents.of_conversion(
            self.source, voices, result, model=options.model, consent=self.consents,
            settings=settings | ({"streamed": True} if streamed else {}),
        )  # fmt: skip
        facts |= {"similarity": decision_facts(decision), "watermark": mark}
        receipt = signing.issue(path, facts, self.store.signer())
        label = ", ".join([target.name[:24], result.converter, f"k {k}", *target.parts, *options.changed])
        result = replace(result, remark=speech_classifier.remark_on(self.source) or result.coverage_remark)
        made = Made(path, receipt, result, decision, self.source, next(iter(target.audible), None), label)
        session.remember(
            {"what": "conversion", "path": path, "label": label, "made": receipt["created"], **made.facts()}
        )
        return made
