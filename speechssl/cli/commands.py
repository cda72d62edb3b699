"""The commands, each in a module that is imported when the command is wanted: the list of all of them imports none."""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from typing import Annotated, Any

import typer
import typer.main

from speechssl import __version__
from speechssl.cli import common, terminal

# in the order of the help: the module that has the command, and the first sentence of the command's own help
COMMANDS = {
    "convert": ("convert", "Convert recordings to the voice of other recordings; the words stay."),
    "live": ("live", "Speak into a microphone and be heard in another voice, about a quarter of a second later."),
    "say": ("say", "Speak a text in the voice of some recordings, which need no transcript."),
    "features": (
        "features",
        "Write the features of recordings, one safetensors file each: frames (N, D) and the origin.",
    ),
    "report": (
        "report",
        "Check whether recordings are long enough, clean enough and of one speaker to serve as a voice.",
    ),
    "doctor": (
        "doctor",
        "List versions, devices and models (with size and licence), and name problems with their cures.",
    ),
    "docs": ("docs", "Print where the documentation is: the copy that `make docs` built, else the address on the net."),
    "demo": ("demo", "Convert a bundled recording to another bundled voice, and measure how close the result is."),
    "app": ("serve", "Serve the page in the browser, and its API: convert, live, speak, verify, units, voices."),
    "voice": (
        "voice",
        "Keep voices on disk, in the folder that `speechssl doctor` names or in $SPEECHSSL_VOICES.",
    ),
    "units": ("units", "Discrete units for language models: fit codebooks, encode collections, speak units."),
    "probe": (
        "probe",
        "Probe encoders: how well small heads on their frozen features find labels, and which layer serves best.",
    ),
    "receipt": (
        "receipt",
        "Show and check the signed receipts of synthetic recordings, and list the keys that you trust.",
    ),
    "data": ("data", "List and empty the places where voices, speakers, keys and caches are kept."),
    "verify": (
        "verification",
        "Decide whether the last recording is by the speaker of the others, or say that no decision can be made.",
    ),
    "embed": ("verification", "Write the speaker embedding of each recording as a line of JSON."),
    "enrol": (
        "verification",
        "Enrol a speaker, or add recordings to one. If a recording named here cannot be used, none is added.",
    ),
    "identify": (
        "verification",
        "Name the enrolled speaker of each recording, or say that the speaker is unknown or that nothing is decided.",
    ),
    "speakers": ("verification", "List, show, remove and export the enrolled speakers."),
    "calibrate": (
        "evaluation",
        "Fit likelihood ratios and the threshold on your own recordings; verify and identify then use them.",
    ),
    "trials": ("evaluation", "Write a balanced trial list for a folder of speakers."),
    "evaluate": (
        "evaluation",
        "Measure error rates on a trial list, or on a balanced list of a folder of speakers, with 95 % intervals.",
    ),
}
GROUPS = ("voice", "units", "probe", "receipt", "data")  # modules of one command with subcommands
FAMILIES = ("verification", "evaluation")  # modules of several commands

ALL = tuple(dict.fromkeys(module for module, _ in COMMANDS.values()))


def for_arguments(arguments: list[str]) -> Any:
    """The commands, of which those that the arguments cannot reach may be absent."""
    first = arguments[0] if arguments else "--help"
    # the shell asks for completions without arguments
    if "_SPEECHSSL_COMPLETE" in os.environ:
        return command()
    if first in COMMANDS:
        return command(COMMANDS[first][0])
    return listing() if first in ("-h", "--help", "-V", "--version") else command()


@lru_cache(maxsize=8)
def command(*modules: str) -> Any:
    """All commands, or those of some modules, with the options that each of them has."""
    root = _root()
    for name in modules or ALL:
        module = importlib.import_module(f"speechssl.cli.{name}")
        if name in GROUPS:
            root.add_typer(module.app, name=name)
        elif name in FAMILIES:
            root.add_typer(module.app)
        else:
            called = next(one for one, (place, _) in COMMANDS.items() if place == name)
            root.command(called, epilog=module.EXAMPLES)(getattr(module, called))
    return _finished(root)


def listing() -> Any:
    """The names of all commands with a sentence each: what the help of the program shows."""
    root = _root()
    for name, (_, sentence) in COMMANDS.items():
        root.command(name, help=sentence)(_nothing)
    return _finished(root)


def _finished(root: typer.Typer) -> Any:
    group = typer.main.get_command(root)
    common.give(group)
    return group


def _root() -> typer.Typer:
    root = typer.Typer(
        name="speechssl",
        help="Voice conversion, speaker verification and discrete units on self-supervised speech features.",
        epilog="Results are printed on stdout, progress and remarks on stderr. Exit code 0: done, 2: wrong input, "
        "130: interrupted; `speechssl docs` has all. Examples: speechssl demo; speechssl convert --help",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # its boxes leave 18 of 80 columns for the explanations
    )
    root.callback()(_options)
    return root


def _version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"speechssl {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _nothing() -> None:
    pass
