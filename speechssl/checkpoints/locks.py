"""Writers that wait for each other: threads, processes, the command line beside the service."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from speechssl.errors import CheckpointError

WAIT = 60.0  # seconds; a writer holds the lock for as long as it reads and writes one file, not while it computes


@contextlib.contextmanager
def alone(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Be the only writer of a folder, which exists; the system lets go of the lock even if the process is killed.

    Args:
        folder: to write to.
        name: of the lock's file in it, where there are locks for parts of the folder.
    Raises:
        CheckpointError: another writer held the folder for ``WAIT`` seconds, or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    try:
        held = FileLock(folder / name, timeout=WAIT, mode=0o600)
        held.acquire()
    except Timeout as error:
        raise CheckpointError(
            f"another program has been writing to {folder} for {WAIT:.0f} s; wait for it to end, and try again"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise CheckpointError(
            f"cannot write to {folder}: {getattr(error, 'strerror', None) or error}; choose another place, or make "
            "this one writable"
        ) from error
    try:
        yield
    finally:
        held.release()
