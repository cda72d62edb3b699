"""HTML with values of other people in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup


def html(template: str, /, *values: object) -> Markup:
    """HTML with values in it: all HTML of the page is made by this function, which escapes every value.

    Args:
        template: with ``{}`` for each value, as ``str.format`` takes them.
        values: texts, numbers, or HTML that this function made, which stays as it is.
    """
    return Markup(template).format(*values)


def element(name: str, content: object = "", /, **attributes: object) -> Markup:
    """An element; an underscore in the name of an attribute stands for a hyphen, one at its end for nothing."""
    given = html("").join(
        html(' {}="{}"', key.rstrip("_").replace("_", "-"), round(value, 2) if isinstance(value, float) else value)
        for key, value in attributes.items()
    )
    return html("<{0}{1}>{2}</{0}>", name, given, content)


def kept(text: object, name: str = "span", /, **attributes: object) -> Markup:
    """An element with what people wrote or made: no language changes it."""
    return element(name, text, translate="no", **attributes)


def table(headings: Sequence[str], rows: Iterable[Iterable[object]]) -> Markup:
    """A table; a cell is a text, or an element ``td``."""
    head = html("").join(element("th", one) for one in headings)
    cells = ((one if isinstance(one, Markup) else element("td", one) for one in row) for row in rows)
    body = html("").join(element("tr", html("").join(row)) for row in cells)
    return html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def listed(items: Iterable[object]) -> Markup:
    """A list; nothing if it is empty."""
    body = html("").join(element("li", one) for one in items)
    return element("ul", body) if body else body
