"""The two things that can go wrong, and one line for a library that cannot be loaded.

A library that is absent or broken is never the fault of a checkpoint or a recording, so its line names neither.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

# modules whose distribution has another name
DISTRIBUTIONS = {"perth": "resemble-perth", "sklearn": "scikit-learn", "PIL": "pillow", "ray": "ray[data]"}
# torch minor version up to which (included) these releases of torchaudio import beside it; the binaries name symbols
TORCHAUDIO = (
    ((2, 8), ()),
    ((2, 10), ("2.9.0", "2.9.1", "2.10.0")),
    ((2, 12), ("2.11.0",)),
    ((2, 15), ("2.11.1", "2.11.0")),  # the last is advised, and pyproject.toml leaves 2.11.1 out
)
LONGEST = 200  # characters of another library's message that are repeated
MESSAGE = 2000  # characters of a message of ours; a name of 5,000 characters is not repeated whole


class SpeechSSLError(Exception):
    """Base of every error speechssl raises on purpose; its message is written for the person who erred.

    Of a message over 2,000 characters the middle is left out: what happened begins it, and what to do ends it.
    """

    def __init__(self, message: str = "") -> None:
        half = MESSAGE // 2
        super().__init__(f"{message[:half]} ... {message[-half:]}" if len(message) > MESSAGE else message)


class InputError(SpeechSSLError, ValueError):
    """Audio, text, an option or a combination of objects that cannot be used; says what was got, needed, and to do."""


class CheckpointError(SpeechSSLError, RuntimeError):
    """A weights, voice or codebook file that is missing, damaged, of another kind, or does not fit the network."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, 200 characters at most; the error's type if there is no message."""
    lines = str(error).strip().splitlines()
    return lines[0][:LONGEST] if lines else type(error).__name__


# ---- libraries


@contextlib.contextmanager
def importing(module: str, *, purpose: str = "", extra: str | None = None) -> Iterator[None]:
    """Wrap imports of a library, so that one which fails to load becomes one line.

    Args:
        module: top-level name of the library.
        purpose: what needs the library; begins the line.
        extra: of pyproject.toml that installs the library, if it is no dependency.
    Raises:
        InputError: the library, or one that it imports, is absent or broken.
    """
    try:
        yield
    # a broken binary raises OSError, or RuntimeError from torch's registry of operators
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, SpeechSSLError):
            raise
        raise InputError(not_loaded(error, module, purpose=purpose, extra=extra)) from error


def require(module: str, *, purpose: str, extra: str) -> None:
    """Ask for an optional library before work begins.

    Raises:
        InputError: the library is absent or broken.
    """
    with importing(module, purpose=purpose, extra=extra):
        importlib.import_module(module)


def require_for_recipe(*modules: str) -> None:
    """End a recipe with one line, before any work is done, if a library of the extra ``recipes`` is absent."""
    try:
        for module in modules:
            require(module, purpose="this recipe", extra="recipes")
    except InputError as error:
        raise SystemExit(str(error)) from error


def run_recipe(main: Callable[[], object]) -> None:
    """Run the main function of a recipe; an error of the caller ends it with one line on stderr and exit code 2.

    Args:
        main: parses ``sys.argv`` and does the work.
    """
    try:
        main()
        return
    except SystemExit as error:
        # argparse and an interrupted training exit with a number
        if not isinstance(error.code, str):
            raise
        message = error.code
    except SpeechSSLError as error:
        message = str(error)
    except ImportError as error:
        message = not_loaded(error, purpose="this recipe", extra="recipes") or str(error)
    except OSError as error:
        # a binary that does not load raises OSError without a number
        line = "" if error.errno else not_loaded(error, purpose="this recipe", extra="recipes")
        message = line or f"{error.filename or 'the system'}: {error.strerror or error}"
    print("error: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(2)


def not_loaded(error: BaseException, module: str = "", *, purpose: str = "", extra: str | None = None) -> str:
    """One line about a library: its version, torch beside it, the reason, the command that mends it.

    Args:
        error: what the import raised. The library whose import failed comes from its traceback.
        module: top-level name to use if no import is in the traceback.
        purpose, extra: as ``importing``.
    Returns:
        An empty string if no library is known.
    """
    module = _failed_library(error) or module
    if not module:
        return ""
    found, torch = version(_distribution(module).partition("[")[0]), version("torch")
    beside = f" beside torch {torch}" if torch and module != "torch" else ""
    reason = " ".join(str(error).split())[:LONGEST]
    what = f"{module} {found} cannot be loaded{beside} ({reason})" if found else f"{module} is not installed"
    return f"{purpose}{': ' if purpose else ''}{what}; run: {install_command(module, extra)}"


def install_command(module: str, extra: str | None = None) -> str:
    """The pip command that installs a library, or puts a working release in the place of a broken one."""
    if module == "torchaudio" and (torch := version("torch")):
        return _install_torchaudio(torch)
    if extra:
        return f"pip install 'speechssl[{extra}]'"
    name = _distribution(module)
    return f"pip install {'--force-reinstall ' if version(name) else ''}{name}"


def version(distribution: str) -> str | None:
    """Installed version of a distribution; None if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def torchaudio_beside(torch: str) -> tuple[str, ...]:
    """Releases of torchaudio that import beside a release of torch (``2.13.0+cpu``); empty if that was not tried."""
    numbers = re.match(r"(\d+)\.(\d+)", torch)
    wanted = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    return next((releases for last, releases in TORCHAUDIO if wanted <= last), ())


def _install_torchaudio(torch: str) -> str:
    releases = torchaudio_beside(torch)
    wanted = f"torchaudio=={releases[-1]}" if releases else "torchaudio"
    build = torch.partition("+")[2]
    # the ordinary wheel is built for CUDA, and does not import beside torch's CPU-only build
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    return f"pip install --force-reinstall --no-deps '{wanted}'{index}"


def _distribution(module: str) -> str:
    return DISTRIBUTIONS.get(module, module.replace("_", "-"))


def _failed_library(error: BaseException) -> str | None:
    """Top-level name of the library whose import raised an error; None if nothing was being imported."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0]
    found, trace = None, error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "<module>":
            name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            found = found if name in ("__main__", "speechssl", "") else name
        trace = trace.tb_next
    return found
