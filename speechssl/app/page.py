"""The page: tabs, styles, and the named endpoints of the API behind it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from anyio import CapacityLimiter

from speechssl import __version__
from speechssl.app import cards, endpoints, languages, schema, sessions, visitors
from speechssl.app.handlers import speaking, targets
from speechssl.app.markup import element, html, kept
from speechssl.app.state import State
from speechssl.app.tabs import batch, convert, live, options, parts, speak, units, verify, voices
from speechssl.app.tabs.parts import Page
from speechssl.errors import InputError

TITLE = "speechssl"
LOOK = 2.0  # seconds between two looks of the list of jobs
CHEAP = 40  # calls at once that only list or rename something
TABS = ("convert", "live", "speak", "verify", "units", "batch", "voices", "history")
CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
# on a phone Gradio hides the link to the API and leaves the point behind it, which page.css does not reach
STYLE = "<style>@media (max-width:640px) {footer .divider {display:none}}</style>"
SCRIPTS = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.js", "live.js")]
SCRIPT = STYLE + "<script>" + "</script><script>".join(SCRIPTS) + "</script>"


def theme() -> Any:
    """Quiet colours and the fonts of the system; nothing is downloaded."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    found = gr.themes.Soft(
        primary_hue="indigo", secondary_hue="indigo", neutral_hue="slate", font=fonts,
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"], radius_size="md", spacing_size="md",
    )  # fmt: skip
    # a contrast of 4.5 for text and of 3 for what can be chosen, as WCAG 2.2 asks for
    looks = {
        "block_title_background_fill": ("transparent", "transparent"),
        "block_title_text_color": ("*body_text_color", "*body_text_color"),
        "block_label_text_color": ("*primary_800", "*primary_100"),
        "block_info_text_color": ("*neutral_600", "*neutral_300"),
        "body_text_color_subdued": ("*neutral_600", "*neutral_300"),
        "input_border_color": ("*neutral_400", "*neutral_500"),
        "input_placeholder_color": ("*neutral_500", "*neutral_300"),
        "checkbox_border_color": ("*neutral_500", "*neutral_400"),
        "checkbox_label_background_fill_selected": ("*primary_600", "*primary_600"),
        "checkbox_background_color_selected": ("*primary_600", "*primary_600"),
        "button_secondary_border_color": ("*neutral_400", "*neutral_500"),
        "button_secondary_border_color_hover": ("*neutral_500", "*neutral_400"),
        "button_primary_background_fill": ("*primary_600", "*primary_600"),
        "button_primary_background_fill_hover": ("*primary_700", "*primary_500"),
        "link_text_color": ("*primary_700", "*primary_300"),
        "link_text_color_hover": ("*primary_800", "*primary_200"),
        "link_text_color_visited": ("*primary_700", "*primary_300"),
        "link_text_color_active": ("*primary_800", "*primary_200"),
    }
    both = {name + dark: pair[at] for name, pair in looks.items() for at, dark in enumerate(("", "_dark"))}
    return found.set(
        block_title_padding="0",
        block_border_width="1px",
        block_shadow="none",
        block_title_text_weight="600",
        button_border_width="1px",
        input_border_width="1px",
        **both,
    )


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
    deleted = (300, int(limits.keep_seconds))
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=deleted) as blocks:
        gr.HTML(
            html(
                '<header class="masthead"><h1>speechssl</h1>{}<p>Convert and verify speech, and turn it into units. '
                "Use only voices whose owners agree; every recording made with this page carries a signed receipt.</p>"
                "</header>",
                _languages(),
            )
        )
        shelf = (gr.HTML("", elem_id="voices-cards", render=False),) if "voices" in tabs else ()
        page = Page(state, _history() if "history" in tabs else (), shelf=shelf, presets=_kept_presets())
        page.keep(page.presets)
        with gr.Tabs():
            for name in TABS:
                if name in tabs and (name != "speak" or speaking.available()):
                    with gr.Tab(name.capitalize(), id=name) as opened:
                        _TABS[name](page)
                    if name == "history":  # what was spoken live came without an event of the page
                        opened.select(_remembered(page), None, list(page.history), **parts.QUIET)
        gr.HTML(html('<p class="small">speechssl {}. Up to {} MB per file and {:.3g} min per source.</p>',
                     __version__, limits.megabytes, limits.source_seconds / 60))  # fmt: skip

        _open(page, blocks)
        endpoints.add(state, tabs)
    # the queue is that of ``Jobs``: every call gets a thread at once, and waits for its turn only if it costs something
    blocks.max_threads = limits.parallel + limits.waiting + CHEAP
    blocks.limiter = CapacityLimiter(blocks.max_threads)
    blocks.state_session_capacity = sessions.MOST + sessions.MOST_ONCE
    blocks.queue(max_size=1000, default_concurrency_limit=None)
    # Gradio looks for new calls a thousand times a second, and for progress a hundred times, also when nobody is there
    blocks._queue.sleep_when_free, blocks._queue.progress_update_sleep_when_free = 0.05, 0.5
    blocks.validate_inputs, blocks._format_processing_error = _check_number, _unusable
    return blocks


