"""Files that others published: fetched with a pinned checksum, read as plain tensors."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import shutil
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from speechssl.checkpoints.files import BLOCK, atomic_path, must_be_file, sha256_of
from speechssl.checkpoints.places import cache_dir
from speechssl.errors import CheckpointError, first_line, importing

_LOCK = threading.Lock()


def load_pickle_tensors(path: str | Path) -> Any:
    """Read a published PyTorch file (``.pt``, ``.pth``) as tensors and plain containers; code in it is never run.

    Raises:
        CheckpointError: missing, damaged, or holding anything but tensors, numbers, strings and containers of them.
    """
    import torch

    path = Path(path)
    must_be_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # damaged archives raise almost anything: RuntimeError, EOFError, KeyError, UnpicklingError, UnicodeDecodeError
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a PyTorch file of plain tensors ({first_line(error)}); it is damaged or holds pickled "
            "code, which is never run: download it again from its publisher"
        ) from error


def fetch(url: str, *, sha256: str | None, filename: str, licence: str, size: int | None = None) -> Path:
    """A published file from the cache, downloaded the first time; what comes back has exactly the pinned checksum.

    Args:
        url: http(s) address.
        sha256: 64 hexadecimal digits; None is refused, for a file nobody has vouched for must not be loaded unseen.
        filename: its name in the cache folder.
        licence: shown with the download and in messages.
        size: bytes, if known; shown, and compared with the free disk space first.
    Raises:
        CheckpointError: no checksum, offline, another checksum, a full disk.
    """
    target = cache_dir() / filename
    facts = f"{filename} ({'size unknown' if size is None else f'{size / 1e6:.0f} MB'}, licence {licence}) from {url}"
    expected = _pinned(sha256, facts, target)
    if target.exists():
        _compare(target, expected, facts)
        return target
    if os.environ.get("SPEECHSSL_OFFLINE"):
        raise CheckpointError(_by_hand(facts, target, expected, "SPEECHSSL_OFFLINE is set"))
    with atomic_path(target) as temporary:
        _check_space(temporary, size, facts)
        try:
            _download(url, temporary, size, filename)
        except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError, EOFError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise CheckpointError(_by_hand(facts, target, expected, str(error))) from error
        _compare(temporary, expected, facts)
    return target


def hub_is_away(name: str | Path) -> str | None:
    """Why nothing can be fetched from the Hugging Face hub, None where it answers (or ``name`` is a folder here).

    One question without retries, for the hub's own client retries for half a minute.
    """
    if name and Path(name).is_dir():
        return None
    if os.environ.get("SPEECHSSL_OFFLINE"):
        # for whatever else speaks to the hub; read when its client is imported
        os.environ["HF_HUB_OFFLINE"] = "1"
        return "SPEECHSSL_OFFLINE is set"
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    # the client's errors of connection have changed their base before
    except Exception as error:
        return f"no connection to {constants.ENDPOINT}: {first_line(error)}"
    return None


def hub_download(repository: str, filename: str) -> Path:
    """A file of the Hugging Face hub, from its cache or downloaded; ``shown`` shows its bytes.

    Raises whatever the hub's client raises.
    """
    from huggingface_hub import hf_hub_download

    takes_bars = "tqdm_class" in inspect.signature(hf_hub_download).parameters  # since 1.2
    bars: Any = {"tqdm_class": _Bar} if takes_bars and shown is not _silent else {}
    return Path(hf_hub_download(repository, filename, **bars))


def transformers() -> Any:
    """The library ``transformers``, kept from importing torchaudio, which speechssl does not need.

    ``transformers.audio_utils``, which every speech network of the library imports, would import torchaudio. Without
    torchaudio only ``load_audio(backend="torchaudio")`` fails.

    Raises:
        InputError: the library is absent or broken.
    """
    with _LOCK, importing("transformers"):
        import transformers as library

        utils: Any = library.utils

        if "transformers.audio_utils" not in sys.modules:
            available = utils.is_torchaudio_available
            try:
                utils.is_torchaudio_available = lambda: False
                importlib.import_module("transformers.audio_utils")
            finally:
                utils.is_torchaudio_available = available
    return library


def _pinned(sha256: str | None, facts: str, target: Path) -> str:
    if sha256 is None:
        raise CheckpointError(
            f"no checksum is known for {facts}, so it is not downloaded unseen; fetch it yourself, check it with its "
            f"publisher, and give the file's own path, or pass its sha256 and put it at {target}"
        )
    if len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef"):
        raise CheckpointError(f"sha256 {sha256!r} for {target.name} is not 64 hexadecimal digits")
    return sha256.lower()


def _compare(path: Path, expected: str, facts: str) -> None:
    if (got := sha256_of(path)) != expected:
        raise CheckpointError(
            f"{path} has SHA-256 {got}, but {expected} is pinned for {facts}; "
            "delete the file and fetch it again, or get it from its publisher"
        )


def _by_hand(facts: str, target: Path, sha256: str, reason: str) -> str:
    return (
        f"cannot download {facts} ({reason}); without a connection, put the file by hand at {target} (SHA-256 {sha256})"
    )


def _check_space(temporary: Path, size: int | None, facts: str) -> None:
    free = shutil.disk_usage(temporary.parent).free
    if size is not None and free < size:
        raise CheckpointError(
            f"{temporary.parent} has {free / 1e6:.0f} MB free, not enough for {facts}; "
            "free some, or set SPEECHSSL_CACHE to another disk"
        )


def _download(url: str, temporary: Path, size: int | None, filename: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("only http and https addresses are fetched")
    done = 0
    request = urllib.request.Request(url, headers={"User-Agent": "speechssl"})
    with urllib.request.urlopen(request, timeout=30) as answer, temporary.open("xb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else size
        with shown(filename, total) as advance:
            while block := answer.read(BLOCK):
                file.write(block)
                done += len(block)
                advance(len(block))
    if length and done < int(length):
        raise EOFError(f"the connection ended after {done} of {length} bytes")


@contextlib.contextmanager
def _silent(filename: str, total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


# shows a download: its file and bytes in all, if known; yields a function that is called with the bytes of each block.
# The command line puts its own progress here
shown: Callable[[str, int | None], contextlib.AbstractContextManager[Callable[[int], None]]] = _silent


class _Bar:
    """As much of a bar of tqdm as the hub's client asks of one; ``shown`` shows what it tells."""

    def __init__(self, *_: Any, desc: str = "", total: float | None = None, initial: float = 0, **__: Any) -> None:
        self.n, self.total = 0, total
        self._open = contextlib.ExitStack()
        self._advance = self._open.enter_context(shown(desc.rpartition("/")[2], int(total) if total else None))
        self.update(initial)

    def update(self, n: float | None = 1) -> None:
        """Show further bytes."""
        if n:
            self.n += int(n)
            self._advance(int(n))

    def update_transfer(self, n: float | None = 1) -> None:
        """Nothing: bytes on the way are shown once they are in the file."""

    def close(self) -> None:
        """Nothing comes any more."""
        self._open.close()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        # set_description, set_postfix_str, refresh and the like say nothing that is shown
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None
