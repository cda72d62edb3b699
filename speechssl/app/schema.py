"""The arguments of the endpoints: what is accepted for each, as one pydantic model an endpoint, and errors in words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model

from speechssl.app.refusals import Refused
from speechssl.checkpoints import names

LONGEST = 200  # characters of a text that is a name, a choice or an attestation
MOST_FILES = 100


@dataclass(frozen=True)
class Argument:
    """One argument of an endpoint.

    Args:
        component: declares the argument to Gradio, which lists it.
        kind: the type that pydantic checks.
        needed: what is accepted, in words.
    """

    component: Any
    kind: Any
    needed: str


def text(label: str, default: str = "", longest: int = LONGEST) -> Argument:
    """A text; a number is taken as its digits."""
    kind = Annotated[str, BeforeValidator(_or(default, _as_text)), Field(strict=True, max_length=longest)]
    needed = f"a text of at most {longest} characters without control characters"
    return Argument(gr.Textbox(default, label=_sentence(label)), kind, needed)


def number(label: str, default: float, low: float, high: float, *, whole: bool = False) -> Argument:
    """A number within limits."""
    limits = Field(strict=True, ge=low, le=high, allow_inf_nan=False)
    kind = Annotated[float, BeforeValidator(_or(default, _whole if whole else _same)), limits]
    needed = f"a {'whole ' if whole else ''}number from {low:g} to {high:g}"
    return Argument(gr.Number(default, label=_sentence(label)), kind, needed)


def flag(label: str, default: bool) -> Argument:
    """True or false."""
    kind = Annotated[bool, BeforeValidator(_or(default, _same)), Field(strict=True)]
    return Argument(gr.Checkbox(default, label=_sentence(label)), kind, "true or false")


def upload(label: str, example: str = "recording.wav") -> Argument:
    """One file, or nothing; ``example`` is a name of one, as the list of endpoints shows it."""
    return Argument(
        _unread(gr.File(label=_sentence(label)), _file_named(example)),
        Annotated[Path | None, BeforeValidator(_file)],
        f"a file: {_FILE}",
    )


def uploads(label: str) -> Argument:
    """Several files; nothing is none."""
    kind = Annotated[tuple[Path, ...], BeforeValidator(_files), Field(max_length=MOST_FILES)]
    needed = f"a list of at most {MOST_FILES} files, each {_FILE}"
    component = _unread(gr.File(label=_sentence(label), file_count="multiple"), [_file_named("voice.wav")])
    return Argument(component, kind, needed)


def model(name: str, arguments: Mapping[str, Argument]) -> type[BaseModel]:
    """The pydantic model of an endpoint."""
    fields: dict[str, Any] = {one: (given.kind, ...) for one, given in arguments.items()}
    return create_model(name, **fields)


def read(model: type[BaseModel], arguments: Mapping[str, Argument], values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values of a call.

    Raises:
        Refused: names the first argument that cannot be used, what was got, and what is needed.
    """
    try:
        return dict(model.model_validate(dict(values)))
    except ValidationError as error:
        field = str(error.errors(include_url=False, include_context=False)[0]["loc"][0])
        got = described(values.get(field))
        raise Refused(field, f"got {got}; {arguments[field].needed} needed") from None


def described(value: Any) -> str:
    """What a client sent, in a few words of people."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value:g}" if abs(value) < 1e300 else "a number beyond all measure"
    if isinstance(value, str):
        return f"the text {names.visible(value)!r}" if len(value) <= 60 else f"a text of {len(value)} characters"
    return f"a list of {len(value)} values" if isinstance(value, list | tuple) else "an object"


_FILE = '{"path": what the upload answered, "meta": {"_type": "gradio.FileData"}}'


def _sentence(label: str) -> str:
    """A label as the list of endpoints shows it."""
    return f"{label[:1].upper()}{label[1:]}".rstrip(".") + "."


def _file_named(name: str) -> dict[str, Any]:
    return {"path": name, "url": name, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def _unread(component: Any, example: Any) -> Any:
    """Let Gradio list this component with an example, but leave the values of clients to the schema."""
    component.example_payload = lambda: example
    component.api_info()  # is remembered
    component.data_model = None
    return component


def _or(default: Any, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: default if value is None else convert(value)


def _same(value: Any) -> Any:
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return value


def _as_text(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    if isinstance(value, str) and any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r" for c in value):
        raise ValueError
    return value


def _file(value: Any) -> Any:
    if value is None or value == "":
        return None
    if not isinstance(value, dict) or not isinstance(value.get("path"), str) or not value["path"]:
        raise ValueError
    return Path(value["path"])


def _files(value: Any) -> Any:
    if isinstance(value, dict):
        value = [value]
    found = [_file(one) for one in value] if isinstance(value, list) else () if value in (None, "") else None
    if found is None or None in found:
        raise ValueError
    return tuple(found)
