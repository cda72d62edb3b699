"""Languages that can be read, one file each.

A language is a file with a ``LANGUAGE`` in it, its line in ``_FILES``, and an extra in ``pyproject.toml`` for the
package with its dictionary.
"""

from __future__ import annotations

import importlib

from speechssl.errors import InputError
from speechssl.synthesis.languages.rules import Language

_FILES = {"en-us": "english", "de-de": "german"}


def get(code: str) -> Language:
    """The language with this full code, such as ``"en-us"``; ``check_language`` gives full codes."""
    return importlib.import_module(f"{__name__}.{_FILES[code]}").LANGUAGE


def check_language(language: str) -> str:
    """The full code of a language: ``en``, ``EN_us`` and ``en-us`` are ``"en-us"``.

    Raises:
        InputError: a language that cannot be read; the message names those that can.
    """
    wanted = language.strip().lower().replace("_", "-")
    for code in _FILES:
        if wanted in (code, code.split("-")[0]):
            return code
    raise InputError(f"no front end for the language {language!r}; it has {', '.join(_FILES)}")
