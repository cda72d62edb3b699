"""The help of every command: each option explained in a sentence, each command shown in an example that works."""

from __future__ import annotations

import re
from typing import Any

import pytest

from speechssl import cli
from speechssl.cli import commands
from speechssl.conversion import converters

Command = tuple[str, ...]


def _commands(group: Any, names: Command = ()) -> dict[Command, Any]:
    below = {} if names else {(): group}
    for name, command in getattr(group, "commands", {}).items():
        below |= {(*names, name): command, **_commands(command, (*names, name))}
    return below


COMMANDS = _commands(cli.command())
each_command = pytest.mark.parametrize("names", COMMANDS, ids=lambda names: " ".join(names) or "speechssl")


def test_the_list_of_commands_says_of_each_what_its_own_help_says() -> None:
    listed = {name: sentence for name, (_, sentence) in commands.COMMANDS.items()}
    assert list(listed.items()) == [
        (names[0], command.help.partition("\n")[0]) for names, command in COMMANDS.items() if len(names) == 1
    ]


@pytest.mark.parametrize("first", commands.COMMANDS)
def test_a_command_is_found_in_its_module(first: str) -> None:
    found = commands.for_arguments([first]).commands[first]
    assert [option.name for option in found.params] == [option.name for option in COMMANDS[(first,)].params]


@each_command
def test_every_option_is_explained_in_a_sentence(names: Command) -> None:
    for option in COMMANDS[names].params:
        text = option.help or ""
        assert len(text.split()) >= 3, (names, option.name, text)
        assert text.endswith("."), (names, option.name, text)
        assert text[0].isupper() or text[0] in "$.", (names, option.name, text)


@each_command
def test_an_option_of_one_value_is_given_once(names: Command, capsys: pytest.CaptureFixture[str]) -> None:
    for option in COMMANDS[names].params:
        if option.param_type_name == "argument" or option.is_flag or option.multiple or not names:
            continue
        name = option.opts[0]
        assert cli.run([*names, name, "1", option.opts[-1], "2"]) == 2
        assert capsys.readouterr().err == f"error: {name} is given 2 times; one needed\n"


@each_command
def test_every_command_says_what_it_does(names: Command) -> None:
    first = COMMANDS[names].help.splitlines()[0]
    assert len(first.split()) >= 3
    assert first.endswith(".")


def _examples(names: Command) -> list[str]:
    return re.findall(r"^speechssl .*", COMMANDS[names].epilog or "", flags=re.MULTILINE)


@pytest.mark.parametrize("names", [names for names in COMMANDS if names], ids=" ".join)
def test_every_command_shows_examples_that_fit_the_terminal_and_can_be_parsed(
    names: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    monkeypatch.setenv("COLUMNS", "80")
    examples = _examples(names)
    assert examples
    cli.run([*names, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("<list[" in line for line in lines)
    printed = [line.strip() for line in lines]
    for example in examples:
        assert example in printed
        assert example.startswith(" ".join(["speechssl", *names]))
        words = shlex.split(example.split(" < ")[0])[1:]
        command = max((known for known in COMMANDS if known == tuple(words[: len(known)])), key=len)
        context = COMMANDS[command].make_context("speechssl", cli._spread(words[len(command) :]))
        assert context.params


@each_command
def test_no_word_of_the_help_is_broken_in_80_columns(
    names: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cli.run([*names, "--help"])
    printed = capsys.readouterr().out
    assert all(len(line) <= 80 for line in printed.splitlines())
    words = set(printed.split())
    for param in COMMANDS[names].params:
        options = {option for option in param.opts if option.startswith("-")}
        missing = {*(param.help or "").split(), *options} - words - {word.rstrip(",") for word in words}
        # a word with hyphens may go on in the next line after one of them
        broken = {word for word in missing if not {*re.findall(r"[^-]+-*|-+", word)} & words}
        assert not broken, (param.name, broken)


def test_the_help_of_convert_names_every_converter() -> None:
    (option,) = (option for option in COMMANDS[("convert",)].params if option.name == "converter")
    assert re.findall(r"`(\w+)`:", option.help) == ["auto", *converters.NAMES]
