"""Cards of voices (what each is, how it sounds, what can be done with it) and of jobs (how far each is)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from speechssl.app.handlers import targets, voices
from speechssl.app.markup import element, html, kept
from speechssl.app.player import address

GRADES = {"good": "Good", "fair": "Fair", "poor": "Poor", "unknown": "Not measured"}


def library(found: Sequence[dict[str, Any]], *, converts: bool) -> Markup:
    """Cards of voices.

    Args:
        found: facts of ``handlers.voices.listed`` and ``bundled``.
        converts: whether the page can convert to them.
    """
    cards = html("").join(_card(one, converts) for one in found)
    return html('<div class="library">{}</div><p class="small" hidden>No voice has these words.</p>', cards)


def heard(path: Path, name: str) -> Markup:
    """The player of the library, which begins at once."""
    sound = element("audio", class_="sample", controls="", autoplay="", src=address(path), data_voice=name,
                    aria_label=f"how {targets.plain(name)} sounds")  # fmt: skip
    return html('<div class="heard">{}{}</div>', kept(targets.plain(name)), sound)


def _card(facts: dict[str, Any], converts: bool) -> Markup:
    name, plain = facts["name"], targets.plain(facts["name"])
    words = " ".join((plain, facts["description"], *facts["tags"])).casefold()
    parts = [html('{}<p class="facts">{}{}</p>', kept(plain, "h3"), _facts(facts), _grade(facts))]
    if facts["description"]:
        parts.append(_written(facts, "p", facts["description"]))
    if settings := facts.get("settings"):
        parts.append(html('<p class="facts">Begins with {}.</p>', voices.in_words(settings)))
    tags = html("").join(_written(facts, "li", one) for one in facts["tags"])
    parts.append(html('<ul class="tags" aria-label="tags">{}</ul>', tags))
    actions = [("play", "Play"), *[("use", "Convert")] * converts, *[("edit", "Edit")] * (name == plain)]
    tabs = {"use": "convert"}
    buttons = [_asks(label, f"{label} {plain}", f"voices-{do}", name, tabs.get(do, "")) for do, label in actions]
    parts.append(html('<div class="tracks">{}</div>', html("").join(buttons)))
    return element("article", html("").join(parts), class_="voice", data_words=words)


def _written(facts: dict[str, Any], name: str, text: str) -> Markup:
    """An element with words of a voice: those of a stored one are a person's."""
    return element(name, text) if targets.is_bundled(facts["name"]) else kept(text, name)


def _facts(facts: dict[str, Any]) -> str:
    told = [f"{facts['seconds']:.0f} s"]
    if count := len(facts.get("recordings", ())):
        told.append(f"{count} recording{'s' * (count > 1)}")
        told.append(f"{facts['megabytes']:.1f} MB")
        who = [one["who"] for one in facts["consents"]]
        told.append(f"consent of {', '.join([*who, *['nobody'] * bool(facts['uncovered'])])}")
    return " · ".join(told)


def _grade(facts: dict[str, Any]) -> Markup:
    if "quality" not in facts:
        return html("")
    grade, reason = facts["quality"]["grade"], facts["quality"]["reason"]
    return html(' · <span class="grade {}">{}</span>{}', grade, GRADES[grade],
                "" if grade in ("good", "unknown") else f": {reason}")  # fmt: skip


def jobs(work: Sequence[Any]) -> Markup:
    """The jobs of a window, newest first: ``tabs.stage.Shown``."""
    if not work:
        return html(
            '<p class="small">No job yet. Conversions, texts and batches go on when this window is closed; the list '
            "keeps each for an hour.</p>"
        )
    return html('<div class="library jobs">{}</div>', html("").join(_job(one) for one in reversed(work)))


def _job(job: Any) -> Markup:
    log = html("").join(html("<li>{:.1f} s: {}</li>", at, text) for at, text in job.steps)
    own = job.tab in ("speak", "batch") and job.what != "No recordings"  # a person's own words
    what = kept(job.what, "h3") if own else element("h3", job.what)
    parts = [html('{}<p class="facts">{}: {}</p>', what, job.tab.capitalize(), _progress(job))]
    if job.state == "running":
        parts.append(html('<progress max="1" value="{:.2f}" aria-label="done so far"></progress>', job.share))
    parts.append(html("<details><summary>Log</summary><ol>{}</ol></details>", log))
    if job.state != "running":
        again = "Again" if job.state == "done" else "Retry"
        field = f"{job.tab}-status-retry"
        parts.append(
            html('<div class="tracks">{}</div>', _asks(again, f"{again}: {job.what}", field, job.number, job.tab))
        )
    return element("article", html("").join(parts), class_=f"voice job {job.state}")


def _progress(job: Any) -> str:
    last = job.steps[-1][1] if job.steps else "starting"
    if job.state == "running":
        more = f", about {max(1, round(job.left))} s left" if math.isfinite(job.left) else ""
        return f"{last}{f' ({job.share:.0%}{more})' if job.share > 0 else ''}"
    return {"done": f"done in {job.seconds:.1f} s", "cancelled": "cancelled"}.get(job.state, f"failed: {last}")


def _asks(label: str, name: str, field: str, value: object, tab: str) -> Markup:
    """A button that writes a value into a field that nobody sees, on another tab if one is named."""
    return element("button", label, type="button", data_field=field, data_value=value, data_tab=tab, aria_label=name)
