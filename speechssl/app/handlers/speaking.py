"""Text spoken in a stored or bundled voice: sentence by sentence, then as one file with receipt and subtitles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl.app.handlers import recordings, targets
from speechssl.app.handlers.targets import Target, decision_facts
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused, blaming
from speechssl.app.state import Models, Settings, Store
from speechssl.receipts import contents, signing
from speechssl.synthesis import say as say_module
from speechssl.voices.consent import Consent

if TYPE_CHECKING:
    from speechssl.signals import Waveform
    from speechssl.verification.decisions import Decision

MOST_CHARACTERS = 5000


@dataclass(frozen=True)
class Reading:
    """How a text is read.

    Args:
        speed: 0.25 to 4; 2 is twice as fast.
        interpolation: 1 is the target's voice, 0 the text model's own speaker.
        seed: random seed for sound durations.
        form: one of ``recordings.FORMATS``.
    """

    speed: float = 1.0
    interpolation: float = 1.0
    seed: int = 0
    form: str = "wav"

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of ``Synthesizer.stream``."""
        return {"speed": self.speed, "interpolation": self.interpolation, "seed": self.seed}


@dataclass(frozen=True, eq=False)
class Said:
    """A spoken text: the recording, its subtitles (.srt), receipt, decision, numbers, and remarks on the text."""

    path: Path
    subtitles: Path
    receipt: dict[str, Any]
    decision: Decision | str
    facts: dict[str, Any]
    remarks: tuple[str, ...] = ()


def available() -> bool:
    """Whether the package has a text model."""
    return Path(say_module.SYNTHESIZER).exists()


def say(
    models: Models,
    store: Store,
    settings: Settings,
    job: Job,
    text: str,
    target: Target,
    reading: Reading | None = None,
    *,
    consent: Consent | None = None,
) -> Iterator[Waveform | Said]:
    """Speak a text.

    Args:
        models: the text model, the vocoder, the embedder.
        store: stored voices, and the key that signs.
        settings: limits of this service.
        job: takes the result; its person may cancel.
        text: English, up to ``MOST_CHARACTERS``.
        target: one voice, by recordings or by name.
        reading: None for the defaults.
        consent: see ``conversions.begin``.
    Returns:
        The watermarked sentences as they are ready, then the whole.
    Raises:
        Refused: a field cannot be used.
        Stopped: cancelled, or the time is over.
    """
    from speechssl.synthesis import subtitles
    from speechssl.synthesis.synthesizer import join

    reading = reading or Reading()
    _check(settings, text, target, reading)
    user = job.session.user
    consents = targets.consents_of(settings, store, user, target, consent)
    job(0.05, "loading the models")
    synthesizer = models.synthesizer()
    job(0.15, "encoding the voice")
    voice = targets.encoded(models, store, job, target, "tiny")[0][0]
    parts = []
    with blaming("text"):
        total = sum(1 for _ in synthesizer.front_end.sentences(text))
        job(0.2, f"speaking, sentence 1 of {total}")
        for part in synthesizer.stream(text, voice, **reading.settings):
            parts.append(dataclasses.replace(part, waveform=recordings.marked(settings, part.waveform)))
            yield parts[-1].waveform
            if len(parts) < total:
                job(0.2 + 0.65 * len(parts) / total, f"speaking, sentence {len(parts) + 1} of {total}")
    whole = join(parts, text)
    job(0.9, "writing")
    begins = text.strip()[:24].strip(" .,!?").replace("/", " ")
    path = job.session.place(f"{begins}-{target.name}", f".{reading.form}")
    mark = recordings.write(settings, path, [part.waveform for part in parts])
    subtitles.write(path.with_suffix(".srt"), whole.words)
    blend = "not judged as a copy of the voice: a blend with the text model's own was asked for"
    decision = blend if reading.interpolation < 1 else targets.verify(models, store, user, target, path)
    facts = contents.of_speech(
        text, voice, text_model=synthesizer.model.origin, consent=consents, settings=reading.settings
    )
    facts |= {"similarity": decision_facts(decision), "watermark": mark}
    receipt = signing.issue(path, facts, store.signer())
    numbers = {
        "seconds": round(whole.waveform.seconds, 3),
        "sample_rate": whole.waveform.sample_rate,
        "sentences": len(parts),
        "similarity": facts["similarity"],
        "receipt": receipt,
    }
    label = f"{target.name}: “{text.strip()[:40]}”"
    job.session.remember({"what": "speech", "path": path, "label": label, "made": receipt["created"], **numbers})
    yield Said(path, path.with_suffix(".srt"), receipt, decision, numbers, parts[0].remarks)


def _check(settings: Settings, text: str, target: Target, reading: Reading) -> None:
    from speechssl.synthesis.synthesizer import check_options

    if not text.strip():
        raise Refused("text", "Write what is to be said.")
    if len(text) > MOST_CHARACTERS:
        raise Refused("text", f"{len(text)} characters; at most {MOST_CHARACTERS} here.")
    recordings.check_format(reading.form)
    with blaming("options"):
        check_options(interpolation=reading.interpolation, speed=reading.speed)
    targets.check(settings, target)
    if len(target.voices) > 1:
        raise Refused("target", "A text is spoken in one voice; only conversions can blend two.")
