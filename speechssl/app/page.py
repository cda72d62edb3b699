"""The page: tabs, styles, and the named endpoints of the API behind it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from speechssl import __version__
from speechssl.app import endpoints
from speechssl.app.handlers import listing, speaking
from speechssl.app.state import Settings, Workshop
from speechssl.app.tabs import batch, convert, parts, speak, units, verify, voices

TITLE = "speechssl"
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
    """Quiet colours and the system's own fonts: nothing is fetched from elsewhere."""
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


def build(shop: Workshop | None = None) -> gr.Blocks:
    """The page, with everything its handlers need.

    Args:
        shop: models, voices, limits; None for one with the default settings.
    """
    shop = shop or Workshop(Settings())
    limits = shop.settings
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(300, int(limits.keep_seconds))) as page:
        gr.HTML(
            '<header class="masthead"><h1>speechssl</h1><p>Convert, verify and discretise speech. Only voices whose '
            "owners agree; everything made here carries a signed receipt.</p></header>"
        )
        rows = gr.Dataframe(headers=convert.HEADINGS, interactive=False, label="Made in this window", render=False,
                            elem_id="history-table")  # fmt: skip
        files = gr.File(file_count="multiple", interactive=False, label="Recordings and receipts", render=False,
                        elem_id="history-files", height=260)  # fmt: skip
        with gr.Tabs():
            with gr.Tab("Convert", id="convert"):
                target = convert.tab(shop, (rows, files))
            spoken = None
            if speaking.available():
                with gr.Tab("Speak", id="speak"):
                    spoken = speak.tab(shop, (rows, files))
            with gr.Tab("Verify", id="verify"):
                speakers = verify.tab(shop)
            with gr.Tab("Units", id="units"):
                unit_voice = units.tab(shop)
            with gr.Tab("Batch", id="batch"):
                batch_target = batch.tab(shop, (rows, files))
            with gr.Tab("Voices", id="voices"):
                firsts = [target, batch_target, *([spoken] if spoken else [])]
                lists = [unit_voice, *(one.voice for one in firsts)]
                seconds = [one.second for one in firsts]
                shelf = voices.tab(shop, lists, seconds)
            with gr.Tab("History", id="history"):
                gr.Markdown(
                    f"What this window made. It is deleted {limits.keep_seconds / 60:.0f} minutes after the last use; "
                    "download what you want to keep. Choose a row to read its receipt; `speechssl receipt check FILE` "
                    "verifies it anywhere."
                )
                rows.render()
                paper = gr.JSON(label="Receipt", visible=False, elem_id="history-receipt", max_height=420)
                files.render()
        gr.HTML(f'<p class="small">speechssl {__version__}. Up to {limits.megabytes} MB a file and '
                f"{limits.source_seconds / 60:.3g} min a source.</p>")  # fmt: skip

        def opened(request: gr.Request) -> dict[Any, Any]:
            session = parts.session_of(shop, request)
            names = listing.names(shop, session.user)
            stored = names[: len(listing.voices(shop, session.user))]
            return {
                speakers: verify.rows(shop, session.user),
                shelf[0]: voices.rows(shop, session.user),
                shelf[1]: gr.update(choices=stored, value=next(iter(stored), None)),
                **{one: gr.update(choices=names) for one in lists},
                **{one: gr.update(choices=["", *names]) for one in seconds},
            }

        def chosen(event: gr.SelectData, request: gr.Request) -> Any:
            made = {one["path"].name: one["receipt"] for one in parts.session_of(shop, request).results}
            found = made.get(str(event.row_value[-1]))
            return gr.update(value=found, label=f"Receipt of {event.row_value[-1]}", visible=found is not None)

        rows.select(chosen, None, paper, api_visibility="private", show_progress="hidden")
        page.load(opened, None, [speakers, *shelf, *lists, *seconds], api_visibility="private", show_progress="hidden")
        endpoints.add(shop)
    page.queue(max_size=limits.waiting, default_concurrency_limit=shop.jobs)
    return page
