"""Pieces of a page that several tabs have: whose session it is, whose voice is wanted, by whose leave."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from speechssl.app import pictures
from speechssl.app.handlers import listing
from speechssl.app.handlers.conversions import BUNDLED, Target
from speechssl.app.sessions import Session
from speechssl.app.state import Refused, Workshop
from speechssl.signals import Waveform
from speechssl.voices import consent
from speechssl.voices.consent import Consent

HEARD_AT_ONCE = shutil.which("ffmpeg") is not None  # Gradio codes its streams with it
WORK = "work"  # name of the queue that all heavy events share
LISTED, FILES, MICROPHONE = "A voice from the list", "Recordings", "Microphone"


def session_of(shop: Workshop, request: gr.Request) -> Session:
    """The session of the window that asks."""
    return shop.sessions.get(request.session_hash, getattr(request, "username", None) or "")


def teller(progress: gr.Progress) -> Any:
    """Progress as the handlers tell it, to the page."""
    return lambda share, text: progress(min(share, 1.0), desc=text)


def paths(files: Sequence[str] | str | None) -> tuple[Path, ...]:
    """What a file component gives."""
    if not files:
        return ()
    return tuple(Path(file) for file in ([files] if isinstance(files, str) else files))


def path(file: str | None) -> Path | None:
    """What an audio component gives."""
    return Path(file) if file else None


def heard(waveform: Waveform) -> tuple[int, Any]:
    """A piece of sound for a streaming player."""
    return waveform.sample_rate, (waveform.samples.clamp(-1, 1).numpy() * 32767).astype(np.int16)


@dataclass(frozen=True, eq=False)
class ConsentFields:
    """Box, who, for what, and the line for what is wrong."""

    group: Any
    agreed: Any
    who: Any
    purpose: Any
    problem: Any

    @property
    def inputs(self) -> list[Any]:
        """For an event."""
        return [self.agreed, self.who, self.purpose]


def consent_fields(shop: Workshop, key: str) -> ConsentFields:
    """The attestation; hidden where the service is configured without."""
    with gr.Group(visible=shop.settings.consent) as group:
        agreed = gr.Checkbox(label=consent.STATEMENT, info="Kept in the receipt of everything made with it.",
                             elem_id=f"{key}-agree")  # fmt: skip
        with gr.Row():
            who = gr.Textbox(label="Your name", max_lines=1, elem_id=f"{key}-who", max_length=consent.LONGEST)
            purpose = gr.Textbox(label="What it is for", max_lines=1, elem_id=f"{key}-purpose",
                                 max_length=consent.LONGEST)  # fmt: skip
    return ConsentFields(group, agreed, who, purpose, problem(f"{key}-consent-problem"))


def leave_of(agreed: bool, who: str, purpose: str) -> Consent | None:
    """The attestation, if it is given.

    Raises:
        Refused: the box is ticked, but a name or a purpose is missing.
    """
    if not agreed:
        return None
    if not who.strip() or not purpose.strip():
        raise Refused("consent", "Say also who you are and what the voice is for; both go into the receipt.")
    return consent.attest(who, purpose)


@dataclass(frozen=True, eq=False)
class TargetFields:
    """Whose voice is wanted."""

    kind: Any
    voice: Any
    second: Any
    share: Any
    files: Any
    microphone: Any
    problem: Any

    @property
    def inputs(self) -> list[Any]:
        """For an event, in the order ``target_of`` takes."""
        return [self.kind, self.voice, self.second, self.share, self.files, self.microphone]


def target_fields(shop: Workshop, key: str, *, blend: bool = True) -> TargetFields:
    """A list of voices, one or two of them if they are blended; recordings; or the microphone."""
    choices = listing.names(shop)
    kind = gr.Radio([LISTED, FILES, MICROPHONE], value=LISTED, label="Whose voice?", elem_id=f"{key}-kind")
    with gr.Group(visible=True) as listed:
        voice = gr.Dropdown(choices, value=f"{BUNDLED}eric", label="Voice", elem_id=f"{key}-voice",
                            info="Stored voices, and six that ship with speechssl.")  # fmt: skip
        with gr.Accordion("Blend with a second voice", open=False, visible=blend):
            second = gr.Dropdown(["", *choices], value="", label="Second voice", elem_id=f"{key}-second")
            share = gr.Slider(0, 1, 0.3, step=0.05, label="Share of the second voice",
                              info="0 is the first voice alone, 1 the second.")  # fmt: skip
    files = gr.File(file_count="multiple", label="Recordings of the voice, 10 s or more",
                    visible=False, elem_id=f"{key}-files", height=150)  # fmt: skip
    microphone = gr.Audio(sources=["microphone"], type="filepath", label="Read something aloud for 15 seconds or more",
                          visible=False, elem_id=f"{key}-microphone", buttons=[])  # fmt: skip
    wrong = problem(f"{key}-target-problem")
    kind.change(
        lambda chosen: [gr.update(visible=chosen == one) for one in (LISTED, FILES, MICROPHONE)],
        kind, [listed, files, microphone], queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    return TargetFields(kind, voice, second, share, files, microphone, wrong)


def ask_only_where_needed(shop: Workshop, target: TargetFields, leave: ConsentFields) -> None:
    """Show the attestation for recordings, and for voices that were stored without one."""

    def needed(kind: str, voice: str, second: str, request: gr.Request) -> Any:
        stored = {one["name"]: one for one in listing.voices(shop, session_of(shop, request).user)}
        lacking = any(name in stored and not stored[name]["consents"] for name in (voice, second))
        return gr.update(visible=shop.settings.consent and (kind != LISTED or lacking))

    leave.group.visible = False  # a bundled voice is chosen at first
    for field in (target.kind, target.voice, target.second):
        field.change(needed, [target.kind, target.voice, target.second], leave.group, queue=False,
                     show_progress="hidden", api_visibility="private")  # fmt: skip


def target_of(
    kind: str, voice: str, second: str, share: float, files: Sequence[str] | None, microphone: str | None
) -> Target:
    """The target a person chose."""
    if kind == FILES:
        return Target(files=paths(files))
    if kind == MICROPHONE:
        return Target(files=paths(microphone))
    if second and second != voice and share > 0:
        shares = ((voice, 1 - share), (second, share)) if share < 1 else ((second, 1.0),)
        return Target(voices=shares)
    return Target(voices=((voice, 1.0),) if voice else ())


def semitones(pitch: Any) -> float:
    """What a person wrote into a field of pitch.

    Raises:
        Refused: no number.
    """
    try:
        return float(pitch)
    except (TypeError, ValueError):
        raise Refused("options", f"pitch {pitch!r}: target, source or a number of semitones needed") from None


def forget(button: Any, fields: dict[str, Any]) -> None:
    """Take away what was wrong the last time as soon as the button is pressed, in the browser itself."""
    lines = list(dict.fromkeys(fields.values()))
    button.click(None, None, lines, js=f"() => Array({len(lines)}).fill('')" if len(lines) > 1 else "() => ''",
                 api_visibility="private", queue=False)  # fmt: skip


def problem(key: str) -> Any:
    """An empty line beside a field, for what is wrong with it."""
    return gr.HTML("", elem_id=key, elem_classes="maybe")


def blame(fields: dict[str, Any], error: Exception, shop: Workshop, otherwise: Any) -> dict[Any, str]:
    """The sentence for the field an error concerns, and nothing for the others."""
    from speechssl.errors import SpeechSSLError

    text = listing.said(error, shop) if isinstance(error, SpeechSSLError) else str(error)
    to = fields.get(getattr(error, "field", ""), otherwise)
    return {**dict.fromkeys([*fields.values(), otherwise], ""), to: pictures.problem(text)}
