"""What to say when a library cannot be loaded: which one, which version, beside which torch, and the cure.

A library that is absent or broken is never the fault of a checkpoint or a recording, so its message names neither.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from speechssl.errors import InputError, SpeechSSLError

__all__ = [
    "culprit",
    "cure",
    "explain",
    "for_recipe",
    "needed",
    "require",
    "run_recipe",
    "torchaudio_beside",
    "transformers",
    "version",
]

# modules whose distribution has another name
DISTRIBUTIONS = {"perth": "resemble-perth", "sklearn": "scikit-learn", "PIL": "pillow", "ray": "ray[data]"}
# torch minor version up to which (included) these releases of torchaudio import beside it; the binaries name symbols
TORCHAUDIO = (
    ((2, 8), ()),
    ((2, 10), ("2.9.0", "2.9.1", "2.10.0")),
    ((2, 12), ("2.11.0",)),
    ((2, 15), ("2.11.0", "2.11.1")),
)

_LOCK = threading.Lock()


def version(distribution: str) -> str | None:
    """Installed version of a distribution, None for none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def torchaudio_beside(torch: str) -> tuple[str, ...]:
    """Releases of torchaudio that import beside a release of torch; empty where that was not tried.

    Args:
        torch: its version, ``2.13.0+cpu`` for example. Known from 2.9 to 2.15.
    """
    numbers = re.match(r"(\d+)\.(\d+)", torch)
    wanted = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    return next((releases for last, releases in TORCHAUDIO if wanted <= last), ())


def cure(module: str, extra: str | None = None) -> str:
    """The pip command that installs a module, or puts a working release in the place of a broken one."""
    if module == "torchaudio" and (torch := version("torch")):
        return _torchaudio(torch)
    if extra:
        return f"pip install 'speechssl[{extra}]'"
    name = DISTRIBUTIONS.get(module, module.replace("_", "-"))
    return f"pip install {'--force-reinstall ' if version(name) else ''}{name}"


def _torchaudio(torch: str) -> str:
    releases = torchaudio_beside(torch)
    wanted = f"torchaudio=={releases[-1]}" if releases else "torchaudio"
    build = torch.partition("+")[2]
    # the ordinary wheel is built for CUDA, and does not import beside torch's CPU-only build
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    return f"pip install --force-reinstall --no-deps '{wanted}'{index}"


def explain(module: str, error: BaseException, *, purpose: str = "", extra: str | None = None) -> str:
    """One line: library, version, torch beside it, the reason, the command.

    Args:
        module: top-level name, as it is imported.
        error: what importing it raised.
        purpose: who needs it, before the line.
        extra: of pyproject.toml that installs it, if it is no dependency.
    """
    found = version(DISTRIBUTIONS.get(module, module.replace("_", "-")).partition("[")[0])
    torch = version("torch")
    beside = f" beside torch {torch}" if torch and module != "torch" else ""
    reason = " ".join(str(error).split())[:200]
    what = f"{module} {found} cannot be loaded{beside} ({reason})" if found else f"{module} is not installed"
    return f"{purpose}{': ' if purpose else ''}{what}; run: {cure(module, extra)}"


def transformers() -> Any:
    """The module ``transformers``, kept from importing torchaudio, which nothing here needs of it.

    Its ``audio_utils``, which its networks import, would; without it only ``load_audio(backend="torchaudio")`` fails.

    Raises:
        InputError: it is absent or broken.
    """
    with _LOCK, needed("transformers"):
        import transformers as library
        from transformers import utils

        if "transformers.audio_utils" not in sys.modules:
            asked = utils.is_torchaudio_available
            try:
                utils.is_torchaudio_available = lambda: False
                importlib.import_module("transformers.audio_utils")
            finally:
                utils.is_torchaudio_available = asked
    return library


@contextlib.contextmanager
def needed(module: str, *, purpose: str = "", extra: str | None = None) -> Iterator[None]:
    """Imports go inside; what fails to load becomes one line.

    Raises:
        InputError: the module, or one that it imports, is absent or broken.
    """
    try:
        yield
    # a broken binary raises OSError, or RuntimeError from torch's registry of operators
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(explain(culprit(error) or module, error, purpose=purpose, extra=extra)) from error


def require(module: str, *, purpose: str, extra: str) -> None:
    """Ask for an optional library before work begins.

    Raises:
        InputError: it is absent or broken.
    """
    with needed(module, purpose=purpose, extra=extra):
        importlib.import_module(module)


def for_recipe(*modules: str) -> None:
    """End a recipe in one line where a library of the extra ``recipes`` is absent, before any work is done."""
    try:
        for module in modules:
            require(module, purpose="this recipe", extra="recipes")
    except InputError as error:
        raise SystemExit(str(error)) from error


def run_recipe(main: Callable[[], object]) -> None:
    """Run the main function of a recipe; what the caller can mend ends it in one line on stderr, with exit code 2.

    Args:
        main: parses ``sys.argv`` and does the work.
    """
    try:
        main()
        return
    except SystemExit as error:
        # argparse and a training that was asked to end leave with a number
        if not isinstance(error.code, str):
            raise
        message = error.code
    except SpeechSSLError as error:
        message = str(error)
    except (ImportError, OSError) as error:
        module = culprit(error)
        # a binary that does not load raises OSError without a number
        if module and getattr(error, "errno", None) is None:
            message = explain(module, error, purpose="this recipe", extra="recipes")
        else:
            message = f"{getattr(error, 'filename', None) or 'the system'}: {getattr(error, 'strerror', None) or error}"
    print("error: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(2)


def culprit(error: BaseException) -> str | None:
    """Top-level name of the library during whose import an error arose; None where nothing was being imported."""
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
