"""HTML with values of other people in it."""

from __future__ import annotations

from markupsafe import Markup


def html(template: str, /, *values: object) -> Markup:
    """HTML with values in it: all HTML of the page is made by this function, which escapes every value.

    Args:
        template: with ``{}`` for each value, as ``str.format`` takes them.
        values: texts, numbers, or HTML that this function made, which stays as it is.
    """
    return Markup(template).format(*values)
