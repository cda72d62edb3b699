"""Options that every command has, and what is shown while a command loads."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main

from speechssl.cli import outputs, terminal
from speechssl.errors import InputError

# these answer at once
QUICK = ("voice list", "voice show", "voice remove", "voice import", "voice export", "speakers", "receipt")


def _be_quiet(wanted: bool) -> None:
    if wanted:
        terminal.be_quiet()


def _be_verbose(wanted: bool) -> None:
    if wanted:
        terminal.settings.verbose = True


def _log(path: Path | None) -> None:
    if path is not None:
        outputs.check_no_sound(path, ".log")
        terminal.log_to(path)


def _options(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_be_quiet,
            expose_value=False,
            help="Print no progress and no remarks; results and errors are still printed.",
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            callback=_be_verbose,
            expose_value=False,
            help="Also print how long each step takes, and where an error comes from.",
        ),
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            callback=_log,
            expose_value=False,
            help="Also write all that is printed to this file, with the time; a log that exists goes on.",
        ),
    ] = None,
) -> None:
    pass


def give(group: Any, names: tuple[str, ...] = ()) -> None:
    """Give the options to every command below a group, and let those that take long say so before they import."""
    if not names:
        group.params += _params()
    for name, command in group.commands.items():
        path = (*names, name)
        # the whole sentence, which would be cut at 45 characters
        command.short_help = (command.help or "").partition("\n")[0]
        if hasattr(command, "commands"):
            give(command, path)
            continue
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                parameter.display_type_rich = _untyped  # SOURCE... says more than <list[str]>
        command.params += _params()
        command.make_parser = _strict(command.make_parser)
        words = " ".join(path)
        if not words.startswith(QUICK):
            command.callback = _announced(command.callback)


def _untyped(ctx: Any) -> None:
    """No type in the help."""


def _params() -> list[Any]:
    holder = typer.Typer(add_completion=False)
    holder.command()(_options)
    return typer.main.get_command(holder).params


def _strict(make: Any) -> Any:
    """A maker of parsers that refuse two values of an option that takes one, or a flag beside its opposite."""

    def made(ctx: Any) -> Any:
        parser = make(ctx)
        parse = parser.parse_args

        def parsed(args: list[str]) -> Any:
            words, found = set(args), parse(args=args)
            for parameter in {} if ctx.resilient_parsing else dict.fromkeys(found[2]):
                single = parameter.param_type_name == "option" and not (parameter.is_flag or parameter.multiple)
                if single and (times := found[2].count(parameter)) > 1:
                    raise InputError(f"{parameter.opts[0]} is given {times} times; one needed")
                on, off = (words & set(names) for names in (parameter.opts, parameter.secondary_opts))
                if on and off and found[2].count(parameter) > 1:
                    raise InputError(f"{min(on)} and {min(off)} are opposites; give one")
            return found

        parser.parse_args = parsed
        return parser

    return made


def _announced(run: Any) -> Any:
    @functools.wraps(run)
    def announced(*arguments: Any, **options: Any) -> Any:
        terminal.stage("loading")
        return run(*arguments, **options)

    return announced
