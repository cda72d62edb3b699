"""The voice library as cards: what a voice is, how it sounds, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from speechssl.app.handlers import targets, voices
from speechssl.app.markup import element, html
from speechssl.app.player import address

if TYPE_CHECKING:
    from pathlib import Path

    from markupsafe import Markup

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
    return html('<div class="heard"><span>{}</span>{}</div>', targets.plain(name), sound)


def _card(facts: dict[str, Any], converts: bool) -> Markup:
    name, plain = facts["name"], targets.plain(facts["name"])
    words = " ".join((plain, facts["description"], *facts["tags"])).casefold()
    parts = [html('<h3>{}</h3><p class="facts">{}{}</p>', plain, _facts(facts), _grade(facts))]
    if facts["description"]:
        parts.append(html("<p>{}</p>", facts["description"]))
    if settings := facts.get("settings"):
        parts.append(html('<p class="facts">Begins with {}.</p>', voices.in_words(settings)))
    tags = html("").join(element("li", one) for one in facts["tags"])
    parts.append(html('<ul class="tags" aria-label="tags">{}</ul>', tags))
    actions = [("play", "Play"), *[("use", "Convert")] * converts, *[("edit", "Edit")] * (name == plain)]
    buttons = [element("button", label, type="button", data_do=do, data_voice=name, aria_label=f"{label} {plain}")
               for do, label in actions]  # fmt: skip
    parts.append(html('<div class="tracks">{}</div>', html("").join(buttons)))
    return element("article", html("").join(parts), class_="voice", data_words=words)


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
