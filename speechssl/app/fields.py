"""The options of a conversion, each declared once: name, label, default, how to show it, and how to read it.

The page, the endpoints and ``conversions.Options`` are made from ``OPTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from speechssl.app import schema
from speechssl.app.handlers.conversions import Options
from speechssl.app.handlers.recordings import FORMATS
from speechssl.app.refusals import Refused
from speechssl.app.schema import Argument
from speechssl.conversion import converters
from speechssl.conversion.bundles import BUNDLES, bundle

Show = Callable[["Field", dict[str, Any]], Any]
WAYS = (("Of the voice", "target"), ("Of the source", "source"))
LOUDNESS = (
    ("Of the source", "contour"),
    ("Half way", "contour=0.5"),
    ("Of the source on the whole", "level"),
    ("As it comes", "off"),
)
TEMPOS = (("As the converter sets it", "auto"), *WAYS)
NUMBER = "number"  # the choice that takes the number beside it


@dataclass(frozen=True)
class Scale:
    """A number that can be given instead of a choice, by a slider.

    Args:
        label: with the unit.
        low, high, step: of the slider.
        start: where the slider stands at first.
    """

    label: str
    low: float
    high: float
    step: float
    start: float


@dataclass(frozen=True)
class Field:
    """One option.

    Args:
        name: of the attribute of ``Options``.
        label: for clients of the API; on the page too, unless ``plain`` says it without words of the trade.
        info: what the values mean.
        default: of the page and of the endpoints.
        show: makes the component of the page from the field and further arguments of the component.
        parse: makes the value for ``Options`` from what the page or a client sends.
        argument: name of the endpoints' argument, if it differs.
        limits: of a number; whole numbers only, unless it is a share.
        scale: the number that can be given instead of one of the choices.
        plain: label on the page.
    """

    name: str
    label: str
    info: str
    default: Any
    show: Show
    parse: Callable[[Any], Any]
    argument: str = ""
    limits: tuple[float, float] = (0, 1)
    scale: Scale | None = None
    plain: str = ""

    def for_client(self) -> Argument:
        """The argument of an endpoint: a number or a text."""
        label = f"{self.label}. {self.info}"
        if isinstance(self.default, str):
            return schema.text(label, self.default)
        low, high = self.limits
        return schema.number(label, self.default, low, high, whole=high > 1)

    def for_page(self, key: str, **more: Any) -> Any:
        """The component of the page, with an id for styles and tests."""
        given = {"value": self.default, "label": self.plain or self.label, "elem_id": f"{key}-{self.name}"}
        given["info"] = "" if self.scale else self.info  # the names of the choices say it on the page
        return self.show(self, given | more)

    def shown(self, text: str | None) -> tuple[Any, float | None]:
        """What the component and its slider show for the text that a client would send; the default for None."""
        if text is None:
            return self.default, None
        try:
            number = float(text)
        except ValueError:
            return text, None
        if self.scale is None:
            return (int(number) if self.limits[1] > 1 and number.is_integer() else number), None
        return (NUMBER, number) if self.scale.low <= number <= self.scale.high else (self.default, None)

    def number_for_page(self, key: str) -> Any:
        """The slider for a number instead of a choice; it shows once that is chosen."""
        assert self.scale is not None
        scale = self.scale
        return gr.Slider(scale.low, scale.high, scale.start, step=scale.step, label=scale.label, visible=False,
                         elem_id=f"{key}-{self.name}-number")  # fmt: skip


def _slider(low: float, high: float, step: float) -> Show:
    return lambda field, given: gr.Slider(low, high, step=step, **given)


def _choice(*choices: Any) -> Show:
    return lambda field, given: gr.Dropdown(
        [*choices, *[("A number", NUMBER)] * (field.scale is not None)], filterable=False, **given
    )


def _models(field: Field, given: dict[str, Any]) -> Any:
    """A list of the models that are offered; hidden if there is no choice."""
    offered = given.pop("models")
    choices = [(_described(name), name) for name in offered]
    return gr.Dropdown(choices, visible=len(choices) > 1, filterable=False, **{**given, "value": offered[0]})


def _described(name: str) -> str:
    found = bundle(name)
    size = "in the package" if name == "tiny" else f"{found.megabytes or '?'} MB, {found.licence or 'licence unknown'}"
    return f"{name} ({size})" if name in BUNDLES else name


def _pitch(value: Any) -> str | float:
    if value in ("target", "source"):
        return str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Refused("options", f"pitch {value!r}: target, source or a number of semitones needed") from None


# in the order of the endpoints' arguments
OPTIONS = (
    Field("k", "k: neighbours averaged", "More is smoother, fewer is crisper. 0 takes the converter's own number.", 0,
          _slider(0, 32, 1), lambda value: int(value) or None, limits=(0, 1000), plain="Smoothness (k)"),
    Field("converter", "Converter", f"auto, {', '.join(converters.NAMES)}.", "auto",
          _choice("auto", *converters.NAMES), str),
    Field("interpolation", "Interpolation", "1 is the target's voice, 0 the source's.", 1, _slider(0, 1, 0.05), float,
          plain="How much of the voice"),
    Field("pitch", "Pitch", "target, source, or a number of semitones up or down.", "target", _choice(*WAYS), _pitch,
          scale=Scale("Semitones up or down", -12, 12, 0.5, 2)),
    Field("form", "File", f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}.", "wav",
          lambda field, given: gr.Radio(list(FORMATS), **given), str, "file_format", plain="Kind of file"),
    Field("model", "Model", "All but tiny are downloaded at their first use.", "tiny", _models, str),
    Field("tempo", "Speaking rate", "auto (half way to the target's with selection, else the source's), source, "
          "target, or a factor: 1.25 is 25 % faster.", "auto", _choice(*TEMPOS), str,
          scale=Scale("Times as fast", 0.5, 2, 0.05, 1.25)),
    Field("loudness", "Loudness", "contour (of the source at every moment), contour=0.5 (half way), level (of the "
          "source on the whole), off, or LUFS such as -23.", "contour", _choice(*LOUDNESS), str,
          scale=Scale("LUFS", -40, -10, 1, -23)),
)  # fmt: skip


def arguments() -> dict[str, Argument]:
    """Arguments of the endpoints by name, in order."""
    return {field.argument or field.name: field.for_client() for field in OPTIONS}


def options_of(values: Mapping[str, Any]) -> Options:
    """Read the options from values by the name of the argument, or by the name of the field.

    Raises:
        Refused: the pitch is no number.
    """
    keys = {field.name: field.name if field.name in values else field.argument for field in OPTIONS}
    return Options(**{field.name: field.parse(values[keys[field.name]]) for field in OPTIONS})
