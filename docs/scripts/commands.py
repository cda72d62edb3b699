"""Pages of the commands, written from the same objects that print ``--help``; ``make docs`` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from speechssl import cli

FOLDER = "reference/commands"
Command = tuple[str, ...]


def commands(group: Any = None, names: Command = ()) -> Iterator[tuple[Command, Any]]:
    """Every command and group with its words, in the order of the help."""
    group = cli.command() if group is None else group
    for name, one in getattr(group, "commands", {}).items():
        yield (*names, name), one
        yield from commands(one, (*names, name))


def pages() -> dict[str, str]:
    """Markdown by its address under docs/: one page a command, and a list of all."""
    found = {f"{FOLDER}/{'-'.join(names)}.md": _page(names, one) for names, one in commands()}
    return {f"{FOLDER}/index.md": _index(), **found}


def _page(names: Command, one: Any) -> str:
    title = " ".join(("speechssl", *names))
    text = [f"# {title}", _prose(one.help), "## Usage", f"```text\n{_usage(names, one)}\n```"]
    below = getattr(one, "commands", {})
    if below:
        rows = [f"| [{name}]({'-'.join((*names, name))}.md) | {_first(sub.help)} |" for name, sub in below.items()]
        text += ["## Commands", "\n".join(["| command | what it does |", "|---|---|", *rows])]
    arguments = [one for one in one.params if one.param_type_name == "argument"]
    options = [one for one in one.params if one.param_type_name == "option"]
    if arguments:
        rows = [f"| `{_metavar(one)}` | {_cell(one.help)} |" for one in arguments]
        text += ["## Arguments", "\n".join(["| argument | meaning |", "|---|---|", *rows])]
    if options:
        rows = [f"| {_names(one)} | {_cell(one.help)} | {_default(one)} |" for one in options]
        text += ["## Options", "\n".join(["| option | meaning | default |", "|---|---|---|", *rows])]
    examples = re.findall(r"^speechssl .*", one.epilog or "", flags=re.MULTILINE)
    text += ["## Examples", "```text\n" + "\n".join(examples) + "\n```"]
    return "\n\n".join(text) + "\n"


def _index() -> str:
    rows = [
        f"| [{' '.join(names)}]({'-'.join(names)}.md) | {_first(one.help)} |"
        for names, one in commands()
        if not getattr(one, "commands", {})
    ]
    head = (
        "# Commands\n\nEvery command, with a page that says what each option means. `speechssl COMMAND --help` prints "
        "the same. Results go to stdout, progress and remarks to stderr. [Exit codes](../exit-codes.md)\n\n"
    )
    return head + "\n".join(["| command | what it does |", "|---|---|", *rows]) + "\n"


def _usage(names: Command, one: Any) -> str:
    needed = [f"{parameter.opts[0]} {_metavar(parameter)}" for parameter in one.params
              if parameter.param_type_name == "option" and parameter.required]  # fmt: skip
    words = [_metavar(parameter) for parameter in one.params if parameter.param_type_name == "argument"]
    last = "COMMAND" if getattr(one, "commands", {}) else "[OPTIONS]"
    return " ".join(["speechssl", *names, *words, *needed, last])


def _metavar(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()


def _names(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar}" if option.metavar else ""
    return ", ".join(f"`{name + value}`" for name in (*option.opts, *option.secondary_opts))


def _default(option: Any) -> str:
    value = option.default
    if option.required:
        return "needed"
    if option.is_flag:
        return "on" if value else "off" if value is False else ""
    return "" if value in (None, "") or callable(value) else f"`{value}`"


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _first(text: str) -> str:
    return _cell(text.split("\n\n")[0])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
