"""The command line: each subcommand calls one library function; heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, NoReturn

import typer

from speechssl.cli import interrupts, pipes, terminal
from speechssl.cli.commands import command, for_arguments
from speechssl.cli.terminal import remark
from speechssl.errors import SpeechSSLError, not_loaded

__all__ = ["command", "main", "run"]

GREEDY = ("--reference", "-r")  # options that take every word up to the next option


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    interrupts.listen()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line. Exit codes: 0 done, 2 wrong input or a reported failure, 130 interrupted."""
    title = next((word for word in arguments if not word.startswith("-")), "speechssl")
    with terminal.working(title):
        code = _run(arguments)
        try:
            terminal.flush()
        except BrokenPipeError:
            return 1
        except OSError as error:
            return _fail(f"{error.filename}: {error.strerror}")
        return code


def _run(arguments: list[str]) -> int:
    try:
        with pipes.connected(arguments) as connected:
            code = _invoke(_spread(connected))
    except SpeechSSLError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        message, hint = error.format_message(), _hint(arguments, error.format_message())
        return _fail(f"{message.rstrip('.')}. {hint}" if hint else message)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # the reader of our output has left, as `head` does
        return 1
    except ImportError as error:
        return _fail(not_loaded(error) or str(error))
    except OSError as error:
        # a library's binary that does not load
        if error.errno is None and (message := not_loaded(error)):
            return _fail(message)
        try:
            terminal.flush()
        except OSError as unwritten:
            error = unwritten
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except MemoryError:
        return _fail("not enough memory; close other programs, or use a smaller model or --precision bfloat16")
    if code == 130:
        remark("interrupted; no partial file was left. A batch continues where it stopped when run again.")
    return int(code or 0)


def _invoke(arguments: list[str]) -> Any:
    """Run a command; without one, print the help."""
    try:
        return for_arguments(arguments)(args=arguments, prog_name="speechssl", standalone_mode=False)
    except typer.TyperException as error:
        if type(error).__name__ != "NoArgsIsHelpError":
            raise
        terminal.say(error.format_message())
        return 2


def _hint(arguments: list[str], message: str) -> str:
    """What to do about a file that was taken for an option, or a text for several arguments."""
    taken = next((word for word in arguments if word.startswith("-") and len(word) > 1 and os.path.isfile(word)), None)
    if taken:
        return f"The file {taken!r} begins with a dash: give it as ./{taken}"
    if arguments[:1] == ["say"] and "extra argument" in message:
        return 'The text is one argument: put it in quotes, as in "Good morning."'
    return ""


def _fail(message: str) -> int:
    if terminal.settings.verbose:
        terminal.error(traceback.format_exc().rstrip())
    terminal.error("error: " + " ".join(message.split()))
    return 2


def _spread(arguments: list[str]) -> list[str]:
    """``--reference a b`` as ``--reference a --reference b``."""
    spread: list[str] = []
    greedy, fresh = "", False
    for position, word in enumerate(arguments):
        if word == "--":
            return spread + arguments[position:]
        if word.startswith("-") and len(word) > 1:
            greedy, fresh = (word if word in GREEDY else ""), True
        elif greedy and not fresh:
            spread.append(greedy)
        else:
            fresh = False
        spread.append(word)
    return spread
