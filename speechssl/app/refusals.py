"""Why a request is refused or a job ends early: the errors that the page shows beside a field."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from speechssl.errors import InputError, SpeechSSLError


class Refused(InputError):
    """A field of the page holds something unusable; ``field`` names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Stopped(InputError):
    """A person cancelled the job, or the service is closing."""


class Overdue(Stopped):
    """The job took longer than a job may."""


@contextlib.contextmanager
def blaming(field: str) -> Iterator[None]:
    """Name this field in every error that is raised inside and names none."""
    try:
        yield
    except (Refused, Stopped):
        raise
    except SpeechSSLError as error:
        raise Refused(field, str(error)) from error
