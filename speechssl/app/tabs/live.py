"""The tab Live: speak, and be heard in another voice. ``live.js`` has the sound; this is what a person chooses."""

from __future__ import annotations

from typing import Any

import gradio as gr

from speechssl.app.handlers import targets, voices
from speechssl.app.handlers.targets import BUNDLED
from speechssl.app.markup import html
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import QUIET, Page

LATENCIES = (("Short, 0.12 s: more work, words less clear", 120), ("Usual, 0.22 s", 220), ("Long, 0.35 s", 350))


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            voice, consent = _voice(page)
            gr.HTML(_INSECURE, elem_classes="tight")
            gr.HTML(_DEVICES, elem_classes="tight", elem_id="live-devices")
            latency = gr.Dropdown(list(LATENCIES), value=220, label="Delay of the conversion", elem_id="live-latency",
                                  filterable=False)  # fmt: skip
            talk = gr.Checkbox(False, label="Push to talk", info="Only what is said while the button is held is heard.",
                               elem_id="live-push")  # fmt: skip
            monitor = gr.Checkbox(True, label="Hear yourself", elem_id="live-monitor",
                                  info="Off: nothing is played; for a recording.")  # fmt: skip
            record = gr.Checkbox(False, label="Keep a recording", elem_id="live-record",
                                 info=f"With a signed receipt, {page.state.settings.source_seconds / 60:.3g} min at "
                                 "most.")  # fmt: skip
            with gr.Row(elem_classes="actions"):
                go = gr.Button("Start", variant="primary", elem_id="live-go", elem_classes="go", scale=3, min_width=120)
                stop = gr.Button("Stop", variant="stop", elem_id="live-stop", elem_classes="cancel", min_width=90)
        with gr.Column(scale=6, min_width=320, elem_classes="stage"):
            gr.HTML(_CARD, elem_id="live-status")
    window = gr.Textbox(visible=False)  # the number of the session, for the recording
    page.keep(latency, talk, monitor)
    chosen = [voice, consent.agreed, consent.who, consent.purpose]
    named = go.click(_named, None, window, **QUIET)
    for event, taken, name in (
        (named.then, [*chosen, latency, talk, monitor, record, window], "start"),
        (stop.click, [], "stop"),
        (voice.change, chosen, "change"),
        (consent.agreed.change, chosen, "change"),
        (talk.change, [talk], "push"),
        (monitor.change, [monitor], "monitor"),
    ):
        event(None, taken, None, js=f"(...given) => {{ speechssl.live.{name}(...given); }}", **QUIET)


def _voice(page: Page) -> tuple[Any, parts.ConsentFields]:
    """The voice, and the attestation where its recordings lack one."""
    usual = f"{BUNDLED}eric"
    voice = gr.Dropdown(targets.names(page.state.store), value=usual, label="Voice", elem_id="live-voice",
                        elem_classes=parts.NAMES,
                        info="Can be changed while you speak. Voices are added in the tab Voices.")  # fmt: skip
    page.voices.append(voice)
    page.keep(voice)
    consent = parts.consent_fields(page, "live")
    consent.group.visible = False  # the page opens with a bundled voice

    def needed(name: str, request: gr.Request) -> Any:
        stored = {one["name"]: one for one in voices.listed(page.state.store, page.session(request).user)}
        lacking = name in stored and stored[name]["uncovered"]
        return gr.update(visible=bool(page.state.settings.consent and lacking))

    voice.change(needed, voice, consent.group, **QUIET)
    return voice, consent


def _named(request: gr.Request) -> str:
    return str(request.session_hash)


_INSECURE = html(
    '<p class="small needs-https" role="note">The microphone needs https: browsers give it to pages with https, and to '
    "pages of the same machine. Ask who runs this service for its https address, or use <code>speechssl live</code> on "
    "your own machine.</p>"
)
_DEVICES = html(
    '<div class="devices">'
    '<label>Microphone<select id="live-microphone"><option value="">System default</option></select></label>'
    '<label hidden>Loudspeaker<select id="live-loudspeaker"><option value="">System default</option></select></label>'
    "</div>"
)
_CARD = html(
    '<div class="card muted" id="live-card"><strong role="status">Speak in another voice</strong>'
    "<div>Put headphones on: the microphone must not hear the loudspeaker. Choose a voice, start, and allow the "
    "microphone. You are heard about a quarter of a second later.</div></div>"
    '<p><button type="button" id="live-talk" hidden aria-pressed="false">Hold to speak</button></p>'
    '<div class="meters">'
    '<label>You <meter id="live-input" min="0" max="60" low="1" high="59" value="0"></meter></label>'
    '<label>The voice <meter id="live-output" min="0" max="60" low="1" high="59" value="0"></meter></label></div>'
    '<div class="card facts"><table><tbody><tr><th scope="row">Mouth to ear</th><td id="live-delay">–</td></tr>'
    '<tr><th scope="row">Sound missing (xruns)</th><td id="live-xruns">–</td></tr>'
    '<tr><th scope="row">Processor</th><td id="live-load">–</td></tr></tbody></table></div>'
    '<div id="live-made"></div>'
)
