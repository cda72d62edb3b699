"""Text spoken in a stored or bundled voice: sentence by sentence, then as one file with receipt and subtitles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speechssl.app.handlers import recordings, targets
from speechssl.app.handlers.passages import Passage, passages, remarks
from speechssl.app.handlers.targets import Target, decision_facts
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused, blaming
from speechssl.app.state import Models, Settings, Store
from speechssl.receipts import contents, signing
from speechssl.signals import Waveform
from speechssl.synthesis import say as say_module
from speechssl.verification.decisions import Decision
from speechssl.voices.consent import Consent
from speechssl.voices.matching_set import MatchingSet

if TYPE_CHECKING:
    from speechssl.synthesis.phones import Phone
    from speechssl.synthesis.subtitles import Cue
    from speechssl.synthesis.synthesizer import Speech, Synthesizer

MOST_CHARACTERS = 20_000


@dataclass(frozen=True)
class Reading:
    """How a text is read.

    Args:
        speed: 0.25 to 4; 2 is twice as fast.
        interpolation: 1 is the target's voice, 0 the text model's own speaker.
        seed: random seed for sound durations.
        form: one of ``recordings.FORMATS``.
        lexicon: pronunciations, a word and its sounds on each line; see ``synthesis.lexicon``.
    """

    speed: float = 1.0
    interpolation: float = 1.0
    seed: int = 0
    form: str = "wav"
    lexicon: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of ``Synthesizer.stream``."""
        return {"speed": self.speed, "interpolation": self.interpolation, "seed": self.seed}


@dataclass(frozen=True, eq=False)
class Said:
    """A spoken text: the recording, its subtitles (.srt), receipt, decision, numbers, voices, remarks on the text."""

    path: Path
    subtitles: Path
    receipt: dict[str, Any]
    decision: Decision | str
    facts: dict[str, Any]
    cast: tuple[Target, ...]
    remarks: tuple[str, ...] = ()


def available() -> bool:
    """Whether the package has a text model."""
    return Path(say_module.SYNTHESIZER).exists()


def written(file: Path) -> str:
    """The text of a file.

    Raises:
        Refused: no text in UTF-8, or a too long one, for the field ``text``.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Refused("text", f"{file.name} is no text in UTF-8; save it as UTF-8 and give it again") from None
    if len(text) > MOST_CHARACTERS:
        raise Refused("text", f"{file.name} has {len(text)} characters; at most {MOST_CHARACTERS} here")
    return text


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
        text: English, up to ``MOST_CHARACTERS``; names of voices and pauses in it are those of ``passages``,
            pronunciations those of ``synthesis.lexicon``. Subtitles are spoken in time.
        target: one voice, by recordings or by name, for what no other voice in the text says.
        reading: None for the defaults.
        consent: see ``conversions.begin``.
    Returns:
        The watermarked sentences as they are ready, then the whole.
    Raises:
        Refused: a field cannot be used.
        Stopped: cancelled, or the time is over.
    """
    from speechssl.synthesis.synthesizer import join

    reading, user = reading or Reading(), job.session.user
    text, lexicon = _pronunciations(text, reading)
    cues = _cues(settings, text)
    text = "\n".join(cue.text for cue in cues) or text
    names = targets.names(store, user)
    script = _check(settings, names, text, target, reading, timed=bool(cues))
    cast = {one.voice: _of(one.voice, target) for one in script}
    consents = [one for who in cast.values() for one in targets.consents_of(settings, store, user, who, consent)]
    job(0.0, "loading the models")
    synthesizer = models.synthesizer()
    if lexicon:
        with blaming("lexicon"):
            synthesizer = synthesizer.reading(lexicon)
    job(0.0, "encoding the voice")
    voices = {name: targets.encoded(models, store, job, who, "tiny")[0][0] for name, who in cast.items()}
    parts = []
    with blaming("text"):
        total = len(cues) or sum(1 for one in script for _ in synthesizer.front_end.sentences(one.text))
        # what comes before the sentences takes as long as one or two of them, what comes after a seventh of all
        begun = 1.0 / (total + 2.0)
        job(begun, f"speaking, sentence 1 of {total}")
        for part in _spoken(synthesizer, script, voices, reading, cues):
            parts.append(dataclasses.replace(part, waveform=recordings.marked(settings, part.waveform)))
            yield parts[-1].waveform
            if len(parts) < total:
                share = begun + (0.85 - begun) * len(parts) / total
                job(share, f"speaking, sentence {len(parts) + 1} of {total}")
    job(0.85, "writing")
    whole = join(parts, text)
    if not cues:
        whole = dataclasses.replace(whole, remarks=whole.remarks + remarks(text, names))
    facts = contents.of_speech(
        text, *voices.values(), text_model=synthesizer.model.origin, consent=consents, settings=reading.settings
    )
    yield _kept(models, store, settings, job, list(cast.values()), reading, whole, parts, facts)


