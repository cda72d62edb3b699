"""Text spoken in a stored or bundled voice: sentence by sentence, then as one file with receipt and subtitles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl.app.handlers import conversions
from speechssl.app.handlers.conversions import FORMATS, Target, decision_facts
from speechssl.app.jobs import Tell
from speechssl.app.sessions import Session
from speechssl.app.state import Refused, Workshop, field
from speechssl.receipts import contents, signing
from speechssl.synthesis import say as say_module
from speechssl.voices.consent import Consent

if TYPE_CHECKING:
    from speechssl.signals import Waveform
    from speechssl.verification.decisions import Decision

MOST_CHARACTERS = 5000


@dataclass(frozen=True, eq=False)
class Said:
    """What came out: the recording, its subtitles (.srt), receipt, verdict, and numbers."""

    path: Path
    subtitles: Path
    receipt: dict[str, Any]
    decision: Decision | None
    facts: dict[str, Any]


def available() -> bool:
    """Whether a text model is in the package."""
    return Path(say_module.SYNTHESIZER).exists()


def say(
    shop: Workshop,
    session: Session,
    text: str,
    target: Target,
    *,
    speed: float = 1.0,
    interpolation: float = 1.0,
    seed: int = 0,
    form: str = "wav",
    leave: Consent | None = None,
    tell: Tell = lambda share, text: None,
) -> Iterator[Waveform | Said]:
    """Speak a text.

    Args:
        text: English, up to ``MOST_CHARACTERS``.
        target: one voice, by recordings or by name.
        speed: 0.25 to 4; 2 is twice as fast.
        interpolation: 1 is the target's voice, 0 the text model's own speaker.
        seed: of the lengths of sounds.
        form: one of ``converting.FORMATS``.
        leave: as for ``converting.convert``.
        tell: progress.
    Returns:
        The sentences as they are ready, at last what was made of them.
    Raises:
        Refused: a field that cannot be used.
        Stopped: cancelled, or over the time.
    """
    from speechssl.synthesis import subtitles
    from speechssl.synthesis.synthesizer import check_options, join

    with shop.job(session, tell) as step:
        if not text.strip():
            raise Refused("text", "Write what is to be said.")
        if len(text) > MOST_CHARACTERS:
            raise Refused("text", f"{len(text)} characters; at most {MOST_CHARACTERS} here.")
        if form not in FORMATS:
            raise Refused("options", f"format {form!r}; one of {', '.join(FORMATS)} needed")
        with field("options"):
            check_options(interpolation=interpolation, speed=speed)
        conversions.check_target(shop, target)
        if len(target.voices) > 1:
            raise Refused("target", "A text is spoken in one voice; blends are for conversions.")
        consents = conversions.consents_of(shop, session, target, leave)
        step(0.05, "loading the models")
        system = shop.system("tiny")
        synthesizer = shop.synthesizer()
        step(0.15, "encoding the voice")
        with field("target"):
            voice = conversions.voices_of(shop, session, system, target, "tiny", step)[0][0]
        parts = []
        with field("text"):
            options: dict[str, Any] = {"speed": speed, "interpolation": interpolation, "seed": seed}
            for part in synthesizer.stream(text, voice, **options):
                parts.append(dataclasses.replace(part, waveform=conversions.marked(shop, part.waveform)))
                step(min(0.2 + 0.03 * len(parts), 0.85), f"sentence {len(parts)}")
                yield parts[-1].waveform
        whole = join(parts, text)
        step(0.9, "writing")
        begins = text.strip()[:24].strip(" .,!?").replace("/", " ")
        path = session.place(f"{begins}-{conversions.called(target)}", f".{form}")
        mark = conversions.write(shop, path, [part.waveform for part in parts])
        subtitled = path.with_suffix(".srt")
        subtitles.write(subtitled, whole.words)
        decision = conversions.verify_as(shop, session, target, path)
        facts = contents.of_speech(text, voice, text_model=synthesizer.model.origin, consent=consents, settings=options)
        facts |= {"similarity": None if decision is None else decision_facts(decision), "watermark": mark}
        receipt = signing.issue(path, facts, shop.signer())
    numbers = {
        "seconds": round(whole.waveform.seconds, 3),
        "sample_rate": whole.waveform.sample_rate,
        "sentences": len(parts),
        "similarity": facts["similarity"],
        "receipt": receipt,
    }
    label = f"{conversions.called(target)}: “{text.strip()[:40]}”"
    session.remember({"what": "speech", "path": path, "label": label, "made": receipt["created"], **numbers})
    yield Said(path, subtitled, receipt, decision, numbers)
