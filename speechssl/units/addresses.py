"""Files at addresses: ``s3://``, ``hf://``, ``memory://`` and what else fsspec reads."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from speechssl import errors
from speechssl.errors import InputError

LIBRARIES = {"http": "fsspec[http]", "https": "fsspec[http]", "hf": "huggingface_hub"}  # others: fsspec[PROTOCOL]


def check(files: Iterable[str]) -> None:
    """Ask for what the addresses among the files need, before any work.

    Raises:
        InputError: a library is absent, or no library reads such addresses.
    """
    for protocol in sorted({file.split("://", 1)[0].rpartition("::")[2] for file in files if "://" in file}):
        with errors.importing("fsspec", purpose=f"{protocol}:// is an address", extra="units"):
            import fsspec
        try:
            fsspec.get_filesystem_class(protocol)
        except ValueError as error:
            raise InputError(f"addresses {protocol}://... cannot be read; copy the recordings to a folder") from error
        except ImportError as error:
            command = f"pip install '{LIBRARIES.get(protocol, f'fsspec[{protocol}]')}'"
            raise InputError(f"addresses {protocol}://... need a library ({error}); run: {command}") from error


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
