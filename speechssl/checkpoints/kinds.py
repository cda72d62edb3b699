"""Kinds of values that Python's entries take: what is of another kind is refused in words, not by what it breaks."""

from __future__ import annotations

import errno
import functools
import inspect
import numbers
import os
import reprlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from speechssl.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")
_WORDS = {
    "int": "a whole number", "float": "a number", "str": "a text", "bool": "True or False", "Path": "a path",
    "os.PathLike[str]": "a path", "Sequence[str]": "a list of texts", "None": "None",
}  # fmt: skip
_UNREADABLE = {errno.ENAMETOOLONG, errno.EIO, errno.ENODEV, errno.EACCES, errno.EISDIR, errno.ENOTDIR}
# annotations of values that are checked where they are read
_ELSEWHERE = {"Recording", "Recordings", "Database"}
# classes for which nothing else stands
_NOUNS = {"Waveform", "Features", "Units", "MatchingSet"}


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Refuse arguments that are not of the kinds in the function's annotations.

    Values of our own classes are told from plain ones alone, so that what has the methods of one may stand for it.

    Raises:
        InputError: the message has the argument's name, what was got, and what is needed.
    """
    signature = inspect.signature(function)
    wanted = {
        name: one.annotation.split(" | ")
        for name, one in signature.parameters.items()
        if isinstance(one.annotation, str)
    }

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{function.__name__}() {error}") from None
        for name, value in given.items():
            kinds = wanted.get(name, ())
            if kinds and not _ELSEWHERE & set(kinds) and not any(_is(value, kind) for kind in kinds):
                needed = " or ".join(dict.fromkeys(_WORDS.get(kind, _a(kind.partition("[")[0])) for kind in kinds))
                raise InputError(
                    f"{name}: got {reprlib.repr(value)}, of the type {type(value).__name__}; {needed} needed"
                )
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            shown = reprlib.repr(str(error.filename)) if error.filename else "a file"
            raise InputError(f"{shown} cannot be read: {error.strerror}; check the path") from error

    return call


def is_number(value: object, *, whole: bool = False) -> bool:
    """Whether a value is a number, of Python or another library; True, False and NaN are none."""
    if isinstance(value, bool):
        return False
    # NaN is not equal to itself
    return isinstance(value, numbers.Integral if whole else numbers.Real) and value == value


def _is(value: Any, kind: str) -> bool:
    """Whether a value is of one kind of an annotation."""
    if kind == "None" or value is None:
        return kind == "None" and value is None
    if kind == "bool":
        return isinstance(value, bool)
    if kind in ("int", "float"):
        return is_number(value, whole=kind == "int")
    if kind == "Sequence[str]":
        return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    if kind.startswith("Callable"):
        return callable(value)
    simple = {"str": str, "Path": os.PathLike, "os.PathLike[str]": os.PathLike}
    if kind in simple:
        return isinstance(value, simple[kind])
    if kind in _NOUNS:
        return type(value).__name__ == kind
    return type(value).__module__.partition(".")[0] not in ("builtins", "numpy", "pathlib")


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "AEIO" else f"a {noun}"
