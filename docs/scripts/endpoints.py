"""The page of the HTTP endpoints, written from the schema of the running page."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

ADDRESS = "reference/endpoints.md"
HEAD = """# Endpoints

Every endpoint of `speechssl app`, with the names, types and defaults of its fields, from the schema that the service
itself gives at `/gradio_api/info`. [Python and HTTP](http.md) shows how to call an endpoint.
"""


def schema() -> dict[str, Any]:
    """Endpoints by name, as the service describes them."""
    from speechssl.app import page
    from speechssl.app.state import Settings, State

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack():
        built = page.build(State(Settings(voices=Path(folder), consent=False, watermark=False)))
        found: dict[str, Any] = built.get_api_info()["named_endpoints"]
    return found


def page() -> str:
    """Markdown of all named endpoints."""
    return "\n".join(
        [HEAD, *(section(name, one) for name, one in sorted(schema().items()) if one["parameters"] or one["returns"])]
    )


def section(name: str, one: dict[str, Any]) -> str:
    lines = [f"## {name}", "", one.get("description") or "", ""]
    if one["parameters"]:
        lines += ["| field | meaning | type | default |", "|---|---|---|---|"]
        lines += [
            f"| `{field['parameter_name']}` | {_cell(field['label'])} | {_cell(field['python_type']['type'])} | "
            f"{'`' + _cell(repr(field['parameter_default'])) + '`' if field['parameter_has_default'] else 'needed'} |"
            for field in one["parameters"]
        ]
    lines += ["", "Returns: " + "; ".join(_cell(value["label"]) for value in one["returns"]) + ".", ""]
    return "\n".join(lines)


def _cell(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
