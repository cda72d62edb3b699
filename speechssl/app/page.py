"""The page: tabs, styles, and the named endpoints of the API behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from anyio import CapacityLimiter

from speechssl import __version__
from speechssl.app import endpoints, schema, sessions
from speechssl.app.handlers import speaking
from speechssl.app.markup import html
from speechssl.app.state import State
from speechssl.app.tabs import batch, convert, speak, units, verify, voices
from speechssl.app.tabs.parts import Page
from speechssl.errors import InputError

TITLE = "speechssl"
CHEAP = 40  # calls at once that only list or rename something
TABS = ("convert", "speak", "verify", "units", "batch", "voices", "history")
CSS = """
.gradio-container {width: 100% !important; max-width: 1180px !important; margin: 0 auto !important}
.masthead {display:flex; flex-wrap:wrap; align-items:baseline; gap:.2rem .8rem; padding:.6rem .1rem .1rem}
.masthead h1 {font-size:1.5rem; margin:0; letter-spacing:-.01em}
.masthead p {margin:0; opacity:.75}
.card {border:1px solid var(--border-color-primary); border-left:5px solid var(--border-color-primary);
  border-radius:8px; padding:.65rem .9rem; margin:.15rem 0; background:var(--block-background-fill); line-height:1.5}
.card strong {display:block; font-size:1.02rem}
.card.good {border-left-color:#2fa36b} .card.warn {border-left-color:#e0a030} .card.bad {border-left-color:#d6455d}
.card.muted div {opacity:.8}
.card table {width:100%; font-size:.86rem; margin-top:.5rem; border-collapse:collapse; display:block; overflow-x:auto}
.card th, .card td {text-align:left; padding:.18rem .6rem .18rem 0; white-space:nowrap}
.card th {font-weight:600; opacity:.7}
.card table, .card tr, .card th, .card td {border:none !important; background:none !important}
.problem {color:#c02f47; margin:.15rem .2rem .3rem; font-weight:500}
.dark .problem {color:#ff8fa0}
.block.maybe:not(:has(.prose > *)):not(:has(.html-container.pending)) {display:none !important}
.block.status:has(.html-container.pending) {min-height:4.5rem}
.block.status .html-container.pending {visibility:hidden}
.bottom {align-items:flex-end !important}
.tight {padding:0 !important} .tight .small {margin:0}
.fine {font-size:.8rem; opacity:.75; margin-top:.3rem}
.card td.breaks {white-space:normal; overflow-wrap:anywhere; min-width:7rem}
.scrolled {overflow-x:auto; border-radius:4px} .picture .scrolled svg {max-width:none}
#history-files button[aria-label*="emove"] {display:none}
.small {font-size:.86rem; opacity:.8; margin:.3rem .6rem}
.picture {margin:.2rem 0 .1rem} .picture svg {width:100%; height:auto; display:block}
.picture figcaption {font-size:.88rem; font-weight:600; margin-bottom:.2rem}
.pictures {display:grid; grid-template-columns:repeat(auto-fit,minmax(140px,1fr)); gap:.6rem}
.legend {display:flex; flex-wrap:wrap; gap:.15rem .9rem; font-size:.82rem; opacity:.85}
.legend i {display:inline-block; width:.7rem; height:.7rem; border-radius:2px; margin-right:.35rem}
.scale {position:relative; height:8px; border-radius:4px; margin:.6rem 0 .3rem;
  background:linear-gradient(90deg,#d6455d,#e0a030 55%,#2fa36b)}
.scale b {position:absolute; top:-4px; width:2px; height:16px; background:currentColor; opacity:.6}
.scale i {position:absolute; top:-4px; width:16px; height:16px; margin-left:-8px; border-radius:50%;
  background:var(--body-text-color); border:3px solid var(--body-background-fill)}
"""


def theme() -> Any:
    """Quiet colours and the fonts of the system; nothing is downloaded."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    found = gr.themes.Soft(
        primary_hue="indigo", secondary_hue="indigo", neutral_hue="slate", font=fonts,
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"], radius_size="md", spacing_size="md",
    )  # fmt: skip
    plain = {"background_fill": "transparent", "text_color": "*body_text_color", "text_weight": "600"}
    return found.set(
        block_title_padding="0", block_border_width="1px", block_shadow="none",
        **{f"block_title_{name}{dark}": value for name, value in plain.items() for dark in ("", "_dark")
           if not (name == "text_weight" and dark)},
    )  # fmt: skip


def build(state: State | None = None, *, tabs: Sequence[str] = TABS) -> gr.Blocks:
    """Make the page, with its endpoints.

    Args:
        state: models, voices, limits; None for new ones with the default settings.
        tabs: which of ``TABS`` the page has; the endpoints are those of these tabs.
    Raises:
        InputError: a tab of another name.
    """
    if unknown := set(tabs) - set(TABS):
        raise InputError(f"tabs {', '.join(sorted(unknown))}; only {', '.join(TABS)} exist")
    state = state or State()
    limits = state.settings
    # for a host that launches the page itself; the service deletes files with their sessions
    kept = (300, int(limits.keep_seconds))
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=kept) as blocks:
        gr.HTML(
            '<header class="masthead"><h1>speechssl</h1><p>Convert and verify speech, and turn it into units. Use only '
            "voices whose owners agree; every recording made with this page carries a signed receipt.</p></header>"
        )
        page = Page(state, _history() if "history" in tabs else ())
        with gr.Tabs():
            for name in TABS:
                if name in tabs and (name != "speak" or speaking.available()):
                    with gr.Tab(name.capitalize(), id=name):
                        _TABS[name](page)
        gr.HTML(html('<p class="small">speechssl {}. Up to {} MB per file and {:.3g} min per source.</p>',
                     __version__, limits.megabytes, limits.source_seconds / 60))  # fmt: skip

        def opened(request: gr.Request) -> dict[Any, Any]:
            user = page.session(request).user
            return {**{one: fill(user) for one, fill in page.opened.items()}, **page.listed(user)}

        filled = [*page.opened, *page.voices, *page.seconds]
        blocks.load(opened, None, filled, api_visibility="private", show_progress="hidden")
        endpoints.add(state, tabs)
    # the queue is that of ``Jobs``: every call gets a thread at once, and waits for its turn only if it costs something
    blocks.max_threads = limits.parallel + limits.waiting + CHEAP
    blocks.limiter = CapacityLimiter(blocks.max_threads)
    blocks.state_session_capacity = sessions.MOST + sessions.MOST_ONCE
    blocks.queue(max_size=1000, default_concurrency_limit=None)
    blocks.validate_inputs, blocks._format_processing_error = _check_number, _unusable
    return blocks


def _check_number(function: Any, values: Sequence[Any]) -> None:
    """Refuse a call with too few values, in other words than Gradio's own."""
    if len(values) < len(function.inputs):
        raise gr.Error(f"data: {len(values)} values; {len(function.inputs)} needed", print_exception=False)


def _unusable(function: Any, index: int, component: Any, value: Any, **_: Any) -> str:
    """Say that a component of the page cannot hold a value, in other words than Gradio's own."""
    name = getattr(component, "label", None) or f"value {index + 1}"
    return f"{name}: got {schema.described(value)}; the page sends other values"


def _history() -> tuple[Any, Any]:
    """The table and the files of the tab History, which other tabs fill."""
    rows = gr.Dataframe(headers=["made (UTC)", "what", "how", "seconds", "passes", "file"], interactive=False,
                        label="Made in this window", render=False, elem_id="history-table")  # fmt: skip
    files = gr.File(file_count="multiple", interactive=False, label="Recordings and receipts", render=False,
                    elem_id="history-files", height=260)  # fmt: skip
    return rows, files


def _show_history(page: Page) -> None:
    rows, files = page.history
    gr.Markdown(
        f"Everything made in this window. It is deleted {page.state.settings.keep_seconds / 60:.0f} minutes after the "
        "last use; download what you want to keep. Choose a row to read its receipt; `speechssl receipt check FILE` "
        "verifies the receipt on any machine."
    )
    rows.render()
    paper = gr.JSON(label="Receipt", visible=False, elem_id="history-receipt", max_height=420)
    files.render()

    def chosen(event: gr.SelectData, request: gr.Request) -> Any:
        made = {one["path"].name: one["receipt"] for one in page.session(request).results}
        found = made.get(str(event.row_value[-1]))
        return gr.update(value=found, label=f"Receipt of {event.row_value[-1]}", visible=found is not None)

    rows.select(chosen, None, paper, api_visibility="private", show_progress="hidden")


# in the order of the page: the tab Voices updates the lists of all tabs before it
_TABS: dict[str, Callable[[Page], None]] = {
    "convert": convert.tab,
    "speak": speak.tab,
    "verify": verify.tab,
    "units": units.tab,
    "batch": batch.tab,
    "voices": voices.tab,
    "history": _show_history,
}