def _kept(
    models: Models,
    store: Store,
    settings: Settings,
    job: Job,
    cast: list[Target],
    reading: Reading,
    whole: Speech,
    parts: list[Speech],
    facts: dict[str, Any],
) -> Said:
    """Write the recording, its subtitles and its receipt, and judge the likeness; ``facts`` go into the receipt."""
    from speechssl.synthesis import subtitles

    text = whole.text.strip()
    name = "-".join(who.name for who in cast)[:40]
    path = job.session.place(f"{text[:24].strip(' .,!?').replace('/', ' ')}-{name}", f".{reading.form}")
    mark = recordings.write(settings, path, [part.waveform for part in parts])
    subtitles.write(path.with_suffix(".srt"), whole.words)
    decision = _judged(models, store, job.session.user, cast, reading, path)
    facts |= {"similarity": decision_facts(decision), "watermark": mark}
    receipt = signing.issue(path, facts, store.signer())
    numbers = {
        "seconds": round(whole.waveform.seconds, 3),
        "sample_rate": whole.waveform.sample_rate,
        "sentences": len(parts),
        "similarity": facts["similarity"],
        "receipt": receipt,
    }
    label = f"{name}: “{beginning(text)}”"
    job.session.remember({"what": "speech", "path": path, "label": label, "made": receipt["created"], **numbers})
    return Said(path, path.with_suffix(".srt"), receipt, decision, numbers, tuple(cast), whole.remarks)


def beginning(text: str, most: int = 40) -> str:
    """The beginning of a text, on one line, which shows where it is cut."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _pronunciations(text: str, reading: Reading) -> tuple[str, dict[str, tuple[Phone, ...]]]:
    """The text without the pronunciations in it, and all pronunciations."""
    from speechssl.synthesis import lexicon

    if len(text) > MOST_CHARACTERS:
        return text, {}  # is refused
    with blaming("text"):
        plain, found = lexicon.inline(text)
    with blaming("lexicon"):
        return plain, {**lexicon.parse(reading.lexicon), **found}


def _cues(settings: Settings, text: str) -> list[Cue]:
    """The cues of a text that is subtitles; none of another text."""
    from speechssl.synthesis import subtitles

    if len(text) > MOST_CHARACTERS or not subtitles.are_in(text):
        return []
    with blaming("text"):
        cues = subtitles.read(text)
    if cues[-1].end > settings.source_seconds:
        raise Refused("text", f"the subtitles end after {cues[-1].end / 60:.1f} minutes; at most "
                      f"{settings.source_seconds / 60:.3g} here")  # fmt: skip
    return cues


def _of(voice: str, chosen: Target) -> Target:
    """The target of a passage: the voice that it names, or the one that was chosen for the text."""
    return Target(voices=((voice, 1.0),)) if voice else chosen


def _spoken(
    synthesizer: Synthesizer, script: list[Passage], voices: dict[str, MatchingSet], reading: Reading, cues: list[Cue]
) -> Iterator[Speech]:
    """The sentences of all passages, each passage with its pause at the end; or the cues, each at its time."""
    if cues:
        from speechssl.synthesis import dubbing

        yield from dubbing.stream(synthesizer, cues, [voices[""]] * len(cues), **reading.settings)
        return
    for one in script:
        lead, before = one.lead, None
        for part in synthesizer.stream(one.text, voices[one.voice], **reading.settings):
            if before is not None:
                yield before
            lead, before = 0.0, _paused(part, before=lead)
        if before is not None:
            yield _paused(before, after=one.pause)


def _paused(part: Speech, *, before: float = 0.0, after: float = 0.0) -> Speech:
    """The speech with so many seconds of silence before and after it."""
    from speechssl.synthesis.synthesizer import shifted

    rate = part.waveform.sample_rate
    samples = torch.nn.functional.pad(part.waveform.samples, (round(before * rate), round(after * rate)))
    return dataclasses.replace(part, waveform=Waveform(samples, rate), words=tuple(shifted(part.words, before)))


def _judged(
    models: Models, store: Store, user: str, cast: list[Target], reading: Reading, path: Path
) -> Decision | str:
    if len(cast) > 1:
        return "not judged as a copy of one voice: several speak"
    if reading.interpolation < 1:
        return "not judged as a copy of the voice: a blend with the text model's own was asked for"
    return targets.verify(models, store, user, cast[0], path)


def _check(
    settings: Settings, names: list[str], text: str, target: Target, reading: Reading, *, timed: bool
) -> list[Passage]:
    """Check everything that can be checked before the models are loaded, and take the text apart."""
    from speechssl.synthesis.synthesizer import check_options

    if len(text) > MOST_CHARACTERS:
        raise Refused("text", f"{len(text)} characters; at most {MOST_CHARACTERS} here.")
    if not text.strip():
        raise Refused("text", "Write what is to be said.")
    script = [Passage(text)] if timed else passages(text, names) or [Passage(text)]
    recordings.check_format(reading.form)
    with blaming("options"):
        check_options(interpolation=reading.interpolation, speed=reading.speed)
    if any(not one.voice for one in script):
        targets.check(settings, target)
        if len(target.voices) > 1:
            raise Refused("target", "A text is spoken in one voice; only conversions can blend two.")
    return script