def _languages() -> str:
    """Links to the page in each language, each in its own words."""
    links = (
        kept(name, "a", href="?lang=" + code, lang=code, hreflang=code) for code, name in languages.names().items()
    )
    return element("nav", html("").join(links), class_="languages", aria_label="Language")


def _kept_presets() -> Any:
    """A field that nobody sees: the presets of all tabs, which the browser keeps."""
    return gr.Textbox("", visible="hidden", elem_id="presets", max_length=options.LONGEST)


def _open(page: Page, blocks: gr.Blocks) -> None:
    """Fill the page when a person opens it: lists, what the browser kept, what its session had."""
    window = gr.Textbox(visible=False)  # what the browser says of itself

    def opened(told: str, request: gr.Request) -> dict[Any, Any]:
        user, cookies = getattr(request, "username", None) or "", dict(request.cookies)
        tab, kept = _told(told)
        session = page.state.sessions.take_up(str(request.session_hash), tab, user, visitors.browser_of(cookies))
        found = {**{one: fill(session.user) for one, fill in page.opened.items()}, **page.listed(session.user)}
        names = targets.names(page.state.store, session.user)
        for name, one in page.kept.items():
            if name in kept and parts.is_possible(one, kept[name], names if one in page.voices else ()):
                found[one] = gr.update(**{**found.get(one, {}), "value": kept[name]})
        return {**found, **page.drafts(session), **page.remembered(session)}

    # Gradio waits for one answer to a change before it goes on to the next: these come last
    for group in page.drafted:
        gr.on([one.change for one in group], page.remember, set(group), None, **parts.QUIET)
    drafted, kept = itertools.chain(*page.drafted), page.kept.values()
    filled = dict.fromkeys([*page.opened, *drafted, *page.voices, *page.seconds, *kept, *page.history])
    ready = blocks.load(opened, window, list(filled), js="() => speechssl.opened()", api_visibility="private",
                        show_progress="hidden")  # fmt: skip
    for again, outputs in page.again:
        ready.then(again, None, outputs, show_progress="hidden", **page.heavy)


def _told(text: str) -> tuple[str, dict[str, Any]]:
    """The number of a browser's tab, and the values that it kept; nothing if a browser says something else."""
    try:
        found = json.loads(text)
        return str(found["tab"])[:64], dict(found["kept"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "", {}


def _check_number(function: Any, values: Sequence[Any]) -> None:
    """Refuse a call with too few values, in other words than Gradio's own."""
    if len(values) < len(function.inputs):
        raise gr.Error(f"data: {len(values)} values; {len(function.inputs)} needed", print_exception=False)


def _unusable(function: Any, index: int, component: Any, value: Any, **_: Any) -> str:
    """Say that a component of the page cannot hold a value, in other words than Gradio's own."""
    name = getattr(component, "label", None) or f"value {index + 1}"
    return f"{name}: got {schema.described(value)}; the page sends other values"


def _history() -> tuple[Any, Any, Any, Any]:
    """What other tabs fill on the tab History: jobs, the clock that looks at those at work, the table, the files."""
    jobs = gr.HTML(cards.jobs(()), elem_id="history-jobs", render=False)
    clock = gr.Timer(LOOK, active=False, render=False)
    rows = gr.Dataframe(headers=["made (UTC)", "what", "how", "seconds", "passes", "file"], interactive=False,
                        label="Made in this window", render=False, elem_id="history-table")  # fmt: skip
    files = gr.File(file_count="multiple", interactive=False, label="Recordings and receipts", render=False,
                    elem_id="history-files", height=260)  # fmt: skip
    return jobs, clock, rows, files


def _remembered(page: Page) -> Any:
    def remembered(request: gr.Request) -> dict[Any, Any]:
        return page.remembered(page.session(request))

    return remembered


def _show_history(page: Page) -> None:
    jobs, clock, rows, files = page.history
    jobs.render()
    clock.render()
    clock.tick(_remembered(page), None, list(page.history), **parts.QUIET)
    gr.Markdown(
        "Everything made in this window, also before it was closed or loaded again. It is deleted "
        f"{page.state.settings.keep_seconds / 60:.0f} minutes after the last use; download what you want to keep. "
        "Choose a row to read its receipt; `speechssl receipt check FILE` verifies the receipt on any machine."
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
    "live": live.tab,
    "speak": speak.tab,
    "verify": verify.tab,
    "units": units.tab,
    "batch": batch.tab,
    "voices": voices.tab,
    "history": _show_history,
}
