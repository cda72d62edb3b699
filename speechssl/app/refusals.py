"""Why a request is refused or a job ends early: the errors that the page shows beside a field."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator

from speechssl.errors import InputError, SpeechSSLError

_log = logging.getLogger("speechssl.app")


class Refused(InputError):
    """A field of the page holds something unusable; ``field`` names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Stopped(InputError):
    """A person cancelled the job, or the service is closing."""


class Busy(Stopped):
    """Too many jobs wait already."""


class Overdue(Stopped):
    """The job took longer than a job may."""


def in_words(error: Exception, what: str) -> SpeechSSLError:
    """The error as a person can read it; what was not foreseen goes to the log whole."""
    if isinstance(error, SpeechSSLError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError("the disk of this service is full; nothing was kept: try later, or ask who runs it")
    _log.error("%s failed", what, exc_info=error)
    return InputError(f"{what} failed on what was given; who runs this service finds the reason in its log")


@contextlib.contextmanager
def blaming(field: str) -> Iterator[None]:
    """Name this field in every error that is raised inside and names none."""
    try:
        yield
    except (Refused, Stopped):
        raise
    except SpeechSSLError as error:
        raise Refused(field, str(error)) from error
