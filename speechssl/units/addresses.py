"""Files at addresses: ``s3://``, ``hf://``, ``memory://`` and what else fsspec reads."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from speechssl import errors
from speechssl.errors import InputError


@contextlib.contextmanager
def local_copy(file: str) -> Iterator[str]:
    """A path to read: the file itself, or a temporary copy of what lies at an address.

    Raises:
        InputError: the address cannot be read, or fsspec is not there to read it.
    """
    if "://" not in file:
        yield file
        return
    with errors.importing("fsspec", purpose=f"{file} is an address", extra="units"):
        import fsspec
    with tempfile.TemporaryDirectory(prefix="speechssl-") as folder:
        copy = Path(folder) / Path(file).name
        try:
            with fsspec.open(file, "rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        # every file system has errors of its own
        except Exception as error:
            raise InputError(f"cannot read {file}: {type(error).__name__}: {error}") from error
        yield str(copy)
